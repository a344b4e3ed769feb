"""Success and failure: trials that the main model is surest of, right and wrong.

They are chosen by a rule from the predictions alone, so that training (which keeps
the attention), a resumed run and a report made anew choose the same. What a figure
shows of them lies in cases/, a file for each trial.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from mvp_jax.data import streams
from mvp_jax.data.trials import Series
from mvp_jax.errors import InputError
from mvp_jax.evaluation.files import read_arrays
from mvp_jax.evaluation.predictions import Prediction
from mvp_jax.evaluation.results import in_order
from mvp_jax.files import atomic_write

FOLDER = 'cases'
RULE = (
  'of each class the surest right trial, and the two surest wrong ones; the '
  'surest is the one whose probability is furthest from .5, of equals the first '
  'by subject and trial number'
)
_WRONG = 2
_FACES = 8
_SIDE = 64  # pixels of a face
_QUERIES = 200  # rows of attention that are kept: more than can be seen
_AXES = {
  'signals': ('S', 'C'),
  'signals_valid': ('S', 'C'),
  'channels': ('C',),
  'units': ('C',),
  'faces': ('n', 'height', 'width', 'rgb'),
  'face_times': ('n',),
  'weights': ('Q', 'K'),
  'query_times': ('Q',),
  'query_valid': ('Q',),
  'key_times': ('K',),
  'key_valid': ('K',),
}
_SIGNALS = ('trial_id', 'signal_rate', 'signals', 'signals_valid', 'channels', 'units')
_OPTIONAL = (
  ('faces', 'face_times'),  # all of a group or none
  ('weights', 'query_times', 'query_valid', 'key_times', 'key_valid'),
)


_NO_SERIES = Series(np.zeros((0, 0), np.float32), np.zeros((0, 0), bool), (), 1.0)


class Cases(NamedTuple):
  """What is chosen for a target."""

  right: list[Prediction]  # at most one high, then at most one low
  wrong: list[Prediction]  # at most two, the surer first


def choose(predictions, target, main=None):
  """Chooses by `RULE` among the main model's trials of the first seed.

  Those of all folds are among those of each fold. Returns {rating: Cases}, empty
  without a trained model, or where no prediction is right or wrong.
  """
  models, _ = in_order((row.model for row in predictions), target, main)
  if not models or target.is_right(predictions[0]) is None:
    return {}
  seed = min(row.seed for row in predictions)
  rows = [row for row in predictions if (row.model, row.seed) == (models[0], seed)]
  rows.sort(key=lambda row: (-abs(row.score - 0.5), row.place))
  chosen = {}
  for name in dict.fromkeys(row.target for row in predictions):
    own = [row for row in rows if row.target == name]
    right = [row for row in own if target.is_right(row)]
    wrong = [row for row in own if not target.is_right(row)]
    of_each = [[row for row in right if row.label == label][:1] for label in (1, 0)]
    chosen[name] = Cases([row for rows in of_each for row in rows], wrong[:_WRONG])
  return chosen


def rows_of(chosen):
  """The Predictions of what `choose` gives, each trial once."""
  rows = [row for cases in chosen.values() for row in (*cases.right, *cases.wrong)]
  return list({row.place: row for row in rows}.values())


def path(folder, row):
  """The file of a Prediction's trial."""
  return Path(folder) / f's{row.subject:02d}_trial{row.trial:02d}.npz'


def write(folder, corpus, chosen, attention):
  """Writes the files of the chosen trials, and deletes others.

  Args:
    chosen: of `choose`, trials of this corpus.
    attention: {(subject, trial): arrays weights [Q, K], the mean over layers and
      heads, query_times, query_valid [Q], key_times, key_valid [K]}, of those
      trials that have it.
  """
  trials = {(trial.subject, trial.trial): trial for trial in corpus.trials}
  written = set()
  for row in rows_of(chosen):
    trial = trials[row.subject, row.trial]
    written.add(path(folder, row))
    arrays = _shown(corpus, trial)
    arrays |= _coarse(attention.get((row.subject, row.trial), {}))
    with atomic_write(path(folder, row)) as part:
      np.savez_compressed(part, **arrays)
  for other in set(folder.glob('*.npz')) - written:
    other.unlink()


def _shown(corpus, trial):
  """Arrays of the first series and the first frames of a trial."""
  known = streams.series(corpus, regular=True)
  name = next((name for name in known if name in trial.streams), None)
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
  return arrays


def _coarse(attention):
  """With fewer queries, if there are many: each the mean over some valid ones."""
  if not attention or len(attention['query_times']) <= _QUERIES:
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
