"""Labels from ratings: numbers, medians, and ratings that give none."""

import math
import pickle

import numpy as np
import pytest

from mvp_jax.data.labels import (
  Cuts,
  check_ratings,
  check_threshold,
  fit_cuts,
  fixed_cuts,
)
from mvp_jax.errors import InputError
from tests.data.tiny_trials import random_trials, trial

_TARGETS = ('valence', 'arousal')


def test_a_rating_at_the_threshold_is_low():
  cuts = fit_cuts(('valence',), 5, [])
  labels = [cuts.labels(trial(1, 1, valence=v)) for v in (4.9, 5.0, 5.01)]
  np.testing.assert_array_equal(labels, [[0], [0], [1]])
  assert labels[0].dtype == np.float32
  assert cuts.subjects == () and cuts.trials == ()
  assert fixed_cuts(_TARGETS, 4.5).values == (4.5, 4.5)
  assert fixed_cuts(_TARGETS, 'median') is None


def test_the_median_is_that_of_the_training_trials_alone():
  training = [trial(1, k, valence=v, arousal=-v) for k, v in enumerate([1, 2, 8, 9])]
  tested = [trial(2, k, valence=100, arousal=100) for k in range(9)]
  cuts = fit_cuts(_TARGETS, 'median', training, [*training, *tested])
  assert cuts.values == (5, -5)
  assert cuts.subjects == (1,) and cuts.trials == tuple(t.trial_id for t in training)
  np.testing.assert_array_equal(cuts.labels(tested[0]), [1, 1])
  assert pickle.loads(pickle.dumps(cuts)) == cuts


def test_each_subject_has_its_own_median():
  trials = random_trials(subjects=5, stimuli=7)
  cuts = fit_cuts(_TARGETS, 'subject_median', trials[:14], trials)
  for subject in range(1, 6):
    own = [t for t in trials if t.subject == subject]
    high = sum(cuts.labels(t) for t in own)
    np.testing.assert_array_equal(high, 3)  # of seven, the fourth is the median
  assert cuts.describe()['cuts']['valence']['3'] == np.median(
    [t.ratings['valence'] for t in trials if t.subject == 3]
  )


def test_no_rating_of_a_test_trial_decides_what_is_trained_on():
  training = [trial(1, k, valence=v) for k, v in enumerate([1.0, 2, 3])]
  tested = [trial(1, 10 + k, valence=9.0) for k in range(9)]
  cuts = fit_cuts(('valence',), 'subject_median', training, [*training, *tested])
  assert cuts.own == {1: (2,)}


@pytest.mark.parametrize(
  ('ratings', 'message'),
  [
    (
      [5, 5, 5],
      "'subject_median' parts nothing where valence of subject 2 is 5 in all 3 trials",
    ),
    ([1, 9, 9], 'valence of subject 2 is never above its median 9'),
  ],
)
def test_a_subject_whose_ratings_do_not_part(ratings, message):
  trials = [trial(1, k, valence=v) for k, v in enumerate([1, 2, 3])]
  trials += [trial(2, k, valence=v) for k, v in enumerate(ratings)]
  with pytest.raises(InputError, match=message) as error:
    fit_cuts(('valence',), 'subject_median', trials, trials)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('threshold', ['mean', '5', math.nan, math.inf])
def test_thresholds_that_are_none(threshold):
  with pytest.raises(InputError, match='^threshold: '):
    check_threshold(threshold)


def test_ratings_that_are_missing():
  good = trial(1, 1)
  with pytest.raises(InputError, match=r"s01_trial02 has no rating 'valence'"):
    check_ratings([good, trial(1, 2, valence=math.nan)], _TARGETS)
  with pytest.raises(InputError, match=r"no trial has a rating 'arousal', all 2 are"):
    check_ratings([trial(1, k, arousal=math.nan) for k in (1, 2)], _TARGETS)
  with pytest.raises(InputError, match=r"has no rating 'joy'; there are valence, aro"):
    check_ratings([good], ('joy',))


def test_cuts_say_what_they_are():
  assert Cuts(_TARGETS, (5.0, 4.0), subjects=(1, 2)).describe() == {
    'cuts': {'valence': 5.0, 'arousal': 4.0},
    'subjects': [1, 2],
  }
