"""The leak meter: what wrong splits, common in this field, would have claimed.

- trials: trials dealt at random, so that a model is tested on persons that it has been
  trained on.
- windows: windows of some seconds dealt at random, so that it is tested on trials that
  it has been trained on.

The numbers go to leak_meter.csv, which is no predictions file, and are no scores.
"""

import csv
import dataclasses

import numpy as np

from mvp_jax.evaluation import streams
from mvp_jax.evaluation.handcrafted import features_of
from mvp_jax.evaluation.summary import aligned
from mvp_jax.files import atomic_write
from mvp_jax.targets.binary_baselines import classic_baselines, classify
from mvp_jax.targets.binary_scores import count_scores, decide

WINDOW_SECONDS = 15.0
# Splits: what is honest, and what leaks.
HONEST, TRIALS = 'trials of other subjects', 'other trials of the same subjects'
HONEST_WINDOWS = 'windows of other subjects'
WINDOWS = 'other windows of the same trials'
_RESAMPLES = 2000
_TITLE = (
  'LEAK METER: what wrong splits would have claimed. These are no scores: '
  'never report them.'
)


@dataclasses.dataclass(frozen=True)
class Told:
  """What a model says of a trial, or a window of it, under some split."""

  split: str
  model: str
  target: str
  subject: int
  trial: int
  window: int  # its number; -1 = the whole trial
  label: int
  score: float


def told(split, model, trial, fitted, scores, window=-1):
  """Yields a Told for each rating."""
  label, _ = fitted.label(trial)
  for name, truth, score in zip(fitted.ratings, label, scores, strict=True):
    yield Told(
      split, model, name, trial.subject, trial.trial, window, int(truth), float(score)
    )


def of_predictions(split, predictions, models):
  """The Predictions of some models as Told."""
  return [
    Told(split, p.model, p.target, p.subject, p.trial, -1, p.label, p.score)
    for p in predictions
    if p.model in models
  ]


def classic_trials(folds, trials, features, seed=0):
  """Classic models on the leaking folds of `splits.deal_trials`: list of Told.

  Args:
    folds: list of Fold.
    trials: list of Trial.
    features: float [trials, features].
    seed: of the inner folds.
  """
  of = {trial.trial_id: trial for trial in trials}
  each = np.arange(len(trials))  # C is chosen across persons' trials, too
  return [
    row
    for fold in folds
    for said in classic_baselines(fold, trials, features, each, seed)
    for row in told(TRIALS, said.model, of[said.trial_id], fold.target, said.score)
  ]


def windows_of(corpus, trials, workers=None):
  """Handcrafted features of the windows of trials, one after the other.

  Returns:
    (float [windows, features], NaN where not defined; int [windows], the index of
    their trial; int [windows], their number in it).
  """
  names = streams.series(corpus, regular=True)
  pieces, places = [], []
  for i, trial in enumerate(trials):
    own = [trial.streams[name] for name in names if name in trial.streams]
    lengths = [round(WINDOW_SECONDS * one.rate) for one in own]
    counts = [len(one.values) // n for one, n in zip(own, lengths, strict=True)]
    for number in range(min(counts, default=0)):
      pieces.append(
        [
          dataclasses.replace(one, values=one.values[part], valid=one.valid[part])
          for one, n in zip(own, lengths, strict=True)
          for part in [slice(number * n, (number + 1) * n)]
        ]
      )
      places.append((i, number))
  rows = features_of(pieces, workers, 'features of windows')
  columns = dict.fromkeys(name for row in rows for name in row)
  values = np.array([[row.get(x, np.nan) for x in columns] for row in rows])
  values = values.reshape(len(rows), len(columns))
  index, numbers = np.array(places, int).reshape(-1, 2).T
  return values[:, np.isfinite(values).any(0)], index, numbers


def classic_windows(folds, trials, features, index, numbers, seed=0):
  """Classic models on windows: by the folds, and shuffled: list of Told.

  Args:
    folds: list of Fold, the honest ones.
    trials: list of Trial.
    features, index, numbers: of `windows_of`.
    seed: of the shuffle and the inner folds.
  """
  places = {trial.trial_id: i for i, trial in enumerate(trials)}
  subjects = np.array([trial.subject for trial in trials])[index]
  each = np.arange(len(index))
  parts = np.array_split(np.random.default_rng((seed, 3)).permutation(each), len(folds))
  found = []
  for fold, part in zip(folds, parts, strict=True):
    labels = np.array([fold.target.label(trial)[0] for trial in trials]).astype(int)[
      index
    ]
    train, test = (
      np.flatnonzero(np.isin(index, [places[name] for name in side]))
      for side in (fold.train, fold.test)
    )
    for split, learnt, asked, groups in (
      (HONEST_WINDOWS, train, test, subjects),
      (WINDOWS, np.setdiff1d(each, part), part, each),
    ):
      scores = classify(
        features[learnt], labels[learnt], groups[learnt], features[asked], seed
      )
      found += [
        row
        for model, of_model in scores.items()
        for i, score in zip(asked, of_model, strict=True)
        for row in told(
          split, model, trials[index[i]], fold.target, score, int(numbers[i])
        )
      ]
  return found


def inflation(rows, seed=0):
  """By how much wrong splits inflate macro-F1.

  Args:
    rows: list of Told.
    seed: of the bootstrap over subjects.

  Returns:
    list of dicts, for each target, model and wrong split: target, model, split,
    honest and claimed macro-F1, inflation, and its 95 % interval low and high.
  """
  counts = {}
  subjects = {s: i for i, s in enumerate(sorted({row.subject for row in rows}))}
  for row in rows:
    table = counts.setdefault(
      (row.target, row.model, row.split), np.zeros((len(subjects), 4))
    )
    table[subjects[row.subject], 2 * row.label + decide(row.score)] += 1
  drawn = np.random.default_rng(seed).multinomial(
    len(subjects), np.full(len(subjects), 1 / len(subjects)), _RESAMPLES
  )
  found = []
  for target, model, split in counts:
    honest = {TRIALS: HONEST, WINDOWS: HONEST_WINDOWS}.get(split)
    if (target, model, honest) in counts:
      a, b = counts[target, model, honest], counts[target, model, split]
      low, high = np.quantile(
        _macro_f1(drawn @ b) - _macro_f1(drawn @ a), [0.025, 0.975]
      )
      fair, claimed = float(_macro_f1(a.sum(0))), float(_macro_f1(b.sum(0)))
      found.append(
        {
          'target': target,
          'model': model,
          'split': split,
          'honest': fair,
          'claimed': claimed,
          'inflation': claimed - fair,
          'low': float(low),
          'high': float(high),
        }
      )
  return found


def table(found):
  """What `inflation` found as text for a terminal."""
  rows = [('target', 'model', 'tested on', 'honest', 'claimed', 'inflation')]
  rows += [
    (
      x['target'],
      x['model'],
      x['split'],
      f'{x["honest"]:.3f}',
      f'{x["claimed"]:.3f}',
      f'{x["inflation"]:+.3f} [{x["low"]:.3f}, {x["high"]:.3f}]',
    )
    for x in found
  ]
  return '\n'.join([_TITLE, *aligned(rows), ''])


def write(path, rows):
  """Writes leak_meter.csv: its columns are not those of predictions.csv."""
  names = [field.name for field in dataclasses.fields(Told)]
  with atomic_write(path) as part, part.open('w', newline='') as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(names)
    writer.writerows(dataclasses.astuple(row) for row in rows)


def _macro_f1(counts):
  """Of counts [..., 4], see `binary_scores.confusion`."""
  return count_scores(counts)['macro_f1']
