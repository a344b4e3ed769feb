"""VideoMAE against closed forms; against PyTorch it is tested in tests/weights."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from flax import nnx

from mvp_jax.data.masks import MaskConfig, draw_masks
from mvp_jax.models import videomae
from tests.weights.tiny import TINY


@functools.cache
def make():
  return nnx.jit(lambda: videomae.VideoMAE(TINY, rngs=nnx.Rngs(0)))()


def clips(config, batch=2, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(
    0, 256, (batch, config.frames, config.size, config.size, 3), np.uint8
  )


def masks(config, batch=2, ratio=0.6):
  drawn = [
    draw_masks(np.random.default_rng(i), *config.grid, MaskConfig(ratio=ratio))
    for i in range(batch)
  ]
  return tuple(np.stack(part) for part in zip(*drawn, strict=True))


def test_tokens_run_over_time_rows_columns_and_pixels_likewise():
  video = clips(TINY, 1)
  tokens = videomae.patchify(video, TINY)
  assert tokens.shape == (1, TINY.tokens, TINY.pixels_per_token)
  slot, row, column = 1, 2, 0
  token = tokens[0, slot * 9 + row * 3 + column].reshape(2, 16, 16, 3)
  np.testing.assert_array_equal(token, video[0, 2:4, 32:48, 0:16])
  np.testing.assert_array_equal(videomae.unpatchify(tokens, TINY), video)


def test_target_is_normalised_per_token_and_colour_with_the_unbiased_deviation():
  pixels = np.random.default_rng(0).random((2, 3, TINY.pixels_per_token), np.float32)
  for floor in (1e-6, 0.05):
    config = dataclasses.replace(TINY, noise_floor=floor)
    target = np.asarray(videomae.reconstruction_target(pixels, config))
    for colour in range(3):
      x = pixels[1, 2, colour::3].astype(np.float64)
      expected = (x - x.mean()) / (x.std(ddof=1) + floor)
      np.testing.assert_allclose(target[1, 2, colour::3], expected, atol=1e-4)


def test_uint8_and_unit_floats_are_the_same_video():
  model = make().encoder
  video = clips(TINY)
  np.testing.assert_allclose(
    model(video), model(video.astype(np.float32) / 255), atol=1e-5
  )


def test_hidden_pixels_do_not_reach_the_encoder_and_the_loss_sees_only_them():
  model = make()
  visible, masked = masks(TINY)
  video = clips(TINY)
  tokens = np.array(videomae.patchify(video, TINY))
  for example, hidden in zip(tokens, masked, strict=True):
    example[hidden] = 7
  blind = np.asarray(videomae.unpatchify(tokens, TINY))
  np.testing.assert_array_equal(
    model.encoder(video, visible), model.encoder(blind, visible)
  )
  np.testing.assert_array_equal(
    model(video, visible, masked), model(blind, visible, masked)
  )
  predicted = np.asarray(model(video, visible, masked))
  hidden = (
    np.take_along_axis(
      np.asarray(videomae.patchify(video, TINY)), masked[..., None], 1
    ).astype(np.float32)
    / 255
  )
  target = videomae.reconstruction_target(hidden, TINY)
  expected = ((predicted - target) ** 2).mean((1, 2))
  np.testing.assert_allclose(model.loss(video, visible, masked), expected, rtol=1e-5)


def test_features_are_means_over_regions():
  model = make().encoder
  video = clips(TINY)
  tokens = np.asarray(model(video)).reshape(2, 2, 9, 48)
  np.testing.assert_allclose(model.features(video), tokens.mean(2), atol=1e-5)
  config = dataclasses.replace(TINY, size=64, feature_grid=2)
  model = nnx.jit(lambda: videomae.Encoder(config, rngs=nnx.Rngs(0)))()
  video = clips(config)
  tokens = np.asarray(model(video)).reshape(2, 2, 4, 4, 48)
  features = np.asarray(model.features(video)).reshape(2, 2, 4, 48)
  np.testing.assert_allclose(
    features[:, :, 1], tokens[:, :, :2, 2:].mean((2, 3)), atol=1e-5
  )


@pytest.mark.parametrize('name', videomae.PRESETS)
def test_presets_have_the_published_sizes(name):
  config = videomae.preset(name)
  abstract = nnx.eval_shape(
    lambda: videomae.Encoder(config, rngs=nnx.Rngs(0), final_norm=False)
  )
  count = sum(np.prod(x.shape) for x in jax.tree.leaves(nnx.state(abstract)))
  width, depth, mlp = config.width, config.depth, config.mlp_width
  a_block = 4 * width**2 + 3 * width + 2 * width * mlp + width + mlp + 4 * width
  assert count == config.pixels_per_token * width + width + depth * a_block
  # Of transformers' VideoMAEModel with mean pooling: every attention there has a
  # bias on query and value only, as here.
  if name == 'B':
    assert count == 86_225_664
    assert (config.tokens, config.slots) == (1568, 8)


def test_frames_that_tubelets_do_not_divide_are_refused():
  with pytest.raises(ValueError, match='tubelets'):
    videomae.VideoMAEConfig(frames=15)
  with pytest.raises(ValueError, match='feature_grid'):
    videomae.VideoMAEConfig(feature_grid=3)
  with pytest.raises(ValueError, match='size: one of tiny, S, B'):
    videomae.preset('XXL')


def test_remat_changes_no_gradient():
  video, (visible, masked) = clips(TINY), masks(TINY)
  grads = []
  for remat in ('none', 'linear', 'full'):
    config = videomae.preset('tiny', depth=2, frames=4, size=48, remat=remat)
    graph, params = nnx.split(videomae.VideoMAE(config, rngs=nnx.Rngs(0)))
    grads.append(
      jax.jit(
        jax.grad(
          lambda p, graph=graph: nnx.merge(graph, p).loss(video, visible, masked).sum()
        )
      )(params)
    )
  for other in grads[1:]:
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
      grads[0],
      other,
    )
