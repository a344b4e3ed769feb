"""Reads pickles of NumPy arrays from outside without letting them run code.

A pickle is a program: it may name any function and have it called. Pickled
arrays need four names only, so nothing else is admitted.
"""

import pickle

import numpy as np

from mvp_jax.errors import InputError

_reconstruct = np._core.multiarray._reconstruct


def _encode(text, encoding='utf-8'):
  # How Python 3 writes bytes in protocol 2. Other codecs than these two would
  # have Python import a module of the pickle's choice.
  if encoding not in ('latin1', 'utf-8'):
    raise pickle.UnpicklingError(f'unexpected codec {encoding!r}')
  return text.encode(encoding)


_ADMITTED = {
  ('numpy', 'ndarray'): np.ndarray,
  ('numpy', 'dtype'): np.dtype,
  ('numpy.core.multiarray', '_reconstruct'): _reconstruct,
  ('numpy._core.multiarray', '_reconstruct'): _reconstruct,
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
      return _ArrayUnpickler(file, encoding='latin1').load()
    except _Forbidden as error:
      raise InputError(
        f'{path}: this file asks for {error}, which no signal file needs: it '
        'may be an attack. It was not run; get the file anew from its source'
      ) from None
    except OSError:
      raise
    except Exception as error:  # A broken pickle can raise nearly anything.
      raise ValueError(f'{type(error).__name__}: {error}') from error
