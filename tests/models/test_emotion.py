import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from mvp_jax.models.fusions import FUSIONS

from mvp_jax.models.fusion import EmotionModel, FusionConfig
from mvp_jax.models.physio import PhysioConfig
from mvp_jax.models.videomae import VideoMAEConfig

CONFIG = FusionConfig(
  video_width=12,
  video_depth=1,
  depth=2,
  heads=2,
  mlp_width=32,
  dropout=0.5,
  physio=PhysioConfig(
    widths=(8, 16),
    kernels=(16, 8),
    strides=(4, 2),
    depth=1,
    heads=2,
    mlp_width=32,
    dropout=0.5,
  ),
)
ENCODER = VideoMAEConfig(width=12, depth=1, heads=2, mlp_width=24, frames=4, size=32)


@functools.cache
def make(**changes):
  """A function (examples, key, want_attention) and the model behind it."""
  model = nnx.jit(
    lambda: EmotionModel(dataclasses.replace(CONFIG, **changes), rngs=nnx.Rngs(0))
  )()
  graph, state = nnx.split(model)
  run = jax.jit(lambda state, *args: nnx.merge(graph, state)(*args), static_argnums=3)

  def call(examples, key=None, want_attention=False, state=state):
    return run(state, examples, key, want_attention)

  call.graph, call.state = graph, state
  return call


def batch(samples=64, tokens=6, seed=0):
  rng = np.random.default_rng(seed)
  return {
    'signals': rng.standard_normal((2, samples, 2)).astype(np.float32),
    'signals_valid': np.ones((2, samples), bool),
    'video': rng.standard_normal((2, tokens, 12)).astype(np.float32),
    'video_valid': np.ones((2, tokens), bool),
    'video_times': np.tile(np.arange(tokens, dtype=np.float32), (2, 1)),
  }


def lengthen(examples, by, value):
  """Pads every sequence with junk that is marked invalid."""

  def pad(name, x):
    width = ((0, 0), (0, by)) + ((0, 0),) * (x.ndim - 2)
    fill = False if name.endswith('valid') else value
    return np.pad(x, width, constant_values=fill)

  return {name: pad(name, x) for name, x in examples.items()}


@pytest.mark.parametrize(
  'changes',
  [
    {'modalities': ('physio',)},
    {'modalities': ('video',)},
    *({'fusion': fusion} for fusion in FUSIONS),
  ],
  ids=str,
)
def test_padding_never_changes_the_logits(changes):
  model, examples = make(**changes), batch()
  logits, _ = model(examples)
  padded, _ = model(lengthen(examples, 24, 50.0))
  assert logits.shape == (2, 2) and logits.dtype == jnp.float32
  np.testing.assert_allclose(padded, logits, atol=1e-5)


def test_each_modality_matters_only_where_it_is_used():
  one, other = batch(seed=0), batch(seed=1)
  mixed = {name: (other if name == 'video' else one)[name] for name in one}
  for modalities, moved in [
    (('physio', 'video'), True),
    (('physio',), False),
    (('video',), True),
  ]:
    model = make(modalities=modalities)
    same = np.allclose(model(one)[0], model(mixed)[0], atol=1e-6)
    assert same != moved
  alone = make(modalities=('video',))
  del one['signals'], one['signals_valid']
  assert np.isfinite(alone(one)[0]).all()


def test_video_order_matters_through_its_times():
  model, examples = make(), batch()
  swapped = dict(examples, video_times=examples['video_times'][:, ::-1])
  assert not np.allclose(model(examples)[0], model(swapped)[0], atol=1e-5)


@pytest.mark.parametrize('centre', ['onset', 'recording', 'nothing'])
def test_centring_takes_the_person_off_and_leaves_the_change(centre):
  model, examples = make(centre_video=centre), batch()
  logits, _ = model(examples)
  person = np.random.default_rng(1).standard_normal((2, 1, 12)).astype(np.float32)
  other, _ = model(dict(examples, video=examples['video'] + person))
  assert np.allclose(other, logits, atol=1e-4) == (centre != 'nothing')
  # A change after the first two seconds is seen in full when those are the reference.
  late = np.where(examples['video_times'][..., None] >= 2, 1, 0).astype(np.float32)
  changed, _ = model(dict(examples, video=examples['video'] + late))
  assert not np.allclose(changed, logits, atol=1e-4)


def test_centring_without_a_face_at_the_onset_uses_the_recording():
  examples = batch()
  examples['video_valid'][:, :2] = False
  np.testing.assert_allclose(
    make(centre_video='onset')(examples)[0],
    make(centre_video='recording')(examples)[0],
    atol=1e-5,
  )


def test_attention_is_physio_over_video():
  examples = batch()
  examples['video_valid'][:, 4:] = False
  _, seen = make()(examples, want_attention=True)
  weights = np.asarray(seen['attention'])
  assert weights.shape == (2, 2, 2, 8, 6)  # depth, batch, heads, queries, keys
  np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
  assert not weights[..., 4:].any()
  assert seen['query_valid'].shape == (2, 8)


def test_dropout_needs_a_key_and_repeats_with_it():
  model, examples = make(), batch()
  exact = model(examples)[0]
  np.testing.assert_array_equal(exact, model(examples)[0])
  a, b = (model(examples, jax.random.key(i))[0] for i in (0, 1))
  np.testing.assert_array_equal(a, model(examples, jax.random.key(0))[0])
  assert not np.allclose(a, b) and not np.allclose(a, exact)


def test_encoder_inside_equals_its_features_from_outside():
  frames = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 32, 32, 3), np.uint8)
  model = make(encoder=ENCODER)
  examples = batch()
  encoder = nnx.merge(model.graph, model.state).encoder
  features = encoder.features(frames.reshape(-1, 4, 32, 32, 3))
  inside, _ = model(examples | {'frames': frames})
  rest = nnx.State({k: v for k, v in model.state.items() if k != 'encoder'})
  outside, _ = make()(examples | {'video': features.reshape(2, 6, 12)}, state=rest)
  np.testing.assert_allclose(inside, outside, atol=1e-5)


@pytest.mark.parametrize('fusion', [f for f in FUSIONS if f != 'cross'])
def test_every_fusion_reads_both_modalities(fusion):
  one, other = batch(seed=0), batch(seed=1)
  model = make(fusion=fusion)
  logits, seen = model(one, want_attention=True)
  assert not seen
  for names in (['video'], ['signals']):
    mixed = {name: (other if name in names else one)[name] for name in one}
    assert not np.allclose(model(mixed)[0], logits, atol=1e-6)


@pytest.mark.parametrize('fusion', FUSIONS)
def test_no_fusion_needs_a_face_or_a_sensor(fusion):
  examples = batch()
  examples['video_valid'][0] = False
  examples['signals_valid'][1] = False
  assert np.isfinite(make(fusion=fusion)(examples)[0]).all()


def _without_gradient(model, examples):
  grads = jax.jit(jax.grad(lambda state: (model(examples, state=state)[0] ** 2).sum()))(
    model.state
  )
  return [
    jax.tree_util.keystr(path)
    for path, g in jax.tree_util.tree_leaves_with_path(grads)
    if not np.any(g)
  ]


def test_gradients_reach_every_parameter():
  frames = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 32, 32, 3), np.uint8)
  assert not _without_gradient(make(encoder=ENCODER), batch() | {'frames': frames})


@pytest.mark.parametrize('fusion', [f for f in FUSIONS if f != 'cross'])
def test_gradients_reach_every_parameter_of_the_other_fusions(fusion):
  assert not _without_gradient(make(fusion=fusion), batch())


def test_what_is_unknown_is_refused():
  with pytest.raises(ValueError, match='centre_video'):
    FusionConfig(centre_video='person')
  with pytest.raises(ValueError, match="fusion 'mean' is none of cross, cross_video"):
    FusionConfig(fusion='mean')
  with pytest.raises(ValueError, match='segments is 0'):
    FusionConfig(segments=0)
  with pytest.raises(ValueError, match='modalities'):
    FusionConfig(modalities=('audio',))
