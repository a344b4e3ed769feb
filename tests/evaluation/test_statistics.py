import itertools

import numpy as np
import pytest
from scipy import stats

from mvp_jax.evaluation import statistics


def mean_of(values):
  """The mean of one value a subject, as a function of weights [R, S]."""
  return lambda weights: weights @ values / weights.sum(1)[:, None]


def test_contributions_to_a_mean_are_the_values():
  values = np.random.default_rng(0).normal(size=(9, 2))
  found = statistics.contributions(mean_of(values), 9)
  np.testing.assert_allclose(found, values)
  low, high = statistics.t_interval(found)
  for k in range(2):
    expected = stats.ttest_1samp(values[:, k], 0).confidence_interval(0.95)
    assert (low[k], high[k]) == pytest.approx((expected.low, expected.high))


def test_contributions_to_a_ratio_are_its_jackknife():
  rng = np.random.default_rng(0)
  x, y = rng.uniform(1, 2, (2, 8))

  def ratio(weights):
    return (weights @ x / (weights @ y))[:, None]

  found = statistics.contributions(ratio, 8)[:, 0]
  assert found.mean() == pytest.approx(x.sum() / y.sum())
  without = np.array([np.delete(x, i).sum() / np.delete(y, i).sum() for i in range(8)])
  # The jackknife's standard error (Efron and Tibshirani, 1993, eq. 11.5).
  error = np.sqrt(7 / 8 * ((without - without.mean()) ** 2).sum())
  assert found.std(ddof=1) / np.sqrt(8) == pytest.approx(error)


def test_bootstrap_draws_subjects_evenly_and_is_fixed_by_its_seed():
  drawn = statistics.bootstrap(lambda weights: weights, 5, 4000, seed=0)
  np.testing.assert_array_equal(drawn, statistics.bootstrap(lambda w: w, 5, 4000))
  assert (drawn != statistics.bootstrap(lambda w: w, 5, 4000, seed=1)).any()
  assert (drawn.sum(1) == 5).all()
  assert drawn.mean(0) == pytest.approx(np.ones(5), abs=0.06)
  assert drawn.var(0) == pytest.approx(np.full(5, 0.8), abs=0.08)


def test_percentile_interval_leaves_out_what_has_no_score():
  drawn = np.stack([np.arange(101.0), np.full(101, np.nan)], 1)
  drawn[0, 0] = np.nan
  low, high = statistics.percentile_interval(drawn)
  assert (low[0], high[0]) == pytest.approx(
    tuple(np.quantile(np.arange(1, 101.0), [0.025, 0.975]))
  )
  assert np.isnan([low[1], high[1]]).all()


def test_sign_flip_is_the_permutation_test_of_scipy():
  values = np.random.default_rng(1).normal(0.6, 1, (9, 3))
  exact = stats.permutation_test(
    (values,),
    lambda x, axis: np.abs(x.sum(axis)),
    permutation_type='samples',
    alternative='greater',
    vectorized=True,
    n_resamples=np.inf,
  )
  np.testing.assert_allclose(statistics.sign_flip(values), exact.pvalue)


def test_sign_flip_of_many_subjects_is_near_the_exact_one():
  values = np.random.default_rng(2).normal(0.4, 1, (16, 2))
  signs = 1 - 2 * (np.arange(2**16)[:, None] >> np.arange(16) & 1)
  exact = (np.abs(signs @ values) >= np.abs(values.sum(0)) - 1e-9).mean(0)
  assert statistics.sign_flip(values) == pytest.approx(exact, abs=0.012)
  assert statistics.sign_flip(np.full((20, 1), 3.0))[0] == pytest.approx(1 / 20_000)
  assert statistics.sign_flip(np.zeros((20, 1)))[0] == 1
  assert np.isnan(statistics.sign_flip(np.full((20, 1), np.nan))[0])


def test_fewer_than_six_subjects_can_show_nothing():
  assert statistics.sign_flip(np.ones((5, 1)))[0] > 0.05
  assert statistics.sign_flip(np.ones((6, 1)))[0] < 0.05
  assert np.isnan(statistics.sign_flip(np.ones((1, 2)))).all()
  assert np.isnan(statistics.contributions(mean_of(np.ones((1, 2))), 1)).all()


def test_holm_is_the_closure_of_bonferroni():
  p = np.array([0.011, 0.04, 0.03, 0.2, 0.012])
  families = [
    list(of) for size in range(1, 6) for of in itertools.combinations(range(5), size)
  ]
  expected = [
    max(min(1, len(of) * min(p[of])) for of in families if i in of) for i in range(5)
  ]
  np.testing.assert_allclose(statistics.holm(p), expected)
  both = statistics.holm(np.stack([p, [np.nan, 0.02, np.nan, 0.03, np.nan]], 1))
  np.testing.assert_allclose(both[:, 0], expected)
  np.testing.assert_allclose(both[:, 1], [np.nan, 0.04, np.nan, 0.04, np.nan])


def test_t_interval_covers_where_trials_of_a_subject_are_alike():
  rng = np.random.default_rng(0)
  covered = naive = 0
  repeats, subjects, trials = 200, 20, 20
  for _ in range(repeats):
    skill = rng.beta(4, 2, (subjects, 1))  # accuracy by subject; its mean is 2/3
    right = (rng.random((subjects, trials)) < skill).astype(float)
    low, high = statistics.t_interval(
      statistics.contributions(mean_of(right.mean(1, keepdims=True)), subjects)
    )
    covered += low[0] <= 2 / 3 <= high[0]
    low, high = statistics.t_interval(right.reshape(-1, 1))  # trials as if apart
    naive += low[0] <= 2 / 3 <= high[0]
  assert 0.91 <= covered / repeats <= 0.99
  assert naive < covered - 0.1 * repeats
