"""Scores that follow from sums of moments of two variables, such as the concordance."""

from typing import TypeAlias

import numpy as np

from mvp_jax.array_types import Float, Int, Num

Moments: TypeAlias = Num[np.ndarray, '*a 6']  # as `moments` gives them


def moments(
  x: Float[np.ndarray, ' n'],
  y: Float[np.ndarray, ' n'],
  subjects: Int[np.ndarray, ' n'],
  number: int,
) -> Num[np.ndarray, '{number} 6']:
  """n and the sums of x, y, x², y², xy by subject.

  Args:
    x, y: two variables.
    subjects: 0 to `number` - 1.
    number: how many subjects there are, with and without values.
  """
  x, y = np.asarray(x, float), np.asarray(y, float)
  middle = x.mean() if len(x) else 0  # keeps the squares small; no score depends on it
  x, y = x - middle, y - middle
  return np.stack(
    [
      np.bincount(subjects, z, number)
      for z in (np.ones_like(x), x, y, x * x, y * y, x * y)
    ],
    axis=-1,
  )


def concordance(moments: Moments) -> Float[np.ndarray, '*a']:
  """Lin's concordance correlation coefficient of moments.

  NaN where all x and y are one value, or there are none. (Lin, Biometrics 45, 1989;
  variances over n.)
  """
  n, x, y, xx, yy, xy = np.moveaxis(np.asarray(moments, float), -1, 0)
  n = np.where(n > 0, n, np.nan)
  covariance = xy / n - x * y / n**2
  spread = (xx / n - (x / n) ** 2) + (yy / n - (y / n) ** 2) + ((x - y) / n) ** 2
  # What is left of a constant after rounding is no spread.
  scale = np.maximum(xx, yy) / n
  return ratio(2 * covariance, np.where(spread > 1e-12 * scale, spread, 0), np.nan)


def correlation(moments: Moments) -> Float[np.ndarray, '*a']:
  """Pearson's of moments; NaN where x or y is one value."""
  n, x, y, xx, yy, xy = np.moveaxis(np.asarray(moments, float), -1, 0)
  n = np.where(n > 0, n, np.nan)
  spreads = [
    np.where((spread := zz / n - (z / n) ** 2) > 1e-12 * zz / n, spread, 0)
    for z, zz in ((x, xx), (y, yy))
  ]
  return ratio(xy / n - x * y / n**2, np.sqrt(spreads[0] * spreads[1]), np.nan)


def root_mean_square_error(moments: Moments) -> Float[np.ndarray, '*a']:
  """Of moments; NaN where there are none."""
  n, _, _, xx, yy, xy = np.moveaxis(np.asarray(moments, float), -1, 0)
  return np.sqrt(np.maximum(ratio(xx + yy - 2 * xy, n, np.nan), 0))


def ratio(
  numerator: Float[np.ndarray, '*#a'],
  denominator: Float[np.ndarray, '*#a'],
  otherwise: float = 0.0,
) -> Float[np.ndarray, '*a']:
  """Their ratio, or `otherwise` where the denominator is not above 0."""
  numerator, denominator = np.broadcast_arrays(numerator, denominator)
  return np.divide(
    numerator,
    denominator,
    where=denominator > 0,
    out=np.full(denominator.shape, otherwise),
  )
