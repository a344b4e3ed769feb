"""Face video through a pre-trained encoder: cached tokens, or fine-tuned on frames."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mvp_jax.array_types import Array, Bool, Float, Num
from mvp_jax.data.clips import lay_clips
from mvp_jax.data.trial import Frames
from mvp_jax.data.windows import TOLERANCE
from mvp_jax.errors import InputError
from mvp_jax.models import layers
from mvp_jax.models.fusion import Tokens
from mvp_jax.models.modalities import Inputs, register
from mvp_jax.models.modalities.physio import pad
from mvp_jax.models.physio import masked_mean, time_positions

# One frame of no face, in place of a video that is not there.
_NOTHING = Frames(np.zeros(1, np.float32), np.zeros(1, bool), 0, 1.0)
CENTRES = ('onset', 'recording', 'nothing')


@dataclasses.dataclass(frozen=True)
class Centred:
  """What is taken off the tokens of a face, so that the change counts, not the person.

  Their mean in the first `onset_seconds` of the trial (as the baseline correction
  usual for signals), in the whole 'recording', or 'nothing'. It is the same whichever
  part of the trial is used.
  """

  centre: str = 'onset'
  onset_seconds: float = 2.0

  def __post_init__(self):
    if self.centre not in CENTRES:
      raise ValueError(f'centre {self.centre!r} is none of {", ".join(CENTRES)}')

  def reference(self, valid: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Whose mean is taken off: bool [N], none for 'nothing'."""
    if self.centre == 'nothing':
      return np.zeros_like(valid)
    early = valid & (times < self.onset_seconds)
    return early if self.centre == 'onset' and early.any() else valid


def centred(
  x: Float[Array, 'B N D'], reference: Bool[Array, 'B N']
) -> Float[Array, 'B N D']:
  """Tokens less the mean over those of the reference."""
  known = jnp.where(reference[..., None], x, 0)
  return x - masked_mean(known, reference)[:, None].astype(x.dtype)


@register('video')
@dataclasses.dataclass(frozen=True)
class Video(Centred):
  """Settings of the video modality."""

  depth: int = 1  # self-attention layers over the video tokens

  streams: ClassVar[tuple[str, ...]] = ('video',)
  encoded: ClassVar[bool] = True
  face: ClassVar[bool] = True

  def inputs(self, corpus, windows, options, encoding):
    """tokens float32 [V, D] (or frames uint8 [clips, T, H, W, 3]), valid bool [V],
    times float32 [V] in seconds, reference bool [V]."""
    features = encoding.features if encoding else None
    items = []
    for window in windows:
      clips = options.clips.max_clips(window.padded + TOLERANCE)
      length = clips * options.clips.slots
      trial = window.trial
      video = trial.streams.get('video', _NOTHING)
      numbers, times, valid = lay_clips(video, options.clips)
      fixed = {
        'valid': pad(valid & (times >= window.start), length),
        'times': pad(times, length),
        'reference': pad(self.reference(valid, times), length),
      }
      if video is _NOTHING:  # this trial has none
        size = corpus.metadata.get('frame_size')
        what = 'frames', (clips, options.clips.frames, size, size, 3), np.uint8
        if features:
          what = 'tokens', (length, encoding.backbone.feature_width), np.float32
        items.append(functools.partial(_without, fixed, *what))
      elif features:
        # Opened once, here: NumPy parses the headers with Python's `ast`, which in
        # Python 3.11 may fail when several threads do so.
        tokens = open_tokens(features, trial, len(valid))
        items.append(functools.partial(_with_tokens, fixed, tokens, length))
      else:
        items.append(
          functools.partial(_with_frames, fixed, corpus, trial, numbers, clips)
        )
    return Inputs(items, 'tokens' if features else None)

  def network(self, metadata, encoding):
    backbone = None if encoding.features else encoding.backbone
    return VideoNetwork(self, encoding.backbone.feature_width, backbone)


def open_tokens(folder, trial, count):
  """The cached tokens of a trial, float32 [count, D], not read yet."""
  try:
    tokens = np.load(folder / f'{trial.stretch_id}.npy', mmap_mode='r')
  except (OSError, EOFError, ValueError) as error:
    raise InputError(
      f'{folder}: {trial.trial_id} cannot be read ({error}); delete the folder to '
      'make it anew'
    ) from error
  if len(tokens) != count:
    raise InputError(
      f'{folder}: {trial.trial_id} has {len(tokens)} tokens, not {count}; delete '
      'the folder to make them anew'
    )
  return tokens


def _with_tokens(fixed, tokens, length):
  return {'tokens': pad(np.asarray(tokens, np.float32), length), **fixed}


def _without(fixed, name, shape, kind):
  return {name: np.zeros(shape, kind), **fixed}


def _with_frames(fixed, corpus, trial, numbers, clips):
  frames = corpus.frames(trial, numbers.ravel())
  frames = frames.reshape(*numbers.shape, *frames.shape[1:])
  return {'frames': pad(frames, clips), **fixed}


def filled(
  clips: Num[Array, 'B clips *shape'], valid: Bool[Array, 'B V']
) -> Num[Array, 'B clips *shape']:
  """Clips without any valid token repeat others of their trial, if it has any.

  Padding then moves no batch statistics of a backbone.
  """
  there = valid.reshape(*clips.shape[:2], -1).any(-1)
  first = jnp.argsort(~there, axis=1, stable=True)  # those that are there
  places = jnp.arange(clips.shape[1])[None]
  others = jnp.take_along_axis(
    first, places % jnp.maximum(there.sum(1, keepdims=True), 1), axis=1
  )
  chosen = jnp.where(there, places, others)
  chosen = jnp.expand_dims(chosen, tuple(range(2, clips.ndim)))
  return jnp.take_along_axis(clips, chosen, axis=1)


@dataclasses.dataclass(frozen=True)
class VideoNetwork:
  """Makes the network: of tokens of `feature_width`, or with a backbone of frames."""

  config: Video
  feature_width: int
  backbone: Any = None

  def create(self, sizes, *, rngs):
    return _FaceVideo(self, sizes, rngs=rngs)


class _FaceVideo(nnx.Module):
  def __init__(self, network, sizes, *, rngs):
    dtype = jnp.dtype(sizes.dtype)
    self.encoder = network.backbone.create(rngs=rngs) if network.backbone else None
    width, depth = network.feature_width, network.config.depth
    self.embed = layers.linear(width, sizes.width, rngs=rngs, dtype=dtype)
    self.stack = layers.Stack(sizes.block, depth, rngs=rngs, remat=sizes.remat)

  def __call__(self, arrays: dict[str, Array], key=None) -> Tokens:
    valid, times = arrays['valid'], arrays['times']
    if self.encoder is None:
      x = arrays['tokens']
    else:
      frames = arrays['frames']
      if key is not None:
        frames = filled(frames, valid)
      clips = frames.reshape(-1, *frames.shape[2:])
      drop = None if key is None else jax.random.fold_in(key, 0)
      features = self.encoder.features(clips, drop)
      x = features.reshape(frames.shape[0], -1, features.shape[-1])
    x = self.embed(centred(x, arrays['reference']))
    x = x + time_positions(times, x.shape[-1], x.dtype)
    return Tokens(self.stack(x, valid=valid, key=key)[0], valid, times)
