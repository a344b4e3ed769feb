"""Pictures in numbered files as a video."""

import cv2
import numpy as np
import pytest

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.frames import FrameSpec
from mvp_jax.raw.numbered import Pictures, numbered_files, picture_faces


def _picture(path, value, size=(40, 60)):
  cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))
  return path


def _values(pictures):
  return [(time, frame.to_ndarray(format='bgr24').mean()) for time, frame in pictures]


def test_the_number_counts_and_not_the_place(tmp_path):
  for number in (10, 2, 7):
    _picture(tmp_path / f'a1b{number:03}.png', 10 * number)
  (tmp_path / 'notes.txt').touch()
  (tmp_path / 'a1b.png').touch()
  files, others = numbered_files(tmp_path.iterdir(), 'A1b')
  assert [*files] == [2, 7, 10] and files[7].name == 'a1b007.png'
  assert [path.name for path in others] == ['a1b.png', 'notes.txt']
  pictures = Pictures(files, range(1, 12), 10.0)
  found = _values(pictures)
  # Before the first the first, in a gap the one before.
  values = [20, 20, 20, 20, 20, 20, 70, 70, 70, 100, 100]
  assert found == [(i / 10, value) for i, value in enumerate(values)]
  assert pictures.notes == ['8 of 11 frames are missing: 1, 3, 4, ...']
  assert (pictures.info.width, pictures.info.height) == (60, 40)


def test_two_files_of_one_number(tmp_path):
  paths = [_picture(tmp_path / name, 0) for name in ('a01.png', 'a001.png')]
  with pytest.raises(Dropped) as raised:
    numbered_files(paths, 'a')
  assert 'a second file of frame 1, also a001.png' in raised.value.reason


def test_what_is_no_picture_is_told(tmp_path):
  files = {1: _picture(tmp_path / '1.png', 10), 2: tmp_path / '2.png'}
  files[2].write_bytes(b'no picture')
  pictures = Pictures(files, range(1, 3), 10.0)
  assert [value for _, value in _values(pictures)] == [10, 10]
  assert pictures.notes == ['1 of 2 frames are no pictures: 2']
  with pytest.raises(Dropped, match='broken_video'):
    Pictures({2: files[2]}, range(2, 3), 10.0)


def test_a_picture_of_another_size_is_named(tmp_path):
  files = {1: _picture(tmp_path / '1.png', 10)}
  files[2] = _picture(tmp_path / '2.png', 10, (20, 30))
  with pytest.raises(Dropped) as raised:
    _values(Pictures(files, range(1, 3), 10.0))
  assert raised.value.code == 'broken_video'
  assert '2.png: 30 x 20 pixels, and 1.png 60 x 40' in raised.value.reason


def test_a_frame_without_a_picture_has_no_face(tmp_path, draw_face):
  image = draw_face(96, 96, 48, 50, 44)
  files = {}
  for number in (3, 4, 5, 7, 8, 9, 10):
    files[number] = tmp_path / f'{number}.png'
    cv2.imwrite(str(files[number]), image)
  found = picture_faces(files, range(3, 11), 5.0, FrameSpec(5.0, 32, 'X'), 'here')
  np.testing.assert_allclose(found['times'], np.arange(8) / 5)
  assert found['valid'].tolist() == [True] * 3 + [False] + [True] * 4
  with pytest.raises(Dropped) as raised:
    for path in files.values():
      _picture(path, 128, (96, 96))
    picture_faces(files, range(3, 11), 5.0, FrameSpec(5.0, 32, 'X'), 'here')
  assert raised.value.code == 'no_face' and raised.value.reason.startswith('here: ')
