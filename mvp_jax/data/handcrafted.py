"""Handcrafted features of all trials of a corpus, worked out once."""

import dataclasses
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
from mvp_jax.data.spans import span_means
from mvp_jax.data.trial import Series
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
VOICE_RATE = 25.0  # Hz, of what is kept of a voice over time


def feature_table(corpus, trials, workers=None):
  """The features of `raw.features` of trials. A stretch of one is a trial of its own.

  Those of whole trials are worked out for all of the corpus. All are kept beside the
  prepared data, if it lies in a folder.

  Returns those of `trials`, float64 [trials, features], NaN where not defined, and
  their names, without what no trial has. `workers` None = as many as processors.
  """
  found = {}
  for own, name in _asked(corpus, trials):
    found |= _kept(corpus, own, name, workers)
  values, names = as_table([found[trial.stretch_id] for trial in trials])
  there = np.isfinite(values).any(0)
  return values[:, there], [n for n, good in zip(names, there, strict=True) if good]


def _asked(corpus, trials):
  """What is worked out together: trials, and what tells them from others.

  All of the corpus if a whole trial is asked for, and the stretches.
  """
  cut = [trial for trial in trials if trial.cut]
  if len(cut) < len(trials):
    yield corpus.trials, ''
  if cut:
    ids = '\n'.join(trial.stretch_id for trial in cut)
    yield cut, f'_{hashlib.sha256(ids.encode()).hexdigest()[:16]}'


def _kept(corpus, trials, name, workers):
  """The features of trials, kept in a file: {stretch_id: {name: float}}."""
  if not hasattr(corpus, 'directory'):
    return _worked_out(corpus, trials, workers)
  path = derived(corpus) / 'handcrafted' / f'features{_VERSION}{name}.npz'
  arrays = _kept_arrays(
    path, 'features', corpus, lambda: _table(corpus, trials, workers)
  )
  names, ids = arrays['names'].tolist(), arrays['ids'].tolist()
  return {
    one: dict(zip(names, row, strict=True))
    for one, row in zip(ids, arrays['values'].tolist(), strict=True)
  }


def _kept_arrays(path, what, corpus, make):
  """The arrays of a file, which is made unless it is there and whole."""
  # A process that only reads examples finds the file, and leaves JAX alone.
  if multiprocessing.parent_process() is None or not path.exists():

    def write():
      arrays = make()
      with atomic_write(path) as part:
        np.savez(part, **arrays)

    doing = f'working out the {what} of {corpus.directory}'
    hosts.on_main(lambda: made_once(path, doing, write))
  try:
    with np.load(path, allow_pickle=False) as arrays:
      return dict(arrays)
  except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
    raise InputError(f'{path}: cannot be read ({error}); delete it') from error


def with_voices(corpus, trials, workers=None, sounds=None):
  """The trials with what is measured of their voices, over time.

  For each stream of sound, or those of `sounds`, they have a Series more,
  `raw.voice.TRACKS`, of means in spans of 1 / `VOICE_RATE` seconds; pitch is in
  semitones over 55 Hz. A stretch of a trial is a trial of its own. They are kept beside
  the prepared data, if it lies in a folder.
  """
  found = list(trials)
  for stream in streams.sounds(corpus):
    if sounds is not None and stream not in sounds:
      continue
    courses = {}
    for own, name in _asked(corpus, trials):
      courses |= _kept_voices(corpus, own, stream, name, workers)
    for i, trial in enumerate(found):
      if stream in trial.streams:
        own = _as_series(courses[trial.stretch_id])
        found[i] = dataclasses.replace(
          trial, streams=trial.streams | {f'voice in {stream}': own}
        )
  return found


def _kept_voices(corpus, trials, stream, name, workers):
  """Voices over time of trials, kept in a file: {stretch_id: float32 [n, tracks]}."""

  def make():
    own = [trial for trial in trials if stream in trial.streams]
    courses = [*_voices(corpus, own, stream, _voice_course, workers)]
    empty = np.zeros((0, len(voice.TRACKS)), np.float32)
    return {
      'ids': np.array([trial.stretch_id for trial in own], str),
      'counts': np.array([len(course) for course in courses], int),
      'values': np.concatenate([empty, *courses]),
    }

  if hasattr(corpus, 'directory'):
    path = derived(corpus) / f'{stream}_voices' / f'courses{_VERSION}{name}.npz'
    kept = _kept_arrays(path, f'voices in {stream}', corpus, make)
  else:
    kept = make()
  parts = np.split(kept['values'], np.cumsum(kept['counts'])[:-1])
  return dict(zip(kept['ids'].tolist(), parts, strict=False))


def _as_series(course):
  there = np.isfinite(course)
  return Series(np.where(there, course, 0), there, voice.TRACKS, VOICE_RATE)


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
    voices = _voices(corpus, [trials[i] for i in own], stream, _voice, workers)
    for i, found in zip(own, voices, strict=True):
      rows[i] |= found
  return {trial.stretch_id: row for trial, row in zip(trials, rows, strict=True)}


def _table(corpus, trials, workers):
  found = _worked_out(corpus, trials, workers)
  values, names = as_table(found.values())
  return {'values': values, 'names': np.array(names, str), 'ids': np.array([*found])}


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


def _voices(corpus, trials, stream, of, workers):
  """What `of` finds in the voices of trials, read `_TOGETHER` at a time: a list."""
  places = range(0, len(trials), _TOGETHER)
  tasks = [(corpus, trials[first : first + _TOGETHER], stream) for first in places]
  found = [None] * len(tasks)
  with Progress(len(trials), 'voices', 'trial', 0, _shown(trials)) as progress:
    few = len(trials) < _FEW
    for i, rows in parallel_map(of, tasks, 1 if few else workers):
      found[i] = rows
      progress.update(len(rows))
  return [row for rows in found for row in rows]


def _shown(tasks):
  """Where progress is shown: that of a single one nowhere."""
  return hosts.console() if len(tasks) > 1 else io.StringIO()


def _voice(corpus, trials, stream):
  """Features of each: dicts, name -> float."""
  rows = []
  for trial in trials:
    found = voice.voice_features(*_sound(corpus, trial, stream))
    rows.append({f'voice_{name}': value for name, value in found.items()})
  return rows


def _voice_course(corpus, trials, stream):
  """What is measured over time of each: float32 [n, tracks], NaN where not known."""
  courses = []
  for trial in trials:
    tracks = voice.voice_tracks(*_sound(corpus, trial, stream))
    tracks['pitch'] = voice.semitones(tracks['pitch'])
    x = np.stack([tracks[name] for name in voice.TRACKS], 1)
    there = np.isfinite(x)
    series = Series(np.where(there, x, 0), there, voice.TRACKS, None, tracks['times'])
    count = int(trial.streams[stream].seconds * VOICE_RATE)
    courses.append(span_means(series, VOICE_RATE, count).astype(np.float32))
  return courses


def _sound(corpus, trial, stream):
  count = round(trial.streams[stream].seconds * voice.RATE)
  return waveform(corpus, trial, 0.0, count, voice.RATE, stream)


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
