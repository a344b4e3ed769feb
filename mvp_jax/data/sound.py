"""A stretch of sound at the rate that is asked for, out of what is stored."""

from fractions import Fraction

import numpy as np
from scipy.signal import firwin, resample_poly

_SIDE = 32  # samples of the lower rate on either side that the filter sees


def waveform(corpus, trial, start, count, rate, stream='audio'):
  """Reads sound of a trial and brings it to a rate.

  Args:
    corpus: data.trials.PreparedCorpus.
    trial: its Trial, with the stream.
    start: seconds since the onset; may be negative, as in a clip that ends early.
    count: samples wanted.
    rate: whole number, Hz.

  Returns:
    (float32 [count], full scale 1, 0 where nothing was recorded; bool [count]: where
    something was).
  """
  stored = trial.streams[stream].rate
  ratio = Fraction(rate) / Fraction(stored)
  up, down = ratio.numerator, ratio.denominator
  first = round(start * stored)
  if up == down:
    values, valid = corpus.samples(trial, first, first + count, stream)
    return values.astype(np.float32) / 32768, valid
  # Whole periods before the first sample, lest the new ones lie between the wanted.
  periods = -(-_SIDE * max(1, round(down / up)) // down)
  span = -(-count * down // up) + periods * down
  values, valid = corpus.samples(trial, first - periods * down, first + span, stream)
  # 0.94 of the band is kept, what would fold back is 80 dB down.
  edge = max(up, down)
  taps = firwin(2 * _SIDE * edge + 1, 0.94 / edge, window=('kaiser', 8.0))
  new = resample_poly(values.astype(np.float32) / 32768, up, down, window=taps)
  new = new[periods * up :][:count].astype(np.float32)
  place = periods * down + np.arange(count) * down // up
  return np.where(valid[place], new, np.float32(0)), valid[place]
