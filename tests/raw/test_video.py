import numpy as np
import pytest

from mvp_jax.raw.video import Video, luma, sample
from mvp_jax.raw.video_clock import Timeline


def grey(level):
  return np.full((64, 96, 3), level, np.uint8)


@pytest.mark.parametrize('suffix', ['avi', 'mp4'])
def test_frames_come_in_order_with_their_times(tmp_path, write_video, suffix):
  levels = 40 + 2 * np.arange(75)
  path = tmp_path / f'v.{suffix}'
  write_video(path, [grey(level) for level in levels], 25, aspect='16/15')
  with Video(path) as video:
    assert (video.info.rate, video.info.width, video.info.height) == (25, 96, 64)
    assert video.info.pixel_aspect == pytest.approx(16 / 15)
    times, seen = zip(*[(t, luma(f).mean()) for t, f in video], strict=True)
    assert (video.count, video.seconds) == (75, pytest.approx(3.0))
  np.testing.assert_allclose(times, np.arange(75) / 25, atol=1e-6)
  # Limited range luma: 16 + 219/255 of the level.
  np.testing.assert_allclose(seen, 16 + levels * 219 / 255, atol=1.5)


def test_sample_takes_the_nearest_frame():
  frames = [(k / 50, k) for k in range(3000)]
  picked = list(sample(iter(frames), 25.0, 60.0))
  assert [k for _, k in picked] == list(range(0, 3000, 2))
  times = np.array([t for t, _ in sample(iter(frames), 7.0, 60.0)])
  np.testing.assert_allclose(times, np.arange(420) / 7, atol=0.01 + 1e-9)


def test_sample_repeats_frames_where_there_are_too_few():
  frames = [(k / 5, k) for k in range(10)]
  picked = [k for _, k in sample(iter(frames), 10.0, 60.0)]
  assert len(picked) == 20 and picked[0] == 0 and picked[-1] == 9
  assert max(np.bincount(picked)) <= 3


def test_sample_stops_at_the_end_of_the_trial_but_reads_on():
  frames = iter([(k / 10, k) for k in range(100)])
  assert [k for _, k in sample(frames, 5.0, 2.0)] == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
  assert next(frames, None) is None


def test_sample_of_irregular_frames():
  frames = [(0.0, 'a'), (0.31, 'b'), (0.9, 'c'), (1.0, 'd')]
  # Wanted at 0, .25, .5, .75, 1; nearest by hand.
  assert [f for _, f in sample(iter(frames), 4.0, 9.0)] == ['a', 'b', 'b', 'c', 'd']


def test_sample_of_nothing():
  assert list(sample(iter([]), 25.0, 60.0)) == []


def times_of(stamps):
  """The times of frames with these timestamps, in 1/50 s."""
  timeline = Timeline(1 / 50)
  return [timeline.place(None if x is None else x / 50) for x in stamps]


def test_missing_and_backward_timestamps_are_counted():
  times = times_of([25, None, 27, 27, 29, 40])
  # The one that comes too late follows at once, and those to come catch up.
  np.testing.assert_allclose(times, np.array([0, 1, 2, 2.1, 4, 15]) / 50)


def test_late_timestamps_do_not_push_the_rest():
  stamps = [0, 2, 2, *range(3, 200)]
  times = times_of(stamps)
  np.testing.assert_allclose(times[10:], np.array(stamps[10:]) / 50)
  assert np.all(np.diff(times) > 0)


def test_a_clock_that_begins_anew_is_followed():
  # Two recordings of a minute, one behind the other in one file.
  stamps = [*range(3000), *range(3000)]
  np.testing.assert_allclose(times_of(stamps), np.arange(6000) / 50)


def test_a_jump_of_hours_is_an_error():
  with pytest.raises(ValueError, match='jump by 7201 s'):
    times_of([0, 1, 50 * 7201])


def test_dropped_frames_are_seen_one_by_one():
  times = times_of([2, 3, 4, 5, 7, 9, 30, 31, None])
  np.testing.assert_allclose(times, np.array([0, 1, 2, 3, 5, 7, 28, 29, 30]) / 50)


def test_the_time_before_the_first_frame_has_no_sample():
  frames = [(3.0 + k / 25, k) for k in range(50)]
  assert [k for _, k in sample(iter(frames), 25.0, 60.0)][:50] == list(range(50))
  # A little after zero is as good as zero.
  frames = [(0.007 + k / 25, k) for k in range(50)]
  assert [k for _, k in sample(iter(frames), 25.0, 60.0)][:50] == list(range(50))
