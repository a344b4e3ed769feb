"""The table of parameters."""

import jax
import numpy as np
import pytest

from mvp_jax.training.overview import parameter_table


@pytest.mark.parametrize(
  'make', [np.zeros, lambda shape: jax.ShapeDtypeStruct(shape, float)]
)
def test_the_table_names_and_counts_every_array(make):
  table = parameter_table({'encoder': {'kernel': make((30, 40)), 'bias': make((40,))}})
  rows = [line for line in table.splitlines() if 'encoder/' in line]
  assert len(rows) == 2
  for row, words in zip(rows, (('bias', '40'), ('kernel', '1,200')), strict=True):
    assert all(word in row for word in words)
  assert 'Total: 1,240' in table
