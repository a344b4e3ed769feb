import csv
import os
import re

import av
import numpy as np
import pytest

from mvp_jax.corpora import find
from mvp_jax.corpora.recordings.check import check, main
from mvp_jax.errors import InputError

_RATE, _SECONDS = 32, 8
_COLUMNS = [
  'subject',
  'trial',
  'stimulus',
  'video',
  'video_onset',
  'signals',
  'rate',
  'eda',
  'eda_unit',
  'ppg',
  'duration',
  'valence',
  'arousal',
  'rating_min',
  'rating_max',
]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('recordings')


@pytest.fixture(scope='module')
def rows(folder, draw_face, write_video):
  """The rows of a manifest that is right: 5 trials, all in one video."""
  write_video(folder / 'film.mp4', [draw_face(96, 128, 64, 48, 40)] * 70, 5)
  write_video(folder / 'wall.mp4', [np.full((96, 128, 3), 90, np.uint8)] * 70, 5)
  (folder / 'zero.mp4').touch()
  (folder / 'cut.mp4').write_bytes((folder / 'film.mp4').read_bytes()[:2000])
  (folder / 'empty.csv').touch()
  (folder / 'pointer.mp4').write_text('version https://git-lfs.github.com/spec/v1\noid')
  (folder / 'page.csv').write_text('<!DOCTYPE html>\n<html>Log in</html>\n')
  (folder / 'away').symlink_to('/disk/away')
  (folder / 'away.mp4').symlink_to('/disk/away.mp4')
  (folder / 'Zoe\u0308.csv').write_text('EDA,PPG\n1,2\n')
  (folder / os.fsdecode(b'J\xf6rg.csv')).write_text('EDA,PPG\n1,2\n')
  rng = np.random.default_rng(0)
  rows = []
  for i in range(5):
    signals = 4 + np.cumsum(0.05 * rng.standard_normal((_RATE * _SECONDS, 2)), 0)
    write_csv(folder / f's{i}.csv', signals)
    rows.append(
      [
        f'P{i // 2 + 1}',
        i % 2 + 1,
        f'c{i % 2}',
        'film.mp4',
        i,
        f's{i}.csv',
        _RATE,
        'EDA',
        'microsiemens',
        'PPG',
        _SECONDS,
        3 + i,
        8 - i,
        1,
        9,
      ]
    )
  write_csv(folder / 'flat.csv', np.full_like(signals, 3))
  write_csv(folder / 'short.csv', signals[: _RATE * 5])
  return [list(map(str, row)) for row in rows]


def write_csv(path, signals):
  np.savetxt(path, signals, '%.5f', ',', header='EDA,PPG', comments='')


def write_manifest(folder, rows, columns=_COLUMNS, delimiter=','):
  path = folder / 'manifest.csv'
  with path.open('w', newline='') as file:
    csv.writer(file, delimiter=delimiter).writerows([columns, *rows])
  return path


def prepare(path, directory):
  """All trials of a manifest: {row: (code, reason, arrays or None)}."""
  recordings = find('recordings')
  wanted = recordings.want(signal_rate=16.0, frame_rate=5.0, frame_size=32)
  source = recordings.open(path, wanted)
  found = {}
  for outcome in source.prepare(directory, 1):
    arrays = None
    if outcome.code == 'ok':
      example, frames = source.example(outcome), source.frames(outcome, 'video')
      arrays = example['streams']['signals'] | {
        'quality': example['signal_quality'],
        'jpegs': list(frames['jpegs']),
        'ratings': example['ratings'],
      }
    found[outcome.trial.row] = outcome.code, outcome.reason, arrays
  return found


# (column, what is written there, where the problem lies: that column, or another).
_BROKEN = [
  ('subject', '', ''),
  ('subject', 'p2 ', ''),
  ('trial', 'first', ''),
  ('trial', '-1', ''),
  ('video', '', ''),
  ('video', 'gone.mp4', ''),
  ('video', 'zero.mp4', ''),
  ('video', 'cut.mp4', ''),
  ('video', 's0.csv', ''),
  ('video_onset', 'late', ''),
  ('video_onset', '-2', ''),
  ('video_onset', '60', 'video'),
  ('signals', '', 'eda'),
  ('signals', 'gone.csv', 'eda'),
  ('signals', 'empty.csv', 'eda'),
  ('signals', 'flat.csv', 'eda'),
  ('signals', 'short.csv', 'eda'),
  ('signals', 'film.mp4', 'eda'),
  ('rate', '', 'eda'),
  ('rate', 'fast', ''),
  ('rate', '512', 'eda'),
  ('eda', '', ''),
  ('eda', 'GSR', ''),
  ('eda', '7', ''),
  ('eda', 'PPG', 'ppg'),
  ('eda_unit', 'furlong', 'eda'),
  ('eda_unit', 'ohm', 'eda'),
  ('ppg', '', ''),
  ('ppg', 'BVP', ''),
  ('duration', '0', ''),
  ('duration', 'all', ''),
  ('duration', '30', 'eda'),
  ('valence', '', ''),
  ('valence', 'good', ''),
  ('arousal', '11', ''),
  ('rating_min', '', ''),
  ('rating_max', '0', ''),
  ('rating_max', 'x', ''),
  ('video', 'pointer.mp4', ''),
  ('video', 'away.mp4', ''),
  ('video', 'away/film.mp4', ''),
  ('video', 'Film.mp4', ''),
  ('signals', 'page.csv', 'eda'),
  ('signals', 'away/s0.csv', 'eda'),
  ('signals', 'Zo\xeb.csv', 'eda'),
  ('signals', 'J\xf6rg.csv', 'eda'),
]
# What looks different and means the same.
_HARMLESS = [
  ('video', ' film.mp4 '),
  ('video', './film.mp4'),
  ('eda', 'eda'),
  ('eda', '1'),
  ('ppg', '2'),
  ('rate', '32.0'),
  ('rate', ''),
  ('eda_unit', ''),
  ('eda_unit', 'uS'),
  ('stimulus', 'other'),
  ('rating_max', '9.0'),
  ('duration', '8,0'),
]


def also_named(column):
  """Columns of the same row that may be told beside the one that was broken."""
  return {
    'signals': {'eda', 'ppg'},
    'rate': {'eda', 'ppg'},
    'duration': {'ppg', 'video'},
    'rating_min': {'rating_max'},
    'subject': {'trial'},
  }.get(column, set())


@pytest.fixture(scope='module')
def whole(rows, folder, tmp_path_factory):
  """What comes of the manifest that is right."""
  work = tmp_path_factory.mktemp('work')
  found = prepare(write_manifest(folder, rows), work)
  assert {code for code, _, _ in found.values()} == {'ok'} and len(found) == 5
  return work, found


@pytest.mark.parametrize('seed', range(100))
def test_a_broken_manifest_is_refused_by_row_and_column(seed, rows, folder, whole):
  work, right = whole
  rng = np.random.default_rng(seed)
  rows = [list(row) for row in rows]
  broken = {}
  for i in rng.permutation(5)[: rng.integers(0, 4)]:
    column, value, where = _BROKEN[rng.integers(len(_BROKEN))]
    if column == 'subject' and value and i < 4:
      continue  # P2 itself
    rows[i][_COLUMNS.index(column)] = value
    broken[int(i) + 2] = column, where or column
  for i in set(range(5)) - {row - 2 for row in broken}:
    column, value = _HARMLESS[rng.integers(len(_HARMLESS))]
    if (column, value) != ('rate', ''):
      rows[i][_COLUMNS.index(column)] = value
  columns = list(_COLUMNS)
  if seed % 3 == 0:  # the order of columns does not count
    order = rng.permutation(len(columns))
    columns = [columns[k] for k in order]
    rows = [[row[k] for k in order] for row in rows]
  path = write_manifest(folder, rows, columns, ',;\t'[seed % 3])

  report = check(path)
  told = {}
  for problem in report.problems:
    told.setdefault(problem.row, set()).add(problem.column)
  assert set(told) == set(broken), report.problems
  for row, (column, where) in broken.items():
    assert where in told[row] and told[row] <= {where} | also_named(column)
  assert report.usable == 5 - len(broken)
  if any(p.code == 'manifest' for p in report.problems):
    first = next(p for p in report.problems if p.code == 'manifest')
    with pytest.raises(InputError, match=f'row {first.row}, column {first.column}: '):
      prepare(path, work)
    return
  found = prepare(path, work)
  for row, (code, reason, arrays) in found.items():
    if row in broken:
      assert code != 'ok'
      assert re.match(f'row {row}, column {broken[row][1]}: ', reason), reason
    else:
      assert code == 'ok'
      for name, expected in right[row][2].items():
        np.testing.assert_equal(arrays[name], expected)


_NASTY = [
  '',
  ' ',
  '-1',
  '0',
  '1e9',
  'inf',
  '-inf',
  'NaN',
  '1.2.3',
  '1,2,3',
  '0x10',
  '٣',
  'ä',
  '../..',
  '/',
  '.',
  '~',
  'film.mp4',
  's1.csv',
  '"',
  "'",
  '=SUM(A1)',
  '#REF!',
  'TRUE',
  'x' * 300,
  '9' * 400,
  '\u202e',
  'P1',
  'a\nb',
  '%s',
  '{0}',
  'CON',
  'eda',
  ',',
  ';',
]


@pytest.mark.parametrize('seed', range(60))
def test_whatever_a_cell_holds(seed, rows, folder, whole):
  rng = np.random.default_rng(1000 + seed)
  rows = [list(row) for row in rows]
  where = rng.integers(5), rng.integers(len(_COLUMNS))
  rows[where[0]][where[1]] = _NASTY[rng.integers(len(_NASTY))]
  path = write_manifest(folder, rows)
  report = check(path)
  for problem in report.problems:
    assert 2 <= problem.row <= 6 and problem.column in _COLUMNS
    assert '\n' not in str(problem)
  try:
    found = prepare(path, whole[0])
  except InputError as error:
    assert re.search(r'row \d, column \w+: ', str(error)) and '\n' not in str(error)
    return
  lost = {row for row, (code, _, _) in found.items() if code != 'ok'}
  assert lost == {p.row for p in report.problems} and len(found) == 5
  for row in lost:
    assert found[row][1].startswith(f'row {row}, column ')


def test_what_only_decoding_shows_is_named_in_preparation(rows, folder, whole):
  rows = [list(row) for row in rows]
  rows[3][_COLUMNS.index('video')] = 'wall.mp4'
  path = write_manifest(folder, rows)
  assert not check(path).problems
  found = prepare(path, whole[0])
  code, reason, _ = found.pop(5)
  assert code == 'no_face' and reason.startswith('row 5, column video: ')
  assert {code for code, _, _ in found.values()} == {'ok'}


def test_exit_0_means_that_no_trial_is_lost(rows, folder, whole, capsys):
  """What decoding alone shows is told by the check, in the words of preparation."""
  film = (folder / 'film.mp4').read_bytes()
  middle = len(film) // 2
  (folder / 'worn.mp4').write_bytes(
    film[: middle - 2000] + bytes(4000) + film[middle + 2000 :]
  )
  rows = [list(row) for row in rows]
  rows[1][_COLUMNS.index('video')] = 'worn.mp4'
  rows[3][_COLUMNS.index('video')] = 'wall.mp4'
  rows[4][_COLUMNS.index('signals')] = 'gone.csv'
  path = write_manifest(folder, rows)
  lost = {
    row: reason
    for row, (code, reason, _) in prepare(path, whole[0]).items()
    if code != 'ok'
  }
  assert {5, 6} <= set(lost)
  report = check(path, watch=True)
  told = {}
  for problem in report.problems:
    told.setdefault(problem.row, str(problem))
  assert told == lost and report.usable == 5 - len(lost)

  assert main([str(path)]) == 1 and lost[5] in capsys.readouterr().out
  good = [row for i, row in enumerate(rows) if i + 2 not in lost]
  assert main([str(write_manifest(folder, good))]) == 0
  assert '--quick' not in capsys.readouterr().out
  path = write_manifest(folder, rows[3:4])
  assert main([str(path), '--quick']) == 0
  assert 'note: no video was decoded' in capsys.readouterr().out


def test_a_channel_that_others_save_is_a_note(rows, folder, capsys):
  rng = np.random.default_rng(0)
  one = 4 + np.cumsum(0.05 * rng.standard_normal(_RATE * _SECONDS))
  write_csv(folder / 'half.csv', np.stack([one, np.full_like(one, 3)], 1))
  rows = [list(row) for row in rows]
  rows[2][_COLUMNS.index('signals')] = 'half.csv'
  path = write_manifest(folder, rows)
  assert main([str(path), '--no-video']) == 0
  told = capsys.readouterr().out
  assert re.search(
    r'^note: row 4, column ppg: .*half.csv: PPG: flat \(always 3\); '
    r'it is masked in this trial$',
    told,
    re.MULTILINE,
  )
  assert '5 of them without a problem' in told
  assert main([str(path), '--no-video', '--channels=ppg']) == 1
  assert 'row 4, column ppg: ppg: ' in capsys.readouterr().out


def test_what_is_odd_about_a_video_is_a_note_and_in_the_account(
  rows, folder, capsys, tmp_path, draw_face
):
  with av.open(str(folder / 'film.h264'), 'w', format='h264') as container:
    stream = container.add_stream('libx264', rate=5)
    stream.height, stream.width, stream.pix_fmt = 96, 128, 'yuv420p'
    image = av.VideoFrame.from_ndarray(draw_face(96, 128, 64, 48, 40), 'rgb24')
    for _ in range(70):
      image.pts = None
      container.mux(stream.encode(image))
    container.mux(stream.encode())
  rows = [list(row) for row in rows]
  rows[2][_COLUMNS.index('video')] = 'film.h264'
  path = write_manifest(folder, rows)
  assert main([str(path)]) == 0
  note = 'no clock in it: frames are counted, 5 a second as its header says'
  told = capsys.readouterr().out
  assert re.search(
    f'^note: row 4, column video: .*film.h264: {note}$', told, re.MULTILINE
  )
  assert 'video: 5 Hz (5)' in told
  recordings = find('recordings')
  wanted = recordings.want(signal_rate=16.0, frame_rate=5.0, frame_size=32)
  outcomes = recordings.open(path, wanted).prepare(tmp_path, 1)
  notes = {x.trial.row: x.facts['video_notes'] for x in outcomes}
  assert notes == {2: '', 3: '', 4: note, 5: '', 6: ''}


@pytest.mark.parametrize(
  'column, name, told',
  [
    ('video', 'pointer.mp4', 'a pointer of Git LFS'),
    ('video', 'page.csv', 'a web page'),
    ('video', 'away.mp4', 'a link to /disk/away.mp4, which is not there'),
    ('video', 'away/film.mp4', 'away is a link to /disk/away, which is not there'),
    ('signals', 'Zo\xeb.csv', r"there is one spelt alike, 'Zoe\u0308.csv'"),
    ('signals', 'J\xf6rg.csv', r'there is one spelt alike, J\xf6rg.csv, whose name is'),
  ],
)
def test_files_that_are_not_what_they_seem(column, name, told, rows, folder, whole):
  rows = [list(row) for row in rows]
  rows[1][_COLUMNS.index(column)] = name
  path = write_manifest(folder, rows)
  report = check(path)
  assert {p.row for p in report.problems} == {3} and told in str(report.problems[0])
  code, reason, _ = prepare(path, whole[0])[3]
  assert code != 'ok' and reason == str(report.problems[0])


def test_ratings_are_shown_with_their_scale(rows, folder, capsys):
  path = write_manifest(folder, rows)
  assert main([str(path), '--no-video']) == 0
  told = capsys.readouterr().out
  assert 'valence: 3 to 7 on the scale 1 to 9, 40% high (5)' in told
  assert 'note: column valence' not in told
  path = write_manifest(folder, [row[:-2] for row in rows], _COLUMNS[:-2])
  assert main([str(path), '--no-video']) == 0
  told = capsys.readouterr().out
  assert 'note: column valence: the scale is taken as 1 to 9, but no answer is' in told
  assert 'note: column arousal' not in told  # up to 8

  rows = [list(row) for row in rows]
  rows[2][_COLUMNS.index('arousal')] = ''
  path = write_manifest(folder, rows)
  assert main([str(path), '--no-video']) == 1
  assert 'row 4, column arousal: blank' in capsys.readouterr().out
  assert main([str(path), '--no-video', '--ratings=valence']) == 0
  assert main([str(path), '--ratings=joy']) == 1
  assert 'no rating joy; there are valence' in capsys.readouterr().err


def test_the_command(rows, folder, capsys):
  path = write_manifest(folder, rows)
  assert main([str(path)]) == 0
  told = capsys.readouterr().out
  assert '5 rows, 5 of them without a problem; 0 problems' in told
  assert '3 subjects with 1 to 2 trials; 2 stimuli' in told
  assert 'trials last 8.0 to 8.0 s' in told
  for line in ('eda: 32 Hz (5)', 'ppg: 32 Hz (5)', 'video: 5 Hz (5)'):
    assert line in told

  good, rows = rows, [list(row) for row in rows]
  rows[1][_COLUMNS.index('signals')] = 'gone.csv'
  rows[4][_COLUMNS.index('valence')] = '99'
  write_manifest(folder, rows)
  assert main([str(folder)]) == 1  # its folder will do
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].startswith('row 3, column eda: ') and 'gone.csv' in lines[0]
  assert lines[2].startswith('row 6, column valence: 99 is outside of 1 to 9')
  assert '5 rows, 3 of them without a problem; 3 problems' in lines[3]

  assert main([str(path), '--channels=ppg', '--no-video']) == 1
  assert 'eda' not in capsys.readouterr().out
  assert main([str(path), '--channels=gsr']) == 1
  assert main([str(folder / 'none.csv')]) == 1
  assert 'no such file' in capsys.readouterr().err

  write_manifest(folder, good)
  assert main([str(path), '--action-units']) == 1
  assert 'row 2, column openface: blank, while action' in capsys.readouterr().out
