"""Cross-attention: one modality asks, the others answer.

Shapes: B examples, N query tokens, M context tokens (keys), D width.
"""

from typing import Any

import jax.numpy as jnp
from flax import nnx

from mvp_jax.models import layers
from mvp_jax.models.attention import Bias
from mvp_jax.models.fusion.base import (
  DType,
  Fused,
  Fusion,
  MakeBlock,
  RandomKey,
  Sides,
  Sizes,
  Tokens,
  add_kinds,
  kinds,
  one_after_another,
  register,
)
from mvp_jax.models.physio import masked_mean


@register('cross')
class Cross(Fusion):
  """The first modality's tokens ask all others' tokens (MVP, section 3).

  With several others, a learnt vector added to their tokens tells them apart. A
  modality alone asks itself.

  Where the query modality is absent, the mean of the context asks in its place. Where
  the context is absent, all attention weights are zero, and what a layer's attention
  adds is the bias of its output alone. Where both are, the pooled vector is zero.

  The sequence is the query tokens or, where they are absent, the context tokens, each
  with what the layers added to their mean.
  """

  def build(self, sizes: Sizes, block: MakeBlock, rngs: nnx.Rngs, dtype: DType) -> None:
    self.query, self.context = self._sides()
    self.stack = layers.Stack(
      lambda rngs: block(rngs, cross=True), sizes.depth, rngs=rngs, remat=sizes.remat
    )
    several = len(self.context) > 1
    self.kinds = kinds(rngs, len(self.context), sizes.width) if several else None

  def _sides(self) -> tuple[str, tuple[str, ...]]:
    """The name of the query modality and those of the context."""
    return self.names[0], self.names[1:] or self.names

  def bias(self, query: Tokens, context: Tokens) -> Bias:
    """What is added to the attention scores, if anything."""
    return None

  def fuse(self, taken: list[Tokens], key: RandomKey | None, look: bool) -> Fused:
    """If asked for, `seen` has

    attention: float32 [depth, B, heads, N, M];
    query_valid, key_valid: bool [B, N], [B, M]; query_times, key_times: seconds;
    sides: the names.
    """
    by_name = dict(zip(self.names, taken, strict=True))
    query, several = by_name[self.query], [by_name[name] for name in self.context]
    if self.kinds is not None:
      several = add_kinds(several, self.kinds)
    context = one_after_another(several)
    asked = query.present[:, None]
    mean = masked_mean(context.x, context.valid)
    x, weights = self.stack(
      jnp.where(asked[..., None], query.x, mean[:, None].astype(query.x.dtype)),
      context.x,
      context.valid,
      key,
      look,
      self.bias(query, context),
    )
    pooled = masked_mean(x, jnp.where(asked, query.valid, context.present[:, None]))
    added = (pooled - mean)[:, None].astype(context.x.dtype)
    sequence = one_after_another(
      [
        Tokens(x, query.valid, query.times),
        Tokens(context.x + added, context.valid & ~asked, context.times),
      ]
    )
    seen: dict[str, Any] = {}
    if weights is not None:
      lengths = tuple(t.valid.shape[1] for t in several)
      seen = {
        'attention': weights,
        'query_valid': query.valid,
        'query_times': query.times,
        'key_valid': context.valid,
        'key_times': context.times,
        'sides': Sides(self.query, self.context, lengths),
      }
    return Fused([pooled], sequence, seen)


@register('cross_swapped')
class CrossSwapped(Cross):
  """As `Cross`, but the last modality's tokens ask those of all before it."""

  def _sides(self) -> tuple[str, tuple[str, ...]]:
    return self.names[-1], self.names[:-1] or self.names
