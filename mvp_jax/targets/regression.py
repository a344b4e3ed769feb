"""Numbers to be predicted: a score of each trial, or one at each moment of it.

Depression by questionnaire (BDI-II, 0 to 63, one for a session) and pain by coded faces
(PSPI, 0 to 16, one for a frame) are of this kind.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mvp_jax.array_types import Array, Bool, Float, Int
from mvp_jax.data.splits import Fold
from mvp_jax.data.trial import Trial
from mvp_jax.errors import InputError
from mvp_jax.targets import (
  in_time,
  promises,
  regression_baselines,
  regression_scores,
)
from mvp_jax.targets.base import (
  Baseline,
  Mean,
  Said,
  Score,
  Target,
  Values,
  check_ratings,
)
from mvp_jax.targets.in_time import Course
from mvp_jax.targets.regression_fit import Fit, level_weights

if TYPE_CHECKING:  # they import targets
  from mvp_jax.evaluation.predictions import Prediction, Track

LEVELS = ('trial', 'frame')
ERRORS = ('squared', 'absolute', 'huber')
BALANCES = ('none', 'weights', 'sampling')
AGGREGATES = ('mean', 'median')
_BINS = 10  # over the training ratings, where no thresholds part them
# A model whose predictions vary by so little of what ratings do has learnt a constant.
_STILL = 0.05


@dataclasses.dataclass(frozen=True)
class Regression(Target[Fit, 'Prediction | Track']):
  """A number of each trial, or of each moment, learnt by its error.

  Networks learn ratings over the deviation of those trained on. Level 'trial' is judged
  by its mean absolute error; level 'frame' by ICC(3,1), for where most moments are 0,
  nobody has a lesser absolute error than who always says 0.

  Attributes:
    ratings: names of ratings of a trial or, level 'frame', channels of the stream.
    level: 'trial' or 'frame'.
    scale: the least and the most that a rating can be; predictions are clipped to it.
      (): unknown.
    error: what training minimises: 'squared', 'absolute', or 'huber' (squared up to one
      deviation, absolute beyond).
    thresholds: ratings of at least so much are told apart from others by AUROC and F1.
    balance: what is done for rare ratings, in training alone. 'weights': each level
      counts the same in the loss; 'sampling': trials (or stretches of them) are read so
      much more often; 'none'. Levels are parted by the thresholds, or are tenths of the
      range.
    levels: 0, or the number of evenly spaced levels of the scale over which a softmax
      stands: it learns a bell curve about the rating, and its mean is the estimate.
    spread: the deviation of that curve, on the scale of the ratings.
    aggregate: what is made of many clips of a trial: their 'mean' or their 'median'.
    stream, rate, lag, smooth: of level 'frame' alone, as of `Concordance`.
    formula: '' or one of `regression_baselines.FORMULAS`, a baseline of level 'frame'
      where trials have action units.
  """

  kind: ClassVar[str] = 'regression'
  notes: ClassVar[str] = (
    'MAE, RMSE and MSE are on the scale of the ratings. ICC(3,1): consistency of '
    "rating and prediction as two raters. CCC: Lin's concordance. At a threshold: "
    'whether the rating is at least so much; AUROC ranks only within a fold, F1 is of '
    'predictions of at least so much. n/a: one side has no trial, or nothing varies.'
  )
  one_sided_note: ClassVar[str] = (
    "the subject's annotation never changes, so that ICC is 0 at most"
  )

  ratings: tuple[str, ...] = ('rating',)
  level: str = 'trial'  # type: ignore[misc]
  scale: tuple[float, ...] = ()
  error: str = 'squared'
  thresholds: tuple[float, ...] = ()
  balance: str = 'none'
  levels: int = 0
  spread: float = 1.0
  aggregate: str = 'mean'
  stream: str = 'ratings'
  rate: float = 30.0
  lag: float = 0.0
  smooth: tuple[float, ...] = ()
  formula: str = ''

  def __post_init__(self) -> None:
    if not self.ratings:
      raise InputError('ratings: there are none; name what is rated')
    for name, known in (
      ('level', LEVELS),
      ('error', ERRORS),
      ('balance', BALANCES),
      ('aggregate', AGGREGATES),
      ('formula', ('', *regression_baselines.FORMULAS)),
    ):
      if getattr(self, name) not in known:
        told = ', '.join(known).removeprefix(', ')
        raise InputError(f'{name}: {getattr(self, name)!r} is none of {told}')
    in_time.check_settings(self)
    if list(self.thresholds) != sorted(set(self.thresholds)):
      raise InputError(f'thresholds is {self.thresholds}, must be rising')
    if self.levels and (self.levels < 2 or not self.scale or not self.spread > 0):
      raise InputError(
        f'levels is {self.levels}: a distribution needs at least 2 levels, a scale '
        'that they stand on, and a spread above 0'
      )
    if self.formula and (self.level != 'frame' or len(self.ratings) > 1):
      raise InputError(
        f"formula: {self.formula!r} tells one rating of level 'frame'; leave it out"
      )

  @property
  def streams(self) -> tuple[str, ...]:  # type: ignore[override]
    return (self.stream,) if self.level == 'frame' else ()

  @property
  def scores(self) -> Mapping[str, Score]:  # type: ignore[override]
    return regression_scores.scores_at(self.thresholds)

  @property
  def headline(self) -> str:  # type: ignore[override]
    return 'icc' if self.level == 'frame' else 'mae'

  @property
  def short(self) -> tuple[str, ...]:  # type: ignore[override]
    if self.level == 'trial':
      return 'mae', 'rmse', 'pearson', 'ccc'
    return 'icc', 'pearson', 'mae', 'mse'

  @property
  def known_baselines(self) -> Mapping[str, Baseline]:  # type: ignore[override]
    return regression_baselines.known(self)

  # --- Labels

  @property
  def outputs(self) -> int:
    return len(self.ratings) * max(self.levels, 1)

  def length(self, trial: Trial) -> int:
    """How many labels hold all of a trial's annotation, level 'frame'."""
    return in_time.length(self, trial)

  def annotated(self, trial: Trial, seconds: float | None = None) -> Course:
    """What is rated at each label time, float64, NaN where nothing is."""
    return in_time.annotated(self, trial, seconds)

  def given(self, trial: Trial, seconds: float | None = None) -> Values:
    """The ratings of a trial: float64 [ratings], or those of `annotated`."""
    if self.level == 'frame':
      return self.annotated(trial, seconds)
    return np.array([trial.ratings[name] for name in self.ratings], float)

  def check(self, trials: Sequence[Trial]) -> None:
    """Raises InputError if a trial has no rating, or one off the scale."""
    if self.level == 'frame':
      in_time.check_annotation(self, trials)
      return
    check_ratings(trials, self.ratings)
    for trial in trials:
      for name, rating in zip(self.ratings, self.given(trial), strict=True):
        in_time.check_scale(self, trial, name, np.array([rating]))

  def fit(self, train: Sequence[Trial], others: Sequence[Trial] = ()) -> Fit:
    """The Fit of a fold."""
    each = [np.atleast_2d(self.given(trial)) for trial in train]
    given = np.concatenate([np.zeros((0, len(self.ratings))), *each])
    columns = [x[np.isfinite(x)] for x in given.T]
    columns = [x if len(x) else np.zeros(1) for x in columns]
    deviations = [float(np.std(x)) for x in columns]
    edges = [self._edges(x) for x in columns]
    return Fit(
      self,
      tuple(float(np.mean(x)) for x in columns),
      tuple(x if x > 1e-6 else 1.0 for x in deviations),
      tuple(float(np.median(x)) for x in columns),
      tuple(edges),
      tuple(level_weights(x, own) for x, own in zip(columns, edges, strict=True)),
      tuple(sorted({trial.subject for trial in train})),
      tuple(trial.trial_id for trial in train),
    )

  def _edges(self, values: Float[np.ndarray, ' n']) -> tuple[float, ...]:
    """What parts the levels that are balanced."""
    if self.thresholds:
      return self.thresholds
    return tuple(np.linspace(values.min(), values.max(), _BINS + 1)[1:-1].tolist())

  def draws(self, fitted: Fit, trial: Trial) -> int:
    """Of a rare rating more than 1, if sampling is to be balanced."""
    if self.balance != 'sampling':
      return 1
    rated = np.atleast_2d(self.given(trial))
    rated = rated[np.isfinite(rated).any(1)]
    if not len(rated):
      return 1
    least = [min(x) for x in fitted.weights]
    return round(float((fitted.balanced(rated) / least).mean(0).max()))

  def strata(self, trials: Sequence[Trial]) -> Float[np.ndarray, 'trials ratings']:
    """The (mean) rating of each trial."""
    if self.level == 'frame':
      return in_time.mean_ratings(self, trials)
    return np.array([self.given(trial) for trial in trials])

  def check_fold(self, fold: int, train: Sequence[Trial], fitted: Fit) -> None:
    """Raises InputError if a rating never changes among the training trials."""
    if self.level == 'frame':
      in_time.check_varied(self, fold, train)
      return
    for name, values in zip(self.ratings, self.strata(train).T, strict=True):
      in_time.check_values(fold, name, values, len(train))

  # --- On the device

  def _by_level(self, outputs: Float[Array, '... j']) -> Float[Array, '... k levels']:
    return outputs.reshape(*outputs.shape[:-1], len(self.ratings), self.levels)

  @property
  def _places(self) -> Float[np.ndarray, ' levels']:
    """The levels, on the scale of the ratings."""
    low, high = self.scale
    return np.linspace(low, high, self.levels, dtype=np.float32)

  def loss(
    self,
    outputs: Float[Array, '*b j'],
    label: Float[Array, '*b k'],
    weight: Float[Array, '*b'] | Float[Array, '*b k'],
  ) -> dict[str, Mean]:
    """The mean error; of a distribution its divergence from the bell curve."""
    if self.levels:
      places = self._places.reshape((1,) * label.ndim + (-1,))
      bell = jax.nn.log_softmax(
        -0.5 * jnp.square((places - label[..., None]) / self.spread)
      )
      said = jax.nn.log_softmax(self._by_level(outputs))
      loss = (jnp.exp(bell) * (bell - said)).sum(-1)
    elif self.error == 'huber':
      loss = optax.huber_loss(outputs, label)
    else:
      gap = outputs - label
      loss = jnp.square(gap) if self.error == 'squared' else jnp.abs(gap)
    if weight.ndim < label.ndim:
      weight = weight[..., None]
    return {'loss': Mean.of(loss, jnp.broadcast_to(weight, loss.shape))}

  def combine(
    self,
    outputs: Sequence[Float[Array, 'b j']],
    present: Sequence[Bool[Array, ' b']] | None = None,
  ) -> Float[Array, 'b j']:
    """The mean or median of several estimates; of distributions that of the means."""
    if len(outputs) == 1:
      return outputs[0]
    there = jnp.stack(
      [jnp.ones(x.shape[0], bool) for x in outputs] if present is None else present
    )
    stacked = jnp.stack(outputs)
    if self.levels:
      stacked = jax.nn.softmax(self._by_level(stacked))
    shares = self._shares(self._estimates(stacked), there)
    if self.levels:
      mixed = jnp.log(jnp.maximum((stacked * shares[..., None]).sum(0), 1e-30))
      return mixed.reshape(outputs[0].shape)
    return (stacked * shares).sum(0)

  def _estimates(self, x: Float[Array, '...']) -> Float[Array, '... k']:
    """Estimates [..., K] of outputs, or of probabilities [..., K, levels]."""
    if not self.levels:
      return x
    return (x * self._places.reshape((1,) * (x.ndim - 1) + (-1,))).sum(-1)

  def _shares(
    self, estimates: Float[Array, 'n b k'], there: Bool[Array, 'n b']
  ) -> Float[Array, 'n b k']:
    """What each of n estimates counts, where `there`."""
    there = jnp.broadcast_to(there[..., None], estimates.shape)
    count = there.sum(0, keepdims=True)
    if self.aggregate == 'median':
      order = jnp.argsort(jnp.where(there, estimates, jnp.inf), axis=0)
      rank = jnp.argsort(
        order, axis=0
      )  # the place of each: the middle one or two count
      there = (rank >= (count - 1) // 2) & (rank <= count // 2)
      count = there.sum(0, keepdims=True)
    return there.astype(jnp.float32) / jnp.maximum(count, 1).astype(jnp.float32)

  def predict(self, outputs: Float[Array, '*b j']) -> Float[Array, '*b k']:
    """Ratings as the network learns them, neither clipped nor smoothed yet."""
    if not self.levels:
      return outputs
    return self._estimates(jax.nn.softmax(self._by_level(outputs)))

  # --- Evaluation

  def restored(self, fitted: Fit, values: Values) -> Values:
    return fitted.restored(values)

  def finished(self, predicted: Values) -> Values:
    """Clipped to the scale and, in time, smoothed."""
    predicted = np.asarray(predicted, float)
    if self.scale:
      least, most = self.scale
      predicted = np.clip(predicted, least, most)
    return in_time.smoothed(self, predicted) if self.level == 'frame' else predicted

  def baselines(
    self,
    fold: Fold,
    trials: list[Trial],
    features: Float[np.ndarray, 'trials features'] | None = None,
    groups: Int[np.ndarray, ' trials'] | None = None,
    seed: int = 0,
  ) -> list[Said]:
    """Constants, the person-blind prior, classic models, a formula."""
    return regression_baselines.baselines(self, fold, trials, features, groups, seed)

  def _pairs(
    self,
    rows: Sequence[Any],  # Predictions or Tracks, by the level
  ) -> tuple[
    Float[np.ndarray, ' n'], Float[np.ndarray, ' n'], Int[np.ndarray, ' rows']
  ]:
    """Ratings and predictions of rows, and how many each row has."""
    if self.level == 'trial':
      pairs = [(row.rating, row.predicted_rating) for row in rows]
      x, y = np.array(pairs, float).reshape(-1, 2).T
      return x, y, np.ones(len(rows), int)
    x, y = (
      np.concatenate([np.zeros(0), *(getattr(row, name) for row in rows)])
      for name in ('ratings', 'predictions')
    )
    return x, y, np.array([len(row.times) for row in rows], int)

  def sums(
    self,
    name: str,
    rows: Sequence['Prediction | Track'],
    subjects: Int[np.ndarray, ' rows'],
    parts: Sequence[Bool[np.ndarray, ' rows']],
    number: int,
  ) -> list[regression_scores.RegressionSums]:
    x, y, lengths = self._pairs(rows)
    who, folds = (
      np.repeat(of, lengths) for of in (subjects, [row.fold for row in rows])
    )
    found = []
    for part in parts:
      here = np.repeat(part, lengths)
      values = x[here], y[here], who[here], folds[here]
      found.append(regression_scores.sums(*values, number, self.thresholds))
    return found

  def composition(
    self, rows: Sequence['Prediction | Track']
  ) -> tuple[str, float] | None:
    if not self.thresholds:
      return None
    least = self.thresholds[0]
    return f'share of at least {least:g}', float((self._pairs(rows)[0] >= least).mean())

  def promise(
    self, rows: Sequence['Prediction | Track'], risk: float
  ) -> promises.Interval:
    columns = ('predictions', 'ratings')
    if self.level == 'trial':
      columns = 'predicted_rating', 'rating'
    return promises.interval(*promises.by_trial(rows, *columns), risk)

  def one_sided(self, rows: Sequence['Prediction | Track']) -> bool:
    return self.level == 'frame' and np.ptp(self._pairs(rows)[0]) == 0

  def one_answer(self, rows: Sequence['Prediction | Track']) -> str:
    rated, said, _ = (float(np.std(x)) for x in self._pairs(rows))
    if said < _STILL * rated:
      return f'hardly moves: its deviation is {said:.2g}, that of ratings {rated:.2g}'
    return ''

  def meaning(self) -> str:
    said = f'Predicted: {", ".join(self.ratings)}'
    said += f', {self.rate:g} times a second.' if self.level == 'frame' else '.'
    if self.scale:
      said += f' The scale goes from {self.scale[0]:g} to {self.scale[1]:g}.'
    if self.level == 'frame':
      return f'{said} {in_time.finish(self)}'
    return f'{said} Of many clips of a trial the {self.aggregate} counts.'
