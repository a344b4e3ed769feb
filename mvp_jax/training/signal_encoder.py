"""Settings of the physio transformer's pre-training, see `models.masked_signals`."""

import dataclasses
from typing import ClassVar

from mvp_jax.data.masked_signals import MaskedTrials
from mvp_jax.errors import InputError
from mvp_jax.models.masked_signals import SignalBackbone
from mvp_jax.training.encoder import EncoderConfig, register
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.optimiser import OptimiserConfig
from mvp_jax.training.tasks import MaskedBodySignals


@register
@dataclasses.dataclass(frozen=True)
class PhysioEncoder(EncoderConfig):
  """The transformer of `config.modalities.physio`, pre-trained on any signals."""

  hidden: float = 0.5  # share of a trial, in the mean
  span: float = 1.0  # seconds
  train: TrainConfig = TrainConfig(
    batch_size=64,
    log_every=20,
    validate_every=100,
    checkpoint_every=500,
    inspect_every=500,
    optimiser=OptimiserConfig(
      learning_rate=1e-3, steps=4000, warmup_steps=200, clip_norm=1.0
    ),
  )

  kind: ClassVar[str] = 'physio'
  pretrains: ClassVar[bool] = True
  streams: ClassVar[tuple[str, ...]] = ('signals',)

  def __post_init__(self):
    super().__post_init__()
    if not 0 < self.hidden < 1:
      raise ValueError(f'encoder.hidden is {self.hidden}, must be between 0 and 1')
    if not self.span > 0:
      raise ValueError(f'encoder.span is {self.span}, must be above 0 s')

  def backbone(self, clips, frame_size):
    raise InputError(
      "encoder.kind: 'physio' reads no frames; it is pre-trained by the job 'pretrain' "
      'and used as modalities.physio.checkpoint'
    )

  def network(self, config, found=()):
    if not found:
      return None
    physio = config.modalities['physio']
    every = [corpus.metadata['streams']['signals'] for corpus in found]
    rates = {facts['rate'] for facts in every}
    if len(rates) > 1:
      raise InputError(
        'config.pretrain.sources: have signals at '
        f'{" and ".join(f"{rate:g}" for rate in sorted(rates))} Hz; they must be '
        'prepared at one rate'
      )
    (rate,) = rates
    lead = max(physio.lead(facts) for facts in every)
    return SignalBackbone(
      physio,
      tuple(dict.fromkeys(name for facts in every for name in facts['channels'])),
      float(rate),
      lead,
      lead + round(config.input.max_seconds * rate),
      config.model.dtype,
    )

  def clips(self, corpus, trials, layout, backbone):
    return MaskedTrials(corpus, trials, backbone, self.hidden, self.span)

  def task(self, backbone):
    return MaskedBodySignals(backbone)
