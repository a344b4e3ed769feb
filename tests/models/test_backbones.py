"""Convolutional backbones and the transformer over log-mel: shapes, slots, norms.

That they compute what PyTorch's do is tested with their weights, and of MSN-69 and DMSN
in test_multiscale.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from mvp_jax.models.backbones.mel_transformer import MelTransformer
from mvp_jax.models.backbones.multiscale import DMSN, MSN69
from mvp_jax.models.backbones.r2plus1d import R2Plus1D
from mvp_jax.models.backbones.resnet import ResNet18
from mvp_jax.models.convolution import BatchNorm
from mvp_jax.models.partition import use_mesh
from mvp_jax.training.sharding import MeshConfig, make_mesh

_WIDTHS = (4, 6, 8, 10)
_VIDEO = R2Plus1D(16, 16, 8, widths=_WIDTHS, blocks=1)
_SOUND = ResNet18(32, 40, widths=_WIDTHS, blocks=1)
_PATCHES = MelTransformer(
  32, 40, 16, 16, width=12, depth=2, heads=2, mlp_width=16, drop_path=0.5
)
_MULTISCALE = dict(
  size=16, tubelet=8, stem=4, widths=(8, 8, 16, 16), blocks=(1, 1, 1, 1)
)
_MSN, _DMSN = MSN69(**_MULTISCALE), DMSN(**_MULTISCALE, variant='B')
_ALL = {
  'video': _VIDEO,
  'msn69': _MSN,
  'dmsn': _DMSN,
  'sound': _SOUND,
  'patches': _PATCHES,
}


def _input(name, batch=2):
  rng = np.random.default_rng(0)
  if name in ('video', 'msn69', 'dmsn'):
    return rng.integers(0, 256, (batch, 16, 16, 16, 3), np.uint8)
  return rng.normal(0, 1, (batch, 32, 40)).astype(np.float32)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('name', _ALL)
def test_features_stand_one_for_each_slot(name, dtype):
  backbone = type(_ALL[name])(**{**vars(_ALL[name]), 'dtype': dtype})
  model, x = backbone.create(rngs=nnx.Rngs(0)), _input(name)
  with jax.numpy_dtype_promotion('standard'):  # for Flax's LayerNorm
    found = jax.jit(lambda x: model.features(x))(x)
    tokens = jax.jit(lambda x: model(x))(x)
  slots = {'sound': 1, 'patches': 3}.get(name, 2)
  assert found.shape == (2, slots, backbone.feature_width)
  assert found.dtype == jnp.dtype(dtype) and backbone.slots == slots
  assert tokens.shape[2] == backbone.width
  assert tokens.shape[1] == {'patches': 6}.get(name, 2)
  assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(nnx.state(model)))
  whole = found.astype(jnp.float32).mean(1)
  np.testing.assert_allclose(whole, tokens.astype(jnp.float32).mean(1), 0.02, 0.02)


@pytest.mark.parametrize('name', _ALL)
def test_gradients_reach_every_parameter(name):
  graph, params, rest = nnx.split(_ALL[name].create(rngs=nnx.Rngs(0)), nnx.Param, ...)

  def loss(params):
    model = nnx.merge(graph, params, rest, copy=True)
    x = model.features(_input(name), None if name == 'patches' else jax.random.key(0))
    return jnp.square(x * jnp.arange(1.0, x.shape[-1] + 1)[None, None]).sum()

  for path, grad in nnx.to_flat_state(jax.jit(jax.grad(loss))(params)):
    assert np.abs(grad[...]).max() > 0, path


def test_a_norm_follows_the_batch_in_training_alone():
  norm, x = BatchNorm(3), jnp.asarray(np.random.default_rng(0).normal(2, 3, (4, 5, 3)))
  kept = norm(x.astype(jnp.float32), False)
  np.testing.assert_allclose(kept, x / np.sqrt(1 + 1e-5), rtol=1e-5)
  np.testing.assert_array_equal(norm.mean[...], 0)
  found = np.asarray(norm(x.astype(jnp.float32), True)).reshape(-1, 3)
  np.testing.assert_allclose(found.mean(0), 0, atol=1e-5)
  np.testing.assert_allclose(found.std(0), 1, rtol=1e-4)
  flat = np.asarray(x).reshape(-1, 3)
  np.testing.assert_allclose(norm.mean[...], 0.1 * flat.mean(0), rtol=1e-5)
  np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * flat.var(0, ddof=1), rtol=1e-5)
  norm(x[:1, :1].astype(jnp.float32), True)  # a variance of one number: no NaN
  assert np.isfinite(norm.var[...]).all()


@pytest.mark.parametrize('devices', [1, 8])
def test_gradients_of_a_norm_are_those_of_pytorch(devices):
  torch = pytest.importorskip('torch', reason='PyTorch is in the test extra of 3.11')
  rng = np.random.default_rng(1)
  x, weights = rng.normal(3, 2, (2, 8, 5, 3, 7)).astype(np.float32)
  scale, bias = rng.normal(1, 0.3, (2, 7)).astype(np.float32)
  peer = torch.nn.BatchNorm1d(7)
  peer.weight.data, peer.bias.data = torch.tensor(scale), torch.tensor(bias)
  given = torch.tensor(x, requires_grad=True)
  y = peer(given.reshape(-1, 7)).reshape(given.shape)
  (y.square() * torch.tensor(weights)).sum().backward()
  norm = BatchNorm(7)
  norm.scale[...], norm.bias[...] = jnp.asarray(scale), jnp.asarray(bias)
  graph, params, rest = nnx.split(norm, nnx.Param, ...)

  def loss(params, x):
    norm = nnx.merge(graph, params, rest, copy=True)
    return (jnp.square(norm(x, True).astype(jnp.float32)) * weights).sum()

  mesh = make_mesh(MeshConfig(devices, 1, 1), jax.devices()[:devices])
  x = jax.device_put(x, NamedSharding(mesh, P('data')))
  found, of_x = jax.jit(jax.grad(loss, (0, 1)))(params, x)
  for ours, theirs in (
    (of_x, given.grad),
    (found['scale'][...], peer.weight.grad),
    (found['bias'][...], peer.bias.grad),
  ):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
  # Of halves the result is a half, computed in float32.
  assert jax.jit(jax.grad(loss, 1))(params, x.astype(jnp.bfloat16)).dtype == 'bfloat16'


@pytest.mark.parametrize('name', ['sound', 'msn69', 'dmsn'])
def test_eight_devices_have_the_norms_of_one(name):
  state = nnx.split(_ALL[name].create(rngs=nnx.Rngs(0)))
  found = []
  for mesh in (
    make_mesh(MeshConfig(), jax.devices()[:1]),
    make_mesh(MeshConfig(4, 2, 1)),
  ):

    def run(x, mesh=mesh):
      with use_mesh(mesh):
        model = nnx.merge(*state, copy=True)
        y = model.features(x, jax.random.key(0))
        return y, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))

    x = jax.device_put(_input(name, 8), NamedSharding(mesh, P(('data', 'fsdp'))))
    found.append(jax.device_get(jax.jit(run)(x)))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-3, 1e-4), *found)


def test_layers_are_counted_from_the_top():
  video, sound = R2Plus1D(), ResNet18()
  for path, layers in {
    'stem/conv/kernel': 23,
    'stages/0/0/narrow/parts/0/conv/kernel': 22,
    'stages/2/11/branches/1/parts/0/norm/scale': 4,
    'stages/3/2/shortcut/conv/kernel': 1,
  }.items():
    assert DMSN().layer(path, ()) == layers
  for path, layers in {
    'stem/spatial/kernel': 9,
    'layers/0/0/conv1/spatial/kernel': 8,
    'layers/0/1/conv2/norm/scale': 7,
    'layers/3/1/conv2/temporal/kernel': 1,
  }.items():
    assert video.layer(path, ()) == layers
  assert sound.layer('stem_norm/bias', ()) == 9
  assert sound.layer('layers/1/0/shortcut/kernel', ()) == 6
  assert list(_PATCHES.layer('stack/blocks/up/kernel', (2, 12, 16))) == [2, 1]
  assert (
    _PATCHES.layer('embed/kernel', ()) == 3 and _PATCHES.layer('norm/bias', ()) == 0
  )
  for backbone in _ALL.values():
    model = nnx.eval_shape(lambda backbone=backbone: backbone.create(rngs=nnx.Rngs(0)))
    for path, _ in nnx.to_flat_state(nnx.state(model, nnx.Param)):
      assert np.all(backbone.layer('/'.join(map(str, path)), ()) <= 9)
  assert video.with_drop_path(0.1) == video
  assert _PATCHES.with_drop_path(0.1).drop_path == 0.1


def test_a_patch_is_seen_where_it_stands():
  """Each patch is a token of its own, over time, then bands."""
  model = MelTransformer(32, 40, 16, 16, width=12, depth=0).create(rngs=nnx.Rngs(0))
  x = _input('patches')
  changed = x.copy()
  changed[:, 16:, 32:40] += 1  # upper bands, last patch of time, partly filled up
  moved = np.abs(np.asarray(model(x) - model(changed))).max((0, 2)) > 1e-6
  assert list(moved) == [False] * 5 + [True]


def test_drop_path_needs_a_key():
  model, x = _PATCHES.create(rngs=nnx.Rngs(0)), _input('patches')
  np.testing.assert_array_equal(model.features(x), model.features(x[..., None]))
  dropped = model.features(x, jax.random.key(1))
  assert np.abs(dropped - model.features(x)).max() > 1e-3


@pytest.mark.parametrize(
  'make, said',
  [
    (lambda: R2Plus1D(tubelet=2), 'tubelet is 2'),
    (lambda: R2Plus1D(frames=12), 'in clips of 12 frames'),
    (lambda: R2Plus1D(dtype='int8'), "dtype 'int8' is none of"),
    (lambda: ResNet18(channels=2), 'channels is 2, must be 1 or 3'),
    (lambda: ResNet18(dtype='int8'), "dtype 'int8' is none of"),
    (lambda: MelTransformer(bands=60), '60 bands cannot be cut into patches of 16'),
    (lambda: MelTransformer(remat='x'), "it is 'x'"),
    (lambda: MelTransformer(dtype='int8'), "dtype 'int8' is none of"),
  ],
)
def test_sizes_that_cannot_be_are_said(make, said):
  with pytest.raises(ValueError, match=said):
    make()
