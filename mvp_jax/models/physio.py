"""A transformer over raw physiological signals.

Strided 1-D convolutions turn the raw signal into a few tokens per second, and a small
transformer encoder reads the whole trial (after Vazquez-Rodriguez et al. 2022,
arXiv 2204.05103; the strides, and the mean instead of a class token, are ours).

Shapes: B trials, S samples, C channels, N tokens, D width.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from mvp_jax.array_types import Array, Bool, Float, PRNGKeyArray
from mvp_jax.models import layers


@dataclasses.dataclass(frozen=True)
class PhysioConfig:
  """Sizes of the physio transformer."""

  widths: tuple[int, ...] = (64, 128, 256)  # of the convolutions; last = D
  kernels: tuple[int, ...] = (64, 32, 16)
  strides: tuple[int, ...] = (8, 4, 2)  # 128 Hz -> 2 tokens per second
  depth: int = 2
  heads: int = 2
  mlp_width: int = 1024
  dropout: float = 0.1

  def __post_init__(self) -> None:
    if not len(self.widths) == len(self.kernels) == len(self.strides):
      raise ValueError('physio widths, kernels and strides differ in number')
    if any(k % s for k, s in zip(self.kernels, self.strides, strict=True)):
      raise ValueError('each physio kernel must be a multiple of its stride')

  @property
  def stride(self) -> int:
    """Samples per token."""
    return math.prod(self.strides)


class Conv(nnx.Module):
  """A strided convolution along time whose grid does not depend on the length.

  Output n is centred on samples n * stride ... (n + 1) * stride - 1. Written as
  one matmul over overlapping patches: on CPU its gradient is several times
  faster than that of a convolution.
  """

  def __init__(
    self,
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int,
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
  ):
    self.kernel, self.stride = kernel, stride
    self.weight = layers.linear(kernel * inputs, outputs, rngs=rngs, dtype=dtype)
    self.norm = layers.layer_norm(outputs, rngs=rngs, dtype=dtype)

  def __call__(
    self, x: Float[Array, 'B S C'], valid: Bool[Array, 'B S']
  ) -> tuple[Float[Array, 'B N D'], Bool[Array, 'B N']]:
    """Returns N = ceil(S / stride) tokens; one is valid if any sample in its span is.

    Invalid samples are treated as zeros; invalid tokens are zero.
    """
    batch, samples, channels = x.shape
    count = -(-samples // self.stride)
    tail = count * self.stride - samples
    before = (self.kernel - self.stride) // 2
    after = self.kernel - self.stride - before
    x = jnp.where(valid[..., None], x, 0)
    x = jnp.pad(x, ((0, 0), (before, after + tail), (0, 0)))
    x = x.reshape(batch, -1, self.stride * channels)
    x = jnp.concatenate(
      [x[:, i : i + count] for i in range(self.kernel // self.stride)], axis=-1
    )
    valid = jnp.pad(valid, ((0, 0), (0, tail)))
    valid = valid.reshape(batch, count, self.stride).any(-1)
    x = nnx.gelu(self.norm(self.weight(x)), approximate=False)
    return jnp.where(valid[..., None], x, 0), valid


class PhysioTransformer(nnx.Module):
  """From raw signals to about two tokens per second."""

  def __init__(
    self,
    config: PhysioConfig,
    channels: int,
    rate: float,
    lead: int = 0,
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
    remat: str = 'none',
  ):
    """`lead` samples, of whole tokens, come before time zero."""
    self.config, self.rate, self.lead = config, rate, lead
    widths = (channels, *config.widths)
    sizes = zip(widths, config.widths, config.kernels, config.strides, strict=False)
    self.convs = nnx.List(Conv(*size, rngs=rngs, dtype=dtype) for size in sizes)
    block = layers.blocks(widths[-1], config, dtype)
    self.stack = layers.Stack(block, config.depth, rngs=rngs, remat=remat)

  def times(self, samples: int) -> Float[np.ndarray, 'N']:
    """Seconds of the tokens' centres."""
    stride = self.config.stride
    times = (np.arange(-(-samples // stride)) + 0.5) * stride - self.lead
    return (times / self.rate).astype(np.float32)

  def __call__(
    self,
    signals: Float[Array, 'B S C'],
    valid: Bool[Array, 'B S'],
    key: PRNGKeyArray | None = None,
  ) -> tuple[Float[Array, 'B N D'], Bool[Array, 'B N']]:
    """Returns tokens, zero where invalid, and which are valid."""
    x = signals
    for conv in self.convs:
      x, valid = conv(x, valid)
    x = x + time_positions(self.times(signals.shape[1]), x.shape[-1], x.dtype)[None]
    x, _ = self.stack(x, valid=valid, key=key)
    return jnp.where(valid[..., None], x, 0), valid


def time_positions(
  seconds: Float[ArrayLike, '*batch N'], width: int, dtype: DTypeLike
) -> Float[Array, '*batch N {width}']:
  """Sin-cos embeddings of seconds since the onset, a tenth of which is one position."""
  return layers.sincos_1d(jnp.asarray(seconds) * 10, width).astype(dtype)


def masked_mean(
  x: Float[Array, 'B N D'], valid: Bool[Array, 'B N']
) -> Float[Array, 'B D']:
  """Mean over the valid tokens in float32, zero if there are none."""
  weights = valid.astype(jnp.float32)
  exact = jax.lax.Precision.HIGHEST
  total = jnp.einsum('bnd,bn->bd', x.astype(jnp.float32), weights, precision=exact)
  return total / jnp.maximum(weights.sum(-1, keepdims=True), 1)
