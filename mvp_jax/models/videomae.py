"""VideoMAE: masked autoencoder for video (Tong et al. 2022, arXiv 2203.12602).

Frames are cut into tubelets of 2 x 16 x 16 pixels. Pre-training hides most of them, at
the same places in all frames (tube mask), encodes the rest and reconstructs the hidden
ones. The encoder then serves as the video backbone.

Shapes: B clips, N tokens, V visible tokens, M masked tokens, D width,
P = tubelet * patch * patch * 3 values per token, in the order (time, row, column,
colour). Tokens run over time, then rows, then columns.
"""

import dataclasses
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mvp_jax.array_types import Array, Float, Int, Num, PRNGKeyArray, Shaped
from mvp_jax.models import layers
from mvp_jax.models.partition import split_batch

Frames: TypeAlias = Num[Array, 'B T H W 3']  # uint8, or float in [0, 1]
Visible: TypeAlias = Int[Array, 'B V']
Masked: TypeAlias = Int[Array, 'B M']
Key: TypeAlias = PRNGKeyArray | None
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# What the decoder predicts of a hidden token: its pixels, normalised to mean 0 and
# deviation 1 in each colour channel (the recipe), or raw, in [0, 1].
TARGETS = ('normalised', 'pixels')


@dataclasses.dataclass(frozen=True)
class VideoMAEConfig:
  """Sizes of a VideoMAE; `preset` gives the published ones."""

  width: int = 768
  depth: int = 12
  heads: int = 12
  mlp_width: int = 3072
  decoder_width: int = 384
  decoder_depth: int = 4
  decoder_heads: int = 6
  frames: int = 16
  size: int = 224  # pixels, height and width
  tubelet: int = 2
  patch: int = 16
  feature_grid: int = 1  # `Encoder.features` averages over grid x grid regions
  drop_path: float = 0.0
  remat: str = 'none'  # one of layers.REMAT
  dtype: str = 'float32'  # of the computation; parameters are float32
  target: str = 'normalised'  # one of TARGETS
  # Added to each token's deviation in the normalised target; 1e-6 in the reference.
  # If it exceeds the camera's noise (of pixels in [0, 1]), noise on smooth skin
  # does not count as much as a mouth.
  noise_floor: float = 1e-6

  def __post_init__(self) -> None:
    if self.target not in TARGETS:
      raise ValueError(f'target: one of {", ".join(TARGETS)}; it is {self.target!r}')
    if not 0 < self.noise_floor < float('inf'):
      raise ValueError(f'noise_floor is {self.noise_floor}, must be above 0')
    if self.dtype not in layers.DTYPES:
      raise ValueError(f'dtype {self.dtype!r} is none of {", ".join(layers.DTYPES)}')
    if self.remat not in layers.REMAT:
      raise ValueError(f'remat: one of {", ".join(layers.REMAT)}; it is {self.remat!r}')
    if self.frames % self.tubelet or self.size % self.patch:
      raise ValueError(
        f'{self.frames} frames of {self.size} px cannot be cut into tubelets '
        f'of {self.tubelet} frames and {self.patch} px'
      )
    if self.feature_grid < 1 or self.size // self.patch % self.feature_grid:
      raise ValueError(
        f'feature_grid {self.feature_grid} does not divide '
        f'{self.size // self.patch} x {self.size // self.patch} places'
      )

  @property
  def slots(self) -> int:
    """Number of temporal positions of a clip."""
    return self.frames // self.tubelet

  @property
  def grid(self) -> tuple[int, int, int]:
    """Grid of the tokens of a clip: temporal slots, rows, columns."""
    return self.slots, self.size // self.patch, self.size // self.patch

  @property
  def tokens_per_slot(self) -> int:
    return self.grid[1] * self.grid[2]

  @property
  def tokens(self) -> int:
    return self.slots * self.tokens_per_slot

  @property
  def feature_width(self) -> int:
    """Length of the feature vector of a temporal slot."""
    return self.feature_grid**2 * self.width

  @property
  def pixels_per_token(self) -> int:
    return self.tubelet * self.patch**2 * 3

  # The protocol `backbones.Backbone`:

  def create(self, *, rngs: nnx.Rngs, final_norm: bool = True) -> 'Encoder':
    return Encoder(self, rngs=rngs, final_norm=final_norm)

  def with_drop_path(self, rate: float) -> 'VideoMAEConfig':
    return dataclasses.replace(self, drop_path=rate)

  def layer(self, path: str, shape: tuple[int, ...]) -> int | np.ndarray:
    """Number of layers above a parameter of the encoder, whose blocks are stacked."""
    if path.startswith('stack/blocks/'):
      return self.depth - np.arange(self.depth)
    return self.depth + 1 if path.startswith('embed/') else 0


# name: width, depth, heads, MLP, decoder width, decoder depth, decoder heads
_PRESETS = {
  'tiny': (96, 4, 3, 384, 64, 2, 2),
  'S': (384, 12, 6, 1536, 192, 4, 3),
  'B': (768, 12, 12, 3072, 384, 4, 6),
  'L': (1024, 24, 16, 4096, 512, 4, 8),
  'H': (1280, 32, 16, 5120, 640, 4, 8),
  'g': (1408, 40, 16, 6144, 512, 4, 8),  # VideoMAE V2
}
PRESETS = tuple(_PRESETS)


def preset(name: str, **changes: Any) -> VideoMAEConfig:
  """The configuration `name`, one of `PRESETS`, with some fields changed.

  Raises ValueError if there is no such preset.
  """
  if name not in _PRESETS:
    raise ValueError(f'size: one of {", ".join(PRESETS)}; it is {name!r}')
  names = [field.name for field in dataclasses.fields(VideoMAEConfig)]
  patch = {'patch': 14} if name == 'g' else {}
  sizes = dict(zip(names, _PRESETS[name], strict=False))  # the first fields
  return VideoMAEConfig(**sizes | patch | changes)


def patchify(
  frames: Shaped[Array, 'B T H W 3'], config: VideoMAEConfig
) -> Shaped[Array, 'B N P']:
  """Cuts frames of any dtype into tokens."""
  b, t, h, w, c = frames.shape
  tub, p = config.tubelet, config.patch
  x = frames.reshape(b, t // tub, tub, h // p, p, w // p, p, c)
  x = x.transpose(0, 1, 3, 5, 2, 4, 6, 7)
  return x.reshape(b, -1, tub * p * p * c)


def unpatchify(
  tokens: Shaped[Array, 'B N P'], config: VideoMAEConfig
) -> Shaped[Array, 'B T H W 3']:
  """The inverse of `patchify`."""
  b = tokens.shape[0]
  tub, p, side = config.tubelet, config.patch, config.size // config.patch
  x = tokens.reshape(b, -1, side, side, tub, p, p, 3)
  x = x.transpose(0, 1, 4, 2, 5, 3, 6, 7)
  return x.reshape(b, -1, config.size, config.size, 3)


def gather(
  x: Shaped[Array, 'B N D'], index: Int[Array, 'B K']
) -> Shaped[Array, 'B K D']:
  """Selects the tokens `index` of each example."""
  return jnp.take_along_axis(x, index[..., None], axis=1)


def to_unit(pixels: Num[Array, '...']) -> Float[Array, '...']:
  """Converts uint8 pixels to float32 in [0, 1]; floats are returned unchanged."""
  if pixels.dtype == jnp.uint8:
    return pixels.astype(jnp.float32) / 255
  return pixels


def normalise_pixels(tokens: Float[Array, 'B N P']) -> Float[Array, 'B N P']:
  """Normalises pixels in [0, 1] by the mean and deviation of ImageNet."""
  repeats = tokens.shape[-1] // 3
  mean, std = (
    jnp.expand_dims(np.tile(np.array(x, np.float32), repeats), (0, 1))
    for x in (IMAGENET_MEAN, IMAGENET_STD)
  )
  return (tokens - mean) / std


def reconstruction_target(
  tokens: Float[Array, 'B M P'], config: VideoMAEConfig
) -> Float[Array, 'B M P']:
  """What the decoder should predict, from pixels in [0, 1]: VideoMAEConfig.target.

  The deviation is unbiased and the noise floor is added to it, as in the reference.
  """
  if config.target == 'pixels':
    return tokens
  x = tokens.reshape(*tokens.shape[:2], -1, 3)
  mean = x.mean(2, keepdims=True)
  std = x.std(2, keepdims=True, ddof=1)
  return ((x - mean) / (std + config.noise_floor)).reshape(tokens.shape)


class Encoder(nnx.Module):
  """A ViT over tubelets, without a class token.

  `final_norm` is used in pre-training; a fine-tuned classifier instead has a norm after
  the mean over tokens (in its head), as in the reference.
  """

  def __init__(
    self, config: VideoMAEConfig, *, rngs: nnx.Rngs, final_norm: bool = True
  ):
    width, dtype = config.width, jnp.dtype(config.dtype)

    def block(rngs: nnx.Rngs) -> layers.Block:
      return layers.Block(width, config.heads, config.mlp_width, rngs=rngs, dtype=dtype)

    self.config = config
    self.embed = layers.linear(config.pixels_per_token, width, rngs=rngs, dtype=dtype)
    self.stack = layers.Stack(
      block, config.depth, drop_path=config.drop_path, rngs=rngs, remat=config.remat
    )
    self.norm = layers.layer_norm(width, rngs=rngs, dtype=dtype) if final_norm else None

  def __call__(
    self, frames: Frames, visible: Visible | None = None, key: Key = None
  ) -> Float[Array, 'B V D']:
    """Encodes the visible tokens, by their numbers, or all; `key` is for drop path."""
    tokens = patchify(frames, self.config)
    positions = layers.sincos_1d(np.arange(tokens.shape[1]), self.config.width)
    positions = jnp.broadcast_to(positions, (tokens.shape[0], *positions.shape))
    if visible is not None:  # before the embedding, to save work
      tokens = gather(tokens, visible)
      positions = gather(positions, visible)
    x = split_batch(self.embed(normalise_pixels(to_unit(tokens))))
    x, _ = self.stack(x + positions.astype(x.dtype), key=key)
    return x if self.norm is None else self.norm(x)

  def features(
    self, frames: Frames, key: Key = None
  ) -> Float[Array, 'B slots feature_width']:
    """One vector per temporal slot.

    It concatenates the means over a grid of regions; a grid of 1 is the mean over the
    whole frame.
    """
    x, config = self(frames, key=key), self.config
    grid = config.feature_grid
    cell = config.size // config.patch // grid
    x = x.reshape(x.shape[0], config.slots, grid, cell, grid, cell, config.width)
    return x.mean((3, 5)).reshape(x.shape[0], config.slots, config.feature_width)


class VideoMAE(nnx.Module):
  """Encoder and decoder for masked pre-training.

  `final_norm` of the encoder, as in the reference; what transformers pre-trains by
  default has none.
  """

  def __init__(
    self, config: VideoMAEConfig, *, rngs: nnx.Rngs, final_norm: bool = True
  ):
    dtype = jnp.dtype(config.dtype)
    self.config = config
    width = config.decoder_width
    self.encoder = Encoder(config, rngs=rngs, final_norm=final_norm)
    self.to_decoder = layers.linear(
      config.width, width, rngs=rngs, dtype=dtype, use_bias=False
    )
    self.mask_token = nnx.Param(
      0.02 * jax.random.truncated_normal(rngs.params(), -2, 2, (width,))
    )
    self.decoder = layers.Stack(
      lambda rngs: layers.Block(
        width, config.decoder_heads, 4 * width, rngs=rngs, dtype=dtype
      ),
      config.decoder_depth,
      rngs=rngs,
      remat=config.remat,
    )
    self.decoder_norm = layers.layer_norm(width, rngs=rngs, dtype=dtype)
    self.to_pixels = layers.linear(
      width, config.pixels_per_token, rngs=rngs, dtype=dtype
    )

  def __call__(
    self, frames: Frames, visible: Visible, masked: Masked, key: Key = None
  ) -> Float[Array, 'B M P']:
    """Predicts the masked tokens' pixels, see `TARGETS`."""
    seen = split_batch(self.to_decoder(self.encoder(frames, visible, key)))
    positions = layers.sincos_1d(np.arange(self.config.tokens), seen.shape[-1])
    positions = positions.astype(seen.dtype)
    hidden = self.mask_token[None, None].astype(seen.dtype) + positions[masked]
    x = jnp.concatenate([seen + positions[visible], hidden], axis=1)
    x, _ = self.decoder(x, key=key)
    return split_batch(self.to_pixels(self.decoder_norm(x[:, -hidden.shape[1] :])))

  def loss(
    self, frames: Frames, visible: Visible, masked: Masked, key: Key = None
  ) -> Float[Array, 'B']:
    """Mean squared error over the masked tokens of each clip, in float32."""
    predicted = self(frames, visible, masked, key).astype(jnp.float32)
    hidden = to_unit(gather(patchify(frames, self.config), masked))
    target = reconstruction_target(hidden, self.config)
    return jnp.mean((predicted - target) ** 2, axis=(1, 2))


class VideoClassifier(nnx.Module):
  """A backbone of unmasked video and a linear head, for fine-tuning.

  The head is: mean over tokens, norm, dropout, linear. Its initial weights are scaled
  by `head_scale`. As in the reference, the encoder has no final norm.
  """

  def __init__(
    self,
    config: VideoMAEConfig,
    outputs: int,
    *,
    rngs: nnx.Rngs,
    dropout: float = 0.0,
    head_scale: float = 0.001,
  ):
    self.config, self.dropout = config, dropout
    self.encoder = config.create(rngs=rngs, final_norm=False)
    self.norm = layers.layer_norm(config.width, rngs=rngs, dtype=jnp.float32)
    self.head = layers.linear(config.width, outputs, rngs=rngs, dtype=jnp.float32)
    self.head.kernel[...] = self.head.kernel[...] * head_scale

  def __call__(self, frames: Frames, key: Key = None) -> Float[Array, 'B outputs']:
    """Logits of clips, in float32; `key` is for dropout and drop path."""
    keys = (None, None) if key is None else jax.random.split(key)
    x = self.encoder(frames, key=keys[0]).astype(jnp.float32)
    x = layers.dropout(self.norm(x.mean(1)), self.dropout, keys[1])
    return self.head(x)
