import cv2
import numpy as np
import pytest

from mvp_jax.raw import face_detector
from mvp_jax.raw.face_detector import (
  alike,
  cascade_faces,
  contrasted,
  network_faces,
  second_opinion,
)

HEIGHT, WIDTH = 240, 320
TRUE = 170.0, 120.0, 90.0  # Haar's box on a drawn face of side 80


@pytest.fixture
def grey(draw_face):
  return cv2.cvtColor(draw_face(HEIGHT, WIDTH, 170, 120, 80), cv2.COLOR_RGB2GRAY)


def dimmed(grey, light, veil=0.0):
  noise = np.random.default_rng(0).normal(0, 0.7, grey.shape)
  return np.clip(light * grey + veil + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(('light', 'veil'), [(0.15, 0), (0.05, 0), (0.15, 150)])
def test_little_contrast_is_stretched(grey, light, veil):
  dull = dimmed(grey, light, veil)
  assert not cascade_faces(dull, 4, 40)
  found = cascade_faces(contrasted(dull), 4, 40)
  assert any(alike(box, TRUE) for box in found)


def test_enough_contrast_stays_as_it_is(grey):
  assert contrasted(grey) is grey


def test_a_small_face_in_a_plain_picture_is_not_stretched_away(draw_face):
  # Half a percent of the picture, which has hardly a level of grey besides.
  image = draw_face(480, 640, 470, 200, 34)
  assert np.ptp(contrasted(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))) > 150


@pytest.mark.parametrize('size', [(HEIGHT, WIDTH), (150, 200), (161, 203)])
def test_the_network_finds_the_same_face_at_any_size(grey, size):
  scale = size[0] / HEIGHT, size[1] / WIDTH
  best = network_faces(cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA))[0]
  found = best[0] / scale[1], best[1] / scale[0], best[2] / scale[0]
  np.testing.assert_allclose(found, TRUE, atol=8)


@pytest.mark.parametrize('light', [1.0, 0.15, 0.05])
@pytest.mark.parametrize('degrees', [0, 25, -25])
def test_a_closer_look_gives_the_box_of_the_cascade(grey, light, degrees):
  turn = cv2.getRotationMatrix2D(TRUE[:2], degrees, 1.0)
  image = cv2.warpAffine(grey, turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
  score, box = second_opinion(dimmed(image, light), TRUE)
  assert score > 0.62
  np.testing.assert_allclose(box, TRUE, atol=12)
  # Expected a little elsewhere, it is found where it is.
  _, moved = second_opinion(dimmed(image, light), (182.0, 112.0, 80.0))
  np.testing.assert_allclose(moved, TRUE, atol=12)


def test_a_closer_look_in_stored_pixels_that_are_not_square(grey):
  stored = cv2.resize(grey, (WIDTH * 3 // 4, HEIGHT), interpolation=cv2.INTER_AREA)
  _, box = second_opinion(stored, TRUE, pixel_aspect=4 / 3)
  np.testing.assert_allclose(box, TRUE, atol=8)


def test_a_closer_look_over_the_border(grey):
  _, box = second_opinion(grey[:, :190], TRUE)
  assert alike(box, TRUE)
  assert second_opinion(grey, (900.0, -300.0, 60.0)) is None


@pytest.mark.parametrize('seed', range(5))
def test_noise_textures_and_walls_are_no_faces(seed):
  rng = np.random.default_rng(seed)
  noise = cv2.resize(rng.uniform(0, 255, (30, 40)), (WIDTH, HEIGHT))
  spectrum = np.fft.rfft2(rng.normal(size=(HEIGHT, WIDTH)))
  rows, columns = np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None]
  texture = np.fft.irfft2(spectrum / (np.hypot(rows, columns) + 1e-3) ** 1.5)
  texture = 255 * (texture - texture.min()) / np.ptp(texture)
  wall = np.where(
    np.add.outer(np.arange(HEIGHT) // 20, np.arange(WIDTH) // 40) % 2, 200, 90
  )
  for picture in (noise, texture, wall):
    picture = picture.astype(np.uint8)
    boxes = cascade_faces(contrasted(picture), 4, 36) + network_faces(picture)
    assert not any(second_opinion(picture, box) for box in boxes)


def test_flat_pictures_do_no_harm():
  for level in (0, 90, 255):
    flat = np.full((64, 64), level, np.uint8)
    assert not network_faces(contrasted(flat))
    assert second_opinion(flat, (32.0, 32.0, 20.0)) is None


def test_each_thread_has_its_own_network():
  import concurrent.futures

  def tools():
    return face_detector._tools.cascade, face_detector._tools.network((1, 1, 64, 64))

  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    others = pool.submit(tools).result()
  assert all(one is not other for one, other in zip(tools(), others, strict=True))
