"""The voice: log-mel pictures of the sound, one after another, through a transformer.

Each picture (about a second of sound) becomes a few tokens by `MelTransformer`, and a
transformer reads those of the whole trial.
"""

import dataclasses
import functools
import math
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from mvp_jax.data.log_mel import PRESETS, clip_log_mel
from mvp_jax.errors import InputError
from mvp_jax.models import layers
from mvp_jax.models.backbones.mel_transformer import MelTransformer
from mvp_jax.models.fusion import Tokens
from mvp_jax.models.modalities import Inputs, register
from mvp_jax.models.physio import time_positions

_LEAST_RECORDED = 0.5  # of a picture's sound; one of less tells nothing


@register('voice')
@dataclasses.dataclass(frozen=True)
class Voice:
  """Settings of the voice: which pictures, and the sizes of what reads them."""

  preset: str = 'vggish'  # one of data.log_mel.PRESETS
  patch: int = 16  # bands and times of a patch
  picture_width: int = 96  # of the transformer within a picture
  picture_depth: int = 2
  depth: int = 1  # of the transformer over all tokens of a trial
  heads: int = 4
  mlp_width: int = 512
  dropout: float = 0.1

  streams: ClassVar[tuple[str, ...]] = ('audio',)
  encoded: ClassVar[bool] = False
  face: ClassVar[bool] = False

  def __post_init__(self):
    if self.preset not in PRESETS:
      raise InputError(f'preset: {self.preset!r} is none of {", ".join(PRESETS)}')
    _ = self.pictures  # raises if the patches do not fit

  @property
  def pictures(self):
    """The network within a picture: a MelTransformer."""
    preset = PRESETS[self.preset]
    return MelTransformer(
      bands=preset.mels,
      bins=preset.frames,
      patch_bands=self.patch,
      patch_bins=self.patch,
      width=self.picture_width,
      depth=self.picture_depth,
      heads=self.heads,
      mlp_width=4 * self.picture_width,
    )

  def check(self, sizes):
    if sizes.width % self.heads or self.picture_width % self.heads:
      raise ValueError(
        f'heads: {self.heads} heads do not divide the widths {sizes.width} and '
        f'{self.picture_width}'
      )

  def inputs(self, corpus, windows, options, encoding=None):
    """pictures float16 [K, mels, frames], valid bool [K].

    Picture k is of the seconds k * length to (k + 1) * length after the onset.
    """
    if 'audio' not in corpus.metadata['streams']:
      raise InputError(
        f'modalities.voice: {corpus.name} was prepared without sound; it takes the '
        'stream audio'
      )
    return Inputs([functools.partial(self._read, corpus, window) for window in windows])

  def _read(self, corpus, window):
    preset = PRESETS[self.preset]
    count = math.ceil(window.padded / preset.seconds)
    pictures = np.zeros((count, preset.mels, preset.frames), np.float16)
    valid = np.zeros(count, bool)
    sound = window.trial.streams.get('audio')
    lasting = 0.0 if sound is None else sound.seconds
    for k in range(count):
      begin, end = k * preset.seconds, (k + 1) * preset.seconds
      if begin < window.start or begin >= lasting:
        continue
      picture, recorded = clip_log_mel(corpus, window.trial, end, preset)
      if recorded >= _LEAST_RECORDED:
        pictures[k], valid[k] = picture, True
    return {'pictures': pictures, 'valid': valid}

  def network(self, metadata, encoding=None):
    return VoiceNetwork(self)


@dataclasses.dataclass(frozen=True)
class VoiceNetwork:
  """Makes the network."""

  config: Voice

  def create(self, sizes, *, rngs):
    return VoiceTransformer(self.config, sizes, rngs=rngs)


class VoiceTransformer(nnx.Module):
  """Pictures of sound in, tokens of the trial out."""

  def __init__(self, config, sizes, *, rngs):
    dtype, width = jnp.dtype(sizes.dtype), sizes.width
    within = dataclasses.replace(config.pictures, dtype=sizes.dtype, remat=sizes.remat)
    self.slots, self.seconds = within.slots, PRESETS[config.preset].seconds
    self.within = within.create(rngs=rngs)
    self.project = layers.linear(within.width, width, rngs=rngs, dtype=dtype)
    block = layers.blocks(width, config, dtype)
    self.stack = layers.Stack(block, config.depth, rngs=rngs, remat=sizes.remat)

  def __call__(self, arrays: dict[str, Array], key=None) -> Tokens:
    pictures, valid = arrays['pictures'], arrays['valid']
    rows, count = valid.shape
    x = pictures.reshape(rows * count, *pictures.shape[2:]).astype(jnp.float32)
    x = self.project(self.within.features(x)).reshape(rows, count * self.slots, -1)
    valid = jnp.repeat(valid, self.slots, axis=1)
    times = (np.arange(count * self.slots) + 0.5) * (self.seconds / self.slots)
    times = times.astype(np.float32)
    x = x + time_positions(times, x.shape[-1], x.dtype)[None]
    x, _ = self.stack(jnp.where(valid[..., None], x, 0), valid=valid, key=key)
    return Tokens(jnp.where(valid[..., None], x, 0), valid, times)
