import csv
import io

from mvp_jax.evaluation import tables
from mvp_jax.evaluation.statistics import Difference, Estimate

HEADER = ['target', 'model_1', 'F1', 'gain']
ROWS = [['valence', 'a&b_{x}', Estimate(.5, .25, .75),
         Difference(.1, 0., .2, .01, .03)],
        ['valence', '50 % ~ c', .125, ''],
        ['arousal', 'd', float('nan'), '[x]']]


def test_csv_has_all_digits_in_columns_of_their_own():
  table = list(csv.reader(io.StringIO(tables.to_csv(HEADER, ROWS))))
  assert table == [
      ['target', 'model_1', 'F1', 'F1 low', 'F1 high', 'gain', 'gain low', 'gain high',
       'gain p', 'gain p holm'],
      ['valence', 'a&b_{x}', '0.5', '0.25', '0.75', '0.1', '0.0', '0.2', '0.01',
       '0.03'],
      ['valence', '50 % ~ c', '0.125', '', '', '', '', '', '', ''],
      ['arousal', 'd', '', '', '', '[x]', '', '', '', '']]


def test_latex_is_escaped_and_ruled():
  assert tables.to_latex(HEADER, ROWS).splitlines() == [
      '% \\usepackage{booktabs}', '\\begin{tabular}{llrr}', '\\toprule',
      'target & model\\_1 & F1 & gain \\\\', '\\midrule',
      'valence & a\\&b\\_\\{x\\} & .500 [.250, .750] & '
      '+.100 [.000, .200], p~=~.030 \\\\',
      'valence & 50 \\% \\textasciitilde{} c & .125 &  \\\\', '\\midrule',
      'arousal & d & n/a & {[x]} \\\\', '\\bottomrule', '\\end{tabular}']


def test_no_rows_and_both_files(tmp_path):
  tables.write_table(tmp_path / 'tables', 'x', HEADER, [])
  assert (tmp_path / 'tables' / 'x.csv').read_text() == ','.join(HEADER) + '\n'
  assert 'bottomrule' in (tmp_path / 'tables' / 'x.tex').read_text()
