"""Early concatenation: one sequence that attends to itself.

Shapes: B examples, N tokens of all modalities together, D width.
"""

from flax import nnx

from mvp_jax.models import layers
from mvp_jax.models.fusion.base import (
  DType,
  Fused,
  Fusion,
  MakeBlock,
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
class OneSequence(Fusion):
  """The tokens of all modalities as one sequence, attending to itself.

  A learnt vector for each modality, added to its tokens, tells them apart. Nothing
  attends to an absent modality. The pooled vector is the mean of the sequence.
  """

  def build(self, sizes: Sizes, block: MakeBlock, rngs: nnx.Rngs, dtype: DType) -> None:
    self.kinds = kinds(rngs, len(self.names), sizes.width)
    self.stack = layers.Stack(block, sizes.depth, rngs=rngs, remat=sizes.remat)

  def fuse(self, taken: list[Tokens], key: RandomKey | None, look: bool) -> Fused:
    together = one_after_another(add_kinds(taken, self.kinds))
    x, _ = self.stack(together.x, valid=together.valid, key=key)
    return Fused([masked_mean(x, together.valid)], together._replace(x=x), {})
