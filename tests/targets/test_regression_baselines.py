"""What models of numbers have to beat, and what the report says of who does."""

import dataclasses
import json

import numpy as np
import pytest

from mvp_jax.data.splits import make_folds, select
from mvp_jax.data.trial import Series, Trial
from mvp_jax.evaluation import cases, report
from mvp_jax.evaluation.predictions import file_name, told, write_predictions
from mvp_jax.evaluation.results import evaluate
from mvp_jax.raw.openface import CHANNELS
from mvp_jax.targets import Regression
from mvp_jax.targets.regression_baselines import FORMULAS, pspi

_BDI = Regression(ratings=('depression',), scale=(0.0, 63.0), thresholds=(14.0, 29.0))
_PSPI = Regression(
  ratings=('pspi',),
  level='frame',
  rate=5.0,
  scale=(0.0, 16.0),
  thresholds=(1.0, 2.0, 3.0),
  formula='pspi',
)
_SEED = 0


def _depressed(subjects=20, null=False):
  """Trials, and features of which the first tells the score; half of them stimulus 2.

  The second stimulus goes with 20 more.
  """
  rng, trials, features = np.random.default_rng(_SEED), [], []
  for subject in range(1, subjects + 1):
    for number in (1, 2):
      told, more = rng.normal(size=2), 20 * (number - 1)
      score = np.clip(12 + more + 8 * told[0] + rng.normal(0, 2), 0, 60).round()
      if null:
        told[0] = rng.normal()
      trials.append(
        Trial(
          trial_id=f's{subject}_t{number}',
          subject=subject,
          trial=number,
          stimulus=number,
          ratings={'depression': float(score)},
          streams={},
        )
      )
      features.append([*told, np.nan if subject == 3 else number])
  return trials, np.array(features)


def _units(rng, pain):
  """Action units [n, 35] whose formula gives `pain`, up to noise."""
  values = rng.uniform(0, 0.2, (len(pain), len(CHANNELS)))
  rest = pain.copy()
  for name, most in (('AU04_r', 5), ('AU06_r', 5), ('AU09_r', 5), ('AU45_c', 1)):
    part = np.clip(rest, 0, most)
    values[:, CHANNELS.index(name)] = part
    rest = rest - part
  return values


def _in_pain(subjects=6, seconds=60):
  rng, found = np.random.default_rng(_SEED), []
  for subject in range(1, subjects + 1):
    pain = np.zeros(seconds * 5)
    for start in (100, rng.integers(150, 280)):  # of all at one time, and at another
      pain[start : start + 10] = rng.integers(1, 12)
    units = _units(rng, pain).astype(np.float32)
    there = np.ones(units.shape, bool)
    there[5:9] = False
    streams = {
      'ratings': Series(
        pain[:, None].astype(np.float32), np.ones((len(pain), 1), bool), ('pspi',), 5.0
      ),
      'action_units': Series(np.where(there, units, 0), there, CHANNELS, 5.0),
    }
    found.append(Trial(f's{subject}', subject, 1, None, {}, streams))
  return found


def _rows(target, trials, folds, features=None, models=(('better', 0.2), ('worse', 1))):
  rng, found = np.random.default_rng(1), []
  of = {trial.trial_id: trial for trial in trials}
  for fold in folds:
    for trial in select(trials, fold.test):
      seconds = trial.seconds if target.level == 'frame' else None
      label, _ = fold.target.label(trial, seconds)
      for model, noise in models:
        said = label + rng.normal(0, noise, label.shape)
        found += told(target, fold, 0, 'toy', trial, model, said)
    for said in target.baselines(fold, trials, features):
      found += told(target, fold, 0, 'toy', of[said.trial_id], said.model, said.score)
  return found


@pytest.fixture(scope='module')
def depressed():
  trials, features = _depressed()
  folds = make_folds(trials, folds=4, target=_BDI)
  return trials, folds, _rows(_BDI, trials, folds, features)


@pytest.fixture(scope='module')
def in_pain():
  trials = _in_pain()
  folds = make_folds(trials, folds=3, target=_PSPI)
  return trials, folds, _rows(_PSPI, trials, folds)


def test_baselines_of_trials(depressed):
  trials, folds, rows = depressed
  (result,) = evaluate(rows, _BDI, main='better', resamples=20)
  assert result.baselines == (
    *('training_median', 'training_mean', 'blind_prior', 'ridge', 'forest'),
  )
  assert result.chance == 'training_median'
  fold = folds[0]
  given = [t.ratings['depression'] for t in select(trials, fold.train)]
  said = {r.model: r.predicted_rating for r in rows if r.trial_key[1:3] == _first(fold)}
  assert said['training_median'] == np.median(given)
  assert said['training_mean'] == pytest.approx(np.mean(given), abs=1e-4)
  second = [t.ratings['depression'] for t in select(trials, fold.train) if t.trial == 2]
  own = [r for r in rows if r.model == 'blind_prior' and r.fold == 0 and r.trial == 2]
  assert {r.predicted_rating for r in own} == {np.median(second)}
  mae = {name: of['mae'].value for name, of in result.scores.items()}
  # What is left of a feature that tells all but noise of deviation 2.
  assert mae['ridge'] < 2.6 and mae['forest'] < mae['blind_prior']
  assert mae['ridge'] < mae['blind_prior'] < mae['training_median']


def _first(fold):
  subject, trial = fold.test[0].removeprefix('s').split('_t')
  return int(subject), int(trial)


def test_nothing_beats_the_median_where_nothing_is():
  trials, features = _depressed(30, null=True)
  trials = [dataclasses.replace(t, stimulus=None) for t in trials]
  features = features[:, :2]
  folds = make_folds(trials, folds=5, target=_BDI)
  (result,) = evaluate(_rows(_BDI, trials, folds, features), _BDI, main='better')
  assert 'blind_prior' not in result.baselines
  median = result.scores['training_median']['mae'].value
  for name in ('ridge', 'forest'):
    assert result.scores[name]['mae'].value > 0.9 * median
  assert result.scores['ridge']['pearson'].low < 0.1


def test_better_is_lower(depressed):
  (result,) = evaluate(depressed[2], _BDI, main='better', resamples=200)
  gain = result.differences['better', 'worse']['mae']
  assert gain.value < 0 and gain.high < 0 and gain.shown
  score = result.scores['better']['mae']
  assert score.low < score.value < score.high
  assert score.bootstrap_low < score.value < score.bootstrap_high
  assert result.composition[0] == 'share of at least 14'


def test_the_formula_is_that_of_prkachin_and_solomon():
  units = {
    **{'AU04_r': [1.0, 0], 'AU06_r': [2.0, 1], 'AU07_r': [3.0, 0]},
    **{'AU09_r': [0.5, 0], 'AU10_r': [0.0, 2], 'AU45_c': [1.0, 0.2]},
  }
  found = pspi({name: np.array(x) for name, x in units.items()})
  np.testing.assert_allclose(found, [1 + 3 + 0.5 + 1, 0 + 1 + 2 + 0])
  assert set(FORMULAS['pspi'][1]) == set(units) <= set(CHANNELS)


def test_baselines_in_time(in_pain):
  trials, folds, rows = in_pain
  (result,) = evaluate(rows, _PSPI, main='better', resamples=20)
  assert result.baselines == (
    *('training_mean', 'training_median', 'blind_prior', 'ridge', 'forest', 'formula'),
  )
  assert result.chance == 'training_mean'

  def score(model, name):
    return result.scores[model][name].value

  # Most moments are 0: nobody has a lesser error than who always says 0.
  assert score('training_median', 'mae') < score('training_mean', 'mae')
  assert abs(score('training_mean', 'icc')) < 0.05
  assert score('blind_prior', 'icc') > 0.2  # some pain is at one time for all
  assert score('formula', 'icc') > 0.9 and score('forest', 'icc') > 0.8
  assert score('ridge', 'icc') > 0.8 and score('formula', 'auroc_1') > 0.95
  formula = next(r for r in rows if r.model == 'formula')
  fold = next(f for f in folds if formula.fold == f.fold)
  mean = fold.target.means[0]  # where no face was seen
  np.testing.assert_allclose(formula.predictions[5:9], mean, atol=1e-3)
  assert abs(formula.predictions - formula.ratings)[9:].max() < 1.1


def test_without_action_units_there_is_no_formula():
  trials = [
    dataclasses.replace(t, streams={'ratings': t.streams['ratings']})
    for t in _in_pain()
  ]
  fold, *_ = make_folds(trials, folds=3, target=_PSPI)
  said = {one.model for one in _PSPI.baselines(fold, trials)}
  assert said == {'training_mean', 'training_median', 'blind_prior'}


def _report(target, trials, folds, rows, folder, ceiling):
  write_predictions(folder / file_name(target), rows, target)
  run = {
    'dataset': 'toy',
    'synthetic': True,
    'target': target.describe(),
    'models': ['better', 'worse'],
    'folds': [fold.describe(trials) for fold in folds],
    'protocol': 'subjects',
    'ceiling': {target.ratings[0]: ceiling},
  }
  (folder / 'run.json').write_text(json.dumps(run))
  report.write_report(folder)
  return (folder / 'report.md').read_text()


def test_the_report_on_trials_gets_signs_right(depressed, tmp_path):
  trials, folds, rows = depressed
  text = _report(_BDI, trials, folds, rows, tmp_path, {'mae': 1.0})
  for said in (
    'Depression: the best of 2 models, better, reaches MAE ',
    '0 is perfect), where chance (the training median) has ',
    ': it is better than chance (p',
    'better: MAE ',
    'below the training median (',
    'better beats worse by -',
    'ridge regression',
    'random forest',
    'AUROC at 14',
    'share of at least 14: ',
    'The scale goes from 0 to 63.',
    'Of many clips of a trial the mean counts.',
    'The best possible MAE on this twin is 1.00',
    'figures/agreement.png',
  ):
    assert said in text, said


def test_the_best_and_the_worst_trial_are_those_of_the_least_and_most_error(depressed):
  rows = [row for row in depressed[2] if row.model == 'better']
  (chosen,) = cases.choose(depressed[2], _BDI, 'better').values()
  errors = sorted(abs(row.rating - row.predicted_rating) for row in rows)
  best, _, worst = (abs(r.rating - r.predicted_rating) for r in chosen.rows)
  assert (best, worst) == (errors[0], errors[-1])
  assert chosen.cases[0].good and chosen.cases[0].title.startswith('Best: MAE of this')
  assert f'rated {chosen.rows[-1].rating:.3g})' in chosen.cases[-1].title


def test_the_report_warns_of_who_is_worse_than_the_median(depressed, tmp_path):
  trials, folds, rows = depressed
  # Nonsense is worse than the median, and says so; less than the best is a leak.
  bad = [
    dataclasses.replace(row, predicted_rating=63 - row.predicted_rating)
    if row.model == 'worse'
    else row
    for row in rows
  ]
  text = _report(_BDI, trials, folds, bad, tmp_path, {'mae': 9.0})
  assert 'worse lies below chance: MAE' in text
  assert 'above the training median' in text and 'WORSE' not in text.split('WARNING')[0]
  assert 'look for a leak' in text
  assert 'Its RMSE of' in text and 'is not shown to be below that of always' in text


def test_the_report_on_moments(in_pain, tmp_path):
  trials, folds, rows = in_pain
  text = _report(_PSPI, trials, folds, rows, tmp_path, {'icc': 1.0})
  for said in (
    'Pspi: the best of 2 models, better, reaches ICC(3,1) ',
    'PSPI formula',
    'figures/courses.png',
    'AUROC at 3',
    'Predicted: pspi, 5 times a second.',
  ):
    assert said in text, said
