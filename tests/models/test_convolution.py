"""Convolutions over time and space on every path, against XLA's own 3-D ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from mvp_jax.models import convolution, large_kernels
from mvp_jax.models.convolution import Conv3D, convolve, draw_kernels, largest


def _direct(x, kernel, stride=1):
  """XLA's 3-D convolution."""
  pads = [(n // 2, n // 2) for n in kernel.shape[:3]]
  names = ('NDHWC', 'DHWIO', 'NDHWC')
  strides = (1, stride, stride)
  return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=names)


def _arrays(shape, taps, channels):
  rng = np.random.default_rng(0)
  x = rng.normal(size=shape).astype(np.float32)
  return x, rng.normal(size=(*taps, *channels)).astype(np.float32) / np.prod(taps)


_CASES = {  # sizes, taps, stride, outputs
  'pointwise': ((2, 3, 3), (1, 1, 1), 1, 5),
  'time': ((4, 2, 3), (5, 1, 1), 1, 5),
  'more taps than frames': ((2, 2, 2), (7, 1, 1), 1, 5),
  'small': ((4, 5, 6), (3, 3, 3), 1, 5),
  'small, wide': ((4, 5, 6), (3, 3, 3), 1, 20),
  'stem': ((3, 8, 8), (7, 7, 7), 2, 5),
  'stem, wide': ((3, 8, 8), (7, 7, 7), 2, 20),
  'space': ((2, 9, 8), (1, 7, 7), 1, 5),
  'space, tiled': ((1, 30, 29), (1, 5, 5), 1, 5),
  'both': ((4, 6, 7), (7, 7, 7), 1, 5),
  'both, tiled': ((3, 15, 17), (5, 5, 5), 1, 5),
  'more taps than places': ((1, 2, 3), (5, 7, 7), 1, 5),
}


@pytest.mark.parametrize('case', _CASES)
def test_all_ways_give_one_result_and_one_gradient(case):
  sizes, taps, stride, outputs = _CASES[case]
  x, kernel = _arrays((2, *sizes, 3), taps, (3, outputs))
  results = []
  for way in (_direct, convolve):
    run = jax.jit(
      lambda x, kernel, way=way: jax.vjp(lambda *a: way(*a, stride), x, kernel)
    )
    y, back = run(x, kernel)
    change = np.random.default_rng(1).normal(size=y.shape).astype(np.float32)
    results.append((y, *back(jnp.asarray(change))))
  for wanted, found in zip(*results, strict=True):
    assert found.dtype == jnp.float32
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(found / scale, wanted / scale, atol=3e-6)


def test_large_kernels_round_as_direct_ones_do():
  """Against float64, at the sizes of MSN's largest kernels."""
  x, kernel = _arrays((1, 4, 16, 16, 16), (7, 7, 7), (16, 4))
  padded = np.pad(x.astype(np.float64), ((0, 0), *((3, 3),) * 3, (0, 0)))
  windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7, 7), (1, 2, 3))
  wanted = np.einsum('btyxcijk,ijkcd->btyxd', windows, kernel.astype(np.float64))
  errors = [
    np.abs(np.asarray(way(x, kernel)) - wanted).max() / np.abs(wanted).max()
    for way in (_direct, large_kernels.convolve)
  ]
  assert errors[1] < 2e-6 and errors[1] < 5 * errors[0]


def test_accelerators_use_their_own_convolutions(monkeypatch):
  x, kernel = _arrays((1, 3, 6, 6, 2), (5, 5, 5), (2, 3))
  here = convolve(x, kernel)
  monkeypatch.setattr(convolution.jax, 'default_backend', lambda: 'gpu')
  text = str(jax.make_jaxpr(convolve)(x, kernel))
  assert text.count('conv_general_dilated[') == 1 and 'dot_general' not in text
  np.testing.assert_allclose(convolve(x, kernel), here, atol=1e-5)


def test_half_precision_comes_out_as_it_went_in():
  x, kernel = _arrays((1, 2, 6, 6, 2), (1, 5, 5), (2, 3))
  half = convolve(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
  assert half.dtype == jnp.bfloat16
  np.testing.assert_allclose(half.astype(np.float32), convolve(x, kernel), atol=0.02)


def test_kernels_drawn_at_once_keep_the_size_of_what_goes_through():
  class Two(nnx.Module):
    def __init__(self, rngs):
      sizes = dict(rngs=rngs, dtype=jnp.float32)
      self.first = Conv3D(3, 40, (3, 3, 3), **sizes)
      self.second = Conv3D(40, 8, (1, 5, 5), **sizes)

  model = Two(nnx.Rngs(0))
  before = model.first.kernel[...]
  draw_kernels(model, jax.random.key(0))
  for conv, fan_out in ((model.first, 27 * 40), (model.second, 25 * 8)):
    kernel = np.asarray(conv.kernel[...])
    assert kernel.std() == pytest.approx(np.sqrt(2 / fan_out), rel=0.05)
    assert abs(kernel.mean()) < 0.05 * kernel.std()
  assert np.abs(model.first.kernel[...] - before).max() > 0
  assert (
    np.corrcoef(*(c.kernel[...].ravel()[:500] for c in (model.first, model.second)))[
      0, 1
    ]
    < 0.2
  )


@pytest.mark.parametrize(('taps', 'pad'), [(3, 1), (2, 0)])
def test_the_largest_of_windows_and_its_gradient(taps, pad):
  x = np.random.default_rng(0).normal(size=(2, 4, 6, 8, 3)).astype(np.float32)

  def windows(x):
    sizes, strides = (1, taps, taps, taps, 1), (1, 2, 2, 2, 1)
    pads = ((0, 0), *((pad, pad),) * 3, (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, sizes, strides, pads)

  wanted, back = jax.vjp(windows, x)
  found, own = jax.vjp(lambda x: largest(x, taps, pad), x)
  np.testing.assert_array_equal(found, wanted)
  change = np.random.default_rng(1).normal(size=wanted.shape).astype(np.float32)
  np.testing.assert_allclose(own(change)[0], back(change)[0], atol=1e-6)
