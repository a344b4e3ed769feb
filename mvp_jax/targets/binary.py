"""Binary emotion: whether a trial's rating is high. What counts as high is set here."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mvp_jax.array_types import Array, Bool, Float, Int, Shaped
from mvp_jax.data.splits import Fold
from mvp_jax.data.trial import Trial
from mvp_jax.errors import InputError
from mvp_jax.targets import binary_baselines, binary_scores, promises
from mvp_jax.targets.base import (
  Baseline,
  Mean,
  Said,
  Target,
  Values,
  Weight,
  check_ratings,
)
from mvp_jax.targets.binary_baselines import CLASS_PRIOR
from mvp_jax.targets.binary_scores import SCORES, decide
from mvp_jax.targets.calibration import (
  Calibration,
  calibrate,
  equal_bins,
  temperature,
  tempered,
)

if TYPE_CHECKING:  # they import targets
  from mvp_jax.evaluation.predictions import Prediction

_LEAST_SHARE = 0.05  # so that a few trials of a rare class don't outweigh all others
THRESHOLDS = ('median', 'subject_median')  # or a number
# A model that says the same of so many trials has not learnt to tell them apart.
ONE_CLASS = 0.95


@dataclasses.dataclass(frozen=True)
class Thresholds:
  """What a rating must exceed to be high; a rating equal to it is low.

  Attributes:
    ratings: their names.
    values: one for each rating; None where each subject has its own.
    own: subject -> one for each rating, where each has its own.
    subjects: those whose ratings they were taken from; none for a given number.
    trials: the ids of the trials that they were taken from.
    shares: of high among the training trials, one for each rating; None = classes
      weigh as they come.
  """

  ratings: tuple[str, ...]
  values: tuple[float, ...] | None = None
  own: dict[int, tuple[float, ...]] = dataclasses.field(default_factory=dict)
  subjects: tuple[int, ...] = ()
  trials: tuple[str, ...] = ()
  shares: tuple[float, ...] | None = None

  def label(
    self, trial: Trial, seconds: float | None = None
  ) -> tuple[Float[np.ndarray, ' ratings'], Weight]:
    """1 where high, else 0; and its weight: float32 [ratings], or []."""
    values = self.own[trial.subject] if self.values is None else self.values
    high = np.array([trial.ratings[name] for name in self.ratings]) > values
    if self.shares is None:
      return high.astype(np.float32), np.float32(1)
    shares = np.clip(self.shares, _LEAST_SHARE, 1 - _LEAST_SHARE)
    weight = np.where(high, 0.5 / shares, 0.5 / (1 - shares))
    return high.astype(np.float32), weight.astype(np.float32)

  def describe(self) -> dict[str, Any]:
    """For run.json: the thresholds of each rating, and from whose ratings."""
    if self.values is not None:
      found: dict[str, Any] = dict(zip(self.ratings, self.values, strict=True))
    else:
      found = {
        name: {str(subject): values[i] for subject, values in self.own.items()}
        for i, name in enumerate(self.ratings)
      }
    shares = {} if self.shares is None else {'shares_of_high': list(self.shares)}
    return {'thresholds': found, 'subjects': list(self.subjects), **shares}


@dataclasses.dataclass(frozen=True)
class Binary(Target[Thresholds, 'Prediction']):
  """High or low, for each of some ratings of a trial.

  Attributes:
    ratings: names of ratings.
    threshold: a rating above it is high: a number, 'median' of the training trials,
      or 'subject_median', each subject's own.
    balanced: in training both classes weigh the same, as in the classic baselines. A
      score is then the probability of high if half of all trials were.
  """

  kind: ClassVar[str] = 'binary'
  classes: ClassVar[bool] = True
  scores: ClassVar = SCORES
  headline: ClassVar[str] = 'macro_f1'
  short: ClassVar = ('macro_f1', 'balanced_accuracy', 'auroc', 'accuracy')
  known_baselines: ClassVar = {
    'majority': Baseline(
      'majority class',
      'Majority class: what is more frequent among the training trials of the fold.',
      source=CLASS_PRIOR,
      chance='accuracy',
      phrase='that of always saying the majority class',
    ),
    'coin': Baseline(
      'class-prior coin',
      'Class-prior coin: says high at random with the share of high among those '
      'trials; its scores are exact expectations.',
      source=CLASS_PRIOR,
      chance='macro_f1',
    ),
    binary_baselines.STIMULUS_MEAN: Baseline(
      'stimulus mean',
      'Stimulus mean: what others thought of the same clip; no face and no signal.',
    ),
    binary_baselines.SUBJECT_MEAN: Baseline(
      'subject mean',
      "Subject mean: the same person's other trials. It takes labels of the test "
      'subject, which no subject-independent model has: a reference, not a rival.',
    ),
    'logistic': Baseline(
      'logistic regression',
      'Logistic regression and SVM: handcrafted features of the signals (and action '
      'units).',
      rival=True,
    ),
    'svm': Baseline('SVM', '', rival=True),
  }
  notes: ClassVar[str] = (
    'AUROC ranks only trials of the same fold: scores of two trained models are not '
    "on one scale. MCC: Matthews' correlation. CCC: Lin's concordance of predicted "
    'and given ratings, where a model predicts ratings. n/a: there is only one class, '
    'or nothing was predicted.'
  )
  one_sided_note: ClassVar[str] = (
    'all trials of the subject are of one class, so that macro-F1 can reach .5 only'
  )

  ratings: tuple[str, ...] = ('valence', 'arousal')
  threshold: float | str = 5.0
  balanced: bool = True

  def __post_init__(self) -> None:
    if isinstance(self.threshold, str):
      if self.threshold not in THRESHOLDS:
        raise InputError(
          f'threshold: {self.threshold!r} is neither a number nor one of '
          f'{", ".join(THRESHOLDS)}'
        )
    elif not math.isfinite(self.threshold):
      raise InputError(f'threshold: {self.threshold} is no number')

  # --- Labels

  def check(self, trials: Sequence[Trial]) -> None:
    """Raises InputError if a trial lacks a rating, or a rating is never given."""
    check_ratings(trials, self.ratings)

  def fixed(self) -> Thresholds | None:
    """The Thresholds of a number; None for those that ratings decide on."""
    if isinstance(self.threshold, str):
      return None
    return Thresholds(self.ratings, values=(float(self.threshold),) * self.outputs)

  def fit(self, train: Sequence[Trial], others: Sequence[Trial] = ()) -> Thresholds:
    """The Thresholds of a fold.

    'median' is that of the training trials. 'subject_median' is each subject's own:
    over its training trials where it has some, so that no rating of a test trial
    decides on a label that is trained on; over all its trials where it has none. A
    test trial's label then rests on other ratings of that subject, its input does
    not. Raises InputError if a subject's ratings do not part around their median.
    """
    fitted = self._thresholds(train, others)
    if not self.balanced or not train:
      return fitted
    shares = np.mean([fitted.label(trial)[0] for trial in train], axis=0, dtype=float)
    return dataclasses.replace(fitted, shares=tuple(shares.tolist()))

  def _thresholds(self, train: Sequence[Trial], others: Sequence[Trial]) -> Thresholds:
    if (fixed := self.fixed()) is not None:
      return fixed
    if self.threshold == 'median':
      return Thresholds(self.ratings, self._medians(train), {}, *_whose(train))
    by_subject: dict[int, list[Trial]] = {}
    for trial in train:
      by_subject.setdefault(trial.subject, []).append(trial)
    for subject in sorted({trial.subject for trial in others} - set(by_subject)):
      by_subject[subject] = [t for t in others if t.subject == subject]
    own = {subject: self._medians(trials) for subject, trials in by_subject.items()}
    for subject, trials in by_subject.items():
      self._check_parted(subject, trials, own[subject])
    used = [trial for trials in by_subject.values() for trial in trials]
    return Thresholds(self.ratings, None, dict(sorted(own.items())), *_whose(used))

  def _medians(self, trials: Sequence[Trial]) -> tuple[float, ...]:
    given = np.array([[t.ratings[name] for name in self.ratings] for t in trials])
    return tuple(np.median(given, axis=0).tolist())

  def _check_parted(
    self, subject: int, trials: Sequence[Trial], medians: tuple[float, ...]
  ) -> None:
    for name, median in zip(self.ratings, medians, strict=True):
      given = [trial.ratings[name] for trial in trials]
      if max(given) <= median:
        what = (
          f'is {median:g} in all {len(trials)} trials'
          if min(given) == median
          else f'is never above its median {median:g}'
        )
        raise InputError(
          f"target.threshold: 'subject_median' parts nothing where {name} of "
          f'subject {subject} {what}; leave the subject out or use a number'
        )

  def strata(self, trials: Sequence[Trial]) -> Bool[np.ndarray, 'trials ratings']:
    """What is above the threshold, or the median of all trials.

    Raises InputError if a given threshold has all trials on one side.
    """
    given = np.array([[t.ratings[name] for name in self.ratings] for t in trials])
    if isinstance(self.threshold, str):
      return given > np.median(given, axis=0)
    for name, column in zip(self.ratings, given.T, strict=True):
      if len(set(column > self.threshold)) == 1:
        raise InputError(
          f'config.target.threshold: {self.threshold:g} has all {len(trials)} trials '
          f'on one side, {name} is {column.min():g} to {column.max():g}; choose one '
          'between'
        )
    return given > self.threshold

  def check_fold(self, fold: int, train: Sequence[Trial], fitted: Thresholds) -> None:
    """Raises InputError if a rating has one class only among the training trials."""
    labels = np.array([fitted.label(trial)[0] for trial in train])
    for name, column in zip(self.ratings, labels.T, strict=True):
      if len(set(column)) == 1:
        raise InputError(
          f'evaluation.folds: fold {fold} would train on one class only, {name} is '
          f'{"high" if column[0] else "low"} in all {len(train)} trials; use other '
          'folds, fewer validation subjects or another target.threshold'
        )

  # --- On the device

  def smoothed(
    self, label: Float[Array, 'b k'], smoothing: float
  ) -> Float[Array, 'b k']:
    """Labels so much closer to one half."""
    return label * (1 - smoothing) + smoothing / 2

  def loss(
    self,
    outputs: Float[Array, 'b k'],
    label: Float[Array, 'b k'],
    weight: Float[Array, ' b'] | Float[Array, 'b k'],
  ) -> dict[str, Mean]:
    """Cross-entropy of the logits, and the accuracy of each rating, weighted."""
    loss = optax.sigmoid_binary_cross_entropy(outputs, label)
    right = decide(self.predict(outputs)) == (label > 0.5)
    if weight.ndim < label.ndim:
      weight = weight[:, None]
    weight = jnp.broadcast_to(weight, label.shape)
    return {'loss': Mean.of(loss, weight)} | {
      f'accuracy_{name}': Mean.of(right[:, i].astype(jnp.float32), weight[:, i])
      for i, name in enumerate(self.ratings)
    }

  def combine(
    self,
    outputs: Sequence[Float[Array, 'b k']],
    present: Sequence[Bool[Array, ' b']] | None = None,
  ) -> Float[Array, 'b k']:
    """The logit of the mean probability of high."""
    if len(outputs) == 1:
      return outputs[0]
    counted = 1.0 if present is None else jnp.stack(present)[..., None].astype(float)

    def log_sum(sign: int) -> Float[Array, 'b k']:
      logs = jnp.stack([jax.nn.log_sigmoid(sign * x) for x in outputs])
      return jax.nn.logsumexp(logs, axis=0, b=counted)

    return log_sum(1) - log_sum(-1)

  def predict(self, outputs: Float[Array, 'b k']) -> Float[Array, 'b k']:
    """The probability of high."""
    return jax.nn.sigmoid(outputs)

  # --- Evaluation

  def temperature(
    self,
    fitted: Thresholds,
    trials: Sequence[Trial],
    scores: Float[np.ndarray, 'trials k'],
  ) -> float | None:
    if not len(trials):
      return None
    labels, weights = zip(*(fitted.label(trial) for trial in trials), strict=True)
    labels = np.stack(labels)
    weights = np.stack([np.broadcast_to(x, labels.shape[1:]) for x in weights])
    return temperature(labels, scores, weights)

  def tempered(self, scores: Values, temperature: float) -> Values:
    return tempered(scores, temperature)

  def fields(
    self, label: float, predicted: float, rating: float | None = None
  ) -> dict[str, float | None]:
    return {
      'label': int(label),
      'score': float(predicted),
      'predicted_rating': None if rating is None else float(rating),
    }

  def fault(self, row: 'Prediction') -> str:
    if row.label not in (0, 1):
      return f'label is {row.label}, expected 0 or 1'
    if row.score is None or not 0 <= row.score <= 1:
      return f'score is {row.score}, expected a probability from 0 to 1'
    return ''

  def baselines(
    self,
    fold: Fold,
    trials: list[Trial],
    features: Float[np.ndarray, 'trials features'] | None = None,
    groups: Int[np.ndarray, ' trials'] | None = None,
    seed: int = 0,
  ) -> list[Said]:
    """Class prior, stimulus and subject mean; with features also classic models."""
    said = binary_baselines.simple_baselines(fold, trials)
    if features is not None and features.shape[1]:
      said += binary_baselines.classic_baselines(fold, trials, features, groups, seed)
    return said

  def sums(
    self,
    name: str,
    rows: Sequence['Prediction'],
    subjects: Int[np.ndarray, ' rows'],
    parts: Sequence[Bool[np.ndarray, ' rows']],
    number: int,
  ) -> list[binary_scores.BinarySums]:
    labels, scores = _column(rows, 'label'), _column(rows, 'score')
    trials = [labels, scores, subjects, _column(rows, 'fold')]
    more = {'predicted': self._said(name, scores), 'bins': equal_bins(scores)}
    if rows and rows[0].predicted_rating is not None:
      more['ratings'] = _column(rows, 'rating')
      more['predicted_ratings'] = _column(rows, 'predicted_rating')
    found = []
    for part in parts:
      of_part = {key: x[part] for key, x in more.items()}
      truth, score, who, fold = (x[part] for x in trials)
      one = binary_scores.sums(truth, score, who, fold, number, **of_part)
      if name == 'coin':
        one = _exact(one, truth, score, number)
      found.append(one)
    return found

  def _said(
    self, name: str, scores: Float[np.ndarray, ' rows']
  ) -> Float[np.ndarray, ' rows']:
    """Decisions; of the coin the probability of saying high."""
    return scores if name == 'coin' else decide(scores).astype(float)

  def composition(self, rows: Sequence['Prediction']) -> tuple[str, float]:
    return 'share of high', float(_column(rows, 'label').mean())

  def one_sided(self, rows: Sequence['Prediction']) -> bool:
    return len({row.label for row in rows}) < 2

  def one_answer(self, rows: Sequence['Prediction']) -> str:
    said, labels = decide(_column(rows, 'score')), _column(rows, 'label') == 1
    share, rated = said.mean(), labels.mean()
    for name, mine, its in (('high', share, rated), ('low', 1 - share, 1 - rated)):
      if mine >= ONE_CLASS > its:
        return f'says {name} to {mine:.0%} of the trials, of which {its:.0%} are {name}'
    # Each fold has a model of its own, and may have its own answer to all.
    _, run = np.unique(
      np.stack([_column(rows, 'seed'), _column(rows, 'fold')]),
      axis=1,
      return_inverse=True,
    )
    mine, its = (_most_frequent(x, run.ravel()) for x in (said, labels))
    if mine >= ONE_CLASS > its:
      return (
        f'says one class to {mine:.0%} of the trials of a fold, not the same in all '
        f'folds; {its:.0%} are of the one that is more frequent in theirs'
      )
    return ''

  def calibration(self, name: str, rows: Sequence['Prediction']) -> Calibration | None:
    if name == 'majority':
      return None
    labels, scores = _column(rows, 'label'), _column(rows, 'score')
    return calibrate(labels, scores, np.abs(labels - self._said(name, scores)))

  def promise(self, rows: Sequence['Prediction'], risk: float) -> promises.Abstention:
    return promises.abstention(*promises.by_trial(rows, 'score', 'label'), risk)

  def confusion(self, rows: Sequence['Prediction']) -> Int[np.ndarray, '2 2']:
    said = decide(_column(rows, 'score'))
    counts = binary_scores.confusion(_column(rows, 'label'), said)
    return counts.reshape(2, 2).astype(int)

  def is_right(self, row: 'Prediction') -> bool:
    assert row.score is not None, 'a row that `fault` lets pass has a score'
    return bool(decide(row.score)) == bool(row.label)

  def meaning(self) -> str:
    if isinstance(self.threshold, str):
      return f'High is above the {self.threshold.replace("_", " ")} of the ratings.'
    return f'High is a rating above {self.threshold:g}.'


def _exact(
  sums: binary_scores.BinarySums,
  labels: binary_scores.Labels,
  probabilities: Float[np.ndarray, ' n'],
  number: int,
) -> binary_scores.BinarySums:
  """Sums of a coin whose scores of all subjects are their exact expectations."""
  found = sums.scores(np.ones((1, number)))[0]
  known = binary_scores.coin_scores(labels, probabilities)
  exact = np.array([known.get(key, x) for key, x in zip(SCORES, found, strict=True)])
  offset = np.where(np.isfinite(exact), exact - found, 0)
  return dataclasses.replace(sums, offset=offset)


def _most_frequent(high: Bool[np.ndarray, ' n'], run: Int[np.ndarray, ' n']) -> float:
  """The share of the class that is more frequent in each run, over all runs."""
  count, total = np.bincount(run, high), np.bincount(run)
  return np.maximum(count, total - count).sum() / len(run)


def _column(rows: Sequence['Prediction'], name: str) -> Shaped[np.ndarray, ' rows']:
  return np.array([getattr(row, name) for row in rows])


def _whose(trials: Sequence[Trial]) -> tuple[tuple[int, ...], tuple[str, ...]]:
  """The subjects and the ids of some trials."""
  subjects = tuple(sorted({trial.subject for trial in trials}))
  return subjects, tuple(trial.trial_id for trial in trials)
