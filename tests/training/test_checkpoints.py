"""Checkpoints: whole, exact, on any mesh, the last few only."""

import dataclasses
import shutil
import types

import jax
import numpy as np
import pytest

from mvp_jax.errors import InputError, TrainingError
from mvp_jax.training.checkpoints import Checkpoints, damage
from mvp_jax.training.sharding import MeshConfig, make_mesh
from mvp_jax.training.state import TrainState, abstract_state, init_state
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
  emotion, one_device, folder, state, sizes
):
  mesh = make_mesh(MeshConfig(*sizes)) if sizes else one_device
  abstract = abstract_state(emotion, OPTIMISER, mesh)
  with Checkpoints(folder) as checkpoints:
    found, stream = checkpoints.restore(9, abstract)
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


def test_nothing_to_restore(tmp_path):
  with (
    Checkpoints(tmp_path / 'none') as checkpoints,
    pytest.raises(InputError, match='there is no whole checkpoint here'),
  ):
    checkpoints.restore_params({})


@pytest.mark.parametrize(
  ('change', 'named'),
  [
    ('shape', r'heads/0/linear/kernel is \(16, 2\), must be \(7, 5\)'),
    ('missing', r'heads/0/linear/bias is \(2,\), must be not there'),
    ('extra', r'tail/kernel is not there, must be \(16, 2\)'),
  ],
)
def test_parameters_of_another_model(emotion, one_device, folder, change, named):
  params = abstract_state(emotion, OPTIMISER, one_device).params
  head = params['heads'][0]
  kernel = head['linear']['kernel']
  if change == 'shape':
    head['linear']['kernel'] = jax.ShapeDtypeStruct(
      (7, 5), kernel.dtype, sharding=kernel.sharding
    )
  elif change == 'missing':
    del head['linear']
  else:
    params['tail'] = {'kernel': kernel}
  with (
    Checkpoints(folder) as checkpoints,
    pytest.raises(
      InputError, match='checkpoint 9 does not fit this model: ' + named
    ) as error,
  ):
    checkpoints.restore_params(params)
  assert '\n' not in str(error.value)


def test_moments_of_another_optimiser(emotion, one_device, folder):
  unclipped = dataclasses.replace(OPTIMISER, clip_norm=0.0)
  with (
    Checkpoints(folder) as checkpoints,
    pytest.raises(InputError, match='checkpoint 9 does not fit this model: opt_state'),
  ):
    checkpoints.restore(9, abstract_state(emotion, unclipped, one_device))


def _truncate(folder):
  path = max(
    (p for p in folder.rglob('*') if p.is_file()), key=lambda p: p.stat().st_size
  )
  path.write_bytes(path.read_bytes()[:-100])


def _flip(folder):
  """One bit of the arrays' values, which Orbax does not notice."""
  path = max((folder / 'params').rglob('d/*'), key=lambda p: p.stat().st_size)
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


def _delete(folder):
  next((folder / 'rest').rglob('manifest.ocdbt')).unlink()


def _unseal(folder):
  (folder / 'checksums.json').unlink()


def _cut_checksums(folder):
  (folder / 'checksums.json').write_text('{"params')


@pytest.mark.parametrize(
  ('harm', 'what'),
  [
    (_truncate, 'is not what was written'),
    (_flip, 'is not what was written'),
    (_delete, 'is missing'),
    (_unseal, 'checksums.json is missing'),
    (_cut_checksums, 'cannot be read'),
  ],
)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
  emotion, one_device, folder, state, tmp_path, capfd, harm, what
):
  copy = tmp_path / 'checkpoints'
  shutil.copytree(folder, copy)
  harm(copy / '9')
  abstract = abstract_state(emotion, OPTIMISER, one_device)
  with Checkpoints(copy) as checkpoints:
    with pytest.raises(InputError, match=rf'checkpoint 9 is damaged \(.*{what}'):
      checkpoints.restore_params(abstract.params)
    assert checkpoints.latest_step() == 6
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith('warning: ') and what in line
    assert 'checkpoint 9 is damaged' in line and 'going back to checkpoint 6' in line
    found, stream = checkpoints.restore(6, abstract)
    assert stream == {'seed': 6}
    jax.tree.map(np.testing.assert_array_equal, found, state)
    checkpoints.save(9, state, {'seed': 9})  # trained again
  assert sorted(p.name for p in copy.iterdir()) == ['6', '9', '9.damaged']
  assert damage(copy / '9') is None


def test_no_checkpoint_is_whole(folder, tmp_path):
  copy = tmp_path / 'checkpoints'
  shutil.copytree(folder, copy)
  _flip(copy / '9')
  _delete(copy / '6')
  for _ in range(2):
    with (
      Checkpoints(copy) as checkpoints,
      pytest.raises(
        InputError, match=r'no checkpoint is whole \(9: .*; 6: .*\); delete the'
      ),
    ):
      checkpoints.latest_step()


def test_some_are_kept_for_good(tmp_path, one_device):
  state = TrainState(np.int32(0), np.uint32(0), {'x': np.zeros(3, np.float32)}, {})
  with Checkpoints(tmp_path / 'c', keep=1, keep_every=4) as checkpoints:
    for step in range(1, 8):
      checkpoints.save(step, state, {})
  assert sorted(p.name for p in (tmp_path / 'c').iterdir()) == ['4', '7']


def test_a_full_disk_is_found_before_anything_is_written(
  folder, state, tmp_path, monkeypatch
):
  copy = tmp_path / 'checkpoints'
  shutil.copytree(folder, copy)
  monkeypatch.setattr(
    shutil, 'disk_usage', lambda path: types.SimpleNamespace(free=9e5)
  )
  with (
    Checkpoints(copy) as checkpoints,
    pytest.raises(
      TrainingError, match=r'the disk is full: 1 MB are free, a checkpoint takes'
    ) as e,
  ):
    checkpoints.save(12, state, {})
  assert '\n' not in str(e.value)
  assert sorted(p.name for p in copy.iterdir()) == ['6', '9']
