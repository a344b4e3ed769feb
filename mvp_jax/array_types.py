"""Types of arrays with the names of their dimensions, for readers and type checkers.

x: Float[Array, 'B N D'] is jaxtyping's to mypy. Nothing looks at it at run time, where
it is an Array (of np.ndarray an np.ndarray): models need no more packages than those
that they compute with.
"""

from typing import TYPE_CHECKING

from jax import Array

if TYPE_CHECKING:
  from jaxtyping import (
    Bool,
    Complex64,
    Complex128,
    Float,
    Float32,
    Float64,
    Int,
    Int16,
    Int64,
    Key,
    Num,
    PRNGKeyArray,
    Shaped,
    UInt8,
  )
else:

  class _Named:
    def __class_getitem__(cls, given):
      return given[0]

  Bool = Complex64 = Complex128 = Float = Float32 = Float64 = Int = Int16 = _Named
  Int64 = Key = Num = Shaped = UInt8 = _Named
  PRNGKeyArray = Array

__all__ = (
  'Array',
  'Bool',
  'Complex128',
  'Complex64',
  'Float',
  'Float32',
  'Float64',
  'Int',
  'Int16',
  'Int64',
  'Key',
  'Num',
  'PRNGKeyArray',
  'Shaped',
  'UInt8',
)
