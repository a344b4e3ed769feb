"""Softmax attention, by the fastest implementation for the devices.

`plain` is ordinary JAX and runs anywhere; on CPU it is also the fastest, of long
sequences head by head. `cudnn` is NVIDIA's fused kernel, `splash` the Pallas kernel for
TPU. All agree to rounding, gradients included.

Shapes: B batch, H heads, N queries, M keys, K = width of a head.
"""

from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention as splash_ops
from jax.sharding import PartitionSpec as P

from mvp_jax.array_types import Array, Bool, Float
from mvp_jax.models.partition import (
  BATCH_AXES,
  TENSOR_AXIS,
  current_mesh,
  keep_only_inputs,
  platform,
)

_CUDNN_WIDTH = 128  # of a head, at most
_LANES = 128  # of a TPU: blocks are multiples of it
_BLOCK = 1024  # at most: what the vector memory of v4 to v6e takes, also in float32
_SPLASH_KEYS = 512  # the kernel does not help shorter sequences
# Scores of a head from which on a CPU is faster head by head, since those of one stay
# in its cache. Of 1568 x 1568 (a clip of a ViT) forwards takes 0.5 of the time of all
# heads at once, and with gradients 0.8; of 392 x 392 0.6 and 0.95, of 196 x 196 1.05
# and 1.3.
_CACHED_SCORES = 1 << 17


Query: TypeAlias = Float[Array, 'B H N K']
Keys: TypeAlias = Float[Array, 'B H M K']  # and values
Valid: TypeAlias = Bool[Array, 'B M'] | None
Bias: TypeAlias = Float[Array, 'B H N M'] | None


def attend(
  query: Query,
  key: Keys,
  value: Keys,
  valid: Valid = None,
  how: str | None = None,
  bias: Bias = None,
) -> Query:
  """Softmax attention; a query whose keys are all invalid gets zeros.

  Args:
    query, key, value: of one dtype, which is also that of the output.
    valid: which keys may be attended to; None for all.
    how: 'plain', 'cudnn', 'splash'; None to choose by the devices.
    bias: added to the scores, by `plain` alone.
  """
  how = how or ('plain' if bias is not None else _choose(query, key))
  if how == 'cudnn':
    return _cudnn(query, key, value, valid)
  if how == 'splash':
    return _splash(query, key, value, valid)
  if bias is None and _large(query, key):
    return _by_head(query, key, value, valid)
  # Without the scores, the largest arrays.
  return keep_only_inputs(lambda *x: plain(*x)[0])(query, key, value, valid, bias)


def _choose(query: Query, key: Keys) -> str:
  kind, width = platform(), query.shape[-1]
  fits = width % 8 == 0 and width <= _CUDNN_WIDTH
  if kind == 'gpu' and query.dtype == jnp.bfloat16 and fits:
    return 'cudnn'
  if kind == 'tpu' and key.shape[2] >= _SPLASH_KEYS:
    return 'splash'
  return 'plain'


def _large(query: Query, key: Keys) -> bool:
  """Whether a single CPU device computes `plain` of it head by head."""
  mesh = current_mesh()
  alone = mesh is None or mesh.size == 1
  scores = query.shape[2] * key.shape[2]
  return platform() == 'cpu' and alone and scores >= _CACHED_SCORES


def _by_head(query: Query, key: Keys, value: Keys, valid: Valid) -> Query:
  """`plain` of one head after another, which keeps no scores of any."""

  @jax.checkpoint
  def one(head: tuple[Array, Array, Array, Array | None]) -> Array:
    query, key, value = (x[None, None] for x in head[:3])
    valid = None if head[3] is None else head[3][None]
    return plain(query, key, value, valid)[0][0, 0]

  heads = [x.reshape(-1, *x.shape[2:]) for x in (query, key, value)]
  masks = None if valid is None else jnp.repeat(valid, query.shape[1], axis=0)
  return jax.lax.map(one, (*heads, masks)).reshape(query.shape)


def plain(
  query: Query, key: Keys, value: Keys, valid: Valid = None, bias: Bias = None
) -> tuple[Query, Float[Array, 'B H N M']]:
  """As `attend`; returns the output and the weights in float32.

  It divides by the sum after the product with the values: fewer operations, and on
  CPU markedly faster than normalising the scores.
  """
  query = query * query.shape[-1] ** -0.5
  wide = {'preferred_element_type': jnp.float32}
  scores = jnp.einsum('bhnk,bhmk->bhnm', query, key, **wide)
  if bias is not None:
    scores = scores + bias
  if valid is not None:
    scores = jnp.where(valid[:, None, None, :], scores, -1e30)
  scores = scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True))
  weights = jnp.exp(scores)
  if valid is not None:
    weights = jnp.where(valid[:, None, None, :], weights, 0)
  total = weights.sum(-1, keepdims=True)
  total = jnp.where(total > 0, total, 1)
  out = jnp.einsum('bhnm,bhmk->bhnk', weights.astype(value.dtype), value, **wide)
  return (out / total).astype(value.dtype), weights / total


def _cudnn(
  query: Query,
  key: Keys,
  value: Keys,
  valid: Valid,
  implementation: Literal['xla', 'cudnn'] = 'cudnn',
) -> Query:
  mask = None if valid is None else valid[:, None, None, :]
  q, k, v = (x.swapaxes(1, 2) for x in (query, key, value))  # it wants [B, N, H, K]
  out = jax.nn.dot_product_attention(q, k, v, mask=mask, implementation=implementation)
  return _zero_if_none_valid(out.swapaxes(1, 2), valid)


def _splash(
  query: Query, key: Keys, value: Keys, valid: Valid, interpret: bool = False
) -> Query:
  queries, keys = query.shape[2], key.shape[2]
  rows, columns = _block(queries), _block(keys)
  query = _pad(query * query.shape[-1] ** -0.5, rows)
  key, value = _pad(key, columns), _pad(value, columns)
  if valid is None:
    valid = jnp.ones((query.shape[0], keys), bool)
  hidden = jnp.pad(~valid, ((0, 0), (0, key.shape[2] - keys)), constant_values=True)

  def run(query: Array, key: Array, value: Array, hidden: Array) -> Array:
    masks = splash_ops.splash_attention_mask
    full = masks.FullMask((query.shape[2], key.shape[2]))
    mask = masks.MultiHeadMask([full] * query.shape[1])
    blocks: dict[str, Any] = {}
    for pass_ in ('', '_dkv'):  # forward, and backward
      blocks[f'block_q{pass_}'] = rows
      blocks[f'block_kv{pass_}'] = blocks[f'block_kv{pass_}_compute'] = columns
    kernel = splash_ops.splash_attention_kernel.make_splash_mha(
      mask,
      head_shards=1,
      q_seq_shards=1,
      interpret=interpret,
      block_sizes=splash_ops.splash_attention_kernel.BlockSizes(
        **blocks, use_fused_bwd_kernel=True
      ),
    )
    segments = splash_ops.splash_attention_kernel.SegmentIds(
      q=jnp.zeros((query.shape[0], query.shape[2]), jnp.int32),
      kv=hidden.astype(jnp.int32),
    )  # queries only see keys of their own segment
    return jax.vmap(kernel)(query, key, value, segments)

  if (mesh := current_mesh()) is not None:  # kernels are not partitioned automatically
    heads = P(BATCH_AXES, TENSOR_AXIS)
    run = jax.shard_map(
      run,
      mesh=mesh,
      in_specs=(heads, heads, heads, P(BATCH_AXES)),
      out_specs=heads,
      check_vma=False,
    )
  out = run(query, key, value, hidden)[:, :, :queries]
  return _zero_if_none_valid(out, valid)


def _pad(x: Query, block: int) -> Float[Array, 'B H N_padded K']:
  """Zero-pads a sequence to whole blocks."""
  return jnp.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % block), (0, 0)))


def _block(length: int) -> int:
  """Equal blocks of a sequence, as few as may be: each costs time besides its work."""
  blocks = -(-length // _BLOCK)
  return -(-length // (blocks * _LANES)) * _LANES


def _zero_if_none_valid(out: Query, valid: Valid) -> Query:
  if valid is None:
    return out
  return jnp.where(valid.any(1)[:, None, None, None], out, 0).astype(out.dtype)
