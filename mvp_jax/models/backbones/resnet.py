"""ResNet-18 (He et al. 2016) over log-mel spectrograms, laid out as in torchvision.

Shapes: B clips, M mel bands, S spectra (time bins), H rows, W columns, C and D
channels.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from mvp_jax.array_types import Array, Float, PRNGKeyArray
from mvp_jax.models import layers
from mvp_jax.models.convolution import BatchNorm, SpatialConv
from mvp_jax.models.partition import split_batch


@dataclasses.dataclass(frozen=True)
class ResNet18:
  """Sizes of a ResNet-18 of sound; bands and bins are those of JCA."""

  bands: int = 64
  bins: int = 107
  channels: int = 1  # of the stem; with 3 the spectrogram stands in each
  widths: tuple[int, ...] = (64, 128, 256, 512)
  blocks: int = 2  # of each width
  dtype: str = 'float32'  # of the computation; parameters are float32

  # What its weights do not depend on, see `training.encoder.check`.
  free: ClassVar[tuple[str, ...]] = ('bands', 'bins', 'dtype')

  def __post_init__(self) -> None:
    if self.dtype not in layers.DTYPES:
      raise ValueError(f'dtype {self.dtype!r} is none of {", ".join(layers.DTYPES)}')
    if self.channels not in (1, 3):
      raise ValueError(f'channels is {self.channels}, must be 1 or 3')

  @property
  def slots(self) -> int:
    """Feature vectors of a clip: one, the mean over all of it."""
    return 1

  @property
  def width(self) -> int:
    """Of the tokens."""
    return self.widths[-1]

  @property
  def feature_width(self) -> int:
    """Length of the feature vector."""
    return self.width

  def create(self, *, rngs: nnx.Rngs, final_norm: bool = True) -> 'Network':
    return Network(self, rngs=rngs)

  def with_drop_path(self, rate: float) -> 'ResNet18':
    """The same: there is no drop path."""
    return self

  def layer(self, path: str, shape: tuple[int, ...]) -> int | np.ndarray:
    """Number of blocks above a parameter's own; the stem is below all of them."""
    depth, parts = len(self.widths) * self.blocks, path.split('/')
    if parts[0] != 'layers':
      return depth + 1
    return depth - int(parts[1]) * self.blocks - int(parts[2])


class Block(nnx.Module):
  """Two convolutions, and their input, projected if sizes change."""

  def __init__(
    self,
    inputs: int,
    outputs: int,
    stride: int,
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
  ):
    self.conv1 = SpatialConv(inputs, outputs, 3, stride, rngs=rngs, dtype=dtype)
    self.norm1 = BatchNorm(outputs)
    self.conv2 = SpatialConv(outputs, outputs, 3, rngs=rngs, dtype=dtype)
    self.norm2 = BatchNorm(outputs)
    shortcut, norm = None, None
    if stride > 1 or inputs != outputs:
      shortcut = SpatialConv(inputs, outputs, 1, stride, rngs=rngs, dtype=dtype)
      norm = BatchNorm(outputs)
    self.shortcut, self.shortcut_norm = shortcut, norm

  def __call__(
    self, x: Float[Array, 'B H W C'], training: bool
  ) -> Float[Array, 'B h w D']:
    y = jax.nn.relu(self.norm1(self.conv1(x), training))
    y = self.norm2(self.conv2(y), training)
    if self.shortcut is not None and self.shortcut_norm is not None:
      x = self.shortcut_norm(self.shortcut(x), training)
    return split_batch(jax.nn.relu(x + y))


class Network(nnx.Module):
  """ResNet-18 without its classifier."""

  def __init__(self, config: ResNet18, *, rngs: nnx.Rngs):
    dtype = jnp.dtype(config.dtype)
    self.config = config
    self.stem = SpatialConv(
      config.channels, config.widths[0], 7, 2, rngs=rngs, dtype=dtype
    )
    self.stem_norm = BatchNorm(config.widths[0])
    self.layers: nnx.List[nnx.List[Block]] = nnx.List()
    inputs = config.widths[0]
    for number, outputs in enumerate(config.widths):
      layer: nnx.List[Block] = nnx.List()
      for block in range(config.blocks):
        layer.append(
          Block(
            inputs, outputs, 2 if number and not block else 1, rngs=rngs, dtype=dtype
          )
        )
        inputs = outputs
      self.layers.append(layer)

  def __call__(
    self,
    spectrogram: Float[Array, 'B M S'] | Float[Array, 'B M S 1'],
    key: PRNGKeyArray | None = None,
  ) -> Float[Array, 'B N D']:
    """Tokens: over bands, then time. With a key, norms are those of the batch."""
    training = key is not None
    x = spectrogram.reshape(*spectrogram.shape[:3], 1)
    x = jnp.broadcast_to(x, (*x.shape[:3], self.config.channels))
    x = jax.nn.relu(self.stem_norm(self.stem(split_batch(x)), training))
    x = nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    for layer in self.layers:
      for block in layer:
        x = block(x, training)
    return x.reshape(x.shape[0], -1, x.shape[-1])

  def features(
    self,
    spectrogram: Float[Array, 'B M S'] | Float[Array, 'B M S 1'],
    key: PRNGKeyArray | None = None,
  ) -> Float[Array, 'B 1 D']:
    """One vector per clip: the mean over its tokens."""
    return self(spectrogram, key).mean(1, keepdims=True)
