"""Brings a signal of any rate, with drifting clocks and gaps, to the model's rate."""

import numpy as np
from scipy.signal import cheby2, sosfiltfilt

from mvp_jax.errors import InputError
from mvp_jax.raw.signals import bridge_gaps

# Of the anti-alias filter, which runs both ways and so does this twice.
_ATTENUATION = 40.0  # decibel from half the new rate on
_ORDER = 10


def resample(values, times, rate, length, start=0.0):
  """Samples a signal anew at `start`, `start` + 1 / `rate`, ...

  The times of the samples may be uneven: they go onto an even grid of their usual
  distance first. Then, if the new rate is lower, all from half of it on is
  filtered out without delay, and the rest is interpolated. Channels of different
  rates come to one when each is sampled at the same new times.

  Args:
    values: float [samples], NaN where there is no measurement.
    times: float [samples], seconds, rising.
    rate: new rate in Hz.
    length: number of new samples.
    start: time of the first one in seconds.

  Returns:
    (float32 [length] with 0 where invalid, bool [length] validity): gaps as in
    `signals.bridge_gaps`, be it NaN or a jump in time; nothing is invented before
    the first sample and after the last.

  Raises:
    InputError: fewer than two samples, or times that do not rise.
  """
  values, times = np.asarray(values, np.float64), np.asarray(times, np.float64)
  if values.shape != times.shape or values.ndim != 1 or len(values) < 2:
    raise InputError(
      f'signal: {values.shape} values at {times.shape} times; give at '
      'least two, and as many of both'
    )
  if not (rate > 0 and np.isfinite(rate)):
    raise InputError(f'signal: a rate of {rate} Hz; give one above 0')
  steps = np.diff(times)
  if not (np.isfinite(times).all() and (steps > 0).all()):
    raise InputError(
      'signal: its times do not rise; sort its rows and drop those that come twice'
    )
  step = np.median(steps)
  grid = times[0] + step * np.arange(round((times[-1] - times[0]) / step) + 1)
  even, good = _on_grid(values, times, grid, step)
  if not good.any():
    return np.zeros(length, np.float32), np.zeros(length, bool)
  # What the filter must not see as a jump: gaps are filled, and masked later.
  even = np.interp(grid, grid[good], even[good])
  if rate * step < 1:
    even = _low_pass(even, rate * step)
  new = start + np.arange(length) / rate
  valid = _within(new, grid, good, step)
  filled = np.interp(new, grid, even) if len(grid) < 4 else _cubic(new, grid, even)
  return np.where(valid, filled, 0).astype(np.float32), valid


def _on_grid(values, times, grid, step):
  """Values at even times and where they are good: measured, or bridged."""
  finite = np.isfinite(values)
  if not finite.any():
    return np.zeros(len(grid)), np.zeros(len(grid), bool)
  even = np.interp(grid, times[finite], values[finite])
  near = times[finite]
  after = np.clip(np.searchsorted(near, grid), 1, max(1, len(near) - 1))
  if len(near) > 1:
    distance = np.minimum(abs(grid - near[after - 1]), abs(near[after] - grid))
  else:
    distance = abs(grid - near[0])
  # A clock may jitter by some of a step; further off there is no sample.
  even[distance > 0.75 * step] = np.nan
  return bridge_gaps(even, 1 / step)


def _low_pass(values, ratio):
  sos = cheby2(_ORDER, _ATTENUATION, ratio, output='sos')
  # The end is mirrored far enough for the filter to have settled.
  padding = min(len(values) - 1, round(20 / ratio))
  return sosfiltfilt(sos, values, padlen=padding)


def _within(new, grid, good, step):
  """Whether new times lie between good samples (or half a step beside one)."""
  place = (new - grid[0]) / step
  left = np.floor(place + 1e-6).astype(int)
  right = np.ceil(place - 1e-6).astype(int)
  inside = (place > -0.5) & (place < len(grid) - 0.5)
  left, right = (np.clip(side, 0, len(grid) - 1) for side in (left, right))
  return inside & good[left] & good[right]


def _cubic(new, grid, even):
  """Catmull-Rom interpolation; the ends hold their value."""
  place = np.clip((new - grid[0]) / (grid[1] - grid[0]), 0, len(grid) - 1)
  left = np.minimum(place.astype(int), len(grid) - 2)
  t = place - left
  before, one, two, after = (
    even[np.clip(left + shift, 0, len(grid) - 1)] for shift in (-1, 0, 1, 2)
  )
  return one + 0.5 * t * (
    two
    - before
    + t
    * (2 * before - 5 * one + 4 * two - after + t * (3 * (one - two) + after - before))
  )
