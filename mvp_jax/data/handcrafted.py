"""Handcrafted features of all trials of a corpus, worked out once."""

import multiprocessing
import zipfile

import numpy as np

from mvp_jax import hosts
from mvp_jax.checksums import made_once
from mvp_jax.data import streams
from mvp_jax.data.derived import derived
from mvp_jax.data.sound import waveform
from mvp_jax.errors import InputError
from mvp_jax.files import atomic_write
from mvp_jax.processes import parallel_map
from mvp_jax.progress import Progress
from mvp_jax.raw import voice
from mvp_jax.raw.features import (
  au_features,
  au_names,
  feature_names,
  trial_features,
)
from mvp_jax.raw.openface import CHANNELS, INTENSITIES

_INTENSITIES = CHANNELS[: len(INTENSITIES)]
_VERSION = 3  # of the features: another one has other files
_FEW = 40  # trials, for which no processes are started
_TOGETHER = 20  # trials whose sound one task reads


def feature_table(corpus, trials, workers=None):
  """The features of `raw.features` of whole trials.

  They are worked out for all trials of the corpus, and kept beside the prepared data.

  Returns those of `trials`, float64 [trials, features], NaN where not defined, and
  their names, without what no trial has. `workers` None = as many as processors.
  """
  path = derived(corpus) / 'handcrafted' / f'features{_VERSION}.npz'
  # A process that only reads examples finds the file, and leaves JAX alone.
  if multiprocessing.parent_process() is None or not path.exists():
    doing = f'working out the features of {corpus.directory}'
    hosts.on_main(lambda: made_once(path, doing, lambda: _write(path, corpus, workers)))
  try:
    with np.load(path, allow_pickle=False) as arrays:
      values, names = arrays['values'], arrays['names'].tolist()
      rows = {name: row for row, name in enumerate(arrays['ids'].tolist())}
  except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
    raise InputError(f'{path}: cannot be read ({error}); delete it') from error
  values = values[[rows[trial.trial_id] for trial in trials]]
  there = np.isfinite(values).any(0)
  return values[:, there], [n for n, good in zip(names, there, strict=True) if good]


def channel_features(metadata):
  """The features that trials can have, by channel: {channel: list of names}.

  `metadata` is of a PreparedCorpus. Action units are channels, such as 'au12', and so
  is the 'voice' of a stream of sound.
  """
  found = {}
  for facts in metadata['streams'].values():
    if facts['kind'] == 'series':
      if facts['rate'] is not None:
        found |= {name: feature_names([name]) for name in facts['channels']}
      if set(_INTENSITIES) <= set(facts['channels']):
        found |= {f'au{unit:02d}': au_names([unit]) for unit in INTENSITIES}
    elif facts['kind'] == 'sound':
      found['voice'] = [f'voice_{name}' for name in voice.FEATURES]
  return {channel: names for channel, names in found.items() if names}


def _write(path, corpus, workers):
  trials, names = corpus.trials, streams.series(corpus)
  pieces = [[t.streams[name] for name in names if name in t.streams] for t in trials]
  rows = features_of(pieces, workers, 'handcrafted features')
  for stream in streams.sounds(corpus):
    own = [i for i, trial in enumerate(trials) if stream in trial.streams]
    voices = _voices(corpus, [trials[i] for i in own], stream, workers)
    for i, found in zip(own, voices, strict=True):
      rows[i] |= found
  values, names = as_table(rows)
  ids = np.array([t.trial_id for t in trials])
  with atomic_write(path) as part:
    np.savez(part, values=values, names=np.array(names, str), ids=ids)


def as_table(rows):
  """Features of `features_of`: float64 [rows, features], NaN if none; their names."""
  names = list(dict.fromkeys(name for row in rows for name in row))
  values = np.array([[row.get(name, np.nan) for name in names] for row in rows])
  return values.reshape(len(rows), len(names)), names


def features_of(pieces, workers=None, what='features'):
  """The features of trials or windows: list of dicts, name -> float.

  `pieces` has a list of Series for each of them. Channels that nothing is known of have
  no features. `what` is for the progress display.
  """
  tasks = [(piece,) for piece in pieces]
  with Progress(len(tasks), what, 'trial', 0, hosts.console()) as progress:
    rows = [None] * len(tasks)
    for i, row in parallel_map(_features, tasks, 1 if len(tasks) < _FEW else workers):
      rows[i] = row
      progress.update()
    return rows


def _voices(corpus, trials, stream, workers):
  """The features of the voice of each trial: list of dicts, name -> float."""
  places = range(0, len(trials), _TOGETHER)
  tasks = [(corpus, trials[first : first + _TOGETHER], stream) for first in places]
  found = [None] * len(tasks)
  with Progress(len(trials), 'voices', 'trial', 0, hosts.console()) as progress:
    few = len(trials) < _FEW
    for i, rows in parallel_map(_voice, tasks, 1 if few else workers):
      found[i] = rows
      progress.update(len(rows))
  return [row for rows in found for row in rows]


def _voice(corpus, trials, stream):
  rows = []
  for trial in trials:
    count = round(trial.streams[stream].seconds * voice.RATE)
    sound = waveform(corpus, trial, 0.0, count, voice.RATE, stream)
    found = voice.voice_features(*sound)
    rows.append({f'voice_{name}': value for name, value in found.items()})
  return rows


def _features(piece):
  found = {}
  for one in piece:
    if one.rate is not None and one.values.size:
      before = None
      if one.before is not None:
        before = np.where(one.before_valid, one.before, np.nan)
      found |= trial_features(one.values, one.rate, one.channels, one.valid, before)
    if set(_INTENSITIES) <= set(one.channels):
      columns = [one.channels.index(name) for name in _INTENSITIES]
      found |= au_features(one.values[:, columns], one.valid[:, columns].all(1))
  return found
