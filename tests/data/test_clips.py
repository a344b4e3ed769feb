"""Clips evenly over the whole trial."""

import dataclasses
import types

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mvp_jax.data.clips import ClipLayout, lay_baseline, lay_clips
from mvp_jax.data.trial import Frames


class Recorder:
  """A corpus whose frames are their numbers; keeps how many were asked for."""

  def __init__(self):
    self.asked = []

  def frames(self, trial, numbers):
    self.asked.append(len(numbers))
    return np.asarray(numbers)[:, None, None, None]


def test_clips_are_read_a_few_at_a_time():
  """A window of a minute would be 55 MB at 224 pixels, and trials can be longer."""
  layout = ClipLayout(frames=4, stride=2, spacing=1.0)
  corpus, video = Recorder(), _video(500)
  read = layout.clips(corpus, types.SimpleNamespace(streams={'video': video}))
  assert corpus.asked == []
  clips = []
  for clip, readable in read:
    assert readable and sum(corpus.asked) - 4 * len(clips) <= 4 * 8
    clips.append(clip[:, 0, 0, 0])
  np.testing.assert_array_equal(clips, lay_clips(video, layout)[0])


def _video(count, rate=5.0, invalid=()):
  valid = np.ones(count, bool)
  valid[list(invalid)] = False
  times = (np.arange(count) / rate).astype(np.float32)
  return Frames(times, valid, first_chunk=0, rate=rate)


def test_clips_of_a_deap_trial():
  # 60 s at 25 Hz; clips of 61 frames (2.44 s), one every 2.56 s: 23 of them.
  layout = ClipLayout(frames=16, stride=4, spacing=2.56, tubelet=2)
  numbers, times, valid = lay_clips(_video(1500, 25.0), layout)
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
  numbers, times, valid = lay_clips(_video(count), layout)
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
  numbers, times, valid = lay_clips(_video(7), layout)
  np.testing.assert_array_equal(numbers, [[0, 2, 4, 6, 6, 6, 6, 6]])
  np.testing.assert_array_equal(valid, [True, True, False, False])
  np.testing.assert_allclose(times, [0.2, 1.0, 1.2, 1.2], rtol=1e-6)


def test_a_slot_is_valid_only_with_a_face_in_all_its_frames():
  layout = ClipLayout(frames=4, stride=1, spacing=0.8, tubelet=2)
  numbers, _, valid = lay_clips(_video(8, invalid=[1, 6, 7]), layout)
  np.testing.assert_array_equal(numbers, [[0, 1, 2, 3], [4, 5, 6, 7]])
  np.testing.assert_array_equal(valid, [False, True, True, False])


def _with_baseline(count, early, rate=5.0, invalid=()):
  before = _video(early, rate, invalid)
  times = before.times - np.float32(early / rate)
  before = dataclasses.replace(before, times=times)
  return dataclasses.replace(_video(count, rate), first=early, before=before)


def test_clips_of_the_5_s_before_an_amigos_trial():
  # 125 frames at 25 Hz hold two clips of 61, all before the onset.
  video = _with_baseline(1500, 125, 25.0)
  numbers, times, valid = lay_baseline(video, ClipLayout())
  np.testing.assert_array_equal(numbers[:, 0], [-125, -61])
  np.testing.assert_array_equal(numbers[:, -1], [-65, -1])
  assert np.all(np.diff(numbers, axis=1) == 4) and valid.all() and valid.shape == (16,)
  np.testing.assert_allclose(times, numbers.reshape(-1, 2).mean(1) / 25, atol=1e-6)
  assert times.dtype == np.float32
  # Those of the trial stay as they are.
  for own, plain in zip(
    lay_clips(video, ClipLayout()),
    lay_clips(_video(1500, 25.0), ClipLayout()),
    strict=True,
  ):
    np.testing.assert_array_equal(own, plain)


def test_a_baseline_shorter_than_a_clip_goes_on_into_the_trial():
  layout = ClipLayout(frames=8, stride=2, spacing=3.2, tubelet=2)
  video = _with_baseline(40, 7, invalid=[3])
  numbers, times, valid = lay_baseline(video, layout)
  np.testing.assert_array_equal(numbers, [[-7, -5, -3, -1, 1, 3, 5, 7]])
  np.testing.assert_allclose(times, [-1.2, -0.4, 0.4, 1.2], atol=1e-6)
  assert valid.tolist() == [True, True, False, False]
  faceless = _with_baseline(40, 7, invalid=[4])
  assert lay_baseline(faceless, layout)[2].tolist() == [True, False, False, False]
  # A slot on both sides of the onset is of neither.
  across = lay_baseline(_with_baseline(40, 6), layout)
  np.testing.assert_array_equal(across[0][0, :4], [-6, -4, -2, 0])
  assert across[2].tolist() == [True, False, False, False]


def test_no_clips_of_no_baseline():
  numbers, times, valid = lay_baseline(_video(40), ClipLayout(frames=8, tubelet=2))
  assert numbers.shape == (0, 8) and times.shape == valid.shape == (0,)
