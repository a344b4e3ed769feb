"""R(2+1)D-18 (Tran et al. 2018, arXiv 1711.11248), laid out as in torchvision.

Each 3-D convolution is one over space followed by one over time. Shapes: B clips,
T frames, H rows, W columns, C and D channels.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from mvp_jax.array_types import Array, Float
from mvp_jax.models import layers
from mvp_jax.models.convolution import BatchNorm, SpatialConv, TemporalConv
from mvp_jax.models.partition import split_batch
from mvp_jax.models.videomae import Frames, Key, to_unit

# Of the pixels of Kinetics-400, which torchvision's weights are trained on.
KINETICS_MEAN = (0.43216, 0.394666, 0.37645)
KINETICS_STD = (0.22803, 0.22145, 0.216989)
_STEM = 45  # channels between the stem's two convolutions
_SHRINK = 8  # frames of a temporal position of the last layer


@dataclasses.dataclass(frozen=True)
class R2Plus1D:
  """Sizes of an R(2+1)D-18; a `backbones.Backbone`.

  torchvision's feature vector of a clip is that of a single slot: tubelet = frames.
  """

  frames: int = 16
  size: int = 112  # pixels, height and width
  tubelet: int = 8  # frames of a temporal slot
  widths: tuple[int, ...] = (64, 128, 256, 512)
  blocks: int = 2  # of each width
  dtype: str = 'float32'  # of the computation; parameters are float32

  def __post_init__(self) -> None:
    if self.dtype not in layers.DTYPES:
      raise ValueError(f'dtype {self.dtype!r} is none of {", ".join(layers.DTYPES)}')
    if self.tubelet % _SHRINK or self.frames % self.tubelet:
      raise ValueError(
        f'tubelet is {self.tubelet}, in clips of {self.frames} frames; '
        f'R(2+1)D-18 has one output per {_SHRINK} frames: make the tubelet a multiple '
        f'of {_SHRINK} and the frames a multiple of the tubelet, as 16 of 16'
      )

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

  def create(self, *, rngs: nnx.Rngs, final_norm: bool = True) -> 'Network':
    return Network(self, rngs=rngs)

  def with_drop_path(self, rate: float) -> 'R2Plus1D':
    """The same: there is no drop path."""
    return self

  def layer(self, path: str, shape: tuple[int, ...]) -> int | np.ndarray:
    """Number of blocks above a parameter's own; the stem is below all of them."""
    depth, parts = len(self.widths) * self.blocks, path.split('/')
    if parts[0] == 'stem':
      return depth + 1
    return depth - int(parts[1]) * self.blocks - int(parts[2])


class Factored(nnx.Module):
  """A convolution over space, norm, ReLU, one over time, norm."""

  def __init__(
    self,
    inputs: int,
    between: int,
    outputs: int,
    taps: int = 3,
    strides: tuple[int, int] = (1, 1),  # over time, over space
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
  ):
    self.spatial = SpatialConv(
      inputs, between, taps, strides[1], rngs=rngs, dtype=dtype
    )
    self.spatial_norm = BatchNorm(between)
    self.temporal = TemporalConv(
      between, outputs, 3, strides[0], rngs=rngs, dtype=dtype
    )
    self.norm = BatchNorm(outputs)

  def __call__(
    self, x: Float[Array, 'B T H W C'], training: bool
  ) -> Float[Array, 'B t h w D']:
    x = jax.nn.relu(self.spatial_norm(self.spatial(x), training))
    return self.norm(self.temporal(x), training)


class Block(nnx.Module):
  """Two factored convolutions, and their input, projected if sizes change."""

  def __init__(
    self,
    inputs: int,
    outputs: int,
    stride: int,
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
  ):
    # As many parameters as a 3 x 3 x 3 convolution has; both use the first one's.
    between = inputs * outputs * 27 // (inputs * 9 + 3 * outputs)
    self.stride = stride
    self.conv1 = Factored(
      inputs, between, outputs, strides=(stride, stride), rngs=rngs, dtype=dtype
    )
    self.conv2 = Factored(outputs, between, outputs, rngs=rngs, dtype=dtype)
    shortcut, norm = None, None
    if stride > 1 or inputs != outputs:
      shortcut = SpatialConv(inputs, outputs, 1, stride, rngs=rngs, dtype=dtype)
      norm = BatchNorm(outputs)
    self.shortcut, self.shortcut_norm = shortcut, norm

  def __call__(
    self, x: Float[Array, 'B T H W C'], training: bool
  ) -> Float[Array, 'B t h w D']:
    y = self.conv2(jax.nn.relu(self.conv1(x, training)), training)
    if self.shortcut is not None and self.shortcut_norm is not None:
      x = self.shortcut_norm(self.shortcut(x[:, :: self.stride]), training)
    return split_batch(jax.nn.relu(x + y))


class Network(nnx.Module):
  """R(2+1)D-18 without its classifier."""

  def __init__(self, config: R2Plus1D, *, rngs: nnx.Rngs):
    dtype, first = jnp.dtype(config.dtype), config.widths[0]
    self.config = config
    self.stem = Factored(3, _STEM, first, 7, (1, 2), rngs=rngs, dtype=dtype)
    self.layers: nnx.List[nnx.List[Block]] = nnx.List()
    inputs = first
    for number, outputs in enumerate(config.widths):
      layer: nnx.List[Block] = nnx.List()
      for block in range(config.blocks):
        stride = 2 if number and not block else 1
        layer.append(Block(inputs, outputs, stride, rngs=rngs, dtype=dtype))
        inputs = outputs
      self.layers.append(layer)

  def maps(self, frames: Frames, key: Key = None) -> Float[Array, 'B t h w D']:
    """Of the last layer. With a key it is trained: norms are those of the batch."""
    training = key is not None
    mean, std = (
      jnp.expand_dims(np.array(x, np.float32), range(4))
      for x in (KINETICS_MEAN, KINETICS_STD)
    )
    x = split_batch((to_unit(frames) - mean) / std)
    x = split_batch(jax.nn.relu(self.stem(x, training)))
    for layer in self.layers:
      for block in layer:
        x = block(x, training)
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
