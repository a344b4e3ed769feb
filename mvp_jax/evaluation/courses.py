"""Predictions in time: the scores of each recording, and of shifted predictions."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mvp_jax.evaluation.results import in_order
from mvp_jax.targets import Target

_FURTHEST = 5.0  # seconds of shift
_STEP = 0.1  # seconds from one shift to the next, or one label where they are further
_LEAST = 0.5  # share of all moments that a shift leaves, or it is not tried
_ROUNDING = 1e-9  # scores that differ by less are equal
_BATCH = 256  # recordings at a time


@dataclasses.dataclass(frozen=True)
class Shifts:
  """The headline score of a model if its predictions were read at another time.

  `seconds` [n], rising, are how much later than the rating that they are compared with:
  where the score is best, predictions are late by so much. `scores` [n] are of all
  moments of all recordings that have such a prediction, NaN where there is none.
  `best` is the number of the best one, of equals the least shift.
  """

  seconds: np.ndarray
  scores: np.ndarray
  best: int

  @property
  def unshifted(self) -> float:
    """The score as it is reported."""
    return float(self.scores[np.argmin(abs(self.seconds))])


@dataclasses.dataclass(frozen=True)
class CourseResult:
  """One rating in time.

  `recordings` are (dataset, subject, trial), `moments` [recordings] how many are rated
  in each. `scores` are by model or baseline, models first: [recordings, scores], the
  mean over seeds, NaN where a recording has none. `shifts` are by model, without those
  that have no score at all.
  """

  definition: Target
  target: str
  recordings: tuple[tuple[str, int, int], ...]
  moments: tuple[int, ...]
  models: tuple[str, ...]
  scores: dict[str, np.ndarray]
  shifts: dict[str, Shifts]


def evaluate(predictions: Sequence, target: Target, main=None) -> list[CourseResult]:
  """Of every rating, in the order of the file; none unless the target is in time.

  Args:
    predictions: list of predictions.Track; each model has each trial.
    target: what is predicted.
    main: the model that comes first; None = the first one of the predictions.
  """
  if target.level != 'frame':
    return []
  found = []
  for name in dict.fromkeys(row.target for row in predictions):
    by_model: dict[str, list] = {}
    for row in predictions:
      if row.target == name:
        by_model.setdefault(row.model, []).append(row)
    models, baselines = in_order(by_model, target, main)
    length = {row.place: len(row.times) for row in next(iter(by_model.values()))}
    places = sorted(length)
    scores = {}
    for model in (*models, *baselines):
      known = target.known_baselines.get(model)
      rows = by_model[(known and known.source) or model]
      scores[model] = _over_seeds(target, model, rows, places)
    shifts = {model: shifted(target, model, by_model[model]) for model in models}
    found.append(
      CourseResult(
        target,
        name,
        tuple(places),
        tuple(length[place] for place in places),
        tuple(models),
        scores,
        {model: one for model, one in shifts.items() if one is not None},
      )
    )
  return found


def by_recording(target: Target, model: str, rows: Sequence) -> np.ndarray:
  """The scores of each row by itself, [rows, scores]; NaN where it has none."""
  found = [np.zeros((0, len(target.scores)))]
  for first in range(0, len(rows), _BATCH):
    some = rows[first : first + _BATCH]
    number = len(some)
    (sums,) = target.sums(
      model, some, np.arange(number), [np.ones(number, bool)], number
    )
    found.append(sums.scores(np.eye(number)))
  return np.concatenate(found)


def _over_seeds(target, model, rows, places):
  """[places, scores]: the mean over the seeds in which there is a score."""
  number = {place: i for i, place in enumerate(places)}
  where = np.array([number[row.place] for row in rows])
  scores = by_recording(target, model, rows)
  known = np.isfinite(scores)
  count, total = np.zeros((2, len(places), scores.shape[1]))
  np.add.at(count, where, known)
  np.add.at(total, where, np.where(known, scores, 0))
  return np.divide(total, count, np.full_like(total, np.nan), where=count > 0)


def shifted(target: Target, model: str, rows: Sequence) -> Shifts | None:
  """The Shifts of a model's rows, the mean over seeds; None where there is no score."""
  at = list(target.scores).index(target.headline)
  step = max(1, round(_STEP * target.rate))
  most = int(_FURTHEST * target.rate) // step
  moments = sum(len(row.times) for row in rows)
  seconds, scores = [], []
  for steps in step * np.arange(-most, most + 1):
    moved = [_moved(row, target.rate, steps) for row in rows]
    moved = [row for row in moved if len(row.times)]
    if sum(len(row.times) for row in moved) < _LEAST * moments:
      continue
    seeds = np.array([row.seed for row in moved])
    parts = [seeds == seed for seed in np.unique(seeds)]
    sums = target.sums(model, moved, np.zeros(len(moved), int), parts, 1)
    of_seeds = [(x.offset + x.scores(np.ones((1, 1))))[0, at] for x in sums]
    seconds.append(steps / target.rate)
    scores.append(np.mean(of_seeds))
  gains = np.array([target.gain(target.headline, x) for x in scores])
  if not np.isfinite(gains).any():
    return None
  seconds = np.array(seconds)
  equal = np.flatnonzero(gains >= np.nanmax(gains) - _ROUNDING)
  best = equal[np.argmin(abs(seconds[equal]))]
  return Shifts(seconds, np.array(scores), int(best))


def _moved(row, rate, steps):
  """Each rating beside the prediction of `steps` labels later, where there is one."""
  label = np.rint((row.times - row.times[0]) * rate).astype(int)
  later = np.minimum(np.searchsorted(label, label + steps), len(label) - 1)
  there = label[later] == label + steps
  return dataclasses.replace(
    row,
    times=row.times[there],
    ratings=row.ratings[there],
    predictions=row.predictions[later[there]],
  )
