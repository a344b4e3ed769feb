"""Early concatenation: one sequence that attends to itself.

Shapes: B examples, N tokens of all modalities together, D width.
"""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import nnx

from mvp_jax.models import layers
from mvp_jax.models.fusion.base import (
  Base,
  Fused,
  MakeBlock,
  Names,
  RandomKey,
  Sizes,
  Tokens,
  add_kinds,
  kinds,
  one_after_another,
  register,
)
from mvp_jax.models.physio import masked_mean


@register('concat_early')
class OneSequence(Base):
  """The tokens of all modalities as one sequence, attending to itself.

  A learnt vector for each modality, added to its tokens, tells them apart. Nothing
  attends to an absent modality. The pooled vector is the mean of the sequence.
  """

  def __init__(
    self,
    sizes: Sizes,
    names: Names,
    block: MakeBlock,
    *,
    rngs: nnx.Rngs,
    dtype: jnp.dtype,
  ) -> None:
    super().__init__(names, sizes.width)
    self.kinds = kinds(rngs, len(names), sizes.width)
    self.stack = layers.Stack(block, sizes.depth, rngs=rngs, remat=sizes.remat)

  def __call__(
    self,
    tokens: Mapping[str, Tokens],
    key: RandomKey | None = None,
    want_attention: bool = False,
  ) -> Fused:
    """As `Fusion`, with nothing to look at."""
    together = one_after_another(add_kinds(self.take(tokens), self.kinds))
    x, _ = self.stack(together.x, valid=together.valid, key=key)
    return Fused([masked_mean(x, together.valid)], together._replace(x=x), {})
