"""What corpora share whose trials are rated in time: ratings, then faces and sound."""

from collections.abc import Callable
from typing import NamedTuple

from mvp_jax.corpora.corpus import Source
from mvp_jax.outcomes import Outcome
from mvp_jax.raw.action_units import RESULTS, load_units, unit_facts
from mvp_jax.raw.audio import load_sound, sound_facts
from mvp_jax.raw.frames import frame_facts, load_frames
from mvp_jax.tasks import Task, load_result, run_tasks

RATED, FRAMES, SOUND, OPENFACE = 'ratings', 'frames', 'sound', RESULTS


class Step(NamedTuple):
  """What is prepared of every trial.

  Attributes:
    title: for the display.
    folder: of the results: `RATED`, `FRAMES`, `SOUND`, `OPENFACE` or a corpus' own.
    function: importable by name, of a trial and `arguments`; gives arrays for
      `tasks.run_tasks`, or raises Dropped. That of `RATED` gives values float32 [n,
      ratings], rated bool [n] or [n, ratings], times float32 [n] and a text `notes`;
      those of the others what `raw.frames.pack_frames`, `raw.audio.pack_sound` and
      `raw.action_units.on_clock` give.
    needed: whether a trial that has none is lost.
  """

  title: str
  folder: str
  function: Callable
  arguments: tuple
  needed: bool = True


class RatedInTime(Source):
  """Prepares trials step by step: what is lost in one is left out of the next.

  A subclass sets `trials` and `wanted`, says its `steps`, and what `unit` they count.
  """

  unit = 'clips'

  def steps(self) -> list[Step]:
    """One of them is that of `RATED`."""
    raise NotImplementedError

  def files(self, trial):
    """The Paths that the steps of a trial read: a tuple."""
    raise NotImplementedError

  def facts(self, trial):
    """What the account tells of a trial beside what is made here: a dict."""
    return {}

  def prepare(self, directory, engine):
    self.directory, self.lacking = directory, {}
    problems = [None] * len(self.trials)
    for step in self.steps():
      todo = [i for i, problem in enumerate(problems) if problem is None]
      tasks = [
        Task(trial.trial_id, (trial, *step.arguments), self.files(trial))
        for trial in (self.trials[i] for i in todo)
      ]
      folder = directory / step.folder
      drops = run_tasks(step.function, tasks, folder, step.title, self.unit, engine)
      for i, dropped in zip(todo, drops, strict=True):
        if step.needed:
          problems[i] = dropped
        elif dropped is not None:
          self.lacking[step.folder, self.trials[i].trial_id] = dropped.reason
    return [self._outcome(*one) for one in zip(self.trials, problems, strict=True)]

  def _outcome(self, trial, dropped):
    if dropped is not None:
      return Outcome(trial, dropped.code, dropped.reason, {})
    name, made = trial.trial_id, self._made
    with load_result(self.directory / RATED, name) as arrays:
      rated = arrays['rated']
      rated = rated.reshape(len(rated), -1).all(1)
      facts = {
        'annotated': int(rated.sum()),
        'unrated': int((~rated).sum()),
        'notes': arrays['notes'].item(),
      }
    if FRAMES in made:
      facts |= frame_facts(self.directory / FRAMES, name)
    if SOUND in made:
      facts |= sound_facts(self.directory / SOUND, name)
    if OPENFACE in made:
      facts |= unit_facts(self.directory, name)
    return Outcome(trial, 'ok', '', facts | self.facts(trial))

  @property
  def _made(self):
    return [step.folder for step in self.steps()]

  def example(self, outcome):
    name = outcome.trial.trial_id
    with load_result(self.directory / RATED, name) as arrays:
      rated = {
        'values': arrays['values'],
        'valid': arrays['rated'],
        'times': arrays['times'],
      }
    streams = {'ratings': rated}
    if OPENFACE in self._made:
      streams['action_units'] = load_units(self.directory, name)
    return {'streams': streams}

  def frames(self, outcome, stream):
    return load_frames(self.directory / FRAMES, outcome.trial.trial_id)

  def sound(self, outcome, stream):
    return load_sound(self.directory / SOUND, outcome.trial.trial_id)
