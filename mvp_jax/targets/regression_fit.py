"""A regression in one fold: labels over what is known of the training ratings."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from mvp_jax.array_types import Float, Float32
from mvp_jax.data.trial import Trial
from mvp_jax.targets.base import Values, Weight

if TYPE_CHECKING:  # they import this module
  from mvp_jax.targets.regression import Regression

# So that a few examples of a rare level don't outweigh all others.
_LEAST_SHARE = 0.05
_DIGITS = 4  # of ratings and predictions, as they are written


@dataclasses.dataclass(frozen=True)
class Fit:
  """The target in one fold: what is known of the ratings that are trained on.

  Attributes:
    means, deviations, medians: one for each rating.
    edges: [ratings][edges] that part rare from frequent ratings.
    weights: [ratings][edges + 1], what a rating of each part weighs when balanced; 1 on
      average over all that is trained on.
    subjects, trials: whose these are, and the ids.
  """

  target: 'Regression'
  means: tuple[float, ...]
  deviations: tuple[float, ...]
  medians: tuple[float, ...]
  edges: tuple[tuple[float, ...], ...]
  weights: tuple[tuple[float, ...], ...]
  subjects: tuple[int, ...] = ()
  trials: tuple[str, ...] = ()

  def label(self, trial: Trial, seconds: float | None = None) -> tuple[Values, Weight]:
    """Ratings as they are learnt, float32 [ratings] or [L, ratings]; their weights.

    A moment without annotation weighs 0.
    """
    rated = self.target.given(trial, seconds)
    there = np.isfinite(rated)
    label = np.where(there, self.standardised(rated), 0).astype(np.float32)
    weight = there.astype(np.float32)
    if self.target.balance == 'weights':
      weight *= self.balanced(rated)
    elif self.target.level == 'trial':
      return label, np.float32(1)
    return label, weight

  def balanced(
    self, rated: Float[np.ndarray, '*l ratings']
  ) -> Float32[np.ndarray, '*l ratings']:
    """What ratings weigh if every level counts, 1 for NaN."""
    found = np.ones(np.shape(rated), np.float32)
    for i, (edges, weights) in enumerate(zip(self.edges, self.weights, strict=True)):
      own = np.asarray(rated)[..., i]
      there = np.isfinite(own)
      found[..., i][there] = np.array(weights)[np.digitize(own[there], edges)]
    return found

  def standardised(self, rated: Values) -> Values:
    """Ratings as the network learns them."""
    if self.target.levels:
      return np.asarray(rated, float)
    return (rated - np.array(self.means)) / np.array(self.deviations)

  def restored(self, values: Values) -> Values:
    """The other way round, to the digits that ratings have."""
    if not self.target.levels:
      values = np.array(self.means) + np.array(self.deviations) * np.asarray(
        values, float
      )
    return np.round(np.asarray(values, float), _DIGITS)

  def describe(self) -> dict[str, Any]:
    names = self.target.ratings
    return {
      'training_mean': dict(zip(names, self.means, strict=True)),
      'training_deviation': dict(zip(names, self.deviations, strict=True)),
      'training_median': dict(zip(names, self.medians, strict=True)),
      'subjects': list(self.subjects),
    }


def level_weights(
  values: Float[np.ndarray, ' n'], edges: tuple[float, ...]
) -> tuple[float, ...]:
  """What a value of each part weighs: parts count the same, the mean weight is 1."""
  count = np.bincount(np.digitize(values, edges), minlength=len(edges) + 1)
  shares = np.maximum(count / len(values), _LEAST_SHARE)
  weights = 1 / shares
  return tuple((weights / ((count * weights).sum() / len(values))).tolist())
