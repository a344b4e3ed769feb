import numpy as np
import pandas
import pytest

from mvp_jax.raw.text_table import layout, numbers, parse, read_text


@pytest.mark.parametrize(
  'cells, expected',
  [
    (['5,01', '-', '5,02'], [5.01, np.nan, 5.02]),
    (['5.01', 'lost', ''], [5.01, np.nan, np.nan]),
    (['1.234,5', '5,1', '7'], [1234.5, 5.1, 7]),
    (['1,234.5', '5.1', '12'], [1234.5, 5.1, 12]),
    (['1,234,567', '12'], [1234567, 12]),
    (['4 133,25', '990,5'], [4133.25, 990.5]),
    (["4'133.25", '1’200'], [4133.25, 1200]),  # noqa: RUF001
    (['1\u202f234,5', '\u22125,2E-3'], [1234.5, -0.0052]),
    (['5.0.3', '5.1'], [np.nan, 5.1]),  # a damaged cell parts no thousands
    (['5,0.3', '5.1'], [np.nan, 5.1]),
    # pandas' own readers of numbers crash of it.
    (['5996160e2380195170', '5.1'], [np.inf, 5.1]),
    (['1_000', '0x10', '1e', 'inf'], [np.nan, np.nan, np.nan, np.inf]),
  ],
)
def test_numbers_cell_by_cell(cells, expected):
  values, problem = numbers(pandas.Series(cells))
  assert not problem
  np.testing.assert_allclose(values, expected)


def test_both_decimal_signs_are_a_problem():
  values, problem = numbers(pandas.Series(['5,1', '6.1', '7']))
  assert np.isnan(values).all() and '5,1 and 6.1' in problem


def test_an_exponent_that_is_too_long():
  table = parse('a,b\n1,2\n3,5996160e2380195170\n5,6\n')
  np.testing.assert_array_equal(table.columns[0].values, [1, 3, 5])
  assert table.columns[1].values[[0, 2]].tolist() == [2, 6]


@pytest.mark.parametrize(
  'text, headers, first',
  [
    ('a,b\n1,2\n3,4\n', [['a', 'b']], [1, 3]),
    ('"sep=;"\na;b\nms;uS\n1,5;2\n3,5;4\n', [['a', 'b'], ['ms', 'uS']], [1.5, 3.5]),
    ('a;b;\n1;2;\n3;4;\n', [['a', 'b']], [1, 3]),  # a delimiter at the end
    ('a,b\n1,2,\n3,4,\n', [['a', 'b']], [1, 3]),  # of the numbers alone
    ('# a b\n1 2\n3 4\n', [['a', 'b']], [1, 3]),
    ('EDA\n5,0025\n6,0125\n', [['EDA']], [5.0025, 6.0125]),
    ('x 3\ny 4\n\na|b\n1|2\n3|4\n5|6\n', [['a', 'b']], [1, 3, 5]),
    ('1\t2\n3\t4\n', [], [1, 3]),
  ],
)
def test_delimiters_and_headers(text, headers, first):
  table = parse(text)
  assert table.headers == headers
  np.testing.assert_array_equal(table.columns[0].values, first)


def test_rows_that_lack_cells_are_missing_and_told():
  rows = [f'{i},{i + 0.5},{i + 0.25}' for i in range(40)]
  rows[7], rows[9] = '7,7.25', 'signal lost'
  table = parse('\n'.join(['t,a,b', *rows, '']))
  values = np.stack([column.values for column in table.columns])
  assert np.isnan(values[:, [7, 9]]).all()
  assert np.isfinite(np.delete(values, [7, 9], axis=1)).all()
  assert '2 rows lack cells' in table.notes[0] and '7,7.25' in table.notes[0]


@pytest.mark.parametrize(
  'text, told',
  [
    ('a,b\n', 'no row of numbers'),
    ('a,b\n1,2\n1,"2\n1,"2\n1,2\n', 'a quote too many'),
    ('a,b\n1,2\n1,2,3\n', 'saw 3'),
  ],
)
def test_damage_is_told(text, told):
  with pytest.raises(ValueError, match=told):
    parse(text)


@pytest.mark.parametrize(
  'encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be', 'cp1252']
)
def test_encodings(tmp_path, encoding):
  path = tmp_path / 'a.csv'
  path.write_bytes('EDA (µS)\r\n5,1\r\n'.encode(encoding))
  assert read_text(path) == 'EDA (µS)\n5,1\n'


def test_zero_bytes_are_no_text(tmp_path):
  path = tmp_path / 'a.csv'
  path.write_bytes(b'EDA\n5.1\n' + bytes(20) + b'5.2\n')
  with pytest.raises(ValueError, match='not a text file'):
    read_text(path)


BLANK = {
  'blank': ',',
  'marks': 'NA,-',
  'spreadsheet': '#N/A,#WERT!',
  'one': '5.5,',
  'label': 'rest,',
}


@pytest.mark.parametrize('blank', BLANK)
def test_rows_before_the_first_numbers_are_missing(blank):
  table = parse('EDA,PPG\n' + 50 * (BLANK[blank] + '\n') + 90 * '1,2\n')
  assert table.headers == [['EDA', 'PPG']]
  assert [len(column.values) for column in table.columns] == [140, 140]
  assert np.isnan(table.columns[1].values[:50]).all()
  assert table.columns[1].values[50] == 2


def test_a_time_of_day_is_no_name():
  rows = [f'2026-03-29T10:00:{k:02d},{"" if k < 20 else k}' for k in range(60)]
  table = parse('time,EDA\n' + '\n'.join(rows) + '\n')
  assert table.headers == [['time', 'EDA']]
  assert len(table.columns[1].values) == 60


@pytest.mark.parametrize('between', ['\n', '-----\n', '\n\n'])
def test_lines_between_names_and_numbers(between):
  table = parse(f'Log of 8 Hz\nTemp,EDA\n{between}' + 9 * '1,2\n')
  assert table.headers == [['Temp', 'EDA']] and len(table.columns[0].values) == 9


def test_errors_of_spreadsheets_are_no_remarks():
  table = parse('a,b\n1,2\n#N/A,2\n#DIV/0!,2\n# a remark, of mine\n1,2\n')
  np.testing.assert_array_equal(table.columns[0].values, [1, np.nan, np.nan, 1])


def test_a_header_that_comes_again_is_told():
  head = 'Interval=\t0.01 s\nTime=\t{}\nChannel=\tEDA\n'
  rows = ''.join(f'{k}\t{k}.5\n' for k in range(5))
  table = parse(head.format('10:00') + rows + head.format('10:05') + rows)
  assert table.again == 11
  assert table.columns[0].values.tolist() == [*range(5), *range(5)]
  assert parse(head.format('10:00') + rows).again is None


def test_commas_that_are_both_signs():
  with pytest.raises(ValueError, match='rows have 4 cells and 2 names: are its commas'):
    parse('EDA,PPG\n' + 9 * '5,12,0,33\n')


@pytest.mark.parametrize('begin', ['', '\ufeff', 'sep=;\r\n', '\ufeffsep=;\r\n'])
def test_where_the_names_are_however_a_spreadsheet_begins_the_file(begin):
  data = (begin + 'a b;c\r\n1;2\r\n3;4\r\n').encode()
  assert layout(data) == ('utf-8', ';', int('sep' in begin))


def test_as_many_rows_as_a_spreadsheet_saves_may_be_cut(tmp_path):
  path = tmp_path / 'a.csv'
  path.write_text('EDA\n' + '5\n' * 1_048_575)
  with pytest.raises(
    ValueError, match='truncated. It has 1048576 lines, the most that'
  ):
    read_text(path)
  path.write_text('EDA\n' + '5\n' * 1_048_574)
  assert read_text(path).startswith('EDA')
