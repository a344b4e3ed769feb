"""Turns an AMIGOS distribution into trials: signals, ratings, frames, outcomes."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from mvp_jax.raw import amigos
from mvp_jax.raw import channels as raw_channels
from mvp_jax.raw.action_units import prepare_units, unit_facts
from mvp_jax.raw.amigos_ratings import (
  EXTERNAL,
  RATINGS,
  external_ratings,
  self_ratings,
)
from mvp_jax.raw.frames import face_frames, frame_facts, pack_frames
from mvp_jax.raw.losses import Loss, Outcome
from mvp_jax.raw.prepare import Task, at_most, load_result, run_tasks

# Column of joined_data (from 0) and unit.
CHANNELS = {
  'eda': (16, 'relative conductance: 1 / GSR, over its median in the recording'),
  'ecg': (14, 'right arm, as recorded'),
  'ecg_left': (15, 'left arm, as recorded'),
}

_SIGNAL_WORKERS = 4  # Each holds a file of 100 MB and more.
# Skin conductance changes by far less in a recording; a shorted electrode does not.
_MAX_RELATIVE = 20.0


def prepare_trials(
  tree, trials, channels, clean, annotation, frames, directory, workers=None
):
  """Prepares every trial; results stay in `directory` until all is written.

  Args:
    tree: amigos.Tree. With `openface` action units are prepared.
    trials: list of amigos.Trial.
    channels: names from `CHANNELS`.
    clean: whether the signals are cleaned.
    annotation: of `amigos.ANNOTATIONS`, the ratings that a trial must have.
    frames: FrameSpec, or None for signals only.
    directory: for the results of single trials; a killed run continues there.
    workers: processes, by default as many as there are processors.

  Returns:
    list of Outcome, one per trial and in the same order.
  """
  facts, problems = _read_signals(
    tree, trials, channels, clean, annotation, directory, workers
  )
  if tree.openface is not None:
    prepare_units(
      trials,
      problems,
      lambda i: _units_files(tree, trials[i], facts[i]['seconds']),
      directory,
      workers,
    )
  if frames is not None:
    for i, trial in enumerate(trials):
      if problems[i] is None and (trial.subject, trial.video_id) not in tree.videos:
        problems[i] = Loss(
          'missing_video', f'{tree.root}: no P{trial.subject}_{trial.video_id}_face.mov'
        )
    todo = [i for i, problem in enumerate(problems) if problem is None]
    tasks = [_frames_task(tree, trials[i], frames, facts[i]['seconds']) for i in todo]
    losses = run_tasks(
      _frames, tasks, directory / 'frames', 'Face videos', 'trials', workers
    )
    for i, loss in zip(todo, losses, strict=True):
      problems[i] = loss
  return [
    _outcome(tree, *one, frames, directory)
    for one in zip(trials, problems, facts, strict=True)
  ]


def load_trial(directory, trial):
  """Signals and ratings of a trial whose outcome is 'ok'.

  Returns:
    dict: signals float32 [time, channel] and signal_valid bool (0 where not
    valid) from the onset on, signal_quality float32 [channel, channels.MEASURES],
    baseline float32 [time, channel] before the onset; ratings {name: float} by
    RATINGS and EXTERNAL, NaN where not given; segments with times float32
    [segments, 2] in seconds and ratings float32 [segments, 2].
  """
  name, onset = trial.video_id, amigos.BASELINE_SAMPLES
  with load_result(directory / 'signals', _subject_name(trial.subject)) as arrays:
    values, valid, quality = (
      arrays[f'{key}_{name}'] for key in ('values', 'valid', 'quality')
    )
    told, seen = arrays[f'self_{name}'], arrays[f'external_{name}']
    times = arrays[f'times_{name}']
  external = seen.mean(0) if len(seen) else np.full(2, np.nan)
  return {
    'signals': values[onset:],
    'signal_valid': valid[onset:],
    'signal_quality': quality,
    'baseline': values[:onset],
    'ratings': dict(zip(RATINGS + EXTERNAL, (*told, *external), strict=True)),
    'segments': {'times': times, 'ratings': seen},
  }


def relative_conductance(resistance):
  """Turns skin resistance of an unknown unit into conductance of a relative one.

  Args:
    resistance: float [time], of one recording.

  Returns:
    float64 [time]: 1 / resistance, over its median; NaN where the resistance is
    not a finite number above zero, or so small that the electrodes were shorted.
  """
  good = np.isfinite(resistance) & (resistance > 0)
  found = np.where(good, 1 / np.where(good, resistance, 1.0), np.nan)
  if good.any():
    found /= np.nanmedian(found)
  return np.where(found <= _MAX_RELATIVE, found, np.nan)


def _subject_name(subject):
  return f'P{subject:02d}'


def _read_signals(tree, trials, channels, clean, annotation, directory, workers):
  """For each trial its facts (dict) and None or its Loss."""
  subjects = sorted({trial.subject for trial in trials})
  wanted = {
    subject: tuple(trial.video_id for trial in trials if trial.subject == subject)
    for subject in subjects
  }
  tasks = []
  for subject in subjects:
    name = _subject_name(subject)
    path = tree.root / tree.signals.get(subject, f'Data_Preprocessed_{name}.mat')
    tasks.append(
      Task(
        name,
        (path, wanted[subject], tuple(channels), clean, tuple(annotation), tree.marker),
        (path,),
      )
    )
  workers = at_most(workers, _SIGNAL_WORKERS)
  losses = dict(
    zip(
      subjects,
      run_tasks(_subject, tasks, directory / 'signals', 'Signals', 'subjects', workers),
      strict=True,
    )
  )
  notes = {}
  for subject, loss in losses.items():
    if loss is None:
      with load_result(directory / 'signals', _subject_name(subject)) as arrays:
        notes[subject] = json.loads(str(arrays['notes']))
  facts, problems = [], []
  for trial in trials:
    note = notes.get(trial.subject, {}).get(trial.video_id, {})
    loss = losses[trial.subject]
    if 'problem' in note:
      loss = Loss(*note['problem'])
    problems.append(loss)
    facts.append({name: value for name, value in note.items() if name != 'problem'})
  return facts, problems


def _subject(path, video_ids, channels, clean, annotation, marker):
  """Reads one subject's file; returns arrays by VideoID, and notes as JSON."""
  cells = amigos.read_mat(path)
  arrays, notes = {}, {}
  for name in video_ids:
    try:
      if name not in cells:
        raise Loss(
          'missing_signals', f'{path}: no VideoID {name}; there are {", ".join(cells)}'
        )
      found, notes[name] = _trial(
        path, name, cells[name], channels, clean, annotation, marker
      )
      arrays |= {f'{key}_{name}': value for key, value in found.items()}
    except Loss as loss:
      notes[name] = {'problem': (loss.code, loss.reason)}
  return arrays | {'notes': np.array(json.dumps(notes))}


def _trial(path, name, cell, channels, clean, annotation, marker):
  """Arrays and facts of one trial. Raises Loss."""
  data = cell.joined_data
  amigos.check_data(path, name, data, marker)
  seconds = (len(data) - amigos.BASELINE_SAMPLES) / amigos.SIGNAL_RATE
  losses = {}
  try:
    told = self_ratings(path, name, cell.self_assessment)
  except Loss as loss:
    told, losses['self'] = dict.fromkeys(RATINGS, np.nan), loss
  try:
    times, seen = external_ratings(path, name, cell.external, seconds)
  except Loss as loss:
    times, seen = np.zeros((2, 0, 2), np.float32)
    losses['external'] = loss
  for needed in annotation:
    if needed in losses:
      raise losses[needed]
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
  masked = found.pop('masked').tolist()
  raw_channels.require_one(
    f'{path}: VideoID {name}, ', dict(zip(channels, masked, strict=True))
  )
  unrated = '; '.join(f'{source}: {loss.code}' for source, loss in losses.items())
  return (
    found | {'self': np.array(list(told.values())), 'external': seen, 'times': times},
    {
      'seconds': seconds,
      'unrated': unrated,
      **raw_channels.signal_facts(
        channels, found['valid'][amigos.BASELINE_SAMPLES :], found['quality'], masked
      ),
    },
  )


def _frames_task(tree, trial, spec, seconds):
  video = tree.videos[trial.subject, trial.video_id]
  path = tree.root / video.path
  spec = dataclasses.replace(spec, region=video.region)
  return Task(trial.trial_id, (path, spec, seconds, trial.is_odd), (path,))


def _frames(path, spec, seconds, is_odd):
  try:
    return pack_frames(
      face_frames(Path(path), spec, seconds, onset=amigos.BASELINE_SECONDS)
    )
  except Loss as loss:
    if is_odd:
      raise Loss(
        loss.code, f'{loss.reason} (the official file is known to make trouble)'
      ) from None
    raise


def _units_files(tree, trial, seconds):
  key = trial.subject, trial.video_id
  name = f'P{trial.subject}_{trial.video_id}_face'
  csv = tree.units.get(key, amigos.FaceVideo(tree.openface.of(name).as_posix()))
  video = tree.videos.get(key, amigos.FaceVideo(f'{name}.mov'))
  return (
    Path(csv.path),
    tree.root / video.path,
    seconds,
    amigos.BASELINE_SECONDS,
    csv.region if csv.seats > 1 else None,
  )


def _outcome(tree, trial, problem, facts, frames, directory):
  if problem is not None:
    return Outcome(trial, problem.code, problem.reason, facts)
  if frames is not None:
    facts = facts | frame_facts(directory / 'frames', trial.trial_id)
  if tree.openface is not None:
    facts = facts | unit_facts(directory, trial.trial_id)
  return Outcome(trial, 'ok', '', facts)
