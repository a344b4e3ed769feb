"""What is trained: masked video, emotion from clips, emotion from whole trials."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from mvp_jax.models.emotion import EmotionModel, FusionConfig
from mvp_jax.models.videomae import (
  Encoder,
  VideoClassifier,
  VideoMAE,
  VideoMAEConfig,
  to_unit,
)
from mvp_jax.training.flops import classifier_flops, pretraining_flops
from mvp_jax.training.mixing import mix


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
    return pretraining_flops(
      self.model, batch['visible'].shape[-1], batch['masked'].shape[-1]
    )

  def predictions(self, model, batch):
    """Pixels of the masked tokens, see `videomae.TARGETS`: float32 [B, M, P]."""
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
    metrics = {
      f'accuracy_{target}': _weighted_mean(right[:, i], batch['weight'])
      for i, target in enumerate(self.model.targets)
    }
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


@dataclasses.dataclass(frozen=True)
class Regularisation:
  """What keeps a fine-tuned encoder from learning its clips by heart."""

  drop_path: float = 0.1
  dropout: float = 0.0  # before the head
  label_smoothing: float = 0.1
  mixup: float = 0.8  # of the Beta distribution; 0 = none
  cutmix: float = 1.0  # likewise
  mix_probability: float = 1.0
  cutmix_share: float = 0.5  # of the batches mixed, where both are on

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
  """Binary emotion from unmasked clips: Figure 2 of MVP, VideoMAE's fine-tuning.

  Batch: `frames` uint8 [B, V, T, H, W, 3], V views of an example; `label` float32
  [B, targets] in {0, 1}; `weight` [B]. In training each view is an example of its
  own; in evaluation the probabilities of an example's views are averaged.
  """

  model: VideoMAEConfig
  targets: tuple[str, ...]
  regularisation: Regularisation = Regularisation()

  def create(self, rngs):
    config = dataclasses.replace(self.model, drop_path=self.regularisation.drop_path)
    return VideoClassifier(
      config, len(self.targets), rngs=rngs, dropout=self.regularisation.dropout
    )

  def loss(self, model, batch, key):
    options = self.regularisation
    mix_key, model_key = jax.random.split(key)
    views = batch['frames'].shape[1]
    frames = to_unit(_flatten(batch['frames']))
    label, weight = (jnp.repeat(batch[k], views, axis=0) for k in ('label', 'weight'))
    label = label * (1 - options.label_smoothing) + options.label_smoothing / 2
    frames, label = mix(frames, label, mix_key, options)
    logits = model(frames, model_key)
    loss = optax.sigmoid_binary_cross_entropy(logits, label).mean(-1)
    return _weighted_mean(loss, weight), {}

  def flops(self, batch):
    return batch['frames'].shape[1] * classifier_flops(self.model)

  def scores(self, model, batch):
    """Probability of "high", the mean over views: float32 [B, targets]."""
    b, views = batch['frames'].shape[:2]
    scores = jax.nn.sigmoid(model(_flatten(batch['frames'])))
    return scores.reshape(b, views, -1).mean(1)

  def evaluate(self, model, batch):
    scores, right = self.scores(model, batch), batch['label'] > 0.5
    loss = -jnp.log(jnp.maximum(jnp.where(right, scores, 1 - scores), 1e-7)).mean(-1)
    hit = ((scores > 0.5) == right).astype(jnp.float32)
    return {
      'loss': _weighted_mean(loss, batch['weight']),
      **{
        f'accuracy_{target}': _weighted_mean(hit[:, i], batch['weight'])
        for i, target in enumerate(self.targets)
      },
    }


def _flatten(x):
  """[B, V, ...] -> [B * V, ...]."""
  return x.reshape(-1, *x.shape[2:])


def _weighted_mean(x, weight):
  return jnp.sum(x * weight) / jnp.maximum(weight.sum(), 1)
