"""A generated work directory, as a run leaves it."""

import json

import numpy as np
import pytest

from mvp_jax.evaluation import cases
from mvp_jax.evaluation.predictions import Prediction, write_predictions
from mvp_jax.targets import Binary

SKILL = {
  'fusion': {'valence': 3.0, 'arousal': 2.5},
  'video': {'valence': 2.6, 'arousal': 0.0},
  'physio': {'valence': 0.0, 'arousal': 2.4},
}
THRESHOLD = 5.0


def generate_predictions(subjects=8, trials=20, folds=4, seed=0):
  """Predictions of models of known skill; subject s is in fold s % folds."""
  rng = np.random.default_rng(seed)
  rows = []
  for target in ('valence', 'arousal'):
    ratings = rng.uniform(1, 9, (subjects, trials)).round(2)
    ratings[ratings == THRESHOLD] += 0.01
    high = ratings > THRESHOLD
    for subject in range(subjects):
      fold = subject % folds
      prior = high[np.arange(subjects) % folds != fold].mean()
      for trial in range(trials):
        label = int(high[subject, trial])
        scores = {'class_prior': prior} | {
          model: 1 / (1 + np.exp(-skill[target] * (label - 0.5) * 2 - rng.normal(0, 2)))
          for model, skill in SKILL.items()
        }
        for model, score in scores.items():
          rows.append(
            Prediction(
              'deap',
              subject + 1,
              trial + 1,
              str(trials - trial),
              fold,
              0,
              model,
              target,
              float(ratings[subject, trial]),
              label,
              float(score),
            )
          )
  return rows


def generate_run(subjects=8, folds=4):
  everyone = list(range(1, subjects + 1))
  listed = []
  for fold in range(folds):
    test = [s for s in everyone if (s - 1) % folds == fold]
    rest = [s for s in everyone if s not in test]
    listed.append(
      {
        'fold': fold,
        'train_subjects': rest[1:],
        'validation_subjects': rest[:1],
        'test_subjects': test,
      }
    )
  return {
    'dataset': 'deap',
    'synthetic': True,
    'ceiling': {
      target: {'macro_f1': 0.9155, 'accuracy': 0.9155}
      for target in ('valence', 'arousal')
    },
    'git': 'abc1234',
    'versions': {'jax': '0.10.2', 'flax': '0.12.8'},
    'seconds': {'twin': 30.1, 'prepare': 61.25, 'training': 200.0},
    'encoder': {
      'source': 'pre-trained here',
      'trained_on_subjects': [21, 22],
      'steps': 300,
    },
    'folds': listed,
    'trials_in': 161,
    'trials_out': 160,
    'dropped': {'flat_signal': ['s03_trial07']},
    'target': Binary(threshold=THRESHOLD).describe(),
    'models': list(SKILL),
    'device': 'cpu',
    'parameters': {'fusion': 123456, 'video': 65432},
  }


def generate_case(seed=0):
  """What cases/ holds of a trial: signals, faces, attention."""
  rng = np.random.default_rng(seed)
  queries, keys, samples = 60, 30, 7680
  times = np.arange(samples) / 128
  weights = rng.gamma(2, size=(queries, keys)) + 3 * np.exp(
    -(((np.arange(keys) - 20) / 3) ** 2)
  )
  key_valid = np.arange(keys) < 28
  weights = weights * key_valid
  signals_valid = np.ones((samples, 2), bool)
  signals_valid[:500, 0] = False
  return {
    'trial_id': f'P02_clip{seed}',
    'signal_rate': 128.0,
    'signals': np.stack(
      [np.cumsum(rng.normal(size=samples)) / 60 + 5, np.sin(times * 7)], 1
    ).astype(np.float32),
    'signals_valid': signals_valid,
    'channels': np.array(['eda', 'ppg']),
    'units': np.array(['microsiemens', 'as recorded']),
    'faces': rng.integers(0, 255, (8, 48, 48, 3), np.uint8),
    'face_times': np.arange(8) * 7 + 3.5,
    'weights': weights / weights.sum(-1, keepdims=True),
    'query_times': np.arange(queries) + 0.5,
    'query_valid': np.arange(queries) < 58,
    'key_times': np.arange(keys) * 2 + 1.0,
    'key_valid': key_valid,
  }


def write_cases(workdir, predictions, without=()):
  """Writes cases/ of some predictions, without some arrays."""
  (workdir / cases.FOLDER).mkdir(exist_ok=True)
  for seed, row in enumerate(cases.rows_of(cases.choose(predictions, Binary()))):
    np.savez(
      cases.path(workdir / cases.FOLDER, row),
      **{name: x for name, x in generate_case(seed).items() if name not in without},
    )


def generate_metrics(folds=4, seed=0):
  rng = np.random.default_rng(seed)
  lines = [
    {
      'run': 'encoder',
      'step': step,
      'split': 'train',
      'loss': 1 / (1 + step / 40) + rng.normal(0, 0.02),
    }
    for step in range(0, 300, 10)
  ]
  for fold in range(folds):
    for model in SKILL:
      for step in range(0, 200, 10):
        for split, floor in (('train', 0.2), ('validation', 0.35)):
          lines.append(
            {
              'run': f'fold{fold}/{model}',
              'step': step,
              'split': split,
              'loss': floor + 0.5 * np.exp(-step / 50) + rng.normal(0, 0.03),
              'learning_rate': 1e-3,
            }
          )
  return ''.join(json.dumps(line) + '\n' for line in lines)


@pytest.fixture
def predictions():
  return generate_predictions()


@pytest.fixture
def run_facts():
  return generate_run()


@pytest.fixture
def workdir(tmp_path, predictions, run_facts):
  """A whole work directory of a synthetic run."""
  write_predictions(tmp_path / 'predictions.csv', predictions)
  (tmp_path / 'run.json').write_text(json.dumps(run_facts))
  (tmp_path / 'config.json').write_text(json.dumps({'seed': 0, 'data': {'x': [1]}}))
  (tmp_path / 'metrics.jsonl').write_text(generate_metrics())
  write_cases(tmp_path, predictions)
  return tmp_path
