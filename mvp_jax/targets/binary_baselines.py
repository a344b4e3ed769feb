"""What a model has to beat: predictors that know little of face and body.

- class_prior: the share of high among the training trials.
- stimulus_mean: what the clip alone predicts, by the ratings that those trained on
  gave it.
- subject_mean: the test subject's other trials. It takes labels of the test subject,
  which no subject-independent model has: a reference, and no rival. Leaving one trial
  out, it falls below chance where a subject's labels are balanced.
- logistic, svm: handcrafted features of signals and action units, the strongest simple
  rival (docs/evaluation.md).
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mvp_jax.array_types import Float, Int
from mvp_jax.data.splits import Fold
from mvp_jax.data.trial import Trial
from mvp_jax.targets.base import Said

if TYPE_CHECKING:  # they import this module
  from sklearn.linear_model import LogisticRegression
  from sklearn.svm import SVC

  from mvp_jax.targets.binary import Thresholds

CLASS_PRIOR = 'class_prior'
STIMULUS_MEAN = 'stimulus_mean'
SUBJECT_MEAN = 'subject_mean'
CLASSIC = ('logistic', 'svm')

_COSTS = (0.001, 0.01, 0.1, 1.0, 10.0)  # C
# An SVM may also choose its kernel. On real facial EMG and EDA (37 people, 6 folds) the
# AUROC is .73 with both, .74 with the straight one alone and .69 with the other alone.
_KERNELS = {'logistic': ('linear',), 'svm': ('linear', 'rbf')}
_INNER_FOLDS = 4

Features: TypeAlias = Float[np.ndarray, 'm F']  # NaN where not defined
Others: TypeAlias = Float[np.ndarray, 'n F']  # the same, of other examples
Groups: TypeAlias = Int[np.ndarray, ' m']  # which belong together
Labels: TypeAlias = Int[np.ndarray, ' m']  # 0 or 1
Ratings: TypeAlias = Float[np.ndarray, ' k']  # or shares of high, one for each
# Of an inner fold: standardised features of both sides, and the rows of these.
Inner: TypeAlias = tuple[
  Float[np.ndarray, '_ F'],
  Float[np.ndarray, '_ F'],
  Int[np.ndarray, ' _'],
  Int[np.ndarray, ' _'],
]


def simple_baselines(fold: Fold, trials: list[Trial]) -> list[Said]:
  """Says what ratings alone predict of a fold's test trials.

  `trials` are all of those in the folds.
  """
  sides = frozenset(fold.train), frozenset(fold.test)
  train, test = ([t for t in trials if t.trial_id in side] for side in sides)
  prior = _average(train, fold.target)
  by_stimulus: dict[int | None, list[Trial]] = {}
  by_subject: dict[int, list[Trial]] = {}
  said = []
  for trial in train:
    by_stimulus.setdefault(trial.stimulus, []).append(trial)
  for trial in trials:
    by_subject.setdefault(trial.subject, []).append(trial)
  for trial in test:
    said.append(Said(CLASS_PRIOR, trial.trial_id, *prior))
    if trial.stimulus is not None:
      alike = _average(by_stimulus.get(trial.stimulus, []), fold.target, prior)
      said.append(Said(STIMULUS_MEAN, trial.trial_id, *alike))
    if fold.target.values is not None:  # else half of each subject's are high
      others = [t for t in by_subject[trial.subject] if t is not trial]
      own = _average(others, fold.target, prior)
      said.append(Said(SUBJECT_MEAN, trial.trial_id, *own))
  return said


def _average(
  trials: Sequence[Trial],
  fitted: 'Thresholds',
  prior: tuple[Ratings, Ratings] | None = None,
) -> tuple[Ratings, Ratings]:
  """Shares of high, with the prior as one trial more, and mean ratings."""
  if prior is not None and not trials:
    return prior
  labels, number = [fitted.label(trial)[0] for trial in trials], len(trials)
  high: Ratings = np.sum(labels, axis=0, dtype=float)
  share = high / number if prior is None else (high + prior[0]) / (number + 1)
  ratings = [[t.ratings[name] for name in fitted.ratings] for t in trials]
  return share, np.mean(ratings, axis=0)


def classic_baselines(
  fold: Fold,
  trials: list[Trial],
  features: Features,
  groups: Groups | None = None,
  seed: int = 0,
) -> list[Said]:
  """Trains logistic regression and an SVM on a fold; what they say of its test trials.

  Features are standardised, their gaps filled by medians; classes weigh the same; C,
  and of the SVM the kernel, are chosen by balanced accuracy on other groups: all from
  training trials alone.
  The SVM's score is a logistic function of its margin: it ranks and decides, but is no
  calibrated probability.

  Args:
    features: of each trial, NaN where not defined.
    groups: of the trials, which belong together (subjects, or stimuli); None =
      subjects.
    seed: of the inner folds.
  """
  if groups is None:
    groups = np.array([trial.subject for trial in trials])
  sides = {name: side for side in ('train', 'test') for name in getattr(fold, side)}
  side = np.array([sides.get(trial.trial_id, '') for trial in trials])
  train, test = np.flatnonzero(side == 'train'), np.flatnonzero(side == 'test')
  labels = np.array([fold.target.label(trials[i])[0] for i in train]).astype(int)
  scores = classify(features[train], labels, groups[train], features[test], seed)
  return [
    Said(model, trials[i].trial_id, score)
    for model, of_model in scores.items()
    for i, score in zip(test, of_model, strict=True)
  ]


def classify(
  train: Features,
  labels: Int[np.ndarray, 'm k'],
  groups: Groups,
  test: Others,
  seed: int = 0,
) -> dict[str, Float[np.ndarray, 'n k']]:
  """Scores of classic models, by name.

  Args:
    train: NaN where not defined.
    labels: 0 or 1.
    groups: which belong together when C is chosen.
    test: of what is asked.
    seed: of the inner folds.
  """
  # Imported on the first use: it takes seconds.
  import sklearn.linear_model  # noqa: F401
  import sklearn.svm  # noqa: F401
  from threadpoolctl import threadpool_limits  # comes with scikit-learn

  with threadpool_limits(1):  # for so few numbers threads wait more than they work
    return _classify(train, labels, groups, test, seed)


def _classify(
  train: Features,
  labels: Int[np.ndarray, 'm k'],
  groups: Groups,
  test: Others,
  seed: int,
) -> dict[str, Float[np.ndarray, 'n k']]:
  scores, folds = {}, inner_folds(groups, seed)
  inner = [(*standardised(train[a], train[b]), a, b) for a, b in folds]
  x, x_test = standardised(train, test)
  for name in CLASSIC:
    models = [_fitted(name, *_best(name, inner, y), x, y) for y in labels.T]
    margins = np.stack([model.decision_function(x_test) for model in models], 1)
    scores[name] = 1 / (1 + np.exp(-np.clip(margins, -500, 500)))
  return scores


def standardised(train: Features, test: Others) -> tuple[Features, Others]:
  """Both with gaps filled by the medians of `train`, over its mean and deviation."""
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', RuntimeWarning)  # a column without any
    median = np.nan_to_num(np.nanmedian(train, axis=0))
  filled = [np.where(np.isfinite(x), x, median) for x in (train, test)]
  mean, std = filled[0].mean(0), filled[0].std(0)
  std = np.where(std > 1e-12 * (1 + abs(mean)), std, np.inf)
  train, test = ((x - mean) / std for x in filled)
  return train, test


def inner_folds(
  groups: Groups, seed: int = 0
) -> list[tuple[Int[np.ndarray, ' _'], Int[np.ndarray, ' _']]]:
  """Pairs (train, test) of indices; each group is on one side. None of one."""
  names = np.random.default_rng(seed).permutation(np.unique(groups))
  if len(names) < 2:
    return []
  parts = np.array_split(names, min(_INNER_FOLDS, len(names)))
  sides = [np.isin(groups, part) for part in parts]
  return [(np.flatnonzero(~test), np.flatnonzero(test)) for test in sides]


def _best(name: str, inner: Sequence[Inner], y: Labels) -> tuple[str, float]:
  """Kernel and C of the best balanced accuracy over inner folds; ties: the first."""
  usable = [fold for fold in inner if len(set(y[fold[2]])) == 2]
  tried = [(kernel, cost) for kernel in _KERNELS[name] for cost in _COSTS]
  if not usable:
    return _KERNELS[name][-1], 1.0
  results = []
  for kernel, cost in tried:
    right = np.concatenate(
      [
        (_fitted(name, kernel, cost, x, y[a]).decision_function(x_test) > 0) == y[b]
        for x, x_test, a, b in usable
      ]
    )
    truth = np.concatenate([y[b] for *_, b in usable])
    results.append(np.mean([right[truth == c].mean() for c in set(truth)]))
  return tried[int(np.argmax(results))]


def _fitted(
  name: str, kernel: str, cost: float, x: Features, y: Labels
) -> 'SVC | LogisticRegression':
  from sklearn.linear_model import LogisticRegression
  from sklearn.svm import SVC

  if name == 'svm':
    return SVC(C=cost, kernel=kernel, class_weight='balanced').fit(x, y)
  return LogisticRegression(C=cost, class_weight='balanced', max_iter=5000).fit(x, y)
