"""The leak meter shows leaks where there are some, and none where there is none."""

import csv
import types

import numpy as np
import pytest

from mvp_jax.data.splits import deal_trials, make_folds
from mvp_jax.errors import InputError
from mvp_jax.evaluation import leak_meter
from mvp_jax.evaluation.leak_meter import HONEST, TRIALS, WINDOWS, Told
from mvp_jax.evaluation.predictions import read_predictions
from mvp_jax.targets import Binary
from tests.data.tiny_trials import trial
from tests.evaluation.memory import MemoryCorpus, twin


def _corpus(seed, leaning):
  """Trials, features that tell the subject, ratings that lean by subject."""
  rng = np.random.default_rng(seed)
  trials, features = [], []
  for subject in range(1, 13):
    looks, side = rng.normal(0, 1, 4), 1 if subject % 2 else -1
    for number in range(1, 13):
      lean = side if rng.random() < leaning else -side
      trials.append(trial(subject, number, valence=5 + lean * abs(rng.normal(0, 2))))
      features.append(looks + rng.normal(0, 0.2, 4))
  return trials, np.array(features)


def _inflation(seed, leaning):
  trials, features = _corpus(seed, leaning)
  target = Binary(('valence',))
  leaky = leak_meter.classic_trials(
    deal_trials(trials, 4, 1, seed, target=target), trials, features
  )
  groups = np.array([t.subject for t in trials])
  honest = [
    row
    for fold in make_folds(trials, folds=4, target=target, seed=seed)
    for said in leak_meter.classic_baselines(fold, trials, features, groups)
    for row in leak_meter.told(
      HONEST,
      said.model,
      next(t for t in trials if t.trial_id == said.trial_id),
      fold.target,
      said.score,
    )
  ]
  found = leak_meter.inflation([*honest, *leaky])
  return {row['model']: row for row in found}


@pytest.mark.parametrize('seed', range(3))
def test_identity_that_tells_the_label_is_shown(seed):
  svm = _inflation(seed, 0.85)['svm']
  assert svm['split'] == TRIALS and svm['low'] > 0 and svm['inflation'] > 0.15
  assert svm['inflation'] == pytest.approx(svm['claimed'] - svm['honest'])


def test_where_identity_tells_nothing_there_is_no_inflation_to_speak_of():
  found = [_inflation(seed, 0.5)['svm']['inflation'] for seed in range(3)]
  assert abs(np.mean(found)) < 0.1


def test_shuffled_windows_know_their_trial():
  rng = np.random.default_rng(0)
  trials = [
    trial(s, k, valence=float(rng.choice([2, 8])))
    for s in range(1, 9)
    for k in range(1, 6)
  ]
  looks = rng.normal(0, 1, (40, 6))  # each trial's own, of no meaning
  index, numbers = np.repeat(np.arange(40), 6), np.tile(np.arange(6), 40)
  features = looks[index] + rng.normal(0, 0.1, (240, 6))
  folds = make_folds(trials, folds=4, target=Binary(('valence',)))
  rows = leak_meter.classic_windows(folds, trials, features, index, numbers)
  assert len(rows) == 2 * 2 * 240
  assert {(r.subject, r.trial, r.window) for r in rows if r.split == WINDOWS} == {
    (t.subject, t.trial, w) for t in trials for w in range(6)
  }
  (svm,) = (r for r in leak_meter.inflation(rows) if r['model'] == 'svm')
  assert svm['split'] == WINDOWS and svm['claimed'] > 0.9 > 0.7 > svm['honest']


def test_windows_lie_one_after_the_other(tmp_path):
  trials = twin(subjects=1, trials=2, seconds=40)
  corpus = MemoryCorpus(trials, tmp_path)
  features, index, numbers = leak_meter.windows_of(corpus, trials)
  assert index.tolist() == [0, 0, 1, 1] and numbers.tolist() == [0, 1, 0, 1]
  assert features.shape[0] == 4 and features.shape[1] > 5


def test_inflation_is_of_macro_f1():
  def rows(split, said):
    return [
      Told(split, 'm', 't', subject, 1, -1, label, score)
      for subject, (label, score) in enumerate(said)
    ]

  (found,) = leak_meter.inflation(
    [
      *rows(HONEST, [(1, 0.9), (1, 0.1), (0, 0.9), (0, 0.1)]),
      *rows(TRIALS, [(1, 0.9), (1, 0.9), (0, 0.9), (0, 0.1)]),
    ]
  )
  assert found['honest'] == pytest.approx(0.5)
  assert found['claimed'] == pytest.approx((0.8 + 2 / 3) / 2)
  text = leak_meter.table([found])
  assert 'never report them' in text and '0.733' in text


def test_its_file_is_no_predictions_file(tmp_path):
  path = tmp_path / 'leak_meter.csv'
  leak_meter.write(path, [Told(TRIALS, 'svm', 'valence', 1, 2, -1, 1, 0.75)])
  with path.open(newline='') as file:
    (row,) = csv.DictReader(file)
  assert row['split'] == TRIALS and row['score'] == '0.75'
  with pytest.raises(InputError, match='columns'):
    read_predictions(path)


def test_a_target_without_classes_has_no_leak_meter():
  leak_meter.check(Binary())
  with pytest.raises(InputError, match='the target toy has no classes to count'):
    leak_meter.check(types.SimpleNamespace(kind='toy', classes=False))
