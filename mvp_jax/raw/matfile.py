"""Reads MATLAB files of version 5, strictly: numbers, text, cells and structs of them.

"MAT-File Format" (The MathWorks), chapter 1. SciPy's `loadmat` reads more kinds,
but a damaged file can crash the interpreter in its compiled code; here it is a
ValueError.
"""

import math
import struct
import zlib

import numpy as np

from mvp_jax.raw.matfile73 import read_mat73

# NumPy's name of each type of element.
_NUMBERS = dict(enumerate(('i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'f4'), 1))
_NUMBERS |= {9: 'f8', 12: 'i8', 13: 'u8', 16: 'u1', 17: 'u2', 18: 'u4'}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR, _NUMERIC, _OPAQUE = 1, 2, 4, range(6, 16), 17
_MAX_NAME = 64  # characters of a field's name
_HEADER = 128


def read_mat(path, names=None):
  """Reads variables of a file: {name: value} of those of `names` (None: all) in it.

  Numbers are arrays of float64, text is str, a cell array is an array of objects, a
  struct is a dict by field (None: of a kind that is not read), and an array of structs
  one of dicts. Of complex numbers it is the real part. What is of another kind is left
  out where `names` is None.

  Raises:
    OSError: it cannot be read.
    ValueError: no such file, damaged, or one that `names` has is of another kind.
  """
  blob = path.read_bytes()
  if blob[124:_HEADER] in (b'\x00\x02IM', b'\x02\x00MI') or blob[:4] == b'\x89HDF':
    return read_mat73(path, names)
  order = {b'IM': '<', b'MI': '>'}.get(blob[126:_HEADER])
  if order is None:
    raise ValueError('no MATLAB file of version 5; save it with -v7')
  try:
    return _variables(blob, order, names)
  except RecursionError:
    raise ValueError('damaged (cells within cells without an end)') from None


def _variables(blob, order, names):
  found, at = {}, _HEADER
  while at < len(blob):
    kind, part, at = _element(blob, at, order)
    if kind == _COMPRESSED:
      try:
        part = memoryview(zlib.decompress(part))
      except zlib.error as error:
        raise ValueError(f'damaged ({error})') from None
      kind, part, _ = _element(part, 0, order)
    if kind != _MATRIX:
      raise ValueError('an element of no known kind')
    name, read = _matrix(part, order)
    if name in names if names is not None else name:
      try:
        found[name] = read()
      except _OtherKindError:
        if names is not None:
          raise
  return found


class _OtherKindError(ValueError):
  """A matrix of a kind that is not read here, such as an object or a sparse one."""

  def __init__(self):
    super().__init__('a matrix of other than numbers, text, cells and structs')


def _element(blob, at, order):
  """The element at a place: its type, its bytes, and where the next one is."""
  if at + 8 > len(blob):
    raise ValueError('it ends within an element')
  kind, size = struct.unpack_from(f'{order}II', blob, at)
  start = at + 8
  if kind >> 16:  # up to four bytes stand in the tag itself
    kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
    if size > 4:
      raise ValueError('an element of no known kind')
    after = at + 8
  else:
    after = start + size
    if kind != _COMPRESSED:
      after += -size % 8
  if start + size > len(blob):
    raise ValueError(f'it ends within an element of {size} bytes')
  return kind, memoryview(blob)[start : start + size], after


def _numbers(kind, part, order):
  if kind not in _NUMBERS or len(part) % np.dtype(_NUMBERS[kind]).itemsize:
    raise ValueError('an element of no known kind')
  return np.frombuffer(part, order + _NUMBERS[kind])


def _matrix(part, order):
  """Name of a matrix, and a function that reads its value."""
  kind, flags, at = _element(part, 0, order)
  flags = _numbers(kind, flags, order)
  if len(flags) and int(flags[0]) & 0xFF == _OPAQUE:  # has no shape
    kind, name, at = _element(part, at, order)
    return bytes(name).decode('latin1'), _other_kind
  kind, shape, at = _element(part, at, order)
  shape = tuple(_numbers(kind, shape, order).tolist())
  kind, name, at = _element(part, at, order)
  if len(flags) < 1 or len(shape) < 2 or min(shape) < 0:
    raise ValueError('a matrix without a shape')
  return bytes(name).decode('latin1'), lambda: _value(
    part, at, order, int(flags[0]) & 0xFF, shape
  )


def _other_kind():
  raise _OtherKindError


def _value(part, at, order, kind, shape):
  size = math.prod(shape)
  if kind == _CELL:
    readers = list(_matrices(part, at, order, size))
    cells = np.empty(size, object)
    for i, read in enumerate(readers):
      cells[i] = read()
    return cells.reshape(shape, order='F')
  if kind == _STRUCT:
    return _structs(part, at, order, shape)
  if kind != _CHAR and kind not in _NUMERIC:
    raise _OtherKindError
  if not size:
    return '' if kind == _CHAR else np.zeros(shape)
  type_, inner, _ = _element(part, at, order)
  values = _numbers(type_, inner, order)
  if kind == _CHAR:
    if len(values) % shape[0]:
      raise ValueError('text of uneven rows')
    rows = values.reshape(shape[0], -1, order='F')  # in UTF-8 maybe longer than told
    return ''.join(map(chr, rows[0].tolist()))
  if len(values) != size:
    raise ValueError(f'{len(values)} numbers in a matrix of {shape}')
  return values.astype(np.float64).reshape(shape, order='F')


def _matrices(part, at, order, count):
  """Functions that read the values of matrices which follow each other."""
  if count > len(part) // 8:  # each has a tag
    raise ValueError(f'{count} cells in {len(part)} bytes')
  for _ in range(count):
    type_, inner, at = _element(part, at, order)
    if type_ != _MATRIX:
      raise ValueError('a cell that is no matrix')
    yield _matrix(inner, order)[1] if len(inner) else lambda: np.zeros((0, 0))


def _structs(part, at, order, shape):
  """A dict, or an array of dicts where `shape` has other than one."""
  kind, length, at = _element(part, at, order)
  length = _numbers(kind, length, order).tolist()
  _, names, at = _element(part, at, order)
  if len(length) != 1 or not 0 < length[0] <= _MAX_NAME or len(names) % length[0]:
    raise ValueError('a struct without names of its fields')
  names = [
    bytes(names[i : i + length[0]]).partition(b'\0')[0].decode('latin1')
    for i in range(0, len(names), length[0])
  ]
  count = math.prod(shape)
  fields = []
  for read in _matrices(part, at, order, count * len(names)):
    try:
      fields.append(read())
    except _OtherKindError:  # a date, say, beside the signals
      fields.append(None)
  found = np.empty(count, object)
  for i in range(count):
    found[i] = dict(
      zip(names, fields[i * len(names) : (i + 1) * len(names)], strict=True)
    )
  return found[0] if count == 1 else found.reshape(shape, order='F')
