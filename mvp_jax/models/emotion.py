"""From any number of modalities to what a target asks (MVP, arXiv 2501.03103).

Each modality gives tokens in time (`models.modalities`), a fusion brings them together
(`models.fusion`), and heads give the target's outputs: of the whole trial from pooled
vectors, or at each label time from the fused sequence. A model of one modality is the
same without fusion.

Shapes: B trials, N tokens, L label times, D width, K outputs.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from mvp_jax.array_types import Array, Bool, Float, Int, PRNGKeyArray
from mvp_jax.models import layers
from mvp_jax.models.fusion import Tokens, find
from mvp_jax.models.physio import masked_mean

if TYPE_CHECKING:  # they import this module, or much
  from mvp_jax.models.modalities import Network
  from mvp_jax.targets import Target


@dataclasses.dataclass(frozen=True)
class ModelSizes:
  """Sizes of what modalities share. Where the paper is silent the choice is ours."""

  width: int = 256  # of all tokens
  fusion: str = 'cross'  # one of models.fusion.FUSIONS
  depth: int = 2  # layers of the fusion, where it has any
  segments: int = 16  # that are attended together, in JCA's family
  # How long each lasts; 0: as many as there are make a whole trial. A target in time
  # asks for short ones: JCA's are 32 frames, 8 at a time.
  segment_seconds: float = 0.0
  # Where nothing is trained, segments are laid so many times, each time by one part of
  # so many later: with segment_seconds times the target's rate, as in JCA, one segment
  # ends with every label.
  segment_shifts: int = 1
  heads: int = 4
  mlp_width: int = 1024
  dropout: float = 0.1
  remat: str = 'none'  # one of layers.REMAT
  dtype: str = 'float32'  # of the computation; parameters are float32

  def __post_init__(self) -> None:
    find(self.fusion)  # raises if there is no such fusion
    if self.segments < 1:
      raise ValueError(f'segments is {self.segments}, must be at least 1')
    if not 0 <= self.segment_seconds < math.inf:
      raise ValueError(f'segment_seconds is {self.segment_seconds}, must be at least 0')
    if self.segment_shifts < 1:
      raise ValueError(f'segment_shifts is {self.segment_shifts}, must be at least 1')
    if self.segment_shifts > 1 and not self.segment_seconds:
      raise ValueError(
        f'segment_shifts is {self.segment_shifts}, but a trial is one window of '
        'segments; set segment_seconds, or leave it at 1'
      )
    if self.dtype not in layers.DTYPES:
      raise ValueError(f'dtype {self.dtype!r} is none of {", ".join(layers.DTYPES)}')
    if self.width % self.heads:
      raise ValueError(f'{self.heads} heads do not divide the width {self.width}')

  def block(self, rngs: nnx.Rngs, cross: bool = False) -> layers.Block:
    """A transformer block of these sizes."""
    return layers.blocks(self.width, self, jnp.dtype(self.dtype), cross)(rngs)


@dataclasses.dataclass(frozen=True)
class _FusionSizes(ModelSizes):
  """What a fusion reads: also how many seconds examples are padded to."""

  seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class EmotionConfig:
  """One model: sizes, what comes in, and what goes out.

  Attributes:
    networks: (name, network) of each modality that it reads, in order.
    target: of which it takes `level`, `outputs`, `times` and `combine`.
    names: all modalities of the run, of which `networks` are some. A modality's dropout
      is then the same whatever others a model reads.
    seconds: that the longest padded trial lasts, for the times of labels and segments.
  """

  sizes: ModelSizes
  networks: tuple[tuple[str, 'Network'], ...]
  target: 'Target'
  names: tuple[str, ...]
  seconds: float = 0.0

  @property
  def label_times(self) -> Float[np.ndarray, ' L']:
    """Of a target in time: seconds of the longest trial's labels, float32."""
    count = round(self.seconds * self.target.rate)
    return self.target.times(count).astype(np.float32)


class Head(nnx.Module):
  """Outputs from vectors: norm, dropout, linear."""

  def __init__(
    self,
    width: int,
    outputs: int,
    dropout: float,
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
  ) -> None:
    self.dropout = dropout
    self.norm = layers.layer_norm(width, rngs=rngs, dtype=dtype)
    self.linear = nnx.Linear(
      width, outputs, rngs=rngs, kernel_init=nnx.initializers.truncated_normal(0.02)
    )

  def __call__(
    self, x: Float[Array, '... D'], key: PRNGKeyArray | None = None
  ) -> Float[Array, '... K']:
    x = layers.dropout(self.norm(x), self.dropout, key)
    return self.linear(x.astype(jnp.float32))


class EmotionModel(nnx.Module):
  """Outputs of a target from one or more modalities."""

  def __init__(self, config: EmotionConfig, *, rngs: nnx.Rngs):
    self.config = config
    sizes, dtype = config.sizes, jnp.dtype(config.sizes.dtype)
    self.modalities: nnx.Dict = nnx.Dict()
    for name, network in config.networks:  # in this order: seeds give weights by it
      self.modalities[name] = network.create(sizes, rngs=rngs)
    widths: tuple[int, ...] = (sizes.width,)
    if len(config.networks) > 1:
      names = tuple(name for name, _ in config.networks)
      own = _FusionSizes(**vars(sizes), seconds=config.seconds)
      self.fusion = find(sizes.fusion)(own, names, own.block, rngs=rngs, dtype=dtype)
      widths = self.fusion.widths
    if config.target.level == 'frame':
      widths = (sizes.width,)
    self.heads = nnx.List(
      Head(width, config.target.outputs, sizes.dropout, rngs=rngs, dtype=dtype)
      for width in widths
    )

  def __call__(
    self,
    batch: dict[str, Array],
    key: PRNGKeyArray | None = None,
    want_attention: bool = False,
  ) -> tuple[Float[Array, 'B *L K'], dict[str, Any]]:
    """The target's outputs, and what can be looked at.

    Args:
      batch: {modality/array: [B, ...]}, see the modalities. Of a target in time `label`
        says how many labels examples have; without it, those of the longest.
      key: random key for dropout, or None.
      want_attention: ask the fusion for what can be looked at, see `Fused.seen`.

    Returns:
      float32 [B, K], or [B, L, K] of a target in time; a dict.
    """
    config = self.config
    keys = _keys(config.names, key)
    tokens = {}
    for name, _ in config.networks:
      start = f'{name}/'
      own = {k: x for k, x in batch.items() if k.startswith(start)}
      arrays = {k.removeprefix(start): x for k, x in own.items()}
      tokens[name] = self.modalities[name](arrays, keys[name])
    seen: dict[str, Any] = {}
    present = None
    if len(tokens) > 1:
      fused = self.fusion(tokens, keys['fusion'], want_attention)
      pooled, sequence, seen, present = fused
    else:
      (sequence,) = tokens.values()
      pooled = [masked_mean(sequence.x, sequence.valid)]
    if config.target.level == 'frame':
      found = self.heads[0](sequence.x, keys['heads'])
      times = config.label_times
      if 'label' in batch:
        times = config.target.times(batch['label'].shape[1]).astype(np.float32)
      return at_times(found, sequence, times), seen
    heads_key = keys['heads']
    head_keys: Any = [heads_key] * len(pooled)
    if len(pooled) > 1 and heads_key is not None:
      head_keys = jax.random.split(heads_key, len(pooled))
    heads = zip(self.heads, pooled, head_keys, strict=True)
    outputs = [head(x, head_key) for head, x, head_key in heads]
    return config.target.combine(outputs, present), seen


def _keys(
  names: Sequence[str], key: PRNGKeyArray | None
) -> dict[str, PRNGKeyArray | None]:
  """A dropout key for each modality of the run, the fusion and the heads."""
  # The first key belongs to nothing, and modalities count from the last one: so that
  # a seed gives the same dropout as in earlier versions.
  order = ('', *reversed(names), 'fusion', 'heads')
  keys = [None] * len(order) if key is None else jax.random.split(key, len(order))
  return dict(zip(order, keys, strict=True))


def at_times(
  x: Float[Array, 'B N K'], tokens: Tokens, times: Float[np.ndarray, ' L']
) -> Float[Array, 'B L K']:
  """Outputs of tokens, interpolated linearly to some times.

  Before the first and after the last valid token its output goes on; without any valid
  token all are zero. Tokens may come in any order.
  """
  own = jnp.broadcast_to(jnp.asarray(tokens.times), tokens.valid.shape)
  after = own[:, None, :] - times[None, :, None]  # [B, L, N]: how long a token is after

  def nearest(
    side: Bool[Array, 'B L N'],
  ) -> tuple[Int[Array, 'B L'], Float[Array, 'B L']]:
    """Numbers of the nearest valid tokens of a side, and how far: inf if none is."""
    gap = jnp.where(tokens.valid[:, None, :] & side, jnp.abs(after), jnp.inf)
    return gap.argmin(-1), gap.min(-1)

  (left, before), (right, behind) = nearest(after < 0), nearest(after >= 0)
  # Without a token on one side, the other side's alone.
  left = jnp.where(jnp.isinf(before), right, left)
  before = jnp.where(jnp.isinf(before), 1.0, before)
  right = jnp.where(jnp.isinf(behind), left, right)
  behind = jnp.where(jnp.isinf(behind), 1.0, behind)
  share = (before / (before + behind))[..., None]  # of the right one

  def pick(index: Int[Array, 'B L']) -> Float[Array, 'B L K']:
    return jnp.take_along_axis(x, index[..., None], axis=1)

  found = pick(left) * (1 - share) + pick(right) * share
  there: Bool[Array, ' B'] = tokens.valid.any(1)
  return jnp.where(there[:, None, None], found, 0.0)
