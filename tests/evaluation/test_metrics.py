import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from mvp_jax.evaluation import metrics

bits = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1,
                max_size=30)


def sklearn_scores(labels, predicted):
  f1 = {'zero_division': 0, 'labels': [0, 1]}
  return {'macro_f1': f1_score(labels, predicted, average='macro', **f1),
          'f1': f1_score(labels, predicted, average=None, **f1)[1],
          'accuracy': accuracy_score(labels, predicted)}


@settings(max_examples=60, deadline=None)
@given(bits)
def test_scores_are_those_of_scikit_learn(pairs):
  labels, predicted = np.array(pairs).T
  counts = metrics.confusion(labels, predicted)
  np.testing.assert_array_equal(
      counts.reshape(2, 2), confusion_matrix(labels, predicted, labels=[0, 1]))
  assert metrics.scores_of(counts) == pytest.approx(sklearn_scores(labels, predicted))


def test_one_class_only():
  ones = np.ones(5)
  assert metrics.scores_of(metrics.confusion(ones, ones)) == pytest.approx(
      {'macro_f1': .5, 'f1': 1, 'accuracy': 1})
  assert metrics.scores_of(metrics.confusion(ones, 0 * ones)) == pytest.approx(
      {'macro_f1': 0, 'f1': 0, 'accuracy': 0})
  assert metrics.scores_of(np.zeros(4))['accuracy'] == 0


def test_decide_at_one_half():
  np.testing.assert_array_equal(metrics.decide([.49, .5, .51, 0, 1]), [0, 1, 1, 0, 1])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
def test_coin_is_the_mean_over_all_outcomes(trials):
  labels = np.array([label for label, _ in trials])
  p = np.array([p for _, p in trials])
  expected = dict.fromkeys(metrics.METRICS, 0.0)
  for outcome in itertools.product((0, 1), repeat=len(trials)):
    outcome = np.array(outcome)
    chance = np.prod(np.where(outcome == 1, p, 1 - p))
    scores = metrics.scores_of(metrics.confusion(labels, outcome))
    for name, score in scores.items():
      expected[name] += chance * score
  assert metrics.coin_scores(labels, p) == pytest.approx(expected, abs=1e-9)


def test_coin_of_many_trials_is_near_its_simulation():
  rng = np.random.default_rng(0)
  labels, p = rng.integers(0, 2, 600), rng.choice([.4, .55, .6], 600)
  draws = rng.random((4000, 600)) < p
  counts = np.stack([metrics.confusion(labels, draw) for draw in draws])
  simulated = {name: drawn.mean() for name, drawn in metrics.scores_of(counts).items()}
  assert metrics.coin_scores(labels, p) == pytest.approx(simulated, abs=1.5e-3)


def some_trials(subjects=7, seed=3):
  """Labels, two models' decisions and subjects of unequal numbers of trials."""
  rng = np.random.default_rng(seed)
  who = np.repeat(np.arange(subjects) * 3 + 1, rng.integers(3, 12, subjects))
  labels = rng.integers(0, 2, len(who))
  first = np.where(rng.random(len(who)) < .8, labels, 1 - labels)
  second = np.where(rng.random(len(who)) < .6, labels, 1 - labels)
  return labels, first, second, who


def test_bootstrap_is_the_loop_over_resampled_subjects():
  labels, first, second, who = some_trials()
  weights = metrics.resample_weights(7, 100, seed=1)
  assert weights.shape == (100, 7)
  assert (weights.sum(1) == 7).all()
  persons = np.unique(who)
  loop = {'one': [], 'difference': []}
  for row in weights:
    rows = np.concatenate([np.flatnonzero(who == person)
                           for person in np.repeat(persons, row)])
    a = sklearn_scores(labels[rows], first[rows])['macro_f1']
    b = sklearn_scores(labels[rows], second[rows])['macro_f1']
    loop['one'].append(a)
    loop['difference'].append(a - b)
  ours = metrics.subject_counts(labels, first, who)
  theirs = metrics.subject_counts(labels, second, who)
  one = metrics.estimate(ours, weights)['macro_f1']
  gain = metrics.difference(ours, theirs, weights)['macro_f1']
  for estimate, slow in ((one, loop['one']), (gain, loop['difference'])):
    assert [estimate.low, estimate.high] == pytest.approx(
        np.quantile(slow, [.025, .975]).tolist())
  assert one.value == pytest.approx(sklearn_scores(labels, first)['macro_f1'])


def test_resampling_is_fixed_by_its_seed_and_draws_subjects_evenly():
  weights = metrics.resample_weights(5, 4000, seed=0)
  np.testing.assert_array_equal(weights, metrics.resample_weights(5, 4000, seed=0))
  assert (weights != metrics.resample_weights(5, 4000, seed=1)).any()
  assert weights.mean(0) == pytest.approx(np.ones(5), abs=.06)
  assert weights.var(0) == pytest.approx(np.full(5, .8), abs=.08)


def test_interval_covers_despite_subjects_that_differ():
  rng = np.random.default_rng(0)
  covered = naive = 0
  repeats, subjects, trials = 200, 30, 20
  for _ in range(repeats):
    skill = rng.beta(4, 2, subjects)  # accuracy differs by subject; its mean is 2/3
    right = rng.random((subjects, trials)) < skill[:, None]
    labels = rng.integers(0, 2, (subjects, trials))
    said = np.where(right, labels, 1 - labels)
    who = np.repeat(np.arange(subjects), trials)
    for cluster in (True, False):
      by = who if cluster else np.arange(who.size)
      counts = metrics.subject_counts(labels.ravel(), said.ravel(), by)
      weights = metrics.resample_weights(len(counts), 200, seed=0)
      found = metrics.estimate(counts, weights)['accuracy']
      if cluster:
        covered += found.low <= 2 / 3 <= found.high
      else:
        naive += found.low <= 2 / 3 <= found.high
  assert .89 <= covered / repeats <= .985
  assert naive < covered - .1 * repeats


def test_one_subject_has_no_interval():
  counts = metrics.subject_counts([0, 1, 1], [0, 1, 0], [4, 4, 4])
  found = metrics.estimate(counts, metrics.resample_weights(1))['accuracy']
  assert found.value == pytest.approx(2 / 3)
  assert math.isnan(found.low) and math.isnan(found.high)


def test_difference_refuses_other_trials():
  with pytest.raises(ValueError, match='same trials'):
    metrics.difference([[1, 0, 0, 1]], [[1, 0, 0, 2]], np.ones((2, 1)))
