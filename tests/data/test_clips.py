"""Clips: evenly over the whole trial, and random ones that cover it."""

import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvp_jax.data.clips import ClipLayout, RandomClips, lay_clips


def _trial(count, rate=5.0, invalid=()):
  valid = np.ones(count, bool)
  valid[list(invalid)] = False
  return types.SimpleNamespace(
      trial_id='s01_trial01', frame_valid=valid,
      frame_times=(np.arange(count) / rate).astype(np.float32))


class _NumberedFrames:
  """A corpus whose frames hold their number; left and right differ by 100."""

  def frames(self, trial, numbers):
    left = np.asarray(numbers, np.uint8)[:, None, None, None]
    return np.concatenate([left, left + 100], axis=2) + np.zeros((1, 1, 1, 3), np.uint8)


def test_clips_of_a_deap_trial():
  # 60 s at 25 Hz; clips of 61 frames (2.44 s), one every 2.56 s: 23 of them.
  layout = ClipLayout(frames=16, stride=4, spacing=2.56, tubelet=2)
  numbers, times, valid = lay_clips(_trial(1500, 25.0), 25.0, layout)
  assert layout.span == 61 and layout.slots == 8
  assert numbers.shape == (23, 16)
  assert numbers[0, 0] == 0 and numbers[-1, -1] == 1499
  assert np.all(np.diff(numbers, axis=1) == 4)
  steps = np.diff(numbers[:, 0])
  assert steps.max() - steps.min() <= 1  # evenly
  assert valid.shape == times.shape == (23 * 8,) and valid.all()
  # A slot's time is the middle of its two frames.
  np.testing.assert_allclose(times, numbers.reshape(-1, 2).mean(1) / 25, rtol=1e-6)
  assert times.dtype == np.float32


@given(st.integers(1, 400), st.integers(1, 4), st.floats(0.3, 8), st.integers(1, 4))
@settings(deadline=None)
def test_clips_span_any_trial(count, stride, spacing, halves):
  layout = ClipLayout(frames=2 * halves, stride=stride, spacing=spacing, tubelet=2)
  numbers, times, valid = lay_clips(_trial(count), 5.0, layout)
  assert numbers.shape == (max(1, round(count / 5 / spacing)), 2 * halves)
  assert numbers.min() == 0 and numbers.max() < count
  starts = numbers[:, 0]
  if count >= layout.span:
    assert valid.all()
    if len(numbers) > 1:
      assert numbers[-1, -1] == count - 1
      assert np.ptp(np.diff(starts)) <= 1
  else:
    assert not starts.any()
  assert np.all((times >= 0) & (times <= (count - 1) / 5 + 1e-4))


def test_a_short_video_repeats_its_last_frame_and_says_so():
  layout = ClipLayout(frames=8, stride=2, spacing=1.0, tubelet=2)
  numbers, times, valid = lay_clips(_trial(7), 5.0, layout)
  np.testing.assert_array_equal(numbers, [[0, 2, 4, 6, 6, 6, 6, 6]])
  np.testing.assert_array_equal(valid, [True, True, False, False])
  np.testing.assert_allclose(times, [0.2, 1.0, 1.2, 1.2], rtol=1e-6)


def test_a_slot_is_valid_only_with_a_face_in_all_its_frames():
  layout = ClipLayout(frames=4, stride=1, spacing=0.8, tubelet=2)
  numbers, _, valid = lay_clips(_trial(8, invalid=[1, 6, 7]), 5.0, layout)
  np.testing.assert_array_equal(numbers, [[0, 1, 2, 3], [4, 5, 6, 7]])
  np.testing.assert_array_equal(valid, [False, True, True, False])


@pytest.fixture(scope='module')
def random_clips():
  layout = ClipLayout(frames=4, stride=2, spacing=1.0, tubelet=2)
  return RandomClips(_NumberedFrames(), [_trial(50), _trial(5)], layout, places=4,
                     mask_ratio=0.5, per_trial=3)


def test_an_epoch_has_each_part_of_each_trial_once(random_clips):
  assert [random_clips[i] for i in range(len(random_clips))] == [
      (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


def test_random_clips_cover_a_trial(random_clips):
  rng = np.random.default_rng(0)
  starts = {part: set() for part in range(3)}
  flipped = 0
  for part in starts:
    for _ in range(400):
      clip = random_clips.read((0, part), rng)
      pixels = clip['frames']
      assert pixels.shape == (4, 1, 2, 3) and pixels.flags['C_CONTIGUOUS']
      left = pixels[:, 0, 0, 0].astype(int)
      flipped += left[0] >= 100
      numbers = np.minimum(left, pixels[:, 0, 1, 0])
      np.testing.assert_array_equal(np.diff(numbers), 2)
      starts[part].add(int(numbers[0]))
      assert clip['weight'] == 1
      np.testing.assert_array_equal(
          np.sort(np.concatenate([clip['visible'], clip['masked']])), np.arange(8))
  # Starts 0..43 (50 frames, span 7) in three parts, whose ends touch.
  assert starts == {0: set(range(0, 15)), 1: set(range(14, 30)),
                    2: set(range(29, 44))}
  assert 500 < flipped < 700  # half of 1200, deviation 17


def test_random_clips_of_a_short_video(random_clips):
  clip = random_clips.read((1, 2), np.random.default_rng(0))
  numbers = clip['frames'][:, 0, :, 0].min(1)
  np.testing.assert_array_equal(numbers, [0, 2, 4, 4])
