"""A target from outside the package: a regression in time, registered by one line."""

import csv
import dataclasses
import json
from typing import ClassVar

import flax
import jax.numpy as jnp
import numpy as np
import pytest
from clu import metrics as clu_metrics
from jax import Array

from mvp_jax import targets
from mvp_jax.data.splits import make_folds, select
from mvp_jax.data.trial import Trial
from mvp_jax.errors import InputError
from mvp_jax.evaluation import report
from mvp_jax.evaluation.predictions import (
  Track,
  file_name,
  read_predictions,
  told,
  write_predictions,
)
from mvp_jax.evaluation.results import evaluate
from mvp_jax.targets.moments import (
  concordance,
  moments,
  root_mean_square_error,
)

_SECONDS = 6.0


@flax.struct.dataclass
class Discordance(clu_metrics.Metric):
  """One minus the concordance, of moments that are summed first."""

  sums: Array  # [6, k]

  @classmethod
  def of(cls, x, y, weight):
    x, y = (z.reshape(-1, z.shape[-1]) for z in (x, y))
    weight = weight.reshape(-1, 1)
    parts = (jnp.ones_like(x), x, y, x * x, y * y, x * y)
    return cls(jnp.stack([(weight * part).sum(0) for part in parts]))

  def merge(self, other):
    return Discordance(self.sums + other.sums)

  def compute(self):
    n, x, y, xx, yy, xy = self.sums / jnp.maximum(self.sums[:1], 1)
    spread = xx - x * x + yy - y * y + (x - y) ** 2
    return 1 - (2 * (xy - x * y) / jnp.maximum(spread, 1e-9)).mean()


@dataclasses.dataclass(frozen=True)
class _Course:
  """Ratings in time as labels, minus nothing."""

  target: 'Course'
  mean: tuple[float, ...]
  subjects: tuple[int, ...] = ()
  trials: tuple[str, ...] = ()

  def label(self, trial, seconds=None):
    rated = trial.course
    length = max(len(rated), round((seconds or 0) * self.target.rate))
    label = np.zeros((length, self.target.outputs), np.float32)
    label[: len(rated)] = rated
    return label, (np.arange(length) < len(rated)).astype(np.float32)

  def describe(self):
    return {'mean': list(self.mean)}


@dataclasses.dataclass(frozen=True)
class _Sums:
  """Moments by subject: float [S, 6]."""

  moments: np.ndarray
  offset: float = 0.0

  def scores(self, weights):
    found = weights @ self.moments
    return np.stack([concordance(found), root_mean_square_error(found)], -1)

  cheap = scores


@targets.register
@dataclasses.dataclass(frozen=True)
class Course(targets.Target):
  """Ratings as they change over a trial."""

  kind: ClassVar = 'toy_course'
  level: ClassVar = 'frame'
  scores: ClassVar = {
    'ccc': targets.Score('CCC', -1),
    'rmse': targets.Score('RMSE', 0, np.inf, lower_is_better=True),
  }
  headline: ClassVar = 'ccc'
  short: ClassVar = ('ccc', 'rmse')
  known_baselines: ClassVar = {
    'training_mean': targets.Baseline(
      'training mean', 'Training mean: of all moments trained on.', chance='ccc'
    ),
    'zero': targets.Baseline('zero', 'Zero: always 0.'),
  }
  ratings: tuple[str, ...] = ('valence',)
  rate: float = 5.0

  def fit(self, train, others=()):
    mean = np.concatenate([trial.course for trial in train]).mean(0)
    return _Course(self, tuple(mean.tolist()))

  def loss(self, outputs, label, weight):
    return {'loss': Discordance.of(outputs, label, weight)}

  def baselines(self, fold, trials, features=None, groups=None, seed=0):
    return [
      targets.Said(name, trial.trial_id, np.tile(value, (len(trial.course), 1)))
      for trial in select(trials, fold.test)
      for name, value in (('training_mean', fold.target.mean), ('zero', (0.0,)))
    ]

  def sums(self, name, rows, subjects, parts, number):
    found = []
    for part in parts:
      here = [row for row, wanted in zip(rows, part, strict=True) if wanted]
      who = np.repeat(subjects[part], [len(row.times) for row in here])
      x, y = (
        np.concatenate([getattr(row, column) for row in here])
        for column in ('ratings', 'predictions')
      )
      found.append(_Sums(moments(x, y, who, number)))
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class _Trial(Trial):
  course: np.ndarray = None


def _trials(subjects=8, per_subject=5, seed=0):
  rng, found = np.random.default_rng(seed), []
  for subject in range(1, subjects + 1):
    for number in range(1, per_subject + 1):
      length = int(rng.integers(12, 28))
      fields = {
        'trial_id': f's{subject:02d}_trial{number:02d}',
        'subject': subject,
        'trial': number,
        'stimulus': None,
        'ratings': {},
        'streams': {},
      }
      course = np.cumsum(rng.normal(0, 0.3, (length, 1)), 0)
      found.append(_Trial(**fields, course=course.astype(np.float32)))
  return found


def _rows(target, trials, folds):
  """Tracks of two models of known skill, and of the baselines."""
  rng, found = np.random.default_rng(1), []
  of = {trial.trial_id: trial for trial in trials}
  for fold in folds:
    for trial in select(trials, fold.test):
      length = round(_SECONDS * target.rate)
      label, _ = fold.target.label(trial, _SECONDS)
      assert len(label) == length
      for model, noise in (('second', 1.5), ('best', 0.2)):
        said = label + rng.normal(0, noise, label.shape)
        found += told(target, fold, 0, 'toy', trial, model, said)
    for said in target.baselines(fold, trials):
      found += told(target, fold, 0, 'toy', of[said.trial_id], said.model, said.score)
  return found


@pytest.fixture(scope='module')
def made():
  target, trials = Course(), _trials()
  folds = make_folds(trials, folds=4, target=target)
  return target, trials, folds, _rows(target, trials, folds)


def test_folds_and_labels(made):
  target, trials, folds, _ = made
  assert sorted(x for f in folds for x in f.test) == sorted(t.trial_id for t in trials)
  assert folds[0].describe(trials)['test_stimuli'] == []
  label, weight = folds[0].target.label(trials[0], _SECONDS)
  assert label.shape == (30, 1) and weight.sum() == len(trials[0].course)


def test_a_loss_of_moments_is_summed_and_divided_once(made):
  target, rng = made[0], np.random.default_rng(0)
  outputs, label = rng.normal(1, 2, (2, 6, 9, 1)).astype(np.float32)
  weight = (rng.random((6, 9)) < 0.7).astype(np.float32)
  whole = target.loss(outputs, label, weight)['loss']
  parts = [
    target.loss(*(x[i] for x in (outputs, label, weight)))['loss']
    for i in (slice(0, 1), slice(1, 6))
  ]
  np.testing.assert_allclose(
    parts[0].merge(parts[1]).compute(), whole.compute(), rtol=1e-5
  )
  x, y = (z[weight > 0][:, 0] for z in (outputs, label))
  one = np.zeros(len(x), int)
  np.testing.assert_allclose(
    1 - whole.compute(), concordance(moments(x, y, one, 1))[0], rtol=1e-4
  )


def test_scores_are_of_all_moments_of_all_trials(made):
  target, _, _, rows = made
  (result,) = evaluate(rows, target, main='best', resamples=50)
  assert result.models == ('best', 'second')
  assert result.baselines == ('training_mean', 'zero')
  for model in result.everyone:
    own = [row for row in rows if row.model == model]
    error = np.concatenate([row.predictions - row.ratings for row in own])
    rmse = result.scores[model]['rmse']
    assert rmse.value == pytest.approx(np.sqrt(np.mean(error**2)))
    assert rmse.low < rmse.value < rmse.high
    assert rmse.bootstrap_low < rmse.value < rmse.bootstrap_high
  gain = result.differences['best', 'second']['rmse']
  assert gain.value < 0 and gain.shown
  assert not result.calibrations and not result.confusions
  assert ('second', 'training_mean') in result.differences
  assert ('second', 'zero') not in result.differences


def _equal(a, b):
  return all(
    np.array_equal(getattr(a, field.name), getattr(b, field.name))
    for field in dataclasses.fields(Track)
  )


def test_frames_are_written_and_read(made, tmp_path):
  target, _, _, rows = made
  path = tmp_path / file_name(target)
  assert path.name == 'frames.csv'
  write_predictions(path, rows, target)
  again = read_predictions(path, target)
  assert len(again) == len(rows)
  assert all(_equal(a, b) for a, b in zip(rows, again, strict=True))
  with path.open(newline='') as file:
    lines = list(csv.DictReader(file))
  assert len(lines) == sum(len(row.times) for row in rows)
  assert list(lines[0])[-3:] == ['time', 'rating', 'prediction']
  assert lines[0]['stimulus'] == 'none' and float(lines[0]['time']) == 0.1


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda line: line.replace(',0.1,', ',x,', 1), r"line 2: time is 'x', expected"),
    (lambda line: line.rsplit(',', 1)[0] + ',nan', r'line 2 .*prediction is nan at mo'),
    (lambda line: line.replace(',0.1,', ',0.15,', 1), r'times or ratings are not thos'),
    (lambda line: line.replace(',0.1,', ',0.9,', 1), r'times do not rise'),
    (
      lambda line: line.replace('second', 'third', 1),
      r'line 3 .*not those from line 2 on',
    ),
    (lambda line: line + ',1', r'line 2: 12 values, expected 11'),
  ],
)
def test_frames_that_contradict_each_other(made, tmp_path, change, message):
  target, _, _, rows = made
  path = tmp_path / 'frames.csv'
  write_predictions(path, rows, target)
  header, first, *others = path.read_text().splitlines()
  path.write_text('\n'.join([header, change(first), *others]) + '\n')
  with pytest.raises(InputError, match=message) as error:
    read_predictions(path, target)
  assert '\n' not in str(error.value)
  with pytest.raises(InputError, match='kept for the report'):
    write_predictions(
      path, [dataclasses.replace(row, model='ceiling') for row in rows], target
    )


def test_the_report_comes_out_whole(made, tmp_path):
  target, trials, folds, rows = made
  write_predictions(tmp_path / 'frames.csv', rows, target)
  run = {
    'dataset': 'toy',
    'synthetic': True,
    'target': target.describe(),
    'models': ['best', 'second'],
    'folds': [fold.describe(trials) for fold in folds],
    'protocol': 'subjects',
    'ceiling': {'valence': {'ccc': 0.999}},
  }
  (tmp_path / 'run.json').write_text(json.dumps(run))
  losses = [
    {'run': f'fold{k}/best', 'split': 'train', 'step': step, 'loss': 1 / (1 + step)}
    for k in range(4)
    for step in range(5)
  ]
  (tmp_path / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, losses)))
  (tmp_path / 'account.csv').write_text(
    'subject,trial,outcome\n' + ''.join(f'{t.subject},{t.trial},ok\n' for t in trials)
  )
  found = report.write_report(tmp_path)
  text = (tmp_path / 'report.md').read_text()
  for said in (
    'SYNTHETIC',
    'Tested: 40 trials of 8 computer-made subjects of TOY. Valence: the best of 2 ',
    'models, best, reaches CCC .',
    '1 is perfect), where chance (the training mean) has .00: it is better than chance',
    '40 held-out trials of 8 subjects.',
    'best: CCC .',
    'above the training mean (.00) by +',
    'best beats second by +',
    'Against baselines, best beats zero (CCC .00',
    'The best possible CCC on this twin is 1.00',
    'Training mean: of all moments trained on.',
    'difference of CCC',
    'CCC of the held-out trials of each fold.',
    'Predicted: valence.',
    'figures/courses.png',
    'figures/learning_curves.png',
  ):
    assert said in text, said
  for binary in ('Calibration', 'Confusions', 'share of high', 'macro-F1', 'AUROC'):
    assert binary not in text
  assert 'CCC' in found.summary and 'RMSE' in found.summary
  with (tmp_path / 'tables' / 'scores.csv').open(newline='') as file:
    best, *_ = csv.DictReader(file)
  assert best['model'] == 'best' and float(best['RMSE']) == pytest.approx(
    found.results[0].scores['best']['rmse'].value
  )
  write_predictions(
    tmp_path / 'frames.csv', [row for row in rows if row.trial > 1], target
  )
  with pytest.raises(
    InputError, match=r'frames\.csv: subject 1 trial 1 valence seed 0'
  ):
    report.write_report(tmp_path)
