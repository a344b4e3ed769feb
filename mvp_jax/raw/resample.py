"""Brings a signal to the model's rate."""

import fractions

import numpy as np

from mvp_jax.raw.signals import bridge_gaps


def resample(values, times, rate, length, start=0.0):
  """Samples a signal anew at `start`, `start` + 1 / `rate`, ...

  Args:
    values: float [samples], NaN where there is no measurement.
    times: float [samples], seconds, rising.
    rate: new rate in Hz.
    length: number of new samples.
    start: time of the first one in seconds.

  Returns:
    (float32 [length] with 0 where invalid, bool [length] validity).
  """
  from scipy.signal import resample_poly

  step = float(np.median(np.diff(times)))
  grid = times[0] + step * np.arange(round((times[-1] - times[0]) / step) + 1)
  finite = np.isfinite(values)
  values, times = values[finite], times[finite]
  after = np.clip(np.searchsorted(times, grid), 1, len(times) - 1)
  near = np.minimum(abs(grid - times[after - 1]), abs(grid - times[after]))
  even = np.where(near > 0.75 * step, np.nan, np.interp(grid, times, values))
  even, good = bridge_gaps(even, 1 / step)
  even = np.interp(grid, grid[good], even[good]) if good.any() else even
  ratio = fractions.Fraction(rate * step).limit_denominator(1000)
  if ratio < 1:
    fine = resample_poly(even, ratio.numerator, ratio.denominator, padtype='line')
    fine_times = grid[0] + np.arange(len(fine)) * step / float(ratio)
  else:
    fine, fine_times = even, grid
  new = start + np.arange(length) / rate
  place = np.round((new - grid[0]) / step).astype(int)
  valid = (place >= 0) & (place < len(grid)) & good[np.clip(place, 0, len(grid) - 1)]
  return (np.where(valid, np.interp(new, fine_times, fine), 0).astype(np.float32),
          valid)
