"""Which part of a trial is used: the whole, its end, or a random stretch.

Windows are cut after the split into subjects, never before.
"""

import dataclasses
from typing import Any

import numpy as np

from mvp_jax.errors import InputError

TOLERANCE = 0.5  # seconds; a recording may end a little late


@dataclasses.dataclass(frozen=True, eq=False)
class Window:
  """A stretch of a trial, in seconds since its onset."""

  trial: Any
  start: float
  seconds: float


def trial_windows(trials, max_seconds, last_seconds=0.0):
  """The part in use of each trial: all of it, or the last seconds.

  Raises InputError if one lasts longer than `max_seconds`, which are padded to.
  """
  windows = []
  for trial in trials:
    seconds = max((stream.seconds for stream in trial.streams.values()), default=0.0)
    if seconds > max_seconds + TOLERANCE:
      raise InputError(
        f'{trial.trial_id} lasts {seconds:.1f} s, input.max_seconds is '
        f'{max_seconds:g}; raise it'
      )
    start = max(0.0, seconds - last_seconds) if last_seconds else 0.0
    windows.append(Window(trial, start, seconds - start))
  return windows


def random_start(rng, count, span, part, parts):
  """First frame of a clip in `part`, from 0, of `parts` equal ones of a video.

  `count` are the frames of the video, `span` those from the clip's first to its last.
  """
  last = max(count - span, 0)
  low, high = (round(last * p / parts) for p in (part, part + 1))
  return int(rng.integers(low, high + 1))


def even_starts(count, span, clips):
  """First frames of clips laid evenly over a video: int [clips]."""
  return np.round(np.linspace(0, max(count - span, 0), clips)).astype(int)
