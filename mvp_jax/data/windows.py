"""Which part of a trial is used: the whole, its beginning or end, windows, stretches.

Windows are cut after the split into subjects, never before.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mvp_jax.array_types import Float, Int
from mvp_jax.data.spans import span_count
from mvp_jax.data.trial import Trial
from mvp_jax.errors import InputError

if TYPE_CHECKING:  # they import this module, or much
  from mvp_jax.data.examples import InputConfig
  from mvp_jax.targets import Target

TOLERANCE = 0.5  # seconds; a recording may end a little late


@dataclasses.dataclass(frozen=True, eq=False)
class Window:
  """A stretch of a trial, in seconds since its onset."""

  trial: Trial
  start: float
  seconds: float
  padded: float  # seconds that arrays of it last, from the onset on


def trial_windows(
  trials: Sequence[Trial], max_seconds: float, last_seconds: float = 0.0
) -> list[Window]:
  """The part in use of each trial: all of it, or the last seconds.

  Raises InputError if one lasts longer than `max_seconds`, which are padded to.
  """
  windows = []
  for trial in trials:
    seconds = trial.seconds
    if seconds > max_seconds + TOLERANCE:
      raise InputError(
        f'{trial.trial_id} lasts {seconds:.1f} s, input.max_seconds is '
        f'{max_seconds:g}; raise it'
      )
    start = max(0.0, seconds - last_seconds) if last_seconds else 0.0
    windows.append(Window(trial, start, seconds - start, max_seconds))
  return windows


def used(trial: Trial, options: 'InputConfig') -> list[Trial]:
  """What of a trial is read, none longer than `max_seconds`.

  Of `first_seconds` what comes later is as if it had never been recorded. What then is
  longer than `max_seconds` is read as `overlapping` windows, of the last `last_seconds`
  if there are some.
  """
  last, most = options.last_seconds, options.max_seconds
  trial = part_of(trial, options.first_seconds)
  if last and trial.seconds > most + TOLERANCE:
    trial = part_of(trial, last=max(last, most))
  return overlapping(trial, most, options.hop_seconds)


def part_of(trial: Trial, first: float = 0.0, last: float = 0.0) -> Trial:
  """The first seconds of a trial, and of these the last. 0 = all."""
  if first and trial.seconds > first:
    trial = trial.stretch(0.0, first)
  if last and trial.seconds > last:
    trial = trial.stretch(trial.seconds - last, trial.seconds)
  return trial


def overlapping(trial: Trial, seconds: float, hop: float = 0.0) -> list[Trial]:
  """A trial in windows of some seconds, each a trial of its own.

  They begin every `hop` seconds (0 = half a window), the last one where it ends with
  the trial. A trial that is short enough is its own only window.
  """
  if trial.seconds <= seconds + TOLERANCE:
    return [trial]
  last = trial.seconds - seconds
  starts = [*np.arange(0, last - TOLERANCE, hop or seconds / 2).tolist(), last]
  return [trial.stretch(start, start + seconds) for start in starts]


def averaged(
  trials: Sequence[Trial], scores: Iterable[Float[np.ndarray, '...']]
) -> tuple[list[Trial], list[Float[np.ndarray, '...']]]:
  """The mean over the windows of each trial.

  Args:
    trials: as `used` gives them, all windows of each.
    scores: what is said of each.

  Returns:
    the first window of each trial, and the mean of what is said of all.
  """
  own: dict[str, list[tuple[Trial, np.ndarray]]] = {}
  for trial, score in zip(trials, scores, strict=True):
    own.setdefault(trial.trial_id, []).append((trial, score))
  return (
    [windows[0][0] for windows in own.values()],
    [np.mean([score for _, score in windows], axis=0) for windows in own.values()],
  )


def stretches(
  trials: Sequence[Trial], target: 'Target', max_seconds: float
) -> list[Trial]:
  """Trials of a target in time, cut into as few equal stretches as the limit allows.

  No label is left out: nothing is passed over as in `trial_windows`.

  Returns:
    those of a trial in order. Each has a whole number of the target's
    labels; one that is short enough stays what it is.
  """
  most = max(1, math.floor(max_seconds * target.rate + 1e-6))
  found = []
  for trial in trials:
    counts = (span_count(x, target.rate) for x in trial.streams.values())
    labels = max(counts, default=0)
    if labels <= most:
      found.append(trial)
      continue
    edges = np.linspace(0, labels, -(-labels // most) + 1).round() / target.rate
    ends = [*edges[:-1].tolist(), trial.seconds + 1]
    found += [trial.stretch(*pair) for pair in itertools.pairwise(ends)]
  return found


def joined(
  trials: Sequence[Trial],
  scores: Iterable[Float[np.ndarray, '_ ...']],
  target: 'Target',
) -> tuple[list[Trial], list[Float[np.ndarray, '_ ...']]]:
  """Puts what is predicted of stretches together.

  Args:
    trials: as `stretches` gives them, maybe some of these, whole trials in order.
    scores: of each, padded.

  Returns:
    the first stretch of each trial, and its scores from its beginning to its end.
  """
  whole: list[Trial] = []
  found: list[np.ndarray] = []
  for trial, score in zip(trials, scores, strict=True):
    place = round(trial.start * target.rate)
    if not place:
      whole.append(trial)
      found.append(score)
      continue
    found[-1] = np.concatenate([found[-1][:place], score])
  return whole, found


def random_start(
  rng: np.random.Generator, count: int, span: int, part: int, parts: int
) -> int:
  """First frame of a clip in `part`, from 0, of `parts` equal ones of a video.

  `count` are the frames of the video, `span` those from the clip's first to its last.
  """
  last = max(count - span, 0)
  low, high = (round(last * p / parts) for p in (part, part + 1))
  return int(rng.integers(low, high + 1))


def even_starts(count: int, span: int, clips: int) -> Int[np.ndarray, ' {clips}']:
  """First frames of clips laid evenly over a video."""
  return np.round(np.linspace(0, max(count - span, 0), clips)).astype(int)
