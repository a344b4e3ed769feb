"""Reads pickles of NumPy arrays from outside without letting them run code.

A pickle is a program: it may name any function and have it called. Pickled
arrays need a few names only, so nothing else is admitted.
"""

import pickle
import re

import numpy as np

from mvp_jax.errors import InputError


def _encode(text, encoding='utf-8'):
  # How Python 3 writes bytes in protocol 2. Other codecs than these two would
  # have Python import a module of the pickle's choice.
  if encoding not in ('latin1', 'utf-8'):
    raise pickle.UnpicklingError(f'unexpected codec {encoding!r}')
  return text.encode(encoding)


class _Dtype:
  """Stands for a NumPy dtype, of plain numbers: the state of a real one, from outside,
  could make its array read any memory."""

  def __init__(self, code, align=False, copy=True):
    if not (isinstance(code, str) and re.fullmatch(r'[biufc]\d{1,2}', code)):
      raise pickle.UnpicklingError(f'an array of {code!r}, not of numbers')
    self.numpy = np.dtype(code)

  def __setstate__(self, state):
    self.numpy = self.numpy.newbyteorder(state[1])


class _Array:
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
      self.numpy = array.reshape(shape, order=order).copy('K')
    else:
      self.numpy = array.reshape(shape).transpose(axis_order).copy('K')


def _from_buffer(*content):
  # How NumPy writes arrays in protocol 5, the default from Python 3.14 on.
  array = _Array()
  array.fill(*content)
  return array


def _unwrapped(value):
  """With arrays in place of what stands for them."""
  if isinstance(value, _Array):
    return value.numpy
  if isinstance(value, dict):
    return {key: _unwrapped(inner) for key, inner in value.items()}
  if isinstance(value, list | tuple):
    return type(value)(map(_unwrapped, value))
  return value


_ADMITTED = {
  ('numpy', 'ndarray'): 'ndarray',  # named where `_Array` is made, never called
  ('numpy', 'dtype'): _Dtype,
  ('numpy.core.multiarray', '_reconstruct'): _Array,
  ('numpy._core.multiarray', '_reconstruct'): _Array,
  ('numpy.core.numeric', '_frombuffer'): _from_buffer,
  ('numpy._core.numeric', '_frombuffer'): _from_buffer,
  ('_codecs', 'encode'): _encode,
}


class _Forbidden(Exception):
  pass


class _ArrayUnpickler(pickle.Unpickler):
  def find_class(self, module, name):
    try:
      return _ADMITTED[module, name]
    except KeyError:
      raise _Forbidden(f'{module}.{name}') from None


def load_arrays(path):
  """Reads a pickle made of dicts, lists, numbers, strings and NumPy arrays.

  Written by Python 2 or 3; Python 2 strings are read as latin1.

  Raises:
    InputError: the file asks for anything that an array does not need.
    ValueError: the file is truncated or not a pickle.
    OSError: the file cannot be read.
  """
  with open(path, 'rb') as file:
    try:
      return _unwrapped(_ArrayUnpickler(file, encoding='latin1').load())
    except _Forbidden as error:
      raise InputError(
        f'{path}: this file asks for {error}, which no signal file needs: it '
        'may be an attack. It was not run; get the file anew from its source'
      ) from None
    except OSError:
      raise
    except Exception as error:  # A broken pickle can raise nearly anything.
      raise ValueError(f'{type(error).__name__}: {error}') from error
