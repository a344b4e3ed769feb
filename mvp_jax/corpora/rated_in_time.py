"""What corpora share whose trials are rated in time: ratings, then faces and sound."""

import numpy as np

from mvp_jax.corpora.corpus import Source
from mvp_jax.outcomes import Outcome
from mvp_jax.raw.action_units import RESULTS, load_units, unit_facts
from mvp_jax.raw.audio import load_sound, sound_facts
from mvp_jax.raw.frames import frame_facts, load_frames
from mvp_jax.tasks import Task, load_result, run_tasks

# Folders of results, and what the display calls their making.
RATINGS_STEP, FRAMES_STEP, SOUND_STEP = 'ratings', 'frames', 'sound'
UNITS_STEP = RESULTS
_TITLES = {
  RATINGS_STEP: 'Ratings',
  FRAMES_STEP: 'Faces',
  SOUND_STEP: 'Sound',
  UNITS_STEP: 'Action units',
}


class RatedInTime(Source):
  """Prepares trials step by step; who is lost in one is left out of the next.

  A subclass sets `trials` and `wanted`, says its `steps`, and what `unit` they count.
  The function of `RATINGS_STEP` gives `values` [n, ratings], `rated` bool [n], `times`
  float32 [n] and a text `notes`; those of the others what `raw.frames.pack_frames`,
  `raw.audio.pack_sound` and `raw.action_units.on_clock` give.
  """

  unit = 'trials'

  def steps(self):
    """List of (step, function importable by name, its arguments after the trial)."""
    raise NotImplementedError

  def files(self, trial):
    """The Paths that the tasks of a trial read."""
    raise NotImplementedError

  def prepare(self, directory, engine):
    self.directory = directory
    problems = [None] * len(self.trials)
    for step, function, own in self.steps():
      todo = [i for i, problem in enumerate(problems) if problem is None]
      tasks = [
        Task(trial.trial_id, (trial, *own), self.files(trial))
        for trial in (self.trials[i] for i in todo)
      ]
      drops = run_tasks(
        function, tasks, directory / step, _TITLES[step], self.unit, engine
      )
      for i, dropped in zip(todo, drops, strict=True):
        problems[i] = dropped
    return [self._outcome(*one) for one in zip(self.trials, problems, strict=True)]

  def _outcome(self, trial, dropped):
    if dropped is not None:
      return Outcome(trial, dropped.code, dropped.reason, {})
    name, steps = trial.trial_id, [step for step, *_ in self.steps()]
    with load_result(self.directory / RATINGS_STEP, name) as arrays:
      facts = {
        'annotated': int(arrays['rated'].sum()),
        'unrated': int((~arrays['rated']).sum()),
        'notes': arrays['notes'].item(),
      }
    if FRAMES_STEP in steps:
      facts |= frame_facts(self.directory / FRAMES_STEP, name)
    if SOUND_STEP in steps:
      facts |= sound_facts(self.directory / SOUND_STEP, name)
    if UNITS_STEP in steps:
      facts |= unit_facts(self.directory, name)
    return Outcome(trial, 'ok', '', facts)

  def example(self, outcome):
    trial = outcome.trial
    with load_result(self.directory / RATINGS_STEP, trial.trial_id) as arrays:
      values, rated, times = (arrays[name] for name in ('values', 'rated', 'times'))
    valid = np.repeat(rated[:, None], values.shape[1], 1)
    streams = {'ratings': {'values': values, 'valid': valid, 'times': times}}
    if UNITS_STEP in [step for step, *_ in self.steps()]:
      streams['action_units'] = load_units(self.directory, trial.trial_id)
    return {'streams': streams}

  def frames(self, outcome, stream):
    return load_frames(self.directory / FRAMES_STEP, outcome.trial.trial_id)

  def sound(self, outcome, stream):
    return load_sound(self.directory / SOUND_STEP, outcome.trial.trial_id)
