"""Classification scores with intervals that respect subjects.

Trials of one subject are not independent, so subjects are resampled, not trials.
All scores are functions of four counts, which makes a bootstrap one matrix
product: resample weights [R, subjects] times counts by subject [subjects, 4].
"""

import dataclasses
import math

import numpy as np

METRICS = ('macro_f1', 'f1', 'accuracy')
RESAMPLES = 2000
LEVEL = .95


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A score or a difference with its interval; NaN bounds where there is none."""
  value: float
  low: float = math.nan
  high: float = math.nan


def decide(scores) -> np.ndarray:
  """Hard decisions, 1.0 for high: probability of high at least one half."""
  return (np.asarray(scores, float) >= .5).astype(float)


def confusion(labels, predicted) -> np.ndarray:
  """Counts [true negative, false positive, false negative, true positive].

  `labels` [n] are 0 or 1; `predicted` [n] is 0 or 1, or a probability of saying
  high, which gives expected counts.
  """
  return subject_counts(labels, predicted, np.zeros(len(labels), int))[0]


def subject_counts(labels, predicted, subjects) -> np.ndarray:
  """`confusion` of each subject: [subjects, 4], in sorted order of the subject."""
  labels, predicted = np.asarray(labels, float), np.asarray(predicted, float)
  index = np.unique(subjects, return_inverse=True)[1]
  return np.stack([
      np.bincount(index, weights=truth * said)
      for truth in (1 - labels, labels) for said in (1 - predicted, predicted)
  ], axis=-1)


def scores_of(counts) -> dict[str, np.ndarray]:
  """Macro-F1, F1 of high and accuracy of counts [..., 4] (see `confusion`).

  Macro-F1 is the mean over both classes, low and high, even where one never
  occurs; an F1 without any positive, true or predicted, is 0. This is
  scikit-learn's `f1_score(labels=[0, 1], zero_division=0)`.
  """
  tn, fp, fn, tp = np.moveaxis(np.asarray(counts, float), -1, 0)
  f1_high = _ratio(2 * tp, 2 * tp + fp + fn)
  f1_low = _ratio(2 * tn, 2 * tn + fp + fn)
  return {'macro_f1': (f1_high + f1_low) / 2, 'f1': f1_high,
          'accuracy': _ratio(tn + tp, tn + fp + fn + tp)}


def resample_weights(subjects: int, resamples: int = RESAMPLES,
                     seed: int = 0) -> np.ndarray:
  """How often each subject is drawn: [resamples, subjects], each row sums to S."""
  return np.random.default_rng(seed).multinomial(
      subjects, np.full(subjects, 1 / subjects), size=resamples)


def estimate(counts, weights) -> dict[str, Estimate]:
  """Pooled scores of counts by subject [S, 4] with 95 % percentile intervals.

  One subject alone says nothing of others: its intervals are NaN.
  """
  counts = np.asarray(counts)
  pooled, drawn = scores_of(counts.sum(0)), scores_of(weights @ counts)
  return {name: _with_interval(pooled[name], drawn[name], len(counts))
          for name in METRICS}


def difference(counts, others, weights) -> dict[str, Estimate]:
  """`counts` minus `others`: two models [S, 4] on the same trials and resamples."""
  counts, others = np.asarray(counts), np.asarray(others)
  if counts.shape != others.shape or not np.allclose(counts.sum(1), others.sum(1)):
    raise ValueError('a paired difference needs the same trials of each subject')
  ours, theirs = scores_of(counts.sum(0)), scores_of(others.sum(0))
  ours_drawn, theirs_drawn = scores_of(weights @ counts), scores_of(weights @ others)
  return {name: _with_interval(ours[name] - theirs[name],
                               ours_drawn[name] - theirs_drawn[name], len(counts))
          for name in METRICS}


def coin_scores(labels, probabilities) -> dict[str, float]:
  """Expected scores of saying high at random with each trial's probability.

  Exact: true and false positives are independent sums of Bernoulli draws
  (Poisson binomial), and the scores are averaged over their joint distribution.
  """
  labels, probabilities = np.asarray(labels), np.asarray(probabilities, float)
  highs, lows = probabilities[labels == 1], probabilities[labels == 0]
  tp, tp_chance = _sum_of_bernoulli(highs)
  fp, fp_chance = _sum_of_bernoulli(lows)
  tp, fp = np.broadcast_arrays(tp[:, None], fp[None, :])
  counts = np.stack([len(lows) - fp, fp, len(highs) - tp, tp], axis=-1)
  return {name: float(tp_chance @ values @ fp_chance)
          for name, values in scores_of(counts).items()}


def _ratio(numerator, denominator):
  return np.divide(numerator, denominator, out=np.zeros_like(denominator),
                   where=denominator > 0)


def _with_interval(value, drawn, subjects):
  if subjects < 2:
    return Estimate(float(value))
  low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
  return Estimate(float(value), float(low), float(high))


def _sum_of_bernoulli(probabilities):
  """Values and chances of a sum of independent draws, but for 1e-15 in the tails."""
  chances = np.ones(1)
  for p in probabilities:
    chances = np.convolve(chances, [1 - p, p])
  values = np.flatnonzero(chances > 1e-15)
  return values, chances[values]
