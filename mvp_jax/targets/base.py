"""The seam of targets: what is predicted, from its label to its scores."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import flax
import jax.numpy as jnp
import numpy as np

from mvp_jax.array_types import Array, Float
from mvp_jax.errors import InputError
from mvp_jax.targets.metric import Metric

CEILING = 'ceiling'  # the report's row of the best possible scores


@flax.struct.dataclass
class Mean(Metric):
  """A weighted mean, as sums: those of batches are merged, then divided once."""

  total: Array
  count: Array

  @classmethod
  def of(cls, values, weight) -> 'Mean':
    """Of `values` that weigh `weight`, arrays of the same shape."""
    return cls(total=jnp.sum(values * weight), count=weight.sum())

  @classmethod
  def empty(cls) -> 'Mean':
    return cls(total=jnp.zeros(()), count=jnp.zeros(()))

  def merge(self, other: 'Mean') -> 'Mean':
    return type(self)(self.total + other.total, self.count + other.count)

  def compute(self):
    return self.total / jnp.maximum(self.count, 1)


class Score(NamedTuple):
  """A score of predictions, as tables name it, and the ends of its scale."""

  name: str
  low: float = 0.0
  high: float = 1.0
  lower_is_better: bool = False
  bootstrap: bool = True  # cheap enough to be worked out a thousand times


class Baseline(NamedTuple):
  """Something that models have to beat, or whose scores help to read theirs."""

  name: str  # in tables
  note: str  # what it is, a sentence
  source: str = ''  # the model of the predictions that it comes from, if another
  # The score in which a model has to be better than it to be better than chance; '' if
  # the baseline is more than chance.
  chance: str = ''
  phrase: str = ''  # in a sentence: 'that of always saying the majority class'
  # Whether it reads the same recordings in a simple way, so that a model that is behind
  # it gives cause for a warning.
  rival: bool = False


class Said(NamedTuple):
  """What a baseline predicts of a test trial.

  `score` is what `Target.predict` would give: [ratings], or [L, ratings] of a
  target in time. `rating` [ratings] is on the scale of the ratings, where the
  prediction is not and the baseline has one.
  """

  model: str
  trial_id: str
  score: np.ndarray
  rating: np.ndarray | None = None


class Sums(Protocol):
  """Sums by subject of one model's trials of one seed, from which all scores follow."""

  offset: Any = 0.0  # [scores]: what is added to the scores of all subjects together

  def scores(self, weights: np.ndarray) -> np.ndarray:
    """All scores for weights [R, S] of the subjects: [R, scores], NaN where none."""

  def cheap(self, weights: np.ndarray) -> np.ndarray:
    """Those with `Score.bootstrap` alone, which come first: [R, cheap scores]."""


class Fitted(Protocol):
  """A target as it is in one fold: with its thresholds or its scale."""

  subjects: tuple[int, ...]  # whose ratings it was fitted on
  trials: tuple[str, ...]  # the ids of the trials that it was fitted on

  def label(self, trial, seconds=None) -> tuple[np.ndarray, np.ndarray]:
    """The label of a Trial and its weight, both float32.

    Level 'trial': [K], and [] or, of each rating, [K]. Level 'frame': [L, K], and [L]
    or, of each rating, [L, K]; L = round(seconds * rate), in the middle of spans of
    1 / rate seconds, with weight 0 after the end and where nothing is rated.
    """

  def describe(self) -> dict:
    """For run.json."""


class Target(Protocol):
  """What is predicted. A frozen dataclass whose fields are its settings.

  Everything about a target is asked of it: no other code knows one by name. What a
  target has no use for (`strata`, `check_fold`, `baselines`, ...) it leaves as it is
  here. A new one is a subclass and `targets.register`.

  In evaluation, `rows` are `evaluation.predictions.Prediction`s of one rating, or
  `Track`s (times, ratings, predictions: arrays [n]) of a target of level 'frame'.
  """

  __dataclass_fields__: ClassVar[dict[str, Any]]
  kind: ClassVar[str]
  level: ClassVar[str] = 'trial'  # or 'frame'
  streams: ClassVar[tuple[str, ...]] = ()  # that hold its labels, if any do
  # Scores in the order of tables; those with `bootstrap` first.
  scores: ClassVar[Mapping[str, Score]]
  headline: ClassVar[str]  # the score that claims are made of
  short: ClassVar[tuple[str, ...]]  # where room is scarce
  known_baselines: ClassVar[Mapping[str, Baseline]] = {}  # in the order of tables
  notes: ClassVar[str] = ''  # on the scores, below their table
  classes: ClassVar[bool] = False  # whether labels are 0 or 1, predictions `score`s
  ratings: tuple[str, ...]
  rate: float = 0.0  # Hz, of the labels of level 'frame'
  lag: float = 0.0  # seconds by which these labels follow what they are of

  # --- Labels

  @property
  def outputs(self) -> int:
    """Numbers that the head gives: per example, or per label time."""
    return len(self.ratings)

  def check(self, trials: Sequence) -> None:
    """Raises InputError if a trial cannot be labelled."""

  def fixed(self) -> Fitted | None:
    """What is fitted without looking at data; None if ratings decide."""
    return None

  def fit(self, train: Sequence, others: Sequence = ()) -> Fitted:
    """Fits it on the training trials of a fold; `others` also need labels."""

  def strata(self, trials: Sequence) -> np.ndarray:
    """float [trials, k]: what the dealing of folds evens out between them."""
    return np.zeros((len(trials), 1))

  def check_fold(self, fold: int, train: Sequence, fitted: Fitted) -> None:
    """Raises InputError if nothing could be learnt from the training trials."""

  def draws(self, fitted: Fitted, trial) -> int:
    """How often a training trial, or a stretch of it, is read in an epoch."""
    return 1

  def times(self, length: int) -> np.ndarray:
    """When what the labels of a trial are of took place, level 'frame': [length].

    In seconds from the onset; the labels themselves are `lag` later.
    """
    return (np.arange(length) + 0.5) / self.rate - self.lag

  # --- On the device

  def smoothed(self, label: Float[Array, '*b k'], smoothing) -> Float[Array, '*b k']:
    """Labels less sure by `smoothing`, where they are classes."""
    return label

  def loss(
    self,
    outputs: Float[Array, '*b k'],
    label: Float[Array, '*b k'],
    weight: Float[Array, '*b'] | Float[Array, '*b k'],
  ) -> dict[str, Metric]:
    """Metrics as sums; 'loss' is what training minimises.

    `weight` is of each rating where the labels' weights are.
    """

  def combine(self, outputs: Sequence, present: Sequence | None = None):
    """One output of those of several heads or views, each [B, K].

    `present` are bool [B], which of them count in an example, at least one; None =
    all.
    """
    if present is None:
      return sum(outputs) / len(outputs)
    shares = [jnp.where(x, 1.0, 0.0)[:, None] for x in present]
    weighed = [x * share for x, share in zip(outputs, shares, strict=True)]
    return sum(weighed) / jnp.maximum(sum(shares), 1)

  def predict(self, outputs: Float[Array, '*b k']) -> Float[Array, '*b k']:
    """What is written to the predictions, of the head's outputs."""
    return outputs

  # --- Evaluation

  def restored(self, fitted: Fitted, values):
    """Labels or predictions on the scale of the ratings, where they are not.

    Of each rating a linear function, as models that are kept are known by it.
    """
    return values

  def finished(self, predicted):
    """What is written of one trial, of all that is predicted of it."""
    return predicted

  def temperature(self, fitted: Fitted, trials: Sequence, scores) -> float | None:
    """What makes predictions of some validation trials as sure as they are right.

    `scores` are the predictions of `trials`. None where predictions are no
    probabilities, or there are no trials.
    """
    return None

  def tempered(self, scores, temperature: float):
    """Predictions at a temperature that `temperature` gave."""
    return scores

  def fields(self, label, predicted, rating=None) -> dict:
    """Fields of a Prediction of one rating: `label`, `score`, `predicted_rating`."""
    return {'label': None, 'score': None, 'predicted_rating': float(predicted)}

  def fault(self, row) -> str:
    """What is wrong with a Prediction's own values, or ''."""
    if row.label is not None or row.score is not None:
      return f'target {self.kind} has neither label nor score; leave them empty'
    if row.predicted_rating is None:
      return 'predicted_rating is missing'
    return ''

  def baselines(self, fold, trials, features=None, groups=None, seed=0) -> list[Said]:
    """What models have to beat, of a fold's test trials.

    Args:
      trials: list of Trial, of all folds.
      features: float [trials, features], handcrafted, NaN where not defined; or None.
      groups: int [trials], which belong together (subjects, or stimuli).
    """
    return []

  def sums(self, name: str, rows: Sequence, subjects, parts, number: int) -> list[Sums]:
    """The Sums of each part of a model's rows.

    Args:
      name: of the model, or one of `known_baselines`.
      rows: of one rating, all seeds.
      subjects: int [rows], 0 to `number` - 1.
      parts: list of bool [rows], the rows of each seed (or fold).
    """

  def composition(self, rows: Sequence) -> tuple[str, float] | None:
    """What the held-out trials are like, a name and a share, or None."""
    return None

  def one_sided(self, rows: Sequence) -> bool:
    """Whether a person's rows can't show the headline score in full."""
    return False

  one_sided_note: ClassVar[str] = ''

  def one_answer(self, rows: Sequence) -> str:
    """Says in a few words that a model says nearly the same of all trials, or ''.

    `rows` are all of a model; where the truth is nearly the same as well, it is ''.
    """
    return ''

  def calibration(self, name: str, rows: Sequence):
    """A `calibration.Calibration` where predictions are probabilities, else None.

    The target then also has the scores 'ece' and 'aurc'.
    """
    return None

  def promise(self, rows: Sequence, risk: float):
    """What held-out rows of a model let it promise of new people, or None.

    A `promises.Abstention`, `promises.Interval` or one like them, of which at most the
    share `risk` turns out wrong.
    """
    return None

  def confusion(self, rows: Sequence) -> np.ndarray | None:
    """int [2, 2], truth by prediction, low first, where there are two classes."""
    return None

  def is_right(self, row) -> bool | None:
    """Whether a Prediction is right; None where there is no right and wrong."""
    return None

  def meaning(self) -> str:
    """A sentence that defines what is predicted."""
    return f'Predicted: {", ".join(self.ratings)}.'

  # --- Derived

  @property
  def cheap(self) -> tuple[str, ...]:
    """The scores that also get a bootstrap interval."""
    return tuple(key for key, score in self.scores.items() if score.bootstrap)

  @property
  def reserved(self) -> frozenset[str]:
    """Names of the report's own rows, which no model may have."""
    own = (key for key, one in self.known_baselines.items() if one.source)
    return frozenset({CEILING, *own})

  @property
  def sources(self) -> frozenset[str]:
    """Models in the predictions that are baselines, or that baselines stand on."""
    return frozenset(one.source or key for key, one in self.known_baselines.items())

  def called(self, model: str) -> str:
    """How a model or baseline is called in tables."""
    if model == CEILING:
      return 'best possible'
    return self.known_baselines[model].name if model in self.known_baselines else model

  def gain(self, score: str, difference: float) -> float:
    """A difference of a score, above 0 where it is for the better."""
    return -difference if self.scores[score].lower_is_better else difference

  def describe(self) -> dict:
    """For run.json: its kind and settings."""
    return {'kind': self.kind, **dataclasses.asdict(self)}  # type: ignore[call-overload]


def check_ratings(trials, ratings):
  """Raises InputError if a trial lacks a rating, or a rating is never given."""
  for name in ratings:
    missing = [t for t in trials if not np.isfinite(t.ratings.get(name, np.nan))]
    if len(missing) == len(trials) > 1 and name in trials[0].ratings:
      raise InputError(
        f'target.ratings: no trial has a rating {name!r}, all '
        f'{len(trials)} are empty; leave it out or fill the ratings in'
      )
    for trial in missing:
      raise InputError(
        f'target.ratings: {trial.trial_id} has no rating {name!r}; '
        f'there are {", ".join(trial.ratings)}'
      )
