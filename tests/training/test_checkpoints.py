"""Checkpoints: whole, exact, on any mesh, the last few only."""

import dataclasses

import jax
import numpy as np
import pytest

from mvp_jax.errors import InputError
from mvp_jax.training.checkpoints import Checkpoints
from mvp_jax.training.sharding import MeshConfig, make_mesh
from mvp_jax.training.state import abstract_state, init_state
from tests.training.tiny import OPTIMISER


@pytest.fixture(scope='module')
def state(emotion, one_device):
  """A state in which every leaf, moments too, differs from the others."""
  state = init_state(emotion, OPTIMISER, one_device, 3)
  leaves, tree = jax.tree.flatten(jax.device_get(state))
  rng = np.random.default_rng(0)
  leaves = [np.asarray(100 * rng.random(x.shape)).astype(x.dtype) for x in leaves]
  return jax.device_put(tree.unflatten(leaves), one_device.devices.item())


@pytest.fixture(scope='module')
def folder(state, tmp_path_factory):
  folder = tmp_path_factory.mktemp('run') / 'checkpoints'
  with Checkpoints(folder, keep=2) as checkpoints:
    assert checkpoints.latest_step() is None
    for step in (3, 6, 9):
      checkpoints.save(step, state, {'seed': step})
  return folder


@pytest.mark.parametrize('sizes', [None, (2, 2, 2)])
def test_what_was_saved_comes_back_where_it_is_wanted(
    emotion, one_device, folder, state, sizes):
  mesh = make_mesh(MeshConfig(*sizes)) if sizes else one_device
  abstract = abstract_state(emotion, OPTIMISER, mesh)
  with Checkpoints(folder) as checkpoints:
    found, stream = checkpoints.restore(abstract)
    params = checkpoints.restore_params(abstract.params)
  assert stream == {'seed': 9}
  jax.tree.map(np.testing.assert_array_equal, found, state)
  jax.tree.map(np.testing.assert_array_equal, params, state.params)
  for x, wanted in zip(jax.tree.leaves(found), jax.tree.leaves(abstract), strict=True):
    assert x.sharding.is_equivalent_to(wanted.sharding, x.ndim)
    assert x.dtype == wanted.dtype


def test_the_last_ones_are_kept(folder):
  assert sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) == [6, 9]


def test_a_half_written_checkpoint_does_not_count(folder):
  (folder / '12.orbax-checkpoint-tmp-1').mkdir()
  with Checkpoints(folder) as checkpoints:
    assert checkpoints.latest_step() == 9


def test_nothing_to_restore(emotion, one_device, tmp_path):
  with Checkpoints(tmp_path / 'none') as checkpoints, pytest.raises(
      InputError, match='there is no whole checkpoint here'):
    checkpoints.restore(abstract_state(emotion, OPTIMISER, one_device))


@pytest.mark.parametrize(('change', 'named'), [
    ('shape', r'head/kernel is \(16, 2\), must be \(7, 5\)'),
    ('missing', r'head/bias is \(2,\), must be not there'),
    ('extra', r'tail/kernel is not there, must be \(16, 2\)')])
def test_parameters_of_another_model(emotion, one_device, folder, change, named):
  params = abstract_state(emotion, OPTIMISER, one_device).params
  kernel = params['head']['kernel']
  if change == 'shape':
    params['head']['kernel'] = jax.ShapeDtypeStruct(
        (7, 5), kernel.dtype, sharding=kernel.sharding)
  elif change == 'missing':
    del params['head']
  else:
    params['tail'] = {'kernel': kernel}
  with Checkpoints(folder) as checkpoints, pytest.raises(
      InputError, match='checkpoint 9 does not fit this model: ' + named) as error:
    checkpoints.restore_params(params)
  assert '\n' not in str(error.value)


def test_moments_of_another_optimiser(emotion, one_device, folder):
  unclipped = dataclasses.replace(OPTIMISER, clip_norm=0.0)
  with Checkpoints(folder) as checkpoints, pytest.raises(
      InputError, match='checkpoint 9 does not fit this model: opt_state'):
    checkpoints.restore(abstract_state(emotion, unclipped, one_device))
