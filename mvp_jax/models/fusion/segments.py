"""The attentions of JCA and of its successors, over segments that modalities share.

Praveen et al., FG 2021, CVPRW 2022, ICASSP 2023 and ICME 2024. There are two modalities
in the papers; how more are brought together is ours.

Shapes: B examples (or windows), N tokens, L segments, D width, E = D times the number
of modalities.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mvp_jax.array_types import Array, Bool, Float
from mvp_jax.models import layers
from mvp_jax.models.fusion.base import (
  DType,
  Fused,
  Fusion,
  MakeBlock,
  Names,
  RandomKey,
  Sizes,
  Tokens,
  one_after_another,
  register,
)
from mvp_jax.models.physio import masked_mean

Mask = Bool[Array, 'B L']
Segments = Float[Array, 'B L D']
Shares = Float[Array, 'B L']
Attended = tuple[list[Segments], list[Shares] | None]


def share(own: Segments, added: Segments) -> Shares:
  """Of what attention adds to a segment: |added| / (|own| + |added|), 0 to 1."""
  norms = [jnp.sqrt(jnp.square(x.astype(jnp.float32)).sum(-1)) for x in (own, added)]
  return norms[1] / jnp.maximum(norms[0] + norms[1], 1e-12)


class Segmented(Fusion):
  """What these share: segments of time, the same for all modalities, L at a time.

  With `segment_seconds`, segments last so long from time zero on, and L of them are a
  window that is attended by itself: JCA's clips, in recordings of any length. With 0,
  an example is one window: its L segments are equal spans to the last valid token of
  any modality.

  In training each example's first window begins at random, up to a window before time
  zero, so that the same segments are not met again and again: on RECOLA's twin the CCC
  of arousal is .88 so, .87 without. Where nothing is trained it begins at zero; with
  `segment_shifts` this is done so many times, each time by one part of so many earlier:
  in JCA's test every frame is the end of exactly one clip. The sequence holds them all.

  A segment is the mean over its tokens, zero without any. After the attention a linear
  layer reads all modalities in each segment (as JCA's head does for each clip). These
  are the sequence, each at the centre of its span; their mean is what is pooled.
  """

  def build(self, sizes: Sizes, block: MakeBlock, rngs: nnx.Rngs, dtype: DType) -> None:
    self.segments, self.windows, self.lasting = sizes.segments, 1, sizes.segment_seconds
    self.shifts = getattr(sizes, 'segment_shifts', 1)
    if self.lasting:
      if not sizes.seconds:
        raise ValueError('segment_seconds: nobody says how long examples last')
      window = self.segments * self.lasting
      last = sizes.seconds + self.lasting * (1 - 1 / self.shifts)
      self.windows = max(math.ceil(last / window - 1e-6), 1)
    self.out = layers.linear(
      len(self.names) * sizes.width, sizes.width, rngs=rngs, dtype=dtype
    )

  def fuse(self, taken: list[Tokens], key: RandomKey | None, look: bool) -> Fused:
    """If asked for, and where there is attention, `seen` has

    shares: float32 [B, modalities, segments], how much of each modality came by the
    attention (see `share`), NaN where it has no token; share_times: [B, segments],
    seconds; share_names: Names. Of several layings they are of the first.
    """
    windows = self.windows
    early: list[Any] = [self.lasting * i / self.shifts for i in range(self.shifts)]
    if key is not None:
      places = jax.random.uniform(key, (taken[0].valid.shape[0], 1))
      early = [self.lasting * self.segments * places]
      windows += bool(self.lasting)
    layings = [self._laid(taken, seconds, windows) for seconds in early]
    sequence = one_after_another([tokens for tokens, _ in layings])
    first, shares = layings[0]
    seen: dict[str, Any] = {}
    if look and shares is not None:
      names = Names(self.names)
      seen = {'shares': shares, 'share_times': first.times, 'share_names': names}
    return Fused([masked_mean(sequence.x, sequence.valid)], sequence, seen)

  def _laid(
    self, taken: list[Tokens], early: float | Float[Array, 'B 1'], windows: int
  ) -> tuple[Tokens, Array | None]:
    """The segments of windows that begin `early` seconds before time zero.

    And the shares of attention, see `fuse`, or None.
    """
    batch, count = taken[0].valid.shape[0], windows * self.segments
    if self.lasting:
      end = jnp.full((batch, 1), count * self.lasting, jnp.float32)
    else:
      end = functools.reduce(jnp.maximum, [_last(t) for t in taken])
    early = jnp.asarray(early, jnp.float32)
    later = [t._replace(times=jnp.asarray(t.times) + early) for t in taken]
    cut, valid = zip(*(self._cut(t, end, count) for t in later), strict=True)

    def apart(x: Array) -> Array:
      return x.reshape(batch * windows, self.segments, *x.shape[2:])

    attended, shares = self.attend([apart(x) for x in cut], [apart(x) for x in valid])
    seen = None
    if shares is not None:
      there = jnp.stack(valid, axis=1)
      seen = jnp.stack([x.reshape(batch, count) for x in shares], axis=1)
      seen = jnp.where(there, seen.astype(jnp.float32), jnp.nan)
    x = self.out(jnp.concatenate(attended, axis=-1)).reshape(batch, count, -1)
    any_valid = functools.reduce(jnp.logical_or, valid)
    centres = (np.arange(count, dtype=np.float32) + 0.5) / count
    return Tokens(x, any_valid, end * centres[None] - early), seen

  def attend(self, x: Sequence[Segments], valid: Sequence[Mask]) -> Attended:
    """All modalities of some windows, attended; `valid` is where they have tokens.

    And of each the share of the attention in each segment, or None if there is none.
    """
    raise NotImplementedError

  def _cut(
    self, tokens: Tokens, end: Float[Array, 'B 1'], count: int
  ) -> tuple[Segments, Mask]:
    """Means of the segments [B, count, D], and where there is a valid token."""
    place = (tokens.times / jnp.maximum(end, 1e-3) * count).astype(jnp.int32)
    place = jnp.clip(place, 0, count - 1)
    valid = tokens.valid[..., None].astype(tokens.x.dtype)
    member = jax.nn.one_hot(place, count, dtype=tokens.x.dtype) * valid
    number, total = member.sum(1), jnp.einsum('bnl,bnd->bld', member, tokens.x)
    return total / jnp.maximum(number, 1)[..., None], number > 0


@register('concat_segments')
class SideBySide(Segmented):
  """The segments of all modalities side by side: no attention at all."""

  def attend(self, x: Sequence[Segments], valid: Sequence[Mask]) -> Attended:
    return list(x), None


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

  def attend(self, x: Sequence[Segments], valid: Sequence[Mask]) -> Attended:
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
    added = [a / jnp.maximum(count, 1) for a, count in zip(added, others, strict=True)]
    parts = list(zip(x, added, strict=True))
    return [jnp.tanh(own + a) for own, a in parts], [share(*pair) for pair in parts]


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
    self.weights = self._weights(sizes, rngs)

  def _weights(self, sizes: Sizes, rngs: nnx.Rngs) -> nnx.List:
    """Of one attention: a dict for each modality."""
    segments, together = sizes.segments, len(self.names) * sizes.width
    return nnx.List(
      nnx.Dict(
        joint=_matrix(rngs, segments, segments),
        own=_matrix(rngs, self.hidden, segments),
        correlated=_matrix(rngs, self.hidden, together),
        back=_matrix(rngs, self.hidden, segments),
      )
      for _ in self.names
    )

  def attend(self, x: Sequence[Segments], valid: Sequence[Mask]) -> Attended:
    return _changed(x, self._attended(x, self.weights))

  def _attended(self, x: Sequence[Segments], layer: nnx.List) -> list[Segments]:
    joint = jnp.concatenate(x, axis=-1)

    def attended(x: Segments, weights: nnx.Dict) -> Segments:
      w = {name: weight[...].astype(x.dtype) for name, weight in weights.items()}
      c = jnp.einsum('bld,lm,bme->bde', x, w['joint'], joint)
      c = jnp.tanh(c / joint.shape[-1] ** 0.5)
      h = jnp.einsum('kl,bld->bkd', w['own'], x)
      h += jnp.einsum('ke,bde->bkd', w['correlated'], c)
      return x + jnp.einsum('kl,bkd->bld', w['back'], jax.nn.relu(h))

    return [attended(*pair) for pair in zip(x, layer, strict=True)]


@register('joint_recursive')
class Recursive(Joint):
  """Joint cross-attention of what joint cross-attention gave, `depth` times in all.

  (Praveen et al., Recursive joint attention, ICASSP 2023.) Each time has weights of its
  own; the paper leaves open whether it does. With a depth of 1 it is `joint`.
  """

  def build(self, sizes: Sizes, block: MakeBlock, rngs: nnx.Rngs, dtype: DType) -> None:
    super().build(sizes, block, rngs, dtype)
    more = range(sizes.depth - 1)
    self.further = nnx.List(self._weights(sizes, rngs) for _ in more)

  def attend(self, x: Sequence[Segments], valid: Sequence[Mask]) -> Attended:
    found = list(x)
    for layer in (self.weights, *self.further):
      found = self._attended(found, layer)
    return _changed(x, found)


@register('joint_gated')
class Gated(Recursive):
  """As `joint_recursive`, but each time a gate chooses for each segment.

  A softmax at a low temperature over two numbers, linear in what was attended, weighs
  the segment as it came against what was attended; ReLU ends it (dynamic
  cross-attention, Praveen and Alam, 2024). How gate and recursion go together is ours.
  """

  temperature = 0.1

  def build(self, sizes: Sizes, block: MakeBlock, rngs: nnx.Rngs, dtype: DType) -> None:
    super().build(sizes, block, rngs, dtype)
    self.gates = nnx.List(
      nnx.List(_matrix(rngs, sizes.width, 2) for _ in self.names)
      for _ in range(1 + len(self.further))
    )

  def attend(self, x: Sequence[Segments], valid: Sequence[Mask]) -> Attended:
    """The share is that of the gate, the mean over all times."""
    x, chosen = list(x), []
    for layer, gates in zip((self.weights, *self.further), self.gates, strict=True):
      found = zip(x, self._attended(x, layer), gates, strict=True)
      x, shares = map(list, zip(*(self._gated(*one) for one in found), strict=True))
      chosen.append(shares)
    return x, [sum(of_one) / len(chosen) for of_one in zip(*chosen, strict=True)]

  def _gated(
    self, x: Segments, attended: Segments, gate: nnx.Param
  ) -> tuple[Segments, Shares]:
    asked = attended @ gate[...].astype(x.dtype) / self.temperature
    shares = jax.nn.softmax(asked, axis=-1)
    x = jax.nn.relu(shares[..., :1] * x + shares[..., 1:] * attended)
    return x, shares[..., 1]


def _changed(own: Sequence[Segments], attended: list[Segments]) -> Attended:
  """With the shares of what has been added."""
  pairs = zip(own, attended, strict=True)
  return attended, [share(x, after - x) for x, after in pairs]


def _matrix(rngs: nnx.Rngs, rows: int, columns: int) -> nnx.Param:
  return nnx.Param(nnx.initializers.xavier_uniform()(rngs.params(), (rows, columns)))


def _last(tokens: Tokens) -> Float[Array, 'B 1']:
  """Seconds of the last valid token, zero if none is."""
  return jnp.where(tokens.valid, tokens.times, 0).max(1, keepdims=True)
