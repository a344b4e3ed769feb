"""Turns a DEAP distribution into trials: signals, face frames, outcomes."""

from pathlib import Path

import numpy as np

from mvp_jax.raw import channels as raw_channels
from mvp_jax.raw import deap, signals
from mvp_jax.raw.action_units import prepare_units, unit_facts
from mvp_jax.raw.frames import face_frames, frame_facts, pack_frames
from mvp_jax.raw.losses import Loss, Outcome
from mvp_jax.raw.prepare import Task, at_most, load_result, run_tasks

# Channel in the .dat files (from 0) and unit. What the readme gives no unit for
# is passed on in what the file holds.
CHANNELS = {
  'eda': (36, 'microsiemens'),
  'ppg': (38, 'as recorded'),
  'resp': (37, 'as recorded'),
  'temp': (39, 'as recorded'),
  'heog': (32, 'microvolt'),
  'veog': (33, 'microvolt'),
  'zemg': (34, 'microvolt'),
  'temg': (35, 'microvolt'),
}

_SIGNAL_WORKERS = 4  # Each holds a file of 100 MB three times over.


def prepare_trials(tree, trials, channels, clean, frames, directory, workers=None):
  """Prepares every trial; results stay in `directory` until all is written.

  Args:
    tree: deap.Tree. With `openface` action units are prepared.
    trials: list of deap.Trial.
    channels: names from `CHANNELS`.
    clean: whether the signals are cleaned.
    frames: FrameSpec, or None for signals only.
    directory: for the results of single trials; a killed run continues there.
    workers: processes, by default as many as there are processors.

  Returns:
    list of Outcome, one per trial and in the same order.

  Raises:
    InputError: a signal file tries to run code.
  """
  problems = [trial.problem and Loss(*trial.problem) for trial in trials]
  facts = _read_signals(tree, trials, channels, clean, directory, workers, problems)
  if tree.openface is not None:
    prepare_units(
      trials, problems, lambda i: _units_files(tree, trials[i]), directory, workers
    )
  if frames is not None:
    todo = [i for i, problem in enumerate(problems) if problem is None]
    tasks = [_frames_task(tree, trials[i], frames) for i in todo]
    losses = run_tasks(
      _frames, tasks, directory / 'frames', 'Face videos', 'trials', workers
    )
    for i, loss in zip(todo, losses, strict=True):
      problems[i] = loss
  return [
    _outcome(tree, *one, frames, directory)
    for one in zip(trials, problems, facts, strict=True)
  ]


def load_signals(directory, trial):
  """The signals of a trial whose outcome is 'ok'.

  Returns:
    dict: signals float32 [time, channel] and signal_valid bool (0 where not
    valid) from the onset on, signal_quality float32 [channel, channels.MEASURES],
    baseline float32 [time, channel] before the onset.
  """
  with load_result(directory / 'signals', f's{trial.subject:02d}') as arrays:
    values, valid, quality = (
      arrays[name][trial.row] for name in ('values', 'valid', 'quality')
    )
  onset = deap.BASELINE_SAMPLES
  return {
    'signals': values[onset:],
    'signal_valid': valid[onset:],
    'signal_quality': quality,
    'baseline': values[:onset],
  }


def _read_signals(tree, trials, channels, clean, directory, workers, problems):
  """The facts of each trial; puts losses into `problems`."""
  subjects = sorted({trial.subject for trial in trials})
  tasks = []
  for subject in subjects:
    path = tree.signals / f's{subject:02d}.dat'
    tasks.append(Task(f's{subject:02d}', (path, tuple(channels), clean), (path,)))
  workers = at_most(workers, _SIGNAL_WORKERS)
  losses = run_tasks(
    _signals, tasks, directory / 'signals', 'Signals', 'subjects', workers
  )
  losses = dict(zip(subjects, losses, strict=True))
  told = {}
  facts = [{} for _ in trials]
  for i, trial in enumerate(trials):
    if problems[i] is not None:
      continue
    problems[i] = losses[trial.subject]
    if problems[i] is not None:
      continue
    if trial.subject not in told:
      with load_result(directory / 'signals', f's{trial.subject:02d}') as arrays:
        told[trial.subject] = {
          name: arrays[name] for name in ('labels', 'valid', 'quality', 'masked')
        }
    try:
      facts[i] = _row_facts(tree, trial, channels, **told[trial.subject])
    except Loss as loss:
      problems[i] = loss
  return facts


def _row_facts(tree, trial, channels, labels, valid, quality, masked):
  path, row = tree.signals / trial.signals_name, trial.row
  if row >= len(labels):
    raise Loss(
      'broken_signals',
      f'{path}: no row {row} for {trial.trial_id}, only {len(labels)} rows',
    )
  contradiction = deap.contradiction(trial, labels[row])
  if contradiction:
    raise Loss('bad_rating', contradiction)
  raw_channels.require_one(
    f'{path}: row {row}, ', dict(zip(channels, masked[row].tolist(), strict=True))
  )
  return raw_channels.signal_facts(
    channels, valid[row, deap.BASELINE_SAMPLES :], quality[row], masked[row].tolist()
  )


def _signals(path, channels, clean):
  """Reads one subject's file; returns arrays by row, and those of its labels."""
  data, labels = deap.read_dat(path)
  rows = []
  for row in data:
    columns = {name: row[CHANNELS[name][0]] for name in channels}
    if 'eda' in columns:
      columns['eda'] = signals.conductance(columns['eda'])
    rows.append(
      raw_channels.prepare(
        columns,
        deap.SIGNAL_RATE,
        [CHANNELS[name][1] for name in channels],
        deap.BASELINE_SAMPLES,
        clean,
      )
    )
  return {
    'labels': labels,
    **{name: np.stack([row[name] for row in rows]) for name in rows[0]},
  }


def _frames_task(tree, trial, spec):
  path = tree.videos / trial.video_name
  return Task(trial.trial_id, (path, spec), (path,))


def _frames(path, spec):
  return pack_frames(face_frames(Path(path), spec, deap.TRIAL_SECONDS))


def _units_files(tree, trial):
  video = (tree.videos or tree.root) / trial.video_name
  return tree.openface.of(trial.trial_id), video, deap.TRIAL_SECONDS


def _outcome(tree, trial, problem, facts, frames, directory):
  if problem is not None:
    return Outcome(trial, problem.code, problem.reason, {})
  if frames is not None:
    facts = facts | frame_facts(directory / 'frames', trial.trial_id)
  if tree.openface is not None:
    facts = facts | unit_facts(directory, trial.trial_id)
  return Outcome(trial, 'ok', '', facts)
