"""Ratings in time, such as valence in every frame, judged by Lin's concordance."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mvp_jax.array_types import Array, Bool, Float, Int
from mvp_jax.data.splits import Fold
from mvp_jax.data.trial import Trial
from mvp_jax.errors import InputError
from mvp_jax.targets import concordance_baselines, in_time, promises
from mvp_jax.targets.base import Baseline, Said, Score, Target
from mvp_jax.targets.concordance_baselines import LAGGED_COPY, RIDGE, TRAINING_MEAN
from mvp_jax.targets.discordance import Discordance
from mvp_jax.targets.in_time import Course
from mvp_jax.targets.moments import (
  concordance,
  correlation,
  moments,
  ratio,
  root_mean_square_error,
)

if TYPE_CHECKING:  # they import targets
  from mvp_jax.evaluation.predictions import Track

# A model whose predictions vary by so little of what ratings do has learnt a constant.
_STILL = 0.05


@dataclasses.dataclass(frozen=True)
class Courses:
  """The target in one fold: its labels, and the mean of what is trained on.

  Attributes:
    target: Concordance.
    means: one for each rating, over all annotated moments of the training trials.
    subjects, trials: whose these are, and the ids.
  """

  target: 'Concordance'
  means: tuple[float, ...]
  subjects: tuple[int, ...] = ()
  trials: tuple[str, ...] = ()

  def label(self, trial: Trial, seconds: float | None = None) -> tuple[Course, Course]:
    """Ratings, float32, and their weights: 1 where annotated, else 0.

    L = round(seconds * rate); without `seconds` the annotation's own length.
    """
    rated = self.target.annotated(trial, seconds)
    there = np.isfinite(rated)
    return np.where(there, rated, 0).astype(np.float32), there.astype(np.float32)

  def describe(self) -> dict[str, Any]:
    return {
      'training_mean': dict(zip(self.target.ratings, self.means, strict=True)),
      'subjects': list(self.subjects),
    }


@dataclasses.dataclass(frozen=True)
class CourseSums:
  """What the scores of one model need, by subject; see `targets.Sums`."""

  moments: Float[np.ndarray, 'S 6']  # of all moments together
  videos: Float[np.ndarray, 'S 2']  # sum of the videos' CCCs, and how many have one
  offset: float = 0.0

  def scores(self, weights: Float[np.ndarray, 'R S']) -> Float[np.ndarray, 'R scores']:
    weights = np.asarray(weights, float)
    found, videos = weights @ self.moments, weights @ self.videos
    return np.stack(
      [
        concordance(found),
        ratio(videos[:, 0], videos[:, 1], np.nan),
        correlation(found),
        root_mean_square_error(found),
      ],
      axis=-1,
    )

  cheap = scores


@dataclasses.dataclass(frozen=True)
class Concordance(Target[Courses, 'Track']):
  """Numbers that are rated in time, learnt and judged by their concordance (CCC).

  The loss is 1 - CCC over all annotated moments of a batch together, the mean over
  ratings; a moment without annotation counts nowhere.

  Attributes:
    ratings: channels of the stream. One model learns all of them together.
    stream: the name of the series that holds the annotation.
    rate: Hz, of labels and predictions. Annotation at a higher one is averaged over
      each label's span; at a lower one each value lasts until the next.
    lag: seconds by which ratings follow what they rate. The prediction of a rating
      is read from what was seen and heard so much earlier.
    scale: the least and the most that a rating can be; networks' outputs count in
      halves of it from its middle, and predictions are clipped to it. (): unknown.
    smooth: seconds over which the predictions of a trial are averaged, of each rating
      or one for all; () or 0: as they are.
  """

  kind: ClassVar[str] = 'concordance'
  level: ClassVar[str] = 'frame'
  scores: ClassVar = {
    'ccc': Score('CCC', -1),
    'video_ccc': Score('mean CCC of videos', -1),
    'pearson': Score("Pearson's r", -1),
    'rmse': Score('RMSE', 0, math.inf, lower_is_better=True),
  }
  headline: ClassVar[str] = 'ccc'
  short: ClassVar = ('ccc', 'video_ccc')
  known_baselines: ClassVar = {
    TRAINING_MEAN: Baseline(
      'training mean',
      'Training mean: that of all annotated moments of the training trials.',
      chance='ccc',
    ),
    LAGGED_COPY: Baseline(
      'lagged copy',
      'Lagged copy: of all channels (of a sound: level, pitch, voicing and slope of '
      'the voice) and lags the one that goes with the training ratings best, brought '
      'to their mean and deviation.',
      rival=True,
    ),
    RIDGE: Baseline(
      'ridge regression',
      'Ridge regression: means and deviations of these, as they are and standardised '
      f'in the trial, now and up to {concordance_baselines.LAGS[-1]:g} s before.',
      rival=True,
    ),
  }
  notes: ClassVar[str] = (
    "CCC: Lin's concordance over all annotated moments together. Mean CCC of videos: "
    'of each trial by itself, without those in which rating and prediction are one '
    'and the same number. They are two scores: the first also counts whether videos '
    'are told apart.'
  )
  one_sided_note: ClassVar[str] = (
    "the subject's annotation never changes, so that CCC is 0 at most"
  )

  ratings: tuple[str, ...] = ('valence', 'arousal')
  stream: str = 'ratings'
  rate: float = 30.0
  lag: float = 0.0
  scale: tuple[float, ...] = (-1.0, 1.0)
  smooth: tuple[float, ...] = ()

  def __post_init__(self) -> None:
    if not self.ratings:
      raise InputError('ratings: there are none; name channels of the annotation')
    in_time.check_settings(self)

  @property
  def streams(self) -> tuple[str, ...]:  # type: ignore[override]
    return (self.stream,)

  # --- Labels

  def length(self, trial: Trial) -> int:
    """How many labels hold all of a trial's annotation."""
    return in_time.length(self, trial)

  def annotated(self, trial: Trial, seconds: float | None = None) -> Course:
    """What is rated at each label time, float64, NaN where nothing is."""
    return in_time.annotated(self, trial, seconds)

  def check(self, trials: Sequence[Trial]) -> None:
    """Raises InputError if a trial has no annotation, or one off the scale."""
    in_time.check_annotation(self, trials)

  def fit(self, train: Sequence[Trial], others: Sequence[Trial] = ()) -> Courses:
    """The Courses of a fold."""
    given = np.concatenate(
      [np.zeros((0, self.outputs)), *(self.annotated(trial) for trial in train)]
    )
    there = np.isfinite(given)
    means = np.where(there, given, 0).sum(0) / np.maximum(there.sum(0), 1)
    return Courses(
      self,
      tuple(means.tolist()),
      tuple(sorted({trial.subject for trial in train})),
      tuple(trial.trial_id for trial in train),
    )

  def strata(self, trials: Sequence[Trial]) -> Float[np.ndarray, 'trials ratings']:
    """The mean rating of each trial."""
    return in_time.mean_ratings(self, trials)

  def check_fold(self, fold: int, train: Sequence[Trial], fitted: Courses) -> None:
    """Raises InputError if a rating never changes among the training trials."""
    in_time.check_varied(self, fold, train)

  # --- On the device

  def _rated(self, outputs: Float[Array, '*b k']) -> Float[Array, '*b k']:
    """On the scale of the ratings."""
    low, high = self.scale or (-1.0, 1.0)
    return (low + high) / 2 + (high - low) / 2 * outputs

  def loss(
    self,
    outputs: Float[Array, '*b k'],
    label: Float[Array, '*b k'],
    weight: Float[Array, '*b'] | Float[Array, '*b k'],
  ) -> dict[str, Discordance]:
    """1 - CCC, the mean over ratings."""
    return {'loss': Discordance.of(self._rated(outputs), label, weight)}

  def predict(self, outputs: Float[Array, '*b k']) -> Float[Array, '*b k']:
    """Ratings, neither clipped nor smoothed yet."""
    return self._rated(outputs)

  # --- Evaluation

  def finished(self, predicted: Course) -> Course:
    """Clipped to the scale, and smoothed over time."""
    predicted = np.asarray(predicted, float)
    if self.scale:
      least, most = self.scale
      predicted = np.clip(predicted, least, most)
    return in_time.smoothed(self, predicted)

  def baselines(
    self,
    fold: Fold,
    trials: list[Trial],
    features: Float[np.ndarray, 'trials features'] | None = None,
    groups: Int[np.ndarray, ' trials'] | None = None,
    seed: int = 0,
  ) -> list[Said]:
    """The training mean; where trials have other series, copies and ridge regression.

    What the networks read of whole trials (`features`) is of no use in time: these
    read the series of the trials themselves, see `concordance_baselines`.
    """
    return concordance_baselines.baselines(self, fold, trials, groups, seed)

  def sums(
    self,
    name: str,
    rows: Sequence['Track'],
    subjects: Int[np.ndarray, ' rows'],
    parts: Sequence[Bool[np.ndarray, ' rows']],
    number: int,
  ) -> list[CourseSums]:
    lengths = [len(row.times) for row in rows]
    x, y = (
      np.concatenate([np.zeros(0), *(getattr(row, column) for row in rows)])
      for column in ('ratings', 'predictions')
    )
    of_rows = moments(x, y, np.repeat(np.arange(len(rows)), lengths), len(rows))
    ccc = concordance(of_rows)
    videos = np.stack([np.nan_to_num(ccc), np.isfinite(ccc)], axis=-1)
    found = []
    for part in parts:
      totals = np.zeros((number, 8))
      np.add.at(totals, subjects[part], np.hstack([of_rows, videos])[part])
      found.append(CourseSums(totals[:, :6], totals[:, 6:]))
    return found

  def promise(self, rows: Sequence['Track'], risk: float) -> promises.Interval:
    return promises.interval(*promises.by_trial(rows, 'predictions', 'ratings'), risk)

  def one_sided(self, rows: Sequence['Track']) -> bool:
    return np.ptp(np.concatenate([row.ratings for row in rows])) == 0

  def one_answer(self, rows: Sequence['Track']) -> str:
    said, rated = (
      float(np.std(np.concatenate([getattr(row, column) for row in rows])))
      for column in ('predictions', 'ratings')
    )
    if said < _STILL * rated:
      return f'hardly moves: its deviation is {said:.2g}, that of ratings {rated:.2g}'
    return ''

  def meaning(self) -> str:
    said = [f'Predicted: {", ".join(self.ratings)}, {self.rate:g} times a second.']
    if self.lag:
      said.append(f'Ratings are taken to follow what they rate by {self.lag:g} s.')
    said.append(in_time.finish(self))
    return ' '.join(said)
