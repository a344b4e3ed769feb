"""Face video through a pre-trained encoder: cached tokens, or fine-tuned on frames."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mvp_jax.array_types import Array, Bool, Float, Float32, Int, Num, PRNGKeyArray
from mvp_jax.data.clips import lay_baseline, lay_clips
from mvp_jax.data.trial import Frames, Trial
from mvp_jax.data.windows import TOLERANCE, Window
from mvp_jax.errors import InputError
from mvp_jax.models import layers
from mvp_jax.models.backbones import Backbone
from mvp_jax.models.emotion import ModelSizes
from mvp_jax.models.fusion import Tokens
from mvp_jax.models.modalities import Encoding, Inputs, Item, Metadata, register
from mvp_jax.models.modalities.physio import pad
from mvp_jax.models.physio import masked_mean, time_positions

if TYPE_CHECKING:  # they import much
  from mvp_jax.data.examples import InputConfig
  from mvp_jax.data.trials import PreparedCorpus

# One frame of no face, in place of a video that is not there.
_NOTHING = Frames(np.zeros(1, np.float32), np.zeros(1, bool), 0, 1.0)
FindTokens: TypeAlias = Callable[[], Float32[np.ndarray, 'V D']]
CENTRES = ('onset', 'recording', 'nothing')


@dataclasses.dataclass(frozen=True)
class Centred:
  """What is taken off the tokens of a face, so that the change counts, not the person.

  Their mean up to `onset_seconds` after the onset, with what is stored of the time
  before it (as the baseline correction usual for signals), in the whole 'recording', or
  'nothing'. It is the same whichever part of the trial is used.
  """

  centre: str = 'onset'
  onset_seconds: float = 2.0

  def __post_init__(self) -> None:
    if self.centre not in CENTRES:
      raise ValueError(f'centre {self.centre!r} is none of {", ".join(CENTRES)}')

  def reference(
    self, valid: Bool[np.ndarray, ' N'], times: Float[np.ndarray, ' N']
  ) -> Bool[np.ndarray, ' N']:
    """Whose mean is taken off, none for 'nothing'."""
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

  def inputs(
    self,
    corpus: 'PreparedCorpus',
    windows: Sequence[Window],
    options: 'InputConfig',
    encoding: Encoding | None = None,
  ) -> Inputs:
    """tokens float32 [V, D] (or frames uint8 [clips, T, H, W, 3]), valid bool [V],
    times float32 [V] in seconds, reference bool [V].

    Those of the baseline come first, as reference only.
    """
    features = encoding.features if encoding else None
    before = corpus.metadata['streams'].get('video', {}).get('before', 0.0)
    items = []
    for window in windows:
      clips = options.clips.max_clips(window.padded + TOLERANCE)
      clips += options.clips.baseline_clips(before)
      length = clips * options.clips.slots
      trial = window.trial
      video = trial.streams.get('video', _NOTHING)
      laid = [lay(video, options.clips) for lay in (lay_baseline, lay_clips)]
      numbers, times, valid = map(np.concatenate, zip(*laid, strict=True))
      early = np.arange(len(times)) < len(laid[0][1])
      fixed = {
        'valid': pad(valid & ~early & (times >= window.start), length),
        'times': pad(times, length),
        'reference': pad(self.reference(valid, times), length),
      }
      if video is _NOTHING:  # this trial has none
        shape: tuple[int, ...]
        if encoding and features:
          shape = length, encoding.backbone.feature_width
          items.append(functools.partial(_without, fixed, 'tokens', shape, np.float32))
        else:
          size = corpus.metadata['frame_size']
          shape = clips, options.clips.frames, size, size, 3
          items.append(functools.partial(_without, fixed, 'frames', shape, np.uint8))
      elif features:
        tokens = find_tokens(features, trial, len(valid))
        items.append(functools.partial(_with_tokens, fixed, tokens, length))
      else:
        items.append(
          functools.partial(_with_frames, fixed, corpus, trial, numbers, clips)
        )
    return Inputs(items, 'tokens' if features else None)

  def network(
    self, metadata: Metadata, encoding: Encoding | None = None
  ) -> 'VideoNetwork':
    assert encoding is not None, 'video is read through an encoder'
    backbone = None if encoding.features else encoding.backbone
    return VideoNetwork(self, encoding.backbone.feature_width, backbone)


def find_tokens(folder: Path, trial: Trial, count: int) -> FindTokens:
  """Reads the cached tokens of a trial whenever it is called: float32 [count, D].

  No file stays open, since a corpus may have more than a process may open. The header
  is read once, here: NumPy parses it with Python's `ast`, which in Python 3.11 may fail
  when several threads do so.

  Raises:
    InputError: the file cannot be read, or has another number of tokens.
  """
  path = folder / f'{trial.stretch_id}.npy'
  try:
    tokens = np.load(path, mmap_mode='r')
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
  order: Literal['C', 'F'] = 'C' if tokens.flags.c_contiguous else 'F'
  kind, offset, shape = tokens.dtype, tokens.offset, tokens.shape
  return functools.partial(np.memmap, path, kind, 'r', offset, shape, order)


def _with_tokens(fixed: Item, tokens: FindTokens, length: int) -> Item:
  return {'tokens': pad(np.asarray(tokens(), np.float32), length), **fixed}


def _without(fixed: Item, name: str, shape: tuple[int, ...], kind: type) -> Item:
  return {name: np.zeros(shape, kind), **fixed}


def _with_frames(
  fixed: Item,
  corpus: 'PreparedCorpus',
  trial: Trial,
  numbers: Int[np.ndarray, 'K T'],
  clips: int,
) -> Item:
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
  backbone: Backbone | None = None

  def create(self, sizes: ModelSizes, *, rngs: nnx.Rngs) -> '_FaceVideo':
    return _FaceVideo(self, sizes, rngs=rngs)


class _FaceVideo(nnx.Module):
  def __init__(
    self, network: VideoNetwork, sizes: ModelSizes, *, rngs: nnx.Rngs
  ) -> None:
    dtype = jnp.dtype(sizes.dtype)
    self.encoder = network.backbone.create(rngs=rngs) if network.backbone else None
    width, depth = network.feature_width, network.config.depth
    self.embed = layers.linear(width, sizes.width, rngs=rngs, dtype=dtype)
    self.stack = layers.Stack(sizes.block, depth, rngs=rngs, remat=sizes.remat)

  def __call__(
    self, arrays: dict[str, Array], key: PRNGKeyArray | None = None
  ) -> Tokens:
    valid, times = arrays['valid'], arrays['times']
    if self.encoder is None:
      x = arrays['tokens']
    else:
      frames = arrays['frames']
      if key is not None:
        frames = filled(frames, valid | arrays['reference'])
      clips = frames.reshape(-1, *frames.shape[2:])
      drop = None if key is None else jax.random.fold_in(key, 0)
      features = self.encoder.features(clips, drop)
      x = features.reshape(frames.shape[0], -1, features.shape[-1])
    x = self.embed(centred(x, arrays['reference']))
    x = x + time_positions(times, x.shape[-1], x.dtype)
    return Tokens(self.stack(x, valid=valid, key=key)[0], valid, times)
