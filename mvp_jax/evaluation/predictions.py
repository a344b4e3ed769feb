"""predictions.csv and frames.csv: what models say of held-out trials.

predictions.csv has a row per trial, rating and model; frames.csv, of a target in
time, a row per moment of these.
"""

import csv
import dataclasses
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mvp_jax.errors import InputError
from mvp_jax.files import atomic_write
from mvp_jax.targets import Binary, Target
from mvp_jax.targets.binary_baselines import CLASS_PRIOR

__all__ = ['CLASS_PRIOR']


@dataclasses.dataclass(frozen=True)
class _Row:
  """Whose trial it is, and who says something of which rating (`target`).

  `stimulus` is text: some corpora name theirs.
  """

  dataset: str
  subject: int
  trial: int
  stimulus: str
  fold: int
  seed: int
  model: str
  target: str

  @property
  def trial_key(self):
    """What makes a trial and rating one: it is held out once per seed."""
    return self.dataset, self.subject, self.trial, self.seed, self.target

  @property
  def place(self):
    """The trial alone."""
    return self.dataset, self.subject, self.trial


@dataclasses.dataclass(frozen=True)
class Prediction(_Row):
  """What one model says of one held-out trial and rating.

  `rating` is the subject's own. Of a binary target `label` is 1 for high and 0 for
  low, `score` the probability of high; others have neither. `predicted_rating`, on
  the scale of `rating`, is None where a model gives none; its column may be absent.
  """

  rating: float
  label: int | None
  score: float | None
  predicted_rating: float | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Track(_Row):
  """What one model says of one held-out trial and rating over time: float64 [n].

  `times` are seconds from the stimulus onset.
  """

  times: np.ndarray
  ratings: np.ndarray
  predictions: np.ndarray


_KEY = tuple(field.name for field in dataclasses.fields(_Row))
_OPTIONAL = 'predicted_rating'  # its column may be absent
COLUMNS = {
  'trial': (*_KEY, 'rating', 'label', 'score', _OPTIONAL),
  'frame': (*_KEY, 'time', 'rating', 'prediction'),
}
_TRACK = {'time': 'times', 'rating': 'ratings', 'prediction': 'predictions'}
_KINDS = dict.fromkeys(('subject', 'trial', 'fold', 'seed', 'label'), int) | (
  dict.fromkeys(('rating', 'score', _OPTIONAL, 'time', 'prediction'), float)
)
_MAY_BE_EMPTY = ('label', 'score', _OPTIONAL)


def file_name(target: Target) -> str:
  """Where a target's predictions are in a work directory."""
  return {'trial': 'predictions.csv', 'frame': 'frames.csv'}[target.level]


def told(target, fold, seed, dataset, trial, model, predicted, ratings=None) -> list:
  """What a model says of one trial as rows, one for each rating.

  Args:
    fold: data.splits.Fold.
    seed: of the training.
    dataset: the corpus' name.
    predicted: of `Target.predict`: [ratings], or [L, ratings] in time.
    ratings: [ratings] on the scale of the ratings, where `predicted` is not; or None.

  Returns:
    list of Prediction or, for level 'frame', of Track.
  """
  predicted = np.asarray(target.finished(target.restored(fold.target, predicted)))
  stimulus = 'none' if trial.stimulus is None else str(trial.stimulus)
  seconds = len(predicted) / target.rate if target.level == 'frame' else None
  label, weight = fold.target.label(trial, seconds)
  label = target.restored(fold.target, label)
  rows = []
  for i, name in enumerate(target.ratings):
    key = dataset, trial.subject, trial.trial, stimulus, fold.fold, seed, model, name
    if target.level == 'frame':
      here = np.flatnonzero(weight if np.ndim(weight) < 2 else weight[:, i])
      times = target.times(len(label))[here] + target.lag
      rows.append(Track(*key, times, label[here, i], predicted[here, i]))
    else:
      rating = None if ratings is None else ratings[i]
      fields = target.fields(label[i], predicted[i], rating)
      rows.append(Prediction(*key, round(trial.ratings[name], 4), **fields))
  return rows


def read_predictions(path: Path, target: Target | None = None) -> list:
  """Reads and checks the predictions of a target (None: a Binary one).

  Raises InputError, naming the line, if the file is missing or empty, a column or
  value is not as it should be, or the rows contradict each other (see `check`).
  """
  target = target or Binary()
  try:
    text = path.read_text('utf-8', errors='strict')
  except FileNotFoundError:
    raise InputError(f'{path}: no such file; run the job to its end first') from None
  except UnicodeDecodeError:
    raise InputError(f'{path}: not UTF-8 text; rerun the job') from None
  reader = csv.reader(io.StringIO(text, newline=''), strict=True)
  values, lines = [], []
  try:
    header = tuple(next(reader, ()))
    _check_header(header, target.level, f'{path} line 1')
    for row in reader:
      lines.append(reader.line_num)
      values.append(_parse(header, row, f'{path} line {reader.line_num}'))
  except csv.Error as error:
    raise InputError(f'{path} line {reader.line_num}: {error}') from None
  if target.level == 'frame':
    rows, lines = _tracks(values, lines)
  else:
    rows = [Prediction(**fields) for fields in values]
  check(rows, path, target, lines)
  return rows


def write_predictions(path: Path, predictions: Iterable, target: Target | None = None):
  """Checks the predictions of a target and writes them at once, or not at all.

  Raises InputError as `read_predictions` does.
  """
  target, predictions = target or Binary(), list(predictions)
  check(predictions, path, target)
  text = io.StringIO(newline='')
  writer = csv.writer(text, lineterminator='\n')
  columns = COLUMNS[target.level]
  writer.writerow(columns)
  for row in predictions:
    # NumPy scalars would be written in their own way, float32 with fewer digits.
    if target.level == 'frame':
      key = [_plain(name, getattr(row, name)) for name in _KEY]
      course = [getattr(row, x).tolist() for x in _TRACK.values()]
      writer.writerows([*key, *moment] for moment in zip(*course, strict=True))
    else:
      writer.writerow([_plain(name, getattr(row, name)) for name in columns])
  with atomic_write(path) as part:
    part.write_text(text.getvalue(), 'utf-8', newline='')


def _plain(name, value):
  return value if value is None else _KINDS.get(name, str)(value)


def _tracks(values, lines):
  """Tracks of the rows of frames.csv, and the line at which each begins."""
  groups = {}
  for fields, line in zip(values, lines, strict=True):
    key = tuple(fields[name] for name in _KEY)
    groups.setdefault(key, (line, []))[1].append([fields[x] for x in _TRACK])
  tracks = [Track(*key, *np.array(x, float).T) for key, (_, x) in groups.items()]
  return tracks, [line for line, _ in groups.values()]


def check(
  predictions: Sequence,
  where: Path,
  target: Target | None = None,
  lines: Sequence[int] | None = None,
):
  """Raises InputError, naming the line, unless the predictions are consistent.

  Scores are probabilities and ratings finite; no row is there twice; each model
  has every trial and rating, with the same label, rating, stimulus and fold (in
  time: the same moments), and predicts ratings of all trials of a target or of none.

  Args:
    lines: where each of them is in the file; None = as they would be written.
  """
  target = target or Binary()
  if not predictions:
    raise InputError(f'{where}: no predictions; rerun the job')
  moments = target.level == 'frame'
  if lines is None:  # line 1 is the header
    sizes = [len(row.times) if moments else 1 for row in predictions]
    lines = 2 + np.concatenate([[0], np.cumsum(sizes)[:-1]])
  same = ('stimulus', 'fold') if moments else ('label', 'rating', 'stimulus', 'fold')
  seen, facts, first, rated = set(), {}, {}, {}
  for line, row in zip(lines, predictions, strict=True):

    def fail(what, line=line, row=row):
      raise InputError(
        f'{where} line {line} (subject {row.subject} trial {row.trial} '
        f'{row.target} {row.model}): {what}'
      )

    for name in ('dataset', 'stimulus', 'model', 'target'):
      text = str(getattr(row, name))
      if not text or not text.isprintable():
        fail(f'{name} is {text!r}, which is empty or not printable')
    if row.model in target.reserved:
      fail(f'the model name {row.model} is kept for the report; use another')
    if moments:
      _check_moments(row, fail)
    else:
      _check_values(row, predictions, target, fail)
    key = row.trial_key
    if (key, row.model) in seen:
      fail('this trial, target and model is there twice')
    seen.add((key, row.model))
    first.setdefault(key, line)
    known = facts.setdefault(key, row)
    for name in same:
      if getattr(row, name) != getattr(known, name):
        fail(
          f'{name} is {getattr(row, name)}, but {getattr(known, name)} on line '
          f'{first[key]} for the same trial'
        )
    if moments and not all(
      np.array_equal(getattr(row, x), getattr(known, x)) for x in ('times', 'ratings')
    ):
      fail(
        f'times or ratings are not those from line {first[key]} on, of the same trial'
      )
    rates = not moments and row.predicted_rating is not None
    if rated.setdefault((row.model, row.target), rates) != rates:
      fail(
        'predicted_rating is there for some trials of this model and target and '
        'not for others; give it for all or none'
      )
  for model in dict.fromkeys(row.model for row in predictions):
    for key, row in facts.items():
      if (key, model) not in seen:
        raise InputError(
          f'{where} line {first[key]}: subject {row.subject} trial {row.trial} '
          f'{row.target} seed {row.seed} is there for {row.model} but has no row '
          f'for {model}; rerun the job'
        )


def _check_values(row, predictions, target, fail):
  if not math.isfinite(row.rating):
    if not any(math.isfinite(r.rating) for r in predictions if r.target == row.target):
      fail(f'no trial has a finite rating of {row.target}; leave this target out')
    fail(f'rating is {row.rating}, expected a finite number')
  if row.predicted_rating is not None and not math.isfinite(row.predicted_rating):
    fail(
      f'predicted_rating is {row.predicted_rating}, expected a finite number, or '
      'nothing where the model gives none'
    )
  if fault := target.fault(row):
    fail(fault)


def _check_moments(row, fail):
  if not len(row.times):
    fail('there is no moment with a rating; leave the trial out')
  if not len(row.times) == len(row.ratings) == len(row.predictions):
    fail('times, ratings and predictions differ in number')
  for name, column in _TRACK.items():
    wrong = ~np.isfinite(getattr(row, column))
    if wrong.any():
      at = int(np.argmax(wrong))
      fail(
        f'{name} is {getattr(row, column)[at]} at moment {at}, expected a finite number'
      )
  if (np.diff(row.times) <= 0).any():
    fail('times do not rise from one moment to the next')


def _check_header(header, level, where):
  columns = COLUMNS[level]
  unknown = [name for name in header if name not in columns]
  missing = [name for name in columns if name not in {*header, _OPTIONAL}]
  twice = sorted({name for name in header if header.count(name) > 1})
  for what, names in (('unknown', unknown), ('missing', missing), ('twice', twice)):
    if names:
      more = f' ({_OPTIONAL} may be absent)' if _OPTIONAL in columns else ''
      raise InputError(
        f'{where}: columns {", ".join(map(repr, names))} {what}; '
        f'expected {",".join(columns)}{more}'
      )


def _parse(header, row, where):
  if len(row) != len(header):
    raise InputError(f'{where}: {len(row)} values, expected {len(header)}')
  values = {}
  for name, text in zip(header, row, strict=True):
    kind = _KINDS.get(name, str)
    if name in _MAY_BE_EMPTY and not text:
      values[name] = None
      continue
    try:
      values[name] = kind(text)
    except ValueError:
      raise InputError(
        f'{where}: {name} is {text!r}, expected {kind.__name__}'
      ) from None
  return values
