"""predictions.csv: one row per held-out trial, target and model."""

import csv
import dataclasses
import io
import math
from collections.abc import Iterable
from pathlib import Path

from mvp_jax.errors import InputError
from mvp_jax.files import atomic_write

CLASS_PRIOR = 'class_prior'
"""The model whose score is the share of high among its fold's training trials."""

_RESERVED = ('majority', 'coin', 'ceiling')  # rows of the report


@dataclasses.dataclass(frozen=True)
class Prediction:
  """What one model says of one held-out trial and target.

  `rating` is the subject's own, `label` 1 for high and 0 for low, `score` the
  probability of high. `stimulus` is text: some corpora name theirs.
  `predicted_rating`, on the scale of `rating`, is None where a model gives none; its
  column may be absent.
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
  predicted_rating: float | None = None

  @property
  def trial_key(self):
    """What makes a trial and target one: it is held out once per seed."""
    return self.dataset, self.subject, self.trial, self.seed, self.target


COLUMNS = tuple(field.name for field in dataclasses.fields(Prediction))
_OPTIONAL = 'predicted_rating'


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
    _check_header(header, f'{path} line 1')
    for row in reader:
      predictions.append(_parse(header, row, f'{path} line {reader.line_num}'))
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
    row.update(
      {
        name: float(row[name])
        for name in ('rating', 'score', _OPTIONAL)
        if row[name] is not None
      }
    )
    row.update(
      {name: int(row[name]) for name in ('subject', 'trial', 'fold', 'seed', 'label')}
    )
    writer.writerow(row.values())
  with atomic_write(path) as part:
    part.write_text(text.getvalue(), 'utf-8', newline='')


def check(predictions: list[Prediction], where: Path):
  """Raises InputError, naming the line, unless the predictions are consistent.

  Scores are probabilities and ratings finite; no row is there twice; each model
  has every trial and target, with the same label, rating, stimulus and fold, and
  predicts ratings of all trials of a target or of none.
  """
  if not predictions:
    raise InputError(f'{where}: no predictions; rerun the job')
  seen, facts, lines, rated = set(), {}, {}, {}
  for line, row in enumerate(predictions, start=2):  # line 1 is the header

    def fail(what, line=line, row=row):
      raise InputError(
        f'{where} line {line} (subject {row.subject} trial {row.trial} '
        f'{row.target} {row.model}): {what}'
      )

    for name in ('dataset', 'stimulus', 'model', 'target'):
      text = str(getattr(row, name))
      if not text or not text.isprintable():
        fail(f'{name} is {text!r}, which is empty or not printable')
    if row.model in _RESERVED:
      fail(f'the model name {row.model} is kept for the report; use another')
    if not math.isfinite(row.rating):
      if not any(
        math.isfinite(r.rating) for r in predictions if r.target == row.target
      ):
        fail(f'no trial has a finite rating of {row.target}; leave this target out')
      fail(f'rating is {row.rating}, expected a finite number')
    if row.predicted_rating is not None and not math.isfinite(row.predicted_rating):
      fail(
        f'predicted_rating is {row.predicted_rating}, expected a finite number, or '
        'nothing where the model gives none'
      )
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
        fail(
          f'{name} is {getattr(row, name)}, but {getattr(known, name)} on line '
          f'{lines[key]} for the same trial'
        )
    rates = row.predicted_rating is not None
    if rated.setdefault((row.model, row.target), rates) != rates:
      fail(
        'predicted_rating is there for some trials of this model and target and '
        'not for others; give it for all or none'
      )
  for model in dict.fromkeys(row.model for row in predictions):
    for key, row in facts.items():
      if (key, model) not in seen:
        raise InputError(
          f'{where} line {lines[key]}: subject {row.subject} trial {row.trial} '
          f'{row.target} seed {row.seed} is there for {row.model} but has no row '
          f'for {model}; rerun the job'
        )


def _check_header(header, where):
  unknown = [name for name in header if name not in COLUMNS]
  missing = [name for name in COLUMNS if name not in {*header, _OPTIONAL}]
  twice = sorted({name for name in header if header.count(name) > 1})
  for what, names in (('unknown', unknown), ('missing', missing), ('twice', twice)):
    if names:
      raise InputError(
        f'{where}: columns {", ".join(map(repr, names))} {what}; '
        f'expected {",".join(COLUMNS)} ({_OPTIONAL} may be '
        'absent)'
      )


def _parse(header, row, where):
  if len(row) != len(header):
    raise InputError(f'{where}: {len(row)} values, expected {len(header)}')
  values = {}
  for name, text in zip(header, row, strict=True):
    if name == _OPTIONAL and not text:
      continue
    kind = float if name == _OPTIONAL else Prediction.__annotations__[name]
    try:
      values[name] = kind(text)
    except ValueError:
      raise InputError(
        f'{where}: {name} is {text!r}, expected {kind.__name__}'
      ) from None
  return Prediction(**values)
