"""Clips of video: where they lie in a trial, and what the encoder sees."""

import dataclasses

import numpy as np

from mvp_jax.data.masks import tube_mask


@dataclasses.dataclass(frozen=True)
class ClipLayout:
  """Clips of `frames` stored frames, `stride` apart, every `spacing` seconds."""

  frames: int = 16
  stride: int = 4
  spacing: float = 2.56  # seconds from one clip's start to the next
  tubelet: int = 2

  @property
  def span(self):
    """Stored frames from a clip's first to its last."""
    return (self.frames - 1) * self.stride + 1

  @property
  def slots(self):
    return self.frames // self.tubelet

  def max_clips(self, seconds):
    return max(1, round(seconds / self.spacing))


def clip_frames(start, count, layout):
  """Frame numbers of a clip: int [frames]. A short video's last frame repeats."""
  return np.minimum(start + np.arange(layout.frames) * layout.stride, count - 1)


def lay_clips(trial, frame_rate, layout):
  """Lays clips evenly over the whole trial.

  Args:
    trial: Trial with frames.
    frame_rate: of the stored frames, Hz.
    layout: ClipLayout.

  Returns:
    frames: int [clips, frames], frame numbers.
    times: float32 [clips * slots], seconds of the temporal slots' centres.
    valid: bool [clips * slots]; a face in every frame of the slot.
  """
  count = len(trial.frame_times)
  clips = layout.max_clips(count / frame_rate)
  starts = np.round(np.linspace(0, max(count - layout.span, 0), clips)).astype(int)
  numbers = np.stack([clip_frames(s, count, layout) for s in starts])
  inside = starts[:, None] + np.arange(layout.frames) * layout.stride < count
  slots = numbers.reshape(-1, layout.tubelet)
  valid = (trial.frame_valid[slots] & inside.reshape(slots.shape)).all(1)
  times = trial.frame_times[slots].mean(1).astype(np.float32)
  return numbers, times, valid


class RandomClips:
  """Masked clips at random places of some trials, for VideoMAE pre-training.

  A Grain source of (trial, part) pairs: each epoch sees `per_trial` clips of
  every trial, one from each of as many equal parts, so that all of it is seen.
  """

  def __init__(self, corpus, trials, layout, places, mask_ratio, per_trial):
    self.corpus, self.trials, self.layout = corpus, trials, layout
    self.places, self.mask_ratio, self.per_trial = places, mask_ratio, per_trial

  def __len__(self):
    return len(self.trials) * self.per_trial

  def __getitem__(self, index):
    return divmod(int(index), self.per_trial)

  def read(self, item, rng):
    """Draws the place and the mask; `rng` is Grain's, of this example and epoch."""
    index, part = item
    trial = self.trials[index]
    count = len(trial.frame_times)
    last = max(count - self.layout.span, 0)
    low, high = (round(last * p / self.per_trial) for p in (part, part + 1))
    start = int(rng.integers(low, high + 1))
    visible, masked = tube_mask(rng, self.layout.slots, self.places, self.mask_ratio)
    frames = self.corpus.frames(trial, clip_frames(start, count, self.layout))
    if rng.random() < 0.5:  # left and right are alike in a face
      frames = frames[:, :, ::-1]
    return {'frames': np.ascontiguousarray(frames), 'visible': visible,
            'masked': masked, 'weight': np.float32(1)}
