"""Handcrafted features as tokens: what the classic baselines read, beside raw signals.

Each channel (and each action unit) that has features is one token. A feature is
standardised by its mean and deviation over the training trials; one that is missing is
then zero, which is its mean.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import jax.numpy as jnp
import numpy as np
from flax import nnx

from mvp_jax.array_types import Array, PRNGKeyArray
from mvp_jax.data.handcrafted import channel_features, feature_table
from mvp_jax.data.windows import Window
from mvp_jax.errors import InputError
from mvp_jax.models import layers
from mvp_jax.models.emotion import ModelSizes
from mvp_jax.models.fusion import Tokens
from mvp_jax.models.modalities import Encoding, Inputs, Metadata, register

if TYPE_CHECKING:  # they import much
  from mvp_jax.data.examples import InputConfig
  from mvp_jax.data.trials import PreparedCorpus

_LARGEST = 4.0  # deviations: what is further off is drawn in


@register('handcrafted')
@dataclasses.dataclass(frozen=True)
class Handcrafted:
  """Handcrafted features of trials; those of a window are of what it holds."""

  # What is always prepared, for the baselines, and what other modalities ask for.
  streams: ClassVar[tuple[str, ...]] = ()
  encoded: ClassVar[bool] = False
  face: ClassVar[bool] = False
  partial: ClassVar[bool] = True  # what is missing of a trial is its mean

  def inputs(
    self,
    corpus: 'PreparedCorpus',
    windows: Sequence[Window],
    options: 'InputConfig',
    encoding: Encoding | None = None,
  ) -> Inputs:
    """values float32 [C, F], of C channels the features, in their units, NaN where one
    is not known or the channel has fewer than F; times float32 [C] in seconds, the
    middle of the part in use."""
    table, names = feature_table(corpus, [window.trial for window in windows])
    whole = not all(window.trial.cut for window in windows)
    if whole and not np.isfinite(table).any():  # a single window may well have none
      raise InputError(
        'modalities.handcrafted: no trial has any handcrafted feature; leave it out of '
        'config.models'
      )
    channels = channel_features(corpus.metadata)
    values = np.full((len(windows), len(channels), _most(channels)), np.nan, np.float32)
    columns = {name: column for column, name in enumerate(names)}
    for place, own in enumerate(channels.values()):
      for i, name in enumerate(own):
        if name in columns:
          values[:, place, i] = table[:, columns[name]]
    return Inputs(
      [
        {
          'values': x,
          'times': np.full(len(x), window.start + window.seconds / 2, np.float32),
        }
        for window, x in zip(windows, values, strict=True)
      ],
      standardised='values',
    )

  def network(
    self, metadata: Metadata, encoding: Encoding | None = None
  ) -> 'HandcraftedNetwork':
    return HandcraftedNetwork(tuple(map(len, channel_features(metadata).values())))


def _most(channels: Mapping[str, Sequence[str]]) -> int:
  """The largest number of features that a channel has."""
  return max(map(len, channels.values()), default=0)


@dataclasses.dataclass(frozen=True)
class HandcraftedNetwork:
  """Makes the network, for channels of so many features."""

  counts: tuple[int, ...]

  def create(self, sizes: ModelSizes, *, rngs: nnx.Rngs) -> '_Channels':
    return _Channels(self.counts, sizes, rngs=rngs)


class _Channels(nnx.Module):
  """A linear layer for each channel."""

  def __init__(
    self, counts: tuple[int, ...], sizes: ModelSizes, *, rngs: nnx.Rngs
  ) -> None:
    self.counts, dtype = counts, jnp.dtype(sizes.dtype)
    self.embed = nnx.List(
      layers.linear(count, sizes.width, rngs=rngs, dtype=dtype) for count in counts
    )

  def __call__(
    self, arrays: dict[str, Array], key: PRNGKeyArray | None = None
  ) -> Tokens:
    """A token for each channel, valid where any of its features is known."""
    values = arrays['values']
    known = jnp.isfinite(values)
    values = _LARGEST * jnp.tanh(jnp.where(known, values, 0) / _LARGEST)
    x = jnp.stack(
      [
        embed(values[:, place, :count])
        for place, (embed, count) in enumerate(
          zip(self.embed, self.counts, strict=True)
        )
      ],
      axis=1,
    )
    valid = known.any(-1)
    return Tokens(jnp.where(valid[..., None], x, 0), valid, arrays['times'])
