"""Tasks: losses as written out, examples weighed, nothing random in evaluation."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from mvp_jax.errors import InputError
from mvp_jax.models.videomae import VideoClassifier
from mvp_jax.targets.binary import Binary
from mvp_jax.training.mixing import mix
from mvp_jax.training.state import build_model, computed, forward, init_variables
from mvp_jax.training.tasks import (
  FrameFeatures,
  Regularisation,
  VideoEmotion,
)
from tests.training.tiny import emotion_example, make_batch, video_example


@pytest.fixture(autouse=True)
def _strict():
  """What we write ourselves mixes no dtypes."""
  with jax.numpy_dtype_promotion('strict'):
    yield


def test_emotion_loss_is_the_weighted_cross_entropy(
  emotion, emotion_params, one_device
):
  batch = make_batch(emotion_example, 0)
  batch['weight'] = np.float32([1, 1, 0, 2, 1, 0, 1, 1])
  scores = np.asarray(
    forward(emotion, one_device, 'scores')(emotion_params, batch), np.float64
  )
  assert scores.shape == (8, 2) and np.all((scores > 0) & (scores < 1))
  found = computed(forward(emotion, one_device, 'evaluate')(emotion_params, batch))
  label, weight = batch['label'], batch['weight'] / batch['weight'].sum()
  entropy = -np.log(np.where(label == 1, scores, 1 - scores)).mean(1)
  np.testing.assert_allclose(found['loss'], (entropy * weight).sum(), rtol=1e-5)
  for i, target in enumerate(('valence', 'arousal')):
    right = (scores[:, i] > 0.5) == label[:, i]
    np.testing.assert_allclose(
      found[f'accuracy_{target}'], (right * weight).sum(), rtol=1e-6
    )
  assert set(found) == {'loss', 'accuracy_valence', 'accuracy_arousal'}


def test_scores_come_with_the_attention_they_rest_on(
  emotion, emotion_params, one_device
):
  batch = make_batch(emotion_example, 1)
  seen = forward(emotion, one_device, 'attention')(emotion_params, batch)
  scores = forward(emotion, one_device, 'scores')(emotion_params, batch)
  np.testing.assert_allclose(seen['scores'], scores, rtol=1e-6)
  assert seen['attention'].shape == (1, 8, 2, 4, 6)
  valid = batch['video/valid'].any(1)
  np.testing.assert_allclose(seen['attention'][:, valid].sum(-1), 1, rtol=1e-5)


def test_masked_video_loss_leaves_out_padding(masked_video, video_params, one_device):
  batch = make_batch(video_example, 0)
  evaluate = forward(masked_video, one_device, 'evaluate')
  one_by_one = [
    float(
      evaluate(video_params, {k: np.stack([v[i]] * 8) for k, v in batch.items()})[
        'loss'
      ].compute()
    )
    for i in range(3)
  ]
  batch['weight'] = np.float32([1, 1, 1, 0, 0, 0, 0, 0])
  np.testing.assert_allclose(
    evaluate(video_params, batch)['loss'].compute(), np.mean(one_by_one), rtol=1e-5
  )


@pytest.mark.parametrize('grid', [1, 2])
def test_features_are_means_over_regions(masked_video, video_params, one_device, grid):
  frames = make_batch(video_example, 0)['frames']
  task = FrameFeatures(dataclasses.replace(masked_video.model, feature_grid=grid))
  got = forward(task, one_device, 'features')(
    video_params['encoder'], {'frames': frames}
  )
  assert got.shape == (8, 2, grid**2 * 16) and got.dtype == np.float32
  encoder = build_model(masked_video, video_params).encoder
  tokens = np.asarray(encoder(frames)).reshape(8, 2, 4, 16)  # 2 x 2 places
  wanted = tokens.mean(2) if grid == 1 else tokens.reshape(8, 2, 64)
  np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope='module')
def video_emotion(masked_video):
  return VideoEmotion(
    masked_video.model,
    Binary(),
    Regularisation(drop_path=0.0, dropout=0.0),
  )


@pytest.fixture(scope='module')
def classifier_params(video_emotion):
  params, _ = init_variables(video_emotion, jax.random.key(0))
  # The head starts at nearly nothing: scores must differ to tell anything.
  params['head']['kernel'] = params['head']['kernel'] * 3000
  return params


def _views(seed, views):
  rng = np.random.default_rng(seed)
  return {
    'frames': rng.integers(0, 256, (8, views, 4, 16, 16, 3), np.uint8),
    'label': rng.integers(0, 2, (8, 2)).astype(np.float32),
    'weight': np.float32([1, 1, 0, 1, 2, 1, 1, 0]),
  }


def test_scores_of_a_trial_are_the_mean_probability_of_its_views(
  video_emotion, classifier_params, one_device
):
  batch = _views(0, 3)
  found = forward(video_emotion, one_device, 'scores')(classifier_params, batch)
  model = build_model(video_emotion, classifier_params)
  logits = np.stack([np.asarray(model(batch['frames'][:, v])) for v in range(3)], 1)
  wanted = (1 / (1 + np.exp(-logits.astype(np.float64)))).mean(1)
  assert np.ptp(wanted) > 0.05
  np.testing.assert_allclose(found, wanted, rtol=1e-4)
  evaluate = forward(video_emotion, one_device, 'evaluate')
  seen = computed(evaluate(classifier_params, batch))
  weight, right = batch['weight'] / batch['weight'].sum(), batch['label'] == 1
  loss = -np.log(np.where(right, wanted, 1 - wanted)).mean(1)
  np.testing.assert_allclose(seen['loss'], (loss * weight).sum(), rtol=1e-4)
  for i, target in enumerate(('valence', 'arousal')):
    hit = (wanted[:, i] > 0.5) == right[:, i]
    np.testing.assert_allclose(
      seen[f'accuracy_{target}'], (hit * weight).sum(), rtol=1e-5
    )


def test_the_loss_is_that_of_mixed_views_and_soft_labels(
  video_emotion, classifier_params
):
  batch, key = _views(1, 2), jax.random.key(3)
  found = jax.jit(
    lambda p, b: video_emotion.loss(build_model(video_emotion, p), b, key)
  )(classifier_params, batch)
  frames = batch['frames'].reshape(16, 4, 16, 16, 3).astype(np.float32) / 255
  label = np.repeat(batch['label'], 2, 0) * np.float32(0.9) + np.float32(0.05)
  frames, label = jax.jit(mix, static_argnums=3)(
    frames, label, jax.random.split(key)[0], video_emotion.regularisation
  )
  model = build_model(video_emotion, classifier_params)
  scores = 1 / (
    1 + np.exp(-np.asarray(jax.jit(lambda x: model(x))(frames), np.float64))
  )
  entropy = -(label * np.log(scores) + (1 - label) * np.log(1 - scores)).mean(1)
  weight = np.repeat(batch['weight'], 2)
  assert set(found) == {'loss'}  # mixed labels are neither right nor wrong
  np.testing.assert_allclose(
    found['loss'].compute(), (entropy * weight).sum() / weight.sum(), rtol=1e-4
  )


def test_a_classifier_takes_a_pre_trained_encoder(video_emotion, video_params):
  params, _ = init_variables(video_emotion, jax.random.key(0))
  encoder = {k: v for k, v in video_params['encoder'].items() if k != 'norm'}
  shapes = jax.tree.map(lambda x: x.shape, params['encoder'])
  assert jax.tree.map(lambda x: x.shape, encoder) == shapes
  model = build_model(video_emotion, params | {'encoder': encoder})
  assert isinstance(model, VideoClassifier) and model.encoder.norm is None


def test_drop_path_and_dropout_reach_the_classifier(masked_video):
  task = VideoEmotion(
    masked_video.model,
    Binary(ratings=('valence',)),
    Regularisation(drop_path=0.3, dropout=0.4),
  )
  model = task.create(nnx.Rngs(0))
  assert model.encoder.stack.drop_path == 0.3 and model.dropout == 0.4
  assert model.head.kernel[...].shape == (16, 1)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'drop_path': 1.0}, 'drop_path is 1.0, must be at least 0 and below 1'),
    ({'mixup': -0.1}, 'mixup is -0.1, must not be negative'),
    ({'mix_probability': 2.0}, 'mix_probability is 2.0, must be from 0 to 1'),
  ],
)
def test_what_no_regularisation_can_have(fields, message):
  with pytest.raises(ValueError, match=message):
    Regularisation(**fields)


def test_examples_without_labels_are_named(emotion, emotion_params, one_device):
  batch = make_batch(emotion_example, 0)
  del batch['label']
  with pytest.raises(InputError, match='the examples have no labels: the target is'):
    forward(emotion, one_device, 'evaluate')(emotion_params, batch)
