"""MSN-69 and DMSN: what they hold and take, and that PyTorch's are the same."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, traverse_util

from mvp_jax.models.backbones.multiscale import DMSN, MSN69, VARIANTS, Block

_SMALL = dict(
  frames=8,
  size=16,
  tubelet=8,
  stem=4,
  widths=(8, 16, 24, 32),
  blocks=(1, 1, 1, 1),
)
_ALL = {'msn69': MSN69(**_SMALL)} | {
  name: DMSN(**_SMALL, variant=name) for name in VARIANTS
}


def test_msn_69_has_the_published_size():
  """76.86 million parameters and 100.5 billion multiply-adds, written out."""
  stem = 7**3 * 3 * 64
  multiscale, plain = 3**3 + 5**3 + 7**3, 3**3
  wide, parameters, macs = 64, stem, stem * 16 * 56 * 56
  for width, inner, blocks, kernels, branches, places in (
    (128, 32, 3, multiscale, 3, 8 * 28 * 28),
    (256, 64, 4, multiscale, 3, 8 * 28 * 28),
    (512, 256, 12, plain, 1, 4 * 14 * 14),
    (1024, 512, 3, plain, 1, 2 * 7 * 7),
  ):
    for _ in range(blocks):
      block = 3 * wide * inner + kernels * inner**2 + 3 * branches * inner * width
      block += wide * width  # the shortcut
      parameters, macs, wide = parameters + block, macs + block * places, width
  assert (MSN69().parameters, MSN69().macs) == (parameters, macs)
  assert round(parameters / 1e6, 2) == 76.86 and round(macs / 1e9, 1) == 100.5
  layers = 1 + 3 * sum(MSN69().blocks) + 2  # with the two that the mean goes through
  assert layers == 69


@pytest.mark.parametrize(
  ('variant', 'kernels', 'together'),
  [  # numbers of the branches over inner**2, and their outputs over inner
    ('A', 3 + 5 + 7 + 3 * 9, 1),
    ('B', 3 + 5 + 7 + 9 + 25 + 49, 3),
    ('C', 3 + 9 + 25 + 49, 3),
  ],
)
def test_dmsn_has_a_third_of_it_and_less(variant, kernels, together):
  network = DMSN(variant=variant)
  wide, parameters = 64, 7**3 * 3 * 64
  for width, inner, blocks in zip(
    network.widths, (32, 64, 64, 128), network.blocks, strict=True
  ):
    for _ in range(blocks):
      parameters += wide * inner + kernels * inner**2
      parameters += together * inner * width + wide * width
      wide = width
  assert network.parameters == parameters
  assert MSN69().parameters > 3.5 * parameters
  assert MSN69().macs > 3.5 * network.macs


def test_what_is_counted_follows_the_clip():
  assert MSN69(frames=32).macs == 2 * MSN69().macs
  assert MSN69(size=224).macs == 4 * MSN69().macs
  assert MSN69(frames=32, size=224).parameters == MSN69().parameters


@pytest.mark.parametrize('name', _ALL)
def test_what_is_counted_is_what_there_is(name):
  network = dataclasses.replace(_ALL[name], blocks=(1, 2, 1, 1))
  model = nnx.eval_shape(lambda: network.create(rngs=nnx.Rngs(0)))
  kernels = [
    np.prod(x.shape)
    for path, x in nnx.to_flat_state(nnx.state(model, nnx.Param))
    if path[-1] == 'kernel'
  ]
  assert network.parameters == sum(kernels)


def _variables(network):
  """Ours, random, with statistics of their own: {path: array}."""
  state = nnx.to_pure_dict(nnx.state(network.create(rngs=nnx.Rngs(0))))
  rng, found = np.random.default_rng(0), {}
  for path, x in traverse_util.flatten_dict(state).items():
    noise = rng.normal(0, 0.1, x.shape).astype(np.float32)
    found[path] = np.asarray(x) + (np.abs(noise) if path[-1] == 'var' else noise)
  return found


def _merged(network, flat):
  model = network.create(rngs=nnx.Rngs(0))
  state = nnx.state(model)
  flat = {path: jnp.asarray(x) for path, x in flat.items()}
  nnx.replace_by_pure_dict(state, traverse_util.unflatten_dict(flat))
  nnx.update(model, state)
  return model


def _frames(network, batch=2):
  shape = batch, network.frames, network.size, network.size, 3
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize('name', _ALL)
def test_features_are_those_of_pytorch(name):
  from tests.models import multiscale_networks as peers

  network = _ALL[name]
  variables, frames = _variables(network), _frames(network)
  peer = peers.moved(peers.peer(network), variables).eval()
  with peers.torch.no_grad():
    wanted = peer(peers.pixels(frames)).mean((2, 3, 4)).numpy()
  found = jax.jit(lambda x: _merged(network, variables).features(x))(frames)
  np.testing.assert_allclose(found[:, 0], wanted, rtol=1e-3, atol=1e-4)


def _same_training(peer, theirs, model, run, given):
  """Outputs, gradients of all parameters and running statistics after a batch.

  `theirs` are PyTorch's outputs in training mode; `run` is a function of our model and
  `given` to the same, of which the gradient is taken alike.
  """
  from tests.models import multiscale_networks as peers

  aim = np.linspace(-1, 1, theirs.shape[-1], dtype=np.float32)
  aim = np.broadcast_to(aim, theirs.shape)
  (theirs * peers.torch.tensor(aim)).sum().backward()
  graph, params, others = nnx.split(model, nnx.Param, ...)

  @jax.jit
  def step(params, given):
    def loss(params):
      model = nnx.merge(graph, params, others, copy=True)
      x = run(model, given)
      return (x * aim).sum(), (x, nnx.state(model, nnx.BatchStat))

    return jax.grad(loss, has_aux=True)(params)

  grads, (found, statistics) = step(params, given)
  np.testing.assert_allclose(found, theirs.detach(), rtol=1e-3, atol=1e-3)
  after = traverse_util.flatten_dict(nnx.to_pure_dict(statistics))
  state = peer.state_dict()
  for known, x in peers.renamed(after).items():
    np.testing.assert_allclose(x, state[known], rtol=1e-3, atol=1e-4, err_msg=known)
  gradients = {known: x.grad.numpy() for known, x in peer.named_parameters()}
  own = peers.renamed(traverse_util.flatten_dict(nnx.to_pure_dict(grads)))
  assert own.keys() == gradients.keys()
  for known, x in own.items():
    atol = 5e-3 * np.abs(gradients[known]).max() + 1e-5
    np.testing.assert_allclose(x, gradients[known], atol=atol, err_msg=known)


def test_training_of_msn_69_is_that_of_pytorch():
  from tests.models import multiscale_networks as peers

  network = dataclasses.replace(_ALL['msn69'], size=32)
  variables, frames = _variables(network), _frames(network, 4)
  peer = peers.moved(peers.peer(network), variables).double().train()
  theirs = peer(peers.pixels(frames).double()).mean((2, 3, 4))
  _same_training(
    peer,
    theirs,
    _merged(network, variables),
    lambda model, frames: model.features(frames, jax.random.key(0))[:, 0],
    frames,
  )


@pytest.mark.parametrize('name', VARIANTS)
def test_training_of_a_block_of_dmsn_is_that_of_pytorch(name):
  from tests.models import multiscale_networks as peers

  peer = peers.Block(name, 5, 3, 8)
  block = Block(5, 3, 8, VARIANTS[name], rngs=nnx.Rngs(0), dtype=jnp.float32)
  variables = traverse_util.flatten_dict(nnx.to_pure_dict(nnx.state(block)))
  peers.moved(peer, variables).double().train()
  x = np.random.default_rng(0).normal(size=(2, 4, 6, 6, 5)).astype(np.float32)
  theirs = peer(peers.torch.tensor(x).permute(0, 4, 1, 2, 3).double())
  _same_training(
    peer, theirs.permute(0, 2, 3, 4, 1), block, lambda model, x: model(x, True), x
  )


@pytest.mark.parametrize(
  ('kind', 'changed', 'said'),
  [
    (MSN69, {'tubelet': 2}, 'tubelet is 2, in clips of 16 frames'),
    (MSN69, {'frames': 12, 'tubelet': 8}, 'in clips of 12 frames'),
    (MSN69, {'size': 100}, 'size is 100 pixels, must be a multiple of 16'),
    (MSN69, {'widths': (8, 8)}, r'widths is \(8, 8\), must be four multiples of 8'),
    (DMSN, {'widths': (8, 8, 12, 16)}, 'widths is .* must be four multiples of 8'),
    (DMSN, {'blocks': (1, 0, 1, 1)}, 'blocks is'),
    (DMSN, {'stem': 0}, 'stem is 0, must be at least 1'),
    (DMSN, {'variant': 'D'}, "variant 'D' is none of A, B, C"),
    (DMSN, {'dtype': 'int8'}, "dtype 'int8' is none of"),
  ],
)
def test_sizes_that_cannot_be_are_said(kind, changed, said):
  with pytest.raises(ValueError, match=said):
    kind(**changed)


def test_each_variant_sees_what_its_name_says():
  """Frames far apart meet in A and B, places far apart in B and C, within a block."""
  reach = {}
  for name in VARIANTS:
    layout = dataclasses.replace(_ALL[name]).layout(0)
    (whole,) = {len(branch) for branch in layout.branches}
    assert whole == (2 if name == 'B' else 1)
    reach[name] = tuple(
      max(taps[axis] for branch in layout.branches for taps in branch)
      for axis in (0, 1)
    )
  assert reach == {'A': (7, 1), 'B': (7, 7), 'C': (1, 7)}
  assert jnp.dtype(_ALL['A'].dtype) == jnp.float32
