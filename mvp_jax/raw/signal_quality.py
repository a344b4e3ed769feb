"""Says how good a channel is: missing, flat, clipped, out of range, no pulse."""

import dataclasses

import numpy as np

from mvp_jax.raw.cleaning import clean, kind

# What the units allow a living person, by unit.
RANGES = {
  ('eda', 'microsiemens'): (0.01, 100.0),
  ('temp', 'celsius'): (15.0, 45.0),
  ('ecg', 'millivolt'): (-10.0, 10.0),
}
FLAT_SECONDS = 1.0  # A value held so long was not measured, in a beating signal.
_BEATING = ('ecg', 'ppg')
_CLIP_SAMPLES = 3  # in a row at the extreme
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
}


@dataclasses.dataclass(frozen=True)
class Quality:
  """Shares, 0 to 1: `missing` of all samples, the next three of those measured,
  `no_pulse` of the pieces of ten seconds (0 where no pulse is to be expected)."""

  missing: float
  flat: float
  clipped: float
  out_of_range: float
  no_pulse: float

  @property
  def flags(self):
    """Names of what is wrong: a tuple, empty for a good channel."""
    return tuple(name for name, limit in _LIMITS.items() if getattr(self, name) > limit)


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
    return Quality(1.0, 0.0, 0.0, 0.0, float(kind(channel) in _BEATING))
  low, high = RANGES.get((kind(channel), unit.lower()), (-np.inf, np.inf))
  runs = _runs(measured)
  flat = _flat(measured, runs, rate, channel)
  # Only where it keeps coming back to the very same extreme is it clipped.
  extreme = (measured == measured.max()) | (measured == measured.min())
  clipped = extreme & (runs >= _CLIP_SAMPLES) & ~flat
  return Quality(
    missing=float(1 - good.mean()),
    flat=float(flat.mean()),
    clipped=float(clipped.mean()),
    out_of_range=float(((measured < low) | (measured > high)).mean()),
    no_pulse=_no_pulse(values, rate, channel) if kind(channel) in _BEATING else 0.0,
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
  hold = FLAT_SECONDS * (1 if kind(channel) in _BEATING else 30)
  if not np.ptp(measured):
    return np.ones(len(measured), bool)
  return runs >= max(2, hold * rate)


def _runs(values):
  """Of each sample: how many equal ones in a row it is among."""
  change = np.flatnonzero(np.diff(values)) + 1
  edges = np.concatenate([[0], change, [len(values)]])
  lengths = np.diff(edges)
  return np.repeat(lengths, lengths)


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
