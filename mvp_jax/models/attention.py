"""Softmax attention, by the fastest implementation for the backend.

`plain` is ordinary JAX and runs anywhere; on CPU, where XLA multi-threads it over
heads, it is also the fastest. `cudnn` is NVIDIA's fused kernel, `splash` the Pallas
kernel for TPU. All agree to rounding, gradients included.

Shapes: B batch, H heads, N queries, M keys, K = width of a head.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention as splash_ops
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float

from mvp_jax.models.partition import BATCH_AXES, TENSOR_AXIS, current_mesh

_CUDNN_WIDTH = 128  # of a head, at most
_LANES = 128  # of a TPU: sequences and heads are padded to multiples of it
_SPLASH_KEYS = 512  # the kernel does not help shorter sequences


def attend(
  query: Float[Array, 'B H N K'],
  key: Float[Array, 'B H M K'],
  value: Float[Array, 'B H M K'],
  valid: Bool[Array, 'B M'] | None = None,
  how: str | None = None,
) -> Float[Array, 'B H N K']:
  """Softmax attention; a query whose keys are all invalid gets zeros.

  Args:
    query, key, value: of one dtype, which is also that of the output.
    valid: which keys may be attended to; None for all.
    how: 'plain', 'cudnn', 'splash'; None to choose by backend.
  """
  how = how or _choose(query, key)
  if how == 'cudnn':
    return _cudnn(query, key, value, valid)
  if how == 'splash':
    return _splash(query, key, value, valid)
  return plain(query, key, value, valid)[0]


def _choose(query: Float[Array, 'B H N K'], key: Float[Array, 'B H M K']) -> str:
  backend, width = jax.default_backend(), query.shape[-1]
  if (
    backend == 'gpu'
    and query.dtype == jnp.bfloat16
    and width % 8 == 0
    and width <= _CUDNN_WIDTH
  ):
    return 'cudnn'
  if backend == 'tpu' and key.shape[2] >= _SPLASH_KEYS:
    return 'splash'
  return 'plain'


def plain(
  query: Float[Array, 'B H N K'],
  key: Float[Array, 'B H M K'],
  value: Float[Array, 'B H M K'],
  valid: Bool[Array, 'B M'] | None = None,
) -> tuple[Float[Array, 'B H N K'], Float[Array, 'B H N M']]:
  """As `attend`; returns the output and the weights in float32.

  It divides by the sum after the product with the values: fewer operations, and on
  CPU markedly faster than normalising the scores.
  """
  scale = query.shape[-1] ** -0.5
  scores = jnp.einsum(
    'bhnk,bhmk->bhnm',
    query * scale,
    key,
    preferred_element_type=jnp.float32,
  )
  if valid is not None:
    scores = jnp.where(valid[:, None, None, :], scores, -1e30)
  scores = scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True))
  weights = jnp.exp(scores)
  if valid is not None:
    weights = jnp.where(valid[:, None, None, :], weights, 0)
  total = weights.sum(-1, keepdims=True)
  total = jnp.where(total > 0, total, 1)
  out = jnp.einsum(
    'bhnm,bhmk->bhnk',
    weights.astype(value.dtype),
    value,
    preferred_element_type=jnp.float32,
  )
  return (out / total).astype(value.dtype), weights / total


def _cudnn(
  query: Float[Array, 'B H N K'],
  key: Float[Array, 'B H M K'],
  value: Float[Array, 'B H M K'],
  valid: Bool[Array, 'B M'] | None,
  implementation: Literal['xla', 'cudnn'] = 'cudnn',
) -> Float[Array, 'B H N K']:
  mask = None if valid is None else valid[:, None, None, :]
  out = jax.nn.dot_product_attention(  # it wants [B, N, H, K]
    query.swapaxes(1, 2),
    key.swapaxes(1, 2),
    value.swapaxes(1, 2),
    mask=mask,
    implementation=implementation,
  )
  return _zero_if_none_valid(out.swapaxes(1, 2), valid)


def _splash(
  query: Float[Array, 'B H N K'],
  key: Float[Array, 'B H M K'],
  value: Float[Array, 'B H M K'],
  valid: Bool[Array, 'B M'] | None,
  interpret: bool = False,
) -> Float[Array, 'B H N K']:
  width = query.shape[-1]
  query, queries = _pad(query * width**-0.5), query.shape[2]
  key, keys = _pad(key), key.shape[2]
  value = _pad(value)
  if valid is None:
    valid = jnp.ones((query.shape[0], keys), bool)
  hidden = jnp.pad(~valid, ((0, 0), (0, key.shape[2] - keys)), constant_values=True)

  def run(query: Array, key: Array, value: Array, hidden: Array) -> Array:
    heads = query.shape[1]
    mask = splash_ops.splash_attention_mask.MultiHeadMask(
      [splash_ops.splash_attention_mask.FullMask((query.shape[2], key.shape[2]))]
      * heads
    )
    q_block, kv_block = _block(query.shape[2]), _block(key.shape[2])
    kernel = splash_ops.splash_attention_kernel.make_splash_mha(
      mask,
      head_shards=1,
      q_seq_shards=1,
      interpret=interpret,
      block_sizes=splash_ops.splash_attention_kernel.BlockSizes(
        block_q=q_block,
        block_kv=kv_block,
        block_q_dkv=q_block,
        block_kv_dkv=kv_block,
        block_q_dq=q_block,
        block_kv_dq=kv_block,
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
  out = run(query, key, value, hidden)[:, :, :queries, :width]
  return _zero_if_none_valid(out, valid)


def _pad(x: Float[Array, 'B H N K']) -> Float[Array, 'B H N_padded K_padded']:
  """Zero-pads the sequence and the width of the heads."""
  return jnp.pad(
    x, ((0, 0), (0, 0), (0, -x.shape[2] % _LANES), (0, -x.shape[3] % _LANES))
  )


def _block(length: int) -> int:
  """The largest tile of at most 512 that divides a padded length."""
  return max(b for b in range(_LANES, 513, _LANES) if length % b == 0)


def _zero_if_none_valid(
  out: Float[Array, 'B H N K'], valid: Bool[Array, 'B M'] | None
) -> Float[Array, 'B H N K']:
  if valid is None:
    return out
  return jnp.where(valid.any(1)[:, None, None, None], out, 0).astype(out.dtype)
