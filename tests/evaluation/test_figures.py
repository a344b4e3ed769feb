"""Figures of many subjects can be read."""

import pytest
from matplotlib.figure import Figure

from mvp_jax.evaluation.figures import name_ticks


@pytest.mark.parametrize(
  ('people', 'named'), [(1, [0]), (30, [*range(30)]), (120, [*range(0, 120, 4)])]
)
def test_no_more_places_are_named_than_can_be_read(people, named):
  axes = Figure().subplots()
  name_ticks(axes, [f'p{i}' for i in range(people)], letters=150)
  assert axes.get_xticks().tolist() == named
  assert [text.get_text() for text in axes.get_xticklabels()] == [
    f'p{i}' for i in named
  ]
