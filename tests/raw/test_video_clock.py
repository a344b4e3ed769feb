"""Videos whose clock stands still, runs ahead or belongs to one of several pictures."""

import av
import numpy as np
import pytest

from mvp_jax.raw.video import Video
from mvp_jax.raw.video_clock import Timeline
from mvp_jax.raw.video_times import video_times
from tests.raw.test_video_kinds import COUNT, KINDS, RATE, B, agree, write


def test_frames_handed_out_late_are_no_other_recording():
  # As FFmpeg's H.264 decoder does behind lost packets of a transport stream.
  timeline = Timeline(1 / 25)
  stamps = [*np.arange(60) / 25, 4.04, 2.6, 4.08, 2.64, 4.12, 4.16]
  times = [timeline.place(stamp) for stamp in stamps]
  assert not timeline.joined and timeline.late == 2
  np.testing.assert_allclose(times[-2:], [4.12, 4.16])
  assert np.all(np.diff(times) > 0)


def test_a_key_frame_far_back_begins_another_recording():
  timeline = Timeline(1 / 25)
  for stamp in 10 + np.arange(100) / 25:
    timeline.place(stamp)
  assert timeline.place(11.0, key=True) == pytest.approx(4.0)
  assert timeline.joined == [pytest.approx(4.0)]


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv'])
def test_a_picture_that_stands_is_told(tmp_path, name):
  stamps = [40 * k + 3000 * (k > 20) + 1500 * (k > 30) for k in range(COUNT)]
  times = write(tmp_path / name, stamps=stamps, **B)
  video = agree(tmp_path / name, times)
  assert video.notes == ['no new picture for 3.0 s from 0.8 s on, and 1 shorter']
  assert video_times(tmp_path / name).notes == video.notes


def test_few_pictures_a_second_are_no_pauses(tmp_path):
  times = write(tmp_path / 'a.mp4', stamps=[2000 * k for k in range(COUNT)], **B)
  with Video(tmp_path / 'a.mp4') as video:
    np.testing.assert_allclose([t for t, _ in video], times, atol=2e-3)
    assert video.notes == []


def test_an_avi_of_mostly_empty_slots_is_whole(tmp_path):
  # A camera that stamps in milliseconds: of 1000 slots a second 25 hold a frame.
  stamps = [40 * k for k in range(COUNT)]
  how = KINDS['mpeg4.avi'] | dict(stamps=stamps, rate=1000)
  times = write(tmp_path / 'a.avi', **how)
  agree(tmp_path / 'a.avi', times)


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv'])
def test_of_two_cameras_in_a_file_one_is_named(tmp_path, name):
  with av.open(str(tmp_path / name), 'w') as container:
    streams = [container.add_stream('mpeg4', rate=RATE) for _ in range(2)]
    for stream in streams:
      stream.height, stream.width, stream.pix_fmt = 48, 64, 'yuv420p'
    for k in range(COUNT):
      for stream in streams:
        image = np.full((48, 64, 3), 20 + 5 * k, np.uint8)
        frame = av.VideoFrame.from_ndarray(image, 'rgb24')
        frame.pts = k
        container.mux(stream.encode(frame))
    for stream in streams:
      container.mux(stream.encode())
  (note,) = video_times(tmp_path / name).notes
  assert note.startswith('it has 2 videos side by side; that of 64x48 pixels is read')


def test_a_picture_hours_after_the_sound_is_refused(tmp_path):
  stamps = [4_000_000 + 40 * k for k in range(COUNT)]
  write(tmp_path / 'a.mkv', stamps=stamps, sound=2, **B)
  with pytest.raises(ValueError, match='begins 4000 s after the sound'):
    list(Video(tmp_path / 'a.mkv'))
