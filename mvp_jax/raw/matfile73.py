"""Reads MATLAB files of version 7.3, which are HDF5, where h5py (an extra) is there."""

import contextlib
import functools
import math

import numpy as np

from mvp_jax.raw.budget import Budget

_INSIDE = ('#refs#', '#subsystem#')  # where MATLAB keeps cells and objects
_DEEPEST = 32  # cells within cells
_OBJECT = 1000  # bytes in memory of a cell or field, whatever is in it
_REMEDY = 'a MATLAB 7.3 file; save it with -v7 in MATLAB'


def variables73(path):
  """What is in a file: {name: (shape, read)} as of `matfile.Variable`.

  Raises:
    OSError: it cannot be read.
    ValueError: damaged, or h5py is not there.
  """
  try:
    import h5py
  except ImportError:
    raise ValueError(f'{_REMEDY}, or pip install h5py to read it') from None
  budget = Budget(path)
  with _opened(path, h5py) as file:
    return {
      name: (_shape(found, h5py), functools.partial(_read, path, name, budget))
      for name in file
      if name not in _INSIDE
      for found in [_member(file, name, h5py)]
      if isinstance(found, h5py.Group | h5py.Dataset)
    }


@contextlib.contextmanager
def _opened(path, h5py):
  try:
    with h5py.File(path, 'r') as file:
      yield file
  # h5py raises many kinds where a file is damaged.
  except (OSError, RuntimeError, KeyError, TypeError, AttributeError) as error:
    told = ' '.join(str(error).split())[:100]
    raise ValueError(f'{_REMEDY}: it cannot be read here, damaged? ({told})') from None


def _read(path, name, budget):
  import h5py

  with _opened(path, h5py) as file:
    return _value(file, file[name], h5py, 0, budget)


def _member(group, name, h5py):
  """What a group has under a name, if it lies in this file. Raises ValueError."""
  if not isinstance(group.get(name, getlink=True), h5py.HardLink):
    raise ValueError(f'{name} is a link to elsewhere, as MATLAB never makes')
  return group[name]


def _shape(found, h5py):
  """The shape of an array of real numbers; None for all else."""
  if not isinstance(found, h5py.Dataset) or found.dtype.kind not in 'fiub':
    return None
  if found.attrs.get('MATLAB_empty', 0) or _class(found) == 'char':
    return None
  return tuple(reversed(found.shape))


def _class(found):
  return found.attrs.get('MATLAB_class', b'').decode()


def _value(file, found, h5py, depth, budget):
  """Numbers as float64, a text, cells as an array of objects, structs as dicts; None
  for what is of another kind."""
  name = found.name or 'a cell'
  if depth > _DEEPEST:
    raise ValueError('damaged (cells within cells without an end)')
  budget.spend(_OBJECT, name)

  def inner(other):
    return _value(file, other, h5py, depth + 1, budget)

  if isinstance(found, h5py.Group):
    members = {field: _member(found, field, h5py) for field in found}
    fields = {field: inner(member) for field, member in members.items()}
    # Of an array of structs each field is an array of references.
    plain = [
      member
      for member in members.values()
      if isinstance(member, h5py.Dataset) and _refers(member, h5py)
    ]
    if len(plain) < len(fields) or any('MATLAB_class' in x.attrs for x in plain):
      return fields
    shape = next(iter(fields.values())).shape if fields else (0, 0)
    structs = np.empty(shape, object)
    for i in np.ndindex(shape):
      structs[i] = {name: values[i] for name, values in fields.items()}
    return structs
  kind = _class(found)
  if found.attrs.get('MATLAB_empty', 0):
    return (
      '' if kind == 'char' else np.zeros((0, 0), object if kind == 'cell' else float)
    )
  if found.is_virtual or found.external:
    raise ValueError(f'{name} has its values in other files, as MATLAB never does')
  # A chunk is read whole, and what was never written is filled in.
  held = max(math.prod(found.shape), math.prod(found.chunks or ()))
  budget.spend(held * max(8, found.dtype.itemsize), name)
  refers, number = _refers(found, h5py), found.dtype.names == ('real', 'imag')
  if not refers and not number and found.dtype.kind not in 'fiub':
    return None
  budget.spend(_OBJECT * found.size * refers, name)
  values = found[()].T  # MATLAB's first dimension is the last here
  if refers:
    cells = np.empty(values.shape, object)
    for i in np.ndindex(values.shape):
      cells[i] = inner(file[values[i]]) if values[i] else np.zeros((0, 0))
    return cells
  if kind == 'char':
    return '\n'.join(
      row.astype('<u4').tobytes().decode('utf-32-le', 'surrogatepass')
      for row in np.atleast_2d(values)
    )
  return (values['real'] if number else values).astype(np.float64)


def _refers(found, h5py):
  return h5py.check_ref_dtype(found.dtype) is h5py.Reference
