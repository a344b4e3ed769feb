"""Whether probabilities mean what they say, and whom a model should not answer.

Expected calibration error (ECE): trials are put into bins of equally many by their
probability of high; the mean over trials of |share of high - mean probability| of
their bin. Bins of equal mass rather than of equal width, whose outer ones are all
but empty here (Nixon et al., Measuring calibration in deep learning, 2019).

Temperature: one number that the logits of a model are divided by, so that it is as sure
as it is right (Guo et al., On calibration of modern neural networks, 2017).

Risk-coverage: of the trials that a model is surest of, the share that it gets wrong,
against how many it answers (Geifman and El-Yaniv, 2017).
"""

import dataclasses
from typing import TypeVar

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from mvp_jax.array_types import Float, Int, Shaped

Sure = TypeVar('Sure', float, np.ndarray)
BINS = 10
_DRAWS = 200
# Deviation of the logarithm of temperatures that are believed without trials.
_SPREAD = 0.5
_LARGEST = 1.5  # of its size: from a fifth to four and a half times as sure


@dataclasses.dataclass(frozen=True)
class Calibration:
  """One model's curves, all seeds together.

  `probability`, `share`, `trials`: mean probability of high, share of high and number
  of trials of each bin. `coverage`, `risk`: after each group of equal confidence.
  `floor`: the mean ECE, by simulation, if the probabilities were true.
  """

  probability: Float[np.ndarray, ' bins']
  share: Float[np.ndarray, ' bins']
  trials: Float[np.ndarray, ' bins']
  coverage: Float[np.ndarray, ' groups']
  risk: Float[np.ndarray, ' groups']
  floor: float


def temperature(
  labels: Shaped[np.ndarray, '*n'],
  scores: Float[np.ndarray, '*n'],
  weights: Float[np.ndarray, '*#n'] | float = 1.0,
) -> float:
  """The most likely temperature of some probabilities of high, given a prior around 1.

  `labels` are 0 or 1, `scores` probabilities, `weights` those of the trials.
  The prior keeps few trials from making a model sure of what it can't know.
  """
  labels, logits = np.asarray(labels, float), _logits(scores)

  def cost(log: float) -> float:
    z = logits * np.exp(-log)
    loss = np.logaddexp(0, z) - labels * z
    return (weights * loss).sum() + 0.5 * (log / _SPREAD) ** 2

  bounds = (-_LARGEST, _LARGEST)
  return float(np.exp(minimize_scalar(cost, bounds=bounds, method='bounded').x))


def tempered(scores: Float[np.ndarray, '*n'], value: float) -> Float[np.ndarray, '*n']:
  """Probabilities of high at another temperature: decisions at .5 stay."""
  return expit(_logits(scores) / value).astype(np.float32)


def _logits(scores: Float[np.ndarray, '*n']) -> Float[np.ndarray, '*n']:
  return logit(np.clip(np.asarray(scores, float), 1e-7, 1 - 1e-7))


def calibrate(
  labels: Shaped[np.ndarray, ' n'],
  scores: Float[np.ndarray, ' n'],
  wrong: Float[np.ndarray, ' n'],
  draws: int = _DRAWS,
) -> Calibration:
  """Curves of labels, probabilities of high and errors."""
  labels, scores = np.asarray(labels, float), np.asarray(scores, float)
  bins = equal_bins(scores)
  trials, high, said = (
    np.bincount(bins, x, BINS) for x in (np.ones_like(scores), labels, scores)
  )
  some = trials > 0
  answered, errors = confidence_groups(scores, wrong)
  answered, errors = answered.cumsum(), errors.cumsum()
  rng = np.random.default_rng(0)
  member = np.eye(BINS)[bins]
  drawn = (rng.random((draws, len(scores))) < scores) - scores
  return Calibration(
    said[some] / trials[some],
    high[some] / trials[some],
    trials[some],
    answered / len(scores),
    errors / answered,
    float(np.abs(drawn @ member).sum(1).mean() / len(scores)),
  )


def equal_bins(
  scores: Float[np.ndarray, ' n'], bins: int = BINS
) -> Int[np.ndarray, ' n']:
  """The bin, from 0, of each score; equal scores share one."""
  if not len(scores):
    return np.zeros(0, int)
  inner = np.quantile(scores, np.linspace(0, 1, bins + 1)[1:-1])
  return np.searchsorted(inner, scores)


def confidence(scores: Sure) -> Sure:
  """How sure probabilities of high are of their answers: max(p, 1 - p)."""
  return np.maximum(scores, 1 - scores)


def confidence_groups(
  scores: Float[np.ndarray, ' n'], wrong: Float[np.ndarray, ' n']
) -> tuple[Float[np.ndarray, ' groups'], Float[np.ndarray, ' groups']]:
  """Trials and errors of each confidence, the surest first."""
  group = np.unique(-confidence(scores), return_inverse=True)[1]
  return np.bincount(group).astype(float), np.bincount(group, wrong)


def area_under_risk(
  trials: Float[np.ndarray, '*a groups'], errors: Float[np.ndarray, '*a groups']
) -> Float[np.ndarray, '*a']:
  """Area under the risk-coverage curve, 0 at best.

  `trials` and `errors` as of `confidence_groups`, or weighted. Errors
  are taken to lie evenly within a group: the curve is exact for a random order.
  """
  total, wrong = trials.cumsum(-1), errors.cumsum(-1)
  before, wrong_before = total - trials, wrong - errors
  inside = (before > 0) & (trials > 0)
  rate = np.divide(errors, trials, out=np.zeros_like(errors), where=trials > 0)
  growth = np.divide(total, before, out=np.ones_like(total), where=inside)
  area = (errors + (wrong_before - rate * before) * np.log(growth)).sum(-1)
  everyone = total[..., -1] if trials.shape[-1] else np.zeros(trials.shape[:-1])
  return np.divide(area, everyone, out=np.full_like(area, np.nan), where=everyone > 0)
