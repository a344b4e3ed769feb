"""Cross-attention that prefers what is near in time.

Shapes: B examples, H heads, N query tokens, M context tokens (keys).
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from mvp_jax.array_types import Array, Float
from mvp_jax.models.fusion.base import DType, MakeBlock, Sizes, Tokens, register
from mvp_jax.models.fusion.cross import Cross


@register('cross_near')
class CrossNear(Cross):
  """As `Cross`, but each token prefers the context of its own time.

  Each head adds -((t - s - lag) / reach)^2 / 2 to its scores, where t is the time of
  the token that asks and s that of the one that answers. What it learns of them: the
  lag (seconds by which the context comes first) and the reach (seconds). Plain
  cross-attention has to learn from labels alone that tokens of one time belong
  together (docs/evaluation.md has what that costs). Ours; no paper has it.
  """

  def build(self, sizes: Sizes, block: MakeBlock, rngs: nnx.Rngs, dtype: DType) -> None:
    super().build(sizes, block, rngs, dtype)
    heads = self.stack.blocks.attention.heads if sizes.depth else 0
    self.lag = nnx.Param(jnp.zeros(heads))
    # From a second to more than any recording: some heads see what is near, others all.
    self.log_reach = nnx.Param(
      jnp.arange(heads, dtype=jnp.float32) * np.log(np.float32(3))
    )

  def bias(self, query: Tokens, context: Tokens) -> Float[Array, 'B H N M']:
    """What is added to the scores: at most 0; 0 where the query modality is absent."""
    asked = jnp.where(query.valid, query.times, 0)
    told = jnp.where(context.valid, context.times, 0)
    gaps = (asked[:, :, None] - told[:, None])[:, None]
    over = (0, 2, 3)
    late = gaps - jnp.expand_dims(self.lag[...], over)
    bias = -jnp.square(late / jnp.expand_dims(jnp.exp(self.log_reach[...]), over)) / 2
    return jnp.where(query.present[:, None, None, None], bias, 0)
