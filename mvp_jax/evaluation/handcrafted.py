"""Handcrafted features of all trials of a corpus, worked out once."""

import numpy as np

from mvp_jax.errors import InputError
from mvp_jax.files import atomic_write
from mvp_jax.processes import parallel_map
from mvp_jax.progress import Progress
from mvp_jax.raw.features import au_features, trial_features
from mvp_jax.training import hosts

_VERSION = 1  # of the features: another one has other files
_FEW = 40  # trials, for which no processes are started


def feature_table(corpus, trials, workers=None):
  """The features of `raw.features` of whole trials.

  They are worked out for all trials of the corpus, and kept beside the prepared data.

  Args:
    corpus: Corpus.
    trials: list of Trial: those wanted.
    workers: processes; None = as many as there are processors.

  Returns:
    (float64 [trials, features], NaN where not defined; their names). There is no
    column for what no trial has.
  """
  path = corpus.directory.parent / 'handcrafted' / f'features{_VERSION}.npz'
  hosts.on_main(lambda: None if path.exists() else _write(path, corpus, workers))
  try:
    with np.load(path, allow_pickle=False) as arrays:
      values, names = arrays['values'], arrays['names'].tolist()
      rows = {name: row for row, name in enumerate(arrays['ids'].tolist())}
  except (OSError, EOFError, ValueError, KeyError) as error:
    raise InputError(f'{path}: cannot be read ({error}); delete it') from error
  values = values[[rows[trial.trial_id] for trial in trials]]
  there = np.isfinite(values).any(0)
  return values[:, there], [n for n, good in zip(names, there, strict=True) if good]


def _write(path, corpus, workers):
  trials, metadata = corpus.trials, corpus.metadata
  rows = features_of(
    [(t.signals, t.signals_valid, getattr(t, 'action_units', None)) for t in trials],
    metadata['signal_rate'],
    tuple(metadata['channels'] or ()),
    workers,
    'handcrafted features',
  )
  names = list(dict.fromkeys(name for row in rows for name in row))
  values = np.array([[row.get(name, np.nan) for name in names] for row in rows])
  with atomic_write(path) as part:
    np.savez(
      part,
      values=values.reshape(len(rows), len(names)),
      names=np.array(names, str),
      ids=np.array([t.trial_id for t in trials]),
    )


def features_of(pieces, rate, channels, workers=None, what='features'):
  """The features of trials or windows: list of dicts, name -> float.

  Args:
    pieces: list of (signals, where valid, ActionUnits or None).
    rate: Hz, of the signals.
    channels: their names.
    workers: processes; None = as many as there are processors.
    what: for the progress display.
  """
  tasks = [(*piece, rate, channels) for piece in pieces]
  with Progress(len(tasks), what, 'trial', 0, hosts.console()) as progress:
    rows = [None] * len(tasks)
    for i, row in parallel_map(_features, tasks, 1 if len(tasks) < _FEW else workers):
      rows[i] = row
      progress.update()
    return rows


def _features(signals, valid, units, rate, channels):
  found = trial_features(signals, rate, channels, valid) if signals.size else {}
  if units is not None:
    found |= au_features(units.intensities, units.valid)
  return found
