"""Reads signals in text as loggers write it: names, units and rates above the numbers.

Any CSV with a row of names; of Shimmer and Consensys, with up to four such rows; with
the headers of OpenSignals (BITalino, biosignalsplux) and AcqKnowledge (Biopac); one
file of an Empatica E4.
"""

import dataclasses
import json
import re

import numpy as np

from mvp_jax.raw import empatica
from mvp_jax.raw.counters import find_counter, places
from mvp_jax.raw.recorded import Recorded, SignalFile, broken, distinct
from mvp_jax.raw.sample_times import unit_seconds
from mvp_jax.raw.text_table import Column, parse, read_text
from mvp_jax.raw.units import is_unit, unit_in_name

# As lines above the numbers tell the rate.
_STATED_RATE = re.compile(
  r'(?:(?:sampl\w*|output|abtast)[\s_-]*(?:rate|freq\w*)(?=\D)|\bfs\b)'
  r'(\D{0,20})([\d.,]+)\s*([^\W\d_]*)',
  re.I,
)
_STATED_STEP = re.compile(
  r'\W*(?:sampl\w*[\s_-]*)?(?:intervall?|period)\W+([\d.,]+\s*[^\W\d_]+)', re.I
)
_INTERVAL = re.compile(r'[\s"]*([\d.,]+)\s*(\w+)\s*/\s*sample', re.I)
_PER_SECOND = re.compile(r'[\s"]*([\d.,]+)\s*samples?\s*/\s*s(ec(ond)?)?', re.I)
_PERSON = re.compile(
  r'(subject|participant|person|respondent|proband|patient|vp)'
  r'([\s_-]*(id|nr|no|name|code|number))?',
  re.I,
)
_MAX_INTERVAL = 80  # characters that tell it
_LEAST_COUNT = 100  # of rows, for a count not to be a sample by chance
_KINDS = 40  # of channels in turn; more are stamps
_IN_TURN = 0.05  # of a column's numbers, for its rows to be of a channel, too
_MISCOUNTED = 0.001  # of the samples that a header promises


def read_loggers_text(path):
  """The channels of a text file: SignalFile.

  Raises:
    Dropped: broken_signals.
  """
  try:
    text = read_text(path)
    lines = text.split('\n', 60)[:60]
    e4 = empatica.parse_file(path, text)
    if e4 is not None:
      return e4
    if lines[0].lstrip('"').startswith('# OpenSignals'):
      return _opensignals(path, text, lines)
    place = next(
      (i for i, line in enumerate(lines[:5]) if _interval(line) is not None), None
    )
    if place is not None and re.match(r'[\s"]*\d{1,6} channels?', lines[place + 1]):
      return _acqknowledge(path, text, lines, place)
    return _plain(parse(text))
  except ValueError as error:
    raise broken(path, ' '.join(str(error).split())) from None


def _plain(table):
  table = _without_counts(table)
  headers = list(table.headers)
  units = [''] * len(table.columns)
  counts = [sum(map(_any_unit, row)) for row in headers]
  if len(headers) > 1 and any(counts):
    units = headers.pop(max(range(len(counts)), key=lambda i: (counts[i], i)))
    units = [_of_range(unit) for unit in units]
  names, aliases = _names(headers, len(table.columns))
  units = [unit or unit_in_name(name) for name, unit in zip(names, units, strict=True)]
  table = dataclasses.replace(table, notes=table.notes + _people(names, table.columns))
  file = _file(table, names, units, aliases, _stated_rate(table))
  return _counted(file, find_counter([c.values for c in table.columns]))


def _people(names, columns):
  """What is said of a column that names several people: a tuple of notes."""
  notes = []
  for name, column in zip(names, columns, strict=True):
    if not _PERSON.fullmatch(name):
      continue
    cells = column.values if column.cells is None else column.cells
    told = [f'{x}' for x in dict.fromkeys(np.asarray(cells)[_filled(column)].tolist())]
    if len(told) > 1:
      notes.append(
        f'its column {name} names {len(told)} people ({", ".join(told[:3])}); make a '
        'file of each, or tell signals_onset and duration'
      )
  return tuple(notes)


def _in_turn(columns):
  """Why numbers of each column are of several channels, whose names stand in another
  column: list of text, '' = they are not.

  Of a clock, and where each channel has a column of its own, they are not.
  """
  problems = [''] * len(columns)
  for names in columns:
    if names.cells is None or np.isfinite(names.values).any():
      continue
    cells = names.cells.to_numpy()
    kinds = list(dict.fromkeys(cells.tolist()))
    changes = np.count_nonzero(cells[1:] != cells[:-1])
    if len(cells) <= _LEAST_COUNT or changes <= len(cells) / 2 or len(kinds) > _KINDS:
      continue
    for i, column in enumerate(columns):
      own = np.isfinite(column.values)
      clock = (np.diff(column.values[own]) >= 0).all()
      shares = [(cells[own] == kind).mean() for kind in kinds] if own.any() else [0]
      if not clock and sum(share > _IN_TURN for share in shares) > 1:
        problems[i] = (
          f'its rows are of several channels in turn ({", ".join(kinds[:3])}); make a '
          'column of each'
        )
  return problems


def _stated_rate(table):
  """The rate (Hz) that lines above the numbers tell, None where they tell several."""
  told = set()
  for line in table.above:
    for before, number, unit in _STATED_RATE.findall(line):
      words = re.findall(r'[^\W\d_]+', f'{before} {unit}'.lower())
      value = _number(number, table.decimal) * (1000 if 'khz' in words else 1)
      steps = [step for step in map(unit_seconds, words) if step]
      if steps and ('per' in words or '/' in before):
        value /= steps[0]
      elif steps:  # 'Sampling rate: 4 ms'
        value = 1 / (value * steps[0]) if value else 0.0
      told.add(value)
    if found := _STATED_STEP.match(line):
      told.add(1 / (unit_seconds(found[1]) or np.inf))
  told -= {0.0}
  return told.pop() if len(told) == 1 else None


def _number(text, decimal):
  """A number; a sign that is not the table's `decimal` parts thousands: '1,000'."""
  grouped = re.fullmatch(r'\d{1,3}(?:([.,])\d{3})+', text)
  if grouped and grouped[1] != (decimal or '.'):
    text = text.replace(grouped[1], '')
  try:
    return float(text.replace(',', '.'))
  except ValueError:
    return 0.0


def _without_counts(table):
  """A table without a first row that says how many samples follow in each column."""
  first = [column.values[0] for column in table.columns]
  told = [x for x in first if np.isfinite(x)]
  rows = len(table.columns[0].values) - 1
  if rows < _LEAST_COUNT or not told or any(x != rows for x in told):
    return table
  columns = [
    Column(
      c.values[1:],
      None if c.cells is None else c.cells.iloc[1:].reset_index(drop=True),
      c.problem,
    )
    for c in table.columns
  ]
  notes = (*table.notes, f'its first row says that it has {rows} samples: no sample')
  return dataclasses.replace(table, columns=columns, notes=notes)


def _any_unit(cell):
  return is_unit(_of_range(cell)) or unit_seconds(cell) is not None


def _of_range(cell):
  """The unit of a range, as LabChart writes it above a channel: '40.00 µS'."""
  unit = re.sub(r'^[±+-]?[\d.,]+\s*', '', cell)
  siemens = unit.endswith('S') or unit_seconds(unit) is None
  return unit if unit and is_unit(unit) and siemens else cell


def _names(headers, width):
  """The names of the columns, and {part of a name: [names]}.

  Of several rows the first has the names, unless it says the same of several columns:
  then all rows together.
  """
  if not headers:
    return [str(i + 1) for i in range(width)], {}
  parts = list(zip(*headers, strict=True))
  first = [row for row in headers[0] if row]
  if len(set(first)) == len(first):
    names = [part[0] for part in parts]
  else:
    names = ['_'.join(dict.fromkeys(filter(None, part))) for part in parts]
  names = [name or str(i + 1) for i, name in enumerate(names)]
  aliases = {}
  for name, part in zip(names, parts, strict=True):
    own = {*part, re.sub(r'\s*[\[(][^\])]*[\])]\s*$', '', name)}
    if len(part) > 2:
      own |= {'_'.join(part[i:j]) for i in (0, 1) for j in range(i + 2, len(part) + 1)}
    for alias in own - {'', name}:
      aliases.setdefault(alias.casefold(), []).append(name)
  return names, aliases


def _file(table, names, units, aliases, rate=None, began=None):
  columns = [
    Recorded(
      column.values,
      rate,
      unit=unit,
      cells=column.cells,
      problem=column.problem or problem,
      notes=table.notes,
    )
    for unit, column, problem in zip(
      units, table.columns, _in_turn(table.columns), strict=True
    )
  ]
  return SignalFile(distinct(names, columns), began, aliases, _uncounted(table))


def _counted(file, counter, wraps=False):
  """A SignalFile whose rows are where a counter (float64 [row] or None) shows them."""
  if counter is None or file.uncounted:
    return file
  try:
    return dataclasses.replace(file, places=places(counter, wraps))
  except ValueError as error:
    return dataclasses.replace(file, uncounted=str(error))


def _uncounted(table):
  """Why rows without a clock of their own cannot be counted as samples, or ''."""
  if table.again:
    return (
      f'in line {table.again} its header comes again: it holds several recordings; '
      'make a file of each, or give time, if they have one clock'
    )
  if table.words:
    return f'{table.words}: are they samples? Give time, or leave them out'
  # Rows of events lie between those of samples.
  numbers = [c for c in table.columns if np.isfinite(c.values).mean() > 0.5]
  filled = [_filled(column) for column in numbers]
  none = ~np.any(filled, axis=0) if filled else np.zeros(0, bool)
  for column in table.columns:
    words = _filled(column)
    if np.isfinite(column.values).any() or words.mean() > 0.5:
      continue
    if not (none.any() and (none & words).any()):
      continue
    event = column.cells.iloc[int(np.flatnonzero(none & words)[0])]
    return (
      f'{(none & words).sum()} of its rows have no number, but {event[:40]!r}: are '
      'they samples? Give time, or leave them out'
    )
  return ''


def _filled(column):
  """Which cells hold anything: bool [row]."""
  if column.cells is None:
    return np.isfinite(column.values)
  return column.cells.astype(bool).to_numpy()


def _opensignals(path, text, lines):
  """`# {json}`: of each device its columns, rate, sensors and bits."""
  told = next((_as_saved(x) for x in lines if x.lstrip('"').startswith('# {')), None)
  end = next((i for i, line in enumerate(lines) if 'EndOfHeader' in line), None)
  try:
    devices = list(json.loads(told[2:]).values())
    rates = {float(device['sampling rate']) for device in devices}
    columns = [name for device in devices for name in device['column']]
  except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
    raise broken(path, 'its header of OpenSignals is damaged') from None
  if end is None or len(rates) > 1 or len(devices) > 1:
    raise broken(
      path, 'its header of OpenSignals is of no single device; export each alone'
    )
  (device,), (rate,) = devices, rates
  table = parse(text, end + 1, columns)
  counter = table.columns[columns.index('nSeq')].values if 'nSeq' in columns else None
  labels, sensors = device.get('label', []), device.get('sensor', [])
  bits = device.get('resolution', [])
  converted = device.get('convertedValues', 0)
  aliases, units = {}, [''] * len(table.columns)
  names = [name or str(i + 1) for i, name in enumerate(table.headers[0])]
  # The last columns are the sensors'; before them are a counter and digital lines.
  for k, name in enumerate(names[-len(labels) :] if labels else []):
    place = len(names) - len(labels) + k
    size = bits[place] if len(bits) == len(names) else (bits[k : k + 1] or [0])[0]
    units[place] = '' if converted else f'counts of {size or "unknown"} bits'
    for alias in {labels[k], *sensors[k : k + 1]} - {name}:
      aliases.setdefault(str(alias).casefold(), []).append(name)
  return _counted(_file(table, names, units, aliases, rate), counter, wraps=True)


def _as_saved(line):
  """A line as it was before a spreadsheet made it the first cell of a row."""
  line = re.sub(r'[,;\t]+$', '', line)
  return line[1:-1].replace('""', '"') if line.startswith('"') else line


def _interval(line):
  """Seconds of a sample: '0.5 msec/sample' of AcqKnowledge, or None."""
  line = line[:_MAX_INTERVAL]
  found = _PER_SECOND.match(line)
  if found:
    rate = float(found[1].replace(',', '.'))
    return 1 / rate if rate > 0 else None
  found = _INTERVAL.match(line)
  unit = unit_seconds(found[2]) if found else None
  seconds = unit and float(found[1].replace(',', '.')) * unit
  return seconds or None


def _acqknowledge(path, text, lines, place):
  """Interval and count of the channels; of each name and unit, a line each.

  Then comes a row of columns (a clock, CH1, CH2, ...) and one of their sample counts.
  """
  count = int(re.match(r'[\s"]*(\d+)', lines[place + 1])[1])
  pairs = lines[place + 2 : place + 2 + 2 * count]
  after = place + 2 + 2 * count
  if len(lines) < after + 3:
    raise broken(path, 'its header of AcqKnowledge has no row of numbers behind it')
  clean = [cell.strip().strip('"').strip(',;\t ') for cell in pairs]
  heads = [c.strip().strip('"') for c in re.split(r'[\t,;]', lines[after])]
  heads = heads[: -1 if not heads[-1] else None]
  counts = [c.strip().strip('"') for c in re.split(r'[\t,;]', lines[after + 1])]
  counted = len(counts) >= count and all(c.isdigit() or not c for c in counts)
  table = parse(text, after + 1 + counted, heads)
  titles, units = clean[::2], clean[1::2]
  names, own = list(table.headers[0]), [''] * len(table.columns)
  clock = len(heads) - count  # columns before the channels
  if len(heads) != len(table.columns) or clock not in (0, 1):
    raise broken(
      path,
      f'{len(table.columns)} columns of numbers, while its header has {len(heads)}',
    )
  aliases = {}
  for k in range(count):
    own[clock + k] = units[k]
    aliases.setdefault(titles[k].casefold(), []).append(names[clock + k])
    promised = counts[clock + k] if counted and clock + k < len(counts) else ''
    held = int(_filled(table.columns[clock + k]).sum())
    if promised and abs(held - int(promised)) > _MISCOUNTED * int(promised):
      raise broken(
        path, f'truncated? {names[clock + k]} has {held} samples, not {promised}'
      )
  if clock:
    own[0] = heads[0]
  return _file(table, names, own, aliases, 1 / _interval(lines[place]))
