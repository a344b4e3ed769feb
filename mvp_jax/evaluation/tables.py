"""Tables as files: CSV to compute with, LaTeX (booktabs) to paste into a paper."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from mvp_jax.evaluation.statistics import Difference, Estimate
from mvp_jax.evaluation.summary import shown
from mvp_jax.files import atomic_write

_TEX = str.maketrans(
  {c: rf'\{c}' for c in '{}&%$#_'}
  | {c: f'${c}$' for c in '<>|'}
  | {'\\': r'\textbackslash{}', '~': r'\textasciitilde{}', '^': r'\textasciicircum{}'}
  | {'−': '$-$', '±': r'$\pm$', '–': '--', '…': r'\dots{}', '\u00a0': '~'}
)
# In CSV a cell of these becomes several columns: what is added to the header, and what
# stands below it.
_ESTIMATE = {'': 'value', 'low': 'low', 'high': 'high'}
_PARTS = {
  Estimate: _ESTIMATE,
  Difference: _ESTIMATE | {'p': 'p', 'p holm': 'corrected'},
}


def write_table(
  folder: Path, name: str, header: Sequence[str], rows: Sequence[Sequence]
):
  """Writes folder/name.csv and folder/name.tex.

  Cells are text, whole numbers, scores (float; NaN: none), Estimates or Differences.
  In CSV a column of the latter becomes several: `x`, `x low`, `x high` and, of a
  Difference, `x p` and `x p holm`; numbers have all their digits.
  """
  for suffix, form in {'.csv': to_csv, '.tex': to_latex}.items():
    with atomic_write(Path(folder) / f'{name}{suffix}') as part:
      part.write_text(form(header, rows), 'utf-8', newline='')


def to_csv(header, rows) -> str:
  """See `write_table`."""
  parts = [
    max((_PARTS.get(type(row[i]), {'': ''}) for row in rows), key=len, default={'': ''})
    for i in range(len(header))
  ]
  text = io.StringIO(newline='')
  writer = csv.writer(text, lineterminator='\n')
  columns = list(zip(header, parts, strict=True))
  writer.writerow([f'{name} {part}'.rstrip() for name, of in columns for part in of])
  for row in rows:
    cells = zip(row, parts, strict=True)
    writer.writerow([x for cell, of in cells for x in _values(cell, len(of))])
  return text.getvalue()


def to_latex(header, rows) -> str:
  """See `write_table`. Needs the package booktabs; a rule parts first-column groups."""
  text = [all(isinstance(row[i], str) for row in rows) for i in range(len(header))]
  lines = [
    '% \\usepackage{booktabs}',
    f'\\begin{{tabular}}{{{"".join("l" if t else "r" for t in text)}}}',
    '\\toprule',
    _tex_row(header),
    '\\midrule',
  ]
  for i, row in enumerate(rows):
    if i and len(row) > 1 and text[0] and text[1] and row[0] != rows[i - 1][0]:
      lines.append('\\midrule')
    lines.append(_tex_row(map(shown, row)))
  return '\n'.join([*lines, '\\bottomrule', '\\end{tabular}', ''])


def _tex_row(cells):
  # A bracket or star that opens a row would be read as an option of the \\ before it.
  escaped = [str(cell).translate(_TEX) for cell in cells]
  return (
    ' & '.join(f'{{{c}}}' if c.startswith(('[', '*')) else c for c in escaped) + r' \\'
  )


def _values(cell, length):
  values = [cell]
  if type(cell) in _PARTS:
    values = [getattr(cell, name) for name in _PARTS[type(cell)].values()]
  values += [''] * (length - len(values))
  return ['' if isinstance(x, float) and math.isnan(x) else x for x in values]
