"""Training tasks: masked video, masked signals, emotion from clips or whole trials."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mvp_jax.errors import InputError
from mvp_jax.models.emotion import EmotionConfig, EmotionModel
from mvp_jax.models.masked_signals import MaskedSignals, SignalBackbone
from mvp_jax.models.videomae import VideoClassifier, VideoMAE, VideoMAEConfig, to_unit
from mvp_jax.targets.base import Mean
from mvp_jax.training.flops import (
  classifier_flops,
  convolution_flops,
  pretraining_flops,
)
from mvp_jax.training.mixing import mix
from mvp_jax.training.reconstructions import drawn_clips


@dataclasses.dataclass(frozen=True)
class MaskedVideo:
  """VideoMAE pre-training. Batch: `frames`, `visible`, `masked`, `weight`."""

  model: VideoMAEConfig

  def create(self, rngs):
    return VideoMAE(self.model, rngs=rngs)

  def loss(self, model, batch, key):
    loss = model.loss(batch['frames'], batch['visible'], batch['masked'], key)
    return {'loss': Mean.of(loss, batch['weight'])}

  def evaluate(self, model, batch):
    return self.loss(model, batch, None)

  def flops(self, batch):
    return pretraining_flops(
      self.model, batch['visible'].shape[-1], batch['masked'].shape[-1]
    )

  def predictions(self, model, batch):
    """Pixels of the masked tokens, see `videomae.TARGETS`: float32 [B, M, P]."""
    predicted = model(batch['frames'], batch['visible'], batch['masked'])
    return predicted.astype(jnp.float32)

  def drawn(self, batch, predicted):
    """Arrays of a picture of what was predicted."""
    return {'clips': drawn_clips(batch, predicted, self.model)}


@dataclasses.dataclass(frozen=True)
class MaskedBodySignals:
  """Pre-training of the physio transformer. Batch: see `data.masked_signals`."""

  model: SignalBackbone

  def create(self, rngs):
    return MaskedSignals(self.model, rngs=rngs)

  def loss(self, model, batch, key):
    return {'loss': model.loss(batch, key)}

  def evaluate(self, model, batch):
    return self.loss(model, batch, None)

  def predictions(self, model, batch):
    """Signals as the network believes them to be: float32 [B, S, C]."""
    return model(batch)

  def drawn(self, batch, predicted):
    """Arrays of a picture of what was predicted."""
    return {
      'values': batch['values'],
      'hidden': batch['hidden'],
      'restored': predicted,
      'channels': np.array(self.model.channels),
      'rate': self.model.rate,
      'lead': self.model.lead,
    }


@dataclasses.dataclass(frozen=True)
class FrameFeatures:
  """A frozen encoder, for inference only. Batch: `frames`.

  `model` is a backbone, see `models.backbones`.
  """

  model: Any

  def create(self, rngs):
    return self.model.create(rngs=rngs)

  def features(self, model, batch):
    """Tokens of clips: float32 [B, slots, feature_width]."""
    return model.features(batch['frames']).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class Emotion:
  """A target from whole trials. Batch: the inputs of `EmotionModel`, and labels.

  `label` is float32 [B, K] and `weight` [B] the weight of each trial; `label_weight`
  [B, K], if it is there, that of each rating. For a target in time `label` is [B, L,
  K] and `label_weight` [B, L] the weight of each moment, or [B, L, K].
  """

  model: EmotionConfig
  label_smoothing: float = 0.0

  def create(self, rngs):
    return EmotionModel(self.model, rngs=rngs)

  def _metrics(self, model, batch, key, smoothing):
    outputs, _ = model(batch, key)
    weight = _weight(batch)
    label = self.model.target.smoothed(_label(batch), smoothing)
    return self.model.target.loss(outputs, label, weight)

  def loss(self, model, batch, key):
    return self._metrics(model, batch, key, self.label_smoothing)

  def evaluate(self, model, batch):
    return self._metrics(model, batch, None, 0.0)

  def scores(self, model, batch):
    """The target's predictions: float32 [B, K] or [B, L, K]."""
    return self.model.target.predict(model(batch)[0])

  def attention(self, model, batch):
    """Predictions, and what can be inspected, see `Fused.seen`."""
    outputs, seen = model(batch, want_attention=True)
    return {'scores': self.model.target.predict(outputs), **seen}

  def layer(self, path, shape):
    """The layer of a parameter, see `optimiser.layer_scales`."""
    for name, network in self.model.networks:
      backbone, within = (
        getattr(network, 'backbone', None),
        f'modalities/{name}/encoder/',
      )
      if backbone is not None and path.startswith(within):
        return backbone.layer(path.removeprefix(within), shape)
    return 0


@dataclasses.dataclass(frozen=True)
class Regularisation:
  """What keeps a fine-tuned encoder from memorising its clips."""

  drop_path: float = 0.1
  dropout: float = 0.0  # before the head
  label_smoothing: float = 0.1
  mixup: float = 0.8  # of the Beta distribution; 0 = none
  cutmix: float = 1.0  # likewise
  mix_probability: float = 1.0
  cutmix_share: float = 0.5  # of the mixed batches, if both are on

  def __post_init__(self):
    for name in ('drop_path', 'dropout', 'label_smoothing'):
      if not 0 <= getattr(self, name) < 1:
        raise ValueError(
          f'{name} is {getattr(self, name)}, must be at least 0 and below 1'
        )
    for name in ('mixup', 'cutmix'):
      if getattr(self, name) < 0:
        raise ValueError(f'{name} is {getattr(self, name)}, must not be negative')
    for name in ('mix_probability', 'cutmix_share'):
      if not 0 <= getattr(self, name) <= 1:
        raise ValueError(f'{name} is {getattr(self, name)}, must be from 0 to 1')


@dataclasses.dataclass(frozen=True)
class VideoEmotion:
  """A target from unmasked clips: Figure 2 of MVP, VideoMAE's fine-tuning.

  Batch: `frames` uint8 [B, V, T, H, W, 3], V views of an example; `label` float32
  [B, K]; `weight` [B]. In training each view is an example of its own; in evaluation
  the outputs of an example's views are combined, like those of several heads.
  """

  model: Any  # a backbone, see `models.backbones`
  target: Any  # targets.Target of whole trials
  regularisation: Regularisation = Regularisation()

  def create(self, rngs):
    return VideoClassifier(
      self.model.with_drop_path(self.regularisation.drop_path),
      self.target.outputs,
      rngs=rngs,
      dropout=self.regularisation.dropout,
    )

  def loss(self, model, batch, key):
    options = self.regularisation
    mix_key, model_key = jax.random.split(key)
    views = batch['frames'].shape[1]
    frames = to_unit(_flatten(batch['frames']))
    label, weight = (
      jnp.repeat(x, views, axis=0) for x in (_label(batch), _weight(batch))
    )
    label = self.target.smoothed(label, options.label_smoothing)
    if weight.ndim == label.ndim:  # those of what is mixed are mixed alike
      both = jnp.concatenate([label, weight], axis=-1)
      frames, both = mix(frames, both, mix_key, options)
      label, weight = jnp.split(both, 2, axis=-1)
    else:
      frames, label = mix(frames, label, mix_key, options)
    # Only the loss: there is no accuracy on mixed labels.
    return {'loss': self.target.loss(model(frames, model_key), label, weight)['loss']}

  def flops(self, batch):
    if isinstance(self.model, VideoMAEConfig):
      flops = classifier_flops(self.model)
    elif hasattr(self.model, 'macs'):
      flops = convolution_flops(self.model)
    else:
      return None  # not known
    return batch['frames'].shape[1] * flops

  def layer(self, path, shape):
    """The layer of a parameter, see `optimiser.layer_scales`."""
    if path.startswith('encoder/'):
      return self.model.layer(path.removeprefix('encoder/'), shape)
    return 0

  def _outputs(self, model, batch):
    b, views = batch['frames'].shape[:2]
    outputs = model(_flatten(batch['frames'])).reshape(b, views, -1)
    return self.target.combine([outputs[:, i] for i in range(views)], None)

  def scores(self, model, batch):
    """The target's predictions: float32 [B, K]."""
    return self.target.predict(self._outputs(model, batch))

  def evaluate(self, model, batch):
    return self.target.loss(self._outputs(model, batch), _label(batch), _weight(batch))


def _label(batch):
  """The labels of a batch. Raises InputError if its examples have none."""
  if 'label' not in batch:
    raise InputError(
      'the examples have no labels: the target is fitted on the training trials of a '
      'fold (a threshold that ratings decide on, say); give examples with its labels'
    )
  return batch['label']


def _weight(batch):
  """The weights of a batch's examples, or of their moments or ratings."""
  weight = batch['weight']
  if 'label_weight' in batch:
    own = batch['label_weight']
    weight = weight.reshape(-1, *[1] * (own.ndim - 1)) * own
  return weight


def _flatten(x):
  """[B, V, ...] -> [B * V, ...]."""
  return x.reshape(-1, *x.shape[2:])
