"""Scores of held-out predictions, for any weighting of the subjects at once.

Trials of one subject are not independent, so everything that tells how sure a
score is (`statistics`) leaves subjects out or draws them anew, and never trials.
Each score is a function of sums by subject. They are made once; a thousand
weightings of the subjects, [R, subjects], then are a few matrix products.
"""

import dataclasses
from typing import TypeAlias, TypeVar

import numpy as np

from mvp_jax.array_types import Array, Float, Int, Num, Shaped
from mvp_jax.targets.base import Score
from mvp_jax.targets.calibration import BINS, area_under_risk, equal_bins
from mvp_jax.targets.moments import concordance, moments, ratio

SCORES = {
  'macro_f1': Score('macro-F1'),
  'f1': Score('F1 of high'),
  'weighted_f1': Score('weighted F1'),
  'balanced_accuracy': Score('balanced accuracy'),
  'auroc': Score('AUROC'),
  'mcc': Score('MCC', -1),
  'accuracy': Score('accuracy'),
  'ccc': Score('CCC', -1),
  'ece': Score('ECE', lower_is_better=True, bootstrap=False),
  'aurc': Score('AURC', lower_is_better=True, bootstrap=False),
}
METRICS = tuple(name for name, score in SCORES.items() if score.bootstrap)

Labels: TypeAlias = Shaped[np.ndarray, ' n']  # 0 or 1, False or True
Subjects: TypeAlias = Int[np.ndarray, ' n']  # from 0
Weights: TypeAlias = Num[np.ndarray, 'R S']  # of the subjects
_Scores = TypeVar('_Scores', np.ndarray, Array, float)


def decide(scores: _Scores) -> _Scores:
  """Whether probabilities of high, of NumPy or JAX, say high: at least one half."""
  return scores >= 0.5


def confusion(
  labels: Labels, predicted: Shaped[np.ndarray, ' n']
) -> Num[np.ndarray, '4']:
  """Counts [true negative, false positive, false negative, true positive].

  `labels` are 0 or 1; `predicted` is 0 or 1, or a probability of saying
  high, which gives expected counts.
  """
  return subject_counts(labels, predicted, np.zeros(len(labels), int), 1)[0]


def subject_counts(
  labels: Labels, predicted: Shaped[np.ndarray, ' n'], subjects: Subjects, number: int
) -> Num[np.ndarray, '{number} 4']:
  """`confusion` of each subject; `subjects` are 0 to number - 1."""
  labels, predicted = np.asarray(labels, float), np.asarray(predicted, float)
  return np.stack(
    [
      np.bincount(subjects, truth * said, number)
      for truth in (1 - labels, labels)
      for said in (1 - predicted, predicted)
    ],
    axis=-1,
  )


def count_scores(counts: Num[np.ndarray, '*a 4']) -> dict[str, Float[np.ndarray, '*a']]:
  """The scores that follow from counts (see `confusion`).

  They are scikit-learn's over both labels with `zero_division=0`: macro-F1 is the
  mean over low and high even where one never occurs, balanced accuracy the mean
  over the labels that do, and Matthews' coefficient 0 where a margin is empty.
  Without any trial all are NaN.
  """
  tn, fp, fn, tp = np.moveaxis(np.asarray(counts, float), -1, 0)
  low, high, total = tn + fp, fn + tp, tn + fp + fn + tp
  f1_high, f1_low = ratio(2 * tp, 2 * tp + fp + fn), ratio(2 * tn, 2 * tn + fp + fn)
  recalls = ratio(tn, low) + ratio(tp, high)
  margins = np.sqrt((tp + fp) * high * low * (tn + fn))
  some = np.where(total > 0, 1, np.nan)
  return {
    'macro_f1': some * (f1_high + f1_low) / 2,
    'f1': some * f1_high,
    'weighted_f1': some * ratio(f1_high * high + f1_low * low, total),
    'balanced_accuracy': some * ratio(recalls, (low > 0) * 1.0 + (high > 0)),
    'mcc': some * ratio(tp * tn - fp * fn, margins),
    'accuracy': some * ratio(tn + tp, total),
  }


def winning_pairs(
  labels: Labels,
  scores: Float[np.ndarray, ' n'],
  subjects: Subjects,
  folds: Int[np.ndarray, ' n'],
  number: int,
) -> tuple[Float[np.ndarray, 'S S'], Float[np.ndarray, 'S S']]:
  """Pairs of a high and a low trial, by the subjects that they are of.

  Returns:
    wins: of S = `number` subjects; entry (a, b) counts the pairs of a high trial of
      `a` and a low trial of `b` in which the high one has the higher score; a tie
      counts one half.
    pairs: all such pairs.

  Only trials of the same fold make a pair: scores of two trained models are not on
  one scale (Forman and Scholz, Apples-to-apples in cross-validation studies, 2010).
  A constant score for each fold then has an AUROC of .5, as it should.
  """
  labels, scores, subjects, folds = map(np.asarray, (labels, scores, subjects, folds))
  wins, pairs = np.zeros((2, number, number))
  for fold in np.unique(folds):
    high, low = ((labels == label) & (folds == fold) for label in (1, 0))
    owners = subjects[high]
    for other in np.unique(subjects[low]):
      beaten = np.sort(scores[low & (subjects == other)])
      won = (
        np.searchsorted(beaten, scores[high], 'left')
        + np.searchsorted(beaten, scores[high], 'right')
      ) / 2
      wins[:, other] += np.bincount(owners, won, number)
      pairs[:, other] += np.bincount(owners, minlength=number) * len(beaten)
  return wins, pairs


@dataclasses.dataclass(frozen=True)
class BinarySums:
  """What all scores of one model need, by subject; see `sums` and `targets.Sums`."""

  counts: Num[np.ndarray, 'S 4']  # see `confusion`
  wins: Float[np.ndarray, 'S S']
  pairs: Float[np.ndarray, 'S S']
  moments: Num[np.ndarray, 'S 6'] | None  # None where it predicts no ratings
  gaps: Num[np.ndarray, 'S bins']  # sum of label minus score
  answered: Num[np.ndarray, 'S groups']  # of equal confidence, the surest first
  wrong: Num[np.ndarray, 'S groups']  # the same, how many of them are wrong
  offset: Float[np.ndarray, ' scores'] | float = 0.0

  def scores(self, weights: Weights) -> Float[np.ndarray, 'R scores']:
    """SCORES for weights of the subjects, NaN for what isn't."""
    weights = np.asarray(weights, float)
    total = (weights @ self.counts).sum(-1)
    ece = ratio(np.abs(weights @ self.gaps).sum(-1), total, np.nan)
    aurc = area_under_risk(weights @ self.answered, weights @ self.wrong)
    return np.concatenate([self.cheap(weights), np.stack([ece, aurc], -1)], -1)

  def cheap(self, weights: Weights) -> Float[np.ndarray, 'R metrics']:
    """The METRICS of `scores` alone."""

    def pairs(matrix: Float[np.ndarray, 'S S']) -> Float[np.ndarray, ' R']:
      return np.einsum('rs,rs->r', weights @ matrix, weights)

    found = count_scores(weights @ self.counts)
    found['auroc'] = ratio(pairs(self.wins), pairs(self.pairs), np.nan)
    found['ccc'] = (
      np.full(len(weights), np.nan)
      if self.moments is None
      else concordance(weights @ self.moments)
    )
    return np.stack([found[name] for name in METRICS], axis=-1)


def sums(
  labels: Labels,
  scores: Float[np.ndarray, ' n'],
  subjects: Subjects,
  folds: Int[np.ndarray, ' n'],
  number: int,
  *,
  predicted: Shaped[np.ndarray, ' n'] | None = None,
  ratings: Float[np.ndarray, ' n'] | None = None,
  predicted_ratings: Float[np.ndarray, ' n'] | None = None,
  bins: Int[np.ndarray, ' n'] | None = None,
) -> BinarySums:
  """Sums by subject of one model's trials.

  Args:
    labels: 1 for high.
    scores: probability of high.
    subjects: 0 to number - 1.
    folds: which trained model it comes from.
    number: how many subjects there are, with and without trials.
    predicted: decisions, or probabilities of saying high, if not `decide`.
    ratings, predicted_ratings: for the concordance; both or none.
    bins: of `calibration.equal_bins`, if not those of these scores.
  """
  labels, scores = np.asarray(labels, float), np.asarray(scores, float)
  said = np.asarray(decide(scores) if predicted is None else predicted, float)
  wins, pairs = winning_pairs(labels, scores, subjects, folds, number)
  of_ratings = None
  if predicted_ratings is not None:
    assert ratings is not None, 'predicted ratings without ratings'
    of_ratings = moments(ratings, predicted_ratings, subjects, number)
  bins = equal_bins(scores) if bins is None else bins
  surest, group = np.unique(-np.maximum(scores, 1 - scores), return_inverse=True)
  error = np.abs(labels - said)

  def table(
    columns: Int[np.ndarray, ' n'], width: int, values: Float[np.ndarray, ' n']
  ) -> Num[np.ndarray, 'S {width}']:
    found = np.bincount(subjects * width + columns, values, number * width)
    return found.reshape(number, width)

  return BinarySums(
    subject_counts(labels, said, subjects, number),
    wins,
    pairs,
    of_ratings,
    table(bins, BINS, labels - scores),
    table(group, len(surest), np.ones_like(error)),
    table(group, len(surest), error),
  )


def coin_scores(
  labels: Labels, probabilities: Float[np.ndarray, ' n']
) -> dict[str, float]:
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
  return {
    name: float(tp_chance @ values @ fp_chance)
    for name, values in count_scores(counts).items()
  }


def _sum_of_bernoulli(
  probabilities: Float[np.ndarray, ' n'],
) -> tuple[Int[np.ndarray, ' values'], Float[np.ndarray, ' values']]:
  """Values and chances of a sum of independent draws, but for 1e-15 in the tails."""
  chances = np.ones(1)
  for p in probabilities:
    chances = np.convolve(chances, [1 - p, p])
  values = np.flatnonzero(chances > 1e-15)
  return values, chances[values]
