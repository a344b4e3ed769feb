"""Handcrafted features of all trials of a corpus, worked out once."""

import hashlib
import io
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
  """The features of `raw.features` of trials. A stretch of one is a trial of its own.

  Those of whole trials are worked out for all of the corpus. All are kept beside the
  prepared data, if it lies in a folder.

  Returns those of `trials`, float64 [trials, features], NaN where not defined, and
  their names, without what no trial has. `workers` None = as many as processors.
  """
  cut = [trial for trial in trials if trial.cut]
  found = {}
  if len(cut) < len(trials):
    found |= _kept(corpus, corpus.trials, '', workers)
  if cut:
    ids = '\n'.join(trial.stretch_id for trial in cut)
    found |= _kept(
      corpus, cut, f'_{hashlib.sha256(ids.encode()).hexdigest()[:16]}', workers
    )
  values, names = as_table([found[trial.stretch_id] for trial in trials])
  there = np.isfinite(values).any(0)
  return values[:, there], [n for n, good in zip(names, there, strict=True) if good]


def _kept(corpus, trials, name, workers):
  """The features of trials, kept in a file: {stretch_id: {name: float}}."""
  if not hasattr(corpus, 'directory'):
    return _worked_out(corpus, trials, workers)
  path = derived(corpus) / 'handcrafted' / f'features{_VERSION}{name}.npz'
  # A process that only reads examples finds the file, and leaves JAX alone.
  if multiprocessing.parent_process() is None or not path.exists():
    doing = f'working out the features of {corpus.directory}'
    hosts.on_main(
      lambda: made_once(path, doing, lambda: _write(path, corpus, trials, workers))
    )
  try:
    with np.load(path, allow_pickle=False) as arrays:
      values, names = arrays['values'], arrays['names'].tolist()
      ids = arrays['ids'].tolist()
  except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
    raise InputError(f'{path}: cannot be read ({error}); delete it') from error
  return {
    one: dict(zip(names, row, strict=True))
    for one, row in zip(ids, values.tolist(), strict=True)
  }


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


def _worked_out(corpus, trials, workers):
  """The features of trials: {stretch_id: {name: float}}."""
  names = streams.series(corpus)
  pieces = [[t.streams[name] for name in names if name in t.streams] for t in trials]
  rows = features_of(pieces, workers, 'handcrafted features')
  for stream in streams.sounds(corpus):
    own = [i for i, trial in enumerate(trials) if stream in trial.streams]
    voices = _voices(corpus, [trials[i] for i in own], stream, workers)
    for i, found in zip(own, voices, strict=True):
      rows[i] |= found
  return {trial.stretch_id: row for trial, row in zip(trials, rows, strict=True)}


def _write(path, corpus, trials, workers):
  found = _worked_out(corpus, trials, workers)
  values, names = as_table(found.values())
  with atomic_write(path) as part:
    np.savez(part, values=values, names=np.array(names, str), ids=np.array([*found]))


def as_table(rows):
  """Features of `features_of`: float64 [rows, features], NaN if none; their names."""
  rows = list(rows)
  names = list(dict.fromkeys(name for row in rows for name in row))
  values = np.array([[row.get(name, np.nan) for name in names] for row in rows])
  return values.reshape(len(rows), len(names)), names


def features_of(pieces, workers=None, what='features'):
  """The features of trials or windows: list of dicts, name -> float.

  `pieces` has a list of Series for each of them. Channels that nothing is known of have
  no features. `what` is for the progress display.
  """
  tasks = [(piece,) for piece in pieces]
  with Progress(len(tasks), what, 'trial', 0, _shown(tasks)) as progress:
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
  with Progress(len(trials), 'voices', 'trial', 0, _shown(trials)) as progress:
    few = len(trials) < _FEW
    for i, rows in parallel_map(_voice, tasks, 1 if few else workers):
      found[i] = rows
      progress.update(len(rows))
  return [row for rows in found for row in rows]


def _shown(tasks):
  """Where progress is shown: that of a single one nowhere."""
  return hosts.console() if len(tasks) > 1 else io.StringIO()


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
