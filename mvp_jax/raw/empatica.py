"""Reads recordings of Empatica wristbands: E4 and EmbracePlus, folder, zip or one file.

An E4 writes a CSV for each sensor: Unix time of the start, rate, then values, one a
line. Of an EmbracePlus, Empatica's tools make CSVs of a clock and values, one a sensor.
"""

import io
import re
import zipfile

import numpy as np

from mvp_jax.raw.budget import Budget, opened
from mvp_jax.raw.recorded import Recorded, SignalFile, broken
from mvp_jax.raw.text_table import decoded, require_lines

E4_FILES = ('EDA', 'BVP', 'TEMP', 'HR')
_UNITS = {'EDA': 'microsiemens', 'TEMP': 'celsius'}
_PLUS_FILES = {'eda': 'EDA', 'bvp': 'BVP', 'temperature': 'TEMP'}
_UNIX_TIME = 1e8, 1e10
_RATES = 0.01, 1000.0  # Hz
_APART = 86_400.0  # seconds by which sensors may begin one after another
_MOST_HEAD = 400  # characters in which start, rate and the first value stand
_TEXT_BYTES = 8  # of memory for each of a text of numbers


def parse_file(path, text):
  """The SignalFile of one CSV of an E4, or None where it is none.

  A spreadsheet may have saved it again, or somebody have put a name above.
  """
  above, _, below = text[:_MOST_HEAD].partition('\n')
  named = not re.search(r'\d', above) and re.search(r'[^\W\d_]', above)
  head = _plain(below if named else text[:_MOST_HEAD])
  comma = '.' not in head  # decimal commas
  start, rate = _head(head.replace(',', '.') if comma else head)
  if not start:
    return None
  text = _plain(text.partition('\n')[2] if named else text)
  text = text.replace(',', '.') if comma else text
  if not rate:
    raise broken(
      path,
      'begins with a Unix time as an Empatica E4, but no rate follows from '
      f'{_RATES[0]:g} to {_RATES[1]:g} Hz',
    )
  values = _values(text)
  if values is None:
    raise broken(path, 'begins as a file of an Empatica E4, but has other lines')
  _require_one(path, values[:, 0])
  sensor = _sensor(path)
  names = [sensor or '1'] if len(start) == 1 else list('123456789')[: len(start)]
  told = [name.strip() for name in re.split('[,;]', above)]
  names = (
    told if named and len(told) == len(start) and len({*told}) == len(told) else names
  )
  note = (
    f'a file of an Empatica E4: its first lines are its start and rate, {rate[0]:g} Hz'
  )
  return SignalFile(
    {
      name: Recorded(values[2:, i], rate[0], unit=_UNITS.get(sensor, ''), notes=(note,))
      for i, name in enumerate(names)
    },
    start[0],
  )


def _sensor(path):
  """The sensor that a file is called after, be there a person before: P01_EDA.csv."""
  stem = path.stem.upper()
  return next((n for n in E4_FILES if re.search(rf'(^|[^A-Z]){n}$', stem)), '')


def _require_one(path, values):
  """Raises Dropped if a start and a rate come again, as in files that were joined."""
  again = (values[2:-1] > _UNIX_TIME[0]) & (values[3:] == values[1])
  if again.any():
    line = int(np.flatnonzero(again)[0]) + 3
    raise broken(path, f'another recording begins in line {line}; make a file of each')


def _plain(text):
  """Lines without the quotes and blank last cells that a spreadsheet leaves."""
  text = text.replace('"', '')
  ends = re.search(r'[,;\t ]\n', text[:_MOST_HEAD])
  return re.sub(r'(?m)[,;\t ]+$', '', text) if ends else text


def _head(text):
  """Start and rate in the first two lines, for each column; empty lists if none."""
  head = text.split('\n', 3)
  try:
    start, rate, first = ([float(x) for x in re.split('[,;]', h)] for h in head[:3])
  except ValueError:
    return [], []
  if not (
    len(set(start)) == 1
    and len(start) == len(rate) == len(first)
    and _UNIX_TIME[0] < start[0] < _UNIX_TIME[1]
    and abs(first[0]) < _UNIX_TIME[0]
  ):
    return [], []
  return start, rate if len(set(rate)) == 1 and _RATES[0] <= rate[0] <= _RATES[
    1
  ] else []


def _values(text):
  try:
    return np.loadtxt(
      io.StringIO(text.replace(';', ',')), delimiter=',', ndmin=2, dtype=np.float64
    )
  except (ValueError, IndexError):
    return None


def read_folder(path, read_text_file):
  """The SignalFile of a folder, or zip, of an E4 or EmbracePlus.

  Args:
    path: of the folder or zip.
    read_text_file: function of a path that gives a text file's SignalFile.

  Raises:
    Dropped: broken_signals.
  """
  if path.is_file():
    return _read_zip(path)
  found, names = {}, {}
  for file in sorted(path.glob('*.csv')):
    name = _sensor(file)
    if name:
      # It may be of an EmbracePlus.
      require_lines(file)
      text = decoded(file.read_bytes())
      if 'timestamp' in text[:200].lower():
        continue
      if name in names:
        raise broken(
          path, f'it holds {names[name]} and {file.name}; put each into its own folder'
        )
      found[name], names[name] = _e4(file, text), file.name
  if found:
    return _together(path, found)
  plus = {}
  for file in sorted(path.glob('*.csv')):
    kind = next((k for k in _PLUS_FILES if re.search(rf'(^|_){k}$', file.stem)), None)
    if kind:
      plus.setdefault(_PLUS_FILES[kind], []).append(file)
  if plus:
    return _read_plus(plus, read_text_file)
  zips, avro = next(path.glob('*.zip'), None), next(path.glob('*.avro'), None)
  if avro:
    raise broken(path, f'{avro.name} {AVRO}')
  raise broken(
    path,
    f'unpack {zips.name} there'
    if zips
    else 'a folder without EDA.csv, BVP.csv or TEMP.csv of an Empatica E4; name a file',
  )


AVRO = (
  'is raw data of an EmbracePlus; make CSVs of it with the script of Empatica and '
  'name their folder'
)


def _read_zip(path):
  with zipfile.ZipFile(path) as archive:
    members = {}
    for info in archive.infolist():
      name = info.filename.rpartition('/')[2]
      if info.filename.startswith('__MACOSX'):
        continue
      if name in members and name.removesuffix('.csv') in E4_FILES:
        raise broken(
          path,
          f'it holds {members[name].filename} and {info.filename}; unpack it and name '
          'one of the folders',
        )
      members[name] = info
    names = [name for name in E4_FILES if f'{name}.csv' in members]
    if not names:
      raise broken(path, 'no EDA.csv, BVP.csv or TEMP.csv of an Empatica E4; unpack it')
    found, budget = {}, Budget(path)
    for name in names:
      info = members[f'{name}.csv']
      budget.spend(_TEXT_BYTES * info.file_size, info.filename)
      with opened(archive, info) as file:
        found[name] = _e4(path / info.filename, decoded(file.read()))
  return _together(path, found)


def _e4(file, text):
  text = _plain(text)
  values = _values(text if '.' in text[:200] else text.replace(',', '.'))
  if values is None:
    raise broken(file, 'not as an Empatica E4 writes it')
  values = values[:, 0]
  _require_one(file, values)
  if len(values) < 3 or not (
    _UNIX_TIME[0] < values[0] < _UNIX_TIME[1] and _RATES[0] <= values[1] <= _RATES[1]
  ):
    raise broken(
      file,
      'its first two lines are not start (Unix time) and rate '
      f'({_RATES[0]:g} to {_RATES[1]:g} Hz), as an Empatica E4 writes them',
    )
  return values


def _together(path, found):
  starts = {name: values[0] for name, values in found.items()}
  first, last = min(starts, key=starts.get), max(starts, key=starts.get)
  start = starts[first]
  apart = starts[last] - start
  if apart > _APART:
    raise broken(
      path,
      f'{last}.csv begins {apart / _APART:.1f} days after {first}.csv: they are of two '
      'recordings; part them',
    )
  return SignalFile(
    {
      name: Recorded(v[2:], float(v[1]), float(v[0] - start), _UNITS.get(name, ''))
      for name, v in found.items()
    },
    float(start),
  )


def _read_plus(files, read_text_file):
  """CSVs of `unix_timestamp` (microseconds) and values; parts one after the other."""
  from mvp_jax.raw.sample_times import in_seconds, timed

  parts = {}
  for name, paths in files.items():
    for file in paths:
      content = read_text_file(file)
      columns = list(content.channels)
      clock = next((c for c in columns if c.lower() == 'unix_timestamp'), None)
      if clock is None or len(columns) != 2:
        raise broken(
          file, 'not as the tools of Empatica write it: unix_timestamp and values'
        )
      seconds, began, _ = in_seconds(file, content.channels[clock], clock, 'unix')
      column = content.channels[next(c for c in columns if c != clock)]
      parts.setdefault(name, []).append((began, seconds, column.values, file))
  start = min(part[0] for own in parts.values() for part in own)
  channels = {}
  for name, own in parts.items():
    own.sort(key=lambda part: part[0])
    seconds = np.concatenate([seconds + (began - start) for began, seconds, *_ in own])
    values = np.concatenate([part[2] for part in own])
    values, times, note = timed(own[0][3], values, seconds)
    channels[name] = Recorded(
      values,
      unit=_UNITS.get(name, ''),
      times=times,
      notes=tuple(filter(None, ('CSVs of an Empatica EmbracePlus', note))),
    )
  return SignalFile(channels, start)
