"""Aff-Wild2 from its official layout to prepared trials, by its twin."""

import shutil

import cv2
import numpy as np
import pytest

from mvp_jax import corpora
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.preparation import prepare

SPEC = corpora.find('affwild2').twin.Spec(
  train=7, validation=2, test=1, seconds=8.0, frame_rate=10.0
)
_SETTINGS = {'frame_rate': 5.0, 'frame_size': 32, 'workers': 1}


@pytest.fixture(scope='module')
def twin(tmp_path_factory):
  root = tmp_path_factory.mktemp('affwild2') / 'twin'
  corpora.find('affwild2').twin.write(root, SPEC, 2)
  return root


@pytest.fixture(scope='module')
def corpus(twin, tmp_path_factory):
  data = tmp_path_factory.mktemp('data')
  return PreparedCorpus(prepare('affwild2', twin, data, **_SETTINGS))


def _annotation(twin, part, name):
  path = twin / 'VA_Estimation_Challenge' / f'{part}_Set' / f'{name}.txt'
  return np.loadtxt(path, delimiter=',', skiprows=1)


def test_all_trials_are_there_with_their_parts(corpus):
  names = [f'video{i}' for i in range(1, 8)] + ['video8_left', 'video8_right', 'video9']
  assert [t.trial_id for t in corpus.trials] == names  # none of the test set
  assert [t.part for t in corpus.trials] == ['train'] * 7 + ['validation'] * 3
  by_name = {t.trial_id: t for t in corpus.trials}
  assert by_name['video8_left'].subject == by_name['video8_right'].subject


def test_annotation_is_frame_by_frame_on_the_clock_of_the_video(twin, corpus):
  lines = _annotation(twin, 'Train', 'video3')
  ratings = corpus.trials[2].streams['ratings']
  rated = (lines != -5).all(1)
  assert 0 < rated.sum() < len(lines) == 80
  np.testing.assert_array_equal(ratings.valid.all(1), rated)
  np.testing.assert_allclose(ratings.values[rated], lines[rated], atol=1e-6)
  np.testing.assert_allclose(ratings.times, np.arange(80) / 10, atol=1e-3)


def test_a_frame_without_a_crop_is_not_valid_and_keeps_its_time(twin, corpus):
  for trial in corpus.trials:
    there = {int(p.stem) for p in (twin / 'cropped_aligned' / trial.trial_id).iterdir()}
    video = trial.streams['video']
    numbers = np.round(video.times * 10).astype(int) + 1
    assert video.valid.tolist() == [n in there for n in numbers.tolist()]
  assert not all(t.streams['video'].valid.all() for t in corpus.trials)


def test_a_crop_is_that_of_its_frame(twin, corpus):
  trial = corpus.trials[0]
  number = 31  # 3 s
  path = twin / 'cropped_aligned' / trial.trial_id / f'{number:05}.jpg'
  wanted = cv2.resize(cv2.imread(str(path)), (32, 32), interpolation=cv2.INTER_AREA)
  (found,) = corpus.frames(trial, [15])
  assert np.abs(found[..., ::-1].astype(int) - wanted).mean() < 3


def test_two_people_hear_the_same_sound(corpus):
  left, right = corpus.trials[7:9]
  sounds = [corpus.samples(t, 0, 44_100)[0] for t in (left, right)]
  np.testing.assert_array_equal(*sounds)
  assert np.abs(sounds[0]).max() > 300
  assert left.streams['audio'].seconds == pytest.approx(8.0, abs=0.02)


@pytest.fixture
def damaged(twin, tmp_path):
  """A function of (change of a copy of the twin, fields) -> the line of the error."""

  def run(change, **fields):
    root = tmp_path / 'copy'
    shutil.copytree(twin, root)
    change(root)
    with pytest.raises(InputError) as raised:
      prepare('affwild2', root, tmp_path / 'data', **_SETTINGS | fields)
    return str(raised.value)

  return run


def test_an_annotation_of_another_length_is_lost_by_name(damaged):
  def change(root):
    path = root / 'VA_Estimation_Challenge' / 'Train_Set' / 'video1.txt'
    path.write_text('\n'.join(path.read_text().splitlines()[:41]) + '\n')

  told = damaged(change)
  assert 'length_mismatch' in told and '40 lines' in told and '80 frames' in told


def test_crops_that_are_not_there_are_lost_by_name(damaged):
  told = damaged(lambda root: shutil.rmtree(root / 'cropped_aligned' / 'video2'))
  assert 'missing_video' in told and 'no folder cropped_aligned/video2' in told


def test_crops_of_frames_far_past_the_annotation_are_told(damaged):
  def change(root):
    for path in (root / 'batch1').iterdir():
      path.unlink()
    for path in (root / 'new_vids').iterdir():
      path.unlink()
    path = root / 'VA_Estimation_Challenge' / 'Train_Set' / 'video1.txt'
    path.write_text('\n'.join(path.read_text().splitlines()[:41]) + '\n')

  told = damaged(change, streams=('video',), video_rate=10.0)
  assert 'length_mismatch' in told and '40 lines' in told and 'of later frames' in told


def test_one_annotated_frame_is_a_trial(twin, tmp_path):
  root = tmp_path / 'copy'
  shutil.copytree(twin, root, ignore=shutil.ignore_patterns('*.mp4'))
  path = root / 'VA_Estimation_Challenge' / 'Train_Set' / 'video1.txt'
  path.write_text('valence,arousal\n0.5,0.5\n')
  for crop in (root / 'cropped_aligned' / 'video1').glob('*.jpg'):
    if crop.stem != '00001':
      crop.unlink()
  fields = _SETTINGS | {'streams': ('video',), 'video_rate': 10.0}
  corpus = PreparedCorpus(prepare('affwild2', root, tmp_path / 'data', **fields))
  assert len(corpus.trials[0].streams['ratings'].values) == 1


def test_a_video_that_is_not_there_has_no_sound(damaged):
  told = damaged(lambda root: (root / 'batch1' / 'video1.mp4').unlink())
  assert 'missing_audio' in told and 'video1: no video of this name' in told


def test_crops_alone_need_no_video(twin, tmp_path):
  root = tmp_path / 'copy'
  shutil.copytree(twin, root, ignore=shutil.ignore_patterns('*.mp4'))
  fields = _SETTINGS | {'streams': ('video',), 'video_rate': 10.0}
  corpus = PreparedCorpus(prepare('affwild2', root, tmp_path / 'data', **fields))
  assert len(corpus.trials) == 10
  assert corpus.trials[0].streams['ratings'].times[-1] == pytest.approx(7.9)
