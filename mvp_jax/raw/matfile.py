"""Reads MATLAB files of version 5, strictly: numbers, text, cells and structs of them.

"MAT-File Format" (The MathWorks), chapter 1. SciPy's `loadmat` reads more kinds,
but a damaged file can crash the interpreter in its compiled code; here it is a
ValueError.
"""

import dataclasses
import functools
import math
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mvp_jax.raw.budget import Budget
from mvp_jax.raw.matfile73 import variables73

# NumPy's name of each type of element.
_NUMBERS = dict(enumerate(('i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'f4'), 1))
_NUMBERS |= {9: 'f8', 12: 'i8', 13: 'u8', 16: 'u1', 17: 'u2', 18: 'u4'}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR, _NUMERIC, _OPAQUE = 1, 2, 4, range(6, 16), 17
_MAX_NAME = 64  # characters of a field's name
_HEADER = 128
_HEAD = 4096  # bytes in which flags, shape and name of a matrix lie
_MOST_DIMENSIONS = 32
_CELL_BYTES = 300  # of a cell in memory, whatever is in it


@dataclasses.dataclass(frozen=True)
class Variable:
  """A variable of a file, read on demand.

  `shape` of an array of real numbers; None for all else. `read` gives what `read_mat`
  says, and raises ValueError.
  """

  shape: tuple[int, ...] | None
  read: Callable[[], Any]


def read_mat(path, names=None):
  """Reads variables of a file: {name: value} of those of `names` (None: all) in it.

  Numbers are arrays of float64, text is str, a line for each row, a cell array is an
  array of objects, a struct is a dict by field (None: of a kind that is not read), and
  an array of structs one of dicts. Of complex numbers it is the real part. What is of
  another kind is left out where `names` is None.

  Raises:
    OSError: it cannot be read.
    ValueError: no such file, damaged, larger in memory than a file of its size can be,
      or one that `names` has is of another kind.
  """
  found = {}
  for name, variable in variables(path).items():
    if name in names if names is not None else name:
      try:
        found[name] = variable.read()
      except OtherKindError:
        if names is not None:
          raise
  return found


def variables(path):
  """What is in a file: {name: Variable}, of which the heads alone are read.

  Raises as `read_mat` does.
  """
  with path.open('rb') as file:
    head = file.read(_HEADER)
    if head[124:] in (b'\x00\x02IM', b'\x02\x00MI') or head[:4] == b'\x89HDF':
      return {name: Variable(*found) for name, found in variables73(path).items()}
    order = {b'IM': '<', b'MI': '>'}.get(head[126:])
    if order is None:
      raise ValueError('no MATLAB file of version 5; save it with -v7')
    return _variables(path, file, order)


def _variables(path, file, order):
  budget, size = Budget(path), os.fstat(file.fileno()).st_size
  found, at = {}, _HEADER
  while at < size:
    file.seek(at)
    kind, length, start = _tag(file.read(8), 0, order)
    start += at
    if start + length > size:
      raise ValueError(f'it ends within an element of {length} bytes')
    if kind not in (_MATRIX, _COMPRESSED):
      raise ValueError('an element of no known kind')
    head = file.read(min(length, _HEAD))
    unfolded = None
    if kind == _COMPRESSED:
      inner = _unzip(zlib.decompressobj(), head, _HEAD)
      kind, unfolded, begin = _tag(inner, 0, order)
      if kind != _MATRIX:
        raise ValueError('an element of no known kind')
      head = inner[begin : begin + unfolded]
    matrix = _head(head, order)
    part = _Part(path, order, budget, start, length, unfolded)
    if matrix.name not in found:
      shape = matrix.shape if matrix.kind in _NUMERIC else None
      found[matrix.name] = Variable(shape, functools.partial(part.read, matrix))
    at = start + length + (0 if unfolded is not None else -length % 8)
  return found


@dataclasses.dataclass(frozen=True)
class _Part:
  """Where a variable lies in a file; `unfolded` bytes if it is compressed."""

  path: Path
  order: str
  budget: Budget
  start: int
  length: int
  unfolded: int | None

  def read(self, matrix):
    with self.path.open('rb') as file:
      file.seek(self.start)
      part = file.read(self.length)
    if self.unfolded is not None:
      self.budget.spend(self.unfolded, matrix.name)
      unzip = zlib.decompressobj()
      part = _unzip(unzip, part, 8 + self.unfolded)[8:]
      if not unzip.eof:  # the checksum follows
        _unzip(unzip, unzip.unconsumed_tail, _HEADER)
      if not unzip.eof or len(part) != self.unfolded:
        raise ValueError('damaged (it is longer or shorter than it says)')
    try:
      return _value(memoryview(part), self.order, matrix, self.budget)
    except RecursionError:
      raise ValueError('damaged (cells within cells without an end)') from None


def _unzip(unzip, part, most):
  try:
    return unzip.decompress(part, most)
  except zlib.error as error:
    raise ValueError(f'damaged ({error})') from None


class OtherKindError(ValueError):
  """A matrix of a kind that is not read here, such as an object or a sparse one."""

  def __init__(self):
    super().__init__('a matrix of other than numbers, text, cells and structs')


def _tag(blob, at, order):
  """The tag of the element at a place: its type, its length, where its bytes begin."""
  if at + 8 > len(blob):
    raise ValueError('it ends within an element')
  kind, size = struct.unpack_from(f'{order}II', blob, at)
  if not kind >> 16:
    return kind, size, at + 8
  if kind >> 16 > 4:  # up to four bytes stand in the tag itself
    raise ValueError('an element of no known kind')
  return kind & 0xFFFF, kind >> 16, at + 4


def _element(blob, at, order):
  """The element at a place: its type, its bytes, and where the next one is."""
  kind, size, start = _tag(blob, at, order)
  if start + size > len(blob):
    raise ValueError(f'it ends within an element of {size} bytes')
  after = at + 8 if start < at + 8 else start + size + -size % 8
  return kind, memoryview(blob)[start : start + size], after


def _numbers(kind, part, order):
  if kind not in _NUMBERS or len(part) % np.dtype(_NUMBERS[kind]).itemsize:
    raise ValueError('an element of no known kind')
  return np.frombuffer(part, order + _NUMBERS[kind])


class _Matrix(NamedTuple):
  """The head of a matrix: its class, its shape, and where its values begin."""

  name: str
  kind: int
  shape: tuple[int, ...]
  at: int


def _head(part, order):
  """The _Matrix that begins a part, of which the rest may be missing."""
  kind, flags, at = _element(part, 0, order)
  flags = _numbers(kind, flags, order)
  if len(flags) and int(flags[0]) & 0xFF == _OPAQUE:  # has no shape
    kind, name, at = _element(part, at, order)
    return _Matrix(bytes(name).decode('latin1'), _OPAQUE, (), at)
  kind, shape, at = _element(part, at, order)
  shape = tuple(_numbers(kind, shape, order).tolist())
  kind, name, at = _element(part, at, order)
  if len(flags) < 1 or not 2 <= len(shape) <= _MOST_DIMENSIONS or min(shape) < 0:
    raise ValueError('a matrix without a shape')
  if not all(isinstance(side, int) for side in shape):
    raise ValueError('a matrix without a shape')
  return _Matrix(bytes(name).decode('latin1'), int(flags[0]) & 0xFF, shape, at)


def _value(part, order, matrix, budget):
  name, kind, shape, at = matrix
  size = math.prod(shape)
  if kind == _CELL:
    values = list(_matrices(part, at, order, size, matrix, budget))
    cells = np.empty(size, object)
    for i, read in enumerate(values):
      cells[i] = read()
    return cells.reshape(shape, order='F')
  if kind == _STRUCT:
    return _structs(part, order, matrix, budget)
  if kind != _CHAR and kind not in _NUMERIC:
    raise OtherKindError
  if not size:
    return '' if kind == _CHAR else np.zeros(shape)
  type_, inner, _ = _element(part, at, order)
  values = _numbers(type_, inner, order)
  if kind == _CHAR:
    if len(values) % shape[0] or values.dtype.kind not in 'ui':
      raise ValueError('text of uneven rows')
    budget.spend(8 * len(values), name)
    rows = values.reshape(shape[0], -1, order='F')  # in UTF-8 maybe longer than told
    return '\n'.join(
      row.astype('<u4').tobytes().decode('utf-32-le', 'surrogatepass') for row in rows
    )
  if len(values) != size:
    raise ValueError(f'{len(values)} numbers in a matrix of {shape}')
  budget.spend(8 * size - len(inner), name)
  return values.astype(np.float64).reshape(shape, order='F')


def _matrices(part, at, order, count, outer, budget):
  """Functions that read the values of matrices which follow each other in another."""
  if count > len(part) // 8:  # each has a tag
    raise ValueError(f'{count} cells in {len(part)} bytes')
  budget.spend(_CELL_BYTES * count, outer.name)
  for _ in range(count):
    type_, inner, at = _element(part, at, order)
    if type_ != _MATRIX:
      raise ValueError('a cell that is no matrix')
    if not len(inner):
      yield _nothing
      continue
    matrix = _head(inner, order)._replace(name=outer.name)
    yield functools.partial(_value, inner, order, matrix, budget)


def _nothing():
  return np.zeros((0, 0))


def _structs(part, order, outer, budget):
  """A dict, or an array of dicts where the shape has other than one."""
  kind, length, at = _element(part, outer.at, order)
  length = _numbers(kind, length, order).tolist()
  _, names, at = _element(part, at, order)
  if len(length) != 1 or not 0 < length[0] <= _MAX_NAME or len(names) % length[0]:
    raise ValueError('a struct without names of its fields')
  names = [
    bytes(names[i : i + length[0]]).partition(b'\0')[0].decode('latin1')
    for i in range(0, len(names), length[0])
  ]
  count = math.prod(outer.shape)
  budget.spend(_CELL_BYTES * count, outer.name)
  fields = []
  for read in _matrices(part, at, order, count * len(names), outer, budget):
    try:
      fields.append(read())
    except OtherKindError:  # a date, say, beside the signals
      fields.append(None)
  found = np.empty(count, object)
  for i in range(count):
    found[i] = dict(
      zip(names, fields[i * len(names) : (i + 1) * len(names)], strict=True)
    )
  return found[0] if count == 1 else found.reshape(outer.shape, order='F')
