"""Convolutions by the convolution theorem: what CPUs compute large kernels by.

A kernel of 7 x 7 x 7 taps takes 343 multiply-adds for each input and output channel and
place; between discrete Fourier transforms of tiles it takes some twenty. Transforms are
products with small matrices, so that they, and their gradients, are matrix products.
The rounding error is that of a direct convolution (`tests/models/test_convolution.py`).

Shapes: B batch, T time, H rows, W columns, C channels in, D channels out, N tiles.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import lax

from mvp_jax.array_types import Array, Complex64, Complex128, Float, Int, Num

# Outputs of a tile along an axis, by the number of axes that are transformed: larger
# ones waste less at the edges, and take larger transforms of the kernel. In 4 maps of
# 8 x 28 x 28 x 64, seconds of a forward pass and of a step on one thread: 7 x 7 x 7 in
# tiles of 14 .30 and .65, of 7 .27 and .65 (directly .80 and 2.3); 1 x 7 x 7 in tiles
# of 14 .12 and .23, of 28 .07 and .15 (.10 and .33).
_TILE = {2: 28, 3: 14}


@dataclasses.dataclass(frozen=True)
class _Axis:
  """Matrices of one axis: what circular correlations of length `length` need."""

  size: int
  taps: int
  most: int  # outputs of a tile
  half: bool  # the first axis: of real numbers, half of the frequencies tell the rest

  @property
  def tiles(self) -> int:
    return -(-self.size // self.most)

  @property
  def outputs(self) -> int:
    return -(-self.size // self.tiles)

  @property
  def length(self) -> int:
    # A single tile is read as if it were round, with the padding between its ends.
    overlap = self.taps // 2 if self.tiles == 1 else self.taps - 1
    return self.outputs + overlap

  def _waves(
    self, places: Int[np.ndarray, ' places'], sign: int
  ) -> Complex128[np.ndarray, 'frequencies places']:
    frequencies = np.arange(self.length // 2 + 1 if self.half else self.length)
    angles = np.outer(frequencies, places) * (sign * 2j * np.pi / self.length)
    return np.exp(angles)

  def forward(self) -> Complex64[np.ndarray, 'frequencies places']:
    """Of the places of a tile."""
    if self.tiles > 1:
      return self._waves(np.arange(self.length), -1).astype(np.complex64)
    return self._waves(np.arange(self.size) + self.taps // 2, -1).astype(np.complex64)

  def of_kernel(self) -> Complex64[np.ndarray, 'frequencies taps']:
    """The conjugate, for a correlation."""
    return self._waves(np.arange(self.taps), 1).astype(np.complex64)

  def backward(self) -> Complex64[np.ndarray, 'outputs frequencies']:
    """Of `half` the real part counts."""
    waves = self._waves(np.arange(self.outputs), 1).T / self.length
    if self.half:
      frequencies = np.arange(waves.shape[1])
      alone = (frequencies == 0) | (2 * frequencies == self.length)
      waves = waves * np.where(alone, 1, 2)
    return waves.astype(np.complex64)


def convolve(
  x: Float[Array, 'B T H W C'], kernel: Float[Array, 't h w C D']
) -> Float[Array, 'B T H W D']:
  """A convolution (correlation) of stride 1 padded by zeros to the same size.

  Float32. The numbers of taps are odd; rows and columns have more than one.
  """
  batch, *sizes, channels = x.shape
  taps, outputs = kernel.shape[:3], kernel.shape[-1]
  numbers = [number for number in (2, 1, 0) if taps[number] > 1]
  axes = {
    number: _Axis(sizes[number], taps[number], _TILE[len(numbers)], number == 2)
    for number in numbers
  }
  x = x[:, None]
  for number in numbers:
    x = _tiled(x, axes[number], number + 2)
  tiles = x.shape[1]
  x = x.reshape(-1, *x.shape[2:])  # batch and tiles
  for number in numbers:  # each time the axis transformed becomes the first
    x = _transformed(axes[number].forward(), x, 3)
    kernel = _transformed(axes[number].of_kernel(), kernel, 2)
  y = jnp.matmul(
    x.reshape(*x.shape[: len(axes)], -1, channels),
    kernel.reshape(*kernel.shape[: len(axes)], channels, outputs),
  )
  for done, number in enumerate(reversed(numbers)):
    y = _transformed(axes[number].backward(), y, done)
  y = y.real
  # Columns, rows and time now come first, in this order.
  if taps[0] == 1:
    y = y.reshape(*y.shape[:2], batch * tiles, sizes[0], outputs)
    y = y.transpose(2, 3, 1, 0, 4)
  else:
    y = y.transpose(3, 2, 1, 0, 4)
  y = y.reshape(batch, tiles, *y.shape[1:])
  for number in reversed(numbers):
    y = _joined(y, axes[number], number + 2)
  return y[:, 0]


def _tiled(x: Float[Array, 'B N ...'], axis: _Axis, at: int) -> Float[Array, 'B M ...']:
  """[B, N, ...] -> [B, N * tiles, ...]: overlapping tiles of an axis."""
  if axis.tiles == 1:
    return x
  pad, step = axis.taps // 2, axis.outputs
  width = [(0, 0)] * x.ndim
  width[at] = pad, step * axis.tiles - axis.size + pad
  x = jnp.pad(x, width)
  parts = [
    lax.slice_in_dim(x, i * step, i * step + axis.length, axis=at)
    for i in range(axis.tiles)
  ]
  return jnp.stack(parts, 2).reshape(x.shape[0], -1, *parts[0].shape[2:])


def _joined(
  y: Float[Array, 'B M ...'], axis: _Axis, at: int
) -> Float[Array, 'B N ...']:
  """[B, N * tiles, ...] -> [B, N, ...]: the inverse, without padding."""
  if axis.tiles == 1:
    return y
  y = y.reshape(y.shape[0], -1, axis.tiles, *y.shape[2:])
  parts = [y[:, :, i] for i in range(axis.tiles)]
  return lax.slice_in_dim(jnp.concatenate(parts, at), 0, axis.size, axis=at)


def _transformed(
  matrix: Complex64[np.ndarray, 'E F'], x: Num[Array, '...'], at: int
) -> Complex64[Array, 'E ...']:
  """A matrix times x along the axis `at`; its result becomes the first axis.

  Real x becomes complex.
  """
  if jnp.iscomplexobj(x):
    return jnp.tensordot(matrix, x, (1, at))
  parts = (jnp.tensordot(m, x, (1, at)) for m in (matrix.real, matrix.imag))
  return lax.complex(*parts)
