"""Types of arrays with the names of their dimensions, for readers and type checkers.

x: Float[Array, 'B N D'] is jaxtyping's to mypy. Nothing looks at it at run time, where
it is an Array: models need no more packages than those that they compute with.
"""

from typing import TYPE_CHECKING

from jax import Array

if TYPE_CHECKING:
  from jaxtyping import Bool, Float, Int, Key, Num, PRNGKeyArray, Shaped
else:

  class _Named:
    def __class_getitem__(cls, dimensions):
      return Array

  Bool = Float = Int = Key = Num = Shaped = _Named
  PRNGKeyArray = Array

__all__ = ('Array', 'Bool', 'Float', 'Int', 'Key', 'Num', 'PRNGKeyArray', 'Shaped')
