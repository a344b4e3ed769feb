"""Multiscale networks of face video for depression and pain: MSN-69 and DMSN.

MSN-69 (de Melo et al.) is as published. DMSN, its decomposed successor
(arXiv 2203.11111), has no public code: what its variants A, B and C look at is known,
kernel sizes, widths and wiring are not. The variants here are our reading.

A network is a stem, four stages of residual blocks, and the mean over places. A block
narrows its input, goes through parallel branches, widens what they give together, and
adds its input, projected. Batch norm follows each convolution; a ReLU each but those
whose results are added, and their sum.

Shapes: B clips, T frames, H rows, W columns, C and D channels.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from mvp_jax.array_types import Array, Float
from mvp_jax.models import layers
from mvp_jax.models.backbones.r2plus1d import KINETICS_MEAN, KINETICS_STD
from mvp_jax.models.convolution import BatchNorm, Conv3D, draw_kernels, largest
from mvp_jax.models.partition import split_batch
from mvp_jax.models.videomae import Frames, Key, to_unit

Taps = tuple[int, int, int]  # of time, rows and columns
_STEM: Taps = (7, 7, 7)
_POINT: Taps = (1, 1, 1)
_SHRINK = 8  # frames of a temporal position of the last stage
_CELL = 16  # pixels of one of its places, each way
_POOLED = (1, 2)  # stages whose results are pooled


@dataclasses.dataclass(frozen=True)
class Layout:
  """Kernels of a block: each place is a sequence of convolutions, maybe none."""

  narrow: Taps
  branches: tuple[tuple[Taps, ...], ...]  # parallel
  widen: Taps
  before: tuple[Taps, ...] = ()  # the branches, shared by them
  after: tuple[Taps, ...] = ()  # shared, of what the branches give together

  def kernels(self, inputs: int, inner: int, outputs: int) -> Iterator[int]:
    """How many numbers the kernels of a block have, its shortcut's included."""
    together = inner * len(self.branches)
    yield math.prod(self.narrow) * inputs * inner
    for branch in (self.before, *self.branches):
      for taps in branch:
        yield math.prod(taps) * inner * inner
    for number, taps in enumerate(self.after):
      yield math.prod(taps) * (inner if number else together) * inner
    yield math.prod(self.widen) * (inner if self.after else together) * outputs
    yield inputs * outputs


_TIME: tuple[Taps, ...] = ((3, 1, 1), (5, 1, 1), (7, 1, 1))
_SPACE: tuple[Taps, ...] = ((1, 3, 3), (1, 5, 5), (1, 7, 7))
_MULTISCALE = Layout((3, 1, 1), (((3, 3, 3),), ((5, 5, 5),), ((7, 7, 7),)), (3, 1, 1))
_PLAIN = Layout((3, 1, 1), (((3, 3, 3),),), (3, 1, 1))
# Our reading of DMSN: in place of MSN's kernels of three axes, pairs of one over time
# and one over space. A: ranges of time; B: of both; C: sizes in space.
VARIANTS = {
  'A': Layout(_POINT, tuple((t,) for t in _TIME), _POINT, after=((1, 3, 3),)),
  'B': Layout(_POINT, tuple(zip(_TIME, _SPACE, strict=True)), _POINT),
  'C': Layout(_POINT, tuple((s,) for s in _SPACE), _POINT, before=((3, 1, 1),)),
}


@dataclasses.dataclass(frozen=True)
class Multiscale:
  """Sizes of such a network; a `backbones.Backbone`.

  With a tubelet of all frames the feature vector is the published one of a clip.
  """

  frames: int = 16
  size: int = 112  # pixels, height and width
  tubelet: int = 16  # frames of a temporal slot
  stem: int = 64  # channels
  widths: tuple[int, ...] = (128, 256, 512, 1024)  # of the four stages
  blocks: tuple[int, ...] = (3, 4, 12, 3)
  dtype: str = 'float32'  # of the computation; parameters are float32

  # Clips of other sizes can go through the same weights.
  free: ClassVar[tuple[str, ...]] = ('frames', 'size', 'tubelet', 'dtype')
  narrower: ClassVar[tuple[int, ...]]  # of each stage, by how much branches are

  def __post_init__(self) -> None:
    if self.dtype not in layers.DTYPES:
      raise ValueError(f'dtype {self.dtype!r} is none of {", ".join(layers.DTYPES)}')
    for name, step in (('widths', 8), ('blocks', 1)):
      numbers = getattr(self, name)
      if len(numbers) != 4 or min(numbers) < 1 or any(x % step for x in numbers):
        what = f'multiples of {step}' if step > 1 else 'numbers'
        raise ValueError(f'{name} is {numbers}, must be four {what}, one for a stage')
    if self.stem < 1:
      raise ValueError(f'stem is {self.stem}, must be at least 1')
    if self.tubelet % _SHRINK or self.frames % self.tubelet:
      raise ValueError(
        f'tubelet is {self.tubelet}, in clips of {self.frames} frames; there is one '
        f'output per {_SHRINK} frames: make the tubelet a multiple of {_SHRINK} and '
        'the frames a multiple of the tubelet, as 16 of 16'
      )
    if self.size % _CELL:
      raise ValueError(
        f'size is {self.size} pixels, must be a multiple of {_CELL}, as 112'
      )

  def layout(self, stage: int) -> Layout:
    """Of the blocks of a stage."""
    raise NotImplementedError

  @property
  def slots(self) -> int:
    """Number of temporal positions of a clip."""
    return self.frames // self.tubelet

  @property
  def width(self) -> int:
    """Of the tokens."""
    return self.widths[-1]

  @property
  def feature_width(self) -> int:
    """Length of the feature vector of a temporal slot."""
    return self.width

  @property
  def parameters(self) -> int:
    """Of the convolutions, which have no biases; norms are not counted."""
    return sum(size for size, _ in self._kernels())

  @property
  def macs(self) -> int:
    """Multiply-adds of the convolutions for a clip.

    Each tap counts at each place of the result, also where it sees padding.
    """
    return sum(size * places for size, places in self._kernels())

  def _kernels(self) -> Iterator[tuple[int, int]]:
    """(numbers in a kernel, places of its result) of each convolution."""
    frames, side = self.frames, self.size // 2
    yield math.prod(_STEM) * 3 * self.stem, frames * side**2
    frames, side, inputs = frames // 2, side // 2, self.stem
    for stage, outputs in enumerate(self.widths):
      inner = outputs // self.narrower[stage]
      for _ in range(self.blocks[stage]):
        for size in self.layout(stage).kernels(inputs, inner, outputs):
          yield size, frames * side**2
        inputs = outputs
      if stage in _POOLED:
        frames, side = frames // 2, side // 2

  def create(self, *, rngs: nnx.Rngs, final_norm: bool = True) -> 'Network':
    return Network(self, rngs=rngs)

  def with_drop_path(self, rate: float) -> 'Multiscale':
    """The same: there is no drop path."""
    return self

  def layer(self, path: str, shape: tuple[int, ...]) -> int | np.ndarray:
    """Number of blocks above a parameter's own; the stem is below all of them."""
    parts = path.split('/')
    if parts[0] != 'stages':
      return sum(self.blocks) + 1
    return sum(self.blocks[int(parts[1]) :]) - int(parts[2])


@dataclasses.dataclass(frozen=True)
class MSN69(Multiscale):
  """MSN-69 as published: branches of 3-D kernels in two stages, then plain blocks.

  Of clips of 16 x 112 x 112 its convolutions have 76.86 million parameters and take
  100.5 billion multiply-adds.
  """

  narrower: ClassVar[tuple[int, ...]] = (4, 4, 2, 2)

  def layout(self, stage: int) -> Layout:
    return _MULTISCALE if stage < 2 else _PLAIN


@dataclasses.dataclass(frozen=True)
class DMSN(Multiscale):
  """DMSN in our reading: MSN-69 with decomposed blocks, branches in all stages.

  A branch of the last two stages is an eighth as wide as the block: three of them take
  the place of the one kernel of half its width.
  """

  variant: str = 'C'  # one of VARIANTS

  narrower: ClassVar[tuple[int, ...]] = (4, 4, 8, 8)

  def __post_init__(self) -> None:
    super().__post_init__()
    if self.variant not in VARIANTS:
      raise ValueError(f'variant {self.variant!r} is none of {", ".join(VARIANTS)}')

  def layout(self, stage: int) -> Layout:
    return VARIANTS[self.variant]


class Normed(nnx.Module):
  """A convolution and its norm."""

  def __init__(
    self,
    inputs: int,
    outputs: int,
    taps: Taps,
    stride: int = 1,
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
  ):
    self.conv = Conv3D(inputs, outputs, taps, stride, rngs=rngs, dtype=dtype)
    self.norm = BatchNorm(outputs)

  def __call__(
    self, x: Float[Array, 'B T H W C'], training: bool
  ) -> Float[Array, 'B T h w D']:
    return self.norm(self.conv(x), training)


class Sequence(nnx.Module):
  """Convolutions, each with its norm and a ReLU, one after another."""

  def __init__(
    self,
    inputs: int,
    outputs: int,
    kernels: tuple[Taps, ...],
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
  ):
    self.parts: nnx.List[Normed] = nnx.List()
    for taps in kernels:
      self.parts.append(Normed(inputs, outputs, taps, rngs=rngs, dtype=dtype))
      inputs = outputs

  def __call__(
    self, x: Float[Array, 'B T H W C'], training: bool
  ) -> Float[Array, 'B T H W D']:
    for part in self.parts:
      x = jax.nn.relu(part(x, training))
    return x


class Block(nnx.Module):
  """Narrow, branches, widen, beside a projection of the input."""

  def __init__(
    self,
    inputs: int,
    inner: int,
    outputs: int,
    layout: Layout,
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
  ):
    def sequence(inputs: int, kernels: tuple[Taps, ...]) -> Sequence:
      return Sequence(inputs, inner, kernels, rngs=rngs, dtype=dtype)

    together = inner * len(layout.branches)
    self.narrow = sequence(inputs, (layout.narrow, *layout.before))
    self.branches: nnx.List[Sequence] = nnx.List(
      [sequence(inner, kernels) for kernels in layout.branches]
    )
    self.after = sequence(together, layout.after)
    wide = inner if layout.after else together
    self.widen = Normed(wide, outputs, layout.widen, rngs=rngs, dtype=dtype)
    self.shortcut = Normed(inputs, outputs, _POINT, rngs=rngs, dtype=dtype)

  def __call__(
    self, x: Float[Array, 'B T H W C'], training: bool
  ) -> Float[Array, 'B T H W D']:
    y = self.narrow(x, training)
    y = jnp.concatenate([branch(y, training) for branch in self.branches], -1)
    y = self.widen(self.after(y, training), training)
    return split_batch(jax.nn.relu(y + self.shortcut(x, training)))


class Network(nnx.Module):
  """MSN or DMSN without what follows the mean over places."""

  def __init__(self, config: Multiscale, *, rngs: nnx.Rngs):
    dtype, inputs = jnp.dtype(config.dtype), config.stem
    self.config = config
    self.stem = Normed(3, inputs, _STEM, 2, rngs=rngs, dtype=dtype)
    self.stages: nnx.List[nnx.List[Block]] = nnx.List()
    for stage, outputs in enumerate(config.widths):
      blocks: nnx.List[Block] = nnx.List()
      for _ in range(config.blocks[stage]):
        sizes = inputs, outputs // config.narrower[stage], outputs
        blocks.append(Block(*sizes, config.layout(stage), rngs=rngs, dtype=dtype))
        inputs = outputs
      self.stages.append(blocks)
    draw_kernels(self, rngs.params())

  def maps(self, frames: Frames, key: Key = None) -> Float[Array, 'B t h w D']:
    """Of the last stage. With a key it is trained: norms are those of the batch."""
    training = key is not None
    mean, std = (
      jnp.expand_dims(np.array(x, np.float32), range(4))
      for x in (KINETICS_MEAN, KINETICS_STD)
    )
    x = split_batch((to_unit(frames) - mean) / std)
    x = split_batch(jax.nn.relu(self.stem(x, training)))
    x = largest(x, 3, 1)
    for stage, blocks in enumerate(self.stages):
      for block in blocks:
        x = block(x, training)
      if stage in _POOLED:
        x = largest(x, 2)
    return x

  def __call__(self, frames: Frames, key: Key = None) -> Float[Array, 'B N D']:
    """Tokens of clips: over time, then rows, then columns."""
    x = self.maps(frames, key)
    return x.reshape(x.shape[0], -1, x.shape[-1])

  def features(
    self, frames: Frames, key: Key = None
  ) -> Float[Array, 'B slots feature_width']:
    """One vector per temporal slot: the mean over its frames' places."""
    x = self.maps(frames, key)
    return x.reshape(x.shape[0], self.config.slots, -1, x.shape[-1]).mean(2)
