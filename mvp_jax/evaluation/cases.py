"""Success and failure: trials that the main model is surest of, or best and worst at.

They are chosen by a rule from the predictions alone, so that training (which keeps
the attention), a resumed run and a report made anew choose the same. What a figure
shows of them lies in cases/, a file for each trial.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from mvp_jax.data import streams
from mvp_jax.data.trial import Series
from mvp_jax.errors import InputError
from mvp_jax.evaluation import courses
from mvp_jax.evaluation.files import read_arrays
from mvp_jax.evaluation.predictions import Prediction, Track
from mvp_jax.evaluation.results import in_order
from mvp_jax.evaluation.summary import number
from mvp_jax.files import atomic_write

FOLDER = 'cases'
RULE = (
  'of each class the surest right trial, and the two surest wrong ones; the '
  'surest is the one whose probability is furthest from .5, of equals the first '
  'by subject and trial number'
)
COURSE_RULE = (
  'the one that is best by its own score, the one in the middle (of the middle ones of '
  'each fold the nearest to the median of all) and the worst; of equals the first by '
  'subject and trial number'
)
_WRONG = 2
_FACES = 8
_SIDE = 64  # pixels of a face
_QUERIES = 200  # rows of attention that are kept: more than can be seen
_LEVELS = 1000  # spans of a sound, whose level is kept: more than can be seen
_SILENCE = -96.0  # dB below full scale, one step of 16 bits: what is less is as much
_AXES = {
  'signals': ('S', 'C'),
  'signals_valid': ('S', 'C'),
  'channels': ('C',),
  'units': ('C',),
  'faces': ('n', 'height', 'width', 'rgb'),
  'face_times': ('n',),
  'sound_level': ('T',),
  'sound_times': ('T',),
  'weights': ('Q', 'K'),
  'query_times': ('Q',),
  'query_valid': ('Q',),
  'key_times': ('K',),
  'key_valid': ('K',),
  'shares': ('M', 'T of segments'),
  'share_times': ('T of segments',),
  'share_names': ('M',),
}
_SIGNALS = ('trial_id', 'signal_rate', 'signals', 'signals_valid', 'channels', 'units')
SIDES = ('query_times', 'query_valid', 'key_times', 'key_valid')  # of attention
_OPTIONAL = (
  ('faces', 'face_times'),  # all of a group or none
  ('sound_level', 'sound_times'),
  ('weights', *SIDES),
  ('shares', 'share_times', 'share_names'),
)


_NO_SERIES = Series(np.zeros((0, 0), np.float32), np.zeros((0, 0), bool), (), 1.0)


class Case(NamedTuple):
  """A trial that is shown, and whether it stands for success (None: for neither)."""

  row: Prediction | Track
  title: str
  good: bool | None


class Cases(NamedTuple):
  """What is chosen for a rating where predictions are right or wrong."""

  right: list[Prediction]  # at most one high, then at most one low
  wrong: list[Prediction]  # at most two, the surer first

  rule = RULE

  @property
  def rows(self):
    return [*self.right, *self.wrong]

  @property
  def columns(self) -> list[list[Case]]:
    """As they are drawn side by side."""
    return [
      [Case(row, f'{word}: {_answer(row)}', good) for row in rows]
      for rows, word, good in (
        (self.right, 'Right', True),
        (self.wrong, 'WRONG', False),
      )
    ]

  def notes(self) -> list[str]:
    """Sentences on what there is none of."""
    missing = ((self.wrong, 'wrongly'), (self.right, 'rightly'))
    return [f'No trial is predicted {how}.' for rows, how in missing if not rows]


class Extremes(NamedTuple):
  """What is chosen where predictions are numbers: best, middle and worst trial."""

  cases: list[Case]  # fewer, if there are

  rule = COURSE_RULE

  @property
  def rows(self):
    return [case.row for case in self.cases]

  @property
  def columns(self) -> list[list[Case]]:
    """As they are drawn: one below the other."""
    return [self.cases]

  def notes(self) -> list[str]:
    return []


def _answer(row):
  label = 'high' if row.label else 'low'
  return f'p(high) = {number(row.score, 2)}, rated {row.rating:.3g}, {label}'


def choose(predictions, target, main=None) -> dict[str, Cases | Extremes]:
  """Chooses by a rule among the main model's trials of the first seed.

  Those of all folds are among those of each fold. Returns {rating: Cases}, or Extremes
  where no prediction is right or wrong; empty without a trained model, or where none is
  better than another.
  """
  models, _ = in_order((row.model for row in predictions), target, main)
  if not models:
    return {}
  seed = min(row.seed for row in predictions)
  rows = [row for row in predictions if (row.model, row.seed) == (models[0], seed)]
  rows.sort(key=lambda row: row.place)
  by_rating = {
    name: [row for row in rows if row.target == name]
    for name in dict.fromkeys(row.target for row in predictions)
  }
  if target.level == 'frame' or target.is_right(predictions[0]) is None:
    chosen = {name: _extremes(own, target) for name, own in by_rating.items()}
    return {name: one for name, one in chosen.items() if one.cases}
  return {name: _surest(own, target) for name, own in by_rating.items()}


def _surest(rows, target):
  """The Cases among a model's trials, by `RULE`."""
  rows = sorted(rows, key=lambda row: -abs(row.score - 0.5))
  right = [row for row in rows if target.is_right(row)]
  wrong = [row for row in rows if not target.is_right(row)]
  of_each = [[row for row in right if row.label == label][:1] for label in (1, 0)]
  return Cases([row for rows in of_each for row in rows], wrong[:_WRONG])


def _extremes(rows, target):
  """The Extremes among a model's trials, by `COURSE_RULE`."""
  at = list(target.scores).index(target.headline)
  scores = courses.by_recording(target, rows[0].model, rows)[:, at]
  gains = [target.gain(target.headline, x) for x in scores]
  known = np.flatnonzero(np.isfinite(scores)).tolist()
  order = sorted(known, key=lambda i: -gains[i])  # the best first
  if not order:
    return Extremes([])
  by_fold = {}
  for i in order:
    by_fold.setdefault(rows[i].fold, []).append(i)
  middles = [of_fold[len(of_fold) // 2] for of_fold in by_fold.values()]
  median = scores[order[len(order) // 2]]
  middle = min(middles, key=lambda i: (abs(scores[i] - median), i))
  name = target.scores[target.headline].name
  found = {}
  for i, word, good in (
    (order[0], 'Best', True),
    (order[-1], 'Worst', False),
    (middle, 'Middle', None),
  ):
    title = f'{word}: {name} of this recording {number(scores[i])}'
    if target.level == 'trial':
      title += (
        f' (predicted {rows[i].predicted_rating:.3g}, rated {rows[i].rating:.3g})'
      )
    found.setdefault(i, Case(rows[i], title, good))
  return Extremes([found[i] for i in sorted(found, key=order.index)])


def rows_of(chosen):
  """The predictions of what `choose` gives, each trial once."""
  rows = [row for one in chosen.values() for row in one.rows]
  return list({row.place: row for row in rows}.values())


def path(folder, row):
  """The file of the trial of a prediction."""
  return Path(folder) / f's{row.subject:02d}_trial{row.trial:02d}.npz'


def write(folder, corpus, chosen, attention, labels=()):
  """Writes the files of the chosen trials, and deletes others.

  Args:
    chosen: of `choose`, trials of this corpus.
    attention: {(subject, trial): what `attention_of` gives}, of those trials that
      have it.
  """
  trials = {(trial.subject, trial.trial): trial for trial in corpus.trials}
  written = set()
  for row in rows_of(chosen):
    trial = trials[row.subject, row.trial]
    written.add(path(folder, row))
    arrays = shown(corpus, trial, labels)
    arrays |= coarse(attention.get((row.subject, row.trial), {}))
    with atomic_write(path(folder, row)) as part:
      np.savez_compressed(part, **arrays)
  for other in set(folder.glob('*.npz')) - written:
    other.unlink()


def attention_of(seen, index):
  """Of what a fusion shows of a batch, the part of one example: arrays by name.

  Of attention in time (`seen` has attention [layers, B, heads, Q, K] and of both sides
  query and key times and valid, [B, N] or [N]): weights [Q, K], the mean over layers
  and heads, query_times, query_valid [Q], key_times and key_valid [K]. Of attention
  over features (shares [B, M, T], share_times [B, T], share_names): shares [M, T],
  share_times [T] and share_names [M]. Of a fusion without either nothing.
  """
  if 'shares' in seen:
    return {
      'shares': seen['shares'][index],
      'share_times': seen['share_times'][index],
      'share_names': np.array(seen['share_names'].names),
    }
  if 'attention' not in seen:
    return {}
  sides = {name: x[index] if x.ndim > 1 else x for name in SIDES for x in [seen[name]]}
  return {'weights': seen['attention'][:, index].mean((0, 1)), **sides}


def shown(corpus, trial, labels=()):
  """Arrays of the first series, the first frames and the first sound of a trial."""
  known = streams.series(corpus, regular=True)
  own = (name for name in known if name in trial.streams and name not in labels)
  name = next(own, None)
  shown = trial.streams.get(name, _NO_SERIES)
  units = known.get(name, {}).get('units') or [''] * len(shown.channels)
  arrays = {
    'trial_id': trial.trial_id,
    'signals': shown.values,
    'signals_valid': shown.valid,
    'signal_rate': shown.rate,
    'channels': np.array(shown.channels, str),
    'units': np.array(units, str),
  }
  name = streams.pictured(corpus, trial)
  if name is not None:
    times = trial.streams[name].times
    numbers = np.unique(((np.arange(_FACES) + 0.5) / _FACES * len(times)).astype(int))
    images = corpus.frames(trial, numbers, stream=name)
    small = [
      cv2.resize(x, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for x in images
    ]
    arrays['faces'] = np.stack(small)
    arrays['face_times'] = times[numbers]
  name = next((name for name in streams.sounds(corpus) if name in trial.streams), None)
  if name is not None:
    times, levels = _level(corpus, trial, name)
    arrays |= {'sound_times': times, 'sound_level': levels}
  return arrays


def _level(corpus, trial, name):
  """Of equal spans of a sound, at most `_LEVELS`: their middles, and their levels.

  Both float [T], in seconds and dB below full scale; NaN where nothing was recorded.
  """
  sound = trial.streams[name]
  size = -(-sound.count // _LEVELS)
  count = -(-sound.count // size)
  levels = np.full(count, np.nan, np.float32)
  at_once = -(-corpus.metadata['sound_chunk'] // size)  # of a chunk, lest it be reread
  for first in range(0, count, at_once):
    spans = min(at_once, count - first)
    read = corpus.samples(trial, first * size, (first + spans) * size, name)
    values, valid = (x.reshape(spans, size) for x in read)
    there = valid.sum(1)
    squares = np.where(valid, values.astype(float) / 32768, 0) ** 2
    power = squares.sum(1) / np.maximum(there, 1)
    level = 10 * np.log10(np.maximum(power, 10 ** (_SILENCE / 10)))
    levels[first : first + spans] = np.where(there, level, np.nan)
  return (np.arange(count) + 0.5) * size / sound.rate, levels


def coarse(attention):
  """With fewer queries, if there are many: each the mean over some valid ones."""
  if len(attention.get('query_times', ())) <= _QUERIES:
    return attention
  valid = attention['query_valid'].astype(np.float32)
  starts = np.arange(0, len(valid), -(-len(valid) // _QUERIES))
  count = np.add.reduceat(valid, starts)

  def mean(x):
    total = np.add.reduceat((x.T * valid).T, starts)
    return (total.T / np.maximum(count, 1)).T.astype(np.float32)

  return attention | {
    'weights': mean(attention['weights']),
    'query_times': attention['query_times'][starts],
    'query_valid': count > 0,
  }


def read(file):
  """The arrays that `write` wrote to a file, or None if there is none.

  Raises InputError if an array is missing or its shape disagrees with the rest.
  """
  arrays = read_arrays(file)
  if arrays is None:
    return None
  groups = [group for group in _OPTIONAL if arrays.keys() & set(group)]
  for name in [*_SIGNALS, *(name for group in groups for name in group)]:
    if name not in arrays:
      raise InputError(f'{file}: no array {name}; delete it or rerun the job')
  sizes = {}
  for name in [n for n in _AXES if n in arrays]:
    shape, axes = arrays[name].shape, _AXES[name]
    if len(shape) != len(axes) or any(
      sizes.setdefault(axis, size) != size
      for axis, size in zip(axes, shape, strict=True)
    ):
      raise InputError(
        f'{file}: {name} has shape {shape}, which disagrees with '
        f'[{", ".join(axes)}]; delete it or rerun the job'
      )
  arrays['trial_id'] = str(arrays['trial_id'])
  return arrays
