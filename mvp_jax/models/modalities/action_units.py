"""Facial action units: a face without pixels.

Action units (Ekman and Friesen's Facial Action Coding System, as OpenFace estimates
them) come pooled to a few measurements a second. They are interpretable, small, and
say nothing about who somebody is beyond how the face rests.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import jax.numpy as jnp
import numpy as np
from flax import nnx

from mvp_jax.array_types import Array, PRNGKeyArray
from mvp_jax.data.trial import Series
from mvp_jax.data.windows import Window
from mvp_jax.errors import InputError
from mvp_jax.models import layers
from mvp_jax.models.emotion import ModelSizes
from mvp_jax.models.fusion import Tokens
from mvp_jax.models.modalities import Encoding, Inputs, Item, Metadata, register
from mvp_jax.models.modalities.video import Centred, centred
from mvp_jax.models.physio import time_positions

if TYPE_CHECKING:  # they import much
  from mvp_jax.data.examples import InputConfig
  from mvp_jax.data.trials import PreparedCorpus

UNITS = 35  # 17 intensities, 18 presences
# Intensities go from 0 to 5 and, at rest, hardly move; this brings a clear expression
# to the size that layers expect.
_FULL = 2.0


@register('action_units')
@dataclasses.dataclass(frozen=True)
class ActionUnits(Centred):
  """Settings of the transformer over action units."""

  rate: float = 4.0  # tokens a second
  depth: int = 2
  heads: int = 4
  mlp_width: int = 1024
  dropout: float = 0.1

  streams: ClassVar[tuple[str, ...]] = ('action_units',)
  encoded: ClassVar[bool] = False
  face: ClassVar[bool] = True

  def __post_init__(self) -> None:
    super().__post_init__()
    if not 0 < self.rate <= 60:
      raise InputError(f'rate: above 0, at most 60 Hz; it is {self.rate:g}')

  def check(self, sizes: ModelSizes) -> None:
    if sizes.width % self.heads:
      raise ValueError(
        f'heads: {self.heads} heads do not divide the width {sizes.width}'
      )

  def inputs(
    self,
    corpus: 'PreparedCorpus',
    windows: Sequence[Window],
    options: 'InputConfig',
    encoding: Encoding | None = None,
  ) -> Inputs:
    """units float32 [N, 35], valid bool [N], times float32 [N] in seconds, reference
    bool [N].

    Those of the baseline come first, as reference only.
    """
    facts = corpus.metadata['streams'].get('action_units', {})
    lead = math.ceil(facts.get('before', 0.0) * self.rate)
    items = []
    for window in windows:
      count = math.ceil(window.padded * self.rate)
      units = window.trial.series.get('action_units')
      if units is None:
        raise InputError(
          f'modalities.action_units: {window.trial.trial_id} has no action units; '
          'prepare them from the CSVs of OpenFace, see docs/action_units.md'
        )
      found = unit_tokens(units, self.rate, count, lead)
      reference = self.reference(found['valid'], found['times'])
      found['valid'] = found['valid'] & (found['times'] >= window.start)
      items.append(found | {'reference': reference})
    return Inputs(items)

  def network(
    self, metadata: Metadata, encoding: Encoding | None = None
  ) -> 'ActionUnitNetwork':
    return ActionUnitNetwork(self)


def unit_tokens(units: Series, rate: float, count: int, lead: int = 0) -> Item:
  """Means of action units over equal stretches of time: `rate` tokens a second.

  `units` has 35 channels: 17 intensities (0 to 5) and 18 presences. The
  k-th of `count` tokens is of k / rate to (k + 1) / rate; `lead` more come before.

  Returns:
    units float32 [lead + count, 35], the mean intensities and the share of measurements
    with each presence; valid bool [lead + count], whether there is a measurement; times
    float32 [lead + count], seconds, the middles.
  """
  values, valid, clock = units.values, units.valid, units.clock
  before, before_valid, when = units.before, units.before_valid, units.before_times
  if lead and before is not None and before_valid is not None and when is not None:
    values = np.concatenate([before, values])
    valid = np.concatenate([before_valid, valid])
    clock = np.concatenate([when, clock])
  good = valid.all(1)
  # Times are kept in single precision: that of a token's first frame may lie below.
  place = np.floor(clock[good] * rate + 1e-3).astype(int) + lead
  count += lead
  inside = (place >= 0) & (place < count)
  values, place = values[good][inside], place[inside]
  total, number = np.zeros((count, values.shape[1])), np.bincount(place, None, count)
  np.add.at(total, place, values)
  return {
    'units': (total / np.maximum(number, 1)[:, None]).astype(np.float32),
    'valid': number > 0,
    'times': ((np.arange(count) - lead + 0.5) / rate).astype(np.float32),
  }


@dataclasses.dataclass(frozen=True)
class ActionUnitNetwork:
  """Makes the transformer."""

  config: ActionUnits

  def create(self, sizes: ModelSizes, *, rngs: nnx.Rngs) -> 'ActionUnitTransformer':
    return ActionUnitTransformer(self.config, sizes, rngs=rngs)


class ActionUnitTransformer(nnx.Module):
  """Action units in, a token for each measurement out."""

  def __init__(self, config: ActionUnits, sizes: ModelSizes, *, rngs: nnx.Rngs) -> None:
    dtype, width = jnp.dtype(sizes.dtype), sizes.width
    self.embed = layers.linear(UNITS, width, rngs=rngs, dtype=dtype)
    block = layers.blocks(width, config, dtype)
    self.stack = layers.Stack(block, config.depth, rngs=rngs, remat=sizes.remat)

  def __call__(
    self, arrays: dict[str, Array], key: PRNGKeyArray | None = None
  ) -> Tokens:
    valid, times = arrays['valid'], arrays['times']
    x = centred(arrays['units'], arrays['reference'])
    x = self.embed(jnp.where(valid[..., None], x, 0) * _FULL)
    x = x + time_positions(times, x.shape[-1], x.dtype)
    x, _ = self.stack(x, valid=valid, key=key)
    return Tokens(jnp.where(valid[..., None], x, 0), valid, times)
