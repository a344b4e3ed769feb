"""Cleans body signals: resistance to conductance, gaps, unusable channels."""

import numpy as np

# The limits of all corpora: what is missing for longer is masked, and a channel of
# which more is missing is masked over the whole trial.
MAX_BRIDGED_SECONDS = 1.0
MAX_UNUSABLE_SHARE = 0.2
# A skin conductance above this (a resistance below 1 kilo-ohm) is a shorted
# electrode, and a single such sample would drown the rest of the trial.
MAX_MICROSIEMENS = 1000.0


def conductance(ohm):
  """Skin resistance in ohm as conductance in microsiemens, float64 of the same shape.

  NaN where the resistance is not a finite number above zero or the conductance is above
  `MAX_MICROSIEMENS`.
  """
  ohm = np.asarray(ohm, np.float64)
  good = np.isfinite(ohm) & (ohm >= 1e6 / MAX_MICROSIEMENS)
  return np.where(good, 1e6 / np.where(good, ohm, 1.0), np.nan)


def bridge_gaps(values, rate):
  """Fills short gaps of a signal, float [time], linearly and marks long ones.

  A gap is a run of samples that are no finite float32. Gaps of up to a second
  between two good samples are filled; longer ones, and those at either end, stay
  invalid.

  Returns:
    (float32 [time] with 0 where invalid, bool [time] validity).
  """
  good = abs(values) <= np.finfo(np.float32).max
  filled = np.zeros(len(values), np.float32)
  if not good.any():
    return filled, good
  where = np.flatnonzero(good)
  after = np.searchsorted(where, np.arange(len(values)))
  inside = (after > 0) & (after < len(where))
  gap = where[np.minimum(after, len(where) - 1)] - where[after - 1] - 1
  valid = good | (inside & (gap <= MAX_BRIDGED_SECONDS * rate))
  filled[valid] = np.interp(np.flatnonzero(valid), where, values[where])
  return filled, valid


def unusable(values, what='no measurement'):
  """Says in a few words why a channel can't be used over a trial, or ''.

  `values` float [time] are NaN where it can't be used; `what` these samples are.
  """
  if not len(values):
    return 'it has no sample there'
  good = np.isfinite(values)
  bad_share = 1 - good.mean()
  if bad_share > MAX_UNUSABLE_SHARE:
    return f'{bad_share:.0%} of its samples are {what}'
  if np.ptp(values[good]) == 0:
    return f'flat (always {values[good][0]:g})'
  return ''
