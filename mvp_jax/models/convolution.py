"""Convolutions and batch norm, channels last, as PyTorch computes them.

Space and time apart: on one CPU thread a training step of R(2+1)D-18 takes 4.7 s so,
9.6 s as 3-D convolutions and 5.9 s as products over patches of space
(`benchmarks/conv3d.py`).

Parameters and statistics are float32, `dtype` is that of the computation. Shapes: B
batch, T time, H rows, W columns, C channels in, D channels out, K taps.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax.typing import DTypeLike

from mvp_jax.array_types import Array, Float, PRNGKeyArray
from mvp_jax.models import large_kernels
from mvp_jax.models.partition import platform

_he = nnx.initializers.variance_scaling(2.0, 'fan_out', 'normal')
_MOMENTUM, _EPSILON = 0.1, 1e-5  # PyTorch's defaults
_LARGE = 5  # taps along rows and columns from which Fourier transforms are faster
# Outputs up to which each frame is convolved once, by all taps of time. The forward
# pass of a stem (7 taps, 3 inputs) with 8 outputs then takes .5 of the time, with 16
# .7, with 64 as long.
_FEW = 16


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
  """A convolution without bias along time, as one matrix product for each tap."""

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
    return _along_time(x.astype(self.dtype), kernel, self.stride)


def _along_time(
  x: Float[Array, 'B T H W C'], kernel: Float[Array, 'K C D'], stride: int = 1
) -> Float[Array, 'B t H W D']:
  """Of each tap, the moments that see no padding."""
  taps, pad = kernel.shape[0], kernel.shape[0] // 2
  if taps == 1:
    return _product(x[:, ::stride], kernel[0])
  frames = x.shape[1]
  count = (frames + 2 * pad - taps) // stride + 1
  y: Any = None
  for tap in range(taps):
    low = max(0, -((tap - pad) // stride))
    high = min(count, (frames - 1 + pad - tap) // stride + 1)
    if low >= high:
      continue
    first = low * stride + tap - pad
    seen = x[:, first : first + (high - low - 1) * stride + 1 : stride]
    part = _product(seen, kernel[tap])
    part = jnp.pad(part, ((0, 0), (low, count - high), *((0, 0),) * 3))
    y = part if y is None else y + part
  return y


class Conv3D(nnx.Module):
  """A convolution without bias over time, rows and columns, each with its own taps.

  Attributes:
    kernel: float32 [t, h, w, C, D].
  """

  def __init__(
    self,
    inputs: int,
    outputs: int,
    taps: tuple[int, int, int],
    stride: int = 1,  # over space
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
  ):
    self.stride, self.dtype = stride, dtype
    self.kernel = nnx.Param(_he(rngs.params(), (*taps, inputs, outputs), jnp.float32))

  def __call__(self, x: Float[Array, 'B T H W C']) -> Float[Array, 'B T h w D']:
    kernel = self.kernel[...].astype(self.dtype)
    return convolve(x.astype(self.dtype), kernel, self.stride)


def draw_kernels(model: nnx.Module, key: PRNGKeyArray) -> None:
  """Draws the kernels of all `Conv3D`s of a model anew, all at once.

  XLA compiles one draw of many numbers in the time of one kernel's.
  """
  convolutions = [x for _, x in nnx.iter_modules(model) if isinstance(x, Conv3D)]
  sizes = [conv.kernel[...].size for conv in convolutions]
  numbers = jnp.split(jax.random.normal(key, (sum(sizes),)), np.cumsum(sizes)[:-1])
  for conv, drawn in zip(convolutions, numbers, strict=True):
    shape = conv.kernel[...].shape
    deviation = math.sqrt(2 / (math.prod(shape[:3]) * shape[-1]))  # as `_he`
    conv.kernel[...] = drawn.reshape(shape) * deviation


def convolve(
  x: Float[Array, 'B T H W C'], kernel: Float[Array, 't h w C D'], stride: int = 1
) -> Float[Array, 'B T h w D']:
  """A convolution over time and space, padded by zeros; the stride is over space.

  The way depends on the machine and the kernel: GPUs and TPUs have libraries of 3-D
  convolutions. XLA for CPU computes these at 14 billion multiply-adds a second on a
  thread, PyTorch at 70; 2-D ones, of which all frames' taps are one, at 45, and large
  kernels by Fourier transforms several times as fast (`benchmarks/dmsn_step.py`).
  """
  taps = kernel.shape[:3]
  if taps[1:] == (1, 1):
    return _along_time(x[:, :, ::stride, ::stride], kernel[:, 0, 0])
  if platform() != 'cpu':
    pads = [(count // 2, count // 2) for count in taps]
    names = 'NDHWC', 'DHWIO', 'NDHWC'
    strides = 1, stride, stride
    return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=names)
  if stride == 1 and min(taps[1:]) >= _LARGE:
    wide = large_kernels.convolve(*(a.astype(jnp.float32) for a in (x, kernel)))
    return wide.astype(x.dtype)
  if taps[0] > 1 and kernel.shape[-1] <= _FEW:
    return _by_taps(x, kernel, stride)
  return _by_frames(x, kernel, stride)


def _by_frames(
  x: Float[Array, 'B T H W C'], kernel: Float[Array, 't h w C D'], stride: int
) -> Float[Array, 'B T h w D']:
  """As one 2-D convolution of frames beside their neighbours in time."""
  frames, (count, *taps) = x.shape[1], kernel.shape[:3]
  x = jnp.pad(x, ((0, 0), (count // 2, count // 2), *((0, 0),) * 3))
  x = jnp.concatenate([x[:, i : i + frames] for i in range(count)], -1)
  folded = kernel.transpose(1, 2, 0, 3, 4).reshape(*taps, -1, kernel.shape[-1])
  y = _convolve(x.reshape(-1, *x.shape[2:]), folded, stride)
  return y.reshape(*x.shape[:2], *y.shape[1:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _by_taps(
  x: Float[Array, 'B T H W C'], kernel: Float[Array, 't h w C D'], stride: int
) -> Float[Array, 'B T h w D']:
  """As one 2-D convolution of each frame by all taps of time, added up in time.

  Its gradient is that of `_by_frames`: its own takes longer.
  """
  frames, (count, *taps, inputs, outputs) = x.shape[1], kernel.shape
  folded = kernel.transpose(1, 2, 3, 0, 4).reshape(*taps, inputs, count * outputs)
  y = _convolve(x.reshape(-1, *x.shape[2:]), folded, stride)
  y = y.reshape(*x.shape[:2], *y.shape[1:3], count, outputs)
  y = jnp.pad(y, ((0, 0), (count // 2, count // 2), *((0, 0),) * 4))
  parts = [y[:, i : i + frames, :, :, i] for i in range(count)]
  return functools.reduce(jnp.add, parts)


def _by_taps_forward(x: Any, kernel: Any, stride: int) -> Any:
  return _by_taps(x, kernel, stride), (x, kernel)


def _by_taps_backward(stride: int, given: Any, change: Any) -> Any:
  return jax.vjp(functools.partial(_by_frames, stride=stride), *given)[1](change)


_by_taps.defvjp(_by_taps_forward, _by_taps_backward)


def largest(
  x: Float[Array, 'B T H W C'], taps: int, pad: int = 0
) -> Float[Array, 'B t h w C']:
  """The maximum over `taps` of time, rows and columns, in strides of 2.

  One axis after another, by comparing strided parts: the gradient that XLA for CPU has
  of windows goes place by place.
  """
  for axis in (1, 2, 3):
    width = [(0, 0)] * 5
    width[axis] = pad, pad
    if pad:
      x = jnp.pad(x, width, constant_values=-jnp.inf)
    count = (x.shape[axis] - taps) // 2 + 1
    parts = [
      lax.slice_in_dim(x, i, i + 2 * count - 1, stride=2, axis=axis)
      for i in range(taps)
    ]
    x = functools.reduce(jnp.maximum, parts)
  return x


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
    if training:
      y, mean, var = _normalised(x, self.scale[...], self.bias[...])
      count = x.size // x.shape[-1]
      unbiased = var * (count / max(count - 1, 1))
      for running, now in ((self.mean, mean), (self.var, unbiased)):
        now = lax.stop_gradient(now)
        running[...] = (1 - _MOMENTUM) * running[...] + _MOMENTUM * now
      return y
    mean, var = self.mean[...], self.var[...]
    return _affine(x, mean, lax.rsqrt(var + _EPSILON), self.scale[...], self.bias[...])


def _affine(
  x: Float[Array, '... C'],
  mean: Float[Array, ' C'],
  inverse: Float[Array, ' C'],  # of the deviation
  scale: Float[Array, ' C'],
  bias: Float[Array, ' C'],
) -> Float[Array, '... C']:
  factor = scale * inverse
  wide = x.astype(jnp.float32) * _like(factor, x) + _like(bias - mean * factor, x)
  return wide.astype(x.dtype)


def _like(
  channels: Float[Array, ' C'], x: Float[Array, '... C']
) -> Float[Array, '...']:
  return jnp.expand_dims(channels, tuple(range(x.ndim - 1)))


def _mean(x: Float[Array, '... C']) -> Float[Array, ' C']:
  """Over all but channels, of float32.

  XLA for CPU computes what is summed inside of the sum, channel after channel, and for
  each sum anew. Products take it as it lies in memory: on two cores a training step of
  DMSN-A takes 4.0 s, with sums 8.6 s (`benchmarks/dmsn_step.py`). They add one number
  after another: one product of all numbers would round 20 times as much as two.
  """
  if platform() != 'cpu':
    return x.mean(tuple(range(x.ndim - 1)))
  count = x.size // x.shape[-1]
  part = max(k for k in range(1, math.isqrt(count) + 1) if count % k == 0)
  y = jnp.ones((1, part)) @ x.reshape(part, -1)
  return (jnp.ones((1, count // part)) @ y.reshape(count // part, -1))[0] / count


@jax.custom_vjp
def _normalised(
  x: Float[Array, '... C'], scale: Float[Array, ' C'], bias: Float[Array, ' C']
) -> tuple[Float[Array, '... C'], Float[Array, ' C'], Float[Array, ' C']]:
  """By its own mean and biased variance, which come second and third.

  The gradient is that of the first alone (Ioffe and Szegedy 2015, section 3).
  """
  return _forward(x, scale, bias)[0]


def _forward(x: Array, scale: Array, bias: Array) -> tuple[Any, tuple[Array, ...]]:
  wide = x.astype(jnp.float32)
  mean = _mean(wide)
  var = _mean(jnp.square(wide - _like(mean, x)))
  inverse = lax.rsqrt(var + _EPSILON)
  return (_affine(x, mean, inverse, scale, bias), mean, var), (x, mean, inverse, scale)


def _backward(kept: tuple[Array, ...], given: Any) -> tuple[Array, Array, Array]:
  x, mean, inverse, scale = kept
  gradient = given[0].astype(jnp.float32)
  unit = (x.astype(jnp.float32) - _like(mean, x)) * _like(inverse, x)
  level, slope = _mean(gradient), _mean(gradient * unit)
  inner = gradient - _like(level, x) - unit * _like(slope, x)
  count = x.size // x.shape[-1]
  of_x = (inner * _like(scale * inverse, x)).astype(x.dtype)
  return of_x, slope * count, level * count


_normalised.defvjp(_forward, _backward)
