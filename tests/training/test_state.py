"""The training step against the same written out in NumPy."""

import dataclasses

import jax
import numpy as np

from mvp_jax.training.checkpoints import Checkpoints
from mvp_jax.training.optimiser import decayed
from mvp_jax.training.sharding import MeshConfig, make_mesh, path_string, put_batch
from mvp_jax.training.state import (
  abstract_state,
  build_model,
  init_state,
  init_variables,
  train_step,
)
from tests.training.tiny import OPTIMISER, emotion_example, learning_rate, make_batch


def _flat(tree):
  return {
    path_string(path): np.asarray(x, np.float64)
    for path, x in jax.tree_util.tree_leaves_with_path(tree)
  }


def test_steps_are_adamw_written_out(emotion, one_device):
  batches = [make_batch(emotion_example, number) for number in range(4)]
  state = init_state(emotion, OPTIMISER, one_device, 5)
  params = jax.device_get(state.params)
  decay = {
    path_string(path): keep
    for path, keep in jax.tree_util.tree_leaves_with_path(decayed(params))
  }
  step_fn = train_step(emotion, OPTIMISER, one_device)

  @jax.jit
  def gradient(params, batch, key):
    return jax.value_and_grad(
      lambda p: emotion.loss(build_model(emotion, p), batch, key)['loss'].compute()
    )(params)

  first = dict.fromkeys(decay, 0.0)
  second = dict.fromkeys(decay, 0.0)
  norms = []
  for number, batch in enumerate(batches):
    key = jax.random.fold_in(jax.random.key(5), number)
    before = jax.device_get(state.params)
    loss, grads = gradient(before, batch, key)
    state, metrics = step_fn(state, put_batch(batch, one_device))
    assert int(state.step) == number + 1
    np.testing.assert_allclose(metrics['loss'], loss, rtol=1e-5)
    rate = learning_rate(number, OPTIMISER)
    np.testing.assert_allclose(metrics['learning_rate'], rate, rtol=1e-5, atol=1e-9)
    grads, before, found = _flat(grads), _flat(before), _flat(state.params)
    norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
    norms.append(norm)
    np.testing.assert_allclose(metrics['grad_norm'], norm, rtol=1e-4)
    for name, g in grads.items():
      g = g * min(1, OPTIMISER.clip_norm / norm)
      first[name] = 0.8 * first[name] + 0.2 * g
      second[name] = 0.95 * second[name] + 0.05 * g**2
      mean = first[name] / (1 - 0.8 ** (number + 1))
      square = second[name] / (1 - 0.95 ** (number + 1))
      update = mean / (np.sqrt(square) + 1e-8)
      if decay[name]:
        update = update + 0.3 * before[name]
      np.testing.assert_allclose(
        found[name], before[name] - rate * update, rtol=1e-4, atol=2e-5, err_msg=name
      )
  assert max(norms) > OPTIMISER.clip_norm  # clipping took part
  name = 'heads/0/linear/kernel'
  assert not np.array_equal(found[name], _flat(params)[name])


def test_the_seed_gives_parameters_and_dropout(emotion, one_device):
  batch = put_batch(make_batch(emotion_example, 0), one_device)
  step_fn = train_step(emotion, OPTIMISER, one_device)

  def run(seed, dropout_seed):
    state = init_state(emotion, OPTIMISER, one_device, seed)
    kernel = np.asarray(state.params['modalities']['video']['embed']['kernel'])
    state.seed = np.uint32(dropout_seed)
    _, metrics = step_fn(state, batch)
    return kernel, float(metrics['loss'])

  (one, loss), (same, same_loss) = run(1, 1), run(1, 1)
  np.testing.assert_array_equal(one, same)
  assert loss == same_loss
  assert run(1, 2)[1] != loss  # dropout
  assert not np.array_equal(run(2, 1)[0], one)


def test_a_built_model_has_the_parameters_given(emotion):
  params = jax.eval_shape(lambda: init_variables(emotion, jax.random.key(0))[0])
  params = jax.tree.map(lambda x: np.full(x.shape, 0.5, x.dtype), params)
  model = build_model(emotion, params)
  assert np.all(np.asarray(model.heads[0].linear.kernel[...]) == 0.5)
  other = build_model(emotion, jax.tree.map(np.zeros_like, params))
  assert not np.any(np.asarray(other.heads[0].linear.kernel[...]))
  assert np.all(np.asarray(model.heads[0].linear.kernel[...]) == 0.5)


def test_an_average_of_the_parameters_is_kept_saved_and_restored(emotion, tmp_path):
  mesh = make_mesh(MeshConfig(fsdp=2), jax.devices()[:2])
  config = dataclasses.replace(OPTIMISER, ema=0.7)
  state = init_state(emotion, config, mesh, 0)
  # As when training starts from a pre-trained model: the average must, too.
  state.params = jax.tree.map(lambda x: x + 1, state.params)
  average = _flat(state.params)
  step_fn = train_step(emotion, config, mesh)
  for number in range(2):
    state, _ = step_fn(state, put_batch(make_batch(emotion_example, number), mesh))
    jax.block_until_ready(state)
    average = {
      name: 0.7 * average[name] + 0.3 * x for name, x in _flat(state.params).items()
    }
  found = _flat(state.ema)
  for name, x in average.items():
    np.testing.assert_allclose(found[name], x, rtol=1e-5, atol=1e-6, err_msg=name)
  assert state.evaluated is state.ema
  where = jax.tree.map(lambda x: x.sharding.spec, state.params)
  assert jax.tree.map(lambda x: x.sharding.spec, state.ema) == where
  assert any('fsdp' in spec for spec in jax.tree.leaves(where))

  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(2, state, {})
  with Checkpoints(tmp_path) as checkpoints:
    again, _ = checkpoints.restore(2, abstract_state(emotion, config, mesh))
  jax.tree.map(np.testing.assert_array_equal, again.ema, state.ema)
  jax.tree.map(np.testing.assert_array_equal, again.params, state.params)


def test_without_an_average_the_parameters_are_evaluated(emotion, one_device):
  state = init_state(emotion, OPTIMISER, one_device, 0)
  assert state.ema == {} and state.evaluated is state.params
