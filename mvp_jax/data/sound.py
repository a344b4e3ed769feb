"""A stretch of sound at the rate that is asked for, out of what is stored."""

import functools
from fractions import Fraction

import numpy as np
from scipy.signal import firwin, resample_poly

_BLOCK = 1 << 20  # samples that are worked on at a time
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
  first, most = round(start * stored), _BLOCK // up * up
  parts = []
  for done in range(0, max(1, count), most):
    place = first + done * down // up
    size = min(most, count - done)
    parts.append(_piece(corpus, trial, stream, place, size, up, down))
  values, valid = zip(*parts, strict=True)
  return np.concatenate(values), np.concatenate(valid)


def _piece(corpus, trial, stream, first, count, up, down):
  """As `waveform`, from the stored sample `first` on."""
  if up == down:
    values, valid = corpus.samples(trial, first, first + count, stream)
    return values.astype(np.float32) / 32768, valid
  # Whole periods before the first sample, lest the new ones lie between the wanted.
  periods = -(-_SIDE * max(1, round(down / up)) // down)
  span = -(-count * down // up) + periods * down
  values, valid = corpus.samples(trial, first - periods * down, first + span, stream)
  values = values.astype(np.float32) / 32768
  new = resample_poly(values, up, down, window=_low_pass(max(up, down)))
  new = new[periods * up :][:count].astype(np.float32)
  place = periods * down + np.arange(count) * down // up
  return np.where(valid[place], new, np.float32(0)), valid[place]


@functools.cache
def _low_pass(edge):
  """Keeps 0.94 of the lower band; what would fold back is 80 dB down."""
  return firwin(2 * _SIDE * edge + 1, 0.94 / edge, window=('kaiser', 8.0))
