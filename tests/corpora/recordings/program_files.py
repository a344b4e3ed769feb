"""Signal files as LabChart, R, spreadsheets, OpenBCI, phones and others write them.

`PROGRAMS` is as `logger_files.LAYOUTS`, `UNSURE` as `broken_files.BROKEN`.
"""

import datetime
import json

import numpy as np

from tests.corpora.recordings.logger_files import START, Text, pair, row_of


def lines(folder, text, name='a.csv', encoding='utf-8', end='\n'):
  (folder / name).write_bytes((end.join(text) + end).encode(encoding))


def table(folder, body, head, row, rate=64, foot=(), named=None, **how):
  """`row` makes a line of (time, EDA, PPG, number of the row)."""
  t, eda, ppg = pair(body, rate)
  body_lines = [row(*x, i) for i, x in enumerate(zip(t, eda, ppg, strict=True))]
  given = {k: how.pop(k) for k in ('name', 'encoding', 'end') if k in how}
  lines(folder, [*head, *body_lines, *foot], **given)
  return {
    'signals': given.get('name', 'a.csv'),
    'eda': 'EDA',
    'ppg': 'PPG',
    'rate': rate,
  } | how


def stamp(pattern, cut=0, start=START):
  def form(x):
    when = datetime.datetime.fromtimestamp(start + round(x, 6), datetime.UTC)
    text = when.strftime(pattern)
    return text[:-cut] if cut else text

  return form


def stamped(folder, body, form, rate=64, sign=',', decimal='.', name='Time', **more):
  """With a clock that `form` writes."""
  t, eda, ppg = pair(body, rate)
  number = Text(decimal=decimal).number
  cells = [
    sign.join([form(a), number(b), number(c)])
    for a, b, c in zip(t, eda, ppg, strict=True)
  ]
  lines(folder, [sign.join([name, 'EDA', 'PPG']), *cells])
  return {'signals': 'a.csv', 'eda': 'EDA', 'ppg': 'PPG', 'time': name} | more


def labchart(folder, body, comments=False, time=False, names=True, factor=1):
  """LabChart: interval, titles and ranges; comments behind cells."""
  t, eda, ppg = pair(body, 200)
  unit = {1: 'µS', 1000: 'nS'}[factor]
  text = [
    'Interval=\t0.005 s',
    'ExcelDateTime=\t4.6110416667e+04\t3/29/2026 10:00:00.00000',
    'TimeFormat=\tStartOfBlock',
    'ChannelTitle=\tEDA\tPPG',
    f'Range=\t40.00 {unit}\t10.000 V',
  ]
  text += [f'UnitName=\t{unit}\tV', 'TopValue=\t40.000\t10.000'] * names
  for i, (a, b, c) in enumerate(zip(t, eda, ppg, strict=True)):
    remark = '\t#* stimulus on' if comments and i in (1000, 3000) else ''
    text.append(f'{a:.3f}\t{b * factor:.5f}\t{c:.5f}{remark}')
  lines(folder, text, 'a.txt', 'cp1252', '\r\n')
  return {'signals': 'a.txt', 'eda': 'EDA', 'ppg': 'PPG'} | (
    {'time': '1'} if time else {}
  )


def consensys(folder, body):
  """Shimmer's Consensys with formatted Unix time and a row of units."""
  t, eda, ppg = pair(body, 51.2)
  names = ['Timestamp_FormattedUnix', 'GSR_Skin_Conductance', 'PPG_A13']
  names = [f'Shimmer_A_{name}_CAL' for name in names]
  form = stamp('%Y/%m/%d %H:%M:%S.%f', 3)
  text = ['"sep=\t"', '\t'.join(names) + '\t', 'yyyy/mm/dd hh:mm:ss.000\tuS\tmV\t']
  text += [
    f'{form(a)}\t{b:.5f}\t{c:.5f}\t' for a, b, c in zip(t, eda, ppg, strict=True)
  ]
  lines(folder, text)
  return {'signals': 'a.csv', 'time': names[0], 'eda': names[1], 'ppg': names[2]}


def apple_watch(folder, body, decimal='.'):
  """An ECG of a watch: what it is above a single column."""
  text = ['Name,"A, B"', 'Recorded Date,2026-03-29 10:00:00 +0200']
  text += ['Sample Rate,512 hertz', '', 'Lead,Lead I', 'Unit,µV', '']
  number = Text(decimal=decimal).number
  lines(folder, text + [number(x * 1e3, 3) for x in body.ecg(body.times(512))])
  return {'signals': 'a.csv', 'ecg': '1', 'ecg_unit': 'uV'}


def open_bci(folder, body, time=False):
  """OpenBCI: remarks with %, a counter, formatted times."""
  t, eda, ppg = pair(body, 250)
  form = stamp('%Y-%m-%d %H:%M:%S.%f', 3)
  names = ['Sample Index', 'EXG Channel 0', 'EXG Channel 1', 'Timestamp', 'Formatted']
  text = ['%OpenBCI Raw EXG Data', '%Number of channels = 2', '%Sample Rate = 250 Hz']
  text += [', '.join(names)]
  for i, (a, b, c) in enumerate(zip(t, eda, ppg, strict=True)):
    late = START + np.floor(a * 10) / 10  # of packets
    text.append(f'{i % 256}, {b:.5f}, {c:.5f}, {late:.6f}, {form(a)}')
  lines(folder, text)
  row = {'signals': 'a.csv', 'eda': names[1], 'ppg': names[2]}
  return row | ({'time': 'Timestamp'} if time else {})


def union(folder, body, eda=32, ppg=60, begin=0.0, apart=0.003):
  """Rows of two sensors between each other, by their times."""
  slow = body.times(eda)
  rows = [(t, f'{body.eda(t):.5f}', '') for t in slow[slow >= begin]]
  rows += [(t, '', f'{body.ppg(t):.5f}') for t in body.times(ppg) + apart]
  text = [f'{i},{t + 100:.6f},{a},{b}' for i, (t, a, b) in enumerate(sorted(rows))]
  lines(folder, ['Row,Timestamp,EDA,PPG', *text])
  return row_of(folder / 'a.csv', time='Timestamp')


def late_sensor(folder, body, begin=0.2, every=16):
  """EDA in some rows alone, and from some second on."""
  t, eda, ppg = pair(body, 64)
  keep = (t >= begin) & (np.arange(len(t)) % every == 3)
  Text().write(
    folder / 'a.csv', [['time', 'EDA', 'PPG']], [t, np.where(keep, eda, np.nan), ppg]
  )
  return row_of(folder / 'a.csv', time='time')


def e4_again(folder, body, how):
  """An E4's file that a spreadsheet saved again, or with a name above."""
  text = [f'{START:.6f}', '4.000000', *(f'{x:.6f}' for x in body.eda(body.times(4)))]
  if how == 'folder, lower case, ;':
    (folder / 'E4').mkdir()
    lines(folder, [f'{x};' for x in text], 'E4/eda.csv')
    return {'signals': 'E4', 'eda': 'EDA'}
  quoted = [f'"{x}"' for x in text] if how == 'quoted' else ['EDA', *text]
  lines(folder, quoted, 'x_EDA.csv')
  return {'signals': 'x_EDA.csv', 'eda': 'EDA', 'rate': 4}


def ids(folder, body, named):
  """A row of each channel, by name or number."""
  t, eda, ppg = pair(body, 64)
  names = ('EDA', 'PPG') if named else ('1', '2')
  text = [
    f'{a:.6f},{name},{x:.5f}'
    for a, *pair_ in zip(t, eda, ppg, strict=True)
    for name, x in zip(names, pair_, strict=True)
  ]
  lines(folder, ['time,id,value', *text])
  return {'signals': 'a.csv', 'eda': 'value', 'time': 'time'}


def bursts(folder, body, size, rate, within, jitter, digits=6):
  """Samples that are stamped as they arrive, those of a packet at once."""
  t, eda, ppg = pair(body, rate)
  k = np.arange(len(t))
  begin = k // size * size
  late = body.rng.uniform(0, jitter, len(t))[begin] + within * (k - begin)
  stamps = t[np.minimum(begin + size, len(t)) - 1] + late
  text = [
    f'{a:.{digits}f},{b:.5f},{c:.5f}' for a, b, c in zip(stamps, eda, ppg, strict=True)
  ]
  lines(folder, ['time,EDA,PPG', *text])
  return row_of(folder / 'a.csv', time='time')


def _both(a, b, c, i):
  return f'{b:.5f},{c:.5f}'


def _three(a, b, c, i):
  return f'{a:.6f},{b:.5f},{c:.5f}'


def _comma(text):
  return text.replace('.', ',')


def _programs():
  found = {}
  for comments in (False, True):
    for time in (False, True):
      how = {'comments': comments, 'time': time}
      found[f'LabChart {comments} {time}'] = (labchart, how)
  found['LabChart, units of ranges'] = (labchart, {'names': False})
  found['LabChart, nS of ranges'] = (labchart, {'names': False, 'factor': 1000})
  found['Consensys, formatted'] = (consensys, {})
  for decimal in '.,':
    found[f'Apple Watch {decimal}'] = (apple_watch, {'decimal': decimal})
  for time in (False, True):
    found[f'OpenBCI {time}'] = (open_bci, {'time': time})
  for eda, ppg, begin, apart in (
    (32, 60, 0, 0.003), (51.2, 30, 0, 0.003), (4, 64, 0, 0), (128, 60, 0, 0.003),
    (4, 64, 5, 0), (32, 64, 0, 0.0021),
  ):  # fmt: skip
    how = {'eda': eda, 'ppg': ppg, 'begin': begin, 'apart': apart}
    found[f'rows of sensors {eda} {ppg} {begin}'] = (union, how)
  for size, rate, within, jitter, digits in (
    (4, 64, 4e-4, 0, 6), (16, 64, 2e-4, 0.03, 6), (73, 130, 5e-5, 0.05, 6),
    (10, 100, 6e-4, 0, 3),
  ):  # fmt: skip
    how = {'size': size, 'rate': rate, 'within': within}
    found[f'bursts {size} {digits}'] = (
      bursts,
      how | {'jitter': jitter, 'digits': digits},
    )
  for begin in (0.2, 5.0):
    found[f'a sensor from {begin} s on'] = (late_sensor, {'begin': begin})
  for how in ('folder, lower case, ;', 'quoted', 'named'):
    found[f'E4 {how}'] = (e4_again, {'how': how})
  for name, form, how in (
    ('d/m/y', stamp('%d/%m/%Y %H:%M:%S.%f', 3), {}),
    ('d or m', stamp('%d/%m/%Y %H:%M:%S.%f', 3, START - 20 * 86400), {}),
    ('d.m.y ,', stamp('%d.%m.%Y %H:%M:%S,%f', 3), {'sign': ';', 'decimal': ','}),
    ('m/d/y AM', stamp('%m/%d/%Y %I:%M:%S.%f %p'), {}),
    ('AM', stamp('%I:%M:%S.%f %p'), {}),
    ('h:m:s:ms', stamp('%H:%M:%S:%f', 3), {}),
    ('d-Mon-y', stamp('%d-%b-%Y %H:%M:%S.%f', 3), {}),
    ('C', stamp('%a %b %d %H:%M:%S.%f %Y'), {}),
    ('UTC', stamp('%Y-%m-%d %H:%M:%S.%f UTC'), {}),
    ('_', stamp('%Y-%m-%d_%H:%M:%S.%f'), {}),
    ('m:s', lambda x: f'{int(x // 60):02d}:{x % 60:06.3f}', {}),
    ('whole seconds', stamp('%H:%M:%S'), {}),
    ('midnight', stamp('%d/%m/%Y %H:%M:%S.%f', 3, 1_774_828_790.0), {}),
    ('1/64 s', lambda x: f'{x * 64:.0f}', {'name': 'time (1/64 s)'}),
    ('10 ms', lambda x: f'{x * 100:.3f}', {'name': 'time_10ms'}),
    ('thousands', lambda x: f'"{x * 1e3 + 1e6:,.1f}"', {'name': 'time_ms'}),
  ):  # fmt: skip
    found[f'stamps {name}'] = (stamped, {'form': form} | how)
  both, three = ['EDA,PPG'], ['time,EDA,PPG']
  for name, head, row, how in (
    ('R', ['"time" "EDA" "PPG"'],
     lambda a, b, c, i: f'"{i + 1}" {a:.6f} {b:.5f} {c:.5f}', {'name': 'a.txt'}),
    ('names with spaces', ['Time (s)     EDA (uS)     Pulse (V)'],
     lambda a, b, c, i: f'{a:10.4f}  {b:10.5f}  {c:10.5f}',
     {'eda': 'EDA (uS)', 'ppg': 'Pulse (V)'}),
    ('lines in quotes', ['"EDA,PPG"'], lambda *x: f'"{_both(*x)}"', {}),
    ('cells in quotes', ['"EDA","PPG"'],
     lambda a, b, c, i: f'"{_comma(f"{b:.5f}")}","{_comma(f"{c:.5f}")}"', {}),
    ('a name twice', ['time,EDA,PPG,time'], lambda *x: f'{_three(*x)},{x[0]:.6f}', {}),
    ('marks in few rows', ['time,EDA,PPG,mark'],
     lambda *x: _three(*x) + ',start' * (x[3] == 100), {}),
    ('words without a name', three, lambda *x: _three(*x) + ',start' * (x[3] == 9), {}),
    ('numbers above the names', ['2,64', 'EDA,PPG'], _both, {}),
    ('the same by number', ['2,64', 'EDA,PPG'], _both, {'eda': '1', 'ppg': '2'}),
    ('means below', three, _three, {'foot': ['Mean,5.1,0.2', 'End of file']}),
    ('1,000 Hz', ['Sampling rate: 1,000 Hz', 'EDA,PPG'], _both,
     {'rate': '', 'ppg': '', 'of': 1000}),
    ('1.000 Hz', ['Abtastrate: 1.000 Hz', 'EDA;PPG'],
     lambda a, b, c, i: _comma(f'{b:.5f};{c:.5f}'), {'rate': '', 'of': 1000}),
    ('thousands in quotes', ['EDA (nS),PPG'],
     lambda a, b, c, i: f'"{b * 1e3:,.0f}",{c:.5f}', {'eda': 'EDA (nS)'}),
    ('thousands by points', ['GSR (Ohm);PPG'],
     lambda a, b, c, i: f'{1e6 / b:,.0f}'.replace(',', '.') + _comma(f';{c:.5f}'),
     {'eda': 'GSR (Ohm)'}),
    ('-1 in both', both, lambda *x: '-1,-1' if x[3] % 100 == 7 else _both(*x), {}),
    ('.log', both, _both, {'name': 'a.log'}),
    ('remarks', both,
     lambda *x: _both(*x) + {0: '\n; a', 9: '\n// 5', 99: '\n% 5'}.get(x[3], ''), {}),
    ('columns called 1, 2', ['1,2'], _both, {'eda': '1', 'ppg': '2'}),
  ):  # fmt: skip
    rate = how.pop('of', None)
    found[name] = (
      _at(rate) if rate else table,
      {'head': head, 'row': row} | how,
    )
  return found


def _at(rate):
  """`table` of another rate, which the manifest need not say."""

  def write(folder, body, **how):
    said = how.pop('rate')
    return table(folder, body, rate=rate, **how) | {'rate': said}

  return write


def _unsure():
  return {
    'a resistance of no unit': (
      table,
      {
        'head': ['Skin Resistance,PPG'],
        'row': lambda a, b, c, i: f'{1e3 / b:.4f},{c:.5f}',
        'eda': 'Skin Resistance',
      },
    ),
    'rows of events': (
      table,
      {
        'head': ['EDA,PPG,event'],
        'row': lambda *x: f'{_both(*x)},' + '\n,,stimulus' * (x[3] % 100 == 50),
      },
    ),
    'lines of words': (
      table,
      {
        'head': ['EDA,PPG'],
        'row': lambda *x: _both(*x) + '\nmark one' * (x[3] % 500 == 9),
      },
    ),
    'columns called 0, 1': (
      table,
      {'head': [',0,1'], 'row': lambda a, b, c, i: f'{i},{b:.5f},{c:.5f}', 'eda': '1'},
    ),
    'decimal commas or two columns': (
      table,
      {'head': [], 'row': lambda a, b, c, i: _comma(f'{b:.2f}'), 'eda': '1', 'ppg': ''},
    ),
    'a row of each channel': (ids, {'named': True}),
    'a row of each channel by number': (ids, {'named': False}),
    'objects of JSON': (
      table,
      {
        'head': [],
        'row': lambda a, b, c, i: json.dumps({'t': a, 'EDA': b, 'PPG': c}),
      },
    ),
  }


PROGRAMS, UNSURE = _programs(), _unsure()
