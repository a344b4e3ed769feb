"""Turns an AMIGOS distribution into trials: signals, ratings, frames, outcomes."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from mvp_jax.corpora.amigos import tree as amigos
from mvp_jax.corpora.amigos.ratings import (
  EXTERNAL,
  RATINGS,
  external_ratings,
  read_sheets,
  self_ratings,
)
from mvp_jax.corpora.face_trials import FaceTrials
from mvp_jax.outcomes import Dropped
from mvp_jax.raw import channels as raw_channels
from mvp_jax.raw.frames import face_frames, pack_frames
from mvp_jax.tasks import Task, load_result

# Column of joined_data (from 0) and unit.
CHANNELS = {
  'eda': (16, 'relative conductance: 1 / GSR, over its median in the recording'),
  'ecg': (14, 'right arm, as recorded'),
  'ecg_left': (15, 'left arm, as recorded'),
}

# Skin conductance changes by far less in a recording; a shorted electrode does not.
_MAX_RELATIVE = 20.0


def relative_conductance(resistance):
  """Skin resistance of a recording, in an unknown unit, as relative conductance.

  Returns:
    float64 [time]: 1 / resistance, over its median; NaN where the resistance is not a
    finite number above zero, or so small that the electrodes were shorted.
  """
  good = np.isfinite(resistance) & (resistance > 0)
  found = np.where(good, 1 / np.where(good, resistance, 1.0), np.nan)
  if good.any():
    found /= np.nanmedian(found)
  return np.where(found <= _MAX_RELATIVE, found, np.nan)


def _subject_name(subject):
  return f'P{subject:02d}'


def _subject(path, video_ids, channels, clean, annotation, marker):
  """Reads one subject's file; returns arrays by VideoID, and notes as JSON."""
  cells = amigos.read_mat(path)
  arrays, notes = {}, {}
  for name in video_ids:
    try:
      if name not in cells:
        raise Dropped(
          'missing_signals', f'{path}: no VideoID {name}; there are {", ".join(cells)}'
        )
      found, notes[name] = _trial(
        path, name, cells[name], channels, clean, annotation, marker
      )
      arrays |= {f'{key}_{name}': value for key, value in found.items()}
    except Dropped as dropped:
      notes[name] = {'problem': (dropped.code, dropped.reason)}
  return arrays | {'notes': np.array(json.dumps(notes))}


def _trial(path, name, cell, channels, clean, annotation, marker):
  """Arrays and facts of one trial. Raises Dropped."""
  data = cell.joined_data
  amigos.check_data(path, name, data, marker)
  seconds = (len(data) - amigos.BASELINE_SAMPLES) / amigos.SIGNAL_RATE
  drops = {}
  try:
    told = self_ratings(path, name, cell.self_assessment)
  except Dropped as dropped:
    told, drops['self'] = dict.fromkeys(RATINGS, np.nan), dropped
  try:
    times, seen = external_ratings(path, name, cell.external, seconds)
  except Dropped as dropped:
    times, seen = np.zeros((2, 0, 2), np.float32)
    drops['external'] = dropped
  for needed in annotation:
    if needed in drops:
      raise drops[needed]
  columns = {channel: data[:, CHANNELS[channel][0]] for channel in channels}
  if 'eda' in columns:
    columns['eda'] = relative_conductance(columns['eda'])
  found = raw_channels.prepare(
    columns,
    amigos.SIGNAL_RATE,
    [CHANNELS[channel][1] for channel in channels],
    amigos.BASELINE_SAMPLES,
    clean,
  )
  facts = raw_channels.facts(
    f'{path}: VideoID {name}, ', channels, found, amigos.BASELINE_SAMPLES
  )
  unrated = '; '.join(f'{source}: {dropped.code}' for source, dropped in drops.items())
  return (
    found | {'self': np.array(list(told.values())), 'external': seen, 'times': times},
    {'seconds': seconds, 'unrated': unrated, **facts},
  )


def _frames(path, spec, seconds, is_odd):
  try:
    before = amigos.BASELINE_SECONDS
    return pack_frames(face_frames(Path(path), spec, seconds, before, before))
  except Dropped as dropped:
    if is_odd:
      raise Dropped(
        dropped.code, f'{dropped.reason} (the official file is known to make trouble)'
      ) from None
    raise


class AmigosTrials(FaceTrials):
  """The trials of an AMIGOS distribution."""

  def __init__(self, manual_dir, wanted):
    self.wanted, settings = wanted, wanted.settings
    self.tree = amigos.find_tree(
      manual_dir,
      settings.experiment,
      'video' in wanted.streams,
      settings.openface_dir if 'action_units' in wanted.streams else None,
    )
    self.trials = amigos.list_trials(
      self.tree, settings.experiment, settings.exclude, settings.annotation
    )
    self.marker = self.tree.marker

  @property
  def fingerprint(self):
    return amigos.fingerprint(self.tree, self.trials)

  def metadata(self, outcomes):
    return {
      'participants': read_sheets(self.tree),
      'sheets_not_read': list(self.tree.unread),
    }

  def read_signals(self):
    wanted, folder = self.wanted, self.directory / 'signals'
    own = {}
    for trial in self.trials:
      own.setdefault(trial.subject, []).append(trial.video_id)
    options = wanted.channels, wanted.clean, wanted.settings.annotation, self.marker
    tasks = {}
    for subject, video_ids in own.items():
      name = _subject_name(subject)
      path = self.tree.root / self.tree.signals.get(
        subject, f'Data_Preprocessed_{name}.mat'
      )
      tasks[subject] = Task(name, (path, tuple(video_ids), *options), (path,))
    drops = self.run_subjects(_subject, tasks)
    notes = {}
    for subject, dropped in drops.items():
      if dropped is None:
        with load_result(folder, _subject_name(subject)) as arrays:
          notes[subject] = json.loads(str(arrays['notes']))
    facts, problems = [], []
    for trial in self.trials:
      note = notes.get(trial.subject, {}).get(trial.video_id, {})
      dropped = drops[trial.subject]
      if 'problem' in note:
        dropped = Dropped(*note.pop('problem'))
      problems.append(dropped)
      facts.append(note)
    return facts, problems

  def units_files(self, trial, facts):
    key = trial.subject, trial.video_id
    name = f'P{trial.subject}_{trial.video_id}_face'
    csv = self.tree.units.get(
      key, amigos.FaceVideo(self.tree.openface.of(name).as_posix())
    )
    video = self.tree.videos.get(key, amigos.FaceVideo(f'{name}.mov'))
    return (
      Path(csv.path),
      self.tree.root / video.path,
      facts['seconds'],
      amigos.BASELINE_SECONDS,
      csv.region if csv.seats > 1 else None,
      amigos.BASELINE_SECONDS,
    )

  def no_video(self, trial):
    if (trial.subject, trial.video_id) in self.tree.videos:
      return None
    return Dropped(
      'missing_video',
      f'{self.tree.root}: no P{trial.subject}_{trial.video_id}_face.mov',
    )

  def video(self, trial, facts):
    video = self.tree.videos[trial.subject, trial.video_id]
    spec = dataclasses.replace(self.wanted.faces, region=video.region)
    return self.tree.root / video.path, spec, facts['seconds'], trial.is_odd

  cut_out = staticmethod(_frames)

  def example(self, outcome):
    trial, name = outcome.trial, outcome.trial.video_id
    folder = self.directory / 'signals'
    with load_result(folder, _subject_name(trial.subject)) as arrays:
      values, valid, quality, told, seen, times = (
        arrays[f'{key}_{name}']
        for key in ('values', 'valid', 'quality', 'self', 'external', 'times')
      )
    external = seen.mean(0) if len(seen) else np.full(2, np.nan)
    source = {'signals': self.tree.signals[trial.subject].as_posix()}
    if self.wanted.faces is not None:
      video = self.tree.videos[trial.subject, name]
      source |= {'video': video.path, 'seat': video.seat, 'seats': video.seats}
    return {
      'video_id': name,
      'ratings': dict(zip(RATINGS + EXTERNAL, (*told, *external), strict=True)),
      'segments': {'times': times, 'ratings': seen},
      **self.stored(trial, values, valid, quality, amigos.BASELINE_SAMPLES),
      'source': source,
    }
