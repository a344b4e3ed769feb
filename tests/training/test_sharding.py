"""Where arrays live, and that it changes no number."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from mvp_jax.errors import InputError
from mvp_jax.models.partition import use_mesh
from mvp_jax.models.videomae import preset
from mvp_jax.training.sharding import (
  MeshConfig,
  batch_sharding,
  check_batch,
  deal,
  describe,
  make_mesh,
  path_string,
  put_batch,
  spec_for,
)
from mvp_jax.training.state import (
  TrainState,
  abstract_state,
  init_state,
  optimiser,
  train_step,
)
from mvp_jax.training.tasks import MaskedVideo
from tests.training.tiny import OPTIMISER, emotion_example, make_batch, video_example

_TASKS = pytest.mark.parametrize(
  ('task', 'example'), [('emotion', emotion_example), ('masked_video', video_example)]
)


@pytest.mark.parametrize(
  ('sizes', 'found'),
  [
    ((-1, 1, 1), (8, 1, 1)),
    ((2, -1, 2), (2, 2, 2)),
    ((1, 1, 8), (1, 1, 8)),
    ((8, 1, -1), (8, 1, 1)),
  ],
)
def test_mesh_sizes(sizes, found):
  mesh = make_mesh(MeshConfig(*sizes))
  assert dict(mesh.shape) == dict(zip(('data', 'fsdp', 'tensor'), found, strict=True))
  assert set(mesh.devices.flat) == set(jax.devices())


@dataclasses.dataclass(frozen=True)
class _Chip:
  """Of a TPU: what meshes are laid out by."""

  id: int
  coords: tuple
  platform: str = 'tpu'
  device_kind: str = 'TPU v6 lite'
  core_on_chip: int = 0
  process_index: int = 0
  slice_index: int = 0
  client: None = None


@pytest.mark.parametrize('sizes', [(64, 1, 1), (16, 4, 1), (8, 8, 1), (8, 2, 4)])
def test_an_axis_of_a_torus_can_be_split(sizes):
  chips = [_Chip(8 * y + x, (x, y, 0)) for y in range(8) for x in range(8)]
  mesh = make_mesh(MeshConfig(*sizes), chips)
  assert mesh.devices.shape == sizes
  assert set(mesh.devices.flat) == set(chips)


@pytest.mark.parametrize(
  'sizes',
  [
    (3, 1, 1),
    (-1, 3, 1),
    (-1, -1, 1),
    (0, 1, 1),
    (-1, 0, 1),
    (2, 2, 1),
    (16, 1, 1),
    (-2, -4, 1),
    (-1, -1, -1),
  ],
)
def test_mesh_that_does_not_fit(sizes):
  with pytest.raises(InputError, match=r'^mesh: .*does not fit 8 devices'):
    make_mesh(MeshConfig(*sizes))


@pytest.mark.parametrize(
  ('path', 'shape', 'spec'),
  [
    (
      'encoder/stack/blocks/attention/query/kernel',
      (4, 16, 16),
      P(None, 'fsdp', 'tensor'),
    ),
    (
      'encoder/stack/blocks/attention/key/kernel',
      (4, 16, 16),
      P(None, 'fsdp', 'tensor'),
    ),
    ('encoder/stack/blocks/attention/value/bias', (4, 16), P(None, 'tensor')),
    (
      'encoder/stack/blocks/attention/out/kernel',
      (4, 16, 16),
      P(None, 'tensor', 'fsdp'),
    ),
    ('encoder/stack/blocks/attention/out/bias', (4, 16), P()),
    ('encoder/stack/blocks/up/kernel', (4, 16, 64), P(None, 'fsdp', 'tensor')),
    ('encoder/stack/blocks/up/bias', (4, 64), P(None, 'tensor')),
    ('encoder/stack/blocks/down/kernel', (4, 64, 16), P(None, 'tensor', 'fsdp')),
    ('encoder/embed/kernel', (384, 16), P(None, 'fsdp')),
    ('encoder/stack/blocks/norm1/scale', (4, 16), P()),
    ('mask_token', (8,), P()),
    # What an axis does not divide stays whole.
    ('encoder/stack/blocks/up/kernel', (4, 15, 64), P(None, None, 'tensor')),
    ('head/kernel', (16, 3), P(None, None)),
    # Moments of the optimiser lie like their parameters.
    ('1/0/mu/encoder/embed/kernel', (384, 16), P(None, 'fsdp')),
    ('1/0/count', (), P()),
  ],
)
def test_table_of_rules(path, shape, spec):
  assert spec_for(path, shape, make_mesh(MeshConfig(2, 2, 2))) == spec


@pytest.mark.parametrize('task', ['emotion', 'masked_video'])
def test_parameters_are_split_and_moments_like_them(request, task):
  mesh = make_mesh(MeshConfig(1, 4, 2))
  task = request.getfixturevalue(task)
  abstract = abstract_state(task, OPTIMISER, mesh)
  state = init_state(task, OPTIMISER, mesh, 0)

  def specs(tree):
    return {
      path_string(path): x.sharding.spec
      for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }

  assert specs(abstract) == specs(state)
  of_params = specs(state.params)
  split = {path for path, spec in of_params.items() if any(spec)}
  assert {path for path in of_params if path.endswith('/kernel')} - split <= {
    'heads/0/linear/kernel'
  }  # two targets
  assert not {path for path in split if not path.endswith(('kernel', 'bias'))}
  moments = specs(state.opt_state)
  for moment in ('mu', 'nu'):
    found = {
      path.split(f'/{moment}/')[1]: spec
      for path, spec in moments.items()
      if f'/{moment}/' in path
    }
    assert found == of_params
  # Really split: a device holds an eighth of what both axes split.
  for path, x in jax.tree_util.tree_leaves_with_path(state.params):
    if path_string(path).endswith('up/kernel'):
      assert x.addressable_shards[0].data.size * 8 == x.size


def test_batches_are_split_over_data_and_fsdp():
  mesh = make_mesh(MeshConfig(2, 2, 2))
  x = np.arange(24, dtype=np.float32).reshape(8, 3)
  placed = put_batch({'x': x}, mesh)['x']
  assert placed.sharding.spec == P(('data', 'fsdp'))
  np.testing.assert_array_equal(placed, x)
  rows = {tuple(s.data[:, 0].tolist()) for s in placed.addressable_shards}
  assert rows == {(0, 3), (6, 9), (12, 15), (18, 21)}


def test_a_batch_that_the_mesh_cannot_divide():
  mesh = make_mesh(MeshConfig(2, 2, 2))
  check_batch(12, mesh, 'train.batch_size')
  with pytest.raises(
    InputError,
    match=r'train\.batch_size: a batch of 6 cannot be '
    r'divided over 4 devices .* multiple of 4',
  ):
    check_batch(6, mesh, 'train.batch_size')


def _run(task, example, mesh, params, steps=10):
  """Losses of some steps from `params`, and the parameters after them."""
  where = jax.tree.map(lambda x: x.sharding, abstract_state(task, OPTIMISER, mesh))
  state = TrainState(
    np.int32(0), np.uint32(7), params, optimiser(OPTIMISER).init(params)
  )
  state = jax.device_put(state, where)
  step = train_step(task, OPTIMISER, mesh)
  losses = []
  for number in range(steps):
    state, metrics = step(state, put_batch(make_batch(example, number), mesh))
    losses.append(float(metrics['loss']))
    jax.block_until_ready(state)  # eight devices share few threads
  return losses, jax.device_get(state.params)


@pytest.fixture(scope='module')
def alone(one_device):
  """Function of (task, example): fresh parameters and a run on one device."""
  runs = {}

  def run(task, example):
    if task not in runs:
      params = jax.device_get(init_state(task, OPTIMISER, one_device, 7).params)
      runs[task] = params, *_run(task, example, one_device, params)
    return runs[task]

  return run


def _assert_close(found, wanted, **tolerance):
  for (path, a), b in zip(
    jax.tree_util.tree_leaves_with_path(wanted), jax.tree.leaves(found), strict=True
  ):
    np.testing.assert_allclose(b, a, **tolerance, err_msg=path_string(path))


@pytest.mark.parametrize(
  ('task', 'example', 'sizes'),
  [
    ('masked_video', video_example, (8, 1, 1)),
    ('masked_video', video_example, (1, 8, 1)),
    ('masked_video', video_example, (1, 1, 8)),
    ('masked_video', video_example, (2, 2, 2)),
    ('emotion', emotion_example, (8, 1, 1)),
    ('emotion', emotion_example, (1, 2, 4)),
  ],
)
def test_any_mesh_gives_the_numbers_of_one_device(request, alone, task, example, sizes):
  task = request.getfixturevalue(task)
  start, losses, params = alone(task, example)
  assert len(set(losses)) == len(losses)  # it moves
  found_losses, found = _run(task, example, make_mesh(MeshConfig(*sizes)), start)
  np.testing.assert_allclose(found_losses, losses, rtol=2e-5)
  # Adam divides by the gradient's size, which lifts the rounding of tiny ones.
  _assert_close(found, params, rtol=1e-3, atol=2e-4)


@_TASKS
def test_any_mesh_starts_from_the_same_parameters(request, alone, task, example):
  task = request.getfixturevalue(task)
  state = init_state(task, OPTIMISER, make_mesh(MeshConfig(1, 4, 2)), 7)
  _assert_close(state.params, alone(task, example)[0], rtol=1e-6, atol=1e-7)


_GOLDENS = pathlib.Path(__file__).parent / 'goldens'


@pytest.mark.parametrize(
  ('size', 'sizes'),
  [('B', (8, 1, 1)), ('B', (1, 8, 1)), ('B', (2, 2, 2)), ('L', (1, 4, 2))],
)
def test_where_parameters_moments_and_batches_live_is_as_written_down(size, sizes):
  """The files in goldens/ are for reading; a change must be meant."""
  mesh = make_mesh(MeshConfig(*sizes))
  state = abstract_state(MaskedVideo(preset(size)), OPTIMISER, mesh)
  batch = {
    name: jax.ShapeDtypeStruct(shape, dtype, sharding=batch_sharding(mesh))
    for name, shape, dtype in [
      ('frames', (64, 16, 224, 224, 3), np.uint8),
      ('visible', (64, 160), np.int32),
      ('weight', (64,), np.float32),
    ]
  }
  found = (
    describe(
      {'parameters': state.params, 'moments': state.opt_state, 'batch': batch}, mesh
    )
    + '\n'
  )
  path = _GOLDENS / f'videomae_{size}_{"x".join(map(str, sizes))}.txt'
  assert found == path.read_text(), (
    f'{path.name} differs; if that is meant, put the new table there:\n{found}'
  )


@pytest.mark.parametrize('sizes', [(1, 1, 1), (2, 2, 1)])
def test_a_batch_in_parts_is_the_same_step(masked_video, sizes):
  task = MaskedVideo(dataclasses.replace(masked_video.model, drop_path=0.0))
  mesh = make_mesh(MeshConfig(*sizes), jax.devices()[: sizes[0] * sizes[1]])
  batch = put_batch(make_batch(video_example, 0), mesh)
  found = []
  for parts in (1, 2):
    state, metrics = train_step(task, OPTIMISER, mesh, parts)(
      init_state(task, OPTIMISER, mesh, 0), batch
    )
    found.append(jax.device_get((state.params, metrics)))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *found
  )


def test_parts_are_dealt_without_moving_rows():
  mesh = make_mesh(MeshConfig(data=4), jax.devices()[:4])
  x = put_batch({'x': np.arange(16)}, mesh)['x']
  run = jax.jit(lambda x: deal(x, 2))
  with use_mesh(mesh):
    assert run(x).tolist() == [list(range(0, 16, 2)), list(range(1, 16, 2))]
    text = run.lower(x).compile().as_text()
  assert not any(kind in text for kind in ('all-gather', 'all-to-all', 'permute'))


def test_parts_that_do_not_divide_the_batch():
  mesh = make_mesh(MeshConfig(data=4), jax.devices()[:4])
  check_batch(16, mesh, 'x', parts=4)
  with pytest.raises(InputError, match='over 4 devices .* and 3 parts; .* of 12'):
    check_batch(16, mesh, 'x', parts=3)
