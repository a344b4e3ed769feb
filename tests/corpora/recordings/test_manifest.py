import math

import pytest

from mvp_jax.corpora.recordings.manifest import read_manifest
from mvp_jax.errors import InputError

HEADER = [
  'subject',
  'trial',
  'stimulus',
  'video',
  'signals',
  'rate',
  'eda',
  'valence',
  'arousal',
]
ROWS = [
  ['P01', '1', 'calm', 'a.mp4', 'a.csv', '128', 'EDA', '2.5', '7'],
  ['P01', '2', 'joy', 'b.mp4', 'b.csv', '128', 'EDA', '8', '1'],
  ['P10', '1', 'calm', 'c.mp4', 'c.csv', '128', '3', '5', '5'],
]


@pytest.fixture
def manifest(tmp_path):
  """Function: writes a manifest and reads it."""

  def read(rows=ROWS, header=HEADER, delimiter=',', encoding='utf-8', end='\n'):
    path = tmp_path / 'manifest.csv'
    lines = [delimiter.join(row) for row in [header, *rows]]
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return read_manifest(path)

  return read


def changed(row, column, value):
  """`ROWS` with one cell changed; `row` as a spreadsheet counts."""
  rows = [list(r) for r in ROWS]
  rows[row - 2][HEADER.index(column)] = value
  return rows


def told(found):
  return [(p.row, p.column, p.code) for p in found.problems]


def test_rows_become_recordings(manifest, tmp_path):
  found = manifest()
  assert found.rows == 3 and not found.problems and not found.notes
  assert found.channels == ('eda',)
  first, second, third = found.recordings
  assert [r.trial_id for r in found.recordings] == [
    'P01_trial01',
    'P01_trial02',
    'P10_trial01',
  ]
  assert [r.subject % 1000 for r in found.recordings] == [1, 1, 10]
  assert first.stimulus == third.stimulus != second.stimulus
  assert (first.row, first.video, first.video_onset) == (2, tmp_path / 'a.mp4', 0)
  source = third.channels['eda']
  assert (source.file, source.column, source.rate) == (tmp_path / 'c.csv', '3', 128)
  assert second.ratings['valence'] == 8 and math.isnan(second.ratings['liking'])
  assert first.signals_onset is None and first.duration is None


def test_numbers_as_names_stay(manifest):
  found = manifest(
    [
      ['7', '1', '30', 'a.mp4', '', '', '', '2', '3'],
      ['12', '1', '4', 'b.mp4', '', '', '', '2', '3'],
    ]
  )
  assert [(r.subject, r.stimulus) for r in found.recordings] == [(7, 30), (12, 4)]


def test_a_person_has_one_number_in_all_manifests(manifest):
  def numbers(*names):
    found = manifest(
      [[name, '1', '', f'{name}.mp4', '', '', '', '2', '3'] for name in names]
    )
    assert not found.problems
    return {r.subject_name: r.subject for r in found.recordings}

  few = numbers('P9', 'Eva', 'D9')
  many = numbers('Anna', 'P10', 'P9', 'Eva', 'D10', 'D9', '17')
  assert few.items() <= many.items() and len(set(many.values())) == 7
  assert many['17'] == 17 and many['P9'] % 1000 == 9 and many['D10'] % 1000 == 10
  assert all(0 <= number < 2**31 for number in many.values())


def test_trials_without_a_number_are_counted(manifest):
  rows = [[*row[:1], '', *row[2:]] for row in ROWS]
  assert [r.trial for r in manifest(rows).recordings] == [1, 2, 1]
  assert told(manifest(changed(3, 'trial', ''))) == [(3, 'trial', 'manifest')]


@pytest.mark.parametrize(
  'delimiter, encoding, end',
  [(';', 'utf-8-sig', '\r\n'), ('\t', 'utf-16', '\n'), (',', 'utf-8-sig', '\n')],
)
def test_as_spreadsheets_save_it(manifest, delimiter, encoding, end):
  rows = [
    [
      cell.replace('.5', ',5') if delimiter != ',' and cell == '2.5' else f' {cell} '
      for cell in row
    ]
    for row in ROWS
  ]
  header = [name.upper() for name in HEADER]
  blank = [''] * len(HEADER)
  found = manifest([rows[0], blank, *rows[1:], blank], header, delimiter, encoding, end)
  assert not found.problems
  assert [r.row for r in found.recordings] == [2, 4, 5]
  assert found.recordings[0].ratings['valence'] == 2.5


def test_a_windows_path(manifest, tmp_path):
  found = manifest(changed(2, 'video', 'P01\\a.mp4'))
  assert found.recordings[0].video == tmp_path / 'P01' / 'a.mp4'


def test_other_scales_become_1_to_9(manifest):
  header = [*HEADER, 'rating_min', 'rating_max']
  rows = [
    [*row[:-2], rating, '0', '-1', '1']
    for row, rating in zip(ROWS, ('-1', '0', '0.5'), strict=True)
  ]
  rows[2][-3:] = '4', '1', '7'
  rows[2][-4] = '7'
  found = manifest(rows, header)
  assert not found.problems
  assert [r.ratings['valence'] for r in found.recordings] == [1, 5, 9]
  assert [r.ratings['arousal'] for r in found.recordings] == [5, 5, 5]


def test_channels_of_their_own_files_and_rates(manifest, tmp_path):
  found = manifest(
    [['A', 'shared.csv', '4', 'EDA', '2', 'heart.edf', '256', 'kohm']],
    ['subject', 'signals', 'rate', 'eda', 'ecg', 'ecg_file', 'ecg_rate', 'eda_unit'],
  )
  eda, ecg = (found.recordings[0].channels[name] for name in ('eda', 'ecg'))
  assert (eda.file, eda.rate, eda.unit) == (tmp_path / 'shared.csv', 4, 'kohm')
  assert (ecg.file, ecg.rate, ecg.unit) == (tmp_path / 'heart.edf', 256, '')


@pytest.mark.parametrize(
  'row, column, value, code',
  [
    (3, 'subject', '', 'manifest'),
    (3, 'trial', 'two', 'manifest'),
    (3, 'trial', '1', 'manifest'),
    (3, 'trial', '1.5', 'manifest'),
    (4, 'trial', '0', 'manifest'),
    (4, 'rate', 'fast', 'manifest'),
    (4, 'rate', '-4', 'manifest'),
    (4, 'rate', 'inf', 'manifest'),
    (2, 'valence', '', 'missing_rating'),
    (2, 'arousal', 'n/a', 'missing_rating'),
    (2, 'valence', 'high', 'bad_rating'),
    (4, 'arousal', '10', 'bad_rating'),
    (4, 'subject', 'p1', 'manifest'),
    (4, 'subject', 'P 01', 'manifest'),
    (3, 'video', 'a.mp4', 'manifest'),
  ],
)
def test_one_wrong_cell_is_named(manifest, row, column, value, code):
  found = manifest(changed(row, column, value))
  assert told(found) == [(row, column, code)]
  if code == 'manifest':
    assert row not in [r.row for r in found.recordings]
    line = f'row {row}, column {column}: .*recordings.check'
    with pytest.raises(InputError, match=line):
      found.require()
  else:  # the trial can be left out
    found.require()


def test_all_that_is_wrong_is_told(manifest):
  rows = changed(2, 'rate', 'x')
  rows[1][HEADER.index('valence')] = '12'
  rows[2][HEADER.index('trial')] = '?'
  found = manifest(rows)
  assert told(found) == [
    (2, 'rate', 'manifest'),
    (3, 'valence', 'bad_rating'),
    (4, 'trial', 'manifest'),
  ]
  with pytest.raises(InputError, match='and 1 more'):
    found.require()


def test_half_a_description_of_a_channel(manifest):
  assert told(manifest(changed(2, 'signals', ''))) == [(2, 'eda', 'manifest')]
  rows = [['A', 'a.csv', '', '64'], ['B', '', 'EDA', '']]
  found = manifest(rows, ['subject', 'signals', 'eda', 'eda_rate'])
  assert told(found) == [
    (2, 'signals', 'manifest'),
    (2, 'eda', 'manifest'),
    (3, 'eda', 'manifest'),
  ]


def test_one_signal_for_two_channels(manifest):
  found = manifest([['A', 'a.csv', 'x', 'x']], ['subject', 'signals', 'eda', 'ppg'])
  assert told(found) == [(2, 'ppg', 'manifest')]


@pytest.mark.parametrize(
  'scale, column',
  [
    (['', '9'], 'rating_min'),
    (['1', ''], 'rating_max'),
    (['9', '1'], 'rating_max'),
    (['low', '9'], 'rating_min'),
  ],
)
def test_a_wrong_scale(manifest, scale, column):
  rows = [[*ROWS[0], *scale]]
  found = manifest(rows, [*HEADER, 'rating_min', 'rating_max'])
  assert told(found) == [(2, column, 'manifest')]


def test_a_scale_for_each_rating(manifest):
  header = [*HEADER, 'rating_min', 'rating_max', 'arousal_min', 'arousal_max']
  rows = [[*row, '1', '9', '0', '100'] for row in ROWS]
  rows[2][-2:] = '', ''  # this one as the others
  found = manifest(rows, header)
  assert not found.problems
  told = [(r.ratings['valence'], r.ratings['arousal']) for r in found.recordings]
  assert told == [(2.5, pytest.approx(1.56)), (8, pytest.approx(1.08)), (5, 5)]
  valence, arousal = found.answers
  assert str(valence) == 'valence: 2.5 to 8 on the scale 1 to 9, 33% high (3)'
  assert str(arousal).startswith('arousal: 1 to 7 on the scale 0 to 100 or 1 to 9, 0%')
  assert not valence.note and not arousal.note


@pytest.mark.parametrize(
  'scale, column',
  [
    (['1', ''], 'arousal_max'),
    (['9', '1'], 'arousal_max'),
    (['x', '2'], 'arousal_min'),
  ],
)
def test_a_wrong_scale_of_one_rating(manifest, scale, column):
  found = manifest([[*ROWS[0], *scale]], [*HEADER, 'arousal_min', 'arousal_max'])
  assert told(found) == [(2, column, 'manifest')]


def test_an_answer_outside_of_its_own_scale(manifest):
  (problem,) = manifest(
    [[*ROWS[0], '1', '5']], [*HEADER, 'arousal_min', 'arousal_max']
  ).problems
  assert (problem.column, problem.code) == ('arousal', 'bad_rating')
  assert '7 is outside of 1 to 5 (columns arousal_min and arousal_max' in str(problem)


def test_a_scale_that_nobody_told_is_remarked_on(manifest):
  valence, arousal = manifest().answers
  assert not valence.note  # up to 8: the scale is at least that long
  assert 'no answer is above 7' in arousal.note and 'arousal_max' in arousal.note


def test_a_blank_rating_costs_what_is_trained_on_it_alone(manifest, tmp_path):
  assert told(manifest(changed(3, 'valence', ''))) == [(3, 'valence', 'missing_rating')]
  path = tmp_path / 'manifest.csv'
  for required in ((), ('arousal',), ('arousal', 'liking')):
    found = read_manifest(path, required)
    assert not found.problems and len(found.recordings) == 3
    assert math.isnan(found.recordings[1].ratings['valence'])
  assert told(read_manifest(path, ('valence',))) == [(3, 'valence', 'missing_rating')]


@pytest.mark.parametrize(
  'header, match',
  [
    (['subjects', *HEADER[1:]], 'row 1, column subjects: .*is it subject'),
    ([*HEADER[:-1], 'valence'], 'row 1, column valence: it is there twice'),
    ([*HEADER[:5], '', *HEADER[6:]], 'row 1, column 6: the header is blank'),
    (['who', *HEADER[1:]], 'no column subject'),
    (['subject', *[f'x{i}' for i in range(8)]], 'no column video'),
  ],
)
def test_a_wrong_header(manifest, header, match):
  with pytest.raises(InputError, match=match):
    manifest(header=header)


def test_other_columns_are_noted(manifest):
  found = manifest([[*row, 'tired'] for row in ROWS], [*HEADER, 'remark'])
  assert not found.problems and found.notes == ('column remark is not used',)


def test_files_that_are_no_table(tmp_path):
  path = tmp_path / 'manifest.csv'
  for content, match in [
    (b'', 'it has 0 rows'),
    (b'subject,video\n', 'it has 1 rows'),
    (b'subject,video\n\xff\xff,1\n', 'not UTF-8'),
    (b'a\0b', 'not a text file'),
    (b'subject,video\n"P1,a.mp4\n', 'not a proper CSV'),
    (b'subject,video\nP1,a.mp4,x\n', 'row 2, column video: 3 cells'),
    (b'version https://git-lfs.github.com/spec/v1\noid a\n', 'a pointer of Git LFS'),
    (b'<!DOCTYPE html>\n<html>Log in</html>\n', 'a web page'),
  ]:
    path.write_bytes(content)
    with pytest.raises(InputError, match=match) as error:
      read_manifest(path)
    assert '\n' not in str(error.value)
  for name in ('other.csv', 'book.xlsx'):
    with pytest.raises(InputError, match='no such file|spreadsheet'):
      read_manifest(tmp_path / name)


def test_several_channels_of_a_kind_and_free_ones(manifest):
  header = [
    *HEADER,
    'emg_left',
    'EMG_right',
    'emg_right_rate',
    'other_grip',
    'eda_note',
  ]
  row = [*ROWS[0], 'L', 'R', '1000', 'Force', '']
  (recording,) = manifest([row], header).recordings
  assert list(recording.channels) == ['eda', 'emg_left', 'emg_right', 'other_grip']
  assert recording.channels['emg_right'].rate == 1000
  assert recording.channels['emg_left'].rate == 128
  found = manifest([row], header)
  assert found.channels == ('eda', 'emg_left', 'emg_right', 'other_grip')
  (problem,) = manifest([[*row[:-4], '', *row[-3:]]], header).problems
  assert problem.column == 'emg_right' and 'emg_right_rate is given' in str(problem)


def test_one_video_by_two_names_is_told(manifest, tmp_path):
  (tmp_path / 'a.mp4').touch()
  (tmp_path / 'b.mp4').symlink_to('a.mp4')
  assert told(manifest()) == [(3, 'video', 'manifest')]
  assert told(manifest(changed(3, 'video', 'x/../a.mp4')))[0] == (
    3,
    'video',
    'manifest',
  )


@pytest.mark.parametrize('rate', ['1,000', '1.000', '31.250'])
def test_a_rate_that_may_be_a_thousand_times_as_high_is_refused(manifest, rate):
  found = manifest(changed(4, 'rate', rate), delimiter=';')
  (problem,) = found.problems
  assert (problem.row, problem.column) == (4, 'rate')
  whole, part = rate.replace(',', '.').split('.')
  assert f'may be {whole}{part} or ' in problem.text
  for remedy in problem.text.partition('; write ')[2].split(' or '):
    assert not manifest(changed(4, 'rate', remedy)).problems


@pytest.mark.parametrize('line', ['sep=;\r\n', '"sep=;"\n', 'sep=;;;;\n'])
def test_a_line_that_tells_the_separator_is_no_row(tmp_path, line):
  path = tmp_path / 'manifest.csv'
  path.write_text(f'{line}subject;video;valence\nA;a.mp4;5,5\n')
  (recording,) = read_manifest(tmp_path).recordings
  assert recording.ratings['valence'] == 5.5 and recording.row == 2


def test_a_title_above_the_names_is_told(tmp_path):
  path = tmp_path / 'manifest.csv'
  path.write_text('My study\nsubject,video,valence\nA,a.mp4,5\n')
  with pytest.raises(InputError, match='stand in row 2; delete the rows above'):
    read_manifest(tmp_path)


def test_a_column_that_holds_a_known_name_is_told(tmp_path):
  (tmp_path / 'manifest.csv').write_text('subject,video,valence rating\nA,a.mp4,5\n')
  (note,) = read_manifest(tmp_path).notes
  assert note == 'column valence rating is not used (is it valence?)'


def test_a_cell_that_a_spreadsheet_kept_as_text(tmp_path):
  text = 'subject,video,valence\n="007",a.mp4,="5"\n7,b.mp4,5\n'
  (tmp_path / 'manifest.csv').write_text(text)
  first, other = read_manifest(tmp_path).recordings
  assert first.subject_name == other.subject_name == '007'
  assert first.ratings['valence'] == 5
