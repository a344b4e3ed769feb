"""What arrays are divided by, fitted on training trials: deviations, and means."""

import numpy as np

from mvp_jax.errors import InputError


def rescaled(x, scale):
  """An array over a scale; of a pair, mean and deviation, minus the mean first.

  Each is float32, of the last axes of `x`.
  """
  if isinstance(scale, tuple):
    mean, scale = scale
    x = x - _aligned(mean, x)
  return x / _aligned(scale, x)


def _aligned(scale, x):
  return scale.reshape((1,) * (x.ndim - scale.ndim) + scale.shape)


def token_squares(examples, name):
  """What each trial adds to `pooled_scale`, which takes any choice of them.

  Of TrialExamples without scales and one of their `scaled` arrays of tokens: squares
  around the mean of a trial, float64 [trials, D], and numbers of valid tokens [trials].
  """
  modality, _, array = name.partition('/')
  squares, counts = [], []
  for index in range(len(examples)):
    found = examples.part(modality, index)
    tokens = found[array][found['valid']].astype(np.float64)
    mean = tokens.mean(0) if len(tokens) else 0
    squares.append(((tokens - mean) ** 2).sum(0))
    counts.append(len(tokens))
  return np.array(squares), np.array(counts)


def pooled_scale(squares, counts):
  """The deviation of tokens around their trial's mean: float32 [D].

  `squares` and `counts` are of `token_squares`, of training trials only.
  """
  if not counts.sum():
    raise InputError(
      'the training trials have no frame with a face, or no valid signal; look at '
      'account.csv'
    )
  return np.maximum(np.sqrt(squares.sum(0) / counts.sum()), 1e-6).astype(np.float32)


def moments(values, name, pooled=False):
  """Mean and deviation of each number over trials: two float32 [...].

  Args:
    values: float [trials, ...], of training trials only, NaN where not known.
    name: of the array, for the message.
    pooled: whether also over the first axis of each trial, of tokens.

  Of a number that no trial has the mean is NaN: it is then known of no other trial. Of
  one that is the same in all the deviation is infinite: it is then zero everywhere.

  Raises:
    InputError: no trial has any number.
  """
  values = np.asarray(values, np.float64)
  if pooled:
    values = values.reshape(-1, *values.shape[2:])
  known = np.isfinite(values)
  if not known.any():
    raise InputError(
      f'{name}: the training trials have none of it; look at account.csv'
    )
  count = known.sum(0)
  mean = np.where(known, values, 0).sum(0) / np.maximum(count, 1)
  squares = (np.where(known, values - mean, 0) ** 2).sum(0)
  deviation = np.sqrt(squares / np.maximum(count, 1))
  # Beyond the rounding of float32.
  varies = deviation > np.maximum(1e-6 * abs(mean), np.finfo(np.float32).tiny)
  return (
    np.where(count, mean, np.nan).astype(np.float32),
    np.where(varies, deviation, np.inf).astype(np.float32),
  )
