"""What models of numbers have to beat: constants, and classic models of features.

- training_median, training_mean: one number for all. The median is the constant of the
  least absolute error, the mean that of the least square.
- blind_prior: what others had for the same stimulus or, in time, at the same time since
  the onset: all that can be said without looking at the person.
- ridge, forest: ridge regression and a random forest on handcrafted features. In time
  these are the series of the trials themselves (action units, body signals): of each
  channel what `concordance_baselines` takes, now and on average over the second before
  and after.
- formula: a published formula of action units, see `FORMULAS`; nothing in it is fitted.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.ndimage import uniform_filter1d

from mvp_jax.array_types import Float, Int
from mvp_jax.data.descriptors import Name
from mvp_jax.data.spans import span_means
from mvp_jax.data.splits import Fold
from mvp_jax.data.trial import Series, Trial
from mvp_jax.targets.base import Baseline, Said, Values
from mvp_jax.targets.binary_baselines import (
  Features,
  Groups,
  Others,
  inner_folds,
  standardised,
)
from mvp_jax.targets.concordance_baselines import feature_names, features_in_time

if TYPE_CHECKING:  # they import this module
  from mvp_jax.targets.regression import Regression
  from mvp_jax.targets.regression_fit import Fit

TRAINING_MEDIAN = 'training_median'
TRAINING_MEAN = 'training_mean'
BLIND_PRIOR = 'blind_prior'
RIDGE = 'ridge'
FOREST = 'forest'
FORMULA = 'formula'

_COSTS = 10.0 ** np.arange(-3, 4)  # on the squares of standardised features, per trial
_TREES = 200
_LEAF = {'trial': 3, 'frame': 20}  # least examples of a leaf
_MOST = 20_000  # moments that classic models are fitted on, drawn evenly
_AROUND = 2.0  # seconds

# What it says of a trial: its ratings, or those of each label time.
Says: TypeAlias = Callable[[Trial], Values]
Rated: TypeAlias = Float[np.ndarray, 'm k']
Classic: TypeAlias = Callable[[Others], Float[np.ndarray, 'n k']]

Units: TypeAlias = Mapping[str, Float[np.ndarray, ' L']]  # by the name of a channel
Formula: TypeAlias = Callable[[Units], Float[np.ndarray, ' L']]


def pspi(units: Units) -> Float[np.ndarray, ' L']:
  """Prkachin and Solomon's pain intensity (2008), of OpenFace's action units.

  AU4 + max(AU6, AU7) + max(AU9, AU10) + AU43, 0 to 16. Closed eyes (AU43, 0 or 1)
  OpenFace does not tell: its AU45, a blink, stands in, present or not.
  """
  return (
    units['AU04_r']
    + np.maximum(units['AU06_r'], units['AU07_r'])
    + np.maximum(units['AU09_r'], units['AU10_r'])
    + (units['AU45_c'] >= 0.5)
  )


# By name, with the channels that it reads.
FORMULAS: dict[str, tuple[Formula, tuple[str, ...]]] = {
  'pspi': (
    pspi,
    ('AU04_r', 'AU06_r', 'AU07_r', 'AU09_r', 'AU10_r', 'AU45_c'),
  )
}


def known(target: 'Regression') -> dict[str, Baseline]:
  """What they are called, in the order of tables."""
  in_frames = target.level == 'frame'
  median = Baseline(
    'training median',
    'Training median: one number for all, of the least absolute error in training.',
    chance='mae',
    phrase='that of always saying the training median',
  )
  mean = Baseline(
    'training mean',
    'Training mean: one number for all, of the least square error in training.',
    chance='icc' if in_frames else 'rmse',
    phrase='that of always saying the training mean',
  )
  constants = [(TRAINING_MEDIAN, median), (TRAINING_MEAN, mean)]
  same = 'at the same time since the onset' if in_frames else 'for the same stimulus'
  features = (
    'their series' if in_frames else 'the signals (and action units, and voice)'
  )
  return dict(constants[::-1] if in_frames else constants) | {
    BLIND_PRIOR: Baseline(
      'person-blind prior',
      f'Person-blind prior: what others had {same}; no face and no signal.',
    ),
    RIDGE: Baseline(
      'ridge regression',
      f'Ridge regression and random forest: handcrafted features of {features}.',
      rival=True,
    ),
    FOREST: Baseline('random forest', '', rival=True),
    FORMULA: Baseline(
      f'{target.formula.upper() or "a"} formula',
      'Formula: the published sum of action units, with nothing fitted.',
      rival=True,
    ),
  }


def baselines(
  target: 'Regression',
  fold: Fold,
  trials: list[Trial],
  features: Features | None = None,
  groups: Groups | None = None,
  seed: int = 0,
) -> list[Said]:
  """What they say of a fold's test trials.

  Args:
    trials: of all folds.
    features: of each trial, level 'trial', NaN where not defined; or None.
    groups: which trials belong together when the cost of ridge regression is chosen;
      None = subjects.
    seed: of that choice, and of the forest.
  """
  if groups is None:
    groups = np.array([trial.subject for trial in trials])
  sides = frozenset(fold.train), frozenset(fold.test)
  train, test = (
    np.array([i for i, t in enumerate(trials) if t.trial_id in side], int)
    for side in sides
  )
  of_train = [trials[i] for i in train]
  say = {
    TRAINING_MEDIAN: _constant(target, fold.target.medians),
    TRAINING_MEAN: _constant(target, fold.target.means),
  }
  if target.level == 'frame':
    say[BLIND_PRIOR] = _prior_in_time(target, fold.target, of_train)
    say |= _classic_in_time(target, of_train, groups[train], seed)
    if target.formula:
      say |= _formula(target, fold.target, of_train)
  else:
    if any(trial.stimulus is not None for trial in trials):
      say[BLIND_PRIOR] = _prior(target, fold.target, of_train)
    if features is not None and features.shape[1]:
      say |= _classic(target, trials, features, train, test, groups, seed)
  return [
    Said(name, trials[i].trial_id, fold.target.standardised(says(trials[i])))
    for i, (name, says) in itertools.product(test, say.items())
  ]


def _constant(target: 'Regression', values: tuple[float, ...]) -> Says:
  row = np.array(values)
  if target.level == 'trial':
    return lambda trial: row
  return lambda trial: np.tile(row, (target.length(trial), 1))


def _prior(target: 'Regression', fitted: 'Fit', trials: Sequence[Trial]) -> Says:
  """The median of the same stimulus, or that of all where nobody else had it."""
  by_stimulus: dict[int | None, list[np.ndarray]] = {}
  for trial in trials:
    by_stimulus.setdefault(trial.stimulus, []).append(target.given(trial))
  medians = {name: np.median(rows, axis=0) for name, rows in by_stimulus.items()}
  return lambda trial: medians.get(trial.stimulus, np.array(fitted.medians))


def _prior_in_time(
  target: 'Regression', fitted: 'Fit', trials: Sequence[Trial]
) -> Says:
  """The mean of each label time over trials, with the overall mean as one more."""
  longest = max(map(target.length, trials), default=0)
  total, count = np.zeros((2, longest, len(target.ratings)))
  for trial in trials:
    rated = target.annotated(trial)
    there = np.isfinite(rated)
    total[: len(rated)] += np.where(there, rated, 0)
    count[: len(rated)] += there
  mean = np.array(fitted.means)
  course = (total + mean) / (count + 1)

  def says(trial: Trial) -> Values:
    found = np.tile(mean, (target.length(trial), 1))
    found[:longest] = course[: len(found)]
    return found

  return says


def _classic(
  target: 'Regression',
  trials: list[Trial],
  features: Features,
  train: Int[np.ndarray, ' train'],
  test: Int[np.ndarray, ' test'],
  groups: Groups,
  seed: int,
) -> dict[str, Says]:
  rated = np.array([target.given(trials[i]) for i in train])
  models = classic_models(
    features[train], rated, groups[train], _LEAF['trial'], seed, len(test)
  )
  said = {name: model(features[test]) for name, model in models.items()}
  place = {trials[i].trial_id: row for row, i in enumerate(test)}

  def of(values: Float[np.ndarray, 'test k']) -> Says:
    return lambda trial: values[place[trial.trial_id]]

  return {name: of(values) for name, values in said.items()}


def _classic_in_time(
  target: 'Regression', trials: Sequence[Trial], groups: Groups, seed: int
) -> dict[str, Says]:
  names = feature_names(target, trials)
  if not names:
    return {}
  count = max(sum(map(target.length, trials)), 1)
  rng, kept = np.random.default_rng(seed), []
  for trial, group in zip(trials, groups, strict=True):  # need not all be in memory
    rated = target.annotated(trial)
    here = np.isfinite(rated).all(1)
    here &= rng.uniform(size=len(here)) < _MOST / count
    if here.any():
      design = _design(target, trial, names)[here]
      kept.append((design, rated[here], np.full(len(design), group)))
  if not kept:
    return {}
  x, y, of = (np.concatenate(parts) for parts in zip(*kept, strict=True))
  models = classic_models(x, y, of, _LEAF['frame'], seed)

  def says(model: Classic) -> Says:
    return lambda trial: model(_design(target, trial, names))

  return {name: says(model) for name, model in models.items()}


def _design(
  target: 'Regression', trial: Trial, names: Sequence[Name]
) -> Float[np.ndarray, 'L columns']:
  """Features at each label time, and their means around it."""
  now = features_in_time(target, trial, names)
  if not len(now):
    return np.zeros((0, 2 * len(names)))
  size, there = max(round(_AROUND * target.rate), 1), np.isfinite(now)
  total, share = (
    uniform_filter1d(x.astype(float), size, axis=0, mode='constant')
    for x in (np.where(there, now, 0), there)
  )
  some = share > 0.5 / size
  around = np.divide(total, share, np.full_like(total, np.nan), where=some)
  return np.concatenate([now, around], axis=1)


def classic_models(
  x: Features, y: Rated, groups: Groups, leaf: int, seed: int = 0, asked: int = 1
) -> dict[str, Classic]:
  """Ridge regression and a random forest, by name.

  Args:
    x: NaN where not defined: the median stands there.
    y: what is learnt.
    groups: which belong together when the cost of ridge regression is chosen.
    leaf: least examples of a leaf of the forest.
    seed: of both.
    asked: of how many examples the models will be asked; nothing is fitted for 0.
  """
  if not asked or not len(x):
    return {}
  from sklearn.ensemble import RandomForestRegressor  # takes seconds to import
  from threadpoolctl import threadpool_limits  # comes with scikit-learn

  with threadpool_limits(1):  # for so few numbers threads wait more than they work
    (own, _), middle = standardised(x, x), y.mean(0)
    slopes = _slopes(own, y - middle, _cost(x, y, groups, seed))
    tried = min(x.shape[1], max(x.shape[1] // 3, 3))  # features at each split
    forests = [
      RandomForestRegressor(
        _TREES, min_samples_leaf=leaf, max_features=tried, random_state=seed
      ).fit(own, column)
      for column in y.T
    ]

  def ridge(asked: Others) -> Float[np.ndarray, 'n k']:
    return standardised(x, asked)[1] @ slopes + middle

  def forest(asked: Others) -> Float[np.ndarray, 'n k']:
    own = standardised(x, asked)[1]
    if not len(own):
      return np.zeros((0, y.shape[1]))
    return np.stack([one.predict(own) for one in forests], axis=-1)

  return {RIDGE: ridge, FOREST: forest}


def _slopes(x: Features, y: Rated, cost: float) -> Float[np.ndarray, 'F k']:
  """Of ridge regression on centred columns; `cost` counts per example."""
  return np.linalg.solve(x.T @ x + cost * len(x) * np.eye(x.shape[1]), x.T @ y)


def _cost(x: Features, y: Rated, groups: Groups, seed: int) -> float:
  """The cost of the least square error on groups that were not trained on."""
  errors = np.zeros(len(_COSTS))
  for a, b in inner_folds(groups, seed):
    (own, other), middle = standardised(x[a], x[b]), y[a].mean(0)
    for i, cost in enumerate(_COSTS):
      said = other @ _slopes(own, y[a] - middle, cost) + middle
      errors[i] += np.square(said - y[b]).sum()
  return _COSTS[int(np.argmin(errors))] if errors.any() else 1.0


def _formula(
  target: 'Regression', fitted: 'Fit', trials: Sequence[Trial]
) -> dict[str, Says]:
  """What a formula says of trials, where some stream has its channels, or {}."""
  work_out, channels = FORMULAS[target.formula]

  def stream_of(trial: Trial) -> Series | None:
    for name, series in trial.series.items():
      if name != target.stream and set(channels) <= set(series.channels):
        return series
    return None

  if all(stream_of(trial) is None for trial in trials):
    return {}

  def says(trial: Trial) -> Values:
    found = np.tile(np.array(fitted.means), (target.length(trial), 1))
    if (series := stream_of(trial)) is not None:
      values = span_means(series, target.rate, len(found), channels)
      there = np.isfinite(values).all(1)  # else there was no face: the training mean
      found[there, 0] = work_out(dict(zip(channels, values[there].T, strict=True)))
    return found

  return {FORMULA: says}
