"""Whether one signal is another to the last digits: shifted, scaled, turned over, cut.

A smooth signal has few values that could have been otherwise, and so little `evidence`.
Yet no two recordings have the same noise. The bends of one signal, which are what is
finest in it, are fitted by those of the other, and nothing but rounding may be left.

The limits are measured on 37 people's skin conductance: 43,512 pairs of windows of 10
to 60 s that are no copies, each where it fits best; as recorded, at 4 Hz in steps of
.001, and as slow drifts of 1 to 30 times the usual steepness in steps of .02.
"""

import numpy as np
import scipy.fft
import scipy.ndimage

# Of the variance, at most, what a fit may leave. Copies that are later by a fraction
# of a sample leave up to .00002. Others leave .0040 or more as recorded, .012 in steps
# and .0010 as drifts (10 levels; the next .0021).
LEFT = 2e-4
# Hundredths of the largest bend that occur, seen four times a second. Drifts of two
# people that fit to the bit have up to 6.
LEVELS = 10
# At any other place at least this is left, or it is a tone or a pattern that repeats.
# Copies leave .11 or more there.
_ELSEWHERE = 0.03
_SCREEN = 0.1  # is left at most at a sixteenth of a second (copies: .032)
_RATE = 16.0  # Hz, of the first look
_BEND = 0.125  # seconds between the three values that make a bend
_EDGE = 1.0  # seconds at both ends, where filters have not settled
LEAST = 5.0  # seconds in common, without the edges
_APART = 0.5  # seconds from another place, at least
_SECOND = 0.25  # between the samples of the slowest sensors
_ROUNDING = 1e-6  # of its largest value: a smaller bend is rounding
_TINY = 1e-30


def step(rate):
  """Every how many samples the first look takes one."""
  return max(1, round(rate / _RATE))


def bends(course, rate):
  """Second differences of a smoothed course, float [time, k], without its edges."""
  course = np.asarray(course, np.float64)
  width, lag = round(2 * _BEND * rate), max(1, round(_BEND * rate))
  window = np.hanning(width + 2)[1:-1]
  edge = max(round(_EDGE * rate), width)
  if len(course) <= 2 * (edge + lag):
    return np.zeros((0, course.shape[1]), np.float32)
  smooth = scipy.ndimage.convolve1d(course, window / window.sum(), axis=0)
  middle = smooth[edge:-edge]
  bent = middle[2 * lag :] - 2 * middle[lag:-lag] + middle[: -2 * lag]
  still = bent.std(0) <= _ROUNDING * abs(course).max(0)
  return np.where(still, 0, bent).astype(np.float32)


def alike(first, second, late, rate):
  """Whether it is worth a closer look that the second is the first.

  Args:
    first, second: every `step`th of their `bends`.
    late: seconds by which the second is later.
  """
  a, b = _overlap(first, second, round(late * rate))
  if len(a) < LEAST * rate:
    return False
  return bool((_fit(a, b)[0] < _SCREEN).any())


def is_same(first, second, late, rate):
  """Whether two courses are one to the last digits, and by how many seconds later.

  All channels with enough levels must be, and one at least; so that one that everybody
  has, such as a trigger, makes no copy.

  Args:
    first, second: their `bends`.
    late: as in `alike`, to an eighth of a second.
  """
  late = round(late * rate)
  for _ in range(4):
    a, b = _overlap(first, second, late)
    if len(a) < LEAST * rate:
      return False, late / rate
    left, early = _fit(a, b)
    more = round(float(np.clip(early[left.argmin()], -_BEND * rate, _BEND * rate)))
    if not more:
      break
    late -= more
  telling = np.maximum(levels(a, rate), levels(b, rate)) >= LEVELS
  if not telling.any() or (left[telling] > LEFT).any():
    return False, late / rate
  every = step(rate)
  a, b = first[::every, telling], second[::every, telling]
  return _fits_once(a, b, late / every, rate / every), late / rate


def levels(bent, rate):
  """How many different bends each channel has: int [k]."""
  size = abs(bent).max(0, initial=0) + _TINY
  whole = np.round(100 * bent / size).astype(int)
  every = max(1, round(_SECOND * rate))
  # Between the samples of a sensor there is only what was interpolated.
  starts = range(0, every, max(1, every // 8))
  return np.array(
    [min(len(np.unique(x[start::every])) for start in starts) for x in whole.T]
  )


def _overlap(first, second, late):
  a, b = first[max(0, -late) :], second[max(0, late) :]
  count = min(len(a), len(b))
  return a[:count], b[:count]


def _fit(a, b):
  """Share of b's variance that a leaves, and by how many samples b is early: [k] both.

  The slope of a stands for the part of a sample by which b is shifted.
  """
  slope, a, b = (a[2:] - a[:-2]) / 2, a[1:-1], b[1:-1]
  aa, as_, ss = (
    (x * y).sum(0, dtype=float) for x, y in ((a, a), (a, slope), (slope, slope))
  )
  ab, sb = (a * b).sum(0, dtype=float), (slope * b).sum(0, dtype=float)
  rest = aa * ss - as_**2 + _TINY
  scale, moved = (ab * ss - sb * as_) / rest, (sb * aa - ab * as_) / rest
  residual = ((b - scale * a - moved * slope) ** 2).sum(0, dtype=float)
  whole = (b**2).sum(0, dtype=float)
  left = np.where((whole > _TINY) & (aa > _TINY), residual / (whole + _TINY), 1)
  return left, moved / np.where(scale == 0, 1, scale)


def _fits_once(a, b, late, rate):
  """Whether bends fit nowhere else, but where they are known to."""
  size = scipy.fft.next_fast_len(len(a) + len(b), real=True)
  spectra = [scipy.fft.rfft(x, size, axis=0) for x in (a, b)]
  product = scipy.fft.irfft(spectra[0].conj() * spectra[1], size, axis=0)
  lags = np.arange(size)
  lags = np.where(lags < len(b), lags, lags - size)
  start, stop = np.maximum(0, -lags), np.minimum(len(a), len(b) - lags)
  enough = max(LEAST * rate, min(len(a), len(b)) / 2)
  there = (stop - start >= enough) & (abs(lags - late) > _APART * rate)
  lags, start, stop = lags[there], start[there], stop[there]
  sums = [
    np.cumsum(np.pad(x, ((1, 0), (0, 0))) ** 2, axis=0, dtype=float) for x in (a, b)
  ]
  power = (sums[0][stop] - sums[0][start]) * (
    sums[1][stop + lags] - sums[1][start + lags]
  )
  # Where next to nothing happens, nothing fits.
  power += 1e-6 * sums[0][-1] * sums[1][-1]
  fits = (product[there] ** 2 / (power + _TINY)).mean(1)
  return bool(fits.max(initial=0) <= 1 - _ELSEWHERE)
