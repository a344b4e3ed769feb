"""Tasks: losses as written out, examples weighed, nothing random in evaluation."""

import dataclasses

import jax
import numpy as np
import pytest

from mvp_jax.training.state import build_model, forward
from mvp_jax.training.tasks import VideoFeatures
from tests.training.tiny import emotion_example, make_batch, video_example


@pytest.fixture(autouse=True)
def _strict():
  """What we write ourselves mixes no dtypes."""
  with jax.numpy_dtype_promotion('strict'):
    yield


def test_emotion_loss_is_the_weighted_cross_entropy(emotion, emotion_params,
                                                    one_device):
  batch = make_batch(emotion_example, 0)
  batch['weight'] = np.float32([1, 1, 0, 2, 1, 0, 1, 1])
  scores = np.asarray(forward(emotion, one_device, 'scores')(emotion_params, batch),
                      np.float64)
  assert scores.shape == (8, 2) and np.all((scores > 0) & (scores < 1))
  found = forward(emotion, one_device, 'evaluate')(emotion_params, batch)
  label, weight = batch['label'], batch['weight'] / batch['weight'].sum()
  entropy = -np.log(np.where(label == 1, scores, 1 - scores)).mean(1)
  np.testing.assert_allclose(found['loss'], (entropy * weight).sum(), rtol=1e-5)
  for i, target in enumerate(('valence', 'arousal')):
    right = (scores[:, i] > 0.5) == label[:, i]
    np.testing.assert_allclose(found[f'accuracy_{target}'], (right * weight).sum(),
                               rtol=1e-6)
  assert set(found) == {'loss', 'accuracy_valence', 'accuracy_arousal'}


def test_scores_come_with_the_attention_they_rest_on(emotion, emotion_params,
                                                     one_device):
  batch = make_batch(emotion_example, 1)
  seen = forward(emotion, one_device, 'attention')(emotion_params, batch)
  scores = forward(emotion, one_device, 'scores')(emotion_params, batch)
  np.testing.assert_allclose(seen['scores'], scores, rtol=1e-6)
  assert seen['attention'].shape == (1, 8, 2, 4, 6)
  valid = batch['video_valid'].any(1)
  np.testing.assert_allclose(seen['attention'][:, valid].sum(-1), 1, rtol=1e-5)


def test_masked_video_loss_leaves_out_padding(masked_video, video_params, one_device):
  batch = make_batch(video_example, 0)
  evaluate = forward(masked_video, one_device, 'evaluate')
  one_by_one = [float(evaluate(video_params, {
      k: np.stack([v[i]] * 8) for k, v in batch.items()})['loss']) for i in range(3)]
  batch['weight'] = np.float32([1, 1, 1, 0, 0, 0, 0, 0])
  np.testing.assert_allclose(evaluate(video_params, batch)['loss'],
                             np.mean(one_by_one), rtol=1e-5)


@pytest.mark.parametrize('grid', [1, 2])
def test_features_are_means_over_regions(masked_video, video_params, one_device, grid):
  frames = make_batch(video_example, 0)['frames']
  task = VideoFeatures(dataclasses.replace(masked_video.model, feature_grid=grid))
  got = forward(task, one_device, 'features')(video_params['encoder'],
                                              {'frames': frames})
  assert got.shape == (8, 2, grid**2 * 16) and got.dtype == np.float32
  encoder = build_model(masked_video, video_params).encoder
  tokens = np.asarray(encoder(frames)).reshape(8, 2, 4, 16)  # 2 x 2 places
  wanted = tokens.mean(2) if grid == 1 else tokens.reshape(8, 2, 64)
  np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
