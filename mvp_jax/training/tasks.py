"""What is trained: masked video, and emotion from one or both modalities."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from mvp_jax.models.fusion import EmotionModel, FusionConfig
from mvp_jax.models.videomae import Encoder, VideoMAE, VideoMAEConfig


@dataclasses.dataclass(frozen=True)
class MaskedVideo:
  """VideoMAE pre-training. Batch: `frames`, `visible`, `masked`, `weight`."""

  model: VideoMAEConfig

  def create(self, rngs):
    return VideoMAE(self.model, rngs=rngs)

  def loss(self, model, batch, key):
    loss = model.loss(batch['frames'], batch['visible'], batch['masked'], key)
    return _weighted_mean(loss, batch['weight']), {}

  def evaluate(self, model, batch):
    return {'loss': self.loss(model, batch, None)[0]}

  def flops(self, batch):
    return pretraining_flops(self.model, batch['visible'].shape[-1],
                             batch['masked'].shape[-1])

  def predictions(self, model, batch):
    """Normalised pixels of the masked tokens: float32 [B, M, P]."""
    predicted = model(batch['frames'], batch['visible'], batch['masked'])
    return predicted.astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class VideoFeatures:
  """A frozen encoder, which nothing trains. Batch: `frames`."""

  model: VideoMAEConfig

  def create(self, rngs):
    return Encoder(self.model, rngs=rngs)

  def features(self, model, batch):
    """Tokens of clips: float32 [B, slots, feature_width]."""
    return model.features(batch['frames']).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class Emotion:
  """Binary valence and arousal. Batch: as `EmotionModel`, `label`, `weight`.

  `label` is float32 [B, T] in {0, 1}; each trial weighs `weight` [B].
  """

  model: FusionConfig
  label_smoothing: float = 0.0

  def create(self, rngs):
    return EmotionModel(self.model, rngs=rngs)

  def _loss(self, model, batch, key, smoothing):
    logits, _ = model(batch, key)
    label = batch['label'] * (1 - smoothing) + smoothing / 2
    loss = optax.sigmoid_binary_cross_entropy(logits, label)
    right = ((logits > 0) == (batch['label'] > 0.5)).astype(jnp.float32)
    metrics = {f'accuracy_{target}': _weighted_mean(right[:, i], batch['weight'])
               for i, target in enumerate(self.model.targets)}
    return _weighted_mean(loss.mean(-1), batch['weight']), metrics

  def loss(self, model, batch, key):
    return self._loss(model, batch, key, self.label_smoothing)

  def evaluate(self, model, batch):
    loss, metrics = self._loss(model, batch, None, 0.0)
    return {'loss': loss, **metrics}

  def scores(self, model, batch):
    """Probability of "high": float32 [B, T]."""
    return jax.nn.sigmoid(model(batch)[0])

  def attention(self, model, batch):
    """Scores and the cross-attention, see `EmotionModel`."""
    logits, seen = model(batch, want_attention=True)
    return {'scores': jax.nn.sigmoid(logits), **seen}


def _weighted_mean(x, weight):
  return jnp.sum(x * weight) / jnp.maximum(weight.sum(), 1)
