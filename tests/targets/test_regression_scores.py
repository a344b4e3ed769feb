"""Scores of numbers against scikit-learn, SciPy and the ANOVA of Shrout and Fleiss."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from mvp_jax.targets.moments import moments
from mvp_jax.targets.regression_scores import consistency, scores_at, sums

_THRESHOLDS = (1.0, 2.0, 3.0)


def _icc(x, y):
  """ICC(3,1) by the mean squares of subjects and of what is left (case 3)."""
  table = np.stack([x, y], axis=1)
  n, k = table.shape
  of_rows, of_columns = table.mean(1, keepdims=True), table.mean(0, keepdims=True)
  between = k * np.square(of_rows - table.mean()).sum() / (n - 1)
  left = np.square(table - of_rows - of_columns + table.mean()).sum()
  left /= (n - 1) * (k - 1)
  return (between - left) / (between + (k - 1) * left)


def _drawn(n=400, subjects=7, seed=0):
  rng = np.random.default_rng(seed)
  rated = np.maximum(rng.normal(0.5, 2, n).round(), 0)
  said = 0.4 * rated + rng.normal(0.8, 0.7, n).round(1)
  return rated, said, rng.integers(subjects, size=n), np.zeros(n, int)


def test_all_together_they_are_those_of_the_libraries():
  x, y, who, folds = _drawn()
  found = sums(x, y, who, folds, 7, _THRESHOLDS).scores(np.ones((1, 7)))[0]
  found = dict(zip(scores_at(_THRESHOLDS), found, strict=True))
  gap = x.mean() - y.mean()
  covariance = ((x - x.mean()) * (y - y.mean())).mean()
  wanted = {
    'mae': metrics.mean_absolute_error(x, y),
    'rmse': metrics.root_mean_squared_error(x, y),
    'mse': metrics.mean_squared_error(x, y),
    'pearson': stats.pearsonr(x, y)[0],
    'icc': _icc(x, y),
    'ccc': 2 * covariance / (x.var() + y.var() + gap**2),
  }
  for t in _THRESHOLDS:
    wanted[f'auroc_{t:g}'] = metrics.roc_auc_score(x >= t, y)
    wanted[f'f1_{t:g}'] = metrics.f1_score(x >= t, y >= t)
  assert found == pytest.approx(wanted, rel=1e-9)


def test_icc_is_that_of_the_book():
  # Shrout and Fleiss (1979), table 2, judges 1 and 4: worked out by its formula.
  x, y = np.array([9, 6, 8, 7, 10, 6.0]), np.array([8, 2, 6, 6, 9, 7.0])
  found = consistency(moments(x, y, np.zeros(6, int), 1))[0]
  assert found == pytest.approx(_icc(x, y))
  # An offset costs nothing, another spread does.
  shifted = consistency(moments(x, x + 5, np.zeros(6, int), 1))[0]
  assert shifted == pytest.approx(1)
  half = consistency(moments(x, x / 2, np.zeros(6, int), 1))[0]
  assert half == pytest.approx(2 * 0.5 / 1.25)
  assert np.isnan(consistency(moments(0 * x, 0 * x, np.zeros(6, int), 1))[0])


def test_a_weighting_of_subjects_is_a_choice_of_their_rows():
  x, y, who, folds = _drawn()
  found = sums(x, y, who, folds, 7, _THRESHOLDS)
  for weights in (np.eye(7)[3], 1 - np.eye(7)[2]):
    chosen = weights[who] > 0
    own = sums(*(z[chosen] for z in (x, y, who, folds)), 7, _THRESHOLDS)
    np.testing.assert_allclose(
      found.scores(weights[None]), own.scores(np.ones((1, 7))), rtol=1e-9
    )
  twice = np.repeat(np.arange(len(x)), 1 + (who == 1))
  own = sums(*(z[twice] for z in (x, y, who, folds)), 7, ())
  weights = np.array([[1, 2, 1, 1, 1, 1, 1.0]])
  np.testing.assert_allclose(
    found.scores(weights)[:, :6], own.scores(np.ones((1, 7))), rtol=1e-9
  )


def test_without_any_trial_nothing_is_said():
  found = sums([], [], np.zeros(0, int), np.zeros(0, int), 2, (1.0,))
  assert np.isnan(found.scores(np.ones((1, 2)))).all()


def test_ranks_are_within_a_fold():
  # A constant of its own in each fold ranks nothing, however the folds differ.
  x, y = np.array([0, 1, 5, 0, 1, 9.0]), np.array([2, 2, 2, 4, 4, 4.0])
  who, folds = np.arange(6), np.array([0, 0, 0, 1, 1, 1])
  found = sums(x, y, who, folds, 6, (1.0,)).scores(np.ones((1, 6)))[0]
  assert found[list(scores_at((1.0,))).index('auroc_1')] == 0.5
