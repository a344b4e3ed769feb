import csv
import json
import math
import os
import pickle

import numpy as np
import pytest
import scipy.io

from mvp_jax.corpora.deap import tree as deap
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped

HEADER = [
  'Participant_id',
  'Trial',
  'Experiment_id',
  'Start_time',
  'Valence',
  'Arousal',
  'Dominance',
  'Liking',
  'Familiarity',
]


def rows(subjects=2, trials=5):
  """Rows of a small ratings file: experiments in reverse order of presentation."""
  return [
    [s, t, trials + 1 - t, 1695918, 1 + t, 9 - t, 5, 5, '' if s == 2 else 3]
    for s in range(1, subjects + 1)
    for t in range(1, trials + 1)
  ]


def write_tree(root, content, header=HEADER, subjects=2, trials=5, marker=True):
  for name, file in (
    ('metadata_csv', None),
    ('data_preprocessed_python', 's01.dat'),
    ('face_video/s01', 's01_trial01.avi'),
  ):
    (root / name).mkdir(parents=True, exist_ok=True)
    if file:
      (root / name / file).touch()
  path = root / 'metadata_csv' / 'participant_ratings.csv'
  with path.open('w', newline='') as file:
    csv.writer(file).writerows([header, *content])
  if marker:
    (root / 'SYNTHETIC.json').write_text(
      json.dumps({'subjects': subjects, 'trials': trials})
    )
  return root


def read(root, video=False):
  return deap.read_trials(deap.find_tree(root, video))


def test_join_of_the_official_distribution(tmp_path):
  # Participant 1 saw video 5 first and rated it valence 6.96, arousal 3.92.
  experiments = [5, *(n for n in range(1, 41) if n != 5)]
  content = [[1, t, e, 0, 5, 5, 5, 5, 3] for t, e in enumerate(experiments, 1)]
  content[0][4:8] = 6.96, 3.92, 7.19, 6.05
  trials = read(write_tree(tmp_path, content, marker=False))
  assert len(trials) == 1280
  first = trials[0]
  assert (first.trial_id, first.stimulus, first.row) == ('s01_trial01', 5, 4)
  assert (first.ratings['valence'], first.ratings['arousal']) == (6.96, 3.92)
  assert first.video_name == 's01/s01_trial01.avi'
  assert [trial.row for trial in trials[1:6]] == [0, 1, 2, 3, 5]


def test_official_number_of_videos(tmp_path):
  write_tree(tmp_path, rows(32, 40), subjects=32, trials=40)
  trials = read(tmp_path, video=True)
  assert len(trials) == 874 and {trial.subject for trial in trials} == set(range(1, 23))
  assert sum(trial.subject == 11 for trial in trials) == 37
  assert len(read(tmp_path)) == 1280


@pytest.mark.parametrize('deeper', ['{0}/{0}', 'DEAP/{0}'])
def test_zips_unpacked_one_level_deeper(tmp_path, deeper):
  flat = write_tree(tmp_path / 'flat', rows())
  root = tmp_path / 'deep'
  for name in ('metadata_csv', 'data_preprocessed_python', 'face_video'):
    target = root / deeper.format(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(flat / name, target)
  os.rename(flat / 'SYNTHETIC.json', root / 'SYNTHETIC.json')
  tree = deap.find_tree(root, video=True)
  assert (tree.videos / 's01' / 's01_trial01.avi').exists()
  assert len(deap.read_trials(tree)) == 10


@pytest.mark.parametrize(
  'missing', ['metadata_csv', 'data_preprocessed_python', 'face_video']
)
def test_manual_directory_without_deap(tmp_path, missing):
  write_tree(tmp_path, rows())
  os.rename(tmp_path / missing, tmp_path / 'elsewhere')
  with pytest.raises(InputError, match=f'does not hold DEAP: no .*{missing}'):
    deap.find_tree(tmp_path, video=True)
  (tmp_path / f'{missing}.zip').touch()
  with pytest.raises(InputError, match=f'unpack {missing}.zip'):
    deap.find_tree(tmp_path, video=True)


def test_no_manual_directory(tmp_path):
  with pytest.raises(InputError, match='no such folder'):
    deap.find_tree(tmp_path / 'nowhere', video=False)


def test_missing_columns_are_named(tmp_path):
  header = [name.replace('Arousal', 'Activation') for name in HEADER]
  write_tree(tmp_path, rows(), header)
  with pytest.raises(InputError, match='no column Arousal'):
    read(tmp_path)


def test_missing_rows_are_losses_by_name(tmp_path):
  content = [row for row in rows() if row[:2] != [2, 4]]
  lost = [trial for trial in read(write_tree(tmp_path, content)) if trial.problem]
  assert [(trial.subject, trial.trial) for trial in lost] == [(2, 4)]
  code, reason = lost[0].problem
  assert code == 'missing_rating' and 'participant 2, trial 4' in reason


@pytest.mark.parametrize('value', ['', 'nan', '0.99', '9.01', 'high', 'inf'])
def test_bad_ratings_are_losses(tmp_path, value):
  content = rows()
  content[3][5] = value
  lost = [trial for trial in read(write_tree(tmp_path, content)) if trial.problem]
  assert [trial.trial_id for trial in lost] == ['s01_trial04']
  code, reason = lost[0].problem
  assert code == 'bad_rating' and 'line 5' in reason and 'Arousal' in reason


def test_blank_familiarity_is_fine(tmp_path):
  trials = read(write_tree(tmp_path, rows()))
  assert not any(trial.problem for trial in trials)
  assert [math.isnan(trial.ratings['familiarity']) for trial in trials] == (
    [False] * 5 + [True] * 5
  )


@pytest.mark.parametrize(
  'index, value, told',
  [
    (1, 1, 'second row'),
    (2, 5, 'second row'),
    (0, 'P1', 'whole numbers'),
    (0, 3, 'outside'),
    (2, 6, 'outside'),
    (1, 0, 'outside'),
  ],
)
def test_keys_that_are_no_join(tmp_path, index, value, told):
  content = rows()
  content[1][index] = value
  with pytest.raises(InputError, match=f'line 3.*{told}'):
    read(write_tree(tmp_path, content))


def write_dat(path, content):
  path.write_bytes(pickle.dumps(content, 2))
  return path


@pytest.mark.parametrize('protocol', [2, 5])
def test_dat_that_python_3_read_as_bytes_and_saved_again(tmp_path, protocol):
  data, labels = np.ones((2, 40, 8064), np.float32), np.arange(8.0).reshape(2, 4)
  path = tmp_path / 's01.dat'
  path.write_bytes(pickle.dumps({b'labels': labels, b'data': data}, protocol))
  np.testing.assert_array_equal(deap.read_dat(path)[1], labels)


def test_dat_as_python_2_wrote_it(tmp_path, write_python2_pickle):
  data = np.random.default_rng(0).normal(0, 1e5, (2, 40, 8064))
  labels = np.arange(8.0).reshape(2, 4)
  write_python2_pickle(tmp_path / 's01.dat', {'labels': labels, 'data': data})
  found = deap.read_dat(tmp_path / 's01.dat')
  np.testing.assert_array_equal(found[0], data)
  np.testing.assert_array_equal(found[1], labels)


@pytest.mark.parametrize(
  'shape, labels',
  [
    ((2, 40, 8000), (2, 4)),
    ((2, 39, 8064), (2, 4)),
    ((40, 8064), (2, 4)),
    ((1, 40, 8064), (2, 4)),
    ((1, 40, 8064), (1, 3)),
  ],
)
def test_dat_of_another_shape(tmp_path, shape, labels):
  path = write_dat(
    tmp_path / 's07.dat',
    {'data': np.zeros(shape, np.float32), 'labels': np.zeros(labels)},
  )
  with pytest.raises(Dropped) as error:
    deap.read_dat(path)
  assert error.value.code == 'broken_signals'
  assert 's07.dat' in error.value.reason and str(shape) in error.value.reason


@pytest.mark.parametrize(
  'content', [[1, 2], {'data': np.zeros(3)}, {'data': ['a'], 'labels': 'b'}, 7]
)
def test_dat_with_other_content(tmp_path, content):
  with pytest.raises(Dropped, match=r'broken_signals.*s07\.dat'):
    deap.read_dat(write_dat(tmp_path / 's07.dat', content))


def test_dat_missing_or_truncated(tmp_path):
  with pytest.raises(Dropped, match='missing_signals'):
    deap.read_dat(tmp_path / 's01.dat')
  path = write_dat(
    tmp_path / 's01.dat',
    {'data': np.zeros((1, 40, 8064), np.float32), 'labels': np.zeros((1, 4))},
  )
  path.write_bytes(path.read_bytes()[:-100])
  with pytest.raises(Dropped, match='broken_signals.*truncated'):
    deap.read_dat(path)


def test_contradiction_between_ratings_and_labels(tmp_path):
  trial = read(write_tree(tmp_path, rows()))[0]  # valence 2, arousal 8, 5, 5
  assert deap.contradiction(trial, np.array([2.004, 8, 5, 5])) == ''
  told = deap.contradiction(trial, np.array([8.0, 2, 5, 5]))
  assert 's01.dat: row 4' in told and 'participant 1' in told
  assert deap.contradiction(trial, np.array([np.nan, 8, 5, 5]))


def test_fingerprint_follows_the_source(tmp_path):
  def fingerprint():
    tree = deap.find_tree(tmp_path, True)
    return deap.fingerprint(tree, deap.read_trials(tree))

  write_tree(tmp_path, rows())
  seen = [fingerprint()]
  assert fingerprint() == seen[0]
  (tmp_path / 'face_video/s01/s01_trial02.avi').write_bytes(b'x')
  seen.append(fingerprint())
  (tmp_path / 'data_preprocessed_python/s01.dat').write_bytes(b'x')
  seen.append(fingerprint())
  content = rows()
  content[0][4] = 3
  write_tree(tmp_path, content)
  seen.append(fingerprint())
  assert len(set(seen)) == 4


def test_links_that_lead_nowhere_and_pointers(tmp_path):
  root = write_tree(tmp_path / 'a', rows())
  path = root / 'data_preprocessed_python' / 's01.dat'
  path.write_text('version https://git-lfs.github.com/spec/v1\noid a\n')
  with pytest.raises(Dropped, match='broken_signals.*a pointer of Git LFS'):
    deap.read_dat(path)
  path.unlink()
  path.symlink_to('/disk/s01.dat')
  with pytest.raises(Dropped, match='missing_signals.*a link to /disk/s01.dat'):
    deap.read_dat(path)
  (root / 'face_video').rename(root / 'gone')
  (root / 'face_video').symlink_to('/disk/face_video')
  with pytest.raises(InputError, match='face_video: a link to /disk/face_video, which'):
    read(root, video=True)
  (tmp_path / 'b').mkdir()
  (tmp_path / 'b' / 'DEAP').symlink_to('/disk/DEAP')
  with pytest.raises(InputError, match='b/DEAP: a link to /disk/DEAP'):
    read(tmp_path / 'b')


def test_the_version_for_matlab(tmp_path):
  root = write_tree(tmp_path, rows())
  python = root / 'data_preprocessed_python'
  data = np.random.default_rng(0).normal(size=(2, 40, deap.SAMPLES))
  labels = np.arange(8.0).reshape(2, 4)
  (root / 'data_preprocessed_matlab').mkdir()
  path = root / 'data_preprocessed_matlab' / 's01.mat'
  scipy.io.savemat(path, {'data': data, 'labels': labels}, do_compression=True)
  assert deap.find_tree(root, False).signals_of(1) == python / 's01.dat'
  (python / 's01.dat').unlink()
  tree = deap.find_tree(root, False)
  assert tree.signals_of(1) == path and tree.signals_of(2).name == 's02.mat'
  found = deap.read_dat(path)
  np.testing.assert_array_equal(found[0], data)
  np.testing.assert_array_equal(found[1], labels)
  scipy.io.savemat(path, {'data': data[:, :3]})
  with pytest.raises(Dropped, match='broken_signals.*s01.mat: not a dict with'):
    deap.read_dat(path)
  path.unlink()
  with pytest.raises(InputError, match='no .*data_preprocessed_python/s'):
    deap.find_tree(root, False)
