"""Clips of video: where they lie in a trial."""

import dataclasses
from typing import ClassVar

import numpy as np

from mvp_jax.data.windows import even_starts

_READ_AT_ONCE = 8  # clips; those that follow each other share chunks of frames


@dataclasses.dataclass(frozen=True)
class ClipLayout:
  """Clips of `frames` stored frames, `stride` apart, every `spacing` seconds."""

  frames: int = 16
  stride: int = 4
  spacing: float = 2.56  # seconds from one clip's start to the next
  tubelet: int = 2

  stream: ClassVar[str] = 'video'

  @property
  def span(self):
    """Stored frames from a clip's first to its last."""
    return (self.frames - 1) * self.stride + 1

  @property
  def least_frames(self):
    """Stored frames that a clip needs: each slot begins inside the video.

    Of the last slot the video's last frame may have to repeat.
    """
    return (self.frames - self.tubelet) * self.stride + 1

  @property
  def slots(self):
    return self.frames // self.tubelet

  def max_clips(self, seconds):
    return max(1, round(seconds / self.spacing))

  def baseline_clips(self, seconds):
    """Clips of so many seconds before the onset, at most."""
    return self.max_clips(seconds) if seconds else 0

  def clips(self, corpus, trial):
    """Yields the clips of a trial; few are in memory at once.

    Yields:
      (uint8 [frames, H, W, 3], whether it can be read: True). First come those of
      `lay_baseline`, then those of `lay_clips`.
    """
    video = trial.streams[self.stream]
    numbers = np.concatenate([lay(video, self)[0] for lay in (lay_baseline, lay_clips)])
    for first in range(0, len(numbers), _READ_AT_ONCE):
      some = numbers[first : first + _READ_AT_ONCE]
      frames = corpus.frames(trial, some.ravel())
      yield from (
        (clip, True) for clip in frames.reshape(*some.shape, *frames.shape[1:])
      )


def clip_frames(start, count, layout):
  """Frame numbers of a clip: int [frames]. A short video's last frame repeats."""
  return np.minimum(start + np.arange(layout.frames) * layout.stride, count - 1)


def lay_clips(video, layout):
  """Lays clips evenly over a whole video, a data.trial.Frames.

  Returns:
    frames: int [clips, frames], frame numbers.
    times: float32 [clips * slots], seconds of the temporal slots' centres.
    valid: bool [clips * slots]; a face in every frame of the slot.
  """
  count = len(video.times)
  clips = layout.max_clips(count / video.rate)
  starts = even_starts(count, layout.span, clips)
  numbers = np.stack([clip_frames(s, count, layout) for s in starts])
  inside = starts[:, None] + np.arange(layout.frames) * layout.stride < count
  slots = numbers.reshape(-1, layout.tubelet)
  valid = (video.valid[slots] & inside.reshape(slots.shape)).all(1)
  times = video.times[slots].mean(1).astype(np.float32)
  return numbers, times, valid


def lay_baseline(video, layout):
  """Lays clips evenly over what a video shows before the onset, if anything.

  Where that is shorter than a clip, the clip goes on into the trial: it is nothing that
  an encoder has not seen. Slots that are not all before the onset are not valid.

  Returns:
    as `lay_clips`; numbers of frames before the onset are negative.
  """
  before = video.before
  if before is None:
    nothing = np.zeros(0, np.float32)
    return np.zeros((0, layout.frames), int), nothing, nothing.astype(bool)
  early = len(before.times)
  clips = layout.baseline_clips(early / video.rate)
  starts = even_starts(early, layout.span, clips)
  count = early + len(video.times)
  numbers = np.stack([clip_frames(s, count, layout) for s in starts])
  slots = numbers.reshape(-1, layout.tubelet)
  valid = np.concatenate([before.valid, np.zeros_like(video.valid)])[slots].all(1)
  times = np.concatenate([before.times, video.times])[slots].mean(1)
  return numbers - early, times.astype(np.float32), valid


def first_view(source, example):
  """An example of one view, the first of several."""
  if source.repeats == 1:
    return example
  return {name: x[0] for name, x in example.items()}
