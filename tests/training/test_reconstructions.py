"""Pictures of reconstructions: nothing hidden gets into them."""

import dataclasses

import numpy as np
import pytest

from mvp_jax.data.masks import MaskConfig, draw_masks
from mvp_jax.models.videomae import VideoMAEConfig, patchify, reconstruction_target
from mvp_jax.training.reconstructions import draw, sheet

_MODEL = VideoMAEConfig(
  width=16,
  depth=1,
  heads=2,
  mlp_width=32,
  decoder_width=8,
  decoder_depth=1,
  decoder_heads=2,
  frames=4,
  size=32,
  patch=8,
)


@pytest.fixture
def clip():
  rng = np.random.default_rng(0)
  frames = rng.integers(0, 256, (4, 32, 32, 3), np.uint8)
  visible, masked = draw_masks(rng, *_MODEL.grid, MaskConfig(ratio=0.5))
  predicted = rng.normal(size=(len(masked), _MODEL.pixels_per_token)).astype('f')
  return frames, visible, masked, predicted


def _tokens(video):
  return np.asarray(patchify(video[None], _MODEL))[0]


def test_the_visible_stay_and_the_hidden_are_grey_or_restored(clip):
  frames, visible, masked, predicted = clip
  seen, restored = draw(*clip, _MODEL)
  for video in (seen, restored):
    assert video.dtype == np.uint8 and video.shape == frames.shape
    np.testing.assert_array_equal(_tokens(video)[visible], _tokens(frames)[visible])
  assert set(np.unique(_tokens(seen)[masked])) == {128}
  assert len(np.unique(_tokens(restored)[masked])) > 50


def test_nothing_of_the_hidden_pixels_is_in_the_picture(clip):
  frames, visible, masked, predicted = clip
  tokens = _tokens(frames).copy()
  tokens[masked] = 255 - tokens[masked] // 3  # other means and deviations
  changed = np.asarray(unpatchify_u8(tokens))
  np.testing.assert_array_equal(
    draw(frames, visible, masked, predicted, _MODEL),
    draw(changed, visible, masked, predicted, _MODEL),
  )


def unpatchify_u8(tokens):
  """By hand, from (time, row, column) tokens of (time, row, column, colour)."""
  video = np.zeros((4, 32, 32, 3), np.uint8)
  for number, token in enumerate(tokens):
    slot, row, column = number // 16, number // 4 % 4, number % 4
    video[
      2 * slot : 2 * slot + 2, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8
    ] = token.reshape(2, 8, 8, 3)
  return video


@pytest.mark.parametrize('floor', [1e-6, 0.05])
def test_a_perfect_prediction_is_the_clip_where_all_tokens_are_alike(floor):
  config = dataclasses.replace(_MODEL, noise_floor=floor)
  rng = np.random.default_rng(1)
  token = rng.integers(60, 190, _MODEL.pixels_per_token).astype(np.uint8)
  frames = unpatchify_u8(np.tile(token, (_MODEL.tokens, 1)))
  visible, masked = draw_masks(rng, *_MODEL.grid, MaskConfig(ratio=0.5))
  target = np.asarray(
    reconstruction_target(_tokens(frames)[None] / np.float32(255), config)
  )
  _, restored = draw(frames, visible, masked, target[0][masked], config)
  assert np.abs(restored.astype(int) - frames).max() <= 1


def test_plain_pixels_are_drawn_as_they_are(clip):
  frames, visible, masked, _ = clip
  config = dataclasses.replace(_MODEL, target='pixels')
  hidden = _tokens(frames)[masked] / np.float32(255)
  _, restored = draw(frames, visible, masked, hidden, config)
  np.testing.assert_array_equal(restored, frames)


def test_a_sheet_has_a_row_for_each_clip_and_way():
  clips = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4, 1, 1, 1)
  clips = np.broadcast_to(clips, (2, 3, 4, 5, 6, 3))
  picture = sheet(clips)
  assert picture.shape == (2 * 3 * 5, 4 * 6, 3)
  assert picture[::5, ::6, 0].tolist() == np.arange(24).reshape(6, 4).tolist()
