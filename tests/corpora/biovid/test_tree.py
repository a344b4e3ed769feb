"""BioVid's files, and all that may be wrong with them."""

import numpy as np
import pytest

from mvp_jax.corpora.biovid import tree as biovid
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped

_HEADER = 'subject_id\tsubject_name\tclass_id\tclass_name\tsample_id\tsample_name'
_ROWS = (
  '1\t071309_w_21\t0\tBL1\t1\t071309_w_21-BL1-081',
  '1\t071309_w_21\t4\tPA4\t2\t071309_w_21-PA4-012',
  '1\t071309_w_21\t2\tPA2\t3\t071309_w_21-PA2-002',
  '2\t071614_m_20\t4\tPA4\t4\t071614_m_20-PA4-001',
)


@pytest.fixture
def root(tmp_path):
  for name in (
    'starting_point',
    'biosignals_filtered/071309_w_21',
    'video/071309_w_21',
  ):
    (tmp_path / name).mkdir(parents=True)
  _list(tmp_path, [_HEADER, *_ROWS])
  return tmp_path


def _list(root, lines):
  (root / 'starting_point' / 'samples.csv').write_text('\n'.join(lines) + '\n')


def _read(root, classes=(0, 4), exclude=()):
  return biovid.read_samples(biovid.find_tree(root), classes, exclude)


def test_samples_of_two_levels_and_their_files(root):
  tree = biovid.find_tree(root)
  samples, listed = biovid.read_samples(tree, (0, 4))
  assert [(s.trial_id, s.subject, s.trial, s.level) for s in samples] == [
    ('071309_w_21-BL1-081', 1, 1, 0),
    ('071309_w_21-PA4-012', 1, 2, 4),
    ('071614_m_20-PA4-001', 2, 1, 4),
  ]
  assert len(listed) == 4  # the third is listed, and of another level
  place = 'biosignals_filtered/071309_w_21/071309_w_21-BL1-081_bio.csv'
  assert tree.signals_of(samples[0]) == root / place
  place = 'video/071309_w_21/071309_w_21-BL1-081.mp4'
  assert tree.video_of(samples[0]) == root / place


def test_columns_go_by_their_names(root):
  order = [5, 2, 0, 1, 3, 4]
  lines = [line.split('\t') for line in (_HEADER, *_ROWS)]
  before = _read(root)
  _list(root, ['\t'.join(line[i] for i in order) for line in lines])
  assert _read(root) == before


def test_a_list_as_a_spreadsheet_saves_it(root):
  before = _read(root)
  text = '\r\n'.join([_HEADER, *_ROWS])
  for changed, code in ((text, 'utf-16'), (text.replace('\t', ';'), 'utf-8-sig')):
    (root / 'starting_point' / 'samples.csv').write_bytes(changed.encode(code))
    assert _read(root) == before


def test_people_to_leave_out(root):
  samples, _ = _read(root, exclude=('071309_w_21',))
  assert [s.person for s in samples] == ['071614_m_20']
  with pytest.raises(InputError, match='nobody in it is called 071309_w_22; correct'):
    _read(root, exclude=('071309_w_22',))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (
      lambda x: [x[0].replace('class_id', 'level'), *x[1:]],
      'row 1: no column class_id',
    ),
    (lambda x: x[1:], 'row 1: .* holds none of the names of columns, subject_id, sub'),
    (lambda x: [], 'a header and one row per trial are needed'),
    (lambda x: [*x, x[2]], 'row 6: 071309_w_21-PA4-012 is there twice, also in row 3'),
    (lambda x: [*x, '1\tb\t0\tBL1\t9\tb-BL1-1'], 'row 6: subject_id 1 is b, and 0713'),
    (
      lambda x: [*x, x[4].replace('2\t', '3\t', 1).replace('PA4-001', 'PA4-002')],
      'row',
    ),
    (
      lambda x: [*x, 'one\tb\t0\tBL1\t9\tb-BL1-1'],
      'column subject_id: one is no whole',
    ),
    (lambda x: [*x, '3\tb\t0\tBL1\t9\t../b'], r'column sample_name: \.\./b is no name'),
    (lambda x: [*x, '3\tb'], 'row 6, column sample_name: blank is no name'),
  ],
)
def test_what_is_wrong_with_the_list_is_one_line(root, change, message):
  _list(root, change([_HEADER, *_ROWS]))
  with pytest.raises(InputError, match=message) as raised:
    _read(root)
  assert 'samples.csv' in str(raised.value) and '\n' not in str(raised.value)


@pytest.mark.parametrize(
  ('class_id', 'code', 'message'),
  [
    ('5', 'bad_rating', 'class_id: 5 is none of 0 to 4'),
    ('', 'missing_rating', 'class_id: blank is none of'),
    ('3', 'bad_rating', 'class_id is 3, and 071309_w_21-PA4-012 is of PA4'),
  ],
)
def test_a_sample_of_no_level_is_lost_by_name(root, class_id, code, message):
  _list(root, [_HEADER, *_ROWS[:1], _ROWS[1].replace('\t4\t', f'\t{class_id}\t')])
  samples, _ = _read(root)
  assert [s.level for s in samples] == [0, None]
  assert samples[1].problem[0] == code and message in samples[1].problem[1]


def test_a_part_that_is_not_there(root):
  with pytest.raises(
    InputError, match='no biosignals_raw, .* --config.data.corpus.sig'
  ):
    biovid.find_tree(root, 'raw')
  (root / 'video' / '071309_w_21').rmdir()
  (root / 'video').rmdir()
  with pytest.raises(InputError, match='does not hold BioVid: no video, nor a few'):
    biovid.find_tree(root)
  assert biovid.find_tree(root, video=False).videos is None


def test_unpacked_deeper_and_into_folders_of_their_names(root):
  deeper = root / 'PartA'
  deeper.mkdir()
  (root / 'starting_point').rename(deeper / 'starting_point')
  twice = deeper / 'video' / 'video'
  twice.parent.mkdir()
  (root / 'video').rename(twice)
  (root / '__MACOSX' / 'video').mkdir(parents=True)
  tree = biovid.find_tree(root)
  assert tree.videos == twice and tree.samples == deeper / 'starting_point/samples.csv'


# --- Signals


def _signals(path, rows=2816, rate=512.0, columns=5):
  micros = np.round(np.arange(rows) * 1e6 / rate)
  values = np.arange(rows)[:, None] / 100 + np.arange(columns)
  names = ('gsr', 'ecg', 'emg_trapezius', 'emg_corrugator', 'emg_zygomaticus')[:columns]
  text = ['time\t' + '\t'.join(names)]
  for time, row in zip(micros, values, strict=True):
    text.append(f'{time:.0f}\t' + '\t'.join(f'{x:.4f}' for x in row))
  path.write_text('\n'.join(text) + '\n')
  return path


def test_signals_by_the_names_of_their_columns(tmp_path):
  path = _signals(tmp_path / 'a_bio.csv')
  path.write_text(path.read_text().replace('time\tgsr\tecg', ' Time\t gsr\t ecg', 1))
  found, note = biovid.read_signals(path, ['ecg', 'gsr'])
  assert [*found] == ['ecg', 'gsr'] and not note
  np.testing.assert_allclose(found['gsr'], np.arange(2816) / 100)
  np.testing.assert_allclose(found['ecg'], np.arange(2816) / 100 + 1)


def test_a_tab_at_the_end_of_rows_is_no_column(tmp_path):
  path = _signals(tmp_path / 'a_bio.csv')
  before, _ = biovid.read_signals(path, ['gsr', 'ecg'])
  header, *rows = path.read_text().splitlines()
  path.write_text('\n'.join([header, *(f'{row}\t' for row in rows)]) + '\r\n')
  found, _ = biovid.read_signals(path, ['gsr', 'ecg'])
  for name, values in before.items():
    np.testing.assert_array_equal(found[name], values)


def test_a_gap_in_the_times_is_no_measurement(tmp_path):
  path = _signals(tmp_path / 'a_bio.csv')
  lines = path.read_text().splitlines()
  path.write_text('\n'.join([*lines[:101], *lines[151:]]) + '\n')
  found, note = biovid.read_signals(path, ['gsr'])
  gsr = found['gsr']
  assert len(gsr) == 2816 and note == '50 samples are missing in its times'
  assert np.isnan(gsr[100:150]).all() and np.isfinite(gsr[[99, 150]]).all()
  assert gsr[150] == 1.5


def test_blank_cells_are_no_measurement(tmp_path):
  path = _signals(tmp_path / 'a_bio.csv')
  lines = path.read_text().splitlines()
  lines[3] = lines[3].replace('\t0.0200', '\t', 1)
  lines[4] = lines[4].replace('\t0.0300', '\tNaN', 1)
  path.write_text('\n'.join(lines) + '\n')
  found, _ = biovid.read_signals(path, ['gsr', 'ecg'])
  assert np.isnan(found['gsr'][[2, 3]]).all() and np.isfinite(found['ecg']).all()


def _commas(path):
  path.write_text(path.read_text().replace('\t0.01', '\t0,01', 1))


def _cells_by_commas(path):
  path.write_text(path.read_text().replace('\t', ','))


def _times_fall(path):
  lines = path.read_text().splitlines()
  path.write_text('\n'.join([lines[0], *lines[:0:-1]]))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (_commas, "line 3, column gsr: '0,0100' is no number; write decimal points"),
    (_cells_by_commas, 'its first line has no tab; part its cells by tabs'),
    (_times_fall, 'times do not rise'),
    (lambda p: _signals(p, 1408, 256.0), '256 samples a second, not 512'),
    (lambda p: _signals(p, 2000), 'it lasts 3.91 s, not 5.5'),
    (lambda p: _signals(p, columns=3), 'no column emg_corrugator (it has time, gsr'),
    (lambda p: p.write_text('time\tgsr\tecg\temg_corrugator\n'), 'its 0 times do not'),
    (lambda p: p.write_bytes(b'\xff\xfe\0\1\2'), 'cannot be read'),
    (lambda p: p.write_text(''), 'it is empty'),
  ],
)
def test_what_is_wrong_with_signals_is_said(tmp_path, change, message):
  path = _signals(tmp_path / 'a_bio.csv')
  change(path)
  with pytest.raises(Dropped) as raised:
    biovid.read_signals(path, ['gsr', 'emg_corrugator'])
  assert raised.value.code == 'broken_signals'
  assert message in raised.value.reason and str(path) in raised.value.reason
  assert '\n' not in raised.value.reason


def test_signals_that_are_not_there(tmp_path):
  with pytest.raises(Dropped) as raised:
    biovid.read_signals(tmp_path / 'a_bio.csv', ['gsr'])
  assert raised.value.code == 'missing_signals'
