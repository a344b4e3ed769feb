"""Answers of numbers: intervals of a recording, of its windows, of its moments."""

import types

import numpy as np
import pytest

from mvp_jax.inference import result
from mvp_jax.inference.predict import Estimates
from mvp_jax.inference.recordings import Found
from mvp_jax.targets import Concordance, Regression
from mvp_jax.targets.promises import Interval

LEARNT = Interval(0.2, half=0.3, moment=0.5, constant=0.9, people=10, trials=20)


def model(target, promise):
  """What `result` asks of an ensemble of two."""
  return types.SimpleNamespace(
    target=target,
    promises={} if promise is None else {'valence': promise},
    members=[None, None],
    folder=types.SimpleNamespace(synthetic=False, record={'seconds': [2.0, 2.0, 2.0]}),
  )


def estimates(windows, course=None):
  """Of four seconds in two windows, and four frames."""
  return Estimates(
    found=Found('x', None),
    seconds=4.0,
    starts=np.array([0.0, 2.0]),
    ends=np.array([2.0, 4.0]),
    windows=np.array(windows, float).reshape(2, 2, 1),
    course=None if course is None else np.array(course, float).reshape(-1, 2, 1),
    face_shares=np.ones(2),
    times=np.arange(4.0),
    onset=0.0,
    faces=None,
    boxes=None,
    timing={},
  )


def test_ratings_in_time_have_an_interval_at_every_moment():
  course = [[0.1, 0.3], [0.6, 0.8], [-0.2, 0.2], [np.nan, np.nan]]
  one = estimates([[0.4, 0.5], [0.0, 0.2]], course)
  target = Concordance(ratings=('valence',), rate=1.0)
  known = model(target, LEARNT)
  table = result._frames(known, one)
  # The scale ends at 1.
  np.testing.assert_allclose(table['valence_low'], [-0.3, 0.2, -0.5, np.nan])
  np.testing.assert_allclose(table['valence_high'], [0.7, 1.0, 0.5, np.nan])
  assert 'valence_low' not in result._windows(known, one)  # these are no recordings
  found = result._estimate(known, one, 0)
  # The mean of the moments, and how far that of a recording may be.
  assert found['value'] == pytest.approx(0.3)
  assert found['answer'] == pytest.approx([0.0, 0.6])
  assert (found['abstains'], found['risk'], found['note']) == (False, 0.2, '')
  assert 'valence_low' not in result._frames(model(target, None), one)


def test_a_score_of_a_trial_has_an_interval_in_each_window():
  known = model(Regression(ratings=('valence',), scale=(0.0, 5.0)), LEARNT)
  one = estimates([[0.1, 0.3], [2.0, 3.0]])
  table = result._windows(known, one)
  np.testing.assert_allclose(table['valence_low'], [0.0, 2.2])
  np.testing.assert_allclose(table['valence_high'], [0.5, 2.8])
  assert 'valence_low' not in result._frames(known, one)
  assert result.shown_answer(result._estimate(known, one, 0)) == '1.05 to 1.65'


@pytest.mark.parametrize(
  ('promise', 'abstains', 'told'),
  [
    (Interval(0.2, None, None, None, 3, 9), True, 'it abstains: 3 people are too few'),
    (Interval(0.2, 0.9, None, 0.8, 9, 9), False, 'no narrower than that of always'),
    (None, True, 'its run has learnt no abstention'),
  ],
)
def test_what_an_interval_lacks_is_said(promise, abstains, told):
  known = model(Regression(ratings=('valence',)), promise)
  found = result._estimate(known, estimates([[1, 2], [2, 3]]), 0)
  assert told in found['note'] and found['abstains'] == abstains
  assert found['risk'] == (None if promise is None else 0.2)
  assert result.shown_answer(found) == ('no answer' if abstains else '1.1 to 2.9')
