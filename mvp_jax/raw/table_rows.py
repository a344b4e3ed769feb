"""What the rows of a table of text hold beside samples: remarks, words, means below.

Numbers that lost their points are told here, too.
"""

import csv
import dataclasses
import re
from typing import Any

import numpy as np

from mvp_jax.raw.table_header import is_missing, is_number

_MOST_FOOTERS = 20  # rows
# Numbers of which some lost the point of three decimals: so many of each, at least.
_LOST_POINTS, _THOUSAND = 0.02, 1000.0


@dataclasses.dataclass(frozen=True)
class Column:
  """`values` float64 [row]; `cells` [row] of text, None where all are numbers.

  `problem` says why its numbers cannot be told, or is ''.
  """

  values: np.ndarray
  cells: Any = None
  problem: str = ''


def cells_of(line, delimiter):
  if delimiter == ' ' and '"' not in line:
    return line.split()
  if delimiter == ' ':
    line = ' '.join(line.split())
  try:
    cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
  except csv.Error as error:
    raise ValueError(f'a row that is no row of a table ({error})') from None
  return [cell.strip() for cell in cells]


def without_remarks(body, delimiter, lines, width):
  """(A table without the words behind the last cells of some rows, notes).

  Such are the comments in a text of LabChart. `lines`: of its beginning.
  """
  counts = [line.count(delimiter) for line in lines if line.strip()]
  most = max(np.bincount(counts).argmax() + 1 if counts else 1, width)
  if delimiter == ' ':
    return body, []
  rows, cut = body.split('\n'), []
  for i, row in enumerate(rows):
    if row.count(delimiter) < most:
      continue
    cells = cells_of(row, delimiter)
    told = cells[most:]
    if any(told) and not any(map(is_number, told)):
      rows[i] = delimiter.join(map(_quoted, cells[:most]))
      cut.append(' '.join(told))
  if not cut:
    return body, []
  return '\n'.join(rows), [
    f'{len(cut)} rows have words behind their cells, which are left out, the first '
    f'{cut[0][:40]!r}'
  ]


def _quoted(cell):
  return f'"{cell}"' if re.search(r'[\s,;|]', cell) else cell


def without_foot(body):
  """(A table without the few last lines below its only blank one, notes)."""
  rows = body.rstrip().split('\n')
  blank = next((i for i in range(1, _MOST_FOOTERS + 1) if not rows[-i:][0].strip()), 0)
  parts = re.split(r'\n\s*\n', body.rstrip())
  if not blank or len(parts) != 2 or len(rows) < 5 * _MOST_FOOTERS:
    return body, ()
  foot = [row for row in rows[-blank:] if row.strip()]
  note = f'{len(foot)} lines below a blank one are no samples: {foot[0][:40]!r}'
  return parts[0], (note,)


def without_footers(columns):
  """(Columns without last rows that begin with a word, such as 'Mean', notes)."""
  first = columns[0]
  if first.cells is None or not np.isfinite(first.values).mean() > 0.5:
    return columns, ()
  tail = first.cells.iloc[-_MOST_FOOTERS:].tolist()
  words = [bool(re.match(r'[^\W\d_]{2}', x)) and not is_missing(x) for x in tail]
  begin = len(tail)
  while begin and (words[begin - 1] or not tail[begin - 1]):
    begin -= 1
  begin += next((i for i, word in enumerate(words[begin:]) if word), len(tail) - begin)
  last = len(first.cells) - len(tail) + begin
  ends = len(first.cells) - last
  if not ends or not last:
    return columns, ()
  note = f'its last {ends} rows are no samples: {tail[begin][:40]!r}'
  return [
    Column(c.values[:last], None if c.cells is None else c.cells[:last], c.problem)
    for c in columns
  ], (note,)


def other_names(columns):
  """What is said of a row of names among the numbers, of another table, or ''."""
  most = [c for c in columns if np.isfinite(c.values).mean() > 0.5]
  words = [
    np.isnan(c.values) & c.cells.astype(bool).to_numpy()
    for c in most
    if c.cells is not None
  ]
  for i in np.flatnonzero(np.sum(words, axis=0)[:-1] > 1).tolist() if words else ():
    cells = [c.cells.iloc[i] for c in most if c.cells is not None and c.cells.iloc[i]]
    if len({*cells}) == len(cells) and not any(
      is_missing(x) or is_number(x) for x in cells
    ):
      return f'its row {", ".join(cells)[:40]!r} looks like names of another table'
  return ''


def lines_of_words(rows, short, delimiter):
  """What is said of rows that are words alone, or ''; `short`: numbers of rows.

  Words in the last rows of a table end it.
  """
  told = {}
  for i in short:
    cells = [cell for cell in cells_of(rows[i], delimiter) if not is_missing(cell)]
    if cells and not any(map(is_number, cells)):
      told[i] = rows[i]
  end = len(rows) - 1
  while told.pop(end, None):
    end -= 1
  first = next(iter(told.values()), '')
  return told and f'{len(told)} of its lines hold words, the first {first[:40]!r}' or ''


def require_points(values):
  """Raises ValueError where numbers of three decimals have lost their point.

  A spreadsheet that parts thousands by points makes 5123 of 5.123, and leaves 5.95.
  """
  values = values[np.isfinite(values) & (values != 0)]
  parts = values % 1 != 0
  few = len(values) * _LOST_POINTS
  if not few < parts.sum() < len(values) - few or len(values) < 100:
    return
  short, whole = values[parts], values[~parts] / _THOUSAND
  rounded = np.isclose(100 * short, np.round(100 * short), rtol=0, atol=1e-6).all()
  low, high = np.quantile(whole, (0.01, 0.99))
  inside = np.mean((short >= low) & (short <= high))
  if rounded and inside > 0.9 and len(np.unique(whole)) > 10:
    raise ValueError(
      f'points were lost, {short[0]:g} beside {values[~parts][0]:g}: a spreadsheet '
      'took them for signs of thousands; export it anew'
    )
