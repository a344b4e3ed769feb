"""Low-level descriptors: what is measured of series and voices, from moment to moment.

They are the mean of each channel in equal spans of time and, where a channel has
several samples a span, the logarithm of its deviation within. Simple regression reads
them, and so does the modality `descriptors`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from mvp_jax.array_types import Float
from mvp_jax.data.spans import span_deviations, span_means
from mvp_jax.data.trial import Series

_MANY = 4  # samples a span, of which a deviation tells something
_LEAST = 1e-6  # deviation whose logarithm is taken
STEADY = 1e-6  # deviation over the mean of what does not change

Name: TypeAlias = tuple[str, str, str]  # stream, channel and kind
Layout: TypeAlias = tuple[str, Sequence[str], float | None]  # stream, channels and Hz
Kind: TypeAlias = Callable[[Series, float, int], Float[np.ndarray, 'L channels']]
Values: TypeAlias = Float[np.ndarray, 'L D']


def _log_deviations(series: Series, rate: float, count: int) -> Values:
  return np.log(np.maximum(span_deviations(series, rate, count), _LEAST))


def _kinds(own: float | None, rate: float) -> dict[str, Kind]:
  """What is measured of a series of `own` Hz, or at times that are not regular."""
  kinds: dict[str, Kind] = {'mean': span_means}
  if own is not None and own >= _MANY * rate:
    kinds['log deviation'] = _log_deviations
  return kinds


def descriptor_names(layouts: Iterable[Layout], rate: float) -> list[Name]:
  """Those of series, each once, at `rate` Hz."""
  found = {
    (stream, channel, kind): None
    for stream, channels, own in layouts
    for kind in _kinds(own, rate)
    for channel in channels
  }
  return list(found)


def descriptors(
  series: Mapping[str, Series], rate: float, count: int, names: Sequence[Name]
) -> Values:
  """Of `count` spans of 1 / `rate` seconds from time zero, NaN where nothing is known.

  Args:
    series: by the names of their streams.
    names: of `descriptor_names`.
  """
  own: dict[Name, np.ndarray] = {}
  for stream in dict.fromkeys(name[0] for name in names if name[0] in series):
    one = series[stream]
    for kind, work_out in _kinds(one.rate, rate).items():
      values = work_out(one, rate, count)
      own |= {
        (stream, channel, kind): x
        for channel, x in zip(one.channels, values.T, strict=True)
      }
  nothing = np.full(count, np.nan)
  found = [own.get(name, nothing) for name in names]
  return np.stack(found, axis=-1) if found else np.zeros((count, 0))


def within(x: Values) -> Values:
  """Descriptors of a trial, less their means over it and over their deviations.

  People and microphones differ. What does not change is 0.
  """
  there = np.isfinite(x)
  number = np.maximum(there.sum(0), 1)
  mean = np.where(there, x, 0).sum(0) / number
  spread = np.sqrt(np.where(there, (x - mean) ** 2, 0).sum(0) / number)
  steady = spread <= STEADY * (1 + abs(mean))
  return (x - mean) / np.where(steady, np.inf, spread)
