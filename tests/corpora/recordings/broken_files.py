"""Signal files that are broken, of a body that is known: damage, losses, units unsaid.

`BROKEN` is as `logger_files.LAYOUTS`: each is to be right by its numbers, or refused.
"""

import numpy as np

from tests.corpora.recordings.logger_files import (
  START,
  Text,
  acqknowledge,
  e4,
  opensignals,
  pair,
  row_of,
  shimmer,
)


def spoilt(folder, body, spoil, clock=True, rate=64, **more):
  """A table whose columns {name: float [time]} or lines `spoil` has changed."""
  t, eda, ppg = pair(body, rate)
  columns = ({'time': t} if clock else {}) | {'EDA': eda, 'PPG': ppg}
  changed = spoil(columns, body.rng)
  columns = columns if changed is None else changed
  if isinstance(columns, dict):
    path = Text().write(folder / 'a.csv', [list(columns)], list(columns.values()), 6)
  else:
    path = folder / 'a.csv'
    path.write_bytes(columns)
  row = {'duration': body.seconds} | ({'time': 'time'} if clock else {'rate': rate})
  return row_of(path, **row | more)


def _samples(name, value, count, run=1):
  """Runs of samples of a column that have another value."""

  def spoil(columns, rng):
    values = columns[name]
    for at in rng.choice(len(values) - run, count, replace=False):
      values[at : at + run] = value

  return spoil


def _rows(change):
  """Rows chosen, or put in another order: `change` of indices [time]."""

  def spoil(columns, rng):
    chosen = change(np.arange(len(columns['EDA'])), rng)
    return {name: values[chosen] for name, values in columns.items()}

  return spoil


def _lines(change):
  """`change` of the lines of the file gives lines, or bytes."""

  def spoil(columns, rng):
    rows = zip(*columns.values(), strict=True)
    lines = [','.join(columns), *(','.join(f'{x:.6f}' for x in row) for row in rows)]
    made = change(lines, rng)
    return made if isinstance(made, bytes) else '\n'.join([*made, '']).encode()

  return spoil


def _cells(change, count=9):
  """`change` of the cells of some rows."""

  def some(lines, rng):
    for at in rng.choice(np.arange(2, len(lines) - 2), count, replace=False):
      lines[at] = ','.join(change(lines[at].split(','), rng))
    return lines

  return _lines(some)


def _scaled(**factors):
  def spoil(columns, rng):
    for name, factor in factors.items():
      columns[name] = columns[name] * factor

  return spoil


def _cut(n, first, last):
  return np.r_[n[: round(first * len(n))], n[round(last * len(n)) :]]


def _broken():
  found = {}

  def add(name, spoil, **more):
    found[name] = (spoilt, {'spoil': spoil} | more)

  for channel in ('EDA', 'PPG'):
    for value in (-9999, 1e6, -32768, 65535, 9.9e37, 1e300, np.inf, 0):
      add(f'{channel}: {value:g} in 20 samples', _samples(channel, value, 20))
    for value in (-9999, 0, 4095, 99999):
      add(
        f'{channel}: packets of {value:g}', _samples(channel, value, 9, 8), clock=False
      )
    add(f'{channel}: one sample of 1e6', _samples(channel, 1e6, 1), clock=False)
    add(f'{channel}: a third is -9999', _samples(channel, -9999, 80, 12))
    add(f'{channel}: gaps', _samples(channel, np.nan, 3, 80))
    add(f'{channel}: most is blank', _samples(channel, np.nan, 40, 40))
    add(f'{channel}: a row of counts', _samples_at(channel, 2560), clock=False)
    add(f'{channel}: constant', _scaled(**{channel: 0}))
    add(f'{channel}: rate and time first', _head(channel), clock=False)
  add('EDA in nS, not said', _scaled(EDA=1e3))
  add('EDA in S, not said', _scaled(EDA=1e-6))
  add('EDA in ohm, not said', _inverse)
  for unit, factor in (('ms', 1e3), ('us', 1e6), ('ns', 1e9), ('days', 1 / 86400)):
    add(f'clock in {unit}, not said', _scaled(time=factor))
    add(f'clock in {unit}, not said, no duration', _scaled(time=factor), duration='')
  add('clock in min, not said', _scaled(time=1 / 60))
  add('clock in ms at 1000 Hz, not said', _scaled(time=1e3), rate=1000)
  add('the same, no duration', _scaled(time=1e3), rate=1000, duration='')
  add('clock in ms, s said', _scaled(time=1e3), time_unit='s')
  add('clock in s, ms said', _scaled(), time_unit='ms')
  add('no such time_unit', _scaled(), time_unit='fortnights')
  add('another rate said', _scaled(), clock=True, rate=64, **{'eda_rate': 4})
  add('half of the rows lost', _rows(lambda n, rng: _cut(n, 0.2, 0.7)))
  add('some rows lost', _rows(lambda n, rng: _cut(n, 0.4, 0.45)))
  add('single rows lost', _rows(lambda n, rng: np.delete(n, rng.choice(n[9:-9], 90))))
  add('many rows lost', _rows(lambda n, rng: np.sort(rng.choice(n, 1500, False))))
  add('rows that come twice', _rows(lambda n, rng: np.sort(np.r_[n, n[500:560]])))
  add('all rows twice', _rows(lambda n, rng: np.repeat(n, 2)))
  add('a block twice', _rows(lambda n, rng: np.r_[n[:900], n[700:]]))
  add('two rows in another order', _rows(lambda n, rng: np.r_[n[:50], 51, 50, n[52:]]))
  add('rows shuffled', _rows(lambda n, rng: rng.permutation(n)))
  add('time backwards', _rows(lambda n, rng: n[::-1]))
  add('two recordings joined', _rows(lambda n, rng: np.r_[n, n]))
  add('end lost', _rows(lambda n, rng: n[: len(n) // 2]))
  add('end lost, by rate', _rows(lambda n, rng: n[: len(n) // 2]), clock=False)
  add('two rows only', _rows(lambda n, rng: n[:2]), clock=False)
  add('one row only', _rows(lambda n, rng: n[:1]))
  add('no row', _rows(lambda n, rng: n[:0]))
  for text in ('', '-', 'NaN', 'lost', '#REF!', '-nan(ind)', '1.#QNAN', 'NULL', '--'):
    add(f'cells of {text!r}', _cells(lambda c, rng, x=text: [c[0], x, c[2]]))
  add('cells lost', _cells(lambda c, rng: [c[0], c[2]]))
  add('cells too many', _cells(lambda c, rng: [*c, c[1]]))
  add('commas lost', _cells(lambda c, rng: [c[0], c[1] + c[2]]))
  add('points lost', _cells(lambda c, rng: [c[0], c[1].replace('.', ''), c[2]]))
  add('two points', _cells(lambda c, rng: [c[0], c[1].replace('.', '.1.'), c[2]]))
  add('decimal commas in some', _cells(lambda c, rng: [c[0], _quoted(c[1]), c[2]]))
  add('rows cut short', _cells(lambda c, rng: [c[0], c[1][:1]]))
  add('times lost', _cells(lambda c, rng: ['', *c[1:]]))
  add('times of zero', _cells(lambda c, rng: ['0.000000', *c[1:]]))
  add('times far off', _cells(lambda c, rng: ['99999999', *c[1:]]))
  add('a quote too many', _cells(lambda c, rng: [c[0], '"' + c[1], c[2]], 2))
  add('text in between', _lines(lambda x, rng: [*x[:99], 'signal lost', *x[99:]]))
  add('remarks in between', _lines(lambda x, rng: [*x[:99], '# event 3', *x[99:]]))
  add('header again', _lines(lambda x, rng: [*x[:99], x[0], *x[99:]]))
  add('blank lines', _lines(lambda x, rng: [*x[:99], '', '  ', *x[99:]]))
  add('no header', _lines(lambda x, rng: x[1:]))
  add('one name twice', _lines(lambda x, rng: ['time,EDA,EDA', *x[1:]]))
  add('a name too few', _lines(lambda x, rng: ['time,EDA', *x[1:]]))
  add(
    'decimal commas between commas', _lines(lambda x, rng: [x[0], *map(_comma, x[1:])])
  )
  add('cut within a line', _lines(lambda x, rng: '\n'.join(x).encode()[:-20_000]))
  add('zero bytes', _lines(lambda x, rng: _middle(x, bytes(500))))
  add('bytes of noise', _lines(lambda x, rng: _middle(x, rng.bytes(500))))
  add('empty', _lines(lambda x, rng: b''))
  add('a header alone', _lines(lambda x, rng: x[:1]))
  add('a web page', _lines(lambda x, rng: b'<!DOCTYPE html>\n<html>Sign in</html>\n'))
  add('a pointer', _lines(lambda x, rng: b'version https://git-lfs\nsize 12\n'))
  add('a spreadsheet', _lines(lambda x, rng: b'PK\x03\x04' + rng.bytes(3000)))
  add('UTF-16 cut', _lines(lambda x, rng: '\n'.join(x).encode('utf-16')[:-20_001]))
  for how in ('EDA', 'rate'):
    found[f'an E4 file with a damaged {how}'] = (_bad_e4, {'how': how})
  add('counts above', _lines(_counts), clock=False)
  add('counts above, with a clock', _lines(_counts))
  found['AcqKnowledge cut'] = (_bad_text, {'write': acqknowledge, 'keep': 0.6})
  found['OpenSignals cut'] = (_bad_text, {'write': opensignals, 'keep': 0.6})
  found['OpenSignals, header cut'] = (_bad_text, {'write': opensignals, 'keep': 0.001})
  found['Shimmer cut'] = (_bad_text, {'write': shimmer, 'keep': 0.6})
  return found


def _counts(lines, rng):
  width = lines[0].count(',') + 1
  count = str(len(lines) - 1)
  cells = [''] * (width - 2) + [count] * 2  # a clock has none
  return [lines[0], ','.join(cells), *lines[1:]]


def _quoted(text):
  return f'"{_comma(text)}"'


def _comma(text):
  return text.replace('.', ',')


def _middle(lines, data):
  text = '\n'.join(lines).encode()
  return text[:20_000] + data + text[20_000 + len(data) :]


def _samples_at(name, value):
  def spoil(columns, rng):
    columns[name][0] = value

  return spoil


def _head(name):
  def spoil(columns, rng):
    columns[name][:2] = START, 64

  return spoil


def _inverse(columns, rng):
  columns['EDA'] = 1e6 / columns['EDA']


def _bad_e4(folder, body, how):
  row = e4(folder, body, '') | {'duration': body.seconds}
  lines = (folder / 'EDA.csv').read_text().split('\n')
  at, text = {'rate': (1, '0.000000'), 'EDA': (30, '1e9')}[how]
  lines[at] = text
  (folder / 'EDA.csv').write_text('\n'.join(lines))
  return row


def _bad_text(folder, body, write, keep):
  row = write(folder, body) | {'duration': body.seconds}
  path = folder / row['signals']
  data = path.read_bytes()
  path.write_bytes(data[: round(keep * len(data))])
  return row


BROKEN = _broken()
