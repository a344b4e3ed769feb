"""Leaks made on purpose: does the audit or the leak meter show each of them?

  python benchmarks/honesty_leaks.py [--corpora 20]

Small simulated corpora, another one each time:

- identity: ratings lean to one side by subject, features tell the subject. Folds of
  trials instead of subjects leak; the leak meter must show inflation, with an interval
  above zero. Control: ratings that do not lean.
- windows: each trial has looks of its own and a label of no meaning; shuffled windows
  leak.
- copy: one subject's trial is another's too: shifted by seconds, scaled, with noise.
  The audit must name it. Control: the same corpus without the copy.
- folds: another protocol's folds than claimed. The audit must fail.

The last line is a JSON object.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from mvp_jax.data.splits import deal_trials, make_folds
from mvp_jax.data.trial import Series, Trial
from mvp_jax.evaluation import audit, leak_meter
from mvp_jax.synthetic.signals import simulate_body
from mvp_jax.synthetic.spec import SIGNAL_RATE, TwinSpec
from mvp_jax.targets import Binary
from mvp_jax.targets.binary_baselines import classic_baselines

_TARGETS = ('valence',)
_SUBJECTS = 22  # in `identity`: a small study, as in honesty.py


@dataclasses.dataclass
class _Corpus:
  """What the audit takes of a data.trials.Corpus."""

  trials: list
  directory: pathlib.Path
  metadata: dict = dataclasses.field(
    default_factory=lambda: {
      'streams': {
        'signals': {
          'kind': 'series',
          'rate': float(SIGNAL_RATE),
          'channels': ['eda', 'ppg'],
        }
      }
    }
  )


def _trial(subject, number, rating, signals=None):
  signals = np.zeros((0, 2), np.float32) if signals is None else signals
  return Trial(
    trial_id=f's{subject:02d}_trial{number:02d}',
    subject=subject,
    trial=number,
    stimulus=number,
    ratings={'valence': float(rating)},
    streams={
      'signals': Series(
        signals.astype(np.float32),
        np.ones(signals.shape, bool),
        ('eda', 'ppg'),
        float(SIGNAL_RATE),
      )
    },
  )


def identity(seed, leaning):
  """Whether the leak meter shows that the subject tells the label."""
  rng = np.random.default_rng(seed)
  trials, features = [], []
  for subject in range(1, _SUBJECTS + 1):
    looks, side = rng.normal(0, 1, 4), 1 if subject % 2 else -1
    for number in range(1, 13):
      lean = side if rng.random() < leaning else -side
      trials.append(_trial(subject, number, 5 + lean * (0.1 + abs(rng.normal(0, 2)))))
      features.append(looks + rng.normal(0, 0.2, 4))
  features, of = np.array(features), {t.trial_id: t for t in trials}
  subjects = np.array([t.subject for t in trials])
  rows = leak_meter.classic_trials(
    deal_trials(trials, 4, 1, seed, target=Binary(_TARGETS)), trials, features, seed
  )
  for fold in make_folds(trials, folds=4, seed=seed, target=Binary(_TARGETS)):
    for said in classic_baselines(fold, trials, features, subjects, seed):
      rows += leak_meter.told(
        leak_meter.HONEST, said.model, of[said.trial_id], fold.target, said.score
      )
  return _shown(rows)


def windows(seed):
  """Whether it shows that shuffled windows know their trial."""
  rng = np.random.default_rng(seed)
  trials = [_trial(s, k, rng.choice([2, 8])) for s in range(1, 9) for k in range(1, 6)]
  index, numbers = np.repeat(np.arange(40), 4), np.tile(np.arange(4), 40)
  features = rng.normal(0, 1, (40, 6))[index] + rng.normal(0, 0.2, (160, 6))
  folds = make_folds(trials, folds=4, target=Binary(_TARGETS), seed=seed)
  return _shown(
    leak_meter.classic_windows(folds, trials, features, index, numbers, seed)
  )


def _shown(rows):
  return any(x['low'] > 0 for x in leak_meter.inflation(rows) if x['model'] == 'svm')


def copy(seed, copied):
  """Whether the audit finds a trial that is there under two subjects."""
  rng = np.random.default_rng(seed)
  spec = TwinSpec(subjects=4, trials=4, seed=seed)
  trials = []
  for subject in range(1, 5):
    for number in range(1, 5):
      body = simulate_body(spec, subject, number)
      trials.append(
        _trial(subject, number, 2 + 6 * (number % 2), np.stack([body.eda, body.ppg], 1))
      )
  if copied:
    a, b = rng.choice(4, 2, replace=False) * 4 + rng.integers(0, 4, 2)
    late = (
      trials[a].streams['signals'].values[round(rng.uniform(0, 20) * SIGNAL_RATE) :]
    )
    late = late * rng.uniform(0.5, 2) + rng.normal(0, 1)
    late = late + 0.005 * late.std(0) * rng.normal(size=late.shape)
    trials[b] = dataclasses.replace(
      trials[b],
      streams=_trial(trials[b].subject, trials[b].trial, 5, late).streams,
    )
  folds = make_folds(
    trials, 'leave_one_subject_out', validation=0, target=Binary(_TARGETS)
  )
  with tempfile.TemporaryDirectory() as folder:
    checks = audit.check_content(
      _Corpus(trials, pathlib.Path(folder) / 'corpus' / '1'), folds, trials
    )
  failed = [check for check in checks if not check.passed]
  if copied and failed:
    return all(trials[i].trial_id in failed[0].detail for i in (a, b))
  return bool(failed)


def folds(seed):
  """Whether the audit finds that folds are not what they claim."""
  rng = np.random.default_rng(seed)
  trials = [_trial(s, k, rng.uniform(1, 9)) for s in range(1, 9) for k in range(1, 7)]
  leaky = deal_trials(trials, 4, 1, seed, target=Binary(_TARGETS))
  return not all(c.passed for c in audit.check_folds(leaky, trials, 'subjects'))


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--corpora', type=int, default=20)
  count = parser.parse_args().corpora
  summary = {'benchmark': 'honesty_leaks', 'corpora': count}
  print(f'{"leak":<28} shown   of   seconds')
  for name, ask in (
    ('identity', lambda seed: identity(seed, 0.85)),
    ('windows', windows),
    ('copy', lambda seed: copy(seed, True)),
    ('folds', folds),
    ('none (identity)', lambda seed: identity(seed, 0.5)),
    ('none (copy)', lambda seed: copy(seed, False)),
  ):
    start = time.monotonic()
    shown = sum(bool(ask(seed)) for seed in range(count))
    print(
      f'{name:<28} {shown:>5} {count:>4} {time.monotonic() - start:>9.1f}', flush=True
    )
    summary[name] = shown
  print(json.dumps(summary))


if __name__ == '__main__':
  main()
