"""The files of a twin, read independently of the code that wrote them."""

import csv
import fractions
import json
import pickle
import pickletools

import av
import numpy as np
import pytest

from mvp_jax.corpora.deap import twin as deap
from mvp_jax.corpora.deap.twin import write_deap_twin
from mvp_jax.errors import InputError
from mvp_jax.synthetic import signals
from mvp_jax.synthetic.face import face_track
from mvp_jax.synthetic.spec import TwinSpec

SPEC = TwinSpec(
  subjects=2,
  trials=6,
  width=160,
  height=128,
  frame_rate=5.0,
  pixel_aspect=(1, 1),
  video_seconds=4.0,
)


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
  root = tmp_path_factory.mktemp('twin') / 'deap'
  write_deap_twin(root, SPEC, workers=1)
  return root


def _contents(root):
  return {
    str(path.relative_to(root)): path.read_bytes()
    for path in root.rglob('*')
    if path.is_file()
  }


def _rows(root):
  with (root / 'metadata_csv/participant_ratings.csv').open(newline='') as file:
    return list(csv.DictReader(file))


def _dat(root, subject):
  with (root / f'data_preprocessed_python/s{subject:02}.dat').open('rb') as file:
    return pickle.load(file, encoding='latin1')


def test_tree_holds_exactly_the_official_files(tree):
  videos = {
    f'face_video/s0{s}/s0{s}_trial0{t}.avi' for s in (1, 2) for t in range(1, 7)
  }
  units = {f'openface/s0{s}_trial0{t}.csv' for s in (1, 2) for t in range(1, 7)}
  assert set(_contents(tree)) == videos | units | {
    'metadata_csv/participant_ratings.csv',
    'SYNTHETIC.json',
    'checksums.json',
    'data_preprocessed_python/s01.dat',
    'data_preprocessed_python/s02.dat',
  }


def test_videos_missing_from_deap_are_missing_here():
  videos = deap.videos(TwinSpec())
  assert len(videos) == len(set(videos)) == 874
  assert (11, 37) in videos and (11, 38) not in videos


def test_ratings_table(tree):
  rows = _rows(tree)
  assert list(rows[0]) == [
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
  assert [(r['Participant_id'], r['Trial']) for r in rows] == [
    (str(s), str(t)) for s in (1, 2) for t in range(1, 7)
  ]
  assert rows[0]['Experiment_id'] == '5'
  for subject, familiar in (('1', set('12345')), ('2', {''})):
    mine = [r for r in rows if r['Participant_id'] == subject]
    assert {r['Experiment_id'] for r in mine} == set('123456')
    assert {r['Familiarity'] for r in mine} <= familiar


def test_rows_of_dat_are_experiment_ids(tree):
  for row in _rows(tree):
    subject, trial, stimulus = (
      int(row[name]) for name in ('Participant_id', 'Trial', 'Experiment_id')
    )
    dat = _dat(tree, subject)
    assert dat['data'].shape == (6, 40, 8064)
    assert dat['data'].dtype == dat['labels'].dtype == np.float64
    assert dat['labels'][stimulus - 1].tolist() == [
      float(row[name]) for name in ('Valence', 'Arousal', 'Dominance', 'Liking')
    ]
    body = signals.simulate_body(SPEC, subject, trial)
    eda = 1e6 / dat['data'][stimulus - 1, 36]
    np.testing.assert_allclose(eda, body.eda, rtol=1e-9)
    np.testing.assert_array_equal(dat['data'][stimulus - 1, 38], body.ppg)
  orders = {r['Trial'] == r['Experiment_id'] for r in _rows(tree)}
  assert False in orders


def test_dat_is_a_python_2_pickle(tree):
  with (tree / 'data_preprocessed_python/s01.dat').open('rb') as file:
    steps = [(code, value) for code, value, _ in pickletools.genops(file)]
  names = {value for code, value in steps if code.name == 'GLOBAL'}
  assert names == {'numpy.core.multiarray _reconstruct', 'numpy ndarray', 'numpy dtype'}
  assert max(code.proto for code, _ in steps) == 2
  assert not any('UNICODE' in code.name for code, _ in steps)


@pytest.mark.parametrize('shape', [(1,), (3, 300), (2, 70_000)])
def test_python2_pickle_keeps_arrays(tmp_path, shape):
  array = np.random.default_rng(0).normal(size=shape)
  path = tmp_path / 'x.dat'
  with path.open('wb') as file:
    deap.write_python2_pickle(file, {'data': array})
  back = pickle.loads(path.read_bytes(), encoding='latin1')['data']
  np.testing.assert_array_equal(back, array)
  assert back.flags.writeable


@pytest.mark.parametrize('aspect', [(1, 1), (16, 15)])
def test_video_stream(tree, tmp_path, aspect):
  path = tree / 'face_video/s02/s02_trial03.avi'
  if aspect != (1, 1):
    path = tmp_path / 'x.avi'
    spec = TwinSpec(video_seconds=1.0)
    deap.write_face_video(path, spec, 1, 1)
  with av.open(str(path)) as container:
    video = container.streams.video[0]
    frames = list(container.decode(video))
    assert container.format.name == 'avi'
    assert (video.codec.name, video.pix_fmt) == ('h264', 'yuv420p')
    assert video.sample_aspect_ratio == fractions.Fraction(*aspect)
    shape = (video.average_rate, len(frames), video.width, video.height)
    assert shape == ((5, 20, 160, 128) if aspect == (1, 1) else (50, 50, 720, 576))


def test_marker(tree):
  marker = json.loads((tree / 'SYNTHETIC.json').read_text())
  assert (marker['corpus'], marker['subjects'], marker['trials']) == ('DEAP', 2, 6)
  assert marker['spec']['seed'] == 0
  assert marker['ceiling'].keys() == {'valence', 'arousal'}


def test_workers_do_not_change_the_files(tree, tmp_path):
  write_deap_twin(tmp_path / 'again', SPEC, workers=2)
  assert _contents(tmp_path / 'again') == _contents(tree)


def test_more_subjects_do_not_change_the_others():
  more = TwinSpec(subjects=5, trials=6)
  np.testing.assert_array_equal(deap.channels(SPEC, 2), deap.channels(more, 2))
  assert (
    face_track(TwinSpec(frame_rate=1.0), 2, 3)
    == face_track(TwinSpec(subjects=5, frame_rate=1.0), 2, 3)
  ).all()


def test_seeds_differ():
  other = TwinSpec(seed=1, frame_rate=1.0)
  assert (face_track(other, 2, 3) != face_track(TwinSpec(frame_rate=1.0), 2, 3)).any()


def test_continues_after_an_interruption(tree, tmp_path, monkeypatch):
  root = tmp_path / 'deap'
  whole = deap.write_face_video

  def breaks(path, spec, subject, trial):
    if (subject, trial) == (1, 4):
      path.write_bytes(b'half a file')
      raise KeyboardInterrupt
    whole(path, spec, subject, trial)

  monkeypatch.setattr(deap, 'write_face_video', breaks)
  with pytest.raises(KeyboardInterrupt):
    write_deap_twin(root, SPEC, workers=1)
  assert not (root / 'SYNTHETIC.json').exists()
  kept = root / 'face_video/s01/s01_trial03.avi'
  before = kept.stat().st_mtime_ns
  with pytest.raises(InputError, match='another spec'):
    write_deap_twin(root, TwinSpec(seed=9), workers=1)
  monkeypatch.setattr(deap, 'write_face_video', whole)
  write_deap_twin(root, SPEC, workers=1)
  assert kept.stat().st_mtime_ns == before
  assert _contents(root) == _contents(tree)


def test_complete_twin_is_left_alone(tree, monkeypatch):
  monkeypatch.setattr('mvp_jax.synthetic.tree.parallel_map', None)
  before = {path: path.stat().st_mtime_ns for path in tree.rglob('*')}
  write_deap_twin(tree, SPEC)
  assert {path: path.stat().st_mtime_ns for path in tree.rglob('*')} == before
  with pytest.raises(InputError, match='another spec'):
    write_deap_twin(tree, TwinSpec(subjects=3))


def test_refuses_a_directory_that_may_be_real(tmp_path):
  (tmp_path / 'face_video').mkdir()
  with pytest.raises(InputError, match='may be real'):
    write_deap_twin(tmp_path, SPEC)


@pytest.mark.parametrize(
  'field',
  [
    {'subjects': 0},
    {'subjects': 2.5},
    {'trials': 100},
    {'seed': -1},
    {'variant': 'real'},
    {'frame_rate': 0.0},
    {'width': 161},
    {'height': 32},
    {'pixel_aspect': (1, 0)},
    {'pixel_aspect': (1,)},
    {'video_seconds': 61.0},
  ],
)
def test_impossible_spec(field):
  with pytest.raises(InputError, match='twin: '):
    TwinSpec(**field)
