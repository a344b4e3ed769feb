"""Layout of arrays: the mesh, and one table of rules for all parameters.

Axes of the mesh: `data` splits the batch, `fsdp` splits the batch and the parameters,
`tensor` splits the inner dimensions of parameters. Optimiser moments are laid out like
their parameters, because their paths end alike.
"""

import dataclasses
import functools
import math
import re

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mvp_jax.errors import InputError
from mvp_jax.models.partition import BATCH_AXES, TENSOR_AXIS, current_mesh

AXES = (*BATCH_AXES, TENSOR_AXIS)


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """Devices along each axis; one of them may be -1: all that remain."""

  data: int = -1
  fsdp: int = 1
  tensor: int = 1


# (pattern of a parameter's path, axes of its last dimensions); the first match counts.
RULES = (
  (r'(query|key|value|up)/kernel$', ('fsdp', 'tensor')),
  (r'(query|key|value|up)/bias$', ('tensor',)),
  (r'(out|down)/kernel$', ('tensor', 'fsdp')),
  (r'kernel$', (None, 'fsdp')),
)


def make_mesh(config, devices=None):
  """Lays the devices out as `config` says. Raises InputError if they don't fit."""
  devices = jax.devices() if devices is None else devices
  sizes = [getattr(config, axis) for axis in AXES]
  given = [s for s in sizes if s != -1]
  known = math.prod(given)
  if (
    len(given) < 2
    or min(given) < 1
    or len(devices) % known
    or (len(given) == 3 and known != len(devices))
  ):
    raise InputError(
      f'mesh: {dict(zip(AXES, sizes, strict=True))} does not fit '
      f'{len(devices)} devices; their product must be that number '
      '(one axis may be -1)'
    )
  sizes = [len(devices) // known if s == -1 else s for s in sizes]
  # An axis of a TPU's torus is split where no product of whole ones is as asked.
  laid = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
  return Mesh(laid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def spec_for(path, shape, mesh):
  """The PartitionSpec of one parameter.

  Args:
    path: such as 'encoder/stack/blocks/up/kernel'; may have a prefix (optimiser
      moments).
    shape: its shape; leading dimensions (stacked layers) are never split.
    mesh: a dimension that the size of its axis does not divide is not split.
  """
  for pattern, axes in RULES:
    if re.search(pattern, path) and len(shape) >= len(axes):
      axes = (None,) * (len(shape) - len(axes)) + axes
      return P(
        *(
          a if a and n % mesh.shape[a] == 0 else None
          for a, n in zip(axes, shape, strict=True)
        )
      )
  return P()


def path_string(path):
  """A path of `jax.tree_util` as 'a/b/0/c'."""
  return '/'.join(
    str(getattr(k, 'key', getattr(k, 'name', getattr(k, 'idx', k)))) for k in path
  )


def shardings(tree, mesh):
  """A NamedSharding for each leaf of a tree of (abstract) arrays."""
  return jax.tree_util.tree_map_with_path(
    lambda path, x: NamedSharding(mesh, spec_for(path_string(path), x.shape, mesh)),
    tree,
  )


def deal(x, parts):
  """Splits a batch into micro-batches: [B, ...] -> [parts, B / parts, ...].

  Row r goes to part r % parts, so that every part is on all devices and no row moves
  to another device.
  """
  dealt = x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1)
  if current_mesh() is None:
    return dealt
  return jax.lax.with_sharding_constraint(dealt, P(None, BATCH_AXES))


def describe(tree, mesh):
  """A table of the layout of a tree: str, one line per array.

  Args:
    tree: dict of sections, each a nested dict of (abstract) arrays with
      NamedShardings.
    mesh: the mesh, named in the first line.
  """
  rows = []
  for path, x in jax.tree_util.tree_leaves_with_path(tree):
    part = x.sharding.shard_shape(x.shape)
    spec = [_words(axis) for axis in x.sharding.spec]
    spec += ['-'] * (len(x.shape) - len(spec))
    rows.append(
      (
        path_string(path),
        'x'.join(map(str, x.shape)) or 'scalar',
        ' '.join(spec),
        'x'.join(map(str, part)) or 'scalar',
      )
    )
  return f'{totals(tree, mesh)}\n\n' + _columns(
    [('array', 'shape', 'split over', 'on a device'), *rows]
  )


def totals(tree, mesh):
  """A table of the memory that each section of `tree` takes, see `describe`: str."""
  rows = []
  for name, section in tree.items():
    arrays = jax.tree.leaves(section)
    sizes = [
      sum(math.prod(shape(x)) * x.dtype.itemsize for x in arrays)
      for shape in (lambda x: x.shape, lambda x: x.sharding.shard_shape(x.shape))
    ]
    rows.append((name, *(f'{size / 2**20:.1f} MiB' for size in sizes)))
  axes = ' x '.join(f'{n} {axis}' for axis, n in mesh.shape.items())
  return f'mesh: {axes}\n' + _columns([('', 'in all', 'on each device'), *rows])


def _words(axes):
  """An entry of a PartitionSpec as text."""
  return '+'.join(axes) if isinstance(axes, tuple) else axes or '-'


def _columns(rows):
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return '\n'.join('  '.join(map(str.ljust, row, widths)).rstrip() for row in rows)


def replicated(mesh):
  return NamedSharding(mesh, P())


def batch_sharding(mesh):
  return NamedSharding(mesh, P(BATCH_AXES))


def batch_ways(mesh):
  """The number of parts that the mesh splits a batch into."""
  return math.prod(mesh.shape[a] for a in BATCH_AXES)


def check_batch(batch_size, mesh, field, parts=1):
  """Raises InputError unless the global batch splits evenly over mesh and `parts`."""
  ways = batch_ways(mesh)
  if batch_size % (ways * parts):
    over = f'{ways} devices (data x fsdp)'
    over += f' and {parts} parts' if parts > 1 else ''
    raise InputError(
      f'{field}: a batch of {batch_size} cannot be divided over '
      f'{over}; make it a multiple of {ways * parts}'
    )


def put_batch(batch, mesh):
  """Puts this process's rows of a batch on the devices, split over the batch.

  A batch is a dict of arrays, or a tuple of them, see `state.step_function`.
  """
  sharding = batch_sharding(mesh)
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(sharding, x), batch
  )


def rows_on(mesh):
  """`batch_rows` of a mesh, a function of their number: `rows` of data.batches."""
  return functools.partial(batch_rows, mesh=mesh)


def batch_rows(batch_size, mesh):
  """The rows of a batch that this process's devices hold, ascending."""
  check_batch(batch_size, mesh, 'batch_size')
  where = batch_sharding(mesh).addressable_devices_indices_map((batch_size,))
  return sorted(
    {row for (index,) in where.values() for row in range(*index.indices(batch_size))}
  )
