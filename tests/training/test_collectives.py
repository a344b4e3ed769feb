"""What a compiled step sends between devices, against what it should."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from mvp_jax.models.videomae import VideoMAEConfig
from mvp_jax.training.collectives import moved_bytes
from mvp_jax.training.sharding import MeshConfig, make_mesh, put_batch
from mvp_jax.training.state import abstract_state, train_step
from mvp_jax.training.tasks import MaskedVideo
from tests.training.tiny import BATCH, OPTIMISER, make_batch, video_example

_MODEL = VideoMAEConfig(
  width=32,
  depth=2,
  heads=2,
  mlp_width=64,
  decoder_width=16,
  decoder_depth=1,
  decoder_heads=2,
  frames=4,
  size=16,
  patch=8,
)


def _step(data=1, fsdp=1, tensor=1):
  """Totals of a compiled pre-training step, and the parameters {path: array}."""
  mesh = make_mesh(
    MeshConfig(data, fsdp, tensor), jax.devices()[: data * fsdp * tensor]
  )
  task = MaskedVideo(_MODEL)
  state = abstract_state(task, OPTIMISER, mesh)
  batch = put_batch(make_batch(video_example, 0), mesh)
  step = train_step(task, OPTIMISER, mesh).lower(state, batch).compile()
  return moved_bytes(step), state.params


def _bytes(params):
  return sum(4 * x.size for x in jax.tree.leaves(params))


def test_loops_count_as_often_as_they_run():
  mesh = make_mesh(MeshConfig(data=4), jax.devices()[:4])
  split = NamedSharding(mesh, P('data'))

  @jax.jit
  def run(x):
    def turn(total, _):
      return total + (x + total.sum()).sum(0), None

    return jax.lax.scan(turn, jnp.zeros(6, jnp.float32), length=5)[0]

  x = jax.ShapeDtypeStruct((8, 6), jnp.float32, sharding=split)
  arrays, totals = moved_bytes(run.lower(x).compile())
  assert arrays == {'all-reduce': {'f32[6]': 5}}
  assert totals == {'all-reduce': 5 * 6 * 4}


def test_split_data_reduce_each_gradient_once():
  (arrays, totals), params = _step(data=8)
  # Every gradient and the two scalars of the weighted mean.
  assert totals == {'all-reduce': _bytes(params) + 2 * 4}
  assert arrays['all-reduce']['f32[]'] == 2


def test_split_parameters_are_gathered_for_each_pass():
  (arrays, totals), params = _step(fsdp=8)
  kernels = jax.tree_util.tree_leaves_with_path(params)
  kernels = {
    jax.tree_util.keystr(path): x for path, x in kernels if 'fsdp' in x.sharding.spec
  }
  assert len(kernels) == 2 * 6 + 3  # of two stacks; embedding, to decoder, to pixels
  # Those of the stacks, once forward and once backward; the others are kept.
  gathered = sum(
    _bytes(x) * (2 if 'blocks' in path else 1) for path, x in kernels.items()
  )
  assert totals['all-gather'] == gathered
  # CPU's XLA reduces whole gradients, where a GPU or TPU scatters the sums. The
  # scalars: two of the weighted mean, two for the norm of each split gradient
  # (30 in all, some of them joined).
  scalars = arrays['all-reduce']['f32[]']
  assert totals['all-reduce'] == _bytes(params) + 4 * scalars
  assert set(totals) == {'all-gather', 'all-reduce'} and scalars <= 32


def test_split_layers_reduce_activations():
  (arrays, totals), _ = _step(tensor=2)
  # Forward after attention and MLP; backward for the inputs of query, key, value
  # and MLP.
  slots, places = _MODEL.slots, _MODEL.tokens_per_slot
  encoder = f'f32[{BATCH * slots * places // 2},{_MODEL.width}]'
  decoder = f'f32[{BATCH * slots * places},{_MODEL.decoder_width}]'
  wanted = {encoder: 6 * _MODEL.depth, decoder: 6 * _MODEL.decoder_depth}
  scalars = arrays['all-reduce'].pop('f32[]')  # of the gradient's norm
  assert arrays == {'all-reduce': wanted} and scalars <= 40
  assert set(totals) == {'all-reduce'}


def _theory(params, data, fsdp, tensor):
  """Bytes by cause of a step on a mixed mesh, on the layouts that parameters have.

  Gathered: kernels split over fsdp, their tensor part, twice if in a stack. Reduced:
  each gradient's tensor part over fsdp, that of a split kernel once more over data,
  a device's part of it; and the activations of `tensor`, of a device's examples.
  """
  sizes = {'gathered': 0, 'gradients': 0, 'activations': 0, 'whole': 0}
  for path, x in jax.tree_util.tree_leaves_with_path(params):
    spec, size = x.sharding.spec, 4 * x.size
    part = size // (tensor if 'tensor' in spec else 1)
    sizes['gradients'] += part
    if 'fsdp' in spec and fsdp > 1:
      stacked = 'blocks' in jax.tree_util.keystr(path)
      sizes['gathered'] += part * (2 if stacked else 1)
      sizes['gradients'] += part // fsdp if data > 1 else 0
      sizes['whole'] += 0 if 'tensor' in spec else size
  if tensor > 1:
    tokens = 4 * BATCH // (data * fsdp) * _MODEL.slots * _MODEL.tokens_per_slot
    sizes['activations'] = 6 * (
      tokens // 2 * _MODEL.width * _MODEL.depth
      + tokens * _MODEL.decoder_width * _MODEL.decoder_depth
    )
  return sizes


@pytest.mark.parametrize('sizes', [(2, 1, 2), (2, 2, 1)])
def test_a_mesh_of_data_and_another_axis_moves_what_both_need(sizes):
  (arrays, totals), params = _step(*sizes)
  theory = _theory(params, *sizes)
  scalars = arrays['all-reduce']['f32[]']
  assert totals.get('all-gather', 0) == theory['gathered']
  assert totals['all-reduce'] == (
    theory['gradients'] + theory['activations'] + 4 * scalars
  )
  assert set(totals) <= {'all-gather', 'all-reduce'} and scalars <= 40


@pytest.mark.parametrize('sizes', [(1, 2, 2), (2, 2, 2)])
def test_fsdp_and_tensor_together_gather_parameters_and_no_activation(sizes):
  (arrays, totals), params = _step(*sizes)
  theory = _theory(params, *sizes)
  assert totals['all-gather'] == theory['gathered']
  assert not [array for array in arrays['all-gather'] if array.count(',') > 1]
  # The gradients of kernels that `tensor` leaves whole: CPU's XLA divides the work
  # among its devices, reduces less for it and sends the parts to where they belong.
  assert totals['collective-permute'] == theory['whole'] > 0
  scalars = arrays['all-reduce']['f32[]']
  most = theory['gradients'] + theory['activations'] + 4 * scalars
  assert most - theory['whole'] <= totals['all-reduce'] <= most and scalars <= 80


def test_one_device_sends_nothing():
  (arrays, totals), _ = _step()
  assert arrays == {} and totals == {}


def test_a_loop_without_an_end_known_is_refused():
  mesh = make_mesh(MeshConfig(data=4), jax.devices()[:4])

  @jax.jit
  def run(x):
    return jax.lax.while_loop(
      lambda t: t.sum() < 9, lambda t: t + (x * t[None]).sum(0), x[0]
    )

  x = jax.ShapeDtypeStruct((8, 6), jnp.float32, sharding=NamedSharding(mesh, P('data')))
  with pytest.raises(ValueError, match='no known trip count'):
    moved_bytes(run.lower(x).compile())
