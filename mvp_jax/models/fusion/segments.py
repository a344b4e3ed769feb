"""The attentions of JCA, over segments that all modalities share.

Praveen et al., FG 2021 and CVPRW 2022. There are two modalities in the papers; how
more are brought together is ours.

Shapes: B examples, N tokens, L segments, D width, E = D times the number of
modalities.
"""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from mvp_jax.models import layers
from mvp_jax.models.fusion.base import (
  DType,
  Fused,
  Fusion,
  MakeBlock,
  RandomKey,
  Sizes,
  Tokens,
  register,
)
from mvp_jax.models.physio import masked_mean

Mask = Bool[Array, 'B L']
Segments = Float[Array, 'B L D']


class Segmented(Fusion):
  """What both share: L segments, the same for all modalities.

  An example is cut into `segments` equal spans from time zero to the last valid token
  of any modality; a segment is the mean over its tokens, zero without any. After the
  attention a linear layer reads all modalities in each segment (as JCA's head does
  for each clip). These are the sequence, each at the centre of its span; their mean
  is what is pooled.
  """

  def build(self, sizes: Sizes, block: MakeBlock, rngs: nnx.Rngs, dtype: DType) -> None:
    self.segments = sizes.segments
    self.out = layers.linear(
      len(self.names) * sizes.width, sizes.width, rngs=rngs, dtype=dtype
    )

  def fuse(self, taken: list[Tokens], key: RandomKey | None, look: bool) -> Fused:
    end = functools.reduce(jnp.maximum, [_last(t) for t in taken])
    cut, valid = zip(*(self._cut(t, end) for t in taken), strict=True)
    x = self.out(jnp.concatenate(self.attend(cut, valid), axis=-1))
    any_valid = functools.reduce(jnp.logical_or, valid)
    centres = (np.arange(self.segments, dtype=np.float32) + 0.5) / self.segments
    sequence = Tokens(x, any_valid, end * centres[None])
    return Fused([masked_mean(x, any_valid)], sequence, {})

  def attend(self, x: Sequence[Segments], valid: Sequence[Mask]) -> list[Segments]:
    """All modalities, attended; `valid` is where they have any token."""
    raise NotImplementedError

  def _cut(self, tokens: Tokens, end: Float[Array, 'B 1']) -> tuple[Segments, Mask]:
    """Means of the segments [B, L, D], and bool [B, L]: those with a valid token."""
    place = (tokens.times / jnp.maximum(end, 1e-3) * self.segments).astype(jnp.int32)
    place = jnp.clip(place, 0, self.segments - 1)
    valid = tokens.valid[..., None].astype(tokens.x.dtype)
    member = jax.nn.one_hot(place, self.segments, dtype=tokens.x.dtype) * valid
    count, total = member.sum(1), jnp.einsum('bnl,bnd->bld', member, tokens.x)
    return total / jnp.maximum(count, 1)[..., None], count > 0


@register('vanilla')
class Vanilla(Segmented):
  """The cross-attention that JCA is compared with (Praveen et al., FG 2021).

  Z = X W Y' correlates the segments of two modalities. Its softmax over the segments
  of X weighs these anew; that is added to X, and tanh ends it. With more than two, the
  mean over all others present is added; with none, nothing.
  """

  def build(self, sizes: Sizes, block: MakeBlock, rngs: nnx.Rngs, dtype: DType) -> None:
    super().build(sizes, block, rngs, dtype)
    pairs, width = itertools.combinations(self.names, 2), sizes.width
    self.correlations = nnx.List(_matrix(rngs, width, width) for _ in pairs)

  def attend(self, x: Sequence[Segments], valid: Sequence[Mask]) -> list[Segments]:
    added = [jnp.zeros_like(segments) for segments in x]
    others = [jnp.zeros((len(x[0]), 1, 1), x[0].dtype) for _ in x]
    pairs = itertools.combinations(range(len(x)), 2)
    for (i, j), weight in zip(pairs, self.correlations, strict=True):
      z = jnp.einsum('bld,de,bme->blm', x[i], weight[...].astype(x[i].dtype), x[j])
      for one, other, scores in ((i, j, z), (j, i, z.swapaxes(1, 2))):
        over = jax.nn.softmax(jnp.where(valid[one][:, :, None], scores, -1e30), axis=1)
        there = valid[other].any(1)[:, None, None].astype(x[i].dtype)
        added[one] += there * jnp.einsum('blm,bld->bmd', over, x[one])
        others[one] += there
    parts = zip(x, added, others, strict=True)
    return [jnp.tanh(own + a / jnp.maximum(count, 1)) for own, a, count in parts]


@register('joint')
class Joint(Segmented):
  """Joint cross-attention (JCA, Praveen et al., CVPRW 2022, section 3.3).

  With J = [X1, X2, ...] (L x E), for each modality X: C = tanh(X' Wj J / sqrt(E)), H =
  ReLU(Wa X + Wc C') and X + Wh' H. The correlation is of features with features, and
  the number of segments is part of the weights' shape. No biases, so that an absent
  modality stays zero.
  """

  hidden = 32

  def build(self, sizes: Sizes, block: MakeBlock, rngs: nnx.Rngs, dtype: DType) -> None:
    super().build(sizes, block, rngs, dtype)
    segments = sizes.segments
    self.weights = nnx.List(
      nnx.Dict(
        joint=_matrix(rngs, segments, segments),
        own=_matrix(rngs, self.hidden, segments),
        correlated=_matrix(rngs, self.hidden, len(self.names) * sizes.width),
        back=_matrix(rngs, self.hidden, segments),
      )
      for _ in self.names
    )

  def attend(self, x: Sequence[Segments], valid: Sequence[Mask]) -> list[Segments]:
    joint = jnp.concatenate(x, axis=-1)

    def attended(x: Segments, weights: nnx.Dict) -> Segments:
      w = {name: weight[...].astype(x.dtype) for name, weight in weights.items()}
      c = jnp.einsum('bld,lm,bme->bde', x, w['joint'], joint)
      c = jnp.tanh(c / joint.shape[-1] ** 0.5)
      h = jnp.einsum('kl,bld->bkd', w['own'], x)
      h += jnp.einsum('ke,bde->bkd', w['correlated'], c)
      return x + jnp.einsum('kl,bkd->bld', w['back'], jax.nn.relu(h))

    return [attended(*pair) for pair in zip(x, self.weights, strict=True)]


def _matrix(rngs: nnx.Rngs, rows: int, columns: int) -> nnx.Param:
  return nnx.Param(nnx.initializers.xavier_uniform()(rngs.params(), (rows, columns)))


def _last(tokens: Tokens) -> Float[Array, 'B 1']:
  """Seconds of the last valid token, zero if none is."""
  return jnp.where(tokens.valid, tokens.times, 0).max(1, keepdims=True)
