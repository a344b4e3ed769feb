"""Reads pickles of NumPy arrays from outside without letting them run code.

A pickle is a program: it may name any function and have it called. Pickled
arrays need a few names only, so nothing else is admitted.
"""

import os
import pickle
import re

import numpy as np

from mvp_jax.errors import InputError
from mvp_jax.pickles import BoundedUnpickler, StandIn

_CONTAINER = 300  # bytes of a small dict and what notes it


class _Dtype(StandIn):
  """Stands for a NumPy dtype, of plain numbers: the state of a real one, from outside,
  could make its array read any memory."""

  def __init__(self, code, align=False, copy=True):
    if not (isinstance(code, str) and re.fullmatch(r'[biufc]\d{1,2}', code)):
      raise pickle.UnpicklingError(f'an array of {code!r}, not of numbers')
    self.numpy = np.dtype(code)

  def __setstate__(self, state):
    self.numpy = self.numpy.newbyteorder(state[1])


class _Array(StandIn):
  """Stands for an array until it is told what is in it."""

  def __init__(self, *_):
    self.numpy = np.zeros(0)

  def __setstate__(self, state):
    _, shape, dtype, fortran, content = state
    if isinstance(content, str):  # Python 2 wrote it
      content = content.encode('latin1')
    self.fill(content, dtype, shape, 'F' if fortran else 'C')

  def fill(self, content, dtype, shape, order, axis_order=None):
    if not isinstance(content, bytes | bytearray) or not isinstance(dtype, _Dtype):
      raise pickle.UnpicklingError('an array of other than numbers')
    array = np.frombuffer(content, dtype.numpy)
    if axis_order is None:
      self.numpy = array.reshape(shape, order=order)
    else:
      self.numpy = array.reshape(shape).transpose(axis_order)


def _from_buffer(*content):
  # How NumPy writes arrays in protocol 5, the default from Python 3.14 on.
  array = _Array()
  array.fill(*content)
  return array


class _Forbidden(Exception):
  pass


class _ArrayUnpickler(BoundedUnpickler):
  def __init__(self, file, size):
    super().__init__(file, size, encoding='latin1')
    self._found = {}  # what stands for values, and these, by id: many may be the same
    self._admitted = {
      ('numpy', 'ndarray'): 'ndarray',  # named where `_Array` is made, never called
      ('numpy', 'dtype'): _Dtype,
      ('numpy.core.multiarray', '_reconstruct'): _Array,
      ('numpy._core.multiarray', '_reconstruct'): _Array,
      ('numpy.core.numeric', '_frombuffer'): _from_buffer,
      ('numpy._core.numeric', '_frombuffer'): _from_buffer,
      ('_codecs', 'encode'): self._encode,
    }

  def find_class(self, module, name):
    try:
      return self._admitted[module, name]
    except KeyError:
      raise _Forbidden(f'{module}.{name}') from None

  def _encode(self, text, encoding='utf-8'):
    # How Python 3 writes bytes in protocol 2. Other codecs than these two would
    # have Python import a module of the pickle's choice.
    if encoding not in ('latin1', 'utf-8') or not isinstance(text, str):
      raise pickle.UnpicklingError(f'unexpected codec {encoding!r}')
    self.spend(len(text))
    return text.encode(encoding)

  def unwrapped(self, value):
    """With arrays in place of what stands for them."""
    if not isinstance(value, _Array | dict | list | tuple):
      return value
    if id(value) not in self._found:
      self.spend(_CONTAINER)
      self._found[id(value)] = value, self._unwrapped(value)
    return self._found[id(value)][1]

  def _unwrapped(self, value):
    if isinstance(value, _Array):
      self.spend(value.numpy.nbytes)
      return value.numpy.copy('K')
    if isinstance(value, dict):
      return {key: self.unwrapped(inner) for key, inner in value.items()}
    return type(value)(map(self.unwrapped, value))


def load_arrays(path):
  """Reads a pickle made of dicts, lists, numbers, strings and NumPy arrays.

  Written by Python 2 or 3; Python 2 strings are read as latin1.

  Raises:
    InputError: the file asks for anything that an array does not need.
    ValueError: the file is truncated, not a pickle, or asks for more memory or time
      than its arrays take.
    OSError: the file cannot be read.
  """
  with open(path, 'rb') as file:
    try:
      unpickler = _ArrayUnpickler(file, os.fstat(file.fileno()).st_size)
      return unpickler.unwrapped(unpickler.load())
    except _Forbidden as error:
      raise InputError(
        f'{path}: this file asks for {error}, which no signal file needs: it '
        'may be an attack. It was not run; get the file anew from its source'
      ) from None
    except OSError:
      raise
    except Exception as error:  # A broken pickle can raise nearly anything.
      told = ' '.join(str(error).split())[:150]
      raise ValueError(f'{type(error).__name__}: {told}') from error
