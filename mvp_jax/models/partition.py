"""The mesh in force: its layout of activations, and what its devices are.

The training step sets the mesh (`use_mesh`) while it traces the model;
`training.sharding` lays out the parameters. Without a mesh nothing is laid out.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
from jax.sharding import PartitionSpec as P

from mvp_jax.array_types import Array, Shaped

BATCH_AXES = ('data', 'fsdp')  # axes of the mesh that split the batch
TENSOR_AXIS = 'tensor'  # splits heads and the inner dimension of the MLP


def use_mesh(mesh: jax.sharding.Mesh) -> AbstractContextManager:
  """Context manager for tracing: activations are laid out over this mesh."""
  return jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


def current_mesh() -> jax.sharding.AbstractMesh | None:
  """The abstract mesh in force, or None; also None within a `shard_map`."""
  mesh = jax.sharding.get_abstract_mesh()
  return None if mesh.empty or mesh.manual_axes else mesh


def platform() -> str:
  """What a program that is being traced will run on: 'cpu', 'gpu' or 'tpu'.

  The devices of the mesh in force decide, also within a `shard_map`: they need not be
  of the default backend, nor be there at all (compilation ahead of time). Without a
  mesh it is the default backend.
  """
  device = jax.sharding.get_abstract_mesh().abstract_device
  return jax.default_backend() if device is None else device.platform


def keep_only_inputs(run: Callable[..., Any]) -> Callable[..., Any]:
  """`run`, which keeps only its inputs for the backward pass, and repeats its work.

  For what costs little beside the memory that it would fill: accelerators wait for
  their memory. On a CPU, where a step of a small encoder takes 8 % longer so, it is
  left as it is.
  """
  return run if platform() == 'cpu' else jax.checkpoint(run)


def split_batch(x: Shaped[Array, 'B ...']) -> Shaped[Array, 'B ...']:
  """Pins an activation to be split over the batch and nothing else.

  Otherwise the partitioner may split activations like parameters, and move them for
  nothing.
  """
  if current_mesh() is None:
    return x
  return jax.lax.with_sharding_constraint(x, P(BATCH_AXES))
