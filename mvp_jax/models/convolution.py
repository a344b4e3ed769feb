"""Convolutions and batch norm, channels last, as PyTorch computes them.

Space and time apart: on one CPU thread a training step of R(2+1)D-18 takes 4.7 s so,
9.6 s as 3-D convolutions and 5.9 s as products over patches of space
(`benchmarks/conv3d.py`).

Parameters and statistics are float32, `dtype` is that of the computation. Shapes: B
batch, T time, H rows, W columns, C channels in, D channels out, K taps.
"""

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

_he = nnx.initializers.variance_scaling(2.0, 'fan_out', 'normal')
_MOMENTUM, _EPSILON = 0.1, 1e-5  # PyTorch's defaults


class SpatialConv(nnx.Module):
  """A square convolution without bias, over rows and columns of any leading axes."""

  def __init__(
    self,
    inputs: int,
    outputs: int,
    taps: int,
    stride: int = 1,
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
  ):
    self.stride, self.dtype = stride, dtype
    shape = taps, taps, inputs, outputs
    self.kernel = nnx.Param(_he(rngs.params(), shape, jnp.float32))

  def __call__(self, x: Float[Array, '... H W C']) -> Float[Array, '... h w D']:
    kernel = self.kernel[...].astype(self.dtype)
    pictures = x.reshape(-1, *x.shape[-3:]).astype(self.dtype)
    y = _convolve(pictures, kernel, self.stride)
    return y.reshape(*x.shape[:-3], *y.shape[1:])


def _convolve(
  x: Float[Array, 'N H W C'], kernel: Float[Array, 'K K C D'], stride: int
) -> Float[Array, 'N h w D']:
  taps = kernel.shape[0]
  if taps == 1:
    return _product(x[:, ::stride, ::stride], kernel[0, 0])
  pad = taps // 2
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    ((pad, pad), (pad, pad)),
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )


def _product(
  x: Float[Array, '... C'], kernel: Float[Array, 'C D']
) -> Float[Array, '... D']:
  """As one matrix product, see `layers.Linear`."""
  return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], -1)


class TemporalConv(nnx.Module):
  """A convolution without bias along time, as one matrix product."""

  def __init__(
    self,
    inputs: int,
    outputs: int,
    taps: int,
    stride: int = 1,
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
  ):
    self.stride, self.dtype = stride, dtype
    shape = taps, inputs, outputs
    self.kernel = nnx.Param(_he(rngs.params(), shape, jnp.float32))

  def __call__(self, x: Float[Array, 'B T H W C']) -> Float[Array, 'B t H W D']:
    kernel = self.kernel[...].astype(self.dtype)
    taps, pad = kernel.shape[0], kernel.shape[0] // 2
    last = (x.shape[1] + 2 * pad - taps) // self.stride * self.stride
    x = jnp.pad(x.astype(self.dtype), ((0, 0), (pad, pad), *((0, 0),) * 3))
    moments = [x[:, i : i + last + 1 : self.stride] for i in range(taps)]
    kernel = kernel.reshape(-1, kernel.shape[-1])
    return _product(jnp.concatenate(moments, -1), kernel)


class BatchNorm(nnx.Module):
  """Batch norm as PyTorch's, its running statistics included.

  In training it normalises by the mean and the biased variance of the whole batch,
  which lies over all devices, and moves the running mean and the running unbiased
  variance a tenth of the way; otherwise it normalises by these.
  """

  def __init__(self, width: int):
    self.scale = nnx.Param(jnp.ones(width))
    self.bias = nnx.Param(jnp.zeros(width))
    self.mean = nnx.BatchStat(jnp.zeros(width))
    self.var = nnx.BatchStat(jnp.ones(width))

  def __call__(self, x: Float[Array, '... C'], training: bool) -> Float[Array, '... C']:
    wide = x.astype(jnp.float32)
    if training:
      axes = tuple(range(x.ndim - 1))
      mean = wide.mean(axes)
      var = jnp.square(wide - jnp.expand_dims(mean, axes)).mean(axes)
      count = x.size // x.shape[-1]
      unbiased = var * (count / max(count - 1, 1))
      for running, now in ((self.mean, mean), (self.var, unbiased)):
        now = lax.stop_gradient(now)
        running[...] = (1 - _MOMENTUM) * running[...] + _MOMENTUM * now
    else:
      mean, var = self.mean[...], self.var[...]
    factor = self.scale[...] * lax.rsqrt(var + _EPSILON)
    shift = self.bias[...] - mean * factor
    over = tuple(range(x.ndim - 1))
    wide = wide * jnp.expand_dims(factor, over) + jnp.expand_dims(shift, over)
    return wide.astype(x.dtype)
