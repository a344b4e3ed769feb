"""Fusion of video and physiology over whole trials (MVP, arXiv 2501.03103).

By default as MVP: cross-attention, query = physiological tokens, key and value =
video tokens; `fusion` has the others. With one modality left out the same code is
the unimodal baseline: the other's tokens go straight to the head.

Shapes: B trials, S samples, C channels, V video tokens, D width, T targets.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from mvp_jax.models import layers
from mvp_jax.models.action_units import ActionUnitConfig, ActionUnitTransformer
from mvp_jax.models.fusion import Tokens, find, make_fusion
from mvp_jax.models.physio import (
  PhysioConfig,
  PhysioTransformer,
  masked_mean,
  time_positions,
)
from mvp_jax.models.videomae import Encoder, VideoMAEConfig

MODALITIES = ('physio', 'video')
CENTRES = ('onset', 'recording', 'nothing')
VIDEO_BACKBONES = ('videomae', 'au')


@dataclasses.dataclass(frozen=True)
class FusionSizes:
  """Sizes of the emotion model. Where the paper is silent the choice is ours."""

  # What is taken off the video tokens, so that the change counts and not the
  # person: their mean in the first `onset_seconds` (as the baseline correction
  # usual for signals), in the whole 'recording', or 'nothing'.
  centre_video: str = 'onset'
  onset_seconds: float = 2.0
  video_depth: int = 1  # self-attention layers over the video tokens
  fusion: str = 'cross'  # one of fusion.FUSIONS
  depth: int = 2  # layers of the fusion, where it has any
  segments: int = 16  # that a trial is cut into by 'vanilla' and 'joint'
  heads: int = 4
  mlp_width: int = 1024
  dropout: float = 0.1
  remat: str = 'none'  # one of layers.REMAT
  dtype: str = 'float32'  # of the computation; parameters are float32
  physio: PhysioConfig = PhysioConfig()
  action_units: ActionUnitConfig = ActionUnitConfig()  # where they are the video

  def __post_init__(self):
    if self.centre_video not in CENTRES:
      raise ValueError(
        f'centre_video {self.centre_video!r} is none of {", ".join(CENTRES)}'
      )
    find(self.fusion)
    if self.segments < 1:
      raise ValueError(f'segments is {self.segments}, must be at least 1')
    if self.dtype not in layers.DTYPES:
      raise ValueError(f'dtype {self.dtype!r} is none of {", ".join(layers.DTYPES)}')
    for heads in (self.heads, self.physio.heads, self.action_units.heads):
      if self.width % heads:
        raise ValueError(
          f'{heads} heads do not divide the width {self.width} (the '
          'last of physio.widths)'
        )

  @property
  def width(self):
    return self.physio.widths[-1]


@dataclasses.dataclass(frozen=True)
class FusionConfig(FusionSizes):
  """Sizes, and what comes in and goes out."""

  modalities: tuple[str, ...] = MODALITIES
  video_backbone: str = 'videomae'  # or 'au': the video is action units
  targets: tuple[str, ...] = ('valence', 'arousal')
  channels: tuple[str, ...] = ('eda', 'ppg')
  signal_rate: float = 128.0  # Hz
  video_width: int = 768  # of the video tokens that come in
  # Fine-tune this encoder on frames, instead of reading its cached features.
  encoder: VideoMAEConfig | None = None

  def __post_init__(self):
    super().__post_init__()
    if not self.modalities or set(self.modalities) - set(MODALITIES):
      raise ValueError(f'modalities {self.modalities} must be some of {MODALITIES}')
    if self.video_backbone not in VIDEO_BACKBONES:
      raise ValueError(
        f'video_backbone {self.video_backbone!r} is none of '
        f'{", ".join(VIDEO_BACKBONES)}'
      )


class Head(nnx.Module):
  """Logits of "high" for each target from one vector."""

  def __init__(self, width, targets, dropout, *, rngs, dtype):
    self.dropout = dropout
    self.norm = layers.layer_norm(width, rngs=rngs, dtype=dtype)
    self.linear = nnx.Linear(
      width, targets, rngs=rngs, kernel_init=nnx.initializers.truncated_normal(0.02)
    )

  def __call__(self, x, key=None):
    x = layers.dropout(self.norm(x), self.dropout, key)
    return self.linear(x.astype(jnp.float32))


def _mean_odds(logits, present=None):
  """Logits of the mean of some probabilities, which come as logits too.

  Args:
    logits: list of [B, T].
    present: list of bool [B], which of them count (at least one); None = all.
  """
  if len(logits) == 1:
    return logits[0]
  counts = 1.0 if present is None else jnp.stack(present)[..., None].astype(jnp.float32)
  high, low = (
    jax.nn.logsumexp(
      jnp.stack([jax.nn.log_sigmoid(sign * x) for x in logits]), axis=0, b=counts
    )
    for sign in (1, -1)
  )
  return high - low


class EmotionModel(nnx.Module):
  """Logits of "high" for each target from one or both modalities."""

  def __init__(self, config, *, rngs):
    self.config = config
    dtype = jnp.dtype(config.dtype)
    width = config.width

    def block(rngs, cross=False):
      return layers.Block(
        width,
        config.heads,
        config.mlp_width,
        rngs=rngs,
        dtype=dtype,
        dropout=config.dropout,
        cross=cross,
      )

    if 'physio' in config.modalities:
      self.physio = PhysioTransformer(
        config.physio,
        len(config.channels),
        config.signal_rate,
        rngs=rngs,
        dtype=dtype,
        remat=config.remat,
      )
    if 'video' in config.modalities and config.video_backbone == 'au':
      self.action_units = ActionUnitTransformer(
        config.action_units, width, rngs=rngs, dtype=dtype, remat=config.remat
      )
    elif 'video' in config.modalities:
      if config.encoder:
        self.encoder = Encoder(config.encoder, rngs=rngs)
      self.video_in = layers.linear(config.video_width, width, rngs=rngs, dtype=dtype)
      self.video = layers.Stack(
        block, config.video_depth, rngs=rngs, remat=config.remat
      )
    widths = (width,)
    if len(config.modalities) == 2:
      self.fusion = make_fusion(
        config, config.modalities, block, rngs=rngs, dtype=dtype
      )
      widths = self.fusion.widths
    self.heads = nnx.List(
      Head(n, len(config.targets), config.dropout, rngs=rngs, dtype=dtype)
      for n in widths
    )

  def __call__(self, batch, key=None, want_attention=False):
    """Returns float32 logits [B, T] and a dict of what can be looked at.

    Args:
      batch: dict of what the modalities need.
        signals: float32 [B, S, C]; signals_valid: bool [B, S].
        video: float32 [B, V, video_width], of action units [B, V, 35], or with an
          encoder `frames`: uint8 [B, clips, frames, size, size, 3];
        video_valid: bool [B, V]; video_times: float32 [B, V], seconds.
      key: random key for dropout, or None.
      want_attention: add what the fusion has to show, see `fusion.cross`.
    """
    keys = (None,) * 5 if key is None else jax.random.split(key, 5)
    seen, tokens, present = {}, {}, None
    if 'physio' in self.config.modalities:
      x, valid = self.physio(batch['signals'], batch['signals_valid'], keys[2])
      times = self.physio.times(batch['signals'].shape[1])
      tokens['physio'] = Tokens(x, valid, times)
    if 'video' in self.config.modalities:
      x = self._video_tokens(batch, keys)
      tokens['video'] = Tokens(x, batch['video_valid'], batch['video_times'])
    if len(tokens) == 2:
      pooled, _, seen, present = self.fusion(tokens, keys[3], want_attention)
    else:
      (alone,) = tokens.values()
      pooled = [masked_mean(alone.x, alone.valid)]
    logits = [head(x, keys[4]) for head, x in zip(self.heads, pooled, strict=True)]
    return _mean_odds(logits, present), seen

  def _video_tokens(self, batch, keys):
    valid, times = batch['video_valid'], batch['video_times']
    if self.config.video_backbone == 'au':
      x = self._centred(batch['video'], valid, times)
      return self.action_units(x, valid, times, keys[1])
    if self.config.encoder:
      frames = batch['frames']
      clips = frames.reshape(-1, *frames.shape[2:])
      x = self.encoder.features(clips, keys[0]).reshape(
        frames.shape[0], -1, self.config.encoder.feature_width
      )
    else:
      x = batch['video']
    x = self.video_in(self._centred(x, valid, times))
    x = x + time_positions(times, x.shape[-1], x.dtype)
    return self.video(x, valid=valid, key=keys[1])[0]

  def _centred(self, x, valid, times):
    if self.config.centre_video == 'nothing':
      return x
    reference = valid
    if self.config.centre_video == 'onset':
      early = valid & (times < self.config.onset_seconds)
      reference = jnp.where(early.any(1, keepdims=True), early, valid)
    return x - masked_mean(x, reference)[:, None].astype(x.dtype)
