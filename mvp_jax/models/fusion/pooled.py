"""Fusion of whole recordings: each modality's mean over time.

Shapes: B examples, D width, M modalities.
"""

import functools
from typing import TypeAlias

import jax.numpy as jnp
from flax import nnx

from mvp_jax.array_types import Array, Bool, Float
from mvp_jax.models.fusion.base import (
  DType,
  Fused,
  Fusion,
  MakeBlock,
  RandomKey,
  Sizes,
  Tokens,
  one_after_another,
  register,
)
from mvp_jax.models.physio import masked_mean

Vectors: TypeAlias = list[Float[Array, 'B _']]


class Pooled(Fusion):
  """What these fusions share: the means; zero where the modality is absent.

  The sequence is the tokens of all modalities as they came.
  """

  def fuse(self, taken: list[Tokens], key: RandomKey | None, look: bool) -> Fused:
    pooled = self._pool([masked_mean(t.x, t.valid) for t in taken])
    return Fused(pooled, one_after_another(taken), {}, self._present(taken))

  def _pool(self, means: Vectors) -> Vectors:
    raise NotImplementedError

  def _present(self, taken: list[Tokens]) -> list[Bool[Array, ' B']] | None:
    return None


@register('concat_mid')
class ConcatMid(Pooled):
  """The means side by side, M * D wide."""

  def build(self, sizes: Sizes, block: MakeBlock, rngs: nnx.Rngs, dtype: DType) -> None:
    self.widths = (len(self.names) * sizes.width,)

  def _pool(self, means: Vectors) -> Vectors:
    return [jnp.concatenate(means, axis=-1)]


@register('sum')
class Sum(Pooled):
  """The sum of the means of those present."""

  def _pool(self, means: Vectors) -> Vectors:
    return [functools.reduce(jnp.add, means)]


@register('late')
class Late(Pooled):
  """A head for each modality, of which those present count.

  Where every modality is absent all of them count.
  """

  def build(self, sizes: Sizes, block: MakeBlock, rngs: nnx.Rngs, dtype: DType) -> None:
    self.widths = (sizes.width,) * len(self.names)

  def _pool(self, means: Vectors) -> Vectors:
    return means

  def _present(self, taken: list[Tokens]) -> list[Bool[Array, ' B']] | None:
    present = jnp.stack([t.present for t in taken])
    return list(present | ~present.any(0, keepdims=True))
