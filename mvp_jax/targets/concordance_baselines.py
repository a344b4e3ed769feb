"""What models of ratings in time have to beat: what simple regression hears and sees.

Handcrafted features in time are the series of the trials themselves (body signals,
action units, level and pitch of the voice, or whatever a corpus has), in the spans of
the labels, see `data.descriptors`.

All that is fitted follows from second moments of features and ratings, summed trial
by trial: memory does not grow with the corpus.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mvp_jax.array_types import Float, Int
from mvp_jax.data.descriptors import (
  STEADY,
  Name,
  Values,
  descriptor_names,
  descriptors,
  within,
)
from mvp_jax.data.splits import Fold
from mvp_jax.data.trial import Series, Trial
from mvp_jax.targets.base import Said
from mvp_jax.targets.binary_baselines import inner_folds
from mvp_jax.targets.in_time import Course, InTime, length

if TYPE_CHECKING:  # they import this module
  from mvp_jax.targets.concordance import Concordance

TRAINING_MEAN = 'training_mean'
LAGGED_COPY = 'lagged_copy'
RIDGE = 'ridge'
# Seconds by which ratings may follow: annotators take 1 to 6 s (Mariooryad and Busso,
# 2015).
LAGS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0)
_COSTS = 10.0 ** np.arange(-4, 3)  # on the variance of standardised features

Model: TypeAlias = Callable[[Trial], Course]
# Second moments of E = D + 2: [1, features, rating].
Total: TypeAlias = Float[np.ndarray, 'E E']
Line: TypeAlias = tuple[float, Float[np.ndarray, ' D']]  # offset and slopes


def baselines(
  target: 'Concordance',
  fold: Fold,
  trials: list[Trial],
  groups: Int[np.ndarray, ' trials'] | None = None,
  seed: int = 0,
) -> list[Said]:
  """What they say of a fold's test trials.

  Args:
    trials: of all folds.
    groups: which trials belong together when the cost of ridge regression is chosen;
      None = subjects.
    seed: of that choice.
  """
  if groups is None:
    groups = np.array([trial.subject for trial in trials])
  sides = frozenset(fold.train), frozenset(fold.test)
  train, test = (
    [i for i, trial in enumerate(trials) if trial.trial_id in side] for side in sides
  )
  mean = np.array(fold.target.means)
  models = {TRAINING_MEAN: lambda trial: np.tile(mean, (target.length(trial), 1))}
  of_train = [trials[i] for i in train]
  if names := feature_names(target, of_train):
    models |= _Regression(target, of_train, names, groups[train], seed).models()
  return [
    Said(name, trials[i].trial_id, says(trials[i]))
    for i, (name, says) in itertools.product(test, models.items())
  ]


def _series(target: InTime, trial: Trial) -> dict[str, Series]:
  """Streams of numbers other than the annotation, by name."""
  return {name: x for name, x in trial.series.items() if name != target.stream}


def feature_names(target: InTime, trials: Iterable[Trial]) -> list[Name]:
  """Those of `features_in_time`."""
  own = ((name, x) for trial in trials for name, x in _series(target, trial).items())
  return descriptor_names(((name, x.channels, x.rate) for name, x in own), target.rate)


def features_in_time(target: InTime, trial: Trial, names: Sequence[Name]) -> Values:
  """Descriptors at the label times of a trial, NaN where there is nothing.

  `names` are of `feature_names`.
  """
  series, count = _series(target, trial), length(target, trial)
  return descriptors(series, target.rate, count, names)


class _Regression:
  """Second moments of lagged features and ratings, of parts of the training trials."""

  def __init__(
    self,
    target: 'Concordance',
    trials: Sequence[Trial],
    names: Sequence[Name],
    groups: Int[np.ndarray, ' trials'],
    seed: int,
  ) -> None:
    self.target, self.names = target, names
    total = np.zeros((3, 2 * len(names)))  # number, sum, squares
    for trial in trials:  # one at a time: they need not all be in memory
      x = self._features(trial)
      there = np.isfinite(x)
      x = np.where(there, x, 0)
      total += there.sum(0), x.sum(0), (x**2).sum(0)
    number = np.maximum(total[0], 1)
    self._middle = total[1] / number
    spread = np.sqrt(np.maximum(total[2] / number - self._middle**2, 0))
    steady = spread <= STEADY * (1 + abs(self._middle))
    self._spread = np.where(steady, np.inf, spread)
    part = np.zeros(len(trials), int)
    for number, (_, rows) in enumerate(inner_folds(groups, seed)):
      part[rows] = number
    width = 2 + total.shape[1] * len(LAGS)
    self._parts = np.zeros((target.outputs, part.max() + 1, width, width))
    for trial, number in zip(trials, part, strict=True):
      self._parts[:, number] += self._of(trial)

  def _features(self, trial: Trial) -> Float[np.ndarray, 'L features']:
    """Each as it is, and standardised within the trial: people and microphones differ.

    On RECOLA's twin skin conductance has .59 so, .52 less its mean alone.
    """
    x = features_in_time(self.target, trial, self.names)
    return np.concatenate([x, within(x)], axis=1)

  def _design(self, trial: Trial) -> Float[np.ndarray, 'L D']:
    """Standardised features at all lags; what is missing is the mean, 0."""
    x = (self._features(trial) - self._middle) / self._spread
    x = np.where(np.isfinite(x), x, 0)
    rows = np.arange(len(x))
    return np.concatenate(
      [x[np.maximum(rows - round(lag * self.target.rate), 0)] for lag in LAGS], axis=1
    )

  def _of(self, trial: Trial) -> Float[np.ndarray, 'ratings E E']:
    """Of each rating the moments of [1, features, rating]."""
    design = self._design(trial)
    rated = self.target.annotated(trial)
    found = []
    for y in rated.T:
      here = np.isfinite(y)
      z = np.column_stack([np.ones(here.sum()), design[here], y[here]])
      found.append(z.T @ z)
    return np.stack(found)

  def models(self) -> dict[str, Model]:
    """Functions of a trial, by the names of baselines."""

    def says(lines: Sequence[Line]) -> Model:
      offsets, slopes = (np.stack(x, axis=-1) for x in zip(*lines, strict=True))
      return lambda trial: self._design(trial) @ slopes + offsets

    return {
      LAGGED_COPY: says([_lagged_copy(parts.sum(0)) for parts in self._parts]),
      RIDGE: says([_ridge(parts) for parts in self._parts]),
    }


def _ridge(parts: Float[np.ndarray, 'parts E E']) -> Line:
  """The line of the cost that has the best concordance on parts not trained on."""
  total = parts.sum(0)

  def score(cost: float) -> float:
    return float(np.mean([_concordance(x, *_line(total - x, cost)) for x in parts]))

  return _line(total, max(_COSTS, key=score) if len(parts) > 1 else 1.0)


def _central(
  total: Total,
) -> tuple[
  Float[np.ndarray, ' D'],
  Float[np.ndarray, 'D D'],
  Float[np.ndarray, ' D'],
  float,
  float,
]:
  """Of features: means, covariance, and that with the rating; its mean and variance."""
  n = max(total[0, 0], 1)
  mean = total[0, 1:] / n
  all_of = total[1:, 1:] / n - np.outer(mean, mean)
  return mean[:-1], all_of[:-1, :-1], all_of[:-1, -1], mean[-1], all_of[-1, -1]


def _to_scale(total: Total, slopes: Float[np.ndarray, ' D']) -> Line:
  """Offset and slopes, so that predictions have the mean and deviation of ratings.

  Of all lines with one correlation that has the best concordance.
  """
  mean, covariance, _, middle, variance = _central(total)
  spread = slopes @ covariance @ slopes
  if spread > 1e-12:
    slopes = slopes * np.sqrt(max(variance, 0) / spread)
  return middle - mean @ slopes, slopes


def _lagged_copy(total: Total) -> Line:
  """The line of the one column that goes with the ratings best."""
  _, covariance, common, _, _ = _central(total)
  spread = np.sqrt(np.maximum(np.diag(covariance), 0))
  together = np.divide(common, spread, np.zeros_like(common), where=spread > 1e-6)
  best = np.argmax(np.abs(together))
  slopes = np.zeros_like(common)
  slopes[best] = np.sign(together[best])
  return _to_scale(total, slopes)


def _line(total: Total, cost: float) -> Line:
  """Ridge regression, brought to the deviation of the ratings."""
  _, covariance, common, _, _ = _central(total)
  slopes = np.linalg.solve(covariance + cost * np.eye(len(common)), common)
  return _to_scale(total, slopes)


def _concordance(total: Total, offset: float, slopes: Float[np.ndarray, ' D']) -> float:
  """CCC of a line on moments, 0 where there is none."""
  mean, covariance, common, middle, variance = _central(total)
  apart = offset + mean @ slopes - middle
  spread = slopes @ covariance @ slopes + variance + apart**2
  return 2 * (slopes @ common) / spread if spread > 1e-12 else 0.0
