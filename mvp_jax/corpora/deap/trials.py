"""Turns a DEAP distribution into trials: signals, face frames, outcomes."""

from pathlib import Path

import numpy as np

from mvp_jax.corpora.deap import tree as deap
from mvp_jax.corpora.face_trials import FaceTrials
from mvp_jax.outcomes import Dropped
from mvp_jax.raw import channels as raw_channels
from mvp_jax.raw import signals
from mvp_jax.raw.frames import face_frames, pack_frames
from mvp_jax.raw.signal_files import broken
from mvp_jax.tasks import Task, load_result

# Channel in the .dat files (from 0) and unit. What the readme gives no unit for
# is passed on in what the file holds.
CHANNELS = {
  'eda': (36, 'microsiemens'),
  'ppg': (38, 'as recorded'),
  'resp': (37, 'as recorded'),
  'temp': (39, 'as recorded'),
  'heog': (32, 'microvolt'),
  'veog': (33, 'microvolt'),
  'emg_zygomaticus': (34, 'microvolt'),
  'emg_trapezius': (35, 'microvolt'),
}


def _row_facts(path, trial, channels, labels, **found):
  row = trial.row
  if row >= len(labels):
    raise broken(path, f'no row {row} for {trial.trial_id}, only {len(labels)} rows')
  contradiction = deap.contradiction(trial, labels[row], path.suffix)
  if contradiction:
    raise Dropped('bad_rating', contradiction)
  found = {name: array[row] for name, array in found.items()}
  return raw_channels.facts(
    f'{path}: row {row}, ', channels, found, deap.BASELINE_SAMPLES
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


def _frames(path, spec):
  return pack_frames(face_frames(Path(path), spec, deap.TRIAL_SECONDS))


class DeapTrials(FaceTrials):
  """The trials of a DEAP distribution.

  Raises:
    InputError: it is not there; or, in preparation, a signal file tries to run code.
  """

  def __init__(self, manual_dir, wanted):
    self.wanted = wanted
    csvs = wanted.settings.openface_dir if 'action_units' in wanted.streams else None
    self.tree = deap.find_tree(manual_dir, 'video' in wanted.streams, csvs)
    self.trials = deap.read_trials(self.tree)
    self.marker = self.tree.marker

  @property
  def fingerprint(self):
    return deap.fingerprint(self.tree, self.trials)

  def read_signals(self):
    problems = [trial.problem and Dropped(*trial.problem) for trial in self.trials]
    channels, folder = self.wanted.channels, self.directory / 'signals'
    tasks = {}
    for subject in sorted({trial.subject for trial in self.trials}):
      path = self.tree.signals_of(subject)
      args = path, channels, self.wanted.clean
      tasks[subject] = Task(f's{subject:02d}', args, (path,))
    drops = self.run_subjects(_signals, tasks)
    told = {}
    facts = [{} for _ in self.trials]
    for i, trial in enumerate(self.trials):
      problems[i] = problems[i] or drops[trial.subject]
      if problems[i] is not None:
        continue
      if trial.subject not in told:
        with load_result(folder, f's{trial.subject:02d}') as arrays:
          told[trial.subject] = {
            name: arrays[name] for name in ('labels', 'valid', 'quality', 'masked')
          }
      try:
        path = self.tree.signals_of(trial.subject)
        facts[i] = _row_facts(path, trial, channels, **told[trial.subject])
      except Dropped as dropped:
        problems[i] = dropped
    return facts, problems

  def units_files(self, trial, facts):
    video = (self.tree.videos or self.tree.root) / trial.video_name
    return self.tree.openface.of(trial.trial_id), video, deap.TRIAL_SECONDS

  def video(self, trial, facts):
    return self.tree.videos / trial.video_name, self.wanted.faces

  cut_out = staticmethod(_frames)

  def example(self, outcome):
    trial = outcome.trial
    with load_result(self.directory / 'signals', f's{trial.subject:02d}') as arrays:
      values, valid, quality = (
        arrays[name][trial.row] for name in ('values', 'valid', 'quality')
      )
    video = trial.video_name if self.wanted.faces else ''
    return {
      'ratings': trial.ratings,
      **self.stored(trial, values, valid, quality, deap.BASELINE_SAMPLES),
      'source': {
        'video': video,
        'signals': self.tree.signals_of(trial.subject).name,
        'row': trial.row,
      },
    }
