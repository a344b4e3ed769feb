"""Attention: the definition, and that all ways of computing it agree."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from mvp_jax.models import attention
from mvp_jax.models.attention import attend, plain
from mvp_jax.models.partition import use_mesh
from mvp_jax.training.sharding import MeshConfig, batch_sharding, make_mesh


def normal(*shape, seed=0):
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def inputs(batch=2, heads=2, queries=150, keys=130, width=24):
  valid = np.random.default_rng(3).random((batch, keys)) < 0.7
  valid[-1] = False  # an example without any key
  return (
    normal(batch, heads, queries, width),
    normal(batch, heads, keys, width, seed=1),
    normal(batch, heads, keys, width, seed=2),
    valid,
  )


def test_plain_equals_the_definition():
  q, k, v = normal(2, 3, 4, 8), normal(2, 3, 5, 8, seed=1), normal(2, 3, 5, 8, seed=2)
  valid = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]], bool)
  out, weights = plain(q, k, v, valid)
  scores = q @ k.swapaxes(-1, -2) / np.sqrt(8)
  expected = softmax(np.where(valid[:, None, None], scores, -np.inf), axis=-1)
  np.testing.assert_allclose(weights, expected, atol=1e-6)
  np.testing.assert_allclose(out, expected @ v, atol=1e-6)


def test_without_any_valid_key_there_are_zeros_and_finite_gradients():
  q, k, v = normal(1, 1, 2, 4), normal(1, 1, 3, 4), normal(1, 1, 3, 4)
  valid = np.zeros((1, 3), bool)
  out, weights = plain(q, k, v, valid)
  assert not out.any() and not weights.any()
  grads = jax.grad(lambda *a: attend(*a, valid).sum(), (0, 1, 2))(q, k, v)
  assert all(np.isfinite(g).all() for g in grads)


def test_huge_scores_survive():
  q = 1e4 * np.ones((1, 1, 1, 4), np.float32)
  np.testing.assert_allclose(attend(q, q, q), q)


# cuDNN itself needs a GPU: here the same call with XLA's implementation.
WAYS = {
  'splash': functools.partial(attention._splash, interpret=True),
  'cudnn': functools.partial(attention._cudnn, implementation='xla'),
}


def results(way, q, k, v, valid):
  """Output and gradients of a random projection of it."""
  weight = normal(*q.shape, seed=5)

  def run(q, k, v):
    out = way(q, k, v, valid)
    return (out * weight).sum(), out

  grads, out = jax.jit(jax.grad(run, (0, 1, 2), has_aux=True))(q, k, v)
  return [out, *grads]


@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('way', WAYS)
def test_all_ways_agree(way, masked):
  q, k, v, valid = inputs()
  valid = valid if masked else None
  expected = results(attend, q, k, v, valid)
  for got, wanted in zip(results(WAYS[way], q, k, v, valid), expected, strict=True):
    np.testing.assert_allclose(got, wanted, atol=2e-5)


@pytest.mark.parametrize('masked', [False, True])
def test_head_by_head_is_the_same_in_less_memory(monkeypatch, masked):
  """The scores of one head at a time are kept, not of all."""
  q, k, v, valid = inputs(batch=4, heads=3, queries=360, keys=370)
  valid = valid if masked else None

  def memory():
    run = jax.jit(lambda *x: attend(*x, valid)).lower(q, k, v).compile()
    return run.memory_analysis().temp_size_in_bytes

  found, taken = results(attend, q, k, v, valid), memory()
  monkeypatch.setattr(attention, '_CACHED_SCORES', 1 << 30)
  jax.clear_caches()
  for got, wanted in zip(found, results(attend, q, k, v, valid), strict=True):
    np.testing.assert_allclose(got, wanted, atol=2e-5)
  assert 3 * taken < memory()


def test_the_kernel_is_split_over_the_mesh():
  mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
  q, k, v, valid = inputs(batch=4)

  def run(q, k, v, valid):
    with use_mesh(mesh):
      return WAYS['splash'](q, k, v, valid)

  run = jax.jit(run, in_shardings=batch_sharding(mesh))
  np.testing.assert_allclose(run(q, k, v, valid), attend(q, k, v, valid), atol=2e-5)
  assert 'all-gather' not in run.lower(q, k, v, valid).compile().as_text()


@pytest.mark.parametrize(
  ('backend', 'dtype', 'keys', 'width', 'chosen'),
  [
    ('cpu', 'bfloat16', 1568, 64, 'plain'),
    ('gpu', 'bfloat16', 1568, 64, 'cudnn'),
    ('gpu', 'float32', 1568, 64, 'plain'),
    ('gpu', 'bfloat16', 1568, 88, 'cudnn'),
    ('gpu', 'bfloat16', 1568, 256, 'plain'),
    ('tpu', 'bfloat16', 1568, 64, 'splash'),
    ('tpu', 'float32', 160, 64, 'plain'),
  ],
)
def test_the_backend_chooses(monkeypatch, backend, dtype, keys, width, chosen):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  x = jax.ShapeDtypeStruct((1, 2, keys, width), jnp.dtype(dtype))
  assert attention._choose(x, x) == chosen
