"""Labelled clips: random ones over the whole trial, laid ones for tests."""

import pickle

import numpy as np
import pytest

from mvp_jax.data.augment import AugmentConfig
from mvp_jax.data.batches import evaluation_batches, training_batches
from mvp_jax.data.clip_examples import LaidClips, TrainingClips
from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.examples import InputConfig
from mvp_jax.errors import InputError
from mvp_jax.targets.binary import Binary
from tests.data.tiny_trials import make_trial

_TARGET = Binary()
_OPTIONS = InputConfig(
  windows='random',
  clips=ClipLayout(frames=4, stride=2),
  clips_per_trial=3,
  views=2,
  test_clips=5,
  augment=AugmentConfig(operations=0, erase=0.0),
)


def _trial(number, frames=50, **ratings):
  return make_trial(
    trial_id=f's01_trial{number:02d}',
    subject=number,
    trial=number,
    stimulus=number,
    ratings={'valence': 6.0, 'arousal': 4.0} | ratings,
    signals=np.zeros((1, 1), np.float32),
    signals_valid=np.ones((1, 1), bool),
    frame_times=np.arange(frames, dtype=np.float32),
    frame_valid=np.ones(frames, bool),
  )


class NumberedFrames:
  """A corpus of frames of 16 x 16 that are their number all over."""

  def frames(self, trial, numbers):
    return np.broadcast_to(
      np.asarray(numbers, np.uint8)[:, None, None, None], (len(numbers), 16, 16, 3)
    ).copy()


def test_training_clips_are_views_of_random_places_in_each_part():
  trials = [_trial(1, valence=5.0), _trial(2, arousal=5.1)]
  source = TrainingClips(NumberedFrames(), trials, _OPTIONS, 8, _TARGET)
  assert len(source) == 6
  rng, starts = np.random.default_rng(0), {}
  for _ in range(100):
    for index in range(len(source)):
      example = source.read(source[index], rng)
      frames = example['frames']
      assert frames.shape == (2, 4, 8, 8, 3) and frames.dtype == np.uint8
      first = frames[0, 0, 0, 0, 0]
      for view in frames:  # two views of one clip: every other frame
        np.testing.assert_array_equal(view[:, 0, 0, 0], first + np.arange(4) * 2)
      np.testing.assert_array_equal(example['label'], [[0, 0], [1, 1]][index // 3])
      starts.setdefault(index % 3, set()).add(int(first))
  last = 50 - 7
  assert set.union(*starts.values()) == set(range(last + 1))
  assert max(starts[0]) <= round(last / 3) <= min(starts[1])
  assert max(starts[1]) <= round(2 * last / 3) <= min(starts[2])


def test_the_views_of_a_clip_are_augmented_each_for_itself():
  class Noise(NumberedFrames):
    def frames(self, trial, numbers):
      return (
        np.random.default_rng(0)
        .integers(0, 256, (len(numbers), 16, 16, 3))
        .astype(np.uint8)
      )

  source = TrainingClips(Noise(), [_trial(1)], _OPTIONS, 8, _TARGET)
  one, other = source.read((0, 0), np.random.default_rng(0))['frames']
  assert not np.array_equal(one, other)


def test_batches_are_repeatable_and_of_the_configured_size():
  source = TrainingClips(
    NumberedFrames(), [_trial(n) for n in range(4)], _OPTIONS, 8, _TARGET
  )

  def batches():
    iterator = iter(training_batches(source, 4, 7, 0, source.read))
    return [next(iterator) for _ in range(5)]

  for one, other in zip(batches(), batches(), strict=True):
    assert one['frames'].shape == (4, 2, 4, 8, 8, 3) and one['label'].shape == (4, 2)
    for name in one:
      np.testing.assert_array_equal(one[name], other[name])


def test_laid_clips_are_five_clips_from_start_to_end_and_three_crops_of_each():
  class Ramp(NumberedFrames):
    def frames(self, trial, numbers):
      frames = super().frames(trial, numbers)
      frames[..., 1] = np.arange(16) * 10  # the column
      return frames

  source = LaidClips(Ramp(), [_trial(1), _trial(2, frames=90)], _OPTIONS, 14, _TARGET)
  assert len(source) == 2
  example = source[1]
  frames = example['frames']
  assert frames.shape == (15, 4, 14, 14, 3) and example['trial'] == 1
  last = 90 - 7
  starts = frames[:, 0, 0, 0, 0].reshape(5, 3)
  np.testing.assert_array_equal(
    starts, np.round(np.linspace(0, last, 5)).astype(int)[:, None].repeat(3, 1)
  )
  assert frames[-1, -1, 0, 0, 0] == 89
  columns = frames[:3, 0, 0, 0, 1]  # left, middle, right
  np.testing.assert_array_equal(columns, [0, 10, 20])
  np.testing.assert_array_equal(frames, source[1]['frames'])
  (batch,) = evaluation_batches(source, 8)
  assert batch['weight'].tolist() == [1, 1] + [0] * 6


def test_a_video_shorter_than_a_clip_repeats_its_last_frame():
  source = LaidClips(NumberedFrames(), [_trial(1, frames=3)], _OPTIONS, 8, _TARGET)
  np.testing.assert_array_equal(source[0]['frames'][:, :, 0, 0, 0], [[0, 2, 2, 2]] * 15)


@pytest.mark.parametrize('source', [TrainingClips, LaidClips])
def test_sources_go_to_reader_processes(source):
  original = source(NumberedFrames(), [_trial(1)], _OPTIONS, 8, _TARGET)
  copy = pickle.loads(pickle.dumps(original))
  assert len(copy) == len(original) and copy.options == _OPTIONS


def test_a_rating_that_is_not_there():
  with pytest.raises(InputError, match="s01_trial01 has no rating 'valence'"):
    LaidClips(NumberedFrames(), [_trial(1, valence=np.nan)], _OPTIONS, 8, _TARGET)


@pytest.mark.parametrize('name', ['clips_per_trial', 'views', 'test_clips'])
def test_what_no_input_can_have(name):
  with pytest.raises(ValueError, match=f'{name} is 0, must be at least 1'):
    InputConfig(**{name: 0})


def test_labels_are_of_the_target_and_of_what_was_fitted():
  trials = [_trial(1, arousal=4.5), _trial(2, arousal=5.5)]
  median = Binary(('arousal',), 'median')
  unlabelled = TrainingClips(NumberedFrames(), trials, _OPTIONS, 8, median)
  example = unlabelled.read((0, 0), np.random.default_rng(0))
  assert set(example) == {'frames', 'weight'}
  fitted = Binary(('arousal',), 4.0).fixed()
  for target, labels, wanted in [
    (Binary(('arousal',), 5.0), None, [[0], [1]]),
    (median, fitted, [[1], [1]]),
  ]:
    source = LaidClips(NumberedFrames(), trials, _OPTIONS, 8, target, labels)
    assert [source[i]['label'].tolist() for i in range(2)] == wanted


@pytest.mark.parametrize('source', [TrainingClips, LaidClips])
def test_a_trial_without_video_is_named(source):
  trials = [_trial(1), _trial(2, frames=0), _trial(3, frames=0)]
  with pytest.raises(InputError, match=r's01_trial02 has no video \(2 such trials\)'):
    source(NumberedFrames(), trials, _OPTIONS, 8, _TARGET)
