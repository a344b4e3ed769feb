"""When the frames of a video are shown, for who needs no pictures."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.frames import reading


@dataclasses.dataclass(frozen=True)
class VideoTimes:
  """When the frames of a video are shown.

  Attributes:
    path: of the video.
    times: float64 [frames], seconds on its clock (`video_clock.Clock`).
    seconds: when the last one ends.
    notes: what a person should know of the video.
    starts: of `video_clock.Clock`: by it sound is on the same clock.
  """

  path: Path
  times: np.ndarray
  seconds: float
  notes: Sequence[str]
  starts: Sequence[float]

  def numbered(self, count):
    """The times of the frames by number, of which another decoder has found `count`.

    If that is how many packets there are, each is a frame. If not, some are damaged,
    or hold none, and decoding tells which: this takes as long as playing at great
    speed. Raises Dropped, broken_video.
    """
    return self.times if len(self.times) == count else decoded_times(self.path)


def video_times(path):
  """The VideoTimes of a file, of which only the first frame is decoded.

  Raises Dropped: missing_video, broken_video.
  """
  with reading(path) as video:
    times = video.packet_times()
  if len(times) < 2:
    raise Dropped('broken_video', f'{path}: {len(times)} frames, no video')
  return VideoTimes(path, times, video.seconds, video.notes, video.clock.starts)


def decoded_times(path):
  """When each frame that can be decoded is shown: float64 [frames], seconds.

  Raises Dropped: missing_video, broken_video.
  """
  with reading(path) as video:
    return np.array([time for time, _ in video.timed()])
