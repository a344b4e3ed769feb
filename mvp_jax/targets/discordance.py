"""One minus Lin's concordance as a loss: central moments, merged and divided once."""

import flax.struct
import jax.numpy as jnp

from mvp_jax.array_types import Array, Float
from mvp_jax.targets.metric import Metric


@flax.struct.dataclass
class Discordance(Metric):
  """The mean over K ratings of 1 - CCC, of all weighted moments together.

  CCC = 2 cov(x, y) / (var x + var y + (mean x - mean y)²), so that 1 - CCC is the
  mean square of x - y over the same denominator. Squares are around the means of what
  is merged: float32 loses nothing however far ratings are from zero.

  A rating without any weight does not count. One whose predictions and labels are all
  the same number has discordance 0; without any rating so has the whole.

  Attributes:
    count: [K], sum of the weights.
    means: [2, K], of predictions and labels.
    spread: [K], weighted squares of both around their means.
    errors: [K], weighted squares of their differences.
  """

  count: Array
  means: Array
  spread: Array
  errors: Array

  @classmethod
  def of(
    cls,
    x: Float[Array, '*b k'],
    y: Float[Array, '*b k'],
    weight: Float[Array, '*b'] | Float[Array, '*b k'],
  ) -> 'Discordance':
    """Of predictions x and labels y, which count by their weight alone."""
    if weight.ndim < x.ndim:
      weight = weight[..., None]
    weight = jnp.broadcast_to(weight, x.shape).reshape(1, -1, x.shape[-1])
    both = jnp.stack([z.reshape(weight.shape[1:]) for z in (x, y)])
    both = jnp.where(weight > 0, both, 0)
    count = weight.sum((0, 1))
    means = (weight * both).sum(1) / _above_zero(count)[None]
    return cls(
      count,
      means,
      (weight * (both - means[:, None]) ** 2).sum((0, 1)),
      (weight[0] * (both[0] - both[1]) ** 2).sum(0),
    )

  @classmethod
  def empty(cls) -> 'Discordance':
    """Of one rating, without any moment."""
    nothing = jnp.zeros(1)
    return cls(nothing, jnp.zeros((2, 1)), nothing, nothing)

  def merge(self, other: 'Discordance') -> 'Discordance':
    """Of both together (Chan et al., 1979)."""
    count = self.count + other.count
    share = other.count / _above_zero(count)
    gap = other.means - self.means
    between = self.count * share * (gap**2).sum(0)
    return type(self)(
      count,
      self.means + share[None] * gap,
      self.spread + other.spread + between,
      self.errors + other.errors,
    )

  def compute(self) -> Array:
    apart = self.count * (self.means[0] - self.means[1]) ** 2
    each = self.errors / _above_zero(self.spread + apart)
    rated = (self.count > 0).astype(each.dtype)
    return (rated * each).sum() / _above_zero(rated.sum())


def _above_zero(x: Array) -> Array:
  """Itself, or 1 where it is 0: to divide by."""
  return jnp.where(x > 0, x, 1)
