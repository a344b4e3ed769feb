"""BioVid's samples as trials: signals, face video, outcomes."""

import sys

import numpy as np

from mvp_jax.corpora.biovid import tree as biovid
from mvp_jax.corpora.face_trials import FaceTrials
from mvp_jax.outcomes import Dropped
from mvp_jax.raw import channels as raw_channels
from mvp_jax.raw.frames import face_frames, pack_frames
from mvp_jax.tasks import Task, load_result, run_tasks

# Column of the file and unit. Part A says no unit of the voltages.
CHANNELS = {
  'eda': ('gsr', 'microsiemens'),
  'ecg': ('ecg', 'as recorded'),
  'emg_trapezius': ('emg_trapezius', 'as recorded'),
  'emg_corrugator': ('emg_corrugator', 'as recorded'),
  'emg_zygomaticus': ('emg_zygomaticus', 'as recorded'),
}


def sample_signals(path, channels, clean):
  """The signals of a sample, as arrays of `raw.channels.prepare`. Raises Dropped."""
  columns, note = biovid.read_signals(path, [CHANNELS[name][0] for name in channels])
  found = raw_channels.prepare(
    {name: columns[CHANNELS[name][0]] for name in channels},
    biovid.RATE,
    [CHANNELS[name][1] for name in channels],
    0,
    clean,
  )
  raw_channels.facts(f'{path}: ', channels, found, 0)  # raises if all are masked
  return found | {'note': np.array(note)}


def sample_face(path, spec):
  """The face of a sample. Raises Dropped."""
  return pack_frames(face_frames(path, spec, biovid.SECONDS))


class BioVidTrials(FaceTrials):
  """The samples of BioVid's part A. Raises InputError."""

  def __init__(self, manual_dir, wanted):
    self.wanted, settings = wanted, wanted.settings
    self.tree = biovid.find_tree(
      manual_dir,
      settings.signals,
      'video' in wanted.streams,
      settings.openface_dir if 'action_units' in wanted.streams else None,
    )
    self.trials, self.listed = biovid.read_samples(
      self.tree, settings.classes, settings.exclude
    )
    self.marker = self.tree.marker

  @property
  def fingerprint(self):
    return biovid.fingerprint(self.tree, self.trials)

  def prepare(self, directory, engine):
    for line in biovid.strangers(self.tree, self.listed):
      print(line, file=sys.stderr)
    return super().prepare(directory, engine)

  def read_signals(self):
    channels, folder = self.wanted.channels, self.directory / 'signals'
    problems = [sample.problem and Dropped(*sample.problem) for sample in self.trials]
    todo = [i for i, problem in enumerate(problems) if problem is None]
    tasks = []
    for sample in (self.trials[i] for i in todo):
      path = self.tree.signals_of(sample)
      tasks.append(Task(sample.trial_id, (path, channels, self.wanted.clean), (path,)))
    drops = run_tasks(sample_signals, tasks, folder, 'Signals', 'samples', self.engine)
    facts = [{} for _ in self.trials]
    for i, dropped in zip(todo, drops, strict=True):
      problems[i] = dropped
      if dropped is None:
        with load_result(folder, self.trials[i].trial_id) as arrays:
          facts[i] = {'seconds': len(arrays['values']) / biovid.RATE}
          facts[i] |= raw_channels.facts('', channels, arrays, 0)
          facts[i] |= {'signal_notes': arrays['note'].item()}
    return facts, problems

  def units_files(self, trial, facts):
    csv = self.tree.openface.of(trial.trial_id)
    return csv, self.tree.video_of(trial), biovid.SECONDS

  def video(self, trial, facts):
    return self.tree.video_of(trial), self.wanted.faces

  cut_out = staticmethod(sample_face)

  def about(self, trial):
    level = '' if trial.level is None else biovid.LEVELS[trial.level]
    return {'person': trial.person, 'level': level}

  def example(self, outcome):
    trial = outcome.trial
    with load_result(self.directory / 'signals', trial.trial_id) as arrays:
      values, valid, quality = (arrays[x] for x in ('values', 'valid', 'quality'))
    return {
      'ratings': {'pain': trial.level},
      **self.stored(trial, values, valid, quality, 0),
      'person': trial.person,
    }
