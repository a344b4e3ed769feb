"""Transformer layers shared by all models.

Modules are Flax NNX, used functionally: `jax.jit` outside, `nnx.split` and
`nnx.merge` inside. No module holds a random state; `key=None` means
deterministic. Parameters are float32, `dtype` is that of the computation.

Shapes: B batch, N tokens (queries), M context tokens (keys), D width,
H heads, K = D / H.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from mvp_jax.array_types import Array, Bool, Float, Num, PRNGKeyArray
from mvp_jax.models.attention import Bias, attend, plain
from mvp_jax.models.partition import (
  current_mesh,
  keep_only_inputs,
  platform,
  split_batch,
)

# What a block keeps for the backward pass: everything; the outputs of its linear
# layers (but not the attention scores, the largest arrays); only its input.
REMAT = ('none', 'linear', 'full')
_POLICIES = {
  'linear': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  'full': jax.checkpoint_policies.nothing_saveable,
}
DTYPES = ('float32', 'bfloat16')  # of the computation
NORM_EPSILON = 1e-6  # of the reference VideoMAE code
_xavier = nnx.initializers.xavier_uniform()


class Linear(nnx.Linear):
  """A dense layer, computed as one matrix product over all tokens.

  XLA for CPU takes twice as long for the gradient of [B, N, D] times [D, E] as for
  that of [B * N, D] times [D, E].
  """

  def __call__(  # type: ignore[override]
    self, x: Float[Array, '... D']
  ) -> Float[Array, '... E']:
    rows = super().__call__(x.reshape(-1, x.shape[-1]))
    return rows.reshape(*x.shape[:-1], rows.shape[-1])


def linear(
  inputs: int,
  outputs: int,
  *,
  rngs: nnx.Rngs,
  dtype: DTypeLike,
  use_bias: bool = True,
) -> Linear:
  """A dense layer with Xavier-uniform weights, as in the reference VideoMAE."""
  return Linear(
    inputs, outputs, use_bias=use_bias, kernel_init=_xavier, dtype=dtype, rngs=rngs
  )


class LayerNorm(nnx.LayerNorm):
  """A layer norm that does not keep three more arrays like its input.

  They are float32, whatever the dtype.
  """

  def __call__(  # type: ignore[override]
    self, x: Float[Array, '... D']
  ) -> Float[Array, '... D']:
    return keep_only_inputs(super().__call__)(x)


def layer_norm(width: int, *, rngs: nnx.Rngs, dtype: DTypeLike) -> LayerNorm:
  return LayerNorm(width, epsilon=NORM_EPSILON, dtype=dtype, rngs=rngs)


@jax.checkpoint
def gelu(x: Float[Array, '...']) -> Float[Array, '...']:
  """Exact GELU that keeps only its input for the backward pass.

  By default it would also keep the error function and its derivative: with its input
  and output, the four largest arrays of a block.
  """
  return nnx.gelu(x, approximate=False)


def dropout(
  x: Float[Array, '...'], rate: float, key: PRNGKeyArray | None
) -> Float[Array, '...']:
  """Zeroes elements with probability `rate`; `key=None` returns x unchanged."""
  if key is None or rate == 0:
    return x
  keep = jax.random.bernoulli(key, 1 - rate, x.shape)
  return jnp.where(keep, x / (1 - rate), 0).astype(x.dtype)


def drop_path(
  x: Float[Array, 'B ...'], rate: ArrayLike | None, key: PRNGKeyArray | None
) -> Float[Array, 'B ...']:
  """Zeroes whole examples of a residual branch (stochastic depth).

  `rate` may be a scalar array (it differs between layers). Without a rate or a key
  nothing is dropped.
  """
  if key is None or rate is None:
    return x
  keep = jax.random.bernoulli(key, 1 - rate, (x.shape[0],) + (1,) * (x.ndim - 1))
  return jnp.where(keep, x / (1 - rate), 0).astype(x.dtype)


def sincos_1d(
  positions: Num[ArrayLike, '...'], width: int
) -> Float[Array, '... {width}']:
  """Fixed position embeddings as in VideoMAE: sin in even, cos in odd columns.

  Positions need not be integers; `width` is even.
  """
  positions = jnp.asarray(positions, jnp.float32)
  waves = np.float32(10000 ** (np.arange(0, width, 2, dtype=np.float64) / width))
  angles = positions[..., None] / jnp.expand_dims(waves, range(positions.ndim))
  pairs = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1)
  return pairs.reshape(*positions.shape, width).astype(jnp.float32)


class Attention(nnx.Module):
  """Multi-head attention with learnt biases on query and value, none on key."""

  def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs, dtype: DTypeLike):
    if width % heads:
      raise ValueError(f'width {width} is not a multiple of {heads} heads')
    self.heads = heads
    self.query = linear(width, width, rngs=rngs, dtype=dtype)
    self.key = linear(width, width, rngs=rngs, dtype=dtype, use_bias=False)
    self.value = linear(width, width, rngs=rngs, dtype=dtype)
    self.out = linear(width, width, rngs=rngs, dtype=dtype)

  def __call__(
    self,
    x: Float[Array, 'B N D'],
    context: Float[Array, 'B M D'],
    valid: Bool[Array, 'B M'] | None = None,
    want_weights: bool = False,
    bias: Bias = None,
  ) -> tuple[Float[Array, 'B N D'], Float[Array, 'B H N M'] | None]:
    """Returns the output and, if wanted, the attention weights.

    `bias` is added to the scores.
    """

    def split(y: Float[Array, 'B N D']) -> Float[Array, 'B H N K']:
      return y.reshape(*y.shape[:2], self.heads, -1).swapaxes(1, 2)

    query = split(self.query(x))
    inputs = (query, split(self.key(context)), split(self.value(context)), valid)
    if want_weights:
      y, weights = plain(*inputs, bias)
    else:
      y, weights = attend(*inputs, bias=bias), None
    return self.out(y.swapaxes(1, 2).reshape(x.shape)), weights


class Block(nnx.Module):
  """Pre-norm transformer block: attention, then a two-layer GELU network.

  Without a context it attends to itself; with one, its queries attend to the
  context (cross-attention).
  """

  def __init__(
    self,
    width: int,
    heads: int,
    mlp_width: int,
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
    dropout: float = 0.0,
    cross: bool = False,
  ):
    self.dropout = dropout
    self.norm1 = layer_norm(width, rngs=rngs, dtype=dtype)
    self.norm_context = layer_norm(width, rngs=rngs, dtype=dtype) if cross else None
    self.attention = Attention(width, heads, rngs=rngs, dtype=dtype)
    self.norm2 = layer_norm(width, rngs=rngs, dtype=dtype)
    self.up = linear(width, mlp_width, rngs=rngs, dtype=dtype)
    self.down = linear(mlp_width, width, rngs=rngs, dtype=dtype)

  def __call__(
    self,
    x: Float[Array, 'B N D'],
    context: Float[Array, 'B M D'] | None = None,
    valid: Bool[Array, 'B M'] | None = None,
    drop_path_rate: ArrayLike | None = None,
    key: PRNGKeyArray | None = None,
    want_weights: bool = False,
    bias: Bias = None,
  ) -> tuple[Float[Array, 'B N D'], Float[Array, 'B H N M'] | None]:
    """Returns the output and the attention weights, or None in their place.

    Args:
      context: what the tokens attend to; None for x itself.
      valid: which keys may be attended to; None for all.
      drop_path_rate: probability to skip a branch, see `drop_path`; None for none.
      key: random key, or None for no dropout.
      bias: what is added to the attention scores.
    """
    keys = (None,) * 4 if key is None else jax.random.split(key, 4)
    y = self.norm1(x)
    if context is None:
      context = y
    else:
      assert self.norm_context is not None, 'a block made without cross=True'
      context = self.norm_context(context)
    y, weights = self.attention(y, context, valid, want_weights, bias)
    x = x + drop_path(dropout(y, self.dropout, keys[0]), drop_path_rate, keys[1])
    # Of the two widest arrays of a block, only what comes out of `up` is kept.
    y = keep_only_inputs(lambda wide: self.down(gelu(wide)))(self.up(self.norm2(x)))
    x = x + drop_path(dropout(y, self.dropout, keys[2]), drop_path_rate, keys[3])
    return split_batch(x), weights


def blocks(
  width: int, config: Any, dtype: DTypeLike, cross: bool = False
) -> Callable[[nnx.Rngs], Block]:
  """Makes blocks of a config's `heads`, `mlp_width` and `dropout`."""
  sizes, rate = (width, config.heads, config.mlp_width), config.dropout
  return lambda rngs: Block(*sizes, rngs=rngs, dtype=dtype, dropout=rate, cross=cross)


class Stack(nnx.Module):
  """`depth` equal blocks with stacked parameters, run by `jax.lax.scan`.

  Compile time does not grow with depth, except on a single CPU device. `remat`, one
  of `REMAT`, says what each block keeps for the backward pass; the rest is
  recomputed.
  """

  def __init__(
    self,
    make_block: Callable[[nnx.Rngs], Block],
    depth: int,
    *,
    rngs: nnx.Rngs,
    drop_path: float = 0.0,
    remat: str = 'none',
  ):
    if remat not in REMAT:
      raise ValueError(f'remat: one of {", ".join(REMAT)}; it is {remat!r}')
    self.depth, self.drop_path, self.remat = depth, drop_path, remat
    if depth:
      self.blocks = jax.vmap(make_block)(rngs.split(depth))

  def __call__(
    self,
    x: Float[Array, 'B N D'],
    context: Float[Array, 'B M D'] | None = None,
    valid: Bool[Array, 'B M'] | None = None,
    key: PRNGKeyArray | None = None,
    want_weights: bool = False,
    bias: Bias = None,
  ) -> tuple[Float[Array, 'B N D'], Float[Array, 'depth B H N M'] | None]:
    """As `Block`; if wanted, the attention weights of all blocks."""
    if not self.depth:
      return x, None
    graph, params = nnx.split(self.blocks)

    def run(x: Array, layer: tuple) -> tuple[Array, Array | None]:
      params, rate, key = layer
      block = nnx.merge(graph, params)
      return block(x, context, valid, rate, key, want_weights, bias)

    if self.remat != 'none':
      run = jax.checkpoint(run, prevent_cse=False, policy=_POLICIES[self.remat])
    rates = None  # or masks of nothing would be drawn, and kept for the backward pass
    if self.drop_path:
      rates = jnp.linspace(0, self.drop_path, self.depth)  # deeper drops more
    keys = None if key is None else jax.random.split(key, self.depth)
    # XLA for CPU copies everything that a loop keeps for its backward pass, twice: a
    # quarter of a step. (With remat, adjacent equal layers could be merged.)
    mesh = current_mesh()
    alone = mesh is None or mesh.size == 1
    unroll = alone and platform() == 'cpu' and self.remat == 'none'
    return jax.lax.scan(run, x, (params, rates, keys), unroll=unroll)
