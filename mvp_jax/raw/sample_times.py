"""When each sample was taken: the clocks that files have, in seconds.

A clock counts in a unit that its column's name, the row of units or the manifest says,
is Unix time, or is written as date and time of day (`written_times`). Stamps that a
packet of samples shares are spread over it.
"""

import re

import numpy as np

from mvp_jax.raw.recorded import broken
from mvp_jax.raw.written_times import seconds_of

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
  ('秒', 1.0),
  ('ミリ秒|毫秒', 1e-3),
  ('分', 60.0),
)
_UNIT = re.compile(
  r'(\d{1,9}[.,]?\d{0,9})?(?:/(\d{1,9}))?\s*([^\W\d_]+)\s*(?:/\s*(\d{1,9}))?'
)
SECONDS = {word: unit for words, unit in _UNITS.items() for word in words.split()}
UNITS = ('s', 'ms', 'us', 'ns', 'min', 'h', 'days', 'iso', 'unix')  # of `time_unit`
_UNIX = 9e8, 2.3e9  # seconds: the years 1998 to 2042
# A step above it may as well be of another unit: milliseconds at 1000 Hz are 1 apart.
_LEAST_SURE_RATE = 2.0  # Hz
_SHARED = 0.05  # of the rows: more stamps that come again are shared by packets
_LATE = 0.05, 0.3  # seconds that stamps of packets may be off, as long as packets last
# Of the mean step: samples that come sooner came in one packet, as so many of them do
# if any does.
_AT_ONCE, _MOSTLY_AT_ONCE, _LEAST_PACKETS = 0.25, 0.4, 20
# Rows of one time, of so many channels at most: their values differ by so many times
# what each does from row to row. (Those of real EDA, ECG and breath at 100 Hz differ by
# at most 1.0 times, of EMG with a hum of 50 Hz by 6.3.)
_MOST_IN_TURN, _IN_TURN = 40, 20.0
_GAP = 1.5  # of the usual step
# Of a channel among others in one table: so many of its steps are off the usual one by
# so much at most, other rows follow so many of its own, and so many have a time.
_MOSTLY, _EVEN, _BETWEEN, _TIMED = 0.9, 0.25, 0.05, 0.9
_UNEVEN = 0.1  # of a step, on the mean
# Samples that may be missing: as many times what is recorded, and always so many.
_MAX_GAPS, _ALWAYS = 10, 4_000_000


def unit_seconds(text):
  """The seconds of a unit of time, such as 'ms', '0.1 mSecs', '1/64 s', or None."""
  found = _UNIT.fullmatch(text.strip().strip('[]()').strip().lower())
  unit = _of_word(found[3]) if found else None
  if unit is None:
    return None
  count = float((found[1] or '1').replace(',', '.'))
  parts = int(found[2] or 1) * int(found[4] or 1)
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
      return seconds_of(path, cells, name)
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
      f'time_unit in the manifest say in what ({", ".join(UNITS)}), or give rate in '
      'its place',
    )
  return values, None, ''


def _word(unit):
  told = (words.split()[-1] for words, value in _UNITS.items() if value == unit)
  return next(told, f'{unit:g} s')


def _of_name(name):
  """The seconds of the unit that is part of a name: 'time_ms', 'Time [s]'."""
  apart = re.sub(r'([a-z])([A-Z])', r'\1 \2', name)
  whole = re.split(r'[\W_]+', apart.lower())  # 'time_10ms' counts in 10 ms
  # In 'timeMs2' a number may be anything, but so may be the letter of 'S1_Time'.
  parts = [x for x in re.split(r'[\W\d_]+', apart.lower()) if len(x) > 1]
  brackets = re.findall(r'[\[(]([^\[(\])]*)[\])]', name)
  told = [name, *brackets, *reversed(whole), *reversed(parts)]
  return next((unit for unit in map(unit_seconds, told) if unit is not None), None)


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
  if (first := _bursts(seconds)) is not None:
    last = np.append(first[1:], len(values)) - 1
    times, note = _spread(path, len(values), last, seconds[last], first)
    return values, times, note
  new = np.concatenate([[True], steps > 0])
  again = np.flatnonzero(~new)
  other = values[again] != values[again - 1]
  if len(again) > _SHARED * len(values) and other.any():
    knots = np.flatnonzero(new)
    _require_one_channel(path, values, knots)
    times, note = _spread(path, len(values), knots, seconds[knots], knots)
    return values, times, note
  note = f'{len(again)} rows with the time of the row before are left out'
  return values[new], seconds[new], note if len(again) else ''


def _bursts(seconds):
  """The first sample of each packet, int [packet], or None.

  Those of a packet that are stamped one by one as they arrive come nearly at once.
  """
  steps = np.diff(seconds)
  at_once = steps < _AT_ONCE * steps.mean()
  some = (steps[at_once] > 0).mean() if at_once.any() else 0.0  # else stamps are shared
  if at_once.mean() < _MOSTLY_AT_ONCE or some < _AT_ONCE:
    return None
  knots = np.flatnonzero(np.concatenate([[True], ~at_once]))
  return knots if len(knots) >= _LEAST_PACKETS else None


def _require_one_channel(path, values, knots):
  """Raises Dropped if rows of one time are of several channels, one below the other.

  Such alternate, while each is like itself in the packet before.
  """
  size = int(np.median(np.diff(knots))) if len(knots) > 2 else 1
  if not 2 <= size <= _MOST_IN_TURN or len(values) < 4 * size:
    return
  near, far = (np.nanmedian(np.abs(values[k:] - values[:-k])) for k in (1, size))
  if near > _IN_TURN * far:
    raise broken(
      path,
      f'{size} rows share each time, and their values alternate as those of several '
      'channels; make a column of each',
    )


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
  usual = np.bincount(counts).argmax()
  even = counts == usual
  for _ in range(2):
    beside = np.append(counts[1:], counts[-1])
    whole = intervals <= _GAP * np.maximum(counts, beside) * step
    if even.mean() > 0.9:  # packets of one size, but for a few that lack samples
      short = np.abs(intervals - counts * step) < np.abs(intervals - usual * step)
      whole &= even | short
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


def with_gaps(path, values, times, span=()):
  """The same with NaN where rows are missing by their times, as far apart as usual.

  `span`: when its file begins and ends, if that is known.

  Raises:
    Dropped: broken_signals, a pause is far longer than what is recorded.
  """
  if span:
    step = float(np.median(np.diff(times)))
    before, after = times[0] - step, times[-1] + step
    early = np.arange(before, span[0], -step)[::-1]
    late = np.arange(after, span[1], step)
    _require_less(path, len(early) + len(late), values, times[0] - span[0])
    blank = np.full(len(early), np.nan), np.full(len(late), np.nan)
    values = np.concatenate([blank[0], values, blank[1]])
    times = np.concatenate([early, times, late])
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
  _require_less(path, missing.sum(), values, steps.max())
  missing = missing.astype(np.int64)
  places = np.arange(len(values)) + np.concatenate([[0], np.cumsum(missing)])
  longer = np.full(places[-1] + 1, np.nan)
  longer[places] = values
  return longer, np.interp(np.arange(len(longer)), places, times)


def _require_less(path, missing, values, longest):
  if missing > max(_ALWAYS, _MAX_GAPS * len(values)):
    raise broken(path, f'it has a pause of {longest:.0f} s; make a file of each part')


def own_stamps(values, seconds):
  """A channel whose rows without a number are others': (values, seconds, note).

  Where the rows of several sensors lie between each other, the times of its own are as
  even as its rate, and those without a number are no gaps. Else all rows are kept.
  """
  own, known = np.isfinite(values), np.isfinite(seconds)
  if known.mean() < _TIMED or own.all():
    return values, seconds, ''
  stamps = seconds[own & known]
  steps = np.diff(stamps)
  if len(steps) < 2 or not (steps > 0).all():
    return values, seconds, ''
  shared = np.isin(seconds, stamps) & ~own  # rows of others at the same times
  usual = np.median(steps)
  even = (np.abs(steps - usual) <= _EVEN * usual).mean() >= _MOSTLY
  # Between its own, where lost samples would be in few places.
  between = np.count_nonzero(own[:-1] & ~own[1:]) > _BETWEEN * own.sum()
  if not even or not (between or shared.any()):
    return values[~shared], seconds[~shared], ''
  note = f'{own.mean():.0%} of its rows have it: its own rate is {1 / usual:.4g} Hz'
  return values[own], seconds[own], note


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
  if usual < 2 or (np.abs(apart - usual) <= _EVEN * usual).mean() < _MOSTLY:
    return values, times, ''
  rate = 1 / np.median(np.diff(times[rows]))
  return (
    values[rows],
    times[rows],
    (f'one of {usual:g} rows has it: its own rate is {rate:.4g} Hz'),
  )
