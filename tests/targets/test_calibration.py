import numpy as np
import pytest
import scipy.special
from scipy import integrate
from sklearn.calibration import calibration_curve

from mvp_jax.targets import binary_scores as metrics
from mvp_jax.targets import calibration


def trials(n=300, seed=0, digits=6):
  rng = np.random.default_rng(seed)
  scores = rng.beta(2, 1.5, n).round(digits)
  labels = (rng.random(n) < scores**2).astype(int)
  return labels, scores


def ece(labels, scores):
  one = np.zeros(len(labels), int)
  sums = metrics.sums(labels, scores, one, one, 1)
  return sums.scores(np.ones((1, 1)))[0, list(metrics.SCORES).index('ece')]


@pytest.mark.parametrize('digits', [1, 2, 6])
@pytest.mark.parametrize('n', [1, 7, 300])
def test_reliability_is_that_of_scikit_learn(n, digits):
  labels, scores = trials(n, digits=digits)
  share, probability = calibration_curve(labels, scores, n_bins=10, strategy='quantile')
  found = calibration.calibrate(labels, scores, np.zeros(n))
  np.testing.assert_allclose(found.share, share)
  np.testing.assert_allclose(found.probability, probability)
  assert found.trials.sum() == n
  assert ece(labels, scores) == pytest.approx(
    (np.abs(share - probability) * found.trials).sum() / n
  )


def test_floor_is_the_error_of_true_probabilities():
  scores = np.random.default_rng(0).beta(2, 2, 400)
  rng = np.random.default_rng(1)
  true = [ece((rng.random(400) < scores).astype(int), scores) for _ in range(200)]
  found = calibration.calibrate(np.ones(400), scores, np.zeros(400))
  assert found.floor == pytest.approx(np.mean(true), rel=0.08)


def test_risk_coverage_without_ties_is_the_running_error():
  labels, scores = trials(80)
  wrong = (labels != (scores >= 0.5)).astype(float)
  found = calibration.calibrate(labels, scores, wrong)
  surest = np.argsort(-np.maximum(scores, 1 - scores))
  answered = np.arange(1, 81)
  np.testing.assert_allclose(found.coverage, answered / 80)
  np.testing.assert_allclose(found.risk, wrong[surest].cumsum() / answered)


def test_area_is_the_integral_of_risk_also_with_ties():
  rng = np.random.default_rng(0)
  number = rng.integers(1, 9, 12).astype(float)
  errors = np.array([rng.integers(0, n + 1) for n in number]).astype(float)
  ends, wrong = np.cumsum(number), np.cumsum(errors)

  def risk(x):
    return np.interp(x, [0, *ends], [0, *wrong]) / x

  expected = integrate.quad(risk, 1e-9, ends[-1], points=ends[:-1], limit=200)[0]
  found = calibration.area_under_risk(number, errors)
  assert found == pytest.approx(expected / ends[-1], rel=1e-6)
  # A group of no trials changes nothing; without any trial there is no area.
  gaps = np.insert(number, 3, 0), np.insert(errors, 3, 0)
  assert calibration.area_under_risk(*gaps) == pytest.approx(found)
  assert np.isnan(calibration.area_under_risk(np.zeros((1, 4)), np.zeros((1, 4)))[0])


def test_area_of_equal_confidence_is_the_error_rate():
  labels = np.array([0, 1, 1, 0, 1])
  one = np.zeros(5, int)
  sums = metrics.sums(labels, np.full(5, 0.5), one, one, 1)
  found = sums.scores(np.ones((1, 1)))[0, list(metrics.SCORES).index('aurc')]
  assert found == pytest.approx(2 / 5)


def test_a_temperature_undoes_a_wrong_sureness():
  rng = np.random.default_rng(0)
  logits = rng.normal(0, 1.5, 4000)
  labels = rng.random(4000) < scipy.special.expit(logits)
  for factor in (0.5, 1.0, 3.0):
    scores = scipy.special.expit(factor * logits)
    found = calibration.temperature(labels, scores)
    assert found == pytest.approx(factor, rel=0.1)
    np.testing.assert_allclose(
      calibration.tempered(scores, found),
      scipy.special.expit(factor / found * logits),
      atol=2e-3,  # a score of 1e-7 is as sure as it gets
    )


def test_few_trials_hardly_move_a_temperature():
  labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.2, 0.8, 0.3])
  assert 0.5 < calibration.temperature(labels, scores) < 1  # all are right: surer
  wrong = calibration.temperature(1 - labels, scores)
  assert 1 < wrong < 3
  # The most likely one, by trying all.
  logs = np.linspace(-1.5, 1.5, 3001)
  z = scipy.special.logit(scores) / np.exp(logs)[:, None]
  loss = -np.log(np.where(labels == 1, scipy.special.expit(z), scipy.special.expit(-z)))
  cost = loss.sum(1) + 0.5 * (logs / 0.5) ** 2
  found = calibration.temperature(labels, scores)
  assert np.log(found) == pytest.approx(logs[np.argmin(cost)], abs=2e-3)
