"""The voice: log-mel pictures of the sound, one after another, through a transformer.

Each picture (about a second of sound) becomes a few tokens by a backbone of sound, and
a transformer reads those of the whole trial. The backbone is trained with the model,
from random weights or others; or it is frozen, and its tokens are worked out once, as
those of a video are.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import jax.numpy as jnp
import numpy as np
from flax import nnx

from mvp_jax.array_types import Array, PRNGKeyArray
from mvp_jax.data.log_mel import PRESETS, Pictures
from mvp_jax.data.windows import Window
from mvp_jax.errors import InputError
from mvp_jax.models import layers
from mvp_jax.models.backbones.mel_transformer import MelTransformer
from mvp_jax.models.backbones.resnet import ResNet18
from mvp_jax.models.emotion import ModelSizes
from mvp_jax.models.fusion import Tokens
from mvp_jax.models.modalities import Encoding, Inputs, Item, Metadata, register
from mvp_jax.models.modalities.physio import Variables, pad
from mvp_jax.models.modalities.video import FindTokens, filled, find_tokens
from mvp_jax.models.physio import time_positions

if TYPE_CHECKING:  # they import much
  from mvp_jax.data.examples import InputConfig
  from mvp_jax.data.trials import PreparedCorpus

BACKBONES = ('transformer', 'resnet18')


@register('voice')
@dataclasses.dataclass(frozen=True)
class Voice:
  """Settings of the voice: which pictures, and the sizes of what reads them."""

  preset: str = 'vggish'  # one of data.log_mel.PRESETS
  backbone: str = 'transformer'  # of a picture: one of BACKBONES
  # Of the backbone: an encoder folder, or a PyTorch file of torchvision's ResNet-18;
  # empty = random weights.
  checkpoint: str = ''
  frozen: bool = False  # the backbone's tokens are worked out once, not trained
  # Of the transformer within a picture:
  patch: int = 16  # bands and times of a patch
  picture_width: int = 96
  picture_depth: int = 2
  depth: int = 1  # of the transformer over all tokens of a trial
  heads: int = 4
  mlp_width: int = 512
  dropout: float = 0.1

  streams: ClassVar[tuple[str, ...]] = ('audio',)
  encoded: ClassVar[bool] = False
  face: ClassVar[bool] = False

  def __post_init__(self) -> None:
    for name, known in (('preset', PRESETS), ('backbone', BACKBONES)):
      if getattr(self, name) not in known:
        raise InputError(
          f'{name}: {getattr(self, name)!r} is none of {", ".join(known)}'
        )
    if self.frozen and not self.checkpoint:
      raise InputError(
        'frozen: random weights would stay random; give a checkpoint, or leave it out'
      )
    _ = self.reader  # raises if the patches do not fit

  @property
  def reader(self) -> MelTransformer | ResNet18:
    """The network of a picture."""
    preset = PRESETS[self.preset]
    if self.backbone == 'resnet18':
      return ResNet18(bands=preset.mels, bins=preset.frames)
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

  @property
  def layout(self) -> Pictures:
    """How pictures lie in a trial, see `training.features.cache_features`."""
    return Pictures(self.preset)

  def check(self, sizes: ModelSizes) -> None:
    if sizes.width % self.heads or self.picture_width % self.heads:
      raise ValueError(
        f'heads: {self.heads} heads do not divide the widths {sizes.width} and '
        f'{self.picture_width}'
      )

  def inputs(
    self,
    corpus: 'PreparedCorpus',
    windows: Sequence[Window],
    options: 'InputConfig',
    encoding: Encoding | None = None,
  ) -> Inputs:
    """pictures float16 [K, mels, frames], valid bool [K]; see data.log_mel.Pictures."""
    if 'audio' not in corpus.metadata['streams']:
      raise InputError(
        f'modalities.voice: {corpus.name} was prepared without sound; it takes the '
        'stream audio'
      )
    return self._of(corpus, windows)

  def _of(self, corpus: 'PreparedCorpus', windows: Sequence[Window]) -> Inputs:
    return Inputs([functools.partial(self._read, corpus, window) for window in windows])

  def _most(self, window: Window) -> int:
    """How many pictures an example has."""
    return math.ceil(window.padded / PRESETS[self.preset].seconds)

  def _read(self, corpus: 'PreparedCorpus', window: Window) -> Item:
    most = self._most(window)
    pictures, valid = self.layout.read(corpus, window.trial, window.start, most)
    return {
      'pictures': pad(pictures.astype(np.float16), most),
      'valid': pad(valid, most),
    }

  def network(
    self, metadata: Metadata, encoding: Encoding | None = None
  ) -> 'VoiceNetwork':
    return VoiceNetwork(self)

  def started(self, fresh: Variables, pretrained: Variables) -> Variables:
    """Variables of the network whose backbone starts from a pre-trained one."""
    return {**fresh, 'within': pretrained}

  def trained(self, variables: Variables) -> Variables:
    """The backbone's variables among those of the network."""
    return variables['within']

  def cached(self, folder: Path) -> 'Voice':
    """The same, of tokens that `training.features.cache_features` left in a folder."""
    own = {x.name: getattr(self, x.name) for x in dataclasses.fields(self)}
    return _Cached(**own, folder=folder)


@dataclasses.dataclass(frozen=True)
class _Cached(Voice):
  """A frozen voice, whose tokens lie in a folder."""

  folder: Path = Path()

  def _of(self, corpus: 'PreparedCorpus', windows: Sequence[Window]) -> Inputs:
    """tokens float32 [V, D], valid bool [V]."""
    slots, items = self.reader.slots, []
    for window in windows:
      trial, width = window.trial, self.reader.feature_width
      tokens: FindTokens = functools.partial(np.zeros, (0, width), np.float32)
      if 'audio' in trial.streams:
        tokens = find_tokens(self.folder, trial, self.layout.count(trial) * slots)
      length = self._most(window) * slots
      items.append(functools.partial(self._cut, tokens, window.start, length))
    return Inputs(items, 'tokens')

  def _cut(self, tokens: FindTokens, start: float, length: int) -> Item:
    x = np.asarray(tokens()[:length], np.float32)
    slots, seconds = self.reader.slots, PRESETS[self.preset].seconds
    valid = np.isfinite(x).all(1)
    valid &= np.arange(len(x)) // slots * seconds >= start
    return {
      'tokens': pad(np.where(valid[:, None], x, 0), length),
      'valid': pad(valid, length),
    }


@dataclasses.dataclass(frozen=True)
class VoiceNetwork:
  """Makes the network."""

  config: Voice

  def create(self, sizes: ModelSizes, *, rngs: nnx.Rngs) -> 'VoiceTransformer':
    return VoiceTransformer(self.config, sizes, rngs=rngs)


class VoiceTransformer(nnx.Module):
  """Pictures of sound, or tokens of a frozen backbone, in; tokens of the trial out."""

  def __init__(self, config: Voice, sizes: ModelSizes, *, rngs: nnx.Rngs) -> None:
    dtype, width = jnp.dtype(sizes.dtype), sizes.width
    reader = dataclasses.replace(config.reader, dtype=sizes.dtype)
    if isinstance(reader, MelTransformer):
      reader = dataclasses.replace(reader, remat=sizes.remat)
    self.slots, self.seconds = reader.slots, PRESETS[config.preset].seconds
    self.within = None if config.frozen else reader.create(rngs=rngs)
    self.project = layers.linear(reader.feature_width, width, rngs=rngs, dtype=dtype)
    block = layers.blocks(width, config, dtype)
    self.stack = layers.Stack(block, config.depth, rngs=rngs, remat=sizes.remat)

  def __call__(
    self, arrays: dict[str, Array], key: PRNGKeyArray | None = None
  ) -> Tokens:
    valid = arrays['valid']
    if self.within is None:
      x = arrays['tokens']
    else:
      pictures = arrays['pictures'].astype(jnp.float32)
      if key is not None:  # padding moves no batch statistics
        pictures = filled(pictures, valid)
      rows, count = valid.shape
      x = self.within.features(pictures.reshape(rows * count, *pictures.shape[2:]), key)
      x = x.reshape(rows, count * self.slots, -1)
      valid = jnp.repeat(valid, self.slots, axis=1)
    x = self.project(x)
    times = (np.arange(x.shape[1]) + 0.5) * (self.seconds / self.slots)
    times = times.astype(np.float32)
    x = x + time_positions(times, x.shape[-1], x.dtype)[None]
    x, _ = self.stack(jnp.where(valid[..., None], x, 0), valid=valid, key=key)
    return Tokens(jnp.where(valid[..., None], x, 0), valid, times)
