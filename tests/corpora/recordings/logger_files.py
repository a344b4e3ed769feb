"""Signal files in the layouts of loggers, of a body that is known.

Each of `LAYOUTS`, {name: (function, its arguments)}, writes files into a folder and
gives the row of a manifest that names them; `verdict` says whether what is prepared of
it is right.
"""

import csv
import dataclasses
import datetime
import json
import zipfile

import numpy as np

from mvp_jax.corpora.recordings import RecordingsSettings
from mvp_jax.corpora.recordings import trials as recordings
from mvp_jax.corpora.recordings.check import check
from mvp_jax.corpora.recordings.manifest import read_manifest
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped

RATE = 64.0  # Hz at which it is prepared
START = 1_774_745_990.0  # Unix time of files that tell the day
_TOLERANCE = {'eda': 0.06, 'ppg': 0.15, 'ecg': 0.15, 'temp': 0.05}
_SHARE = 0.99  # of the samples within it


class Body:
  """Skin conductance with a response, beats and a temperature as functions of time."""

  def __init__(self, rng, seconds=40.0):
    self.rng, self.seconds = rng, seconds
    self.level = rng.uniform(3, 8)
    self.response = rng.uniform(0.3, 0.7) * seconds
    self.beats = -1 + np.cumsum(rng.uniform(0.7, 1.0, round(seconds / 0.7) + 4))
    self.warmth = rng.uniform(30, 34)

  def eda(self, t):
    """In microsiemens."""
    rise = 1 / (1 + np.exp(-np.clip((t - self.response) / 0.5, -50, 50)))
    return self.level + 0.1 * np.sin(t / 5) + 0.8 * rise

  def ppg(self, t):
    """Of no unit."""
    t = np.asarray(t, np.float64)
    return sum(np.exp(-(((t - beat) / 0.1) ** 2)) for beat in self.beats)

  def ecg(self, t):
    """In millivolt."""
    return self.ppg(t)

  def temp(self, t):
    """In degrees Celsius."""
    return self.warmth + 0.3 * np.sin(np.asarray(t) / 9)

  def times(self, rate):
    return np.arange(round(self.seconds * rate)) / rate


def verdict(folder, row, body):
  """('right', 'refused' or 'wrong', text) of a row that was written into a folder.

  Right: of every channel the samples that count are the body's, at their times.
  Refused: the check and the preparation both name it.
  """
  row = {'subject': 'A', 'valence': '5', 'arousal': '5'} | row
  with (folder / 'manifest.csv').open('w', newline='') as file:
    writer = csv.DictWriter(file, list(row))
    writer.writeheader()
    writer.writerow(row)
  try:
    problems = [str(p) for p in check(folder).problems]
    manifest = read_manifest(folder)
    manifest.require()
    (recording,) = manifest.recordings
    found = recordings.prepare_signals(
      recording, manifest.channels, RecordingsSettings(RATE, 0.0), False, False
    )
  except (Dropped, InputError) as error:
    text = str(getattr(error, 'reason', error))
    if '\n' in text or 'row 2' not in text or not problems:
      return 'wrong', f'the check says {problems}, preparation {text}'
    return 'refused', text
  if problems:
    return 'wrong', f'prepared, while the check says {problems[0]}'
  if abs(float(found['seconds']) - body.seconds) > 0.6:
    return 'wrong', f'{found["seconds"]:.2f} s of {body.seconds:g}'
  times, told = np.arange(len(found['values'])) / RATE, []
  for c, name in enumerate(manifest.channels):
    if found['masked'][c]:
      told.append(f'{name} masked: {found["masked"][c]}')
      continue
    valid = found['valid'][:, c]
    off = np.abs(found['values'][:, c] - getattr(body, name)(times))[valid]
    share = (off <= _TOLERANCE[name]).mean()
    if share < _SHARE or valid.mean() < 0.75 or off.max() > 20 * _TOLERANCE[name]:
      return 'wrong', (
        f'{name}: {share:.0%} of {valid.mean():.0%} right, at most {off.max():.3g} off'
      )
    told.append(f'{name} right')
  return 'right', '; '.join((*told, *filter(None, found['notes'].tolist())))


@dataclasses.dataclass
class Text:
  """How a table is written as text."""

  delimiter: str = ','
  decimal: str = '.'
  encoding: str = 'utf-8'
  end: str = '\n'
  trailing: bool = False

  def write(self, path, headers, columns, digits=5):
    """`columns` of numbers, or of texts, which are written as they are."""
    rows = [
      [x if isinstance(x, str) else self.number(x, digits) for x in row]
      for row in zip(*columns, strict=True)
    ]
    lines = [
      self.delimiter.join(row) + self.delimiter * self.trailing
      for row in [*headers, *rows]
    ]
    path.write_bytes((self.end.join(lines) + self.end).encode(self.encoding))
    return path

  def number(self, x, digits=5):
    return '' if np.isnan(x) else f'{x:.{digits}f}'.replace('.', self.decimal)


def row_of(path, **more):
  return {'signals': path.name, 'eda': 'EDA', 'ppg': 'PPG'} | more


def pair(body, rate):
  t = body.times(rate)
  return t, body.eda(t), body.ppg(t)


def plain(folder, body, **how):
  """Name, EDA and PPG at 64 Hz, as `Text` writes it."""
  _, eda, ppg = pair(body, 64)
  path = Text(**how).write(folder / 'a.csv', [['EDA', 'PPG']], [eda, ppg])
  return row_of(path, rate=64)


def clocked(folder, body, name, clock, rate=64, unit='', stamp='', **how):
  """With a clock: `clock` makes texts or numbers of float [time] seconds."""
  t, eda, ppg = pair(body, rate)
  headers = [[name, 'EDA', 'PPG']] + ([[unit, 'uS', 'mV']] if unit else [])
  path = Text(**how).write(folder / 'a.csv', headers, [clock(t), eda, ppg])
  row = row_of(path, time=name)
  return row | ({'time_unit': stamp} if stamp else {})


def _texts(form):
  return lambda t: [form(x) for x in t]


def _fixed(factor, digits=3, start=0.0):
  return _texts(lambda x: f'{(start + x) * factor:.{digits}f}')


def _iso(separator='T', end='', digits=6, zone=0.0):
  def form(x):
    stamp = datetime.datetime.fromtimestamp(START + x + zone, datetime.UTC)
    text = stamp.strftime(f'%Y-%m-%d{separator}%H:%M:%S.%f')
    return text[: len(text) - 6 + digits].rstrip('.') + end

  return _texts(form)


def _day(t):
  return [f'{int(h)}:{m:02.0f}:{s:09.6f}' for h, m, s in _parts(t + 86_390)]


def _parts(seconds):
  for x in seconds:
    x %= 86_400
    yield x // 3600, x // 60 % 60, x % 60


def packets(folder, body, size, rate, place='all', lost=0, jitter=0.0):
  """Stamps shared by packets: on all rows, on the first, or on the last of each."""
  t, eda, ppg = pair(body, rate)
  first = np.arange(len(t)) // size * size
  last = np.minimum(first + size - 1, len(t) - 1)
  stamp = t[last if place == 'last' else first]
  stamp = stamp + body.rng.uniform(0, jitter, len(t))[first]
  own = {'first': first, 'last': last}.get(place)
  keep = np.ones(len(t), bool)
  for packet in body.rng.choice(np.arange(2, len(t) // size - 2), lost, replace=False):
    keep[packet * size : (packet + 1) * size] = False
  cells = [
    f'{s:.6f}' if own is None or own[i] == i else '' for i, s in enumerate(stamp)
  ]
  cells = [c for c, k in zip(cells, keep, strict=True) if k]
  path = Text().write(
    folder / 'a.csv', [['sec', 'EDA', 'PPG']], [cells, eda[keep], ppg[keep]]
  )
  return row_of(path, time='sec', duration=body.seconds)


def in_unit(folder, body, header, factor, unit_row='', inverse=False, **how):
  """EDA in another unit, said in its name or in a row of units."""
  _, eda, ppg = pair(body, 64)
  eda = 1e6 / eda * factor if inverse else eda * factor
  headers = [[header, 'PPG']] + ([[unit_row, 'mV']] if unit_row else [])
  path = Text(**how).write(folder / 'a.csv', headers, [eda, ppg], 7)
  return row_of(path, rate=64, eda=header)


def ecg_in_unit(folder, body, header, factor):
  t = body.times(256)
  path = Text(';').write(folder / 'a.csv', [[header]], [body.ecg(t) * factor], 7)
  return {'signals': path.name, 'rate': 256, 'ecg': header}


def warm(folder, body, header, form):
  t = body.times(4)
  path = Text().write(
    folder / 'a.csv', [[header, 'EDA']], [form(body.temp(t)), body.eda(t)]
  )
  return {'signals': path.name, 'rate': 4, 'temp': header, 'eda': 'EDA'}


def e4(folder, body, how='folder', decimal='.'):
  """Empatica E4: a file a sensor, of Unix time, rate and values."""
  files = {}
  for name, rate, of in (('EDA', 4, body.eda), ('BVP', 64, body.ppg)):
    values = [START, rate, *of(body.times(rate))]
    files[f'{name}.csv'] = ''.join(f'{x:.6f}\n' for x in values).replace('.', decimal)
  if how == 'zip':
    with zipfile.ZipFile(folder / 'a.zip', 'w') as archive:
      for name, text in files.items():
        archive.writestr(name, text)
    return {'signals': 'a.zip', 'eda': 'EDA', 'ppg': 'BVP'}
  if how == 'folder':
    (folder / 'E4').mkdir()
    for name, text in files.items():
      (folder / 'E4' / name).write_text(text)
    return {'signals': 'E4', 'eda': 'EDA', 'ppg': 'BVP'}
  (folder / f'{how}EDA.csv').write_text(files['EDA.csv'])
  return {'signals': f'{how}EDA.csv', 'eda': '1', 'rate': 4}


def embrace_plus(folder, body, single=False):
  """CSVs of Empatica's script: Unix time in microseconds, and values."""
  (folder / 'raw').mkdir()
  for name, rate, of in (('eda', 4, body.eda), ('bvp', 64, body.ppg)):
    t = body.times(rate)
    Text().write(
      folder / 'raw' / f'{name}.csv',
      [['unix_timestamp', name]],
      [_fixed(1e6, 0, START)(t), of(t)],
    )
  if single:
    return {'signals': 'raw/eda.csv', 'eda': 'eda', 'time': 'unix_timestamp'}
  return {'signals': 'raw', 'eda': 'EDA', 'ppg': 'BVP'}


def shimmer(folder, body, rows=1, kohm=False, clock=True, delimiter='\t', decimal='.'):
  """Shimmer: `sep=`, one row of names or three, and a row of units."""
  t, eda, ppg = pair(body, 51.2)
  eda = 1e3 / eda if kohm else eda
  what = 'GSR_Skin_Resistance' if kohm else 'GSR_Skin_Conductance'
  units = ['ms', 'kOhms' if kohm else 'uS', 'mV']
  if rows == 1:
    names = ['S1_Timestamp_Unix_CAL', f'S1_{what}_CAL', 'S1_PPG_A13_CAL']
    headers = [[f'"sep={delimiter}"'], names, units]
  else:
    names = ['Timestamp', what, 'PPG_A13']
    headers = [['Shimmer_1'] * 3, names, ['CAL'] * 3, ['mSecs', units[1], 'mVolts']]
  cells = _fixed(1e3, 3, START if rows == 1 else 0.0)(t)
  cells = [c.replace('.', decimal) for c in cells]
  path = Text(delimiter, decimal, trailing=True).write(
    folder / 'a.csv', headers, [cells, eda, ppg]
  )
  if rows == 1:
    text = path.read_text().replace(
      f'"sep={delimiter}"{delimiter}', f'"sep={delimiter}"'
    )
    path.write_text(text)
  row = {'signals': path.name, 'eda': names[1], 'ppg': names[2]}
  return row | ({'time': names[0]} if clock else {'rate': 51.2})


def opensignals(folder, body, converted=True, by='column'):
  """OpenSignals: `# {json}`, then a counter, digital lines and channels."""
  t, eda, ppg = pair(body, 100)
  told = {
    'sensor': ['EDA', 'BVP'],
    'device name': '98:D3:31:B2:11:33',
    'column': ['nSeq', 'I1', 'I2', 'A1', 'A2'],
    'time': '10:23:1.3',
    'label': ['A1', 'A2'],
    'channels': [1, 2],
    'device': 'bitalino_rev',
    'sampling rate': 100,
    'resolution': [4, 1, 1, 10, 10],
    'date': '2026-3-29',
    'convertedValues': int(converted),
  }
  lines = [
    '# OpenSignals Text File Format. Version 1',
    '# ' + json.dumps({told['device name']: told}),
    '# EndOfHeader',
  ]
  lines += [
    f'{i % 16}\t0\t1\t{a:.5f}\t{b:.5f}\t'
    for i, (a, b) in enumerate(zip(eda, ppg, strict=True))
  ]
  (folder / 'a.txt').write_text('\n'.join(lines) + '\n')
  names = {'column': ('A1', 'A2'), 'sensor': ('EDA', 'BVP')}[by]
  return {'signals': 'a.txt', 'eda': names[0], 'ppg': names[1]}


def acqknowledge(folder, body, clock='min', rate=250, delimiter='\t', slow=1, by='CH'):
  """AcqKnowledge: interval, names and units, columns, counts, then the numbers."""
  t, eda, ppg = pair(body, rate)
  counts = [len(t[::slow]), len(t)]
  eda = np.where(np.arange(len(t)) % slow == 0, eda, np.nan)
  head = [
    'session.acq',
    f'{1000 / rate:g} msec/sample',
    '2 channels',
    *('EDA - EDA100C', 'microsiemens', 'PPG - PPG100C', 'Volts'),
  ]
  factor = {'min': 1 / 60, 'sec': 1.0, 'milliSec': 1e3}.get(clock)
  columns = [[clock] if clock else [], ['CH1', 'CH2']]
  head.append(delimiter.join(sum(columns, [])) + delimiter)
  head.append(delimiter.join([''] * bool(clock) + list(map(str, counts))) + delimiter)
  text = Text(delimiter)
  for i in range(len(t)):
    cells = [f'{t[i] * factor:.6g}'] if clock else []
    head.append(delimiter.join([*cells, text.number(eda[i]), text.number(ppg[i])]))
  (folder / 'a.txt').write_text('\n'.join(head) + '\n')
  names = ('CH1', 'CH2') if by == 'CH' else ('EDA - EDA100C', 'PPG - PPG100C')
  row = {'signals': 'a.txt', 'eda': names[0], 'ppg': names[1]}
  return row | ({'time': clock} if clock and by == 'CH' else {})


def polar(folder, body, time='timestamp [ms]'):
  """Polar H10: phone's and sensor's clocks, microvolts."""
  t = body.times(130)
  packet = np.arange(len(t)) // 73 * 73
  Text(';').write(
    folder / 'a.txt',
    [['Phone timestamp', 'sensor timestamp [ns]', 'timestamp [ms]', 'ecg [uV]']],
    [
      _iso(digits=3)(t[packet]),
      _texts(lambda x: f'{599616050941733632 + round(x * 1e9)}')(t),
      _fixed(1e3, 6)(t),
      _texts(lambda x: f'{x:.0f}')(body.ecg(t) * 1000),
    ],
  )
  return {'signals': 'a.txt', 'ecg': 'ecg', 'time': time}


def imotions(folder, body, every=32, clock=True):
  """iMotions: remarks, then columns of several rates, the slow ones mostly blank."""
  t, eda, ppg = pair(body, 128)
  eda = np.where(np.arange(len(t)) % every == 0, eda, np.nan)
  path = Text().write(
    folder / 'a.csv',
    [['Row', 'Timestamp', 'EDA', 'PPG']],
    [_texts(lambda x: f'{x * 128:.0f}')(t), _fixed(1e3, 4)(t), eda, ppg],
  )
  path.write_text('#Study name,Test\n#Respondent Name,A\n#DATA\n' + path.read_text())
  return row_of(
    path, **({'time': 'Timestamp', 'time_unit': 'ms'} if clock else {'rate': 128})
  )


def _layouts():
  found = {}
  for n, (sign, point) in enumerate((';,', '\t,', ';.', '\t.', ',.', ' .')):
    for encoding in ('utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le'):
      how = {'delimiter': sign, 'decimal': point, 'encoding': encoding}
      how |= {'end': '\r\n'} if n % 2 else {}
      found[f'text {sign!r} {point} {encoding}'] = (plain, how)
  found['text, a delimiter at the end'] = (plain, {'trailing': True})
  stamps = {
    'time': _fixed(1, 6), 'time_s': _fixed(1, 6), 'Time [s]': _fixed(1, 6, 500),
    'time_ms': _fixed(1e3), 'Timestamp (ms)': _fixed(1e3, 3, 77), 'timeMs': _fixed(1e3),
    'time_us': _fixed(1e6, 0), 'Time [µs]': _fixed(1e6, 0),
    'microseconds': _fixed(1e6, 0), 'minutes': _fixed(1 / 60, 8),
    'Time (min)': _fixed(1 / 60, 8),
    'timestamp_ns': _fixed(1e9, 0), 'unix': _fixed(1, 6, START),
    'unix_ms': _fixed(1e3, 3, START), 'UnixTimestamp': _fixed(1e3, 3, START),
    'LocalTime': _fixed(1e6, 0, START), 'iso': _iso(), 'iso Z': _iso(end='Z'),
    'iso space': _iso(' '), 'iso zone': _iso(end='+02:00'), 'iso ms': _iso(digits=3),
    'iso whole seconds': _iso(digits=0), 'clock': _day,
  }  # fmt: skip
  for name, clock in stamps.items():
    found[f'clock {name}'] = (clocked, {'name': name, 'clock': clock})
  found['clock iso ;,'] = (
    clocked,
    {'name': 'when', 'clock': _iso(' '), 'delimiter': ';', 'decimal': ','},
  )
  for unit, factor in (('ms', 1e3), ('us', 1e6), ('min', 1 / 60), ('s', 1)):
    clock = _fixed(factor, 8)
    found[f'unit row {unit}'] = (clocked, {'name': 't', 'clock': clock, 'unit': unit})
    found[f'time_unit {unit}'] = (clocked, {'name': 't', 'clock': clock, 'stamp': unit})
  for size, rate, place, lost in (
    (8, 64, 'all', 0), (73, 130, 'all', 0), (16, 128, 'last', 0), (16, 128, 'first', 0),
    (8, 64, 'all', 5), (10, 100, 'last', 3), (2, 64, 'all', 0), (10, 100, 'all', 8),
  ):  # fmt: skip
    how = {'size': size, 'rate': rate, 'place': place, 'lost': lost}
    found[f'packets {size} {rate} {place} {lost}'] = (packets, how)
  for header, factor, row in (
    ('EDA (nS)', 1e3, ''), ('EDA [uS]', 1, ''), ('eda_nS', 1e3, ''),
    ('EDA (µS)', 1, ''), ('EDA', 1e3, 'nS'), ('EDA', 1, 'microsiemens'),
    ('GSR (microSiemens)', 1, ''),
    ('EDA (S)', 1e-6, ''), ('EDA mS', 1e-3, ''),
  ):  # fmt: skip
    how = {'header': header, 'factor': factor, 'unit_row': row}
    found[f'unit {header} {row}'] = (in_unit, how)
  for header, factor, row in (
    ('GSR (kOhm)', 1e-3, ''), ('GSR_kOhm', 1e-3, ''), ('GSR', 1e-3, 'kOhms'),
    ('GSR [Ω]', 1, ''), ('GSR (MOhm)', 1e-6, ''),
  ):  # fmt: skip
    how = {'header': header, 'factor': factor, 'unit_row': row, 'inverse': True}
    found[f'unit {header} {row}'] = (in_unit, how)
  found['unit EDA (µS) Latin'] = (
    in_unit,
    {'header': 'EDA (µS)', 'factor': 1, 'encoding': 'cp1252'},
  )
  for header, factor in (('ECG (mV)', 1), ('ecg [uV]', 1e3), ('ECG_V (V)', 1e-3)):
    found[f'unit {header}'] = (ecg_in_unit, {'header': header, 'factor': factor})
  for header, form in (
    ('Temp (°C)', lambda x: x), ('temp_F', lambda x: x * 9 / 5 + 32),
    ('Temperature [K]', lambda x: x + 273.15),
  ):  # fmt: skip
    found[f'unit {header}'] = (warm, {'header': header, 'form': form})
  for how in ('folder', 'zip', 'P01_', ''):
    found[f'E4 {how or "file"}'] = (e4, {'how': how})
  found['E4 file, decimal comma'] = (e4, {'how': '', 'decimal': ','})
  found['EmbracePlus folder'] = (embrace_plus, {})
  found['EmbracePlus file'] = (embrace_plus, {'single': True})
  for rows in (1, 4):
    for kohm in (False, True):
      for clock in (False, True):
        how = {'rows': rows, 'kohm': kohm, 'clock': clock}
        found[f'Shimmer {rows} {kohm} {clock}'] = (shimmer, how)
  found['Shimmer ;,'] = (shimmer, {'delimiter': ';', 'decimal': ','})
  found['OpenSignals'] = (opensignals, {})
  found['OpenSignals by sensor'] = (opensignals, {'by': 'sensor'})
  for clock in ('min', 'sec', 'milliSec', ''):
    found[f'AcqKnowledge {clock or "no clock"}'] = (acqknowledge, {'clock': clock})
  found['AcqKnowledge by name'] = (acqknowledge, {'by': 'name'})
  found['AcqKnowledge, a slow channel'] = (acqknowledge, {'slow': 25})
  found['AcqKnowledge ,'] = (acqknowledge, {'delimiter': ',', 'clock': 'sec'})
  for time in ('timestamp [ms]', 'sensor timestamp [ns]', 'Phone timestamp'):
    found[f'Polar {time}'] = (polar, {'time': time})
  for clock in (True, False):
    found[f'iMotions {clock}'] = (imotions, {'clock': clock})
  return found


LAYOUTS = _layouts()
