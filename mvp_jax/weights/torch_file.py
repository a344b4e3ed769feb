"""Reads and writes PyTorch files without PyTorch, and without executing anything.

Since version 1.6 `torch.save` writes a zip: `data.pkl`, a pickle of everything but the
values, and `data/0`, `data/1`..., the values. A pickle is a program that may call any
function by name. Here the few names that build tensors are mapped to stand-ins; every
other name yields an object that does nothing.
"""

import dataclasses
import functools
import io
import math
import struct
import zipfile
from collections.abc import Callable

import ml_dtypes
import numpy as np

from mvp_jax.errors import InputError
from mvp_jax.files import atomic_write
from mvp_jax.pickles import BoundedUnpickler, StandIn, check_key
from mvp_jax.raw.on_disk import require_regular

_DTYPES = {
  'FloatStorage': np.dtype('<f4'),
  'DoubleStorage': np.dtype('<f8'),
  'HalfStorage': np.dtype('<f2'),
  'BFloat16Storage': np.dtype(ml_dtypes.bfloat16),
  'LongStorage': np.dtype('<i8'),
  'IntStorage': np.dtype('<i4'),
  'ShortStorage': np.dtype('<i2'),
  'CharStorage': np.dtype('i1'),
  'ByteStorage': np.dtype('u1'),
  'BoolStorage': np.dtype('?'),
}

_TENSOR, _ITEM = 1000, 100  # bytes of what stands for one, and of one in a dict
_MOST_CLASSES, _MOST_DIMENSIONS = 1000, 16


@dataclasses.dataclass(frozen=True)
class Stored:
  """An array in a file, read on demand."""

  shape: tuple[int, ...]
  dtype: str  # 'float32'
  read: Callable[[], np.ndarray]


class Inert(StandIn):
  """Stands in for an object of a class that is not allowed; it does nothing."""

  def __new__(cls, *args, **kwargs):
    return super().__new__(cls)

  def __call__(self, *args, **kwargs):
    return self

  def _nothing(self, *args, **kwargs):
    pass

  __init__ = __setstate__ = __setitem__ = append = extend = add = _nothing


@dataclasses.dataclass(frozen=True)
class _Storage:
  dtype: np.dtype
  name: str  # in the zip
  size: int  # elements


def read_torch(path):
  """Reads a file of `torch.save`.

  Args:
    path: pathlib.Path.

  Returns:
    What was saved, with a `Stored` for each tensor and an `Inert` for every object
    of a class that is not allowed; and the names of those classes, sorted.

  Raises:
    InputError: the file is truncated, of PyTorch before 1.6, or no such file.
  """
  try:
    require_regular(path)
    with zipfile.ZipFile(path) as file:
      entries = {info.filename: info for info in file.infolist()}
      if any(info.compress_type for info in entries.values()):
        raise InputError(f'{path}: is compressed, which torch.save never does')
      sizes = {name: _size(path, info) for name, info in entries.items()}
      (root,) = {n.split('/')[0] for n in sizes if n.endswith('/data.pkl')}
      order = f'{root}/byteorder'
      if sizes.get(order, 0) > len('little') or (
        order in sizes and file.read(order) != b'little'
      ):
        raise InputError(f'{path}: was written on a big-endian machine; save it anew')
      data = file.read(f'{root}/data.pkl')
    unpickler = _Unpickler(path, data, root, sizes)
    return unpickler.load(), sorted(unpickler.inert)
  except (InputError, FileNotFoundError):
    raise
  except Exception as error:  # a broken zip or pickle can raise nearly anything
    said = ' '.join(str(error).split())[:150]
    raise InputError(
      f'{path}: is not a whole file of torch.save ({type(error).__name__}: {said}); '
      'copy or download it again'
    ) from error


def _size(path, info):
  """Bytes of an entry that is not compressed. Raises ValueError if it lies."""
  if not info.file_size == info.compress_size <= path.stat().st_size:
    raise ValueError(f'{info.filename} is not of the size that is said')
  return info.file_size


class _Unpickler(BoundedUnpickler):
  """Allows tensors only; the stand-ins are made anew for each file.

  A pickle may set attributes of objects it gets, which must not affect the next file.
  """

  def __init__(self, path, data, root, sizes):
    super().__init__(io.BytesIO(data), len(data), path.stat().st_size)
    self._path, self._root, self._sizes = path, root, sizes
    self.inert = {}  # what stands for each class that is not allowed, by its name
    self._storage = functools.cache(
      lambda name: type(name, (Inert,), {'dtype': _DTYPES[name]})
    )

    def tensor(storage, offset, shape, strides, *_):
      if not isinstance(storage, _Storage):
        return storage
      found = _view(path, storage, offset, shape, strides)
      self.spend(_TENSOR + math.prod(found.shape) * storage.dtype.itemsize)
      return found

    def ordered(items=()):
      made = {}
      for key, value in items:
        check_key(key)
        made[key] = value
      self.spend(len(made) * _ITEM)
      return made

    def size(numbers):
      self.spend(len(numbers) * _ITEM)
      return tuple(numbers)

    def parameter(data, *_):
      return data

    self._admitted = {
      ('collections', 'OrderedDict'): ordered,
      ('torch', 'Size'): size,
      ('torch._utils', '_rebuild_tensor_v2'): tensor,
      ('torch._utils', '_rebuild_parameter'): parameter,
      ('torch._utils', '_rebuild_parameter_with_state'): parameter,
    }

  def find_class(self, module, name):
    if (module, name) in self._admitted:
      return self._admitted[module, name]
    if module == 'torch' and name in _DTYPES:
      return self._storage(name)
    if len(self.inert) > _MOST_CLASSES:
      raise ValueError(f'it names {len(self.inert)} classes')
    full = f'{module}.{name}'
    if full not in self.inert:
      self.inert[full] = type('Inert', (Inert,), {})
    return self.inert[full]

  def persistent_load(self, saved):
    kind, storage, key, _, size = saved
    if kind != 'storage' or not hasattr(storage, 'dtype') or type(key) is not str:
      return Inert()
    name = f'{self._root}/data/{key}'
    if self._sizes.get(name) != size * storage.dtype.itemsize:
      raise ValueError(
        f'{name} is {self._sizes.get(name)} bytes, must be '
        f'{size * storage.dtype.itemsize}'
      )
    return _Storage(storage.dtype, name, size)


def _view(path, storage, offset, shape, strides):
  """A tensor as a `Stored`: a view of a storage, strides in elements."""
  if max(len(shape), len(strides)) > _MOST_DIMENSIONS:
    raise ValueError(f'a tensor of {len(shape)} dimensions')
  shape, strides = tuple(shape), tuple(strides)
  if not all(type(n) is int and n >= 0 for n in (offset, *shape, *strides)):
    raise ValueError(f'a tensor that lies outside {storage.name}')
  last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
  if 0 not in shape and last >= storage.size:
    raise ValueError(f'a tensor of shape {shape} lies outside {storage.name}')

  def read():
    try:
      with zipfile.ZipFile(path) as file:
        _size(path, file.getinfo(storage.name))
        data = np.frombuffer(file.read(storage.name), storage.dtype)
    except (zipfile.BadZipFile, EOFError, ValueError, KeyError) as error:
      raise InputError(
        f'{path}: is damaged ({error}); copy or download it again'
      ) from error
    if 0 in shape:
      return np.zeros(shape, storage.dtype)
    if len(data) != storage.size:
      raise InputError(f'{path}: changed while it was read; start again')
    view = np.lib.stride_tricks.as_strided(
      data[offset:], shape, [s * storage.dtype.itemsize for s in strides]
    )
    return np.array(view)

  return Stored(shape, storage.dtype.name, read)


def write_torch(path, tree):
  """Writes a file for `torch.load`, with or without `weights_only`.

  `tree`: nested dict of strings to NumPy arrays.
  """
  arrays = []
  pickled = b'\x80\x02' + _pickled(tree, arrays) + b'.'  # protocol 2 ... stop
  with atomic_write(path) as part, zipfile.ZipFile(part, 'w') as file:
    file.writestr('archive/data.pkl', pickled)
    file.writestr('archive/byteorder', 'little')
    for number, x in enumerate(arrays):
      file.writestr(f'archive/data/{number}', np.ascontiguousarray(x).tobytes())
    file.writestr('archive/version', '3\n')


def _pickled(value, arrays):
  """The opcodes that push `value`; its arrays are appended to `arrays`."""
  if isinstance(value, dict):
    items = b''.join(
      _pickled(k, arrays) + _pickled(v, arrays) for k, v in value.items()
    )
    return b'}(' + items + b'u'
  if isinstance(value, str):
    text = value.encode()
    return b'X' + struct.pack('<I', len(text)) + text
  if isinstance(value, bool):
    return b'\x88' if value else b'\x89'
  if isinstance(value, int):
    return b'\x8a\x08' + struct.pack('<q', value)
  if isinstance(value, tuple):
    return b'(' + b''.join(_pickled(v, arrays) for v in value) + b't'
  return _pickled_array(value, arrays)


def _pickled_array(x, arrays):
  kind = next(name for name, dtype in _DTYPES.items() if dtype == x.dtype)
  key = str(len(arrays))
  arrays.append(x)
  strides = tuple(math.prod(x.shape[i + 1 :]) for i in range(x.ndim))
  put = functools.partial(_pickled, arrays=arrays)
  storage = (
    b'('
    + put('storage')
    + f'ctorch\n{kind}\n'.encode()
    + put(key)
    + put('cpu')
    + put(x.size)
    + b'tQ'
  )  # a tuple, as a persistent id
  return (
    b'ctorch._utils\n_rebuild_tensor_v2\n('
    + storage
    + put(0)
    + put(x.shape)
    + put(strides)
    + put(False)
    + b'ccollections\nOrderedDict\n)RtR'
  )
