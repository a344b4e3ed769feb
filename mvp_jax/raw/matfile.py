"""Reads MATLAB files of version 5, strictly: numbers, text, and cells of them.

"MAT-File Format" (The MathWorks), chapter 1. SciPy's `loadmat` reads more kinds,
but a damaged file can crash the interpreter in its compiled code; here it is a
ValueError.
"""

import math
import struct
import zlib

import numpy as np

_NUMBERS = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8',
            12: 'i8', 13: 'u8', 16: 'u1', 17: 'u2', 18: 'u4'}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _CHAR, _NUMERIC = 1, 4, range(6, 16)
_HEADER = 128


def read_mat(path, names):
  """Reads some variables of a file.

  Args:
    path: Path.
    names: of the variables; others are passed over.

  Returns:
    {name: value} of those that are there. Numbers are arrays of float64, text is
    str, and a cell array is an array of objects.

  Raises:
    OSError: it cannot be read.
    ValueError: no such file, damaged, or a variable of another kind.
  """
  blob = path.read_bytes()
  if blob[124:_HEADER] in (b'\x00\x02IM', b'\x02\x00MI') or blob[:4] == b'\x89HDF':
    raise ValueError('a MATLAB 7.3 file; save it with -v7, as version 5')
  order = {b'IM': '<', b'MI': '>'}.get(blob[126:_HEADER])
  if order is None:
    raise ValueError('no MATLAB file of version 5')
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
    if name in names:
      found[name] = read()
  return found


def _element(blob, at, order):
  """The element at a place: its type, its bytes, and where the next one is."""
  if at + 8 > len(blob):
    raise ValueError('it ends within an element')
  kind, size = struct.unpack_from(f'{order}II', blob, at)
  start = at + 8
  if kind >> 16:  # up to four bytes stand in the tag itself
    kind, size, start = kind & 0xffff, kind >> 16, at + 4
    if size > 4:
      raise ValueError('an element of no known kind')
    after = at + 8
  else:
    after = start + size
    if kind != _COMPRESSED:
      after += -size % 8
  if start + size > len(blob):
    raise ValueError(f'it ends within an element of {size} bytes')
  return kind, memoryview(blob)[start:start + size], after


def _numbers(kind, part, order):
  if kind not in _NUMBERS or len(part) % np.dtype(_NUMBERS[kind]).itemsize:
    raise ValueError('an element of no known kind')
  return np.frombuffer(part, order + _NUMBERS[kind])


def _matrix(part, order):
  """Name of a matrix, and a function that reads its value."""
  kind, flags, at = _element(part, 0, order)
  flags = _numbers(kind, flags, order)
  kind, shape, at = _element(part, at, order)
  shape = tuple(_numbers(kind, shape, order).tolist())
  kind, name, at = _element(part, at, order)
  if len(flags) < 1 or len(shape) < 2 or min(shape) < 0:
    raise ValueError('a matrix without a shape')
  return bytes(name).decode('latin1'), lambda: _value(
    part, at, order, int(flags[0]) & 0xff, shape)


def _value(part, at, order, kind, shape):
  size = math.prod(shape)
  if kind == _CELL:
    if size > len(part) // 8:  # each has a tag
      raise ValueError(f'{size} cells in {len(part)} bytes')
    cells = np.empty(size, object)
    for i in range(size):
      type_, inner, at = _element(part, at, order)
      if type_ != _MATRIX:
        raise ValueError('a cell that is no matrix')
      cells[i] = _matrix(inner, order)[1]() if len(inner) else np.zeros((0, 0))
    return cells.reshape(shape, order='F')
  if kind != _CHAR and kind not in _NUMERIC:
    raise ValueError('a matrix of other than numbers, text and cells')
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
