"""Signal files as people export them again: by spreadsheets abroad, MATLAB, PhysioNet.

`EXPORTS` is as `logger_files.LAYOUTS`; each of `UNTOLD` is {name: (function, its
arguments, what the refusal says)}: nobody could be sure of it.
"""

import numpy as np
from scipy.io import savemat

from tests.corpora.recordings.logger_files import START, opensignals, pair
from tests.corpora.recordings.program_files import labchart, lines, stamp, table


def again(folder, body, head, row, **how):
  """A table whose rate the manifest says unless it has a clock, or is `told`."""
  told = how.pop('told', False)
  given = table(folder, body, head, row, **how)
  return given | ({'rate': ''} if 'time' in given or told else {})


def _two(a, b, c, i):
  return f'{b:.5f},{c:.5f}'


def _nano(a, b, c, i):
  return f'{b * 1e3:.3f},{c:.5f}'


def clocked(form):
  return lambda a, b, c, i: f'{form(a)},{b:.5f},{c:.5f}'


def german(x):
  """A number of three decimals, saved where points part thousands."""
  text = f'{x:.3f}'.rstrip('0').rstrip('.')
  return text.replace('.', '') if len(text.partition('.')[2]) == 3 else text


def opensignals_again(folder, body):
  """Saved by a spreadsheet: lines of the header in quotes, blank cells behind them."""
  row = opensignals(folder, body)
  text = (folder / 'a.txt').read_text().replace('"', '""').split('\n')
  head = [f'"{line}";;;;' if '""' in line else f'{line};;;;' for line in text[:3]]
  rows = [line.rstrip('\t').replace('\t', ';').replace('.', ',') for line in text[3:]]
  lines(folder, head + rows, 'a.csv', end='\r\n')
  return row | {'signals': 'a.csv'}


def labchart_dates(folder, body):
  """With a date beside the time of day in each row."""
  row = labchart(folder, body, factor=1000)
  text = (folder / 'a.txt').read_bytes().decode('cp1252').split('\r\n')
  text = [line.replace('\t', '\t3/29/2026\t', 1) if line[:1].isdigit() else line
          for line in text]  # fmt: skip
  lines(folder, text, 'a.txt', 'cp1252')
  return row


def _program_mat(body):
  _, eda, ppg = pair(body, 200)
  return eda * 1e3, ppg


def labchart_mat(folder, body):
  """All channels in one vector."""
  eda, ppg = _program_mat(body)
  n = len(eda)
  savemat(
    folder / 'a.mat',
    {
      'data': np.r_[eda, ppg][None],
      'datastart': np.array([[1.0], [n + 1.0]]),
      'dataend': np.array([[n], [2.0 * n]]),
      'titles': np.array(['EDA', 'Pulse']),
      'samplerate': np.full((2, 1), 200.0),
      'unittext': np.array(['nS', 'V ']),
      'unittextmap': np.array([[1.0], [2.0]]),
    },
  )
  return {'signals': 'a.mat', 'eda': 'EDA', 'ppg': 'Pulse'}


def acqknowledge_mat(folder, body, by):
  eda, ppg = _program_mat(body)
  savemat(
    folder / 'a.mat',
    {
      'data': np.c_[eda, ppg],
      'isi': 5.0,
      'isi_units': 'ms',
      'labels': np.array(['EDA, X', 'PPG   ']),
      'units': np.array(['nanosiemens', 'Volts      ']),
    },
  )
  return {'signals': 'a.mat'} | dict(zip(('eda', 'ppg'), by, strict=True))


def npz(folder, body, **more):
  t, eda, ppg = pair(body, 64)
  times = np.datetime64('2026-03-29T10:00', 'ns') + (t * 1e9).astype('m8[ns]')
  np.savez(folder / 'a.npz', EDA=eda, slow=eda[::16], PPG=ppg, time=times)
  return {'signals': 'a.npz', 'eda': 'EDA', 'ppg': 'PPG', 'time': 'time'} | more


def stated(folder, body, kind, rate=''):
  """Arrays of one length beside a number called fs."""
  _, eda, ppg = pair(body, 64)
  arrays = {'EDA': eda, 'PPG': ppg, 'fs': 64.0}
  if kind == 'npz':
    np.savez(folder / 'a.npz', **arrays)
  else:
    savemat(folder / 'a.mat', {'s': arrays})
  names = ('EDA', 'PPG') if kind == 'npz' else ('s.EDA', 's.PPG')
  return {'signals': f'a.{kind}', 'eda': names[0], 'ppg': names[1], 'rate': rate}


def wfdb_segments(folder, body, rate=64, unit='uS', length=1280):
  """Two, of which the second has its channels in another order."""
  _, eda, ppg = pair(body, 64)
  for name, begin, order, of in ('s0', 0, (0, 1), 'uS'), ('s1', 1280, (1, 0), unit):
    values = np.stack([eda, ppg], 1)[begin : begin + 1280][:, order]
    (folder / f'{name}.dat').write_bytes(np.round(values * 1e3).astype('<i2').tobytes())
    channels = [
      f'{name}.dat 16 1000/{of} 16 0 0 0 0 EDA',
      f'{name}.dat 16 1000/V 16 0 0 0 0 PPG',
    ]
    own = 64 if name == 's0' else rate
    lines(
      folder, [f'{name} 2 {own} {length}', *[channels[i] for i in order]], f'{name}.hea'
    )
  lines(folder, ['a/2 2 64 2560', f's0 {length}', f's1 {length}'], 'a.hea')
  return {'signals': 'a.hea', 'eda': 'EDA', 'ppg': 'PPG'}


def counted(folder, body, top, lost, begin=0):
  """With a counter that begins anew, and rows that were lost."""
  _, eda, ppg = pair(body, 64)
  text = [
    f'{(i + begin) % top},{a:.5f},{b:.5f}'
    for i, (a, b) in enumerate(zip(eda, ppg, strict=True))
    if not 700 <= i < 700 + lost
  ]
  lines(folder, ['n,EDA,PPG', *text])
  return {'signals': 'a.csv', 'eda': 'EDA', 'ppg': 'PPG', 'rate': 64}


def imotions_sources(folder, body):
  """Rows of two sensors and of events, each with the name of its source."""
  rows = [(t, 'Shimmer', f'{body.eda(t):.5f}', '') for t in body.times(51.2)]
  rows += [(t, 'Eyes', '', f'{body.ppg(t):.5f}') for t in body.times(60) + 0.002]
  rows += [(10.001, 'SlideStart', '', ''), (25.0005, 'SlideEnd', '', '')]
  text = ['#INFO,,,,', '#Study name,Test,,,', '#Channel,,,GSR,PPG', '#DATA,,,,']
  text += ['Row,Timestamp,EventSource,GSR CAL (µS),PPG']
  text += [
    f'{i},{t * 1e3:.4f},{s},{g},{p}' for i, (t, s, g, p) in enumerate(sorted(rows))
  ]
  lines(folder, text, encoding='utf-8-sig')
  return {'signals': 'a.csv', 'eda': 'GSR CAL', 'ppg': 'PPG', 'time': 'Timestamp',
          'time_unit': 'ms'}  # fmt: skip


def e4_folder(folder, body, name='EDA', **how):
  (folder / 'E4').mkdir()
  values = [f'{START:.6f}', '4.000000', *(f'{x:.6f}' for x in body.eda(body.times(4)))]
  lines(folder, values, f'E4/{name}.csv', **how)
  return {'signals': 'E4', 'eda': 'EDA'}


def e4_joined(folder, body):
  row = e4_folder(folder, body)
  path = folder / 'E4' / 'EDA.csv'
  path.write_text(2 * path.read_text())
  return row


def _milliseconds(x):
  return f'{stamp("%H:%M:%S")(x)}:{round(x % 1 * 1000 - 0.5) % 1000}'


def _exports():
  found = {
    'OpenSignals by a spreadsheet': (opensignals_again, {}),
    'LabChart, dates': (labchart_dates, {}),
    'LabChart .mat': (labchart_mat, {}),
    'AcqKnowledge .mat': (acqknowledge_mat, {'by': ('data:1', 'data:2')}),
    'AcqKnowledge .mat by label': (acqknowledge_mat, {'by': ('EDA, X', 'PPG')}),
    'NumPy dates': (npz, {}),
    'fs in .mat': (stated, {'kind': 'mat'}),
    'fs in .npz': (stated, {'kind': 'npz'}),
    'WFDB segments in another order': (wfdb_segments, {}),
    'a counter of 8 bits': (counted, {'top': 256, 'lost': 99}),
    'a counter of 16 bits': (counted, {'top': 65536, 'lost': 99, 'begin': 64_000}),
    'iMotions with sources': (imotions_sources, {}),
    'E4 after a person': (e4_folder, {'name': 'P01_EDA'}),
    'E4 UTF-16': (e4_folder, {'encoding': 'utf-16'}),
    'E4 old Mac': (e4_folder, {'end': '\r'}),
  }
  for name, head, form, how in (
    ('blank cells behind', ['EDA,PPG'], lambda *x: _two(*x) + ',,', {}),
    ('names behind %', ['% Fs = 64 Hz', '% EDA,PPG'], _two, {'told': True}),
    ('names behind //', ['// EDA,PPG'], _two, {}),
    ('a period', ['Sample period: 15.625 ms', 'EDA,PPG'], _two, {'told': True}),
    ('a hard space', ['EDA\u00a0(nS),PPG'], _nano, {'eda': 'EDA (nS)'}),
    ('a name composed', ['Re\u0301ponse,PPG'], _two, {'eda': 'R\u00e9ponse'}),
    ('a name in two lines', ['"EDA\n(nS)",PPG'], _nano, {'eda': 'EDA (nS)'}),
    ('an unseen sign', ['\u200bEDA,PPG'], _two, {}),
    ('Shift-JIS', ['皮膚(nS),脈波'], _nano,
     {'eda': '皮膚(nS)', 'ppg': '脈波', 'encoding': 'cp932'}),
    ('ミリ秒', ['時間(ミリ秒),EDA,PPG'], clocked(lambda x: f'{x * 1e3:.3f}'),
     {'time': '時間(ミリ秒)'}),
    ('年月日', ['t,EDA,PPG'], clocked(stamp('%Y年%m月%d日 %H時%M分%S.%f秒')),
     {'time': 't'}),
    ('午後', ['t,EDA,PPG'], clocked(lambda x: '午後 ' + stamp('%I:%M:%S.%f')(x)),
     {'time': 't'}),
    ('a. m.', ['t,EDA,PPG'], clocked(lambda x: stamp('%I:%M:%S.%f')(x) + ' a.\u00a0m.'),
     {'time': 't'}),
    ('years of two digits', ['t,EDA,PPG'], clocked(stamp('%d.%m.%y %H:%M:%S.%f')),
     {'time': 't'}),
    ('no zeros in front', ['t,EDA,PPG'],
     clocked(lambda x: f'9:{int(x // 60)}:{x % 60:.6f}'), {'time': 't'}),
    ('ms behind a colon', ['t,EDA,PPG'], clocked(_milliseconds), {'time': 't'}),
    ('timedelta', ['t,EDA,PPG'], clocked(lambda x: f'0 days 00:00:{x:09.6f}'),
     {'time': 't'}),
    ('means below a blank line', ['EDA,PPG'], _two, {'foot': ['', '5.1,0.2']}),
    ('a table below', ['EDA,PPG'], _two, {'foot': ['', 'HR,HRV', '70,5', '71,6']}),
  ):  # fmt: skip
    found[name] = (again, {'head': head, 'row': form} | how)
  return found


def _untold():
  found = {
    'fs of another rate': (stated, {'kind': 'npz', 'rate': 128}, 'it says 64 Hz'),
    'times of another length': (
      npz, {'eda': 'slow'}, 'slow has 160 samples, its times (time) are 2560'
    ),
    'segments of two rates': (wfdb_segments, {'rate': 32}, 'segment s1 has 32 Hz, the'),
    'segments of two units': (wfdb_segments, {'unit': 'nS'}, 'of segment s1 is in nS'),
    'WFDB, more than its header says': (
      wfdb_segments, {'length': 900}, 's0.dat holds 1.42 times as many; correct the hea'
    ),
  }  # fmt: skip
  found['E4 files joined'] = e4_joined, {}, 'another recording begins in line 163;'
  for unit, encoding in (('kΩ', 'mac_roman'), ('kΩ', 'cp437'), ('k?', 'ascii')):
    found[f'{unit} in {encoding}'] = (
      again,
      {
        'head': [f'GSR ({unit}),PPG'],
        'row': lambda a, b, c, i: f'{1e3 / b:.4f},{c:.5f}',
        'eda': '1',
        'ppg': '2',
        'encoding': encoding,
      },
      'cannot be read; give eda_unit',
    )
  for name, head, form, how, told in (
    ('tenths', ['EDA (0.1 µS),PPG'], lambda a, b, c, i: f'{b * 10:.4f},{c:.5f}',
     {'eda': '1'}, 'its unit, 0.1 µS, cannot be read; give eda_unit'),
    ('抵抗', ['皮膚抵抗,PPG'], lambda a, b, c, i: f'{1e3 / b:.4f},{c:.5f}',
     {'eda': '1'}, 'is a resistance of no unit'),
    ('points lost', ['PPG'], lambda a, b, c, i: german(c + 2), {'eda': ''},
     'a spreadsheet took them for signs of thousands'),
    ('names of another table', ['EDA,PPG'],
     lambda *x: _two(*x) + '\nHR,HRV' * (x[3] == 900), {},
     'looks like names of another table: are they samples?'),
  ):  # fmt: skip
    found[name] = (again, {'head': head, 'row': form} | how, told)
  return found


EXPORTS, UNTOLD = _exports(), _untold()
