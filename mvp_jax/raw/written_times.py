"""Clocks that are written as dates and times of day: ISO 8601, and as loggers write it.

2026-03-29T10:00:00.250+02:00, 29.03.2026 10:00:00,250, 3/29/2026 10:00:00.250 AM,
29-Mar-2026 10:00:00.250, 10:00:00:250, and minutes and seconds alone, 00:59.250.
"""

import re

import numpy as np

from mvp_jax.raw.recorded import broken

_DAY, _HOUR = 86400.0, 3600.0
_MOST = 0.5  # of the cells must be times
# Of what is behind a third colon three digits or more are a fraction, up to three
# milliseconds (`_with_zeros`), two are frames.
_TIME = re.compile(
  r'^(?P<date>.*?)(?:^|[T_, ]+)'
  r'(?P<h>\d{1,3}):(?P<m>\d\d?):(?P<s>\d\d?(?:\.\d+|:\d{3,9})?)'
  r'(?: ?(?P<half>[ap])\.? ?m\.?)?(?: ?(?P<zone>z|utc|gmt|[+-]\d\d:?\d\d))?'
  r'(?: (?P<year>\d{4}))?$',
  re.I,
)
_MINUTES = re.compile(r'^(\d{1,3}):(\d\d\.\d+)$')
# Dates: year first; numbers whose order is found out; with the month's name.
_ISO = re.compile(r'^(\d{4})-(\d{1,2})-(\d{1,2})$')
_NUMBERS = re.compile(r'^(\d{1,2})([/.-])(\d{1,2})\2(\d{2}|\d{4})$')
_SPAN = re.compile(r'^\+?(\d{1,2}) days?,?$')  # since the beginning
# As Japanese and Chinese spreadsheets write dates, hours and their halves.
_EAST = (
  (r'(\d{4})年 ?(\d\d?)月 ?(\d\d?)日', r'\1-\2-\3'),
  (r'(\d\d?)[时時](\d\d?)分(\d\d?(?:\.\d+)?)秒', r'\1:\2:\3'),
  (r'(?:午前|上午) ?(\S+)', r'\1 am'),
  (r'(?:午後|下午) ?(\S+)', r'\1 pm'),
)
_WORDS = re.compile(
  r'^(?:[a-z]{3,9},? +)?(?:(?P<day>\d{1,2})[ -](?P<month>[a-z]{3,9})'
  r'|(?P<month2>[a-z]{3,9}) +(?P<day2>\d{1,2})),?[ -](?P<year>\d{4})$',
  re.I,
)
_MONTHS = ('jan', 'feb', 'mar', 'apr', 'may', 'jun')
_MONTHS += ('jul', 'aug', 'sep', 'oct', 'nov', 'dec')


def seconds_of(path, cells, name):
  """When each row was recorded: (float64 [row], Unix time of zero or None, note).

  In seconds, NaN where a row has no time. With dates zero is the first row; a time of
  day that begins anew has passed midnight (the hour, of minutes and seconds alone).

  Args:
    path: of the file, for messages.
    cells: texts of the column, a pandas Series [row], '' = none.
    name: of the column.

  Raises:
    Dropped: broken_signals, it is no such clock.
  """
  import pandas

  text = cells.str.strip().str.replace(r'(?<=\d),(?=\d)', '.', regex=True)
  for written, plain in _EAST:
    text = text.str.replace(written, plain, regex=True)
  text = text.str.replace(r'^(\d{4})[/.](\d\d?)[/.](\d\d?)', r'\1-\2-\3', regex=True)
  text = _with_zeros(text.str.replace('\u00a0|\u202f', ' ', regex=True))
  filled = text.astype(bool).to_numpy()
  least = _MOST * filled.sum()
  stamps = pandas.to_datetime(
    text.where(filled), format='ISO8601', errors='coerce', utc=True
  )
  known = stamps.notna().to_numpy()
  if known.sum() > least:
    first = stamps[known].iloc[0]
    seconds = (stamps - first) / pandas.Timedelta(seconds=1)
    seconds = seconds.to_numpy(np.float64)
    return seconds, first.timestamp(), _unread(cells, filled, seconds)
  parts = text.str.extract(_MINUTES)
  if parts[0].notna().sum() > least:
    seconds = _onwards(parts.astype(np.float64).to_numpy() @ [60.0, 1.0], _HOUR)
    return seconds, None, _unread(cells, filled, seconds)
  parts = text.str.extract(_TIME)
  dates = (parts['date'] + ' ' + parts['year'].fillna('')).str.strip()
  days, sure, note = _days([x for x in dates.dropna().unique() if x], name)
  seconds = _of_day(parts)
  if not (dates.fillna('') != '').any():
    if np.isfinite(seconds).sum() > least:
      return _onwards(seconds, _DAY), None, _unread(cells, filled, seconds)
  else:
    seconds = seconds + _DAY * dates.map(days).to_numpy(np.float64)
    known = np.isfinite(seconds)
    if known.sum() > least:
      first = float(seconds[known][0])
      note = '; '.join(filter(None, (note, _unread(cells, filled, seconds))))
      return seconds - first, first if sure else None, note
  raise broken(
    path,
    f'column {name} is no clock that is read here, {cells[filled].iloc[0]!r}; write '
    'seconds, or ISO 8601 as 2026-03-29T10:00:00.250',
  )


def _with_zeros(text):
  """Times of which milliseconds lack zeros in front, 10:00:00:5, as 10:00:00.005.

  They are milliseconds if some have three digits, others fewer, and none more. Behind a
  point they may be a fraction that lacks zeros at its end, unless some have them there.
  """
  last = text.str.extract(r'^.*\d:\d\d?:\d\d?([.:])(\d{1,9})$')
  sizes = last[1].str.len()
  if not (sizes.max() == 3 and sizes.min() < 3):
    return text
  points = (last[0] == '.').any()
  fraction = last[1].str.match(r'0\d').any() or not last[1].str.fullmatch(r'\d0').any()
  if points and fraction:
    return text
  whole = text.str.replace(r'[.:]\d{1,3}$', '', regex=True)
  return text.mask(last[1].notna(), whole + '.' + last[1].str.zfill(3))


def _unread(cells, filled, seconds):
  """What is said of cells that are no times, or ''."""
  lost = filled & ~np.isfinite(seconds)
  if not lost.any():
    return ''
  return f'{lost.sum()} of its times cannot be read, such as {cells[lost].iloc[0]!r}'


def _onwards(seconds, length):
  """Seconds of a clock that begins anew after some `length`, as if it went on."""
  known = np.isfinite(seconds)
  falls = np.diff(seconds[known], prepend=seconds[known][0]) < -length / 2
  seconds[known] += length * np.cumsum(falls)
  return seconds


def _of_day(parts):
  """Seconds since midnight, in UTC if a zone is told: float64 [row]."""
  hours, minutes, seconds = (
    parts[part].str.replace(':', '.', regex=False).astype(np.float64).to_numpy()
    for part in 'hms'
  )
  half = parts['half'].str.lower()
  hours = np.where(half.notna(), hours % 12, hours) + 12.0 * (half == 'p').to_numpy()
  zone = parts['zone'].str.extract(r'([+-]\d\d):?(\d\d)').astype(np.float64)
  west = parts['zone'].str.startswith('-', na=False).to_numpy(bool)
  east = 60 * zone[0] + np.where(west, -1, 1) * zone[1]  # minutes
  return hours * _HOUR + 60 * (minutes - east.fillna(0).to_numpy()) + seconds


def _days(dates, name):
  """({date: days since 1970, NaN = no date}, whether they are sure, note)."""
  found = {date: _of_words(date) for date in dates}
  numbers = {date: n for date in dates if (n := _NUMBERS.match(date))}
  sure, note = not any(map(_SPAN.match, dates)), ''
  if numbers:
    readings = [
      {date: (_year(n[4]), int(n[month]), int(n[day])) for date, n in numbers.items()}
      for day, month in ((1, 3), (3, 1))
    ]
    readings = [r for r in readings if all(month <= 12 for _, month, _ in r.values())]
    # Points are of where the day comes first; else days that follow each other.
    dotted = all(n[2] == '.' for n in numbers.values())
    sure = dotted or len(readings) < 2
    found |= min(readings, key=lambda r: 0 if dotted else _span(r), default={})
    if not sure:
      note = f'{name}: its dates do not say which number is the month'
  return {date: _since_1970(*one) for date, one in found.items() if one}, sure, note


def _year(digits):
  return int(digits) + 2000 * (len(digits) == 2)


def _of_words(date):
  """(year, month, day) of a date in ISO's order or with the month's name, or None."""
  if days := _SPAN.match(date):
    return 1970, 1, 1 + int(days[1])
  if iso := _ISO.match(date):
    return int(iso[1]), int(iso[2]), int(iso[3])
  word = _WORDS.match(date)
  month = word and (word['month'] or word['month2'])[:3].lower()
  if month not in _MONTHS:
    return None
  return int(word['year']), _MONTHS.index(month) + 1, int(word['day'] or word['day2'])


def _since_1970(year, month, day):
  try:
    day = np.datetime64(f'{year:04d}-{month:02d}-{day:02d}', 'D')
  except ValueError:
    return np.nan
  return float(day.astype(np.int64))


def _span(reading):
  """About how many days lie between the first and the last of {date: (y, m, d)}."""
  days = [365 * year + 31 * month + day for year, month, day in reading.values()]
  return max(days) - min(days)
