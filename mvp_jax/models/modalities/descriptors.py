"""Low-level descriptors as tokens: what simple regression reads of ratings in time.

Level, pitch and voicing of the voice, and means and variability of signals, each as it
is, and standardised within the trial, since people and microphones differ. On little
data they find what networks of raw sound and signals do not yet find.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import jax.numpy as jnp
import numpy as np
from flax import nnx

from mvp_jax.array_types import Array, PRNGKeyArray
from mvp_jax.data.descriptors import Layout, Name, descriptor_names, descriptors, within
from mvp_jax.data.handcrafted import VOICE_RATE, with_voices
from mvp_jax.data.trial import Series
from mvp_jax.data.windows import Window
from mvp_jax.errors import InputError
from mvp_jax.models import layers
from mvp_jax.models.emotion import ModelSizes
from mvp_jax.models.fusion import Tokens
from mvp_jax.models.modalities import Encoding, Inputs, Item, Metadata, register
from mvp_jax.models.physio import time_positions
from mvp_jax.raw import voice

if TYPE_CHECKING:  # they import much
  from mvp_jax.data.examples import InputConfig
  from mvp_jax.data.trials import PreparedCorpus

_LARGEST = 4.0  # deviations: what is further off is drawn in


@register('descriptors')
@dataclasses.dataclass(frozen=True)
class Descriptors:
  """Settings of the transformer over descriptors."""

  streams: tuple[str, ...] = ('audio', 'signals')  # of sound, and of series
  rate: float = 2.5  # tokens a second
  reach: float = 2.0  # seconds to either side that the first layer sees
  depth: int = 1
  heads: int = 4
  mlp_width: int = 512
  dropout: float = 0.1

  encoded: ClassVar[bool] = False
  face: ClassVar[bool] = False
  partial: ClassVar[bool] = True  # what is missing of a trial is its mean

  def __post_init__(self) -> None:
    if not self.streams:
      raise InputError('streams: name at least one, as audio')
    if not 0 < self.rate <= VOICE_RATE:
      raise InputError(f'rate: above 0, at most {VOICE_RATE:g} Hz; it is {self.rate:g}')
    if not 0 <= self.reach <= 60:
      raise InputError(f'reach: from 0 to 60 s; it is {self.reach:g}')

  def check(self, sizes: ModelSizes) -> None:
    if sizes.width % self.heads:
      raise ValueError(
        f'heads: {self.heads} heads do not divide the width {sizes.width}'
      )

  def names(self, metadata: Metadata) -> list[Name]:
    """Of the descriptors of a corpus.

    Raises:
      InputError: it has no such stream, or one of pictures.
    """
    layouts: list[Layout] = []
    for stream in self.streams:
      facts = metadata['streams'].get(stream)
      if facts is None or facts['kind'] == 'frames':
        raise InputError(
          f'modalities.descriptors.streams: {stream!r} is no stream of numbers or '
          f'sound; there are {", ".join(_described(metadata)) or "none"}'
        )
      if facts['kind'] == 'sound':
        layouts.append((f'voice in {stream}', voice.TRACKS, VOICE_RATE))
      else:
        layouts.append((stream, facts['channels'], facts['rate']))
    return descriptor_names(layouts, self.rate)

  def inputs(
    self,
    corpus: 'PreparedCorpus',
    windows: Sequence[Window],
    options: 'InputConfig',
    encoding: Encoding | None = None,
  ) -> Inputs:
    """values float32 [N, 2 D], D descriptors in their units, then standardised within
    the trial, NaN where one is not known; valid bool [N], whether any is; times float32
    [N] in seconds, the middles."""
    names, items = self.names(corpus.metadata), []
    whole = [window.trial for window in windows]
    trials = with_voices(corpus, whole, sounds=self.streams)
    for window, trial in zip(windows, trials, strict=True):
      count = math.ceil(window.padded * self.rate)
      items.append(self._read(trial.series, names, count, window.start))
    return Inputs(items, standardised='values', pooled=True)

  def _read(
    self, series: Mapping[str, Series], names: Sequence[Name], count: int, start: float
  ) -> Item:
    found = descriptors(series, self.rate, count, names)
    times = ((np.arange(count) + 0.5) / self.rate).astype(np.float32)
    return {
      'values': np.concatenate([found, within(found)], axis=1).astype(np.float32),
      'valid': np.isfinite(found).any(1) & (times >= start),
      'times': times,
    }

  def network(
    self, metadata: Metadata, encoding: Encoding | None = None
  ) -> 'DescriptorNetwork':
    return DescriptorNetwork(self, 2 * len(self.names(metadata)))


def _described(metadata: Metadata) -> list[str]:
  """Streams that have descriptors."""
  streams = metadata['streams'].items()
  return [name for name, facts in streams if facts['kind'] != 'frames']


@dataclasses.dataclass(frozen=True)
class DescriptorNetwork:
  """Makes the transformer, for so many values a token."""

  config: Descriptors
  values: int

  def create(self, sizes: ModelSizes, *, rngs: nnx.Rngs) -> 'DescriptorTransformer':
    return DescriptorTransformer(self, sizes, rngs=rngs)


class DescriptorTransformer(nnx.Module):
  """Descriptors in, a token for each moment out."""

  def __init__(
    self, network: DescriptorNetwork, sizes: ModelSizes, *, rngs: nnx.Rngs
  ) -> None:
    dtype, width, config = jnp.dtype(sizes.dtype), sizes.width, network.config
    self.reach = round(config.reach * config.rate)  # tokens
    around = (2 * self.reach + 1) * network.values
    self.embed = layers.linear(around, width, rngs=rngs, dtype=dtype)
    block = layers.blocks(width, config, dtype)
    self.stack = layers.Stack(block, config.depth, rngs=rngs, remat=sizes.remat)

  def __call__(
    self, arrays: dict[str, Array], key: PRNGKeyArray | None = None
  ) -> Tokens:
    valid, times = arrays['valid'], arrays['times']
    x = jnp.where(jnp.isfinite(arrays['values']), arrays['values'], 0)
    x = _LARGEST * jnp.tanh(x / _LARGEST)
    # A product of matrices: several models' convolutions at once are slow on a CPU.
    x = jnp.pad(x, ((0, 0), (self.reach, self.reach), (0, 0)))
    places = range(2 * self.reach + 1)
    x = jnp.concatenate([x[:, i : i + times.shape[1]] for i in places], axis=-1)
    x = self.embed(x)
    x = x + time_positions(times, x.shape[-1], x.dtype)
    x, _ = self.stack(jnp.where(valid[..., None], x, 0), valid=valid, key=key)
    return Tokens(jnp.where(valid[..., None], x, 0), valid, times)
