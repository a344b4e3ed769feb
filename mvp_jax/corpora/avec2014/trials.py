"""AVEC's recordings as trials: face, sound, action units and the session's label."""

import sys
from pathlib import Path

from mvp_jax.corpora.avec2014.tree import (
  RATING,
  find_tree,
  fingerprint,
  read_label,
)
from mvp_jax.corpora.corpus import Source
from mvp_jax.outcomes import Dropped, Outcome
from mvp_jax.raw.action_units import load_units, trial_units, unit_facts
from mvp_jax.raw.audio import (
  RATE,
  SoundTrack,
  load_sound,
  pack_sound,
  read_sound,
  sound_facts,
)
from mvp_jax.raw.frames import (
  MAX_LENGTH_DIFFERENCE,
  face_frames,
  frame_facts,
  load_frames,
  pack_frames,
)
from mvp_jax.raw.on_disk import shown
from mvp_jax.raw.video_times import video_times
from mvp_jax.tasks import Task, run_tasks

_SHOWN = 3


def seen(video, spec):
  """The face of a recording, whole. Raises Dropped."""
  return pack_frames(face_frames(video, spec))


def heard(audio, video):
  """The sound of a recording, which must be as long as its video. Raises Dropped."""
  found = read_sound(SoundTrack(audio))
  if video is not None:
    seconds, wanted = found['count'] / RATE, video_times(video).seconds
    if abs(seconds - wanted) > MAX_LENGTH_DIFFERENCE:
      raise Dropped(
        'length_mismatch',
        f'{shown(audio)}: {seconds:.1f} s of sound, and {shown(video)} lasts '
        f'{wanted:.1f} s; take both from one release',
      )
  return pack_sound(found)


def units(csv, video):
  """The action units of a recording. Raises Dropped."""
  return trial_units(csv, video, video_times(video).seconds)


class AvecTrials(Source):
  """The labelled recordings of an edition. Raises InputError."""

  def __init__(self, manual_dir, wanted):
    self.wanted, settings = wanted, wanted.settings
    csvs = settings.openface_dir if 'action_units' in wanted.streams else None
    self.tree = find_tree(manual_dir, settings.edition, csvs)
    self.trials = list(self.tree.recordings)
    self.marker = self.tree.marker

  @property
  def fingerprint(self):
    return fingerprint(self.tree)

  def people(self):
    """Both editions are of the same people."""
    return {trial.subject: [f'avec:{trial.subject}'] for trial in self.trials}

  def about(self, trial):
    return {'part': trial.part}

  def prepare(self, directory, engine):
    self._tell()
    self.directory = directory
    problems, self.labels = [], {}
    for trial in self.trials:
      try:
        self.labels[trial.trial_id] = read_label(trial)
        problems.append(self._lacking(trial))
      except Dropped as dropped:
        problems.append(dropped)
    for title, name, function, files, own in self._steps():
      todo = [i for i, problem in enumerate(problems) if problem is None]
      tasks = []
      for trial in (self.trials[i] for i in todo):
        given = files(trial)
        tasks.append(Task(trial.trial_id, (*given, *own), tuple(filter(None, given))))
      drops = run_tasks(function, tasks, directory / name, title, 'recordings', engine)
      for i, dropped in zip(todo, drops, strict=True):
        problems[i] = dropped
    return [self._outcome(*one) for one in zip(self.trials, problems, strict=True)]

  def _steps(self):
    """(title, folder, function, function of a trial that gives files, arguments)."""
    if self.wanted.faces is not None:
      own = (self.wanted.faces,)
      yield 'Face videos', 'frames', seen, lambda trial: (trial.video,), own
    if 'audio' in self.wanted.streams:
      yield 'Sound', 'sound', heard, lambda trial: (trial.audio, trial.video), ()
    if (csvs := self.tree.openface) is not None:
      yield (
        'Action units',
        'action_units',
        units,
        lambda trial: (csvs.of(trial.video.stem), trial.video),
        (),
      )

  def _lacking(self, trial):
    """A Dropped if a file that is wanted is not there, or None."""
    needs = {'video': 'video', 'audio': 'audio', 'action_units': 'video'}
    for stream in self.wanted.streams:
      kind = needs[stream]
      if getattr(trial, kind) is None:
        ending = {'video': 'mp4', 'audio': 'wav'}[kind]
        return Dropped(
          f'missing_{kind}',
          f'{trial.trial_id}: no file {trial.trial_id}_{kind}.{ending} in any folder; '
          'put it there, or leave the recording out',
        )
    return None

  def _tell(self):
    """Says what is not read, and who is on several sides of the official split."""
    tree, told = self.tree, []
    if tree.unlabelled:
      told.append(
        f'{len(tree.unlabelled)} recordings of the test set have no label and are not '
        f'read: {_some(tree.unlabelled)}'
      )
    if tree.strangers:
      told.append(
        f'{len(tree.strangers)} videos or sounds are not named as those of '
        f'{self.wanted.settings.edition} and are not read: {_some(tree.strangers)}'
      )
    if tree.wanderers:
      people = [f'{who} ({", ".join(of)})' for who, of in tree.wanderers.items()]
      told.append(
        f'{len(people)} people are in several parts of the official split: '
        f'{_some(people)}; a split by people keeps them apart'
      )
    for line in told:
      print(f'{tree.root}: {line}', file=sys.stderr)

  def _outcome(self, trial, dropped):
    if dropped is not None:
      return Outcome(trial, dropped.code, dropped.reason, {})
    facts = {RATING: self.labels[trial.trial_id]}
    if self.wanted.faces is not None:
      facts |= frame_facts(self.directory / 'frames', trial.trial_id)
    if 'audio' in self.wanted.streams:
      facts |= sound_facts(self.directory / 'sound', trial.trial_id)
    if self.tree.openface is not None:
      facts |= unit_facts(self.directory, trial.trial_id)
    return Outcome(trial, 'ok', '', facts)

  def example(self, outcome):
    trial = outcome.trial
    found = {
      'ratings': {RATING: self.labels[trial.trial_id]},
      'source': {
        'part': trial.part,
        'task': trial.task,
        'video': Path(trial.video).name if trial.video else '',
      },
    }
    if self.tree.openface is not None:
      found['streams'] = {'action_units': load_units(self.directory, trial.trial_id)}
    return found

  def frames(self, outcome, stream):
    return load_frames(self.directory / 'frames', outcome.trial.trial_id)

  def sound(self, outcome, stream):
    return load_sound(self.directory / 'sound', outcome.trial.trial_id)

  def metadata(self, outcomes):
    return {
      'parts': {trial.trial_id: trial.part for trial in self.trials if trial.part},
      'people_in_several_parts': {
        str(who): list(of) for who, of in self.tree.wanderers.items()
      },
    }


def _some(names):
  more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
  return ', '.join(names[:_SHOWN]) + more
