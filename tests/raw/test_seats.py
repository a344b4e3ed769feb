"""One person's part of a picture, and videos that begin before the onset."""

import cv2
import numpy as np
import pytest

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.frames import FrameSpec, face_frames


def test_each_seat_has_its_own_face(tmp_path, draw_face, write_video):
  # From left to right, in quarters of 120 columns: middle of the face, its side.
  faces = [(62, 64, 50), (55, 60, 70), None, (66, 58, 60)]
  seats = [
    draw_face(120, 120, *face) if face else np.full((120, 120, 3), 90, np.uint8)
    for face in faces
  ]
  path = tmp_path / 'P(4,1,3,2)_N1_face.mov'
  write_video(path, [np.hstack(seats)] * 20, 5)
  for seat, face in enumerate(faces):
    spec = FrameSpec(5.0, 32, 'Y', (seat / 4, seat / 4 + 0.25))
    if face is None:
      with pytest.raises(Dropped, match='no_face'):
        face_frames(path, spec, 4.0)
      continue
    found = face_frames(path, spec, 4.0)
    assert found['valid'].all()
    x, y, side = found['boxes'].mean(0)
    assert x == pytest.approx(120 * seat + face[0], abs=4)
    assert y == pytest.approx(face[1], abs=8)
    assert side == pytest.approx(1.13 * face[2], rel=0.15)
  # The whole picture holds the biggest.
  x, _, _ = face_frames(path, FrameSpec(5.0, 32, 'Y'), 4.0)['boxes'].mean(0)
  assert x == pytest.approx(120 + 55, abs=4)


def test_time_zero_is_the_onset(tmp_path, draw_face, write_video):
  images = [draw_face(96, 96, 48, 48, 44) for _ in range(60)]
  for number, image in enumerate(images):
    image[:, :18] = 4 * number  # tells the frame
  path = tmp_path / 'x.mov'
  write_video(path, images, 5)
  found = face_frames(path, FrameSpec(5.0, 96, 'X'), 7.0, onset=5.0)
  np.testing.assert_allclose(found['times'], np.arange(35) / 5, atol=1e-6)
  assert found['valid'].all()
  x, _, side = found['boxes'][0]
  for k in (0, 10, 34):
    image = cv2.imdecode(np.frombuffer(found['jpegs'][k], np.uint8), 0)
    band = image[:, 1 : round((18 - x) * 96 / side + 48) - 2]
    assert band.size and band.mean() == pytest.approx(4 * (25 + k), abs=3)
  # What comes before is there where it is wanted, and changes nothing of the rest.
  for wanted, count in ((5.0, 25), (2.0, 10), (9.0, 25)):
    both = face_frames(path, FrameSpec(5.0, 96, 'X'), 7.0, onset=5.0, before=wanted)
    assert both['before'] == count
    np.testing.assert_allclose(both['times'], np.arange(-count, 35) / 5, atol=1e-6)
    assert list(both['jpegs'][count:]) == list(found['jpegs'])
    np.testing.assert_array_equal(both['boxes'][count:], found['boxes'])
    assert both['quality'] == found['quality']
    image = cv2.imdecode(np.frombuffer(both['jpegs'][0], np.uint8), 0)
    x, _, side = both['boxes'][0]
    band = image[:, 1 : round((18 - x) * 96 / side + 48) - 2]
    assert band.size and band.mean() == pytest.approx(4 * (25 - count), abs=3)
  # A frame comes twice where there are fewer than wanted.
  twice = face_frames(path, FrameSpec(10.0, 32, 'X'), 7.0, onset=5.0, before=1.0)
  assert twice['before'] == 10 and len(twice['times']) == 80
  assert found.get('before') is None
  with pytest.raises(Dropped, match='length_mismatch.* 7.0 s of video, 12.0 s'):
    face_frames(path, FrameSpec(5.0, 32, 'X'), 12.0, onset=5.0)
