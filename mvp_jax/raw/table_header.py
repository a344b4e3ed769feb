"""Finds where in a table of text the numbers begin, and the names above them."""

import collections
import re

_NUMBER = re.compile(
  r'[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|[+-]?(nan|inf)', re.I
)
# A cell that is a date or time of day is no name, either.
_TIME = re.compile(r'\d{1,4}([-/.:])\d{1,2}\1\d{1,4}(?!\d).*|\d{8}T\d{6}.*')
_MISSING = re.compile(r'-*|[.?]|n/?a|null|none|missing|#[A-ZÀ-Þ0-9/]+[!?]?', re.I)
_LABCHART = re.compile(r'(ChannelTitle|Range|UnitName|TopValue|BottomValue)=')
_REMARKS = ('#', '%', '/')  # begin a remark
_BEFORE = 5  # rows of numbers that may stand above the names


def is_number(cell):
  """Whether a cell is a number, with either decimal sign."""
  return bool(_NUMBER.fullmatch(cell))


def is_missing(cell):
  """Whether a cell is blank, or what is written where there is no number."""
  return bool(_MISSING.fullmatch(cell))


def is_value(cell):
  """Whether a cell is a number, a date or a time of day."""
  return is_number(cell) or bool(_TIME.fullmatch(cell))


def find_header(rows, delimiter, lines, longer=(), first=None):
  """Where the numbers begin, and the names: (row or None, rows of names right above).

  Numbers look like most rows do; names have as many cells and none that is a number.

  Args:
    rows: cells of the first rows.
    delimiter: between them.
    lines: of text, of which `rows` are the cells.
    longer: numbers of cells of further rows, which names may have, too.
    first: the row where the numbers begin; None = it is found out.

  Raises:
    ValueError: commas may part the cells or be decimal signs, or columns have numbers
      for names.
  """
  numbers = [tuple(map(is_number, row)) for row in rows]
  patterns = collections.Counter(n for n in numbers[first or 0 :] if any(n))
  if not patterns:
    return None, []
  usual = patterns.most_common(1)[0][0]
  told = first is not None
  if not told:
    first = next(
      i
      for i, n in enumerate(numbers)
      if len(n) == len(usual)
      and sum(a and b for a, b in zip(n, usual, strict=True)) > sum(usual) / 2
    )
  alike = [i for i, n in enumerate(numbers) if n == usual]
  counted = None if told else _counted_from(rows, first)
  if counted == 0:
    raise ValueError(
      'its columns are called 0, 1, ...; give them names of letters, for 1 may mean '
      'the first and the second'
    )
  if counted == 1:
    return first + 1, [rows[first]]
  rows = _of_as_many(rows, delimiter, lines, len(usual), alike)
  ends = 0  # blank cells behind the numbers, as of a delimiter at the end
  while ends < len(usual) - 1 and not any(rows[i][-1 - ends] for i in alike):
    ends += 1

  def fits(place):
    row = rows[place]
    # Names do not come twice, as labels beside blanks do.
    if len(row) > 1 and row in (
      *rows[max(0, place - 1) : place],
      *rows[place + 1 :][:1],
    ):
      return False
    width = len(row)
    while width and not row[width - 1]:
      width -= 1
    wide = len(usual) - ends <= len(row) <= len(usual)
    wide |= len(row) > len(usual) and len(row) in longer
    some = not all(map(is_missing, row))
    return width and wide and some and not any(map(is_value, row))

  def named(row):
    return row and not any(map(is_value, row)) and any(map(str.isalpha, ''.join(row)))

  def bare(row):
    """Whether it is a line that parts, such as a blank one."""
    return len(row) != len(usual) and not any(map(str.isalnum, ''.join(row)))

  # Between the names and the first numbers may be rows that lack some.
  names = first
  while (
    not told and names and len(rows[names - 1]) == len(usual) and not fits(names - 1)
  ):
    names -= 1
  while names and bare(rows[names - 1]):
    names -= 1
  if names and fits(names - 1):
    while first > names and len(rows[first - 1]) == len(usual):
      first -= 1
  else:
    names = first
    for place in (
      range(first + 1, min(first + _BEFORE + 1, len(rows) - 1))
      if (not told and len(usual) > 1)
      else ()
    ):
      if fits(place) and named(rows[place]) and len({*rows[place]}) == len(rows[place]):
        names = first = place + 1
  above = names
  while (
    above
    and fits(above - 1)
    and not rows[above - 1][0].startswith(_REMARKS)
    and abs(len(rows[above - 1]) - len(rows[names - 1])) <= 1
  ):
    above -= 1
  headers = rows[above:names]
  before = rows[first - 1] if first and not headers and not told else []
  whole = not any('.' in cell for i in alike for cell in rows[i])
  if delimiter == ',' and whole and 2 * len(before) == len(usual) and named(before):
    raise ValueError(
      f'its rows have {len(usual)} cells and {len(before)} names: are its commas '
      'decimal signs, too? Part the cells with ; or write decimal points'
    )
  if delimiter == ',' and whole and usual == (True, True) and not (headers or told):
    raise ValueError(
      'its rows may be of two whole numbers or of one with a decimal comma; write the '
      'names of the columns above (EDA,PPG), or decimal points'
    )
  if not headers and first and rows[first - 1] and rows[first - 1][0][:1] in _REMARKS:
    own = [rows[first - 1][0].lstrip('#%/ '), *rows[first - 1][1:]]
    own = own[1:] if not own[0] and len(own) == len(usual) + 1 else own
    rows = [own]
    headers = rows if fits(0) else []
  width = max(map(len, (usual, *headers)))
  return first, [[*names, *[''] * (width - len(names))] for names in headers]


def _counted_from(rows, first):
  """Where a first row above numbers with fractions counts columns: from 0, 1, or None.

  Programs write such names where there are none.
  """
  names = rows[first][not rows[first][0] :]
  below = [cell for row in rows[first + 1 : first + 4] for cell in row]
  if len(names) < 2 or not any('.' in cell or ',' in cell for cell in below):
    return None
  counts = (begin for begin in (0, 1) if names == _counts(begin, len(names)))
  return next(counts, None)


def _counts(begin, count):
  return [str(begin + i) for i in range(count)]


def _of_as_many(rows, delimiter, lines, width, alike):
  """Rows, of which names that are parted otherwise have as many cells as the numbers.

  Between columns of even width names have two spaces, for one may be part of a name. R
  gives no name to a column of row names, which are in quotes.
  """
  rows = list(rows)
  quoted = alike and all(lines[i].startswith('"') for i in alike)
  titles = next((len(row) for row in rows if row[:1] == ['ChannelTitle=']), 0)
  for i, row in enumerate(rows):
    if len(row) == width:
      continue
    if (
      delimiter == ' ' and len(names := re.split(r'\s{2,}', lines[i].strip())) == width
    ):
      rows[i] = names
    elif quoted and len(row) == width - 1 and lines[i].startswith('"'):
      rows[i] = ['', *row]
    elif 0 < len(row) == titles < width and _LABCHART.match(row[0]):  # beside dates
      rows[i] = [row[0], *[''] * (width - titles), *row[1:]]
  return rows
