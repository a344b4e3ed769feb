import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import config_context as sklearn_config
from sklearn import metrics as sklearn

from mvp_jax.targets import binary_scores as metrics
from mvp_jax.targets.binary_scores import METRICS
from mvp_jax.targets.moments import moments, root_mean_square_error


def reference(labels, scores, ratings, predicted):
  """METRICS by scikit-learn and SciPy; NaN where they have none."""
  if not len(labels):
    return dict.fromkeys(METRICS, np.nan)
  said = (scores >= 0.5).astype(int)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # they warn of a single class
    *_, f1, support = sklearn.precision_recall_fscore_support(
      labels, said, labels=[0, 1], zero_division=0
    )
    found = {
      'macro_f1': f1.mean(),
      'f1': f1[1],
      'weighted_f1': np.average(f1, weights=support),
      'balanced_accuracy': sklearn.balanced_accuracy_score(labels, said),
      'auroc': (
        sklearn.roc_auc_score(labels, scores) if len(set(labels)) > 1 else np.nan
      ),
      'mcc': sklearn.matthews_corrcoef(labels, said),
      'accuracy': sklearn.accuracy_score(labels, said),
    }
  # Lin: Pearson's r times a factor of bias; without any spread r is 0 or undefined.
  spread = ratings.std(), predicted.std()
  if min(spread) == 0:
    found['ccc'] = 0.0 if max(spread) or ratings[0] != predicted[0] else np.nan
  else:
    shift = (ratings.mean() - predicted.mean()) ** 2 / (spread[0] * spread[1])
    bias = 2 / (spread[0] / spread[1] + spread[1] / spread[0] + shift)
    found['ccc'] = stats.pearsonr(ratings, predicted).statistic * bias
  return found


def random_cases(number=1000, seed=0):
  """Labels, scores, ratings, predicted ratings, case: with ties, one class, none."""
  rng = np.random.default_rng(seed)
  for case in range(number):
    n = int(rng.choice([0, 2, 3, 10, 40], p=[0.05, 0.1, 0.1, 0.35, 0.4]))
    share = rng.choice([0, 0.2, 0.5, 0.8, 1], p=[0.1, 0.2, 0.4, 0.2, 0.1])
    labels = (rng.random(n) < share).astype(int)
    digits = rng.choice([0, 1, 6])
    scores = rng.random(n).round(digits)
    ratings = rng.uniform(1, 9, n).round(digits)
    predicted = rng.uniform(1, 9, n).round(digits)
    if rng.random() < 0.1:
      scores, predicted = np.full((2, n), 0.5)
    if rng.random() < 0.1:
      ratings = np.full(n, 5.0)
    if rng.random() < 0.05:
      predicted = ratings
    yield labels, scores, ratings, predicted, np.full(n, case)


def test_a_thousand_random_cases_are_as_scikit_learn_and_scipy_say():
  cases = list(random_cases())
  with sklearn_config(assume_finite=True, skip_parameter_validation=True):  # faster
    expected = np.array([list(reference(*case[:4]).values()) for case in cases])
  # Each case as one subject of a corpus, scored alone: all at once.
  labels, scores, ratings, predicted, subjects = (
    np.concatenate(parts) for parts in zip(*cases, strict=True)
  )
  sums = metrics.sums(
    labels,
    scores,
    subjects,
    0 * subjects,
    len(cases),
    ratings=ratings,
    predicted_ratings=predicted,
  )
  np.testing.assert_allclose(sums.cheap(np.eye(len(cases))), expected, atol=1e-9)
  pooled = reference(labels, scores, ratings, predicted)
  np.testing.assert_allclose(
    sums.cheap(np.ones((1, len(cases))))[0], list(pooled.values()), atol=1e-9
  )
  single = [len(set(case[0])) == 1 for case in cases]
  assert np.mean(single) > 0.15
  assert np.isnan(expected[single][:, METRICS.index('auroc')]).all()


def test_nothing_at_all_has_no_scores():
  empty = np.zeros(0)
  sums = metrics.sums(empty, empty, empty.astype(int), empty, 3)
  found = sums.scores(np.ones((2, 3)))
  assert found.shape == (2, len(metrics.SCORES)) and np.isnan(found).all()


def test_decide_at_one_half():
  np.testing.assert_array_equal(
    metrics.decide(np.array([0.49, 0.5, 0.51, 0, 1])), [0, 1, 1, 0, 1]
  )


def test_confusion_is_in_the_order_of_scikit_learn():
  rng = np.random.default_rng(0)
  labels, said = rng.integers(0, 2, (2, 50))
  np.testing.assert_array_equal(
    metrics.confusion(labels, said).reshape(2, 2),
    sklearn.confusion_matrix(labels, said),
  )


def some_trials(subjects=7, seed=3):
  """Labels, scores, ratings, predicted, subjects (uneven) and two folds."""
  rng = np.random.default_rng(seed)
  who = np.repeat(np.arange(subjects), rng.integers(3, 12, subjects))
  labels = rng.integers(0, 2, len(who))
  scores = np.clip(0.3 * labels + rng.random(len(who)) * 0.7, 0, 1).round(1)
  return (
    labels,
    scores,
    labels + rng.normal(size=len(who)),
    scores + rng.normal(size=len(who)),
    who,
    who % 2,
  )


def test_weights_are_copies_of_subjects():
  labels, scores, ratings, predicted, who, folds = some_trials()
  sums = metrics.sums(
    labels, scores, who, folds, 7, ratings=ratings, predicted_ratings=predicted
  )
  weights = np.random.default_rng(1).multinomial(7, np.full(7, 1 / 7), 60)
  for row, found in zip(weights, sums.scores(weights), strict=True):
    copies = np.concatenate(
      [np.flatnonzero(who == s) for s in np.repeat(np.arange(7), row)]
    )
    one = metrics.sums(
      labels[copies],
      scores[copies],
      0 * copies,
      folds[copies],
      1,
      ratings=ratings[copies],
      predicted_ratings=predicted[copies],
      bins=metrics.equal_bins(scores)[copies],
    ).scores(np.ones((1, 1)))[0]
    np.testing.assert_allclose(found, one, atol=1e-12)
    slow = reference(labels[copies], scores[copies], ratings[copies], predicted[copies])
    for name in METRICS:
      if name != 'auroc':  # whose pairs are of one fold
        assert found[METRICS.index(name)] == pytest.approx(slow[name])


def test_auroc_ranks_within_folds():
  labels, scores, *_, who, folds = some_trials()
  right = pairs = 0
  for fold in (0, 1):
    here = folds == fold
    number = labels[here].sum() * (1 - labels[here]).sum()
    right += number * sklearn.roc_auc_score(labels[here], scores[here])
    pairs += number
  at = METRICS.index('auroc')
  found = metrics.sums(labels, scores, who, folds, 7).cheap(np.ones((1, 7)))[0, at]
  assert found == pytest.approx(right / pairs)
  # A constant of each fold says nothing, whatever the constants.
  constant = metrics.sums(labels, 0.2 + 0.5 * folds, who, folds, 7)
  assert constant.cheap(np.ones((1, 7)))[0, at] == 0.5
  assert sklearn.roc_auc_score(labels, 0.2 + 0.5 * folds) != 0.5


def test_concordance_of_a_large_offset_keeps_its_digits():
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(2, 30))
  one = np.zeros(30, int)

  def ccc(offset):
    sums = metrics.sums(
      one, one, one, one, 1, ratings=x + offset, predicted_ratings=y + offset
    )
    return sums.cheap(np.ones((1, 1)))[0, METRICS.index('ccc')]

  assert ccc(1e7) == pytest.approx(ccc(0), rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
def test_coin_is_the_mean_over_all_outcomes(trials):
  labels = np.array([label for label, _ in trials])
  p = np.array([p for _, p in trials])
  outcomes = np.array(list(itertools.product((0, 1), repeat=len(trials))))
  chance = np.prod(np.where(outcomes == 1, p, 1 - p), axis=1)
  counts = np.stack([metrics.confusion(labels, outcome) for outcome in outcomes])
  expected = {
    name: chance @ values for name, values in metrics.count_scores(counts).items()
  }
  assert metrics.coin_scores(labels, p) == pytest.approx(expected, abs=1e-9)


def test_coin_of_many_trials_is_near_its_simulation():
  rng = np.random.default_rng(0)
  labels, p = rng.integers(0, 2, 600), rng.choice([0.4, 0.55, 0.6], 600)
  draws = rng.random((4000, 600)) < p
  counts = np.stack([metrics.confusion(labels, draw) for draw in draws])
  simulated = {
    name: drawn.mean() for name, drawn in metrics.count_scores(counts).items()
  }
  assert metrics.coin_scores(labels, p) == pytest.approx(simulated, abs=2e-3)


def test_the_error_follows_from_the_moments():
  rng = np.random.default_rng(0)
  x, y = rng.normal(5, 2, (2, 50))
  who = rng.integers(0, 3, 50)
  found = root_mean_square_error(moments(x, y, who, 4))
  for i in range(3):
    here = who == i
    assert found[i] == pytest.approx(np.sqrt(np.mean((x - y)[here] ** 2)))
  assert np.isnan(found[3])
