"""Reads a table of numbers in text, as loggers and spreadsheets write it.

Encoding (UTF-8, UTF-16, else Windows' Latin), delimiter, decimal sign and header are
found out. A cell that is no number is NaN, and so is a row that lacks cells.
"""

import dataclasses
import io
import re

import numpy as np

from mvp_jax.raw.on_disk import require_regular
from mvp_jax.raw.table_header import find_header
from mvp_jax.raw.table_rows import (
  Column,
  cells_of,
  lines_of_words,
  other_names,
  require_points,
  without_foot,
  without_footers,
  without_remarks,
)

MAX_PREAMBLE = 200  # lines before the first row of numbers
_MAX_LINE = 1 << 20  # bytes; of OpenFace, with 714 columns, a line has 6,000
_MOST_COLUMNS, _MOST_HEADERS = 10_000, 8  # rows of headers; Shimmer's have four
_MAX_NAME, _MAX_REMARK = 500, 2000  # characters of a column's name, a line above
# What spreadsheets write for errors, in any language; else a '#' begins a remark.
_SIGNS = r'#(?![A-ZÀ-Þ0-9/]+[!?]?\s*([,;\t|]|$))|%|//'
_REMARK = re.compile(rf'(?m)^(?:{_SIGNS}).*$')
_REMARK_TOO = re.compile(rf'(?m)^(?:{_SIGNS}|;).*$')  # where ; parts no cells
_EXPONENT = r'(?:[eE][+-]?\d+)?'
# Of pandas' readers of numbers the one that does not crash of a long exponent; it is
# slower.
PRECISION, _LONG_EXPONENT = 'round_trip', re.compile(r'[eE][+-]?\d{5}')
# Signs that only part thousands.
_GROUPED = re.compile(r"[\u00a0\u2009\u202f]|(?<=\d)[ '’](?=\d{3}(?!\d))")  # noqa: RUF001
_OUTER = re.compile(r'"(?:[^"]|"")+"')
# A cell of a row of names that spreadsheets write in several lines.
_BROKEN_NAME = re.compile(
  r'(?m)(^|(?<=[,;\t]))"[^",;\t\n]*(\n[^",;\t\n]*){1,4}"(?=[,;\t]|$)'
)
_NAMES_WITHIN = 4000  # characters
# Two letters of Shift-JIS, one behind the other, as in no Western text.
_JAPANESE = re.compile(rb'(?:[\x81-\x9f][\x40-\x7e\x80-\xfc]){2}')
_MOST_ROWS = 1_048_576  # that spreadsheets save
_FEW_SHORT = 0.1  # of the rows: fewer are damaged, more leave out blanks at their end


@dataclasses.dataclass(frozen=True)
class TextTable:
  """What `parse` makes of a text.

  `headers`: rows of cells right above the numbers, each as wide as the table. `above`:
  all lines above them, cut where they are very long. `again`: the line (from 1) where
  they come again in the midst of the numbers, as in a file of several parts, or None.
  `decimal`: the sign in its numbers, as far as it is sure, or ''. `words`: what is said
  of lines among the numbers that hold words alone, or ''.
  """

  headers: list
  columns: list
  notes: tuple[str, ...] = ()
  above: tuple[str, ...] = ()
  again: int | None = None
  decimal: str = ''
  words: str = ''


def read_text(path):
  """The text of a file, lines ending in a newline.

  Raises:
    ValueError: it is not text.
  """
  require_lines(path)
  text = decoded(path.read_bytes())
  if '\0' in text:
    raise ValueError('not a text file (or damaged: it holds zero bytes)')
  if (lines := text.count('\n')) == _MOST_ROWS:
    raise ValueError(
      f'truncated? It has {lines} lines, the most that a spreadsheet saves; export it '
      'anew'
    )
  return text


def decoded(data):
  """The text of a file's bytes, lines ending in a newline."""
  text = data.decode(_encoding(data), errors='replace').removeprefix('\ufeff')
  return text.replace('\r\n', '\n').replace('\r', '\n')


def require_lines(path):
  """Raises ValueError if a file has a line that is longer than a table's.

  So has what is no text at all, such as zeros. Raises OSError if it cannot be read.
  """
  require_regular(path)
  with open(path, 'rb') as file:
    while part := file.read(_MAX_LINE):
      if len(part) < _MAX_LINE:
        return
      if b'\n' not in part and b'\r' not in part:
        raise ValueError(
          f'a line of over {_MAX_LINE >> 20} MB, which no table has; is it text?'
        )
      if not part.strip():
        raise ValueError(f'over {_MAX_LINE >> 20} MB of blank lines; take them out')


def layout(data):
  """How a table with a row of names is written: (encoding, delimiter, names' line).

  `data` are the first bytes of the file, some lines at least.
  """
  encoding = _encoding(data)
  text = data.decode(encoding, errors='replace').removeprefix('\ufeff')
  lines = text.splitlines() or ['']
  told = _told_delimiter(lines)
  begin = next((i for i, line in enumerate(lines) if line.strip()), 0)
  return encoding, told or _delimiter(lines[begin:]), begin


def _encoding(data):
  if data[:2] in (b'\xff\xfe', b'\xfe\xff'):
    return 'utf-16'
  head = data[:4096]
  if len(head) > 3:  # UTF-16 of Latin letters and digits: each second byte is zero
    for first, encoding in ((1, 'utf-16-le'), (0, 'utf-16-be')):
      zeros = head[first::2].count(0)
      if zeros > 0.9 * len(head[first::2]) and not head[1 - first :: 2].count(0):
        return encoding
  try:
    data.decode('utf-8')
  except UnicodeDecodeError:
    return 'cp932' if _JAPANESE.search(data) and _is_japanese(data) else 'cp1252'
  return 'utf-8'


def _is_japanese(data):
  try:
    data.decode('cp932')
  except UnicodeDecodeError:
    return False
  return True


def parse(text, first=None, columns=None):
  """The table in a text: TextTable.

  Args:
    text: as of `read_text`.
    first: line (from 0) where the numbers begin; None = it is found out.
    columns: instead of what is above the numbers, the names of all columns, or of
      those at the beginning.

  Raises:
    ValueError: there is no table of numbers in it, or it is damaged.
  """
  text = _without_outer_quotes(text)
  head, rest = text[:_NAMES_WITHIN], text[_NAMES_WITHIN:]
  text = _BROKEN_NAME.sub(lambda found: found[0].replace('\n', ' '), head) + rest
  lines = text.split('\n', MAX_PREAMBLE)[:MAX_PREAMBLE]
  delimiter = _told_delimiter(lines) or _delimiter(lines[first or 0 :])
  rows = [cells_of(line, delimiter) for line in lines]
  if (widest := max(map(len, rows))) > _MOST_COLUMNS:
    raise ValueError(f'{widest} cells in a row; make a file of the columns in use')
  longer = (
    () if delimiter == ' ' else {x.count(delimiter) + 1 for x in text.split('\n')}
  )
  begin, headers = find_header(rows, delimiter, lines, longer, first)
  if begin is None:
    raise ValueError(f'no row of numbers in its first {len(lines)} lines')
  body, foot = without_foot(text.split('\n', begin)[begin])
  body, again = _without_headers(lines[:begin], body)
  width = max(map(len, headers), default=0)
  frame, decimal, notes, words = _frame(body, delimiter, lines[begin:], begin, width)
  decimal = decimal if _has_fractions(frame) else ''
  found = [_column(frame.iloc[:, i], decimal) for i in range(frame.shape[1])]
  for column in found:
    require_points(column.values)
  words = words or other_names(found)
  found, more = without_footers(found)
  notes += foot + more
  while len(found) > 1 and _blank(found[-1]) and not any(h[-1] for h in headers):
    found.pop()  # a delimiter at the end of each line
    headers = [header[:-1] for header in headers]
  if columns is not None:
    headers = [[*columns, *[''] * len(found)][: len(found)]]
  headers = [[*header, *[''] * len(found)][: len(found)] for header in headers]
  headers = headers[-_MOST_HEADERS:]
  for header in headers:
    if longest := max(
      (len(name) for name in header if len(name) > _MAX_NAME), default=0
    ):
      raise ValueError(f'a column name of {longest} characters; write a shorter one')
  above = tuple(line[:_MAX_REMARK] for line in lines[:begin])
  return TextTable(headers, found, notes, above, again, decimal, words)


def _without_outer_quotes(text):
  """The lines of a text of which each was put in quotes, as a spreadsheet does."""
  head = text.split('\n', 3)[:3]
  single = all(_OUTER.fullmatch(line) for line in head) and not re.search(
    r'\d', head[0]
  )
  if not single or not any(sign in head[0] for sign in '\t;,'):
    return text
  return '\n'.join(
    line[1:-1].replace('""', '"') if _OUTER.fullmatch(line) else line
    for line in text.split('\n')
  )


def _without_headers(above, body):
  """(body, line from 1 where what is above it comes again, or None).

  The lines that come again are blank in it: the last of those above, and before it
  those that begin alike.
  """
  last = above[-1] if above else ''
  if not re.search(r'[^\W\d_]', last) or f'\n{last}\n' not in body:
    return body, None
  starts = [re.split('[,;\t=:]', line)[0] for line in reversed(above)]
  rows = body.split('\n')
  found = [i for i, row in enumerate(rows) if row == last]
  for i in found:
    for k, start in enumerate(starts):
      if k > i or re.split('[,;\t=:]', rows[i - k])[0] != start:
        break
      rows[i - k] = ''
  return '\n'.join(rows), len(above) + found[0] + 1


def _told_delimiter(lines):
  """That of a line `sep=;`, as spreadsheets understand it, which becomes blank."""
  told = re.fullmatch(r'"?sep=(.)"?', lines[0]) if lines else None
  if told:
    lines[0] = ''
  return told and told[1]


def _delimiter(lines):
  """What parts the cells of most of the lines."""
  lines = [line for line in lines if line.strip()][-20:]

  def most(condition):
    return 2 * sum(bool(condition(line)) for line in lines) > len(lines)

  for sign in '\t;|':
    if most(lambda line, sign=sign: sign in line):
      return sign
  # A decimal comma beside another sign is no delimiter.
  if most(lambda line: ',' in line and not re.search(r'\d,\d+\s+-?\d', line)):
    # Whole numbers do not begin with zeros.
    single = most(lambda line: re.fullmatch(r'\s*[+-]?\d+,\d+\s*', line))
    if single and any(re.fullmatch(r'\s*[+-]?\d+,0\d+\s*', line) for line in lines):
      return '\t'
    return ','
  return ' ' if most(lambda line: re.search(r'\S\s+\S', line)) else ','


def _has_fractions(frame):
  """Whether a column of numbers alone has some that are not whole."""
  columns = (c for _, c in frame.items() if c.dtype.kind == 'f')
  return any((c.dropna() % 1 != 0).any() for c in columns)


def _frame(body, delimiter, lines, begin, width):
  """(DataFrame of at least `width` columns, the decimal sign it was read by, notes)."""
  import pandas

  comma = delimiter != ',' and any(re.search(r'\d,\d', line) for line in lines)
  if any(f'\n{sign}' in body for sign in ('#', '%', '//', ';')):
    body = (_REMARK if delimiter == ';' else _REMARK_TOO).sub('', body)
  body, notes = without_remarks(body, delimiter, lines, width)
  first = next((line for line in body.split('\n') if line.strip()), '')
  wider = len(cells_of(first, delimiter)) < width
  try:
    frame = pandas.read_csv(
      io.StringIO(body),
      sep=r'\s+' if delimiter == ' ' else delimiter,
      decimal=',' if comma else '.',
      header=None,
      names=range(width) if wider else None,
      skipinitialspace=True,
      index_col=False,
      on_bad_lines='error',
      skip_blank_lines=True,
      low_memory=False,
      float_precision=PRECISION if _LONG_EXPONENT.search(body) else None,
    )
  except pandas.errors.ParserError as error:
    found = re.search(r'Expected (\d+) fields in line (\d+), saw (\d+)', str(error))
    if not found:
      raise
    line = begin + int(found[2])
    raise ValueError(
      f'line {line} is longer: the rows above have {found[1]} cells, saw {found[3]}; '
      'mend it, or name a table of numbers with one row a line'
    ) from None
  decimal = ',' if comma else '.'
  if frame.shape[1] < 2:
    return frame, decimal, tuple(notes), ''
  rows = [line for line in body.split('\n') if line.strip()]
  if len(rows) != len(frame):
    raise ValueError(
      f'{len(rows)} lines of numbers make {len(frame)} rows; one has a quote too many'
    )
  words = ''
  if frame.iloc[:, -1].isna().any():
    parts = None if delimiter == ' ' else delimiter
    counts = np.array([len(row.split(parts)) for row in rows])
    short = counts < np.bincount(counts).argmax()
    words = lines_of_words(rows, np.flatnonzero(short).tolist(), delimiter)
    if delimiter != ' ' and '"' not in body and 0 < short.mean() < _FEW_SHORT:
      where = int(np.flatnonzero(short)[0])
      frame = frame.mask(np.repeat(short[:, None], frame.shape[1], axis=1))
      notes.append(
        f'{short.sum()} rows lack cells and count as missing, the first is '
        f'{rows[where][:40]!r}'
      )
  return frame, decimal, tuple(notes), words


def _column(series, decimal=''):
  import pandas

  if pandas.api.types.is_numeric_dtype(series):
    return Column(series.to_numpy(np.float64))
  cells = series.fillna('').astype(str).str.strip()
  values, problem = numbers(cells, decimal)
  return Column(values, cells, problem)


def _blank(column):
  return np.isnan(column.values).all() and (
    column.cells is None or not column.cells.astype(bool).any()
  )


def numbers(cells, decimal=''):
  """Texts (a pandas Series) as (float64 [cell], problem or ''); NaN is no number.

  The decimal sign is found out for all of them together. Both signs in a number, or
  one twice, show which of them parts thousands (1.234,5), as does `decimal`, the sign
  of other columns of the table, beside groups of three digits; else a comma is decimal.
  """
  text = cells.str.replace('\u2212', '-').str.replace(_GROUPED, '', regex=True)
  for thousands, sign in ((',', '.'), ('.', ',')):
    group = re.escape(thousands)
    parted = text.str.contains(f'{group}.*[.,]').any() or (
      decimal == sign and text.str.contains(group).any()
    )
    if parted and (
      text.str.fullmatch(
        rf'[+-]?(\d+|\d{{1,3}}({group}\d{{3}})+)?([{sign}]\d*)?{_EXPONENT}|[^\d]*'
      ).all()
    ):
      text = text.str.replace(thousands, '', regex=False)
      text = text.str.replace(sign, '.', regex=False)
      break
  commas = text.str.fullmatch(rf'[+-]?\d*,\d*{_EXPONENT}')
  points = text.str.fullmatch(rf'[+-]?\d*\.\d*{_EXPONENT}')
  if commas.any() and points.any():
    return np.full(len(cells), np.nan), (
      f'decimal commas and decimal points in one column, {text[commas].iloc[0]} and '
      f'{text[points].iloc[0]}; write all alike'
    )
  text = text.mask(commas, text.str.replace(',', '.', regex=False))
  values = np.full(len(cells), np.nan)
  good = text.str.fullmatch(
    rf'[+-]?(?:\d+(?:\.\d*)?|\.\d+){_EXPONENT}|[+-]?inf', case=False
  )
  # By Python, for pandas' own crashes of an exponent that is too long.
  values[good] = [float(x) for x in text[good]]
  return values, ''
