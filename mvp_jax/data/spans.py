"""A series in equal spans of time, as labels and features of a target in time are."""

import math

import numpy as np

# Samples so little before a span, in spans, are in it: times are float32.
_EARLY = 1e-3


def span_count(series, rate) -> int:
  """How many spans of 1 / `rate` seconds hold all of a series, or another stream."""
  spans = series.seconds * rate
  if series.rate is None:  # lasts to the time of its last row
    return math.floor(spans + _EARLY) + 1 if len(series.values) else 0
  return math.ceil(spans - _EARLY)


def span_means(series, rate, count, columns=None) -> np.ndarray:
  """Means of the valid samples in spans of 1 / `rate` seconds, from time zero.

  Where samples are fewer than spans, each lasts until the next one is due.

  Args:
    series: data.trial.Series.
    rate: Hz.
    count: how many spans.
    columns: names of channels; None = all.

  Returns:
    float64 [count, columns], NaN where there is no valid sample.
  """
  values, place = _placed(series, rate, count, columns)
  number, total = _totals(values, place, count)
  means = np.divide(total, number, np.full_like(total, np.nan), where=number > 0)
  clock = np.asarray(series.clock, float)
  period = _period(series)
  if len(clock) and period * rate > 1:
    times = (np.arange(count) + 0.5) / rate
    last = np.searchsorted(clock, times, 'right') - 1
    # Times that are not regular may be a little further apart than the median.
    lasting = (last >= 0) & (times - clock[last] < 1.5 * period)
    lasting &= times < series.seconds
    empty = lasting & (np.bincount(place[place >= 0], minlength=count)[:count] == 0)
    means[empty] = values[last[empty]]
  return means


def span_deviations(series, rate, count, columns=None) -> np.ndarray:
  """Deviations within the spans of `span_means`: float64 [count, columns]."""
  values, place = _placed(series, rate, count, columns)
  number, total = _totals(values, place, count)
  mean = total / np.maximum(number, 1)
  _, squares = _totals((values - mean[place]) ** 2, place, count)
  squares = np.divide(squares, number, np.full_like(total, np.nan), where=number > 0)
  return np.sqrt(squares)


def _placed(series, rate, count, columns):
  """Values, NaN where not valid, and the span of each: -1 if of none."""
  names = series.channels if columns is None else columns
  chosen = [series.channels.index(name) for name in names]
  values = np.where(series.valid, series.values, np.nan)[:, chosen].astype(float)
  place = np.floor(np.asarray(series.clock, float) * rate + _EARLY).astype(int)
  return values, np.where((place >= 0) & (place < count), place, -1)


def _totals(values, place, count):
  """Numbers and sums of the valid samples of each span: [count, columns] each."""
  there = np.isfinite(values) & (place >= 0)[:, None]
  found = np.zeros((2, count, values.shape[1]))
  for i, here in enumerate(there.T):
    found[0, :, i] = np.bincount(place[here], minlength=count)
    found[1, :, i] = np.bincount(place[here], values[here, i], count)
  return found


def _period(series):
  """Seconds between samples; of an irregular series the median."""
  if series.rate is not None:
    return 1 / series.rate
  return float(np.median(np.diff(series.times))) if len(series.times) > 1 else 0.0
