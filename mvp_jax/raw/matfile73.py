"""Reads MATLAB files of version 7.3, which are HDF5, where h5py (an extra) is there."""

import numpy as np

_INSIDE = ('#refs#', '#subsystem#')  # where MATLAB keeps cells and objects
_DEEPEST = 32  # cells within cells
_REMEDY = 'a MATLAB 7.3 file; save it with -v7 in MATLAB'


def read_mat73(path, names=None):
  """Reads variables of a file as `matfile.read_mat` does.

  Raises:
    OSError: it cannot be read.
    ValueError: damaged, or h5py is not there.
  """
  try:
    import h5py
  except ImportError:
    raise ValueError(f'{_REMEDY}, or pip install h5py to read it') from None
  try:
    with h5py.File(path, 'r') as file:
      wanted = file if names is None else (name for name in names if name in file)
      return {
        name: _value(file, file[name], h5py, 0)
        for name in wanted
        if name not in _INSIDE and isinstance(file[name], h5py.Group | h5py.Dataset)
      }
  # h5py raises many kinds where a file is damaged.
  except (OSError, RuntimeError, KeyError, TypeError, AttributeError) as error:
    told = ' '.join(str(error).split())[:100]
    raise ValueError(f'{_REMEDY}: it cannot be read here, damaged? ({told})') from None


def _value(file, found, h5py, depth):
  """Numbers as float64, a text, cells as an array of objects, structs as dicts; None
  for what is of another kind."""
  if depth > _DEEPEST:
    raise ValueError('damaged (cells within cells without an end)')

  def inner(other):
    return _value(file, other, h5py, depth + 1)

  if isinstance(found, h5py.Group):
    fields = {name: inner(found[name]) for name in found}
    # Of an array of structs each field is an array of references.
    plain = [
      found[name]
      for name in found
      if isinstance(found[name], h5py.Dataset) and _refers(found[name], h5py)
    ]
    if len(plain) < len(fields) or any('MATLAB_class' in x.attrs for x in plain):
      return fields
    shape = next(iter(fields.values())).shape if fields else (0, 0)
    structs = np.empty(shape, object)
    for i in np.ndindex(shape):
      structs[i] = {name: values[i] for name, values in fields.items()}
    return structs
  kind = found.attrs.get('MATLAB_class', b'').decode()
  if found.attrs.get('MATLAB_empty', 0):
    return (
      '' if kind == 'char' else np.zeros((0, 0), object if kind == 'cell' else float)
    )
  values = found[()].T  # MATLAB's first dimension is the last here
  if _refers(found, h5py):
    cells = np.empty(values.shape, object)
    for i in np.ndindex(values.shape):
      cells[i] = inner(file[values[i]]) if values[i] else np.zeros((0, 0))
    return cells
  if kind == 'char':
    return ''.join(map(chr, np.atleast_2d(values)[0].tolist()))
  if values.dtype.names:  # complex
    values = values[values.dtype.names[0]]
  return values.astype(np.float64) if values.dtype.kind in 'fiub' else None


def _refers(found, h5py):
  return h5py.check_ref_dtype(found.dtype) is h5py.Reference
