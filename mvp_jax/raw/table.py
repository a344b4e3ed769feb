"""A small table as spreadsheets save it: the manifest's, with named columns."""

import csv
import dataclasses
import difflib
import io
import re
from pathlib import Path

from mvp_jax.errors import InputError
from mvp_jax.raw.on_disk import read_bytes

_DELIMITERS = ',;\t'
_SEPARATOR = re.compile(r'\A"?sep=."?[,;\t]*(\r\n|\n|\r)')  # no row to a spreadsheet
_MAX_BYTES = 16 << 20  # 50,000 trials
_MOST_ROWS, _MOST_COLUMNS, _MOST_CHARACTERS = 200_000, 10_000, 4096


@dataclasses.dataclass(frozen=True)
class Table:
  """`rows`: list of (row number as a spreadsheet counts, {column: text})."""

  columns: tuple[str, ...]
  rows: list
  notes: list


def read_table(path, known, also=lambda name: False):
  """Reads a CSV with a header; comma, semicolon or tab between the cells.

  Blank rows are passed over, and case and spaces around names do not count.

  Args:
    path: Path.
    known: the columns that mean something. Others are told in `notes`.
    also: function of a name: whether it means something, too.

  Raises:
    InputError: it can't be read, a column comes twice or looks misspelt, a row has
      another number of cells, or there is no row.
  """
  text = _text(Path(path))
  text = _SEPARATOR.sub('', text)
  delimiter = max(_DELIMITERS, key=text.partition('\n')[0].count)
  lines = []
  try:
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
    for number, cells in enumerate(reader, 1):
      if len(cells) > _MOST_COLUMNS:
        raise InputError(
          f'{path}: row {number}: {len(cells)} cells; is it the manifest?'
        )
      longest = max(map(len, cells), default=0)
      if longest > _MOST_CHARACTERS:
        raise InputError(
          f'{path}: row {number}: a cell of {longest} characters; is it the manifest?'
        )
      cells = [' '.join(cell.strip().splitlines()) for cell in cells]
      cells = [re.sub(r'^="(.*)"$', r'\1', cell) for cell in cells]  # kept as text
      if any(cells):
        lines.append((number, cells))
      if len(lines) > _MOST_ROWS:
        raise InputError(f'{path}: over {_MOST_ROWS} rows; is it the manifest?')
  except csv.Error as error:
    raise InputError(
      f'{path}: not a proper CSV ({error}); save it anew from a '
      'spreadsheet as "CSV UTF-8"'
    ) from None
  if len(lines) < 2:
    raise InputError(
      f'{path}: a header and one row per trial are needed; it has {len(lines)} rows'
    )
  columns = [name.lower() for name in lines[0][1]]
  own = {name.lower() for name in lines[1][1]} & set(known)
  if len(own) > 1 and not {*columns} & set(known):
    raise InputError(
      f'{path}: the names of its columns stand in row {lines[1][0]}; delete the rows '
      'above'
    )
  while columns and not columns[-1]:
    columns.pop()
  notes = []
  _check_names(path, columns, known, also, notes)
  rows = []
  for number, cells in lines[1:]:
    if len(cells) > len(columns) and not any(cells[len(columns) :]):
      cells = cells[: len(columns)]
    if len(cells) > len(columns):
      raise InputError(
        f'{path}: row {number}, column {columns[-1]}: {len(cells)} cells for '
        f'{len(columns)} columns; put text that holds {delimiter!r} in quotes'
      )
    rows.append((number, dict(zip(columns, cells, strict=False))))
  return Table(tuple(x for x in columns if x in known or also(x)), rows, notes)


def _text(path):
  if path.suffix.lower() in ('.xlsx', '.xls', '.ods', '.numbers'):
    raise InputError(f'{path}: a spreadsheet; save it as "CSV UTF-8" and give that')
  try:
    data = read_bytes(path, _MAX_BYTES)
    code = 'utf-16' if data[:2] in (b'\xff\xfe', b'\xfe\xff') else 'utf-8-sig'
    text = data.decode(code)
  except FileNotFoundError:
    raise InputError(
      f'{path}: no such file; docs/recordings.md says what to put into it'
    ) from None
  except OSError as error:
    raise InputError(f'{path}: cannot be read ({error.strerror})') from None
  except UnicodeDecodeError:
    raise InputError(f'{path}: not UTF-8; save it as "CSV UTF-8"') from None
  if '\0' in text:
    raise InputError(f'{path}: not a text file; save it as "CSV UTF-8"')
  return text


def _check_names(path, columns, known, also, notes):
  for i, name in enumerate(columns):
    where = f'{path}: row 1, column {name or i + 1}'
    if not name:
      raise InputError(f'{where}: the header is blank; name it or leave it out')
    if columns.index(name) < i:
      raise InputError(f'{where}: it is there twice; leave one out')
    if name in known or also(name):
      continue
    near = difflib.get_close_matches(name, known, 1, 0.85)
    if near and near[0] not in columns:
      raise InputError(f'{where}: there is no such column; is it {near[0]}?')
    words = {*re.split(r'[\W_]+', name)} & {*known} - {*columns}
    hint = f' (is it {sorted(words)[0]}?)' if words else ''
    notes.append(f'column {name} is not used{hint}')
