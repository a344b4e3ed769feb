"""Raw body signals, all channels together, through a convolutional transformer.

Each channel comes in twice. Its shape is standardised within the trial; its level is
what it is above the baseline before the onset (or the trial's mean, where there is
none), in units of the training trials' deviation: what standardising takes away. Of an
EMG's envelope both are logarithmic.

The transformer starts at random, or from one that was pre-trained on any signals (see
`models.masked_signals`): what it knows of a channel, it knows by the channel's name.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mvp_jax.array_types import (
  Array,
  Bool,
  Float,
  Float32,
  Float64,
  PRNGKeyArray,
  Shaped,
)
from mvp_jax.data.augment_signals import SignalAugmentConfig, augment_signals
from mvp_jax.data.trial import Series
from mvp_jax.data.windows import Window
from mvp_jax.errors import InputError
from mvp_jax.models.emotion import ModelSizes
from mvp_jax.models.fusion import Tokens
from mvp_jax.models.modalities import Encoding, Inputs, Item, Metadata, register
from mvp_jax.models.physio import PhysioConfig, PhysioTransformer
from mvp_jax.raw.cleaning import kind, log_envelope

if TYPE_CHECKING:  # they import much
  from mvp_jax.data.examples import InputConfig
  from mvp_jax.data.trials import PreparedCorpus

_STANDARDISE = ('trial', 'subject')
# What a pre-trained transformer must share with its user.
_SIZES = ('widths', 'kernels', 'strides', 'depth', 'heads', 'mlp_width', 'levels')
_LARGEST_LEVEL = 4.0  # deviations: what is further off, an artefact say, is drawn in

Samples: TypeAlias = Float[np.ndarray, 'S C']
Known: TypeAlias = Bool[np.ndarray, 'S C']
Variables: TypeAlias = dict[str, Any]  # nested, of arrays
# Mean and deviation of each channel.
Moments: TypeAlias = tuple[Float64[np.ndarray, ' C'], Float64[np.ndarray, ' C']]


@register('physio')
@dataclasses.dataclass(frozen=True)
class Physio(PhysioConfig):
  """Sizes of the physio transformer, and how its input is scaled."""

  # Whose mean and deviation each channel is standardised by. 'subject' keeps the
  # level of a trial against the subject's others. No statistic is shared between
  # subjects, so none goes from those tested to those trained on.
  standardise: str = 'trial'
  levels: bool = True  # also the level of each channel over its baseline
  baseline: bool = True  # the transformer reads what was before the onset, too
  augment: SignalAugmentConfig = SignalAugmentConfig()
  checkpoint: str = ''  # work directory of a pre-training; empty = random weights

  streams: ClassVar[tuple[str, ...]] = ('signals',)
  encoded: ClassVar[bool] = False
  face: ClassVar[bool] = False

  def __post_init__(self) -> None:
    super().__post_init__()
    if self.standardise not in _STANDARDISE:
      raise InputError(
        f'standardise: {self.standardise!r} is none of {", ".join(_STANDARDISE)}'
      )

  @property
  def partial(self) -> bool:
    """Whether it is trained to go without some of its channels."""
    return self.augment.channel_dropout > 0

  def in_time(self) -> 'Physio':
    """The same, neither shifted nor cropped in training."""
    augment = dataclasses.replace(self.augment, shift=0.0, crop=0.0)
    return dataclasses.replace(self, augment=augment)

  def check(self, sizes: ModelSizes) -> None:
    if self.widths[-1] != sizes.width:
      raise ValueError(
        f'widths end in {self.widths[-1]}, must end in model.width, {sizes.width}'
      )
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
    """Arrays of S samples, from the baseline on, zero where invalid.

    values float32 [S, C], the shapes; levels float32 [S, C]; valid bool [S].
    """
    facts = corpus.metadata['streams'].get('signals')
    series = [window.trial.series.get('signals') for window in windows]
    if not facts or not facts['channels']:
      raise InputError(
        'config.evaluation.models: no trial has signals; name only models that do not '
        'read physio'
      )
    rate, logs = facts['rate'], _logarithmic(facts['channels'], corpus.metadata)
    found = [_courses(one, len(logs), logs) for one in series]
    subjects = [window.trial.subject for window in windows]
    lead = self.lead(facts)
    moments: dict[int, Moments] = {}
    if self.standardise == 'subject':
      for subject in set(subjects):
        its = [x for x, whose in zip(found, subjects, strict=True) if whose == subject]
        moments[subject] = signal_moments([x[0] for x in its], [x[1] for x in its])
    items = []
    for window, (x, valid, before, before_valid) in zip(windows, found, strict=True):
      good = valid.copy()
      good[: round(window.start * rate)] = False
      own = moments.get(window.trial.subject) or signal_moments([x], [good])

      def laid(
        after: Shaped[np.ndarray, 'S C'],
        earlier: Shaped[np.ndarray, 'R C'],
        seconds: float = window.padded,
      ) -> Shaped[np.ndarray, 'L C']:
        """From `lead` samples before the onset on, padded to the length."""
        earlier = earlier[len(earlier) - min(lead, len(earlier)) :]
        earlier = np.pad(earlier, [(lead - len(earlier), 0), (0, 0)])
        return np.concatenate([earlier, pad(after, round(seconds * rate))])

      known = laid(good, before_valid)
      item: Item = {
        'values': standardise(laid(x, before), known, own),
        'valid': np.any(known, axis=1),
      }
      if self.levels:
        rest, mean = signal_moments([before], [before_valid])[0], own[0]
        if self.standardise != 'trial':
          mean, _ = signal_moments([x], [good])
        one = window.trial.series.get('signals')
        rest = np.where(one is not None and one.has_baseline, rest, mean)
        levels = np.where(known, laid(x, before) - rest, 0)
        item['levels'] = levels.astype(np.float32)
      items.append(item)
    return Inputs(items, 'levels' if self.levels else None)

  def lead(self, facts: Mapping[str, Any]) -> int:
    """Samples that are read before the onset: of whole tokens."""
    if not self.baseline:
      return 0
    return (
      math.ceil(facts.get('before', 0.0) * facts['rate'] / self.stride) * self.stride
    )

  def check_start(
    self, record: Mapping[str, Any], facts: Mapping[str, Any] | None = None
  ) -> None:
    """Raises InputError if a pre-trained transformer does not fit.

    Args:
      record: of the pre-training.
      facts: of the stream that is to be read; None: not known yet.
    """
    where, model = f'{self.checkpoint}: ', record['model']
    if 'physio' not in model:
      raise InputError(
        f'{where}was not pre-trained on signals; give the work directory of '
        'configs/physio_pretrain.py'
      )
    wrong = [
      f'{name} {_listed(model["physio"][name])} (here {_listed(getattr(self, name))})'
      for name in _SIZES
      if _listed(model['physio'][name]) != _listed(getattr(self, name))
    ]
    if wrong:
      raise InputError(
        f'{where}was pre-trained with {", ".join(wrong)}; set modalities.physio alike'
      )
    if facts is None:
      return
    if model['rate'] != facts['rate']:
      raise InputError(
        f'{where}was pre-trained on signals of {model["rate"]:g} Hz, these are stored '
        f'at {facts["rate"]:g} Hz; prepare both at one rate'
      )
    if not set(model['channels']) & set(facts['channels']):
      raise InputError(
        f'{where}was pre-trained on {", ".join(model["channels"])}, and none of these '
        f'is here ({", ".join(facts["channels"])})'
      )

  def started(
    self,
    fresh: Variables,
    pretrained: Variables,
    known: Sequence[str],
    channels: Sequence[str],
  ) -> Variables:
    """Variables of the network that start from a pre-trained one.

    Args:
      fresh: random ones.
      pretrained: those of the pre-trained network.
      known: names of the channels that it has seen.
      channels: names of the channels here; new ones keep what `fresh` has of them.
    """
    sides = 2 if self.levels else 1
    first = fresh['transformer']['convs'][0]['weight']
    of = pretrained['transformer']['convs'][0]['weight']
    rows = [
      (
        side * len(channels) + channels.index(name),
        side * len(known) + known.index(name),
      )
      for side in range(sides)
      for name in channels
      if name in known
    ]
    here, there = (list(numbers) for numbers in zip(*rows, strict=True))
    kernel = first['kernel'].reshape(self.kernels[0], sides * len(channels), -1)
    old = of['kernel'].reshape(self.kernels[0], sides * len(known), -1)
    kernel = kernel.at[:, np.array(here)].set(old[:, np.array(there)])
    convs = {
      **pretrained['transformer']['convs'],
      0: {
        **pretrained['transformer']['convs'][0],
        'weight': {**of, 'kernel': kernel.reshape(first['kernel'].shape)},
      },
    }
    return {'transformer': {**pretrained['transformer'], 'convs': convs}}

  def network(
    self, metadata: Metadata, encoding: Encoding | None = None
  ) -> 'PhysioNetwork':
    facts = metadata['streams']['signals']
    return PhysioNetwork(
      self, len(facts['channels']), float(facts['rate']), self.lead(facts)
    )


@dataclasses.dataclass(frozen=True)
class PhysioNetwork:
  """Makes the network for `channels` at `rate` Hz, from `lead` samples before on."""

  config: Physio
  channels: int
  rate: float
  lead: int = 0

  def create(self, sizes: ModelSizes, *, rngs: nnx.Rngs) -> 'Signals':
    return Signals(self, sizes, rngs=rngs)


class Signals(nnx.Module):
  """From shapes and levels to tokens."""

  def __init__(
    self, network: PhysioNetwork, sizes: ModelSizes, *, rngs: nnx.Rngs
  ) -> None:
    config, self.lead = network.config, network.lead // network.config.stride
    self.augment = config.augment
    self.transformer = PhysioTransformer(
      config,
      network.channels * (2 if config.levels else 1),
      network.rate,
      network.lead,
      rngs=rngs,
      dtype=jnp.dtype(sizes.dtype),
      remat=sizes.remat,
    )

  def __call__(
    self, arrays: dict[str, Array], key: PRNGKeyArray | None = None
  ) -> Tokens:
    """Tokens of the trial; those of the baseline have been read by them."""
    signals, levels, valid = arrays['values'], arrays.get('levels'), arrays['valid']
    if key is not None:
      own, key = jax.random.split(key)
      signals, levels, valid = augment_signals(
        signals, levels, valid, own, self.augment
      )
    x, valid = self.read(signals, levels, valid, key)
    times, lead = self.transformer.times(signals.shape[1]), self.lead
    return Tokens(x[:, lead:], valid[:, lead:], times[lead:])

  def read(
    self,
    signals: Float[Array, 'B S C'],
    levels: Float[Array, 'B S C'] | None,
    valid: Bool[Array, 'B S'],
    key: PRNGKeyArray | None = None,
  ) -> tuple[Float[Array, 'B N D'], Bool[Array, 'B N']]:
    """Tokens from the baseline on, and which are valid."""
    if levels is not None:
      levels = _LARGEST_LEVEL * jnp.tanh(levels / _LARGEST_LEVEL)
      signals = jnp.concatenate([signals, levels], axis=-1)
    return self.transformer(signals, valid, key)


def _listed(value: Any) -> Any:
  return list(value) if isinstance(value, tuple | list) else value


def _logarithmic(channels: Sequence[str], metadata: Metadata) -> Bool[np.ndarray, ' C']:
  """Which channels are envelopes."""
  return np.array([kind(name) == 'emg' and metadata['clean'] for name in channels])


def _courses(
  series: Series | None, channels: int, logs: Bool[np.ndarray, ' C']
) -> tuple[Samples, Known, Float[np.ndarray, 'R C'], Bool[np.ndarray, 'R C']]:
  """Values and validity of the trial and of what was before; `logs`: of envelopes."""
  if series is None:
    nothing = np.zeros((0, channels), np.float32)
    return nothing, nothing.astype(bool), nothing, nothing.astype(bool)
  before, before_valid = series.before, series.before_valid
  if before is None or before_valid is None:
    before, before_valid = series.values[:0], series.valid[:0]
  values, valid = series.values, series.valid
  if logs.any():
    both = np.concatenate([before, values]).astype(np.float64)
    known = np.concatenate([before_valid, valid])
    mean, _ = signal_moments([both], [known])
    wave = log_envelope(both[:, logs], mean[logs])
    both[:, logs] = np.where(known[:, logs], wave, both[:, logs])
    both = both.astype(np.float32)
    before, values = both[: len(before)], both[len(before) :]
  return values, valid, before, before_valid


def standardise(
  x: Samples, valid: Known, moments: Moments | None = None
) -> Float32[np.ndarray, 'S C']:
  """Each channel minus its mean over its deviation, over its valid samples.

  Zero where not `valid`. `moments` None = its own.
  """
  mean, std = signal_moments([x], [valid]) if moments is None else moments
  centred = np.where(valid, x - mean, 0)
  return (centred / np.maximum(std, 1e-8)).astype(np.float32)


def signal_moments(
  signals: Sequence[Float[np.ndarray, '_ C']], valid: Sequence[Bool[np.ndarray, '_ C']]
) -> Moments:
  """Mean and deviation over the valid samples of some trials."""
  pairs = list(zip(signals, valid, strict=True))
  count = np.maximum(sum(good.sum(0) for _, good in pairs), 1)
  mean = sum(np.where(good, x, 0).sum(0, dtype=np.float64) for x, good in pairs) / count
  squares = sum((np.where(good, x - mean, 0) ** 2).sum(0) for x, good in pairs)
  return mean, np.sqrt(squares / count)


def pad(
  x: Shaped[np.ndarray, 'S ...'], length: int
) -> Shaped[np.ndarray, '{length} ...']:
  """Pads the first axis with zeros to `length`, or cuts it."""
  x = x[:length]
  return np.pad(x, [(0, length - len(x))] + [(0, 0)] * (x.ndim - 1))
