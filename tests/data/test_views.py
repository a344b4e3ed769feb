"""Views: the reference's crops, resized, flipped, alike in all frames."""

import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mvp_jax.config import parse
from mvp_jax.data.views import ViewConfig, crops, draw_view
from mvp_jax.errors import InputError

_SCALES = (1.0, 0.875, 0.75, 0.66)


def _reference_crops(width, height, size):
  """GroupMultiScaleCrop with its defaults, as the reference code writes it out."""
  sizes = [int(min(width, height) * scale) for scale in (1, 0.875, 0.75, 0.66)]
  sizes = [size if abs(x - size) < 3 else x for x in sizes]
  for i, h in enumerate(sizes):
    for j, w in enumerate(sizes):
      if abs(i - j) <= 1:
        right, down = (width - w) // 4, (height - h) // 4
        for x, y in [
          (0, 0),
          (4, 0),
          (0, 4),
          (4, 4),
          (2, 2),
          (0, 2),
          (4, 2),
          (2, 4),
          (2, 0),
          (1, 1),
          (3, 1),
          (1, 3),
          (3, 3),
        ]:
          yield y * down, x * right, h, w


@pytest.mark.parametrize(
  ('height', 'width', 'size'),
  [(256, 256, 224), (256, 340, 224), (320, 180, 112), (298, 298, 224), (60, 80, 64)],
)
def test_crops_are_those_of_the_reference(height, width, size):
  found = [place for shape in crops(height, width, size, _SCALES) for place in shape]
  assert collections.Counter(found) == collections.Counter(
    _reference_crops(width, height, size)
  )
  if height == 298:  # three quarters of it are 223 pixels
    assert (0, 0, 224, 224) in found


@given(st.integers(8, 99), st.integers(8, 99), st.integers(4, 99))
@settings(deadline=None)
def test_crops_lie_in_the_frame(height, width, size):
  for shape in crops(height, width, size, _SCALES):
    for top, left, h, w in shape:
      assert 0 <= top <= height - h and 0 <= left <= width - w and h > 0 < w


def _clip(height=40, width=56, frames=3):
  """A coloured slope, darker in later frames."""
  row, column = np.mgrid[:height, :width]
  frame = np.stack([row * 3, column * 3, 0 * row + 60], axis=-1)
  return np.stack([frame // (1 + t) for t in range(frames)]).astype(np.uint8)


def test_a_view_is_a_resized_crop():
  # Against Pillow, which the reference uses: alike on smooth pictures.
  frames = _clip()
  config = ViewConfig(flip=0.5)
  boxes = [place for shape in crops(40, 56, 32, _SCALES) for place in shape]
  ways = []
  for top, left, h, w in boxes:
    box = left, top, left + w, top + h
    resized = np.stack(
      [
        np.asarray(Image.fromarray(frame).crop(box).resize((32, 32), Image.BILINEAR))
        for frame in frames
      ]
    )
    ways += [resized, resized[:, :, ::-1]]
  for seed in range(30):
    view = draw_view(np.random.default_rng(seed), frames, 32, config)
    assert view.shape == (3, 32, 32, 3) and view.dtype == np.uint8
    assert min(np.abs(view.astype(int) - way).max() for way in ways) <= 2


def test_a_whole_square_frame_of_the_right_size_is_left_as_it_is():
  frames = np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), np.uint8)
  view = draw_view(
    np.random.default_rng(1), frames, 24, ViewConfig(scales=(1.0,), flip=0.0)
  )
  np.testing.assert_array_equal(view, frames)
  flipped = draw_view(
    np.random.default_rng(1), frames, 24, ViewConfig(scales=(1.0,), flip=1.0)
  )
  np.testing.assert_array_equal(flipped, frames[:, :, ::-1])


def test_shapes_places_and_flips_are_drawn_evenly():
  # The colours at the view's corners tell where the crop lies; the slope is exact.
  frames = _clip(40, 80, 1)
  config = ViewConfig()
  rng = np.random.default_rng(0)
  flips = 0
  corners = collections.Counter()
  for _ in range(3000):
    view = draw_view(rng, frames, 20, config)[0].astype(int)
    flips += view[0, 0, 1] > view[0, -1, 1]
    corners[view[0, :, 0].min(), view[:, [0, -1], 1].min()] += 1
  # Deviation of the binomial sqrt(3000)/2 = 27.
  assert abs(flips - 1500) < 140
  shares = collections.Counter(
    (top, left) for shape in crops(40, 80, 20, _SCALES) for top, left, _, _ in shape
  )
  assert len(corners) >= 0.5 * len(shares)


def test_far_smaller_views_average_over_areas():
  frames = np.zeros((1, 80, 80, 3), np.uint8)
  frames[:, ::2] = 200  # lines finer than the view's pixels
  view = draw_view(np.random.default_rng(0), frames, 20, ViewConfig(scales=(1.0,)))
  np.testing.assert_array_equal(view, 100)


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'scales': ()}, r'scales are \(\)'),
    ({'scales': (1.5,)}, r'scales are \(1.5,\)'),
    ({'scales': (0.5, 1.0)}, r'scales are \(0.5, 1.0\), must fall'),
    ({'flip': 1.5}, 'flip is 1.5'),
    ({'repeats': 0}, 'repeats is 0'),
  ],
)
def test_impossible_settings_are_named(settings, message):
  with pytest.raises(InputError, match=f'^views: {message}'):
    parse(settings, ViewConfig, 'views')
