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

from mvp_jax.data import streams
from mvp_jax.data.handcrafted import as_table, features_of
from mvp_jax.errors import InputError
from mvp_jax.evaluation.statistics import RESAMPLES, drawn_anew
from mvp_jax.evaluation.summary import aligned
from mvp_jax.files import atomic_write
from mvp_jax.targets.binary_baselines import classic_baselines, classify
from mvp_jax.targets.binary_scores import count_scores, decide

WINDOW_SECONDS = 15.0
# Splits: what is honest, and what leaks.
HONEST, TRIALS = 'trials of other subjects', 'other trials of the same subjects'
HONEST_WINDOWS = 'windows of other subjects'
WINDOWS = 'other windows of the same trials'
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


def check(target):
  """Raises InputError if a target has no classes, which the leak meter counts."""
  if not target.classes:
    raise InputError(
      f'config.evaluation.leak_meter: the target {target.kind} has no classes to '
      'count; leave the leak meter out'
    )


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
  """Classic models on the leaking folds of `splits.deal_trials`: list of Told."""
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
    cut = [_cut(one, round(WINDOW_SECONDS * one.rate)) for one in own]
    for number, parts in enumerate(zip(*cut, strict=False)):
      pieces.append(list(parts))
      places.append((i, number))
  values, _ = as_table(features_of(pieces, workers, 'features of windows'))
  index, numbers = np.array(places, int).reshape(-1, 2).T
  return values[:, np.isfinite(values).any(0)], index, numbers


def _cut(series, length):
  """A Series in whole pieces of a length."""
  starts = range(0, len(series.values) - length + 1, length)
  for part in (slice(start, start + length) for start in starts):
    values, valid = series.values[part], series.valid[part]
    yield dataclasses.replace(series, values=values, valid=valid)


def classic_windows(folds, trials, features, index, numbers, seed=0):
  """Classic models on windows: by honest folds, and shuffled: list of Told.

  `features`, `index` and `numbers` are those of `windows_of`.
  """
  places = {trial.trial_id: i for i, trial in enumerate(trials)}
  subjects = np.array([trial.subject for trial in trials])[index]
  each = np.arange(len(index))
  parts = np.array_split(np.random.default_rng((seed, 3)).permutation(each), len(folds))
  found = []
  for fold, part in zip(folds, parts, strict=True):
    labels = np.array([fold.target.label(trial)[0] for trial in trials], int)[index]
    train, test = (
      np.flatnonzero(np.isin(index, [places[name] for name in side]))
      for side in (fold.train, fold.test)
    )
    for split, learnt, asked, groups in (
      (HONEST_WINDOWS, train, test, subjects),
      (WINDOWS, np.setdiff1d(each, part), part, each),
    ):
      training = features[learnt], labels[learnt], groups[learnt]
      for model, scores in classify(*training, features[asked], seed).items():
        for i, score in zip(asked, scores, strict=True):
          trial, number = trials[index[i]], int(numbers[i])
          found += told(split, model, trial, fold.target, score, number)
  return found


def inflation(rows, seed=0):
  """By how much wrong splits inflate macro-F1, of a list of Told.

  A list of dicts, for each target, model and wrong split: target, model, split,
  honest and claimed macro-F1, inflation, and its 95 % interval low and high.
  """
  counts = {}
  subjects = {s: i for i, s in enumerate(sorted({row.subject for row in rows}))}
  for row in rows:
    table = counts.setdefault(
      (row.target, row.model, row.split), np.zeros((len(subjects), 4))
    )
    table[subjects[row.subject], 2 * row.label + decide(row.score)] += 1
  drawn = drawn_anew(len(subjects), RESAMPLES, seed)
  found = []
  for target, model, split in counts:
    honest = {TRIALS: HONEST, WINDOWS: HONEST_WINDOWS}.get(split)
    if (target, model, honest) in counts:
      a, b = counts[target, model, honest], counts[target, model, split]
      gains = _macro_f1(drawn @ b) - _macro_f1(drawn @ a)
      low, high = np.quantile(gains, [0.025, 0.975]).tolist()
      fair, claimed = float(_macro_f1(a.sum(0))), float(_macro_f1(b.sum(0)))
      row = {'target': target, 'model': model, 'split': split, 'honest': fair}
      gain = {'inflation': claimed - fair, 'low': low, 'high': high}
      found.append(row | {'claimed': claimed} | gain)
  return found


def table(found):
  """What `inflation` found as text for a terminal."""
  rows = [('target', 'model', 'tested on', 'honest', 'claimed', 'inflation')]
  for x in found:
    scores = f'{x["honest"]:.3f}', f'{x["claimed"]:.3f}'
    gain = f'{x["inflation"]:+.3f} [{x["low"]:.3f}, {x["high"]:.3f}]'
    rows.append((x['target'], x['model'], x['split'], *scores, gain))
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
