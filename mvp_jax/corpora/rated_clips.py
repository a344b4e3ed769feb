"""What corpora share whose clips are rated in time: annotation, face and sound."""

from collections.abc import Callable
from typing import NamedTuple

from mvp_jax.corpora.corpus import Source
from mvp_jax.outcomes import Outcome
from mvp_jax.raw.audio import load_sound, sound_facts
from mvp_jax.raw.frames import frame_facts, load_frames
from mvp_jax.tasks import Task, load_result, run_tasks

RATED, FRAMES, SOUND = 'ratings', 'frames', 'sound'


class Step(NamedTuple):
  """What is prepared of every clip.

  Attributes:
    title: for the display.
    folder: of the results, `RATED`, `FRAMES`, `SOUND` or a corpus' own.
    function: importable by name, of a clip and `arguments`; gives arrays for
      `tasks.run_tasks`, or raises Dropped. That of `RATED` gives values float32 [n,
      ratings], rated bool [n] or [n, ratings], times float32 [n] and notes.
    needed: whether a clip that has none is lost.
  """

  title: str
  folder: str
  function: Callable
  arguments: tuple
  needed: bool = True


class RatedClips(Source):
  """Prepares clips step by step: what is lost in one is left out of the next.

  A subclass sets `trials` and `wanted`.
  """

  def steps(self) -> list[Step]:
    """The first is that of `RATED`."""
    raise NotImplementedError

  def files(self, clip):
    """The paths that the steps of a clip read: a tuple."""
    raise NotImplementedError

  def facts(self, clip):
    """What the account tells of a clip beside annotation, face and sound: a dict."""
    return {}

  def prepare(self, directory, engine):
    self.directory, self.lacking = directory, {}
    problems = [None] * len(self.trials)
    for step in self.steps():
      todo = [i for i, problem in enumerate(problems) if problem is None]
      tasks = [
        Task(clip.trial_id, (clip, *step.arguments), self.files(clip))
        for clip in (self.trials[i] for i in todo)
      ]
      folder = directory / step.folder
      drops = run_tasks(step.function, tasks, folder, step.title, 'clips', engine)
      for i, dropped in zip(todo, drops, strict=True):
        if step.needed:
          problems[i] = dropped
        elif dropped is not None:
          self.lacking[step.folder, self.trials[i].trial_id] = dropped.reason
    return [self._outcome(*one) for one in zip(self.trials, problems, strict=True)]

  def _outcome(self, clip, dropped):
    if dropped is not None:
      return Outcome(clip, dropped.code, dropped.reason, {})
    with load_result(self.directory / RATED, clip.trial_id) as arrays:
      rated = arrays['rated']
      rated = rated.reshape(len(rated), -1).all(1)
      facts = {
        'annotated': int(rated.sum()),
        'unrated': int((~rated).sum()),
        'notes': arrays['notes'].item(),
      }
    if self.wanted.faces is not None:
      facts |= frame_facts(self.directory / FRAMES, clip.trial_id)
    if 'audio' in self.wanted.streams:
      facts |= sound_facts(self.directory / SOUND, clip.trial_id)
    return Outcome(clip, 'ok', '', facts | self.facts(clip))

  def annotation(self, clip):
    """The stream of ratings of a clip, as `Source.example` gives streams."""
    with load_result(self.directory / RATED, clip.trial_id) as arrays:
      return {
        'values': arrays['values'],
        'valid': arrays['rated'],
        'times': arrays['times'],
      }

  def frames(self, outcome, stream):
    return load_frames(self.directory / FRAMES, outcome.trial.trial_id)

  def sound(self, outcome, stream):
    return load_sound(self.directory / SOUND, outcome.trial.trial_id)
