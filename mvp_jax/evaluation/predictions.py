"""predictions.csv: one row per held-out trial, target and model."""

import csv
import dataclasses
import io
import math
from collections.abc import Iterable
from pathlib import Path

from mvp_jax.errors import InputError
from mvp_jax.files import whole

CLASS_PRIOR = 'class_prior'
"""The model whose score is the share of high among its fold's training trials."""

_RESERVED = ('majority', 'coin', 'ceiling')  # rows of the report


@dataclasses.dataclass(frozen=True)
class Prediction:
  """What one model says of one held-out trial and target.

  `rating` is the subject's own, `label` 1 for high and 0 for low, `score` the
  probability of high. `stimulus` is text: some corpora name theirs.
  """
  dataset: str
  subject: int
  trial: int
  stimulus: str
  fold: int
  seed: int
  model: str
  target: str
  rating: float
  label: int
  score: float
  predicted_rating: float | None = None  # where a model predicts one

  @property
  def trial_key(self):
    """What makes a trial and target one: it is held out once per seed."""
    return self.dataset, self.subject, self.trial, self.seed, self.target


COLUMNS = tuple(field.name for field in dataclasses.fields(Prediction))


def read_predictions(path: Path) -> list[Prediction]:
  """Reads and checks predictions.csv.

  Raises InputError, naming the line, if the file is missing or empty, a column or
  value is not as it should be, or the rows contradict each other (see `check`).
  """
  try:
    text = path.read_text('utf-8', errors='strict')
  except FileNotFoundError:
    raise InputError(f'{path}: no such file; run the job to its end first') from None
  except UnicodeDecodeError:
    raise InputError(f'{path}: not UTF-8 text; rerun the job') from None
  reader = csv.reader(io.StringIO(text, newline=''), strict=True)
  predictions = []
  try:
    header = tuple(next(reader, ()))
    if header != COLUMNS:
      raise InputError(f'{path} line 1: columns are {",".join(header)!r}, expected '
                       f'{",".join(COLUMNS)!r}')
    for row in reader:
      predictions.append(_parse(row, f'{path} line {reader.line_num}'))
  except csv.Error as error:
    raise InputError(f'{path} line {reader.line_num}: {error}') from None
  check(predictions, path)
  return predictions


def write_predictions(path: Path, predictions: Iterable[Prediction]):
  """Checks the predictions and writes them at once, or not at all.

  Raises InputError as `read_predictions` does.
  """
  predictions = list(predictions)
  check(predictions, path)
  text = io.StringIO(newline='')
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(COLUMNS)
  for prediction in predictions:
    row = dataclasses.asdict(prediction)
    # NumPy scalars would be written in their own way, float32 with fewer digits.
    row.update({name: float(row[name]) for name in ('rating', 'score')})
    rated = row['predicted_rating']
    row['predicted_rating'] = '' if rated is None else float(rated)
    row.update({name: int(row[name])
                for name in ('subject', 'trial', 'fold', 'seed', 'label')})
    writer.writerow(row.values())
  with whole(path) as part:
    part.write_text(text.getvalue(), 'utf-8', newline='')


def check(predictions: list[Prediction], where: Path):
  """Raises InputError, naming the line, unless the predictions are consistent.

  Scores are probabilities and ratings finite; no row is there twice; each model
  has every trial and target, with the same label, rating, stimulus and fold.
  """
  if not predictions:
    raise InputError(f'{where}: no predictions; rerun the job')
  seen, facts, lines = set(), {}, {}
  for line, row in enumerate(predictions, start=2):  # line 1 is the header

    def fail(what, line=line, row=row):
      raise InputError(f'{where} line {line} (subject {row.subject} trial {row.trial} '
                       f'{row.target} {row.model}): {what}')

    for name in ('dataset', 'stimulus', 'model', 'target'):
      text = str(getattr(row, name))
      if not text or not text.isprintable():
        fail(f'{name} is {text!r}, which is empty or not printable')
    if row.model in _RESERVED:
      fail(f'the model name {row.model} is kept for the report; use another')
    if not math.isfinite(row.rating):
      fail(f'rating is {row.rating}, expected a finite number')
    if row.predicted_rating is not None and not math.isfinite(row.predicted_rating):
      fail(f'predicted_rating is {row.predicted_rating}, expected a finite number or '
           'nothing')
    if row.label not in (0, 1):
      fail(f'label is {row.label}, expected 0 or 1')
    if not 0 <= row.score <= 1:
      fail(f'score is {row.score}, expected a probability from 0 to 1')
    key = row.trial_key
    if (key, row.model) in seen:
      fail('this trial, target and model is there twice')
    seen.add((key, row.model))
    lines.setdefault(key, line)
    known = facts.setdefault(key, row)
    for name in ('label', 'rating', 'stimulus', 'fold'):
      if getattr(row, name) != getattr(known, name):
        fail(f'{name} is {getattr(row, name)}, but {getattr(known, name)} on line '
             f'{lines[key]} for the same trial')
  for model in dict.fromkeys(row.model for row in predictions):
    for key, row in facts.items():
      if (key, model) not in seen:
        raise InputError(
            f'{where} line {lines[key]}: subject {row.subject} trial {row.trial} '
            f'{row.target} seed {row.seed} is there for {row.model} but has no row '
            f'for {model}; rerun the job')


def _parse(row, where):
  if len(row) != len(COLUMNS):
    raise InputError(f'{where}: {len(row)} values, expected {len(COLUMNS)}')
  values = {}
  for field, text in zip(dataclasses.fields(Prediction), row, strict=True):
    optional = field.name == 'predicted_rating'
    kind = float if optional else field.type
    try:
      values[field.name] = None if optional and not text else kind(text)
    except ValueError:
      raise InputError(f'{where}: {field.name} is {text!r}, expected '
                       f'{kind.__name__}') from None
  return Prediction(**values)
