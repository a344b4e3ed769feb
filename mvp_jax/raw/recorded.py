"""What readers of signal files give: named channels with their rate, times and unit."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mvp_jax.outcomes import Dropped


@dataclasses.dataclass(frozen=True, eq=False)
class OnDemand:
  """An array [`length`] that `read` gives when it is asked for, as by np.asarray."""

  length: int
  read: Callable[[], np.ndarray]

  def __len__(self):
    return self.length

  def __array__(self, dtype=None, copy=None):
    values = self.read()
    return values if dtype is None else values.astype(dtype, copy=False)


class Recorded(NamedTuple):
  """One column of a file.

  `values` float64 [time] or OnDemand, NaN = no number; `rate` in Hz, None where the
  file does not say; `start` in seconds on the file's clock; `unit` as the file says, or
  ''. `cells` are the column's texts where they are no numbers (a clock may be), `times`
  float64 [time] in seconds where the file knows when each sample was taken. `problem`
  says why it cannot be used at all, `notes` what was found out about it.
  """

  values: Any
  rate: float | None = None
  start: float = 0.0
  unit: str = ''
  cells: Any = None
  times: np.ndarray | None = None
  problem: str = ''
  notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class SignalFile:
  """The channels of a file: {name: Recorded}.

  `began`: Unix time of its beginning, or None. `aliases`: {other name: [names]}, parts
  of names by which a channel may be asked for, if only one has it. `uncounted`: why its
  rows, where they have no clock, cannot be counted as samples, or ''. `places`: of each
  row among all that a counter shows, int [row], or None where none is missing.
  """

  channels: dict
  began: float | None = None
  aliases: dict = dataclasses.field(default_factory=dict)
  uncounted: str = ''
  places: np.ndarray | None = None


def distinct(names, columns):
  """{name: column}, with numbers where several have one name: 'ECG#1', 'ECG#2'."""
  found, seen = {}, {}
  for name, column in zip(names, columns, strict=True):
    seen[name] = seen.get(name, 0) + 1
    found[f'{name}#{seen[name]}' if names.count(name) > 1 else name] = column
  return found


def broken(path, text):
  """A Dropped, broken_signals."""
  return Dropped('broken_signals', f'{path}: {text}')
