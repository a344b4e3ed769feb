"""Raw body signals, all channels together, through a convolutional transformer."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from mvp_jax.errors import InputError
from mvp_jax.models.fusion import Tokens
from mvp_jax.models.modalities import Inputs, register
from mvp_jax.models.physio import PhysioConfig, PhysioTransformer

_STANDARDISE = ('trial', 'subject')


@register('physio')
@dataclasses.dataclass(frozen=True)
class Physio(PhysioConfig):
  """Sizes of the physio transformer, and how its input is scaled."""

  # Whose mean and deviation each channel is standardised by. 'subject' keeps the
  # level of a trial against the subject's others. No statistic is shared between
  # subjects, so none goes from those tested to those trained on.
  standardise: str = 'trial'

  streams: ClassVar[tuple[str, ...]] = ('signals',)
  encoded: ClassVar[bool] = False
  face: ClassVar[bool] = False

  def __post_init__(self):
    super().__post_init__()
    if self.standardise not in _STANDARDISE:
      raise InputError(
        f'standardise: {self.standardise!r} is none of {", ".join(_STANDARDISE)}'
      )

  def check(self, sizes):
    if self.widths[-1] != sizes.width:
      raise ValueError(
        f'widths end in {self.widths[-1]}, must end in model.width, {sizes.width}'
      )
    if sizes.width % self.heads:
      raise ValueError(
        f'heads: {self.heads} heads do not divide the width {sizes.width}'
      )

  def inputs(self, corpus, windows, options, encoding=None):
    """values float32 [S, C], standardised, zero where invalid; valid bool [S]."""
    facts = corpus.metadata['streams'].get('signals')
    series = [window.trial.streams.get('signals') for window in windows]
    if not facts or not any(one is not None and one.valid.any() for one in series):
      raise InputError(
        'evaluation.models: no trial has signals; leave out fusion and physio'
      )
    rate, channels = facts['rate'], len(facts['channels'])
    nothing = np.zeros((0, channels), np.float32)
    found = [
      (nothing, nothing.astype(bool)) if one is None else (one.values, one.valid)
      for one in series
    ]
    subjects = [window.trial.subject for window in windows]
    length = round(options.max_seconds * rate)
    moments = {}
    if self.standardise == 'subject':
      for subject in set(subjects):
        own = [x for x, whose in zip(found, subjects, strict=True) if whose == subject]
        moments[subject] = signal_moments(*zip(*own, strict=True))
    items = []
    for window, (x, valid) in zip(windows, found, strict=True):
      good = valid.copy()
      good[: round(window.start * rate)] = False
      values = standardise(x, good, moments.get(window.trial.subject))[:length]
      valid = good.any(1)[:length]
      items.append({'values': pad(values, length), 'valid': pad(valid, length)})
    return Inputs(items)

  def network(self, metadata, encoding=None):
    facts = metadata['streams']['signals']
    return PhysioNetwork(self, len(facts['channels']), float(facts['rate']))


@dataclasses.dataclass(frozen=True)
class PhysioNetwork:
  """Makes the network for `channels` at `rate` Hz."""

  config: Physio
  channels: int
  rate: float

  def create(self, sizes, *, rngs):
    return _Signals(self, sizes, rngs=rngs)


class _Signals(nnx.Module):
  def __init__(self, network, sizes, *, rngs):
    given, dtype = (network.config, network.channels, network.rate), sizes.dtype
    self.transformer = PhysioTransformer(
      *given, rngs=rngs, dtype=jnp.dtype(dtype), remat=sizes.remat
    )

  def __call__(self, arrays: dict[str, Array], key=None) -> Tokens:
    x, valid = self.transformer(arrays['values'], arrays['valid'], key)
    return Tokens(x, valid, self.transformer.times(arrays['values'].shape[1]))


def standardise(x, valid, moments=None):
  """Each channel minus its mean over its deviation, over its valid samples.

  Float32 [samples, channels], as `x`; zero where not `valid`, bool of the same shape.
  `moments` are mean and deviation, each float64 [channels]; None = its own.
  """
  mean, std = signal_moments([x], [valid]) if moments is None else moments
  centred = np.where(valid, x - mean, 0)
  return (centred / np.maximum(std, 1e-8)).astype(np.float32)


def signal_moments(signals, valid):
  """Mean and deviation, float64 [channels], over the valid samples of some trials.

  `signals` and `valid` are lists of float32 and bool [samples, channels].
  """
  pairs = list(zip(signals, valid, strict=True))
  count = np.maximum(sum(good.sum(0) for _, good in pairs), 1)
  mean = sum(np.where(good, x, 0).sum(0, dtype=np.float64) for x, good in pairs) / count
  squares = sum((np.where(good, x - mean, 0) ** 2).sum(0) for x, good in pairs)
  return mean, np.sqrt(squares / count)


def pad(x, length):
  """Pads the first axis with zeros to `length`."""
  return np.pad(x, [(0, length - len(x))] + [(0, 0)] * (x.ndim - 1))
