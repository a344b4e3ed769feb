import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mvp_jax.models import layers

F32 = jnp.float32


def normal(*shape, seed=0):
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def make_block(cross=False, width=16):
  return layers.Block(width, 2, 32, rngs=nnx.Rngs(0), dtype=F32, cross=cross)


def test_sincos_interleaves_sine_and_cosine():
  table = np.asarray(layers.sincos_1d(np.arange(50), 6))
  for position in (0, 1, 49):
    for column in range(3):
      angle = position / 10000 ** (2 * column / 6)
      assert table[position, 2 * column] == pytest.approx(np.sin(angle), abs=1e-5)
      assert table[position, 2 * column + 1] == pytest.approx(np.cos(angle), abs=1e-5)


def test_drop_path_drops_whole_examples_and_keeps_the_mean():
  x = np.ones((4000, 2, 3), np.float32)
  y = np.asarray(layers.drop_path(x, 0.25, jax.random.key(0)))
  assert set(np.unique(y.round(4))) == {0, np.float32(1 / 0.75).round(4)}
  assert (y.std(axis=(1, 2)) == 0).all()
  assert y.mean() == pytest.approx(1, abs=0.03)
  assert layers.drop_path(x, 0.25, None) is x


def test_dropout_drops_elements_and_keeps_the_mean():
  x = np.ones((100, 1000), np.float32)
  y = np.asarray(layers.dropout(x, 0.1, jax.random.key(0)))
  assert (y == 0).mean() == pytest.approx(0.1, abs=0.01)
  assert y.mean() == pytest.approx(1, abs=0.01)
  assert layers.dropout(x, 0.1, None) is x


@pytest.mark.parametrize('remat', layers.REMAT)
def test_stack_equals_its_blocks_one_by_one(remat):
  stack = layers.Stack(
    lambda rngs: layers.Block(16, 2, 32, rngs=rngs, dtype=F32),
    3,
    rngs=nnx.Rngs(0),
    remat=remat,
  )
  x = normal(2, 5, 16)
  graph, params = nnx.split(stack.blocks)

  def one_by_one(params, x):
    for i in range(3):
      x, _ = nnx.merge(graph, jax.tree.map(lambda p, i=i: p[i], params))(x)
    return x

  whole, _ = nnx.split(stack)

  def scanned(params, x):
    return nnx.merge(whole, nnx.State({'blocks': params}))(x)[0]

  np.testing.assert_allclose(scanned(params, x), one_by_one(params, x), atol=1e-5)
  got = jax.jit(jax.grad(lambda p: (scanned(p, x) ** 2).sum()))(params)
  want = jax.jit(jax.grad(lambda p: (one_by_one(p, x) ** 2).sum()))(params)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), got, want)


def test_layers_of_a_stack_start_differently():
  stack = layers.Stack(
    lambda rngs: layers.Block(16, 2, 32, rngs=rngs, dtype=F32), 2, rngs=nnx.Rngs(0)
  )
  kernel = stack.blocks.up.kernel[...]
  assert kernel.shape == (2, 16, 32)
  assert not np.allclose(kernel[0], kernel[1])


def test_stack_gives_the_weights_of_every_layer():
  stack = layers.Stack(
    lambda rngs: layers.Block(16, 2, 32, rngs=rngs, dtype=F32, cross=True),
    3,
    rngs=nnx.Rngs(0),
  )
  _, weights = stack(normal(2, 5, 16), normal(2, 7, 16), want_weights=True)
  assert weights.shape == (3, 2, 2, 5, 7)
  np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)


def test_first_layer_never_drops_and_the_last_drops_most():
  stack = layers.Stack(
    lambda rngs: layers.Block(16, 2, 32, rngs=rngs, dtype=F32),
    2,
    rngs=nnx.Rngs(0),
    drop_path=0.999999,
  )
  x = normal(8, 3, 16)
  graph, params = nnx.split(stack.blocks)
  first, _ = nnx.merge(graph, jax.tree.map(lambda p: p[0], params))(x)
  np.testing.assert_allclose(stack(x, key=jax.random.key(0))[0], first, atol=1e-5)


def test_cross_block_reads_only_valid_context():
  block, x, context = make_block(cross=True), normal(1, 3, 16), normal(1, 4, 16, seed=1)
  valid = np.array([[True, True, False, True]])
  y, _ = block(x, context, valid)
  z, _ = block(x, np.where(valid[..., None], context, 99).astype(np.float32), valid)
  np.testing.assert_array_equal(y, z)


def test_width_that_heads_do_not_divide_is_refused():
  with pytest.raises(ValueError, match='multiple'):
    layers.Attention(10, 3, rngs=nnx.Rngs(0), dtype=F32)


def test_bfloat16_computes_in_bfloat16_with_float32_parameters():
  block = layers.Block(16, 2, 32, rngs=nnx.Rngs(0), dtype=jnp.bfloat16)
  x = normal(2, 5, 16)
  with jax.numpy_dtype_promotion('standard'):  # flax's LayerNorm needs it
    y, _ = block(x.astype(jnp.bfloat16))
  assert y.dtype == jnp.bfloat16
  assert {p.dtype for p in jax.tree.leaves(nnx.state(block))} == {jnp.dtype('float32')}
  exact, _ = make_block()(x)
  np.testing.assert_allclose(y.astype(F32), exact, atol=0.1)
