import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mvp_jax.errors import InputError
from mvp_jax.models.emotion import EmotionConfig, EmotionModel, ModelSizes
from mvp_jax.models.fusion import FUSIONS
from mvp_jax.models.modalities import find
from mvp_jax.models.modalities.action_units import (
  ActionUnitNetwork,
  ActionUnits,
  ActionUnitTransformer,
)
from mvp_jax.models.modalities.physio import Physio, PhysioNetwork
from mvp_jax.targets.binary import Binary

CONFIG = ActionUnits(depth=1, heads=2, mlp_width=32, dropout=0.5)
SIZES = ModelSizes(width=16, depth=1, heads=2, mlp_width=32, dropout=0.0)
PHYSIO = Physio(
  widths=(8, 16),
  kernels=(16, 8),
  strides=(4, 2),
  depth=1,
  heads=2,
  mlp_width=32,
  dropout=0.0,
  levels=False,
)
NAMES = ('physio', 'action_units')
UNITS = 'action_units/units'


def transformer(config=CONFIG):
  """Function of units, valid, times and maybe a key: tokens, nothing taken off."""
  model = ActionUnitTransformer(config, SIZES, rngs=nnx.Rngs(0))

  def call(units, valid, times, key=None):
    arrays = {'units': units, 'valid': valid, 'times': times}
    found = model(arrays | {'reference': np.zeros_like(valid)}, key)
    np.testing.assert_array_equal(found.valid, valid)
    np.testing.assert_array_equal(found.times, times)
    return found.x

  call.embed = model.embed
  return call


MODEL = transformer()


@functools.cache
def fusion(modalities=NAMES, **sizes):
  networks = {
    'physio': PhysioNetwork(PHYSIO, channels=2, rate=128.0),
    'action_units': ActionUnitNetwork(dataclasses.replace(CONFIG, dropout=0.0)),
  }
  config = EmotionConfig(
    dataclasses.replace(SIZES, **sizes),
    tuple((name, networks[name]) for name in modalities),
    Binary(),
    NAMES,
  )
  model = nnx.jit(lambda: EmotionModel(config, rngs=nnx.Rngs(0)))()
  graph, state = nnx.split(model)
  run = jax.jit(lambda state, *args: nnx.merge(graph, state)(*args), static_argnums=3)

  def call(examples, want_attention=False, state=state):
    return run(state, examples, None, want_attention)

  call.state = state
  return call


def inputs(count=12, seed=0):
  rng = np.random.default_rng(seed)
  return (
    rng.uniform(0, 3, (2, count, 35)).astype(np.float32),
    np.ones((2, count), bool),
    np.tile(np.arange(count, dtype=np.float32) / 4, (2, 1)),
  )


def batch(samples=64, count=12, seed=0):
  units, valid, times = inputs(count, seed)
  rng = np.random.default_rng(seed)
  return {
    'physio/values': rng.standard_normal((2, samples, 2)).astype(np.float32),
    'physio/valid': np.ones((2, samples), bool),
    'action_units/units': units,
    'action_units/valid': valid,
    'action_units/times': times,
    'action_units/reference': times < CONFIG.onset_seconds,
  }


def test_padding_and_what_is_no_measurement_never_change_a_token():
  units, valid, times = inputs()
  valid[0, 3:6] = False
  tokens = MODEL(units, valid, times)
  assert tokens.shape == (2, 12, 16) and not np.asarray(tokens)[0, 3:6].any()
  junk = units.copy()
  junk[0, 3:6] = np.nan
  np.testing.assert_allclose(MODEL(junk, valid, times), tokens, atol=1e-5)
  padded = MODEL(
    np.pad(units, ((0, 0), (0, 5), (0, 0)), constant_values=9),
    np.pad(valid, ((0, 0), (0, 5))),
    np.pad(times, ((0, 0), (0, 5))),
  )
  np.testing.assert_allclose(padded[:, :12], tokens, atol=1e-5)
  assert not np.asarray(padded[:, 12:]).any()


def test_without_layers_a_token_is_its_measurement_and_its_time():
  """By hand: twice the units times the matrix, plus sin and cos of tenths."""
  model = transformer(dataclasses.replace(CONFIG, depth=0))
  units, valid, times = inputs()
  found = np.asarray(model(units, valid, times))
  kernel = np.asarray(model.embed.kernel[...], np.float64)
  angle = times[..., None] * 10 / 10000 ** (np.arange(0, 16, 2) / 16)
  expected = 2 * units.astype(np.float64) @ kernel
  expected[..., 0::2] += np.sin(angle)
  expected[..., 1::2] += np.cos(angle)
  np.testing.assert_allclose(found, expected, atol=1e-4)


def test_order_matters_through_the_times_alone():
  units, valid, times = inputs()
  tokens = np.asarray(MODEL(units, valid, times))
  turned = np.asarray(MODEL(units[:, ::-1], valid, times[:, ::-1]))
  np.testing.assert_allclose(turned[:, ::-1], tokens, atol=1e-5)
  assert not np.allclose(MODEL(units, valid, times[:, ::-1]), tokens, atol=1e-3)


def test_dropout_needs_a_key():
  units = inputs()
  exact = MODEL(*units)
  np.testing.assert_array_equal(MODEL(*units), exact)
  assert not np.allclose(MODEL(*units, jax.random.key(0)), exact)


@pytest.mark.parametrize('modalities', [NAMES, ('action_units',)])
def test_it_is_the_face_of_the_emotion_model(modalities):
  model, examples = fusion(modalities=modalities), batch()
  logits, _ = model(examples)
  assert logits.shape == (2, 2) and logits.dtype == jnp.float32
  longer = {
    name: np.pad(
      x,
      ((0, 0), (0, 16)) + ((0, 0),) * (x.ndim - 2),
      constant_values=False if x.dtype == bool else 7,
    )
    for name, x in examples.items()
  }
  np.testing.assert_allclose(model(longer)[0], logits, atol=1e-5)
  other = examples | {UNITS: batch(seed=1)[UNITS]}
  assert not np.allclose(model(other)[0], logits, atol=1e-4)
  # A resting face of another kind is taken off, a change is not.
  resting = examples | {UNITS: examples[UNITS] + np.float32(0.7)}
  np.testing.assert_allclose(model(resting)[0], logits, atol=1e-4)
  late = (examples['action_units/times'][..., None] >= 2).astype(np.float32)
  assert not np.allclose(
    model(examples | {UNITS: examples[UNITS] + late})[0], logits, atol=1e-4
  )
  examples['action_units/valid'][0] = False
  assert np.isfinite(model(examples)[0]).all()


def test_attention_is_physio_over_action_units():
  examples = batch()
  examples['action_units/valid'][:, 9:] = False
  _, seen = fusion()(examples, True)
  weights = np.asarray(seen['attention'])
  assert weights.shape == (1, 2, 2, 8, 12) and not weights[..., 9:].any()
  np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize('kind', [f for f in FUSIONS if not f.startswith('cross')])
def test_every_fusion_takes_them(kind):
  model, examples = fusion(fusion=kind), batch()
  logits, seen = model(examples, True)
  assert 'attention' not in seen
  other = examples | {UNITS: batch(seed=1)[UNITS]}
  assert not np.allclose(model(other)[0], logits, atol=1e-6)
  examples['action_units/valid'][:, 9:] = False
  short, _ = model(examples)
  junk = np.where(examples['action_units/valid'][..., None], examples[UNITS], 7)
  np.testing.assert_allclose(model(examples | {UNITS: junk})[0], short, atol=1e-5)


def test_gradients_reach_every_parameter_and_nothing_of_videomae_is_there():
  model, examples = fusion(), batch()
  grads = jax.grad(lambda state: (model(examples, state=state)[0] ** 2).sum())(
    model.state
  )
  names = [
    jax.tree_util.keystr(path) for path, g in jax.tree_util.tree_leaves_with_path(grads)
  ]
  assert all(np.any(g) for g in jax.tree.leaves(grads))
  assert any('action_units' in name for name in names)
  assert not any('encoder' in name or 'video' in name for name in names)


def test_impossible_settings_are_refused():
  with pytest.raises(InputError, match="modality 'openface' is none of physio, video"):
    find('openface')
  with pytest.raises(ValueError, match='3 heads do not divide'):
    ActionUnits(heads=3).check(SIZES)
