"""Which samples were lost, by a column that counts them."""

import numpy as np

_LEAST = 100  # rows, for a column not to count them by chance
_BY_ONE = 0.9  # of its steps
_LEAST_BITS = 4


def find_counter(columns):
  """The first of some columns (float64 [row]) that counts the rows, or None."""
  for values in columns:
    if len(values) >= _LEAST and np.mean(np.diff(values) == 1) >= _BY_ONE:
      return values
  return None


def places(counter, wraps=False):
  """The place of each row among all that were counted: int [row], or None.

  None where nothing was lost, or the counter does not tell.

  Args:
    counter: float64 [row], NaN = no number.
    wraps: whether it begins anew after its highest value, as one of 4 bits or more is
      known to. Else one that falls back to its lowest is of several parts, which it
      counts each on its own.

  Raises:
    ValueError: it runs backwards.
  """
  rows = np.flatnonzero(np.isfinite(counter))
  if len(rows) < 2:
    return None
  lost = np.diff(counter[rows]) - np.diff(rows)
  top = counter[rows].max() + 1
  bits = np.log2(top) if top > 1 else 0
  whole = bits >= _LEAST_BITS and bits == round(bits) and not counter[rows].min()
  wraps = (wraps and top < len(counter) / 2) or (whole and (lost < 0).any())
  if wraps and top > 1:
    lost %= top
    lost[lost > top / 2] -= top
  back = rows[1:][lost < 0]
  if len(back):
    if not wraps and (counter[back] == counter[rows].min()).all():
      return None
    raise ValueError(
      f'its counter runs backwards at sample {back[0] + 1}; are rows there twice?'
    )
  if not lost.any() or lost.sum() > len(counter):
    return None
  before = np.zeros(len(counter), int)
  before[rows[1:]] = lost
  return np.arange(len(counter)) + np.cumsum(before)
