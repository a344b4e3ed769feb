"""Baselines: means by hand, classic models against scikit-learn's own pipeline."""

import functools

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, ParameterGrid, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mvp_jax.data import handcrafted, splits
from mvp_jax.data.handcrafted import feature_table
from mvp_jax.data.splits import select
from mvp_jax.raw.features import trial_features
from mvp_jax.targets import Binary
from mvp_jax.targets.binary_baselines import (
  classic_baselines,
  classify,
  inner_folds,
  simple_baselines,
  standardised,
)
from tests.data.tiny_trials import random_trials, trial
from tests.evaluation.memory import MemoryCorpus, twin

BASELINES = ('class_prior', 'stimulus_mean', 'subject_mean')
make_folds = functools.partial(splits.make_folds, target=Binary())
_TRIALS = random_trials(subjects=6, stimuli=5, spread=1)


def _said(said, model):
  return {x.trial_id: x for x in said if x.model == model}


@pytest.mark.parametrize('protocol', ['subjects', 'stimuli', 'subjects_x_stimuli'])
def test_what_ratings_alone_predict(protocol):
  for fold in make_folds(_TRIALS, protocol, folds=2):
    said = simple_baselines(fold, _TRIALS)
    train, test = select(_TRIALS, fold.train), select(_TRIALS, fold.test)
    prior = np.mean(
      [[t.ratings[x] > 5 for x in ('valence', 'arousal')] for t in train], 0
    )
    assert {x.model for x in said} == set(BASELINES)
    for model in BASELINES:
      assert _said(said, model).keys() == set(fold.test)
    for t in test:
      np.testing.assert_allclose(_said(said, 'class_prior')[t.trial_id].score, prior)
      for model, others in (
        ('stimulus_mean', [o for o in train if o.stimulus == t.stimulus]),
        ('subject_mean', [o for o in _TRIALS if o.subject == t.subject and o != t]),
      ):
        got = _said(said, model)[t.trial_id]
        if not others:
          assert protocol != 'subjects'
          np.testing.assert_allclose(got.score, prior)
          continue
        ratings = np.array(
          [[o.ratings[x] for x in ('valence', 'arousal')] for o in others]
        )
        np.testing.assert_allclose(got.rating, ratings.mean(0))
        np.testing.assert_allclose(
          got.score, ((ratings > 5).sum(0) + prior) / (len(others) + 1)
        )


def test_what_one_says_of_a_trial_does_not_rest_on_its_own_rating():
  fold = make_folds(_TRIALS, folds=2)[0]
  name = fold.test[0]
  changed = [
    t
    if t.trial_id != name
    else trial(
      t.subject,
      t.stimulus,
      valence=10 - t.ratings['valence'],
      arousal=10 - t.ratings['arousal'],
    )
    for t in _TRIALS
  ]
  for model in BASELINES:
    a, b = (
      _said(simple_baselines(fold, trials), model)[name]
      for trials in (_TRIALS, changed)
    )
    np.testing.assert_array_equal(a.score, b.score)
    np.testing.assert_array_equal(a.rating, b.rating)


def test_with_their_own_medians_subjects_have_no_mean_to_speak_of():
  fold = make_folds(_TRIALS, folds=2, target=Binary(threshold='subject_median'))[0]
  assert {x.model for x in simple_baselines(fold, _TRIALS)} == {
    'class_prior',
    'stimulus_mean',
  }


def _problem(seed, effect=1.0):
  rng = np.random.default_rng(seed)
  groups = np.repeat(np.arange(8), 10)
  labels = rng.integers(0, 2, (80, 1))
  x = rng.normal(0, 1, (80, 5)) * [1, 10, 0.1, 1, 1] + 5
  x[:, 0] += effect * labels[:, 0]
  x[rng.random(x.shape) < 0.1] = np.nan
  x[:, 4] = 3.0  # says nothing
  return x, labels, groups, x[rng.permutation(80)[:30]] + [0.1, 0.1, 0.1, 0.1, 0]


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_classic_models_are_those_of_a_pipeline_with_a_grid_search(seed):
  x, labels, groups, test = _problem(seed)
  place = np.zeros(80, int)
  for number, (_, part) in enumerate(inner_folds(groups, seed)):
    place[part] = number
  found = classify(x, labels, groups, test, seed)
  for name, model in (
    ('logistic', LogisticRegression(class_weight='balanced', max_iter=5000)),
    ('svm', SVC(class_weight='balanced')),
  ):
    pipeline = make_pipeline(
      SimpleImputer(strategy='median', keep_empty_features=True),
      StandardScaler(),
      model,
    )
    step = type(model).__name__.lower()
    grid = {f'{step}__C': [0.001, 0.01, 0.1, 1.0, 10.0]}
    if name == 'svm':
      grid[f'{step}__kernel'] = ['linear', 'rbf']
    search = GridSearchCV(
      pipeline, grid, scoring='balanced_accuracy', cv=PredefinedSplit(place)
    ).fit(x, labels[:, 0])
    # It averages over inner folds, we pool them: the choice may differ, not the model.
    margins = [
      pipeline.set_params(**point).fit(x, labels[:, 0]).decision_function(test)
      for point in ParameterGrid(grid)
    ]
    scores = 1 / (1 + np.exp(-np.array(margins)))
    assert min(abs(scores - found[name][:, 0]).max(1)) < 2e-3
    best = 1 / (1 + np.exp(-search.decision_function(test)))
    assert ((best > 0.5) == (found[name][:, 0] > 0.5)).mean() > 0.7


def test_inner_folds_keep_groups_together():
  groups = np.array([5, 5, 7, 7, 7, 9, 2, 2, 11, 30])
  folds = inner_folds(groups, 1)
  assert sorted(np.concatenate([b for _, b in folds])) == list(range(10))
  for a, b in folds:
    assert not set(groups[a]) & set(groups[b]) and len(a) + len(b) == 10
  assert inner_folds(np.zeros(4), 0) == []


def test_gaps_are_filled_and_scales_fitted_by_training_trials_alone():
  train = np.array([[1.0, np.nan], [3, np.nan], [np.nan, np.nan]])
  a, b = standardised(train, np.array([[np.nan, 5.0], [100, np.nan]]))
  np.testing.assert_allclose(a, [[-np.sqrt(1.5), 0], [np.sqrt(1.5), 0], [0, 0]])
  np.testing.assert_allclose(b[:, 1], 0)
  assert b[0, 0] == 0 and b[1, 0] > 100


def test_test_trials_change_nothing_of_what_is_learnt():
  rng = np.random.default_rng(0)
  features = rng.normal(size=(len(_TRIALS), 4))
  groups = np.array([t.subject for t in _TRIALS])
  fold = make_folds(_TRIALS, folds=3)[0]
  others = features.copy()
  tested = [t.trial_id in fold.test for t in _TRIALS]
  others[np.flatnonzero(tested)[1:]] = 1e6
  name = np.array([t.trial_id for t in _TRIALS])[tested][0]
  for model in ('logistic', 'svm'):
    a, b = (
      _said(classic_baselines(fold, _TRIALS, x, groups), model)
      for x in (features, others)
    )
    assert a.keys() == set(fold.test)
    np.testing.assert_array_equal(a[name].score, b[name].score)


def test_without_groups_subjects_belong_together():
  features = np.random.default_rng(0).normal(size=(len(_TRIALS), 4))
  fold = make_folds(_TRIALS, folds=3)[0]
  subjects = np.array([t.subject for t in _TRIALS])
  given = Binary().baselines(fold, _TRIALS, features, subjects)
  for a, b in zip(Binary().baselines(fold, _TRIALS, features), given, strict=True):
    assert (a.model, a.trial_id) == (b.model, b.trial_id)
    np.testing.assert_array_equal(a.score, b.score)


def test_an_effect_in_the_features_is_found_and_none_is_not():
  def accuracy(effect, model):
    found = []
    for seed in range(3):
      x, labels, groups, _ = _problem(seed, effect)
      train = groups < 5
      scores = classify(x[train], labels[train], groups[train], x[~train])[model]
      found.append(balanced_accuracy_score(labels[~train], scores > 0.5))
    return np.mean(found)

  for model in ('logistic', 'svm'):
    assert accuracy(4.0, model) > 0.85
    assert 0.3 < accuracy(0.0, model) < 0.7


def test_features_are_those_of_each_trial_and_are_kept(tmp_path, monkeypatch):
  trials = twin(subjects=1, trials=3, seconds=20)
  corpus = MemoryCorpus(trials, tmp_path / 'corpus/1.0.0')
  values, names = feature_table(corpus, trials)
  expected = [
    trial_features(t.streams['signals'].values, 128, ['eda', 'ppg']) for t in trials
  ]
  assert 'ppg_heart_rate' in names and np.isfinite(values).any(0).all()
  for row, features in zip(values, expected, strict=True):
    np.testing.assert_array_equal(row, [features[name] for name in names])
  monkeypatch.setattr(handcrafted, 'trial_features', None)
  again, _ = feature_table(corpus, trials)
  np.testing.assert_array_equal(again, values)
