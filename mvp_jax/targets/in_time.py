"""What is rated in time: the annotation of trials, at the label times of a target."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from scipy.ndimage import uniform_filter1d

from mvp_jax.array_types import Float
from mvp_jax.data.spans import span_count, span_means
from mvp_jax.data.trial import Trial
from mvp_jax.errors import InputError

Course: TypeAlias = Float[np.ndarray, 'L ratings']


class InTime(Protocol):
  """What is read here of a target, and by its baselines."""

  @property
  def ratings(self) -> tuple[str, ...]: ...  # channels of the stream
  @property
  def stream(self) -> str: ...  # that holds the annotation
  @property
  def rate(self) -> float: ...  # Hz, of its labels
  @property
  def lag(self) -> float: ...  # seconds by which they follow what they are of
  @property
  def scale(self) -> tuple[float, ...]: ...  # least and most of a rating, or ()
  @property
  def smooth(self) -> tuple[float, ...]: ...  # seconds, of each rating or of all


def length(target: InTime, trial: Trial) -> int:
  """How many labels hold all of a trial's annotation."""
  series = trial.series.get(target.stream)
  return 0 if series is None else span_count(series, target.rate)


def annotated(target: InTime, trial: Trial, seconds: float | None = None) -> Course:
  """What is rated at each label time, float64, NaN where nothing is.

  L = round(seconds * rate); without `seconds` as many as hold all of the annotation.
  """
  series = trial.series.get(target.stream)
  count = length(target, trial) if seconds is None else round(seconds * target.rate)
  if series is None:
    return np.full((count, len(target.ratings)), np.nan)
  return span_means(series, target.rate, count, target.ratings)


def check_annotation(target: InTime, trials: Sequence[Trial]) -> None:
  """Raises InputError if a trial has no annotation, or one off the scale."""
  for trial in trials:
    series = trial.series.get(target.stream)
    if series is None:
      raise InputError(
        f'target.stream: {trial.trial_id} has no annotation {target.stream!r}, only '
        f'{", ".join(trial.series) or "nothing"}; name its stream, or leave the '
        'trial out'
      )
    for name in target.ratings:
      if name not in series.channels:
        raise InputError(
          f'target.ratings: {trial.trial_id} has no rating {name!r} in its stream '
          f'{target.stream!r}; there are {", ".join(series.channels)}'
        )
      column = series.channels.index(name)
      given = series.values[series.valid[:, column], column]
      if not len(given):
        raise InputError(
          f'target.ratings: {trial.trial_id} has no annotated moment of {name!r}; '
          'leave the trial out'
        )
      check_scale(target, trial, name, given)


def check_scale(
  target: InTime, trial: Trial, name: str, given: Float[np.ndarray, ' n']
) -> None:
  """Raises InputError if ratings of a trial are off the scale of the target."""
  if not target.scale:
    return
  low, high = target.scale
  off = given[(given < low) | (given > high)]
  if len(off):
    raise InputError(
      f'target.scale: {name} of {trial.trial_id} is {off[0]:g}, which is not from '
      f"{low:g} to {high:g}; set config.target.scale to the ratings' own, or to () if "
      'there is none'
    )


def check_settings(target: InTime) -> None:
  """Raises InputError if a target has settings that none in time can have."""
  if not 0 < target.rate < np.inf:
    raise InputError(f'rate is {target.rate}, must be above 0 Hz')
  if not 0 <= target.lag < np.inf:
    raise InputError(f'lag is {target.lag}, must be at least 0 seconds')
  if target.scale and not (
    len(target.scale) == 2 and -np.inf < target.scale[0] < target.scale[1] < np.inf
  ):
    raise InputError(
      f'scale is {target.scale}, must be the least and the most of a rating, or ()'
    )
  if len(target.smooth) not in {0, 1, len(target.ratings)}:
    raise InputError(
      f'smooth has {len(target.smooth)} numbers for {len(target.ratings)} ratings; '
      'give one for each, or one for all'
    )
  if any(not 0 <= x < np.inf for x in target.smooth):
    raise InputError(f'smooth is {target.smooth}, must be at least 0 seconds')


def mean_ratings(
  target: InTime, trials: Sequence[Trial]
) -> Float[np.ndarray, 'trials ratings']:
  """The mean rating of each trial, 0 where it has none."""
  courses = [annotated(target, trial) for trial in trials]
  there = [np.isfinite(x) for x in courses]
  return np.array(
    [
      np.where(valid, x, 0).sum(0) / np.maximum(valid.sum(0), 1)
      for x, valid in zip(courses, there, strict=True)
    ]
  )


def check_varied(target: InTime, fold: int, train: Sequence[Trial]) -> None:
  """Raises InputError if a rating never changes among the training trials."""
  given = [annotated(target, trial) for trial in train]
  for i, name in enumerate(target.ratings):
    values = np.concatenate([x[np.isfinite(x[:, i]), i] for x in given])
    check_values(fold, name, values, len(train))


def check_values(
  fold: int, name: str, values: Float[np.ndarray, ' n'], trials: int
) -> None:
  """Raises InputError if all values that a fold trains on are the same."""
  if not len(values) or np.ptp(values) == 0:
    what = f'always {values[0]:g}' if len(values) else 'never annotated'
    raise InputError(
      f'evaluation.folds: fold {fold} would learn nothing, {name} is {what} in all '
      f'{trials} training trials; use other folds, or leave the rating out'
    )


def smoothed(target: InTime, predicted: Course) -> Course:
  """Predictions, averaged over the seconds of `target.smooth`."""
  if not any(target.smooth) or not len(predicted):
    return predicted
  many = len(target.ratings)
  seconds = target.smooth * (many if len(target.smooth) == 1 else 1)
  return np.stack(
    [
      _means_around(x, max(round(s * target.rate), 1))
      for x, s in zip(predicted.T, seconds, strict=True)
    ],
    axis=-1,
  )


def _means_around(x: Float[np.ndarray, ' L'], count: int) -> Float[np.ndarray, ' L']:
  """Means of `count` values around each.

  Of an even number the outermost on both sides count half: nothing gets late by it.
  """
  found = uniform_filter1d(x, count, mode='nearest')
  if count % 2 == 0:
    found = (found + uniform_filter1d(x, count, mode='nearest', origin=-1)) / 2
  return found


def finish(target: InTime) -> str:
  """A sentence on what is done with predictions: clipped, smoothed."""
  clipped, over = 'not clipped', 'not smoothed'
  if target.scale:
    clipped = f'clipped to {target.scale[0]:g} to {target.scale[1]:g}'
  if any(target.smooth):
    spans = ' and '.join(f'{x:g}' for x in target.smooth)
    of = f' ({", ".join(target.ratings)})' if len(target.smooth) > 1 else ''
    over = f'smoothed: means over {spans} s{of}'
  return f'Predictions are {clipped}, and {over}.'
