"""Says how good a channel is: missing, flat, clipped, without a pulse or contact, ...

`benchmarks/quality.py` counts false alarms on recordings, and faults that are found.
"""

import dataclasses

import numpy as np

from mvp_jax.raw.cleaning import clean, kind

# What the units allow a living person, by unit.
RANGES = {
  ('eda', 'microsiemens'): (0.01, 100.0),
  ('temp', 'celsius'): (15.0, 45.0),
  ('ecg', 'millivolt'): (-10.0, 10.0),
}
FLAT_SECONDS = 1.0  # A value held so long was not measured, in a fast signal.
_BEATING = ('ecg', 'ppg')
_FAST = (*_BEATING, 'emg')
_MOVING = ('eda', 'emg', 'resp')  # Within half a minute they change.
_CLIP_SAMPLES = {'emg': 1}  # in a row at the extreme; others: 3, a crest may have two
# A crest that is rounded to steps falls by up to 4 of them on either side within half
# of its own width, if it is a parabola; by up to 8 in 296 real trials of EDA, rounded
# in five ways. One that is cut off by h falls by 3 h.
_CLIP_STEPS = 8.0
NO_CONTACT = 0.05  # microsiemens. Real people have 3.7 and more, a loose electrode .01.
# EDA of real people moves by at least .008 microsiemens in ten seconds, .017 in 18.
_STILL = {('eda', 'microsiemens'): 0.005}
_STILL_SECONDS = 30.0  # judged piece by piece
_LEAST_STILL_SECONDS = 10.0
_PULSE = (40.0, 200.0)  # beats a minute
_LEAST_PERIODIC = 0.25  # autocorrelation one beat later: a pulse
_SPIKE_SECONDS = 0.2
_PULSE_SECONDS = 10.0  # judged piece by piece
# Shares of a recording above which a flag is raised.
_LIMITS = {
  'missing': 0.2,
  'flat': 0.2,
  'clipped': 0.02,
  'out_of_range': 0.02,
  'no_pulse': 0.5,
  'no_contact': 0.5,
  'still': 0.5,
  'impossible': 0.0,
}


@dataclasses.dataclass(frozen=True)
class Quality:
  """Shares, 0 to 1: `missing` of all samples, the next three of those measured.

  `no_pulse` is of the pieces of ten seconds (0 where no pulse is to be expected);
  `no_contact` of the samples, of EDA in microsiemens alone; `still` of the pieces of
  half a minute in which EDA, EMG or breath moves by no more than a step of the sensor;
  `impossible` of all samples are those that the guard masks (`channels.judge`).
  """

  missing: float
  flat: float
  clipped: float
  out_of_range: float
  no_pulse: float
  no_contact: float
  still: float
  impossible: float = 0.0

  @property
  def flags(self):
    """Names of what is wrong: a tuple, empty for a good channel."""
    return tuple(name for name, limit in _LIMITS.items() if getattr(self, name) > limit)

  @property
  def told(self):
    """The same with their shares: 'missing 31%; impossible 0.05%'."""
    shares = {name: getattr(self, name) for name in self.flags}
    return [
      f'{name} {share:.0%}' if share >= 0.01 else f'{name} {100 * share:.2g}%'
      for name, share in shares.items()
    ]


def quality(values, rate, channel, unit=''):
  """Judges one channel of a recording, not cleaned: Quality.

  Args:
    values: float [time], NaN where there is no measurement.
    rate: Hz.
    channel: its name, such as 'ecg_left'.
    unit: 'microsiemens', 'celsius', 'millivolt'; others have no range.
  """
  values = np.asarray(values, np.float64)
  good = np.isfinite(values)
  measured = values[good]
  if not len(measured):
    return Quality(1.0, 0.0, 0.0, 0.0, float(kind(channel) in _BEATING), 0.0, 0.0)
  what = kind(channel), unit.lower()
  low, high = RANGES.get(what, (-np.inf, np.inf))
  flat = _flat(measured, _runs(measured), rate, channel)
  clipped = _clipped(measured, _CLIP_SAMPLES.get(kind(channel), 3)) & ~flat
  return Quality(
    missing=float(1 - good.mean()),
    flat=float(flat.mean()),
    clipped=float(clipped.mean()),
    out_of_range=float(((measured < low) | (measured > high)).mean()),
    no_pulse=_no_pulse(values, rate, channel) if kind(channel) in _BEATING else 0.0,
    no_contact=(
      float((measured < NO_CONTACT).mean()) if what == ('eda', 'microsiemens') else 0.0
    ),
    still=(
      _still(values, rate, _STILL.get(what, 0.0)) if kind(channel) in _MOVING else 0.0
    ),
  )


def unmeasured(values, rate, channel):
  """Where a channel was not measured, be it that a value is held: bool [time].

  Args as of `quality`. What is out of range is not among it: more often than a sensor
  that fails it is a unit mistaken.
  """
  bad = ~np.isfinite(values)
  measured = values[~bad]
  if len(measured):
    bad[~bad] = _flat(measured, _runs(measured), rate, channel)
  return bad


def _flat(measured, runs, rate, channel):
  """Where a value is held for longer than a living body does: bool [time]."""
  # Slow signals hold a value for long where the device has few steps.
  hold = FLAT_SECONDS * (1 if kind(channel) in _FAST else 30)
  if not np.ptp(measured):
    return np.ones(len(measured), bool)
  return runs >= max(2, hold * rate)


def _runs(values):
  """Of each sample: how many equal ones in a row it is among."""
  change = np.flatnonzero(np.diff(values)) + 1
  edges = np.concatenate([[0], change, [len(values)]])
  lengths = np.diff(edges)
  return np.repeat(lengths, lengths)


def _step(values):
  """The least step between distinct values, as of the sensor; 0 if there is one."""
  return np.diff(np.unique(values)).min(initial=np.inf) if np.ptp(values) else 0.0


def _clipped(measured, least):
  """Where it stands at an extreme that it would have gone beyond: bool [time].

  A slow signal of few steps also stands at its extremes, and so does one that repeats
  each of its samples. But it comes and goes in single steps; one that is cut off comes
  and goes steeply, on both sides, or twice as steeply where the recording ends.
  Runs of fewer than `least` samples are none.
  """
  edges = np.flatnonzero(np.diff(measured, prepend=np.nan, append=np.nan))
  starts, lengths = edges[:-1], np.diff(edges)
  held = np.median(lengths)  # as long as one sample of the sensor lasts
  fall, last = _CLIP_STEPS * _step(measured), len(measured) - 1
  clipped = np.zeros(len(measured), bool)
  extremes = measured.min(), measured.max()
  at = np.isin(measured[starts], extremes) & (lengths >= least * held)
  for start, length in zip(starts[at].tolist(), lengths[at].tolist(), strict=True):
    beside = max(1, int((length / held - 1) // 2 * held))
    before, after = max(start - beside, 0), min(start + length - 1 + beside, last)
    sides = [i for i in (before, after) if not start <= i < start + length]
    falls = np.abs(measured[sides] - measured[start])
    if sides and falls.min() * len(sides) > 2 * fall:
      clipped[start : start + length] = True
  return clipped


def _still(values, rate, least):
  """The share of pieces that move by less than `least`, or by one step at most."""
  length = round(_STILL_SECONDS * rate)
  pieces = [values[i : i + length] for i in range(0, len(values), length)]
  pieces = [piece[np.isfinite(piece)] for piece in pieces]
  pieces = [piece for piece in pieces if len(piece) >= _LEAST_STILL_SECONDS * rate]
  ranges = np.array([np.ptp(piece) for piece in pieces])
  steps = np.array([_step(piece) for piece in pieces])
  return float(np.mean((ranges < least) | (ranges <= steps))) if pieces else 0.0


def _no_pulse(values, rate, channel):
  """The share of pieces in which nothing comes back at the pace of a heart."""
  signal = clean(
    np.where(unmeasured(values, rate, channel), np.nan, values), rate, channel
  )
  if kind(channel) == 'ecg':  # Its spikes are too narrow to meet a beat later.
    width = max(1, round(_SPIKE_SECONDS * rate))
    steep = np.square(np.diff(signal, prepend=signal[:1]))
    signal = np.convolve(steep, np.full(width, 1 / width), 'same')
  length = round(_PULSE_SECONDS * rate)
  pieces = [
    signal[start : start + length]
    for start in range(0, max(1, len(signal) - length // 2), length)
  ]
  return float(
    np.mean([_periodicity(piece, rate) < _LEAST_PERIODIC for piece in pieces])
  )


def _periodicity(piece, rate):
  """The highest autocorrelation one beat later, -1 to 1."""
  shortest, longest = (round(60 / bpm * rate) for bpm in reversed(_PULSE))
  good = np.isfinite(piece)
  if good.mean() < 0.5 or len(piece) <= 2 * longest or shortest < 2:
    return 0.0
  piece = np.where(good, piece - piece[good].mean(), 0)
  size = 2 * len(piece)
  power = np.fft.irfft(abs(np.fft.rfft(piece, size)) ** 2, size)[: longest + 1]
  if power[0] <= 0 or not np.isfinite(power[0]):
    return 0.0
  # As many terms less as the lag is long.
  course = power / power[0] * len(piece) / (len(piece) - np.arange(longest + 1))
  inside = course[shortest : longest + 1]
  peaks = (inside[1:-1] >= inside[:-2]) & (inside[1:-1] >= inside[2:])
  return float(inside[1:-1][peaks].max(initial=0.0))
