"""The files that twins' pictures and sounds are written to, as PyAV and SciPy read."""

import dataclasses

import av
import numpy as np
import pytest
from scipy.io import wavfile

from mvp_jax.synthetic.video import side_by_side, write_video, write_wav
from mvp_jax.synthetic.voice import RATE


@dataclasses.dataclass(frozen=True)
class _Spec:
  frame_rate: float = 10.0
  height: int = 64
  crf: int = 18
  pixel_aspect: tuple = (1, 1)


def _picture(grey, width=64, height=64):
  image = np.full((height * 3 // 2, width), 128, np.uint8)
  image[:height] = grey
  return image


_TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


@pytest.mark.parametrize('sound', [None, _TONE], ids=['silent', 'with sound'])
def test_a_video_has_its_frames_and_its_sound(tmp_path, sound):
  frames = [_picture(50 + 15 * i) for i in range(10)]
  write_video(tmp_path / 'a.mp4', _Spec(), 64, frames, sound)
  with av.open(str(tmp_path / 'a.mp4')) as file:
    shown = [x.to_ndarray(format='gray').mean() for x in file.decode(video=0)]
    assert file.streams.video[0].average_rate == 10
    assert len(file.streams.audio) == (sound is not None)
  assert len(shown) == 10 and np.abs(np.diff(np.diff(shown))).max() < 4
  if sound is not None:
    with av.open(str(tmp_path / 'a.mp4')) as file:
      heard = np.concatenate([x.to_ndarray()[0] for x in file.decode(audio=0)])
    peak = np.argmax(np.abs(np.fft.rfft(heard[:RATE])))
    assert abs(peak - 440) <= 1 and 0.3 < heard.std() < 0.4


def test_a_wav_holds_what_was_said(tmp_path):
  write_wav(tmp_path / 'a.wav', _TONE)
  rate, found = wavfile.read(tmp_path / 'a.wav')
  assert rate == RATE and found.dtype == np.int16
  np.testing.assert_allclose(found / 32767, _TONE, atol=2e-5)


def test_pictures_side_by_side_keep_brightness_and_colour():
  images = [_picture(50), _picture(200)]
  images[0][64:80], images[0][80:] = 90, 160  # U, V
  both = side_by_side(images, 64)
  assert both.shape == (96, 128)
  assert (both[:64, :64] == 50).all() and (both[:64, 64:] == 200).all()
  colours = both[64:80].reshape(32, 64), both[80:].reshape(32, 64)
  assert (colours[0][:, :32] == 90).all() and (colours[0][:, 32:] == 128).all()
  assert (colours[1][:, :32] == 160).all()
