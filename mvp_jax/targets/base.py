"""The seam of targets: what is predicted, from its label to its scores."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import (
  TYPE_CHECKING,
  Any,
  ClassVar,
  NamedTuple,
  Protocol,
  TypeAlias,
  TypeVar,
)

import flax
import jax.numpy as jnp
import numpy as np

from mvp_jax.array_types import Array, Bool, Float, Int
from mvp_jax.data.splits import Fold
from mvp_jax.data.trial import Trial
from mvp_jax.errors import InputError
from mvp_jax.targets.calibration import Calibration
from mvp_jax.targets.metric import Metric
from mvp_jax.targets.promises import Promise

if TYPE_CHECKING:  # they import targets
  from mvp_jax.evaluation.predictions import Prediction, Track

# Of one trial or of many, of K ratings: one for each, or one at each label time.
Values: TypeAlias = Float[np.ndarray, '*l k']
Weight: TypeAlias = Float[np.ndarray, '*w'] | np.float32  # of a trial's labels
CEILING = 'ceiling'  # the report's row of the best possible scores


@flax.struct.dataclass
class Mean(Metric):
  """A weighted mean, as sums: those of batches are merged, then divided once."""

  total: Float[Array, '']
  count: Float[Array, '']

  @classmethod
  def of(cls, values: Float[Array, '*b'], weight: Float[Array, '*b']) -> 'Mean':
    """Of `values` that weigh `weight`, arrays of the same shape."""
    return cls(total=jnp.sum(values * weight), count=weight.sum())

  @classmethod
  def empty(cls) -> 'Mean':
    return cls(total=jnp.zeros(()), count=jnp.zeros(()))

  def merge(self, other: 'Mean') -> 'Mean':
    return type(self)(self.total + other.total, self.count + other.count)

  def compute(self) -> Float[Array, '']:
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
  score: Values
  rating: Float[np.ndarray, ' k'] | None = None


class Sums(Protocol):
  """Sums by subject of one model's trials of one seed, from which all scores follow."""

  @property
  def offset(self) -> Float[np.ndarray, ' scores'] | float:
    """What is added to the scores of all subjects together."""

  def scores(self, weights: Float[np.ndarray, 'R S']) -> Float[np.ndarray, 'R scores']:
    """All scores for weights of the subjects, NaN where none."""

  def cheap(self, weights: Float[np.ndarray, 'R S']) -> Float[np.ndarray, 'R cheap']:
    """Those with `Score.bootstrap` alone, which come first."""


class Fitted(Protocol):
  """A target as it is in one fold: with its thresholds or its scale."""

  @property
  def subjects(self) -> tuple[int, ...]:
    """Whose ratings it was fitted on."""

  @property
  def trials(self) -> tuple[str, ...]:
    """The ids of the trials that it was fitted on."""

  def label(self, trial: Trial, seconds: float | None = None) -> tuple[Values, Weight]:
    """The label of a trial and its weight, both float32.

    Level 'trial': [K], and [] or, of each rating, [K]. Level 'frame': [L, K], and [L]
    or, of each rating, [L, K]; L = round(seconds * rate), in the middle of spans of
    1 / rate seconds, with weight 0 after the end and where nothing is rated.
    """

  def describe(self) -> dict[str, Any]:
    """For run.json."""


_Fitted = TypeVar('_Fitted', bound=Fitted)
_Row = TypeVar('_Row', bound='Prediction | Track', contravariant=True)


class Target(Protocol[_Fitted, _Row]):
  """What is predicted. A frozen dataclass whose fields are its settings.

  Everything about a target is asked of it: no other code knows one by name. What a
  target has no use for (`strata`, `check_fold`, `baselines`, ...) it leaves as it is
  here. A new one is a subclass and `targets.register`; in brackets, for type checkers,
  what its `fit` gives and what its `rows` are.

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

  def check(self, trials: Sequence[Trial]) -> None:
    """Raises InputError if a trial cannot be labelled."""

  def fixed(self) -> _Fitted | None:
    """What is fitted without looking at data; None if ratings decide."""
    return None

  def fit(self, train: Sequence[Trial], others: Sequence[Trial] = ()) -> _Fitted:
    """Fits it on the training trials of a fold; `others` also need labels."""

  def strata(
    self, trials: Sequence[Trial]
  ) -> Float[np.ndarray, 'trials k'] | Bool[np.ndarray, 'trials k']:
    """What the dealing of folds evens out between them."""
    return np.zeros((len(trials), 1))

  def check_fold(self, fold: int, train: Sequence[Trial], fitted: _Fitted) -> None:
    """Raises InputError if nothing could be learnt from the training trials."""

  def draws(self, fitted: _Fitted, trial: Trial) -> int:
    """How often a training trial, or a stretch of it, is read in an epoch."""
    return 1

  def times(self, length: int) -> Float[np.ndarray, ' {length}']:
    """When what the labels of a trial are of took place, level 'frame'.

    In seconds from the onset; the labels themselves are `lag` later.
    """
    return (np.arange(length) + 0.5) / self.rate - self.lag

  # --- On the device

  def smoothed(
    self, label: Float[Array, '*b k'], smoothing: float
  ) -> Float[Array, '*b k']:
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

  def combine(
    self,
    outputs: Sequence[Float[Array, 'b j']],
    present: Sequence[Bool[Array, ' b']] | None = None,
  ) -> Float[Array, 'b j']:
    """One output of those of several heads or views.

    `present` tells which of them count in an example, at least one; None = all.
    """
    if present is None:
      return functools.reduce(jnp.add, outputs) / len(outputs)
    shares = [jnp.where(x, 1.0, 0.0)[:, None] for x in present]
    weighed = [x * share for x, share in zip(outputs, shares, strict=True)]
    return sum(weighed) / jnp.maximum(sum(shares), 1)

  def predict(self, outputs: Float[Array, '*b j']) -> Float[Array, '*b k']:
    """What is written to the predictions, of the head's outputs."""
    return outputs

  # --- Evaluation

  def restored(self, fitted: _Fitted, values: Values) -> Values:
    """Labels or predictions on the scale of the ratings, where they are not.

    Of each rating a linear function, as models that are kept are known by it.
    """
    return values

  def finished(self, predicted: Values) -> Values:
    """What is written of one trial, of all that is predicted of it."""
    return predicted

  def temperature(
    self,
    fitted: _Fitted,
    trials: Sequence[Trial],
    scores: Float[np.ndarray, 'trials *l k'],
  ) -> float | None:
    """What makes predictions of some validation trials as sure as they are right.

    `scores` are the predictions of `trials`. None where predictions are no
    probabilities, or there are no trials.
    """
    return None

  def tempered(self, scores: Values, temperature: float) -> Values:
    """Predictions at a temperature that `temperature` gave."""
    return scores

  def fields(
    self, label: float, predicted: float, rating: float | None = None
  ) -> dict[str, float | None]:
    """Fields of a Prediction of one rating: `label`, `score`, `predicted_rating`."""
    return {'label': None, 'score': None, 'predicted_rating': float(predicted)}

  def fault(self, row: 'Prediction') -> str:
    """What is wrong with a Prediction's own values, or ''."""
    if row.label is not None or row.score is not None:
      return f'target {self.kind} has neither label nor score; leave them empty'
    if row.predicted_rating is None:
      return 'predicted_rating is missing'
    return ''

  def baselines(
    self,
    fold: Fold,
    trials: list[Trial],
    features: Float[np.ndarray, 'trials features'] | None = None,
    groups: Int[np.ndarray, ' trials'] | None = None,
    seed: int = 0,
  ) -> list[Said]:
    """What models have to beat, of a fold's test trials.

    Args:
      trials: of all folds.
      features: handcrafted, NaN where not defined; or None.
      groups: which trials belong together (subjects, or stimuli).
    """
    return []

  def sums(
    self,
    name: str,
    rows: Sequence[_Row],
    subjects: Int[np.ndarray, ' rows'],
    parts: Sequence[Bool[np.ndarray, ' rows']],
    number: int,
  ) -> Sequence[Sums]:
    """The Sums of each part of a model's rows.

    Args:
      name: of the model, or one of `known_baselines`.
      rows: of one rating, all seeds.
      subjects: 0 to `number` - 1.
      parts: the rows of each seed (or fold).
    """

  def composition(self, rows: Sequence[_Row]) -> tuple[str, float] | None:
    """What the held-out trials are like, a name and a share, or None."""
    return None

  def one_sided(self, rows: Sequence[_Row]) -> bool:
    """Whether a person's rows can't show the headline score in full."""
    return False

  one_sided_note: ClassVar[str] = ''

  def one_answer(self, rows: Sequence[_Row]) -> str:
    """Says in a few words that a model says nearly the same of all trials, or ''.

    `rows` are all of a model; where the truth is nearly the same as well, it is ''.
    """
    return ''

  def calibration(self, name: str, rows: Sequence[_Row]) -> Calibration | None:
    """Where predictions are probabilities; else None.

    The target then also has the scores 'ece' and 'aurc'.
    """
    return None

  def promise(self, rows: Sequence[_Row], risk: float) -> Promise | None:
    """What held-out rows of a model let it promise of new people, or None.

    A `promises.Abstention`, `promises.Interval` or one like them, of which at most the
    share `risk` turns out wrong.
    """
    return None

  def confusion(self, rows: Sequence[_Row]) -> Int[np.ndarray, '2 2'] | None:
    """Truth by prediction, low first, where there are two classes."""
    return None

  def is_right(self, row: 'Prediction') -> bool | None:
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

  def describe(self) -> dict[str, Any]:
    """For run.json: its kind and settings."""
    return {'kind': self.kind, **dataclasses.asdict(self)}


def check_ratings(trials: Sequence[Trial], ratings: Sequence[str]) -> None:
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
