"""What a program will run on decides, not where it is compiled."""

import functools

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.sharding import AbstractDevice, AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

from mvp_jax.models import attention, convolution, layers
from mvp_jax.models.partition import platform, use_mesh
from mvp_jax.training.sharding import AXES, MeshConfig, make_mesh

_KINDS = {'cpu': 'cpu', 'gpu': 'NVIDIA H200', 'tpu': 'TPU v5 lite'}


def far(kind):
  """Context manager: traces for two devices of a kind that are not here."""
  mesh = AbstractMesh(
    (2, 1, 1),
    AXES,
    (AxisType.Auto,) * 3,
    abstract_device=AbstractDevice(_KINDS[kind], None, kind),
  )
  return jax.sharding.use_abstract_mesh(mesh)


def test_without_a_mesh_it_is_the_default_backend(monkeypatch):
  assert platform() == 'cpu'
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  assert platform() == 'gpu'
  with use_mesh(make_mesh(MeshConfig())):
    assert platform() == 'cpu'


@pytest.mark.parametrize('kind', _KINDS)
def test_the_devices_of_the_mesh_decide(kind):
  with far(kind):
    assert platform() == kind
    seen = []

    @functools.partial(
      jax.shard_map, in_specs=P('data'), out_specs=P('data'), check_vma=False
    )
    def inside(x):
      seen.append(platform())
      return x

    jax.eval_shape(inside, jnp.zeros(4))
    assert seen == [kind]


@pytest.mark.parametrize(
  ('kind', 'way'), [('cpu', 'plain'), ('gpu', 'cudnn'), ('tpu', 'splash')]
)
def test_attention_is_that_of_the_devices(kind, way):
  x = jax.ShapeDtypeStruct((2, 2, 600, 64), jnp.bfloat16)
  with far(kind):
    assert attention._choose(x, x) == way


@pytest.mark.parametrize('outputs', [5, 20])
@pytest.mark.parametrize(('kind', 'dimensions'), [('cpu', 2), ('tpu', 3)])
def test_convolutions_are_those_of_the_devices(kind, dimensions, outputs):
  with far(kind):
    program = jax.make_jaxpr(convolution.convolve)(
      jnp.zeros((2, 4, 8, 8, 3)), jnp.zeros((3, 3, 3, 3, outputs))
    )
  (one,) = [x for x in _all_of(program) if x.primitive.name == 'conv_general_dilated']
  assert len(one.outvars[0].aval.shape) == dimensions + 2


def _all_of(program):
  """Its equations, and those of functions with a gradient of their own."""
  for one in program.eqns:
    yield one
    if 'call_jaxpr' in one.params:
      yield from _all_of(one.params['call_jaxpr'])


def kept(kind, dtype=jnp.bfloat16, keys=32):
  """Arrays that a stack of two blocks keeps for the backward pass: (dtype, shape)."""
  stack = layers.Stack(
    lambda rngs: layers.Block(16, 2, 64, rngs=rngs, dtype=dtype), 2, rngs=nnx.Rngs(0)
  )
  graph, variables = nnx.split(stack)

  def backward(variables, x, key):
    def run(variables, x):
      return nnx.merge(graph, variables)(x, key=key)[0]

    return jax.vjp(run, variables, x)[1]

  x = jax.ShapeDtypeStruct((4, keys, 16), dtype)
  with far(kind), jax.numpy_dtype_promotion('standard'):  # Flax's norm promotes
    found = jax.eval_shape(backward, variables, x, jax.random.key(0))
  return [(str(x.dtype), x.shape) for x in jax.tree.leaves(found)]


def test_accelerators_keep_few_arrays():
  found = [(kind, shape) for kind, shape in kept('tpu') if 32 in shape or 128 in shape]
  wide = [shape for kind, shape in found if shape[-1] == 64 and 'float' in kind]
  assert len(wide) == 1  # what comes out of `up`
  # No scores, no masks of nothing, nothing wider than what is computed with.
  assert not [shape for _, shape in found if shape[-2:] == (32, 32)]
  assert {kind for kind, _ in found} == {'bfloat16'}
  # A CPU keeps more, for it does not repeat work.
  scores = [shape for _, shape in kept('cpu', jnp.float32) if shape[-2:] == (32, 32)]
  assert scores
