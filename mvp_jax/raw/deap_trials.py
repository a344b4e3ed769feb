"""Turns a DEAP distribution into trials: signals, face frames, outcomes."""

from pathlib import Path

import numpy as np

from mvp_jax.raw import deap, signals
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


def prepare_trials(tree, trials, channels, frames, directory, workers=None):
  """Prepares every trial; results stay in `directory` until all is written.

  Args:
    tree: deap.Tree.
    trials: list of deap.Trial.
    channels: names from `CHANNELS`.
    frames: FrameSpec, or None for signals only.
    directory: for the results of single trials; a killed run continues there.
    workers: processes, by default as many as there are processors.

  Returns:
    list of Outcome, one per trial and in the same order.

  Raises:
    InputError: a signal file tries to run code.
  """
  problems = [trial.problem and Loss(*trial.problem) for trial in trials]
  _signal_problems(tree, trials, channels, directory, workers, problems)
  if frames is not None:
    todo = [i for i, problem in enumerate(problems) if problem is None]
    tasks = [_frames_task(tree, trials[i], frames) for i in todo]
    losses = run_tasks(_frames, tasks, directory / 'frames', 'Face videos',
                       'trials', workers)
    for i, loss in zip(todo, losses, strict=True):
      problems[i] = loss
  return [_outcome(trial, problem, frames, directory)
          for trial, problem in zip(trials, problems, strict=True)]


def load_signals(directory, trial):
  """The signals of a trial whose outcome is 'ok'.

  Returns:
    dict: signals float32 [time, channel] and signal_valid bool (0 where not
    valid) from the onset on, baseline float32 [time, channel] before it.
  """
  with load_result(directory / 'signals', f's{trial.subject:02d}') as arrays:
    values, valid = arrays['values'][trial.row], arrays['valid'][trial.row]
  onset = deap.BASELINE_SAMPLES
  return {'signals': values[onset:], 'signal_valid': valid[onset:],
          'baseline': values[:onset]}


def _signal_problems(tree, trials, channels, directory, workers, problems):
  subjects = sorted({trial.subject for trial in trials})
  tasks = []
  for subject in subjects:
    path = tree.signals / f's{subject:02d}.dat'
    tasks.append(Task(f's{subject:02d}', (path, tuple(channels)), (path,)))
  workers = at_most(workers, _SIGNAL_WORKERS)
  losses = run_tasks(_signals, tasks, directory / 'signals', 'Signals', 'subjects',
                     workers)
  losses = dict(zip(subjects, losses, strict=True))
  told = {}
  for i, trial in enumerate(trials):
    if problems[i] is not None:
      continue
    problems[i] = losses[trial.subject]
    if problems[i] is not None:
      continue
    if trial.subject not in told:
      with load_result(directory / 'signals', f's{trial.subject:02d}') as arrays:
        told[trial.subject] = arrays['labels'], arrays['problems']
    problems[i] = _row_problem(tree, trial, *told[trial.subject])


def _row_problem(tree, trial, labels, problems):
  path = tree.signals / trial.signals_name
  if trial.row >= len(labels):
    return Loss('broken_signals', f'{path}: no row {trial.row} for '
                f'{trial.trial_id}, only {len(labels)} rows')
  contradiction = deap.contradiction(trial, labels[trial.row])
  if contradiction:
    return Loss('bad_rating', contradiction)
  if problems[trial.row]:
    return Loss('bad_signal', f'{path}: row {trial.row}, {problems[trial.row]}')
  return None


def _signals(path, channels):
  """Reads one subject's file; returns arrays by row."""
  data, labels = deap.read_dat(path)
  shape = len(data), deap.SAMPLES, len(channels)
  values, valid = np.zeros(shape, np.float32), np.zeros(shape, bool)
  problems = [''] * len(data)
  for row in range(len(data)):
    for c, name in enumerate(channels):
      channel = data[row, CHANNELS[name][0]]
      channel = signals.conductance(channel) if name == 'eda' else channel
      problem = signals.unusable(channel[deap.BASELINE_SAMPLES:])
      if problem and not problems[row]:
        problems[row] = f'{name}: {problem}'
      values[row, :, c], valid[row, :, c] = signals.bridge_gaps(
        channel, deap.SIGNAL_RATE)
  return {'values': values, 'valid': valid, 'labels': labels,
          'problems': np.array(problems)}


def _frames_task(tree, trial, spec):
  path = tree.videos / trial.video_name
  return Task(trial.trial_id, (path, spec), (path,))


def _frames(path, spec):
  return pack_frames(face_frames(Path(path), spec, deap.TRIAL_SECONDS))


def _outcome(trial, problem, frames, directory):
  if problem is not None:
    return Outcome(trial, problem.code, problem.reason, {})
  facts = frame_facts(directory / 'frames', trial.trial_id) if frames else {}
  return Outcome(trial, 'ok', '', facts)
