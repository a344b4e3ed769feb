"""A transformer over patches of log-mel spectrograms.

Shapes: B clips, M mel bands, S spectra (time bins), N tokens, D width. Tokens run over
time, then bands.
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from flax import nnx

from mvp_jax.array_types import Array, Float, PRNGKeyArray
from mvp_jax.models import layers
from mvp_jax.models.partition import split_batch


@dataclasses.dataclass(frozen=True)
class MelTransformer:
  """Sizes of a transformer of sound, by default of JCA's spectrograms."""

  bands: int = 64
  bins: int = 107  # the last patch is filled up with zeros
  patch_bands: int = 16
  patch_bins: int = 16
  width: int = 192
  depth: int = 4
  heads: int = 3
  mlp_width: int = 768
  drop_path: float = 0.0
  remat: str = 'none'  # one of layers.REMAT
  dtype: str = 'float32'  # of the computation; parameters are float32

  # What its weights do not depend on, see `training.encoder.check`.
  free: ClassVar[tuple[str, ...]] = ('drop_path', 'remat', 'dtype')

  def __post_init__(self) -> None:
    if self.dtype not in layers.DTYPES:
      raise ValueError(f'dtype {self.dtype!r} is none of {", ".join(layers.DTYPES)}')
    if self.remat not in layers.REMAT:
      raise ValueError(f'remat: one of {", ".join(layers.REMAT)}; it is {self.remat!r}')
    if self.bands % self.patch_bands:
      raise ValueError(
        f'{self.bands} bands cannot be cut into patches of {self.patch_bands}'
      )

  @property
  def slots(self) -> int:
    """Temporal positions of a clip: patches along time."""
    return -(-self.bins // self.patch_bins)

  @property
  def feature_width(self) -> int:
    """Length of the feature vector of a temporal slot."""
    return self.width

  def create(self, *, rngs: nnx.Rngs, final_norm: bool = True) -> 'Network':
    return Network(self, rngs=rngs, final_norm=final_norm)

  def with_drop_path(self, rate: float) -> 'MelTransformer':
    return dataclasses.replace(self, drop_path=rate)

  def layer(self, path: str, shape: tuple[int, ...]) -> int | np.ndarray:
    """Number of layers above a parameter, whose blocks are stacked."""
    if path.startswith('stack/blocks/'):
      return self.depth - np.arange(self.depth)
    return self.depth + 1 if path.startswith('embed/') else 0


class Network(nnx.Module):
  """Embedding of patches, fixed positions, blocks, and (or not) a final norm."""

  def __init__(
    self, config: MelTransformer, *, rngs: nnx.Rngs, final_norm: bool = True
  ):
    width, dtype = config.width, jnp.dtype(config.dtype)

    def block(rngs: nnx.Rngs) -> layers.Block:
      return layers.Block(width, config.heads, config.mlp_width, rngs=rngs, dtype=dtype)

    self.config = config
    size = config.patch_bands * config.patch_bins
    self.embed = layers.linear(size, width, rngs=rngs, dtype=dtype)
    self.stack = layers.Stack(
      block, config.depth, drop_path=config.drop_path, rngs=rngs, remat=config.remat
    )
    self.norm = layers.layer_norm(width, rngs=rngs, dtype=dtype) if final_norm else None

  def __call__(
    self,
    spectrogram: Float[Array, 'B M S'] | Float[Array, 'B M S 1'],
    key: PRNGKeyArray | None = None,
  ) -> Float[Array, 'B N D']:
    """Tokens of clips; `key` is for drop path."""
    config = self.config
    rows, columns = config.bands // config.patch_bands, config.slots
    x = spectrogram.reshape(spectrogram.shape[:3])
    fill = columns * config.patch_bins - config.bins
    x = jnp.pad(x, ((0, 0), (0, 0), (0, fill)))
    x = x.reshape(-1, rows, config.patch_bands, columns, config.patch_bins)
    x = x.transpose(0, 3, 1, 2, 4).reshape(x.shape[0], columns * rows, -1)
    x = split_batch(self.embed(x))
    positions = layers.sincos_1d(np.arange(columns * rows), config.width)
    x, _ = self.stack(x + positions.astype(x.dtype)[None], key=key)
    return x if self.norm is None else self.norm(x)

  def features(
    self,
    spectrogram: Float[Array, 'B M S'] | Float[Array, 'B M S 1'],
    key: PRNGKeyArray | None = None,
  ) -> Float[Array, 'B slots D']:
    """One vector per temporal slot: the mean over its bands."""
    x = self(spectrogram, key)
    return x.reshape(x.shape[0], self.config.slots, -1, x.shape[-1]).mean(2)
