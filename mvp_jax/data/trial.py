"""A trial, in memory: its streams of numbers, frames and sound, and its ratings."""

import dataclasses

import numpy as np

from mvp_jax.array_types import Bool, Float, Float32, Int64

_EARLY = 1e-3  # seconds; times are float32
LEAST_BASELINE = 0.5  # the share of a stored baseline that must have been measured


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
  """A stream of numbers. Time zero is the stimulus onset.

  Attributes:
    values: 0 where not valid.
    valid: which values were measured.
    channels: their names.
    rate: Hz; None = irregular, with `times`.
    times: seconds; None = n / rate.
    before: what was measured up to the onset, the baseline, if anything, 0 where not
      valid.
    before_valid: which values of it were measured.
    before_times: seconds, negative, if it is irregular.
  """

  values: Float32[np.ndarray, 'n channels']
  valid: Bool[np.ndarray, 'n channels']
  channels: tuple[str, ...]
  rate: float | None = None
  times: Float32[np.ndarray, ' n'] | None = None
  before: Float32[np.ndarray, 'm channels'] | None = None
  before_valid: Bool[np.ndarray, 'm channels'] | None = None
  before_times: Float32[np.ndarray, ' m'] | None = None

  @property
  def has_baseline(self) -> Bool[np.ndarray, ' channels']:
    """Whether enough of the baseline was measured to count from it."""
    if self.before_valid is None or not len(self.before_valid):
      return np.zeros(len(self.channels), bool)
    return self.before_valid.mean(0) >= LEAST_BASELINE

  def covers(self, seconds: float) -> bool:
    """Whether every channel has enough of a baseline of so many seconds."""
    if self.rate is not None or self.before_valid is None:
      return bool(self.has_baseline.all())
    rate = len(self.values) / max(self.seconds, _EARLY)  # on average
    return bool((self.before_valid.sum(0) / rate >= LEAST_BASELINE * seconds).all())

  @property
  def clock(self) -> Float[np.ndarray, ' n']:
    """When each row was measured, in seconds."""
    if self.times is not None:
      return self.times
    assert self.rate is not None, 'a series has a rate or times'
    return np.arange(len(self.values)) / self.rate

  def stretch(self, start: float, end: float) -> 'Series':
    """The rows from `start` to before `end` seconds, on a clock from `start` on."""
    first, last = np.searchsorted(self.clock, [start - _EARLY, end - _EARLY])
    times = None if self.times is None else self.times[first:last] - np.float32(start)
    before = () if start else (self.before, self.before_valid, self.before_times)
    return Series(
      self.values[first:last],
      self.valid[first:last],
      self.channels,
      self.rate,
      times,
      *before,
    )

  @property
  def seconds(self) -> float:
    """How long it lasts: to the end of its last row or, if irregular, to its time."""
    if self.rate is None:
      assert self.times is not None, 'a series has a rate or times'
      return float(self.times[-1]) if len(self.times) else 0.0
    return len(self.values) / self.rate


@dataclasses.dataclass(frozen=True, eq=False)
class Frames:
  """A stream of pictures, which `PreparedCorpus.frames` reads.

  Attributes:
    times: seconds since the onset.
    valid: a face is there.
    first_chunk: row of the split that is named like the stream.
    rate: Hz.
    first: frames that are stored before this stretch of the trial.
    before: those up to the onset, the baseline, if there are any. Their times are
      negative, and so are their numbers for `PreparedCorpus.frames`: the last is -1.
  """

  times: Float32[np.ndarray, ' n']
  valid: Bool[np.ndarray, ' n']
  first_chunk: int
  rate: float
  first: int = 0
  before: 'Frames | None' = None

  def stretch(self, start: float, end: float) -> 'Frames':
    """The frames from `start` to before `end` seconds, on a clock from `start` on."""
    first, last = np.searchsorted(self.times, [start - _EARLY, end - _EARLY])
    return dataclasses.replace(
      self,
      times=self.times[first:last] - np.float32(start),
      valid=self.valid[first:last],
      first=self.first + int(first),
      before=None if start else self.before,
    )

  def covers(self, seconds: float) -> bool:
    """Whether a face is there for enough of a baseline of so many seconds."""
    shown = 0 if self.before is None else int(self.before.valid.sum())
    return shown / self.rate >= LEAST_BASELINE * seconds

  @property
  def seconds(self) -> float:
    """How long it lasts, to the end of its last frame."""
    return len(self.times) / self.rate


@dataclasses.dataclass(frozen=True, eq=False)
class Sound:
  """A stream of sound, mono, which `PreparedCorpus.samples` reads.

  Attributes:
    count: samples, from the onset on.
    recorded: first sample and last + 1 of what was recorded, in order; between them
      there is no measurement.
    first_chunk: row of the split that is named like the stream.
    rate: Hz.
    first: samples of the trial before this stretch of it.
  """

  count: int
  recorded: Int64[np.ndarray, 'stretches 2']
  first_chunk: int
  rate: float
  first: int = 0

  def stretch(self, start: float, end: float) -> 'Sound':
    """The samples from `start` to before `end` seconds, on a clock from `start` on."""
    first, last = (min(round(t * self.rate), self.count) for t in (start, end))
    recorded = np.clip(self.recorded, first, last) - first
    return dataclasses.replace(
      self,
      count=last - first,
      recorded=recorded[recorded[:, 1] > recorded[:, 0]],
      first=self.first + first,
    )

  @property
  def seconds(self) -> float:
    """How long it lasts, to the end of its last sample."""
    return self.count / self.rate


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
  """One trial: a subject watching one stimulus. Time zero is its onset.

  Attributes:
    trial_id: text, unique in the corpus.
    subject, trial: numbers; `trial` is the place in the order of presentation, from 1.
    stimulus: its number; None where it has none.
    ratings: {name: float}, NaN where not given.
    streams: {name: Series, Frames or Sound}; those that the trial lacks are left out.
    group, session: names, '' where there are none.
    part: 'train', 'validation' or 'test' of the corpus' official split, or ''.
    start: seconds of the whole trial before this stretch of it.
    cut: whether this is a stretch, not all of the trial.
  """

  trial_id: str
  subject: int
  trial: int
  stimulus: int | None
  ratings: dict[str, float]
  streams: dict[str, Series | Frames | Sound]
  group: str = ''
  session: str = ''
  part: str = ''
  start: float = 0.0
  cut: bool = False

  @property
  def stretch_id(self) -> str:
    """A name that is unique among stretches, too."""
    if not self.cut:
      return self.trial_id
    return f'{self.trial_id}@{self.start:.3f}+{self.seconds:.3f}'

  @property
  def seconds(self) -> float:
    """How long its longest stream lasts."""
    return max((stream.seconds for stream in self.streams.values()), default=0.0)

  @property
  def series(self) -> dict[str, Series]:
    """Those of its streams that are numbers, by name."""
    return {name: x for name, x in self.streams.items() if isinstance(x, Series)}

  def stretch(self, start: float, end: float) -> 'Trial':
    """The trial from `start` to before `end` seconds, on a clock from `start` on.

    A stream that has nothing in it is left out.
    """
    streams = {name: x.stretch(start, end) for name, x in self.streams.items()}
    lasting = {name: x for name, x in streams.items() if _length(x)}
    return dataclasses.replace(
      self, streams=lasting, start=self.start + start, cut=True
    )


def _length(stream: Series | Frames | Sound) -> int:
  if isinstance(stream, Sound):
    return stream.count
  return len(stream.valid)
