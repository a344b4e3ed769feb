"""When each sample was taken: the clocks that files have, in seconds.

A clock counts in a unit that its column's name, the row of units or the manifest says,
is Unix time, or is written as ISO 8601 or as hours, minutes and seconds. Stamps that a
packet of samples shares are spread over it.
"""

import re

import numpy as np

from mvp_jax.raw.recorded import broken

# Seconds of each unit of time, by the words for it.
_UNITS = {
  's sec secs second seconds': 1.0,
  'ms msec msecs milli millis millisec millisecs millisecond milliseconds': 1e-3,
  'us usec usecs micro micros microsec microsecs microsecond microseconds': 1e-6,
  'ns nsec nsecs nano nanos nanosec nanosecond nanoseconds': 1e-9,
  'min mins minute minutes': 60.0,
  'h hr hrs hour hours': 3600.0,
  'days': 86400.0,
}
# In other languages: Sekunden, secondes, segundos, secondi, seconden, ...
_ABROAD = (
  ('s(econd|ekund|egund)[a-z]{0,2}', 1.0),
  ('mill?is(econd|ekund|egund)[a-z]{0,2}', 1e-3),
  ('mi[ck]ros(econd|ekund|egund)[a-z]{0,2}', 1e-6),
  ('minut[a-z]{0,2}', 60.0),
  ('(stunde|heure|hora|uren)[a-z]?', 3600.0),
)
_UNIT = re.compile(r'(\d{1,9}[.,]?\d{0,9})?\s*([^\W\d_]+)\s*(?:/\s*(\d{1,9}))?')
SECONDS = {word: unit for words, unit in _UNITS.items() for word in words.split()}
UNITS = ('s', 'ms', 'us', 'ns', 'min', 'h', 'days', 'iso', 'unix')  # of `time_unit`
_UNIX = 9e8, 2.3e9  # seconds: the years 1998 to 2042
# A step above it may as well be of another unit: milliseconds at 1000 Hz are 1 apart.
_LEAST_SURE_RATE = 2.0  # Hz
_DAY = 86400.0
_SHARED = 0.05  # of the rows: more stamps that come again are shared by packets
_LATE = 0.05, 0.3  # seconds that stamps of packets may be off, as long as packets last
_GAP = 1.5  # of the usual step
_UNEVEN = 0.1  # of a step, on the mean
# Samples that may be missing: as many times what is recorded, and always so many.
_MAX_GAPS, _ALWAYS = 10, 4_000_000


def unit_seconds(text):
  """The seconds of a unit of time, such as 'ms', '0.1 mSecs' or 's/256', or None."""
  found = _UNIT.fullmatch(text.strip().strip('[]()').strip().lower())
  unit = _of_word(found[2]) if found else None
  if unit is None:
    return None
  count, parts = float((found[1] or '1').replace(',', '.')), int(found[3] or 1)
  return unit * count / parts if count and parts else None


def _of_word(word):
  """The seconds of a word in lower case, also of other languages: 'sekunden'."""
  word = word.replace('µ', 'u').replace('μ', 'u')  # noqa: RUF001
  if word in SECONDS:
    return SECONDS[word]
  return next((unit for stem, unit in _ABROAD if re.fullmatch(stem, word)), None)


def in_seconds(path, recorded, name, said=''):
  """The clock of a column: (seconds float64 [row], Unix time of zero or None, note).

  NaN where a row has no time. Of Unix times and of days, zero is the first row's.

  Args:
    path: of the file, for messages.
    recorded: the column, Recorded.
    name: of the column.
    said: its unit as the manifest says, one of `UNITS`, or ''.

  Raises:
    Dropped: broken_signals, it is no clock, or of no known unit.
  """
  if said and said not in UNITS:
    raise broken(path, f'time_unit {said!r} is none of {", ".join(UNITS)}')
  cells = recorded.cells
  if cells is not None:
    filled = cells[cells.astype(bool)]
    numbers = np.isfinite(recorded.values[cells.astype(bool).to_numpy()]).mean()
    if len(filled) and not numbers > 0.5:
      if said not in ('', 'iso'):
        raise broken(path, f'time_unit {said}: {name} is no number, {filled.iloc[0]!r}')
      return _of_text(path, cells, name)
  if recorded.problem:
    raise broken(path, f'column {name}: {recorded.problem}')
  values = recorded.values
  good = values[np.isfinite(values)]
  if said == 'iso':
    raise broken(path, f'time_unit iso: {name} holds numbers; leave it blank')
  if len(good) < 2 or not np.ptp(good):
    raise broken(path, 'the time column does not advance')
  if said != 'unix':
    own = '' if recorded.unit in name else recorded.unit  # of a row of units
    unit = SECONDS.get(said) or unit_seconds(own) or _of_name(name)
    if unit is not None:
      why = 'time_unit' if said else 'its header'
      note = '' if unit == 1 else f'{name} counts in {_word(unit)}, as {why} says'
      first = float(good[0]) * unit
      if _UNIX[0] < first < _UNIX[1]:
        return (values - good[0]) * unit, first, note
      return values * unit, None, note
  # The unit that would make it a time of these years.
  for unit in (1.0, 1e-3, 1e-6, 1e-9):
    first, step = float(good[0]) * unit, abs(good[-1] - good[0]) * unit / len(values)
    if _UNIX[0] < first < _UNIX[1] and step < 60:
      note = '' if unit == 1 else f'{name} is Unix time in {_word(unit)}'
      return (values - good[0]) * unit, first, note
  if said == 'unix':
    raise broken(path, f'time_unit unix: {name} begins with {good[0]:g}, no such time')
  step = abs(float(good[-1] - good[0])) / (len(values) - 1)
  if step >= 1 / _LEAST_SURE_RATE:
    raise broken(
      path,
      f'its time column advances by {step:g} a sample; it must be in seconds, or '
      'time_unit in the manifest say in what (s, ms, us, min, ...)',
    )
  return values, None, ''


def _word(unit):
  told = (words.split()[-1] for words, value in _UNITS.items() if value == unit)
  return next(told, f'{unit:g} s')


def _of_name(name):
  """The seconds of the unit that is part of a name: 'time_ms', 'Time [s]'."""
  apart = re.sub(r'([a-z])([A-Z])', r'\1 \2', name)
  words = re.split(r'[\W\d_]+', apart.lower())
  told = [*re.findall(r'[\[(]([^\[(\])]*)[\])]', name), *reversed(words)]
  return next((unit for unit in map(unit_seconds, told) if unit is not None), None)


def _of_text(path, cells, name):
  import pandas

  text = cells.str.replace(',', '.', regex=False)
  text = text.str.replace(r'^(\d{4})[/.](\d\d?)[/.](\d\d?)', r'\1-\2-\3', regex=True)
  filled = text.astype(bool).to_numpy()
  parts = text.str.extract(r'^(\d{1,2}):(\d\d):(\d\d(?:\.\d+)?)$')
  if parts[0].notna().sum() > 0.5 * filled.sum():
    parts = parts.astype(np.float64).to_numpy()
    seconds = parts @ [3600.0, 60.0, 1.0]
    known = np.isfinite(seconds)
    falls = np.diff(seconds[known], prepend=seconds[known][0]) < -_DAY / 2
    seconds[known] += _DAY * np.cumsum(falls)  # past midnight
    return seconds, None, ''
  stamps = pandas.to_datetime(
    text.where(filled), format='ISO8601', errors='coerce', utc=True
  )
  known = stamps.notna().to_numpy()
  if known.sum() <= 0.5 * filled.sum():
    raise broken(
      path,
      f'column {name} is no clock that is read here, {cells[filled].iloc[0]!r}; write '
      'seconds, or ISO 8601 as 2026-03-29T10:00:00.250',
    )
  first = stamps[known].iloc[0]
  seconds = ((stamps - first) / pandas.Timedelta(seconds=1)).to_numpy(np.float64)
  return seconds, first.timestamp(), ''


def timed(path, values, seconds):
  """Samples and their times: (float64 [time], float64 [time] rising, note).

  Of rows that come twice the first is kept; rows without a time are left out, unless
  they belong to a packet that has one stamp.

  Raises:
    Dropped: broken_signals, the clock does not advance, or runs backwards.
  """
  known = np.flatnonzero(np.isfinite(seconds))
  if len(known) < 2:
    raise broken(path, 'the time column does not advance')
  steps = np.diff(seconds[known])
  if not (steps > 0).any():
    raise broken(path, 'the time column does not advance')
  if (steps < 0).any():
    where = int(np.flatnonzero(steps < 0)[0])
    before, after = seconds[known][where : where + 2]
    raise broken(
      path,
      f'the time column runs backwards at sample {known[where + 1] + 1} '
      f'({before:g} to {after:g} s)',
    )
  if np.median(np.diff(known)) >= 2:  # a packet has one stamp
    # It is that of the packet's last sample where the file begins without one.
    knots, last = known[np.concatenate([[True], steps > 0])], known[0] > 0
    if last:
      first = knots - np.diff(knots, prepend=-1) + 1
      times, note = _spread(path, len(values), knots, seconds[knots], first)
    else:
      times, note = _spread(path, len(values), knots, seconds[knots], knots)
    return values, times, note
  values, seconds = values[known], seconds[known]
  new = np.concatenate([[True], steps > 0])
  again = np.flatnonzero(~new)
  other = values[again] != values[again - 1]
  if len(again) > _SHARED * len(values) and other.any():
    knots = np.flatnonzero(new)
    times, note = _spread(path, len(values), knots, seconds[knots], knots)
    return values, times, note
  note = f'{len(again)} rows with the time of the row before are left out'
  return values[new], seconds[new], note if len(again) else ''


def _spread(path, length, knots, stamps, first):
  """Even times of the samples of packets: (float64 [length], note).

  Args:
    knots: int [packet], the sample whose time the stamp is.
    stamps: float [packet], seconds, rising.
    first: int [packet], the first sample of the packet.
  """
  if len(knots) < 3:
    raise broken(path, f'{length} samples share {len(knots)} times; give rate instead')
  counts, intervals = np.diff(knots), np.diff(stamps)
  # Over several packets, for single ones may be longer and come late.
  span = max(1, min(10, len(knots) // 4))
  step = np.median((stamps[span:] - stamps[:-span]) / (knots[span:] - knots[:-span]))
  even = counts == np.bincount(counts).argmax()
  for _ in range(2):
    beside = np.append(counts[1:], counts[-1])
    whole = intervals <= _GAP * np.maximum(counts, beside) * step
    if even.mean() > 0.9:  # packets of one size, but for a few that lack samples
      whole &= even
    if whole.mean() < 0.5:
      raise broken(path, 'its stamps tell no even rate; give rate instead of time')
    step = intervals[whole].sum() / counts[whole].sum()
  times = np.empty(length)
  parts = np.concatenate([[0], np.cumsum(~whole)])
  step = _slope(knots, stamps, parts) or step
  edges = np.flatnonzero(np.diff(parts)) + 1
  begins = [0, *first[edges].tolist()]
  for part, (begin, end) in enumerate(zip(begins, [*begins[1:], length], strict=True)):
    own = parts == part
    start = np.mean(stamps[own] - step * knots[own])
    times[begin:end] = start + step * np.arange(begin, end)
    off = np.abs(times[knots[own]] - stamps[own]).max()
    if off > min(max(np.median(intervals), _LATE[0]), _LATE[1]):
      raise broken(
        path,
        f'its stamps are shared by several samples and {off:.2g} s off an even rate; '
        'give rate instead of time',
      )
  if (np.diff(times) <= 0).any():
    raise broken(path, 'its stamps tell no even rate; give rate instead of time')
  size = np.mean(counts)
  return times, (
    f'a stamp for {size:.3g} samples each: they are spread evenly, {1 / step:.4g} Hz'
  )


def _slope(x, y, parts):
  """Of lines through the points of each part that have it in common."""
  size = np.bincount(parts)
  x, y = (v - (np.bincount(parts, v) / size)[parts] for v in (x, y))
  return (x @ y) / (x @ x) if x.any() else 0.0


def with_gaps(path, values, times):
  """The same with NaN where rows are missing by their times, as far apart as usual.

  Raises:
    Dropped: broken_signals, a pause is far longer than what is recorded.
  """
  steps = np.diff(times)
  if len(steps) < 2:
    return values, times
  step = float(np.median(steps))
  # Where steps are no multiples of the usual one they are uneven: not each is a gap.
  uneven = np.mean(np.abs(steps / step - np.round(steps / step))) > _UNEVEN
  usual = float(np.quantile(steps, 0.9)) if uneven else step
  gaps = steps > _GAP * max(step, usual)
  missing = np.where(gaps, np.round(steps / step) - 1, 0)
  if not missing.any():
    return values, times
  if missing.sum() > max(_ALWAYS, _MAX_GAPS * len(values)):
    raise broken(
      path, f'it has a pause of {steps.max():.0f} s; make a file of each part'
    )
  missing = missing.astype(np.int64)
  places = np.arange(len(values)) + np.concatenate([[0], np.cumsum(missing)])
  longer = np.full(places[-1] + 1, np.nan)
  longer[places] = values
  return longer, np.interp(np.arange(len(longer)), places, times)


def own_rows(values, times):
  """A channel of fewer rows than its file: (values, times) of its rows, and a note.

  Where files hold channels of several rates, those of a slow one stand in every n-th
  row or so; other gaps are no measurement.
  """
  rows = np.flatnonzero(np.isfinite(values))
  if len(rows) < 3:
    return values, times, ''
  apart = np.diff(rows)
  usual = np.median(apart)
  if usual < 2 or (np.abs(apart - usual) <= 0.25 * usual).mean() < 0.9:
    return values, times, ''
  rate = 1 / np.median(np.diff(times[rows]))
  return (
    values[rows],
    times[rows],
    (f'one of {usual:g} rows has it: its own rate is {rate:.4g} Hz'),
  )
