"""The guard against numbers that are none: what a channel cannot be, whoever wrote it.

Samples that their unit or the trial makes impossible are no measurement, a rate that a
channel cannot have is a clock misread. What is odd but possible is `signal_quality`'s.
"""

import numpy as np
from scipy.ndimage import median_filter

from mvp_jax.raw.cleaning import kind

# Beyond them a value is no body's in that unit, nor a sensor's that is loose. Of 317
# real pieces of EDA all lie within .01 to 60 microsiemens; an ECG may lie on an offset
# of its electrodes of up to 300 mV.
_POSSIBLE = {
  ('eda', 'microsiemens'): (-0.5, 1000.0),
  ('temp', 'celsius'): (1.0, 60.0),
  ('ecg', 'millivolt'): (-1000.0, 1000.0),
  ('emg', 'millivolt'): (-1000.0, 1000.0),
}
# Hz: below the lowest nothing of what the channel is for would be in it, above the
# highest no logger records it, but a clock counts in minutes or more.
_RATES = {
  'ecg': (20.0, 20_000.0),
  'ppg': (5.0, 5000.0),
  'emg': (5.0, 25_000.0),
  'resp': (1.0, 5000.0),
  'eda': (0.2, 5000.0),
  'temp': (0.01, 5000.0),
}
_ANY_RATE = 0.01, 25_000.0
# The fewer values are none if between them and all others nothing is measured for so
# many ranges of these (from 1 to 99 %), and so many of their steps. In 951 real trials
# of EDA, ECG, breath and EMG it is at most 1 range, of EMG, which comes in bursts, 6.5.
_RANGES, _BURSTS, _STEPS = 5.0, 10.0, 20.0
_SECONDS = 0.5  # that they last at most, unless they are all one value
# Of a level, such as a conductance, a leap by less than half of it may have happened,
# and of others one to zero by less than half of their range.
_LEVELS, _LEAP = ('eda', 'temp'), 0.5
_CONTACT = 0.05  # a level above it does not fall to zero
# From a rate (Hz) on at which nothing that a body does is over within three samples,
# spikes are so many ranges (from 1 to 99 %) away from the median of seven samples. In
# 503 real pieces of 18 to 480 s, at 100 Hz and brought to 4 to 500, it is at most .95
# of an ECG (at its R waves), .86 of an EDA (at 4 Hz; .43 above), .1 of a breath.
_SPIKES = {'ecg': 20.0, 'ppg': 20.0, 'resp': 8.0, 'eda': 4.0, 'temp': 1.0}
_SPIKE_RANGES = 1.5
_SPIKE_SECONDS = 5.0  # of measurement, for the R waves to be part of the range
_FEWEST, _FEW = 3, 0.01  # samples, and of them; if more, it is how the signal is
# A value that comes so often, and lies so many ranges of all others away.
_OFTEN, _AWAY = 3, 0.5
# Zeros in a row, and the leap to them in steps of the sensor and of the range.
_HELD, _HELD_STEPS, _HELD_RANGE = 5, 8.0, 0.002


def rate_problem(name, rate):
  """Why a channel cannot have that rate (Hz), in a few words, or ''."""
  low, high = _RATES.get(kind(name), _ANY_RATE)
  if low <= rate <= high:
    return ''
  return (
    f'{rate:.4g} samples a second, which no {kind(name)} has ({low:g} to '
    f'{high:g}); correct rate, or the unit of its clock (time_unit)'
  )


def impossible(values, rate, channel, unit=''):
  """Where samples are no measurement since they cannot be one: bool [time].

  Args:
    values: float [time], NaN where there is no measurement.
    rate: Hz.
    channel: its name, such as 'ecg_left'.
    unit: 'microsiemens', 'celsius', 'millivolt'; others have no bounds.
  """
  values = np.asarray(values, np.float64)
  low, high = _POSSIBLE.get((kind(channel), unit.lower()), (-np.inf, np.inf))
  good = np.isfinite(values)
  with np.errstate(invalid='ignore'):
    found = good & ((values < low) | (values > high))
  # Most of them, and of many values: the unit is mistaken.
  if 2 * found.sum() > good.sum() and np.ptp(values[found]):
    found[:] = False
  rest = good & ~found
  found |= _lost(np.where(rest, values, np.nan), kind(channel) in _LEVELS)
  rest = good & ~found
  found[rest] |= _spikes(values[rest], rate, kind(channel))
  rest = good & ~found
  found[rest] |= _sentinels(values[rest], kind(channel))
  for _ in range(4):
    rest = good & ~found
    more = _apart(values[rest], kind(channel))
    if more is None:
      break
    where = np.zeros(len(values), bool)
    where[rest] = more
    where = _brief(where, values, rate)
    if not where.any():
      break
    found |= where
  return found


def _lost(values, level):
  """Where zeros are no values, but packets that were lost: bool [time]."""
  none = values == 0
  others = values[~none & np.isfinite(values)]
  if not none.any() or len(others) < 10:
    return np.zeros(len(values), bool)
  # A level does not fall to zero, nor does what is else far above or below it.
  if level and np.median(others) > _CONTACT:
    return none
  ordered = np.unique(others)
  step = np.diff(ordered).min(initial=np.inf)
  away = max(ordered[0], -ordered[-1])
  usual = np.ptp(np.quantile(others, (0.01, 0.99)))
  if away > max(_LEAP * usual, _STEPS * step):
    return none
  # Zeros in a row, while no other value is held for long, come and go with a leap.
  edges = np.flatnonzero(np.diff(values, prepend=np.nan, append=np.nan))
  starts, lengths = edges[:-1], np.diff(edges)
  held = max(_HELD, 2 * lengths[values[starts] != 0].max(initial=0) + 1)
  padded = np.abs(np.nan_to_num(np.pad(values, 1)))
  leaps = np.maximum(padded[starts], padded[starts + lengths + 1])
  far = leaps > max(_HELD_STEPS * step, _HELD_RANGE * usual)
  lost = (values[starts] == 0) & (lengths >= held) & far
  return np.repeat(lost, lengths)


def _spikes(values, rate, what):
  """Where a signal leaps for up to three samples, farther than a body can: bool [time].

  By more than its range, or, of a level, by more than half of it.
  """
  loose = what in _LEVELS and len(values) and np.median(values) <= _CONTACT
  if what not in _SPIKES or len(values) < 10 or loose:
    return np.zeros(len(values), bool)
  fast = rate >= _SPIKES[what] and len(values) >= _SPIKE_SECONDS * rate
  around = median_filter(values, 7 if fast else 5, mode='mirror')
  leap = np.abs(values - around)
  found = np.zeros(len(values), bool)
  if fast:
    step = np.diff(np.unique(values)).min(initial=np.inf)
    others = values[np.argsort(leap)[:-_FEWEST]]
    usual = np.ptp(np.quantile(others, (0.01, 0.99)))
    far = leap > max(_SPIKE_RANGES * usual, _STEPS * step)
    found |= far & (far.sum() <= max(_FEWEST, _FEW * len(values)))
  if what in _LEVELS:
    found |= leap > _LEAP * np.maximum(around, np.median(values))
  return found


def _sentinels(values, what):
  """Where one value that stands for none, such as -1, comes again: bool [time]."""
  found = np.zeros(len(values), bool)
  if what not in _RATES or what == 'emg' or len(values) < 10:
    return found
  for value in (values.min(), values.max()):
    same = values == value
    others = values[~same]
    if not _OFTEN <= same.sum() < len(others):
      continue
    away = np.abs(others - value).min()
    step = np.diff(np.unique(others)).min(initial=np.inf)
    least = max(_AWAY * np.ptp(others), _STEPS * step)
    if what in _LEVELS:
      least = max(least, _LEAP * abs(np.median(others)))
    found |= same & (away > least)
  return found


def _apart(values, what):
  """Where the fewer values lie far from the others: bool [time], or None: nowhere."""
  ordered = np.sort(values)
  leaps = np.diff(ordered)
  few = len(leaps) // 2
  if few < 5:
    return None
  for at, above in (
    (len(leaps) - few + int(np.argmax(leaps[-few:])), True),
    (int(np.argmax(leaps[:few])), False),
  ):
    others = ordered[: at + 1] if above else ordered[at + 1 :]
    steps = np.diff(others)
    steps = steps[steps > 0]
    if not len(steps):
      continue  # all others are one value: flat, if anything
    last = len(others) - 1
    usual = others[int(0.99 * last)] - others[int(0.01 * last)]
    smooth = what in _RATES and what != 'emg'
    least = max((_RANGES if smooth else _BURSTS) * usual, _STEPS * steps.min())
    if what in _LEVELS:
      least = max(least, _LEAP * abs(others[last // 2]))
    if leaps[at] > least:
      return values > others[-1] if above else values < others[0]
  return None


def _brief(where, values, rate):
  """Those of the samples that come for a second at most, or all have one value."""
  edges = np.flatnonzero(np.diff(where.astype(np.int8), prepend=0, append=0))
  kept = np.zeros(len(where), bool)
  for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
    short = end - begin <= max(1, _SECONDS * rate)
    if short or not np.ptp(values[begin:end]):
      kept[begin:end] = True
  return kept
