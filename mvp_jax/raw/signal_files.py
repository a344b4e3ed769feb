"""Reads a channel from a signal file in one of the formats people record in.

Text (CSV and the like, with or without header), Empatica E4 folders, MATLAB `.mat`,
NumPy `.npz`, WFDB and EDF/BDF. Nothing that a file holds is executed.
"""

import collections
import csv
import dataclasses
import difflib
import functools
import itertools
import re
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.on_disk import missing, require_file, shown
from mvp_jax.raw.recorder_files import RECORDER_ENDINGS, read_recorder_file

E4_FILES = ('EDA', 'BVP', 'TEMP', 'HR')
_TEXT = ('.csv', '.txt', '.tsv', '.asc')
_SHOWN = 12  # names in a message
_MAX_PREAMBLE = 200  # lines before the first row of numbers


@dataclasses.dataclass(frozen=True)
class Channel:
  """A channel as recorded.

  Attributes:
    values: float64 [time], NaN = no measurement.
    times: float64 [time], seconds, rising: since the file's beginning, or on the
      clock of its time column.
    unit: as the file says, or ''.
    began: Unix time of the file's beginning if it says so, or None.
  """

  values: np.ndarray
  times: np.ndarray
  unit: str = ''
  began: float | None = None

  @property
  def rate(self):
    """Samples a second, by the usual step."""
    return 1 / float(np.median(np.diff(self.times)))

  @property
  def end(self):
    return float(self.times[-1]) + 1 / self.rate


class _Recorded(NamedTuple):
  values: np.ndarray
  rate: float | None = None
  start: float = 0.0
  unit: str = ''


@dataclasses.dataclass(frozen=True)
class _File:
  """The channels of a file by name: {name: _Recorded}."""

  channels: dict
  began: float | None = None


def read_channel(path, column, rate=None, time=''):
  """Reads one channel: Channel.

  Args:
    path: file or, for an E4, folder. A WFDB record is named by its `.hea`.
    column: its name (case does not count) or its number from 1. A matrix in a
      `.mat` or `.npz` has columns 'name:1', 'name:2', ...
    rate: in Hz; needed where the file does not say and there is no `time`.
    time: name or number of a column with the time of each sample in seconds, in
      case they are uneven or there is no rate.

  Raises:
    Dropped: missing_signals or broken_signals.
  """
  file = _open(path)
  values, own_rate, start, unit = file.channels[_find(path, file, column)]
  if not np.isfinite(values).any():
    raise broken(path, f'column {column} holds no number')
  if time:
    values, times = _timed(path, values, file.channels[_find(path, file, time)][0])
    return Channel(values, times, unit, file.began)
  if own_rate is not None and rate is not None and abs(own_rate - rate) > 0.01 * rate:
    raise broken(
      path, f'it says {own_rate:g} Hz, not {rate:g}; leave rate blank or correct it'
    )
  rate = own_rate or rate
  if not rate:
    raise broken(
      path,
      'it does not say how fast it was sampled; give rate (in Hz), '
      'or time (the column with seconds)',
    )
  if len(values) < 2:
    raise broken(path, f'column {column} holds a single sample')
  return Channel(values, start + np.arange(len(values)) / rate, unit, file.began)


def _open(path):
  path = Path(path)
  if not path.exists():
    record = path.with_name(path.name + '.hea')
    if not record.exists():
      raise Dropped('missing_signals', f'{shown(path)}: {missing(path)}')
    path = record
  files = [path] if path.is_file() else sorted(path.glob('*.csv'))
  if path.suffix == '.hea' and path.with_suffix('.dat').is_file():
    files.append(path.with_suffix('.dat'))
  for file in files:
    if path.is_file() or not file.exists():  # some in a folder may be empty
      require_file(file, 'signals')
  stamp = tuple((f.stat().st_size, f.stat().st_mtime_ns) for f in files)
  return _read(path, stamp)


# A file often holds many trials, each of which asks for several channels.
@functools.lru_cache(maxsize=4)
def _read(path, stamp):
  del stamp  # so that a file that changed is read anew
  suffix = path.suffix.lower()
  if path.is_dir():
    return _read_e4(path)
  readers = {
    **dict.fromkeys(RECORDER_ENDINGS, _read_recorder),
    **dict.fromkeys(_TEXT, _read_text),
  }
  if suffix == '.dat' and path.with_suffix('.hea').exists():
    path, suffix = path.with_suffix('.hea'), '.hea'
  if suffix not in readers:
    advice = {'.zip': 'unpack it', '.xlsx': 'save it as CSV', '.xls': 'save it as CSV'}
    raise broken(
      path,
      advice.get(
        suffix,
        'no format that is read here: '
        + ' '.join(readers)
        + ' and Empatica E4 folders',
      ),
    )
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # libraries warn of what is checked here
      return readers[suffix](path)
  except Dropped:
    raise
  # Libraries raise whatever their insides do on a damaged file.
  except Exception as error:  # noqa: B902
    told = ' '.join(str(error).split())[:150]
    raise broken(
      path, f'cannot be read, damaged? ({type(error).__name__}: {told})'
    ) from None


def _find(path, file, column):
  names = list(file.channels)
  if column in names:
    return column
  alike = [n for n in names if n.casefold() == column.casefold()]
  if len(alike) == 1:
    return alike[0]
  equal = [n for n in names if n.rpartition('#')[0].casefold() == column.casefold()]
  if len(equal) > 1:
    raise broken(
      path, f'{len(equal)} columns are called {column!r}; name one: {", ".join(equal)}'
    )
  if column.isdigit() and 1 <= int(column) <= len(names):
    return names[int(column) - 1]
  near = difflib.get_close_matches(column, names, 1)
  hint = f'is it {near[0]}? ' if near else ''
  more = ', ...' if len(names) > _SHOWN else ''
  raise broken(
    path,
    f'no column {column!r}; {hint}there are {len(names)}: '
    f'{", ".join(names[:_SHOWN])}{more}',
  )


def _timed(path, values, seconds):
  """Samples and their times, rising; of samples at one time the first."""
  good = np.isfinite(seconds)
  values, seconds = values[good], seconds[good]
  steps = np.diff(seconds)
  if not (steps > 0).any():
    raise broken(path, 'the time column does not advance')
  if (steps < 0).any():
    where = int(np.flatnonzero(steps < 0)[0])
    raise broken(
      path,
      f'the time column runs backwards at sample {where + 2} '
      f'({seconds[where]:g} to {seconds[where + 1]:g} s)',
    )
  step = float(np.median(steps[steps > 0]))
  if not 1e-5 <= step <= 2:
    raise broken(
      path, f'its time column advances by {step:g} a sample; it must be in seconds'
    )
  keep = np.concatenate([[True], steps > 0])
  return values[keep], seconds[keep]


def _read_text(path):
  import pandas

  lines = _first_lines(path)
  delimiter = _delimiter(lines)
  decimal = (
    ','
    if delimiter != ',' and any(re.search(r'\d,\d', line) for line in lines)
    else '.'
  )
  first, names = _header([_cells(line, delimiter) for line in lines], decimal)
  if first is None:
    raise broken(path, f'no row of numbers in its first {len(lines)} lines')
  table = pandas.read_csv(
    path,
    sep=r'\s+' if delimiter == ' ' else delimiter,
    decimal=decimal,
    header=None,
    skiprows=first,
    encoding='utf-8-sig',
    encoding_errors='replace',
    skipinitialspace=True,
    index_col=False,
    on_bad_lines='error',
    skip_blank_lines=True,
  )
  channels = {}
  for i in range(table.shape[1]):
    name = names[i] if names and i < len(names) and names[i] else str(i + 1)
    if name in channels:
      raise broken(path, f'two columns are called {name!r}; rename one')
    column = table.iloc[:, i]
    if not pandas.api.types.is_numeric_dtype(column):
      column = pandas.to_numeric(column, errors='coerce')
    values = column.to_numpy(np.float64)
    if i == table.shape[1] - 1 and name == str(i + 1) and np.isnan(values).all():
      continue  # a delimiter at the end of each line
    channels[name] = _Recorded(values)
  return _File(channels)


def _first_lines(path):
  with path.open(encoding='utf-8-sig', errors='replace') as file:
    lines = [line.rstrip('\r\n') for line in itertools.islice(file, _MAX_PREAMBLE)]
  if any('\0' in line for line in lines):
    raise broken(path, 'not a text file')
  return lines


def _delimiter(lines):
  # The last of the first lines is surely data; a decimal comma beside another sign
  # is no delimiter.
  line = next((line for line in reversed(lines) if line.strip()), '')
  for sign in '\t;':
    if sign in line:
      return sign
  if ',' in line and not re.search(r'\d,\d+\s+-?\d', line):
    return ','
  return ' ' if re.search(r'\S\s+\S', line) else ','


def _cells(line, delimiter):
  if delimiter == ' ':
    return line.split()
  return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def _header(rows, decimal):
  """The row where the data begin (None: nowhere), and the columns' names or None.

  Data look like most rows do; names are in the first of the rows without a number
  right above (a row of units may lie between).
  """
  numbers = [tuple(_is_number(cell, decimal) for cell in row) for row in rows]
  patterns = collections.Counter(n for n in numbers if any(n)).most_common(1)
  if not patterns:
    return None, None
  usual = patterns[0][0]
  first = next(
    i
    for i, n in enumerate(numbers)
    if len(n) == len(usual)
    and sum(a and b for a, b in zip(n, usual, strict=True)) > sum(usual) / 2
  )
  above = first
  while (
    above
    and len(numbers[above - 1]) == len(usual)
    and not any(numbers[above - 1])
    and not rows[above - 1][0].startswith('#')
  ):
    above -= 1
  return first, rows[above] if above < first else None


def _is_number(cell, decimal):
  try:
    float(cell.replace(decimal, '.'))
  except ValueError:
    return False
  return True


def _read_e4(path):
  """A folder of CSVs: Unix time of the start, rate, then values, one a line."""
  found = {}
  for name in E4_FILES:
    file = path / f'{name}.csv'
    if not file.exists():
      continue
    try:
      values = np.loadtxt(file, delimiter=',', ndmin=2, dtype=np.float64)[:, 0]
    except (ValueError, IndexError):
      raise broken(file, 'not as an Empatica E4 writes it') from None
    if len(values) < 3 or not 0 < values[1] <= 1000 or values[0] < 1e8:
      raise broken(
        file,
        'its first two lines are not start (Unix time) and rate '
        '(Hz), as an Empatica E4 writes them',
      )
    found[name] = values
  if not found:
    zips = next(path.glob('*.zip'), None)
    raise broken(
      path,
      f'unpack {zips.name} there'
      if zips
      else 'a folder without EDA.csv, BVP.csv or TEMP.csv of an Empatica E4; '
      'name a file',
    )
  start = min(values[0] for values in found.values())
  units = {'EDA': 'microsiemens', 'TEMP': 'celsius'}
  return _File(
    {
      name: _Recorded(v[2:], float(v[1]), float(v[0] - start), units.get(name, ''))
      for name, v in found.items()
    },
    float(start),
  )


def _read_recorder(path):
  return _File(
    {
      name: _Recorded(found.values, found.rate, unit=found.unit)
      for name, found in read_recorder_file(path).items()
    }
  )


def broken(path, text):
  """A Dropped, broken_signals."""
  return Dropped('broken_signals', f'{path}: {text}')
