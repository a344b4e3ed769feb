"""Scores of predicted numbers, for any weighting of the subjects at once.

As in `binary_scores` each is a function of sums by subject, over all trials (or
moments) together. With n pairs of rating x and prediction y:

- ICC(3,1), the consistency of two fixed raters for single measurements (Shrout and
  Fleiss, 1979): (BMS - EMS) / (BMS + EMS), which for two raters is
  2 cov / (var x + var y). An offset costs nothing, another spread does.
- CCC, Lin's concordance: the same with (mean x - mean y)² in the denominator.
- At a threshold t the truth is x >= t. AUROC ranks by y; of F1 what y says is y >= t:
  the cut stands on the scale of the ratings, and no rating of a test trial moves it.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from mvp_jax.array_types import Float, Int, Num
from mvp_jax.targets.base import Score
from mvp_jax.targets.binary_scores import (
  Subjects,
  Weights,
  count_scores,
  subject_counts,
  winning_pairs,
)
from mvp_jax.targets.moments import (
  Moments,
  concordance,
  correlation,
  moments,
  ratio,
  root_mean_square_error,
)

_PLAIN = {
  'mae': Score('MAE', 0, math.inf, lower_is_better=True),
  'rmse': Score('RMSE', 0, math.inf, lower_is_better=True),
  'mse': Score('MSE', 0, math.inf, lower_is_better=True),
  'pearson': Score("Pearson's r", -1),
  'icc': Score('ICC(3,1)', -1),
  'ccc': Score('CCC', -1),
}


def scores_at(thresholds: Sequence[float]) -> dict[str, Score]:
  """All scores, those at each of some thresholds last."""
  found = dict(_PLAIN)
  for t in thresholds:
    found[f'auroc_{t:g}'] = Score(f'AUROC at {t:g}')
    found[f'f1_{t:g}'] = Score(f'F1 at {t:g}')
  return found


def consistency(moments: Moments) -> Float[np.ndarray, '*a']:
  """ICC(3,1) of moments; NaN where neither x nor y varies."""
  n, x, y, xx, yy, xy = np.moveaxis(np.asarray(moments, float), -1, 0)
  n = np.where(n > 0, n, np.nan)
  spread = (xx / n - (x / n) ** 2) + (yy / n - (y / n) ** 2)
  # What is left of a constant after rounding is no spread.
  scale = np.maximum(xx, yy) / n
  spread = np.where(spread > 1e-12 * scale, spread, 0)
  return ratio(2 * (xy / n - x * y / n**2), spread, np.nan)


@dataclasses.dataclass(frozen=True)
class RegressionSums:
  """What all scores of one model need, by subject; see `sums` and `targets.Sums`."""

  moments: Num[np.ndarray, 'S 6']
  absolute: Num[np.ndarray, ' S']  # sum of absolute errors
  # At each of T thresholds:
  counts: Num[np.ndarray, 'T S 4']  # see `binary_scores.confusion`
  wins: Float[np.ndarray, 'T S S']
  pairs: Float[np.ndarray, 'T S S']
  offset: float = 0.0

  def scores(self, weights: Weights) -> Float[np.ndarray, 'R scores']:
    """Those of `scores_at` for weights of the subjects, NaN for what isn't."""
    weights = np.asarray(weights, float)
    found = weights @ self.moments
    rmse = root_mean_square_error(found)
    columns = [
      ratio(weights @ self.absolute, found[:, 0], np.nan),
      rmse,
      rmse**2,
      correlation(found),
      consistency(found),
      concordance(found),
    ]
    for counts, *pairs in zip(self.counts, self.wins, self.pairs, strict=True):
      won, all_of = (np.einsum('rs,rs->r', weights @ x, weights) for x in pairs)
      columns += [ratio(won, all_of, np.nan), count_scores(weights @ counts)['f1']]
    return np.stack(columns, axis=-1)

  cheap = scores


def sums(
  ratings: Float[np.ndarray, ' n'],
  predictions: Float[np.ndarray, ' n'],
  subjects: Subjects,
  folds: Int[np.ndarray, ' n'],
  number: int,
  thresholds: Sequence[float] = (),
) -> RegressionSums:
  """Those of one model's trials, or moments.

  Args:
    ratings, predictions: on one scale.
    subjects: 0 to number - 1.
    folds: which trained model it comes from.
    number: how many subjects there are, with and without trials.
    thresholds: a rating of at least so much is positive.
  """
  x, y = np.asarray(ratings, float), np.asarray(predictions, float)
  at = [(x >= t, y >= t) for t in thresholds]
  won = [winning_pairs(truth, y, subjects, folds, number) for truth, _ in at]
  return RegressionSums(
    moments(x, y, subjects, number),
    np.bincount(subjects, np.abs(x - y), number),
    np.array([subject_counts(*pair, subjects, number) for pair in at]),
    np.array([wins for wins, _ in won]),
    np.array([pairs for _, pairs in won]),
  )
