"""What corpora share in which a trial has a face video and signals of one person."""

import dataclasses

import numpy as np

from mvp_jax.corpora.corpus import Array, Source, Stream
from mvp_jax.outcomes import Outcome
from mvp_jax.raw.action_units import load_units, prepare_units, unit_facts
from mvp_jax.raw.channels import MEASURES
from mvp_jax.raw.frames import frame_facts, load_frames
from mvp_jax.raw.openface import CHANNELS as UNITS
from mvp_jax.tasks import Task, at_most, run_tasks

FIELDS = {
  'streams': ('signals', 'video'),
  'frame_rate': 25.0,
  'frame_size': 224,
  'crop': 'X',
  'channels': (),
  'clean': True,
}
_SIGNAL_WORKERS = 4  # each holds a file of 100 MB and more, up to three times over
NOTES = {  # of several corpora's versions
  '7.0.0': 'Spikes of single samples are masked. Frames and action units from before '
  'the onset are stored, too, where there are some.',
  '6.0.0': 'What a logger writes where nothing was measured is masked; clocks and '
  'units of more loggers.',
  '5.0.0': 'One clock of a video; faces in any light; impossible samples are masked.',
  '4.0.0': 'What was before the onset is part of the stream, with its validity. Of an '
  'EMG the envelope is kept.',
  '3.0.0': 'Named streams, each with its validity.',
  '2.0.0': 'Any crop. Signals are cleaned; what cannot be used is masked, and '
  'quality is told of each channel.',
  '1.0.0': 'First version.',
}
ACTION_UNITS = Stream(channels=UNITS, units=('0 to 5',) * 17 + ('0 or 1',) * 18)


def face_streams(rate, channels, units, before, shown_before=0.0):
  """Signals, a face video and action units; the signals are stored in any case.

  `before` are the seconds of the signals before the onset, `shown_before` those of the
  video and its action units.
  """
  return {
    'signals': Stream(
      rate=rate,
      channels=tuple(channels),
      units=tuple(units),
      before=before,
      optional=True,
    ),
    'video': Stream('frames', before=shown_before),
    'action_units': dataclasses.replace(ACTION_UNITS, before=shown_before),
  }


def signal_extras(wanted):
  """What is stored of signals beside the stream: their quality."""
  return {'signal_quality': Array((len(wanted.channels), len(MEASURES)), np.float32)}


class FaceTrials(Source):
  """Prepares first the signals of all trials, then action units, then videos.

  A subclass sets `tree` (with `openface` if action units are wanted) and `wanted`.
  """

  def prepare(self, directory, engine):
    self.directory, self.engine = directory, engine
    facts, problems = self.read_signals()
    if self.tree.openface is not None:
      prepare_units(
        self.trials,
        problems,
        lambda i: self.units_files(self.trials[i], facts[i]),
        directory,
        engine,
      )
    if self.wanted.faces is not None:
      for i, trial in enumerate(self.trials):
        problems[i] = problems[i] or self.no_video(trial)
      todo = [i for i, problem in enumerate(problems) if problem is None]
      tasks = []
      for i in todo:
        args = self.video(self.trials[i], facts[i])
        tasks.append(Task(self.trials[i].trial_id, args, args[:1]))
      drops = run_tasks(
        self.cut_out, tasks, directory / 'frames', 'Face videos', 'trials', engine
      )
      for i, dropped in zip(todo, drops, strict=True):
        problems[i] = dropped
    return [
      self._outcome(*one) for one in zip(self.trials, problems, facts, strict=True)
    ]

  def read_signals(self):
    """The facts (dict) of each trial, and None or its Dropped."""
    raise NotImplementedError

  def run_subjects(self, function, tasks):
    """Runs {subject: Task}: {subject: None or its Dropped}."""
    drops = run_tasks(
      function,
      list(tasks.values()),
      self.directory / 'signals',
      'Signals',
      'subjects',
      at_most(self.engine, _SIGNAL_WORKERS),
    )
    return dict(zip(tasks, drops, strict=True))

  def units_files(self, trial, facts):
    """The arguments of `raw.action_units.trial_units`."""
    raise NotImplementedError

  def no_video(self, trial):
    """A Dropped if it is known that the video is not there, or None."""
    return

  def video(self, trial, facts):
    """The path of a trial's video and more arguments of `cut_out`."""
    raise NotImplementedError

  cut_out = None  # a function that is importable by name, see `raw.frames`

  def _outcome(self, trial, problem, facts):
    if problem is not None:
      return Outcome(trial, problem.code, problem.reason, facts)
    if self.wanted.faces is not None:
      facts = facts | frame_facts(self.directory / 'frames', trial.trial_id)
    if self.tree.openface is not None:
      facts = facts | unit_facts(self.directory, trial.trial_id)
    return Outcome(trial, 'ok', '', facts)

  def stored(self, trial, values, valid, quality, onset):
    """What is stored of signals [time, channel] from before the onset on, and units."""
    signals = {
      'values': values[onset:],
      'valid': valid[onset:],
      'before': values[:onset],
      'before_valid': valid[:onset],
    }
    streams = {'signals': signals}
    if self.tree.openface is not None:
      streams['action_units'] = load_units(self.directory, trial.trial_id)
    return {
      'streams': streams,
      'signal_quality': quality,
    }

  def frames(self, outcome, stream):
    return load_frames(self.directory / 'frames', outcome.trial.trial_id)
