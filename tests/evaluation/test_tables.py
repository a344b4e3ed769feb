import csv
import dataclasses
import io
import re

import pytest

from mvp_jax.evaluation import score_sections, tables
from mvp_jax.evaluation.results import evaluate
from mvp_jax.evaluation.statistics import Difference, Estimate

HEADER = ['target', 'model_1', 'F1', 'gain']
ROWS = [
  [
    'valence',
    'a&b_{x}',
    Estimate(0.5, 0.25, 0.75),
    Difference(0.1, 0.0, 0.2, 0.01, 0.03),
  ],
  ['valence', '50 % ~ c', 0.125, ''],
  ['arousal', 'd', float('nan'), '[x]'],
]


def test_csv_has_all_digits_in_columns_of_their_own():
  table = list(csv.reader(io.StringIO(tables.to_csv(HEADER, ROWS))))
  assert table == [
    [
      'target',
      'model_1',
      'F1',
      'F1 low',
      'F1 high',
      'gain',
      'gain low',
      'gain high',
      'gain p',
      'gain p holm',
    ],
    ['valence', 'a&b_{x}', '0.5', '0.25', '0.75', '0.1', '0.0', '0.2', '0.01', '0.03'],
    ['valence', '50 % ~ c', '0.125', '', '', '', '', '', '', ''],
    ['arousal', 'd', '', '', '', '[x]', '', '', '', ''],
  ]


def test_latex_is_escaped_and_ruled():
  assert tables.to_latex(HEADER, ROWS).splitlines() == [
    '% \\usepackage{booktabs}',
    '\\begin{tabular}{llrr}',
    '\\toprule',
    'target & model\\_1 & F1 & gain \\\\',
    '\\midrule',
    'valence & a\\&b\\_\\{x\\} & .500 [.250, .750] & +.100 [.000, .200], p~=~.030 \\\\',
    'valence & 50 \\% \\textasciitilde{} c & .125 &  \\\\',
    '\\midrule',
    'arousal & d & n/a & {[x]} \\\\',
    '\\bottomrule',
    '\\end{tabular}',
  ]


def test_no_rows_and_both_files(tmp_path):
  tables.write_table(tmp_path / 'tables', 'x', HEADER, [])
  assert (tmp_path / 'tables' / 'x.csv').read_text() == ','.join(HEADER) + '\n'
  assert 'bottomrule' in (tmp_path / 'tables' / 'x.tex').read_text()


_KNOWN = {'\\textbackslash', '\\textasciitilde', '\\textasciicircum', '\\pm', '\\dots'}
_EVIL = r'*50 % #1_a & {b} $x^2$ ~c~ \input{d} <e> [f] |g| − ± –'  # noqa: RUF001


def _read_latex(text):
  """The cells of a table, as strictly as TeX reads them: a list of lists.

  By the rules of the TeXbook, chapters 3 and 7 (characters that have a meaning), of
  LaTeX's tabular and of booktabs; independent of the code that writes.
  """
  comment, begin, *lines, end = text.removesuffix('\n').split('\n')
  assert comment == '% \\usepackage{booktabs}' and end == '\\end{tabular}'
  columns = re.fullmatch(r'\\begin\{tabular\}\{([lr]+)\}', begin)[1]
  assert (lines[0], lines[2], lines[-1]) == ('\\toprule', '\\midrule', '\\bottomrule')
  rows = []
  for line in lines[1:-1]:
    if line == '\\midrule':
      continue
    assert line.endswith(' \\\\') and line[0] not in '[*'
    rows.append([''])
    depth, maths = 0, False
    for token in re.findall(r'\\[a-zA-Z]+|\\.|.', line.removesuffix(' \\\\')):
      if token == '&':
        assert not depth and not maths
        rows[-1].append('')
        continue
      assert token not in ('%', '#', '_', '^', '\\') and token.isprintable(), line
      if token[0] == '\\':
        assert token in _KNOWN or token[1:] in {*'{}&%$#_'}, token
      elif token == '$':
        maths = not maths
      elif token in '{}':
        depth += 1 if token == '{' else -1
      else:
        assert maths or token not in '<>|', 'another character in text'
      assert depth >= 0
      rows[-1][-1] += token
    assert not depth and not maths
    assert len(rows[-1]) == len(columns)
  return [[cell.strip() for cell in row] for row in rows]


def test_latex_is_what_tex_reads(tmp_path, predictions):
  names = {'video': _EVIL, 'fusion': 'fusion', 'class_prior': 'class_prior'}
  rows = [
    dataclasses.replace(
      row, model=names[row.model], dataset='a_b', target=f'{row.target}_% {_EVIL[5:]}'
    )
    for row in predictions
    if row.model in names
  ]
  score_sections.write_tables(tmp_path, evaluate(rows, resamples=10))
  for name in ('scores', 'comparisons', 'intervals', 'subjects', 'seeds'):
    with (tmp_path / f'{name}.csv').open(newline='') as file:
      plain = list(csv.reader(file))
    found = _read_latex((tmp_path / f'{name}.tex').read_text())
    assert len(found) == len(plain) > 1
    for cells, row in zip(found, plain, strict=True):  # texts are the first columns
      text = (
        re.sub(r'\$([<>|])\$', r'\1', cells[0])
        .replace('$-$', '−')
        .replace('$\\pm$', '±')
        .replace('--', '–')
        .replace('{}', '')
      )  # noqa: RUF001
      for command, meant in (
        ('\\textasciitilde', '~'),
        ('\\textasciicircum', '^'),
        ('\\textbackslash', '\\'),
      ):
        text = text.replace(command, meant)
      assert re.sub(r'\\([{}&%$#_])', r'\1', text) == row[0]


@pytest.mark.parametrize(
  'row',
  [
    '[x] & b \\\\',
    '* & b \\\\',
    'a_b & c \\\\',
    'a % & c \\\\',
    'a \\\\',
    'a & b & c \\\\',
    'a & {b \\\\',
    'a & b} \\\\',
    'a & $b \\\\',
    'a & \\x b \\\\',
    'a < b & c \\\\',
    'a & b',
  ],
)
def test_the_reading_is_strict(row):
  text = tables.to_latex(['a', 'b'], [['x', 'y']])
  assert _read_latex(text) == [['a', 'b'], ['x', 'y']]
  with pytest.raises(AssertionError):
    _read_latex(text.replace('x & y \\\\', row))
