"""Augmentation: each operation against the same written out in NumPy or by hand."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from mvp_jax.data import augment as augmentation
from mvp_jax.data.augment import (
  OPERATIONS,
  AugmentConfig,
  augment,
  erase,
  jitter,
  rand_augment,
  random_resized_crop,
  three_crops,
)


@pytest.fixture
def frame():
  return np.random.default_rng(0).integers(20, 230, (12, 10, 3)).astype(np.uint8)


@pytest.fixture
def clip():
  rng = np.random.default_rng(1)
  frame = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
  return np.stack([frame] * 4)


def _do(name, frame, share, sign=1):
  return np.asarray(OPERATIONS[name](Image.fromarray(frame), share, sign)).astype(int)


def _luma(x):
  return x @ [0.299, 0.587, 0.114]


def test_the_operations_are_those_of_the_recipe():
  # rand-m7-n4-mstd0.5-inc1: the fifteen "increasing" ones of timm.
  assert list(OPERATIONS) == [
    'autocontrast',
    'equalize',
    'invert',
    'rotate',
    'posterize',
    'solarize',
    'solarize_add',
    'colour',
    'contrast',
    'brightness',
    'sharpness',
    'shear_x',
    'shear_y',
    'translate_x',
    'translate_y',
  ]


def test_operations_on_single_values(frame):
  x = frame.astype(int)
  np.testing.assert_array_equal(_do('invert', frame, 0.7), 255 - x)
  # Magnitude 7 of 10: 4 - int(2.8) = 2 bits are kept; the threshold is 256 - 179.
  np.testing.assert_array_equal(_do('posterize', frame, 0.7), x & 0b11000000)
  np.testing.assert_array_equal(
    _do('solarize', frame, 0.7), np.where(x < 77, x, 255 - x)
  )
  np.testing.assert_array_equal(
    _do('solarize_add', frame, 0.7), np.where(x < 128, np.minimum(x + 77, 255), x)
  )


@pytest.mark.parametrize('sign', [-1, 1])
def test_enhancements_go_away_from_the_original_either_way(frame, sign):
  x, factor = frame.astype(float), 1 + sign * 0.63

  def blend(other):
    return (other + (x - other) * factor).clip(0, 255)

  for name, other in (
    ('brightness', np.zeros_like(x)),
    ('colour', np.round(_luma(x))[..., None]),
    ('contrast', np.full_like(x, np.round(_luma(x).mean()))),
  ):
    found = _do(name, frame, 0.7, sign)
    assert np.abs(found - blend(other)).max() <= 2, name
  smooth = x.copy()  # the middle of 3 x 3 pixels counts five times; edges stay
  total = sum(x[1 + i : 11 + i, 1 + j : 9 + j] for i in (-1, 0, 1) for j in (-1, 0, 1))
  smooth[1:-1, 1:-1] = (total + 4 * x[1:-1, 1:-1]) / 13
  assert np.abs(_do('sharpness', frame, 0.7, sign) - blend(smooth)).max() <= 2


def test_histogram_operations(frame):
  x = frame.astype(float)
  low, high = x.min((0, 1)), x.max((0, 1))
  assert (
    np.abs(_do('autocontrast', frame, 0) - (x - low) * 255 / (high - low)).max() <= 1
  )
  ramp = np.repeat(np.uint8([[10], [10], [30], [200]]), 3, 1).reshape(2, 2, 3)
  ramp = np.tile(ramp, (16, 16, 1))
  found = _do('equalize', ramp, 0)[..., 0]
  # Half of the pixels are 10, a quarter each 30 and 200: spread over 0 to 255.
  assert found[0, 0] == 0 and found[1, 1] == 255
  assert found[1, 0] == pytest.approx(255 * 2 / 3, abs=2)


def test_shifts_move_the_picture_and_leave_grey(frame):
  frame = np.tile(frame, (2, 2, 1))  # 24 x 20
  shift = _do('translate_x', frame, 4 / 9)  # .45 * 4 / 9 = a fifth of 20 pixels
  np.testing.assert_array_equal(shift[:, :16], frame[:, 4:])
  assert (shift[:, 17:] == 128).all()
  shift = _do('translate_y', frame, 20 / 54, -1)  # a sixth of 24 pixels, the other way
  np.testing.assert_array_equal(shift[4:], frame[:-4])
  assert (shift[:3] == 128).all()


def test_shears_and_rotation():
  line = np.zeros((41, 41, 3), np.uint8)
  line[:, 19:22] = 255

  def middles(picture):
    weight = picture[..., 0].astype(float) * (picture[..., 0] > 140)
    return [np.average(np.arange(41), weights=row) for row in weight[5:36]]

  sheared = _do('shear_x', line, 0.5)  # x' = x + .15 y
  slope = np.polyfit(np.arange(5, 36), middles(sheared), 1)[0]
  assert slope == pytest.approx(-0.15, abs=0.02)
  sheared = _do('shear_y', line.transpose(1, 0, 2), 0.5, -1).transpose(1, 0, 2)
  slope = np.polyfit(np.arange(5, 36), middles(sheared), 1)[0]
  assert slope == pytest.approx(0.15, abs=0.02)
  turned = _do('rotate', line, 0.7)  # 21 degrees, counter-clockwise
  slope = np.polyfit(np.arange(5, 36), middles(turned), 1)[0]
  assert slope == pytest.approx(np.tan(np.radians(21)), abs=0.03)


def test_all_frames_of_a_clip_are_changed_alike(clip):
  config = AugmentConfig(probability=1.0, erase=0.0)
  changed = 0
  for seed in range(20):
    view = augment(clip, 24, np.random.default_rng(seed), config)
    assert view.shape == (4, 24, 24, 3) and view.dtype == np.uint8
    assert (view == view[0]).all()
    same = augment(clip, 24, np.random.default_rng(seed), config)
    np.testing.assert_array_equal(view, same)
    changed += not np.array_equal(
      rand_augment(clip, np.random.default_rng(seed), config), clip
    )
  assert changed == 20


def test_as_many_operations_as_configured_at_magnitudes_around_the_configured(
  clip, monkeypatch
):
  seen = []
  monkeypatch.setattr(
    augmentation,
    'OPERATIONS',
    {
      name: lambda image, share, sign, name=name: (
        seen.append((name, share, sign)) or image
      )
      for name in OPERATIONS
    },
  )
  config = AugmentConfig()
  rng = np.random.default_rng(0)
  for _ in range(500):
    rand_augment(clip[:1], rng, config)
  names, shares, signs = zip(*seen, strict=True)
  # Of 4 * 500 half are done: 1000, with a standard deviation of 22.
  assert 900 < len(seen) < 1100
  counts = [names.count(name) for name in OPERATIONS]
  assert min(counts) > 35 and max(counts) < 105
  assert np.mean(shares) == pytest.approx(0.7, abs=0.01)
  assert np.std(shares) == pytest.approx(0.05, abs=0.01)
  assert abs(np.mean(signs)) < 0.2
  assert rand_augment(clip, rng, dataclasses.replace(config, operations=0)) is clip


def test_crops_are_windows_of_the_area_and_shape_allowed():
  rows, columns = np.mgrid[0:64, 0:96]
  frames = np.stack([rows * 2, columns * 2, rows * 0], -1)[None].astype(np.uint8)
  config = AugmentConfig(crop_area=(0.2, 0.5), crop_aspect=(0.75, 4 / 3))
  rng = np.random.default_rng(0)
  heights, tops = [], []
  for _ in range(200):
    view = random_resized_crop(frames, 48, rng, config)[0].astype(float) / 2
    assert view.shape == (48, 48, 3)
    # A pixel of the view is a step of 1/48 of the window.
    height, width = (
      48 * np.polyfit(np.arange(8, 40), line, 1)[0]
      for line in (view[8:40, 0, 0], view[0, 8:40, 1])
    )
    assert 0.19 < height * width / (64 * 96) < 0.52
    assert 0.7 < width / height < 1.42
    heights.append(height)
    tops.append(view[0, 0, 0])
  assert np.ptp(heights) > 15 and np.ptp(tops) > 15


def test_where_no_window_fits_the_middle_is_taken():
  frames = np.zeros((1, 10, 100, 3), np.uint8)
  frames[:, :, 44:56] = 200
  config = AugmentConfig(crop_area=(1.0, 1.0))  # 13 x 10 at most is allowed
  view = random_resized_crop(frames, 10, np.random.default_rng(0), config)
  assert (view[:, :, 1:9] == 200).all() and view.shape == (1, 10, 10, 3)


def test_erasing_puts_one_box_of_noise_in_the_same_place_of_all_frames(clip):
  clip = np.full((4, 60, 60, 3), 7, np.uint8)
  areas, pixels = [], []
  for seed in range(100):
    erased = erase(clip, np.random.default_rng(seed))
    changed = (erased != 7).any((0, 3))
    rows, columns = changed.any(1), changed.any(0)
    assert changed.sum() == rows.sum() * columns.sum()  # a box
    areas.append(changed.mean())
    box = erased[:, changed].reshape(4, -1, 3)
    assert not np.array_equal(box[0], box[1])
    pixels.append(box.reshape(-1, 3))
  assert (clip == 7).all()
  assert 0.015 < min(areas) < 0.05 and 0.28 < max(areas) < 0.34
  # Standard normal after normalisation by ImageNet's values; clipped at 0 and 255.
  pixels = np.concatenate(pixels) / 255
  np.testing.assert_allclose(np.median(pixels, 0), [0.485, 0.456, 0.406], atol=0.01)
  np.testing.assert_allclose(
    np.percentile(pixels, 69.146, 0) - np.median(pixels, 0),
    np.array([0.229, 0.224, 0.225]) / 2,
    atol=0.01,
  )


def test_flips_and_erasing_happen_as_often_as_configured():
  frames = np.zeros((1, 16, 16, 3), np.uint8)
  frames[:, :, :8] = 9
  config = AugmentConfig(
    operations=0, crop_area=(1.0, 1.0), crop_aspect=(1.0, 1.0), flip=0.3, erase=0.0
  )
  rng = np.random.default_rng(0)
  flipped = [augment(frames, 16, rng, config)[0, 0, 0, 0] == 0 for _ in range(1000)]
  assert np.mean(flipped) == pytest.approx(0.3, abs=0.05)
  config = dataclasses.replace(config, flip=0.0, erase=0.2)
  erased = [
    not np.array_equal(augment(frames, 16, rng, config), frames) for _ in range(1000)
  ]
  assert np.mean(erased) == pytest.approx(0.2, abs=0.05)


class _Drawn:
  """A generator whose draws are given: the factors, then where the hue turns to."""

  def __init__(self, factors=(1.0, 1.0, 1.0), turn=0.0):
    self._draws = [np.array(factors), turn]

  def uniform(self, *_):
    return self._draws.pop(0)


def test_brightness_and_contrast_are_factors(clip):
  grey = np.repeat(clip[..., :1] // 4 + 64, 3, -1)
  wanted = 0.9 * (1.2 * (grey - grey.mean()) + grey.mean())
  # What has no colour keeps none, however saturated and wherever the hue turns to.
  found = jitter(grey, _Drawn((0.9, 1.2, 0.3), 0.4), 0.4)
  np.testing.assert_allclose(found, wanted, atol=0.51)


def test_saturation_is_the_distance_from_grey(clip):
  clip = clip // 2 + 64
  grey = clip.mean(-1, keepdims=True)
  found = jitter(clip, _Drawn((1.0, 1.0, 0.25)), 0.4)
  np.testing.assert_allclose(found, grey + 0.25 * (clip - grey), atol=0.51)


def test_a_third_of_a_circle_turns_red_to_green(clip):
  found = jitter(clip, _Drawn(turn=1.0), 4 / 3)  # a strength that none can have
  np.testing.assert_array_equal(found, clip[..., [2, 0, 1]])


def test_colours_are_drawn_once_a_clip_within_the_strength(clip):
  clip = clip // 4 + 96
  config = AugmentConfig(
    operations=0, crop_area=(1.0, 1.0), crop_aspect=(1.0, 1.0), flip=0.0, erase=0.0
  )
  rng = np.random.default_rng(0)
  np.testing.assert_array_equal(augment(clip, 32, rng, config), clip)
  config = dataclasses.replace(config, colour=0.4)
  found = [augment(clip, 32, rng, config) for _ in range(300)]
  assert all((x == x[:1]).all() for x in found)
  means = np.array([x.mean() for x in found]) / clip.mean()
  assert means.min() == pytest.approx(0.6, abs=0.02)
  assert means.max() == pytest.approx(1.4, abs=0.02)


def test_three_crops_of_wide_tall_and_square_frames():
  wide = np.tile(np.arange(20, dtype=np.uint8)[None, None, :, None], (2, 10, 1, 3))
  for crop, left in zip(three_crops(wide, 10), (0, 5, 10), strict=True):
    np.testing.assert_array_equal(crop, wide[:, :, left : left + 10])
  tall = wide.transpose(0, 2, 1, 3)
  for crop, top in zip(three_crops(tall, 10), (0, 5, 10), strict=True):
    np.testing.assert_array_equal(crop, tall[:, top : top + 10])
  square = np.tile(
    np.arange(16, dtype=np.uint8)[None, None, :, None] * 10, (2, 16, 1, 3)
  )
  for crop, left in zip(three_crops(square, 14), (0, 1, 2), strict=True):
    np.testing.assert_array_equal(crop, square[:, 1:15, left : left + 14])
  assert all(crop.shape == (2, 32, 32, 3) for crop in three_crops(square, 32))


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'flip': 1.5}, 'flip is 1.5, must be from 0 to 1'),
    ({'colour': 1.0}, 'colour is 1.0, must be from 0 to less than 1'),
    ({'crop_area': (0.5,)}, 'crop_area is .* must be two numbers'),
    ({'crop_area': (0.5, 2.0)}, 'must be at most 1'),
    ({'crop_aspect': (2.0, 1.0)}, 'crop_aspect is'),
    ({'magnitude': 11.0}, 'the magnitude at most 10'),
  ],
)
def test_what_no_augmentation_can_have(fields, message):
  with pytest.raises(ValueError, match=message):
    AugmentConfig(**fields)
