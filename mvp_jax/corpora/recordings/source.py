"""The trials of a manifest as a source of prepared data: files, tasks, outcomes."""

import glob
import hashlib
import json
from pathlib import Path

import numpy as np

from mvp_jax.corpora.corpus import Source, identity, read_marker
from mvp_jax.corpora.recordings.manifest import read_manifest
from mvp_jax.corpora.recordings.trials import (
  NO_CHANNELS,
  channels_in_use,
  of_row,
  of_trial,
  prepare_signals,
  require_face,
)
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped, Outcome
from mvp_jax.raw import channels as raw_channels
from mvp_jax.raw import units
from mvp_jax.raw.action_units import as_stream
from mvp_jax.raw.audio import load_sound, sound_facts
from mvp_jax.raw.face import crop_scale
from mvp_jax.raw.face_quality import face_quality
from mvp_jax.raw.frames import (
  face_frames,
  frame_facts,
  from_onset,
  load_frames,
  pack_frames,
)
from mvp_jax.tasks import Task, load_result, run_tasks

_SIGNALS = ('values', 'valid', 'before', 'before_valid')


class RecordingTrials(Source):
  """The trials of a manifest.

  Raises:
    InputError: it cannot be read, or no row has what is wanted.
  """

  def __init__(self, manual_dir, wanted):
    self.manifest = read_manifest(manual_dir, wanted.ratings)
    self.wanted = wanted
    self.manifest.require()
    _check_wanted(self.manifest, wanted)
    self.trials = self.manifest.recordings
    chosen = wanted.channels if 'signals' in wanted.streams else NO_CHANNELS
    self.channels = channels_in_use(self.manifest, chosen)
    self.marker = read_marker(self.manifest.path.parent)

  @property
  def fingerprint(self):
    digest = hashlib.sha256(self.manifest.path.read_bytes())
    digest.update(json.dumps(self.marker, sort_keys=True).encode())
    # By what is trained on.
    unrated = [p.row for p in self.manifest.problems if p.code == 'missing_rating']
    digest.update(repr(unrated).encode() if unrated else b'')
    for path in sorted({path for r in self.trials for path in _files(r)}):
      sizes = [part.stat().st_size for part in _parts(path)]
      digest.update(f'{path.name} {sizes}\n'.encode())
    return digest.hexdigest()[:16]

  def people(self):
    """Of each subject, a name for each video, sound and signal file."""
    names = {}
    for recording in self.trials:
      found = names.setdefault(recording.subject, {})
      for path in _files(recording):
        if path != recording.openface:
          found |= dict.fromkeys(map(identity, _parts(path)))
    return {subject: list(found) for subject, found in names.items()}

  def about(self, trial):
    return {
      'row': trial.row,
      'subject_name': trial.subject_name,
      'stimulus_name': trial.stimulus_name,
    }

  def metadata(self, outcomes):
    return {
      'channels': list(self.channels),
      'units': _units(self.channels, outcomes),
      'subjects': {r.subject_name: r.subject for r in self.trials},
      'stimuli': {r.stimulus_name: r.stimulus for r in self.trials},
    }

  def prepare(self, directory, engine):
    self.directory, wanted = directory, self.wanted
    problems = {
      p.row: Dropped(p.code, str(p))
      for p in reversed(self.manifest.problems)
      if p.code != 'manifest'
    }
    todo = [r for r in self.trials if r.row not in problems]
    options = (
      self.channels,
      wanted.settings,
      wanted.clean,
      wanted.faces is not None,
      'action_units' in wanted.streams,
      'audio' in wanted.streams,
    )
    tasks = [
      Task(
        r.trial_id,
        (r, *options),
        tuple(part for path in _files(r) for part in _parts(path)),
      )
      for r in todo
    ]
    drops = run_tasks(
      prepare_signals, tasks, directory / 'signals', 'Signals', 'trials', engine
    )
    problems |= {r.row: drop for r, drop in zip(todo, drops, strict=True) if drop}
    if wanted.faces is not None:
      todo = [r for r in self.trials if r.row not in problems]
      videos = list(dict.fromkeys(r.video for r in todo))
      tasks = [
        Task(_video_name(path), (path, wanted.faces), (path,)) for path in videos
      ]
      drops = run_tasks(
        _frames, tasks, directory / 'frames', 'Face videos', 'videos', engine
      )
      drops = dict(zip(videos, drops, strict=True))
      problems |= {r.row: of_row(r, drops[r.video]) for r in todo if drops[r.video]}
    return [self._outcome(r, problems.get(r.row)) for r in self.trials]

  def _outcome(self, recording, problem):
    if problem is not None:
      return Outcome(recording, problem.code, problem.reason, {})
    with load_result(self.directory / 'signals', recording.trial_id) as arrays:
      facts = {
        'seconds': float(arrays['seconds']),
        'units': arrays['units'].tolist(),
        'au_frames': len(arrays['au_valid']),
        'au_valid': int(arrays['au_valid'].sum()),
        **raw_channels.signal_facts(
          self.channels,
          arrays['valid'],
          arrays['quality'],
          arrays['masked'].tolist(),
        ),
        **{
          f'{name}_notes': note
          for name, note in zip(self.channels, arrays['notes'].tolist(), strict=True)
        },
      }
    if self.wanted.faces is not None:
      found = self._frames_of(recording, facts['seconds'])
      own = from_onset(found)
      try:
        require_face(recording, own['valid'])
      except Dropped as dropped:
        return Outcome(recording, dropped.code, dropped.reason, {})
      rate, _, _, pixel_aspect = found['info'].tolist()
      # Of this trial; what the video has besides is not.
      quality = face_quality(
        own['times'],
        own['valid'],
        own['boxes'],
        own['marks'],
        pixel_aspect,
        crop_scale(self.wanted.crop),
      )
      whole = frame_facts(self.directory / 'frames', _video_name(recording.video))
      facts |= quality | {
        'broken_packets': whole['broken_packets'],
        # An earlier version, killed in between, did not count them.
        'video_frames': whole.get('video_frames', ''),
        'video_notes': whole['video_notes'],
        'frames': len(own['times']),
        'video_rate': rate,
        'bytes': found['jpegs'].size,
      }
    if 'audio' in self.wanted.streams:
      facts |= sound_facts(self.directory / 'signals', recording.trial_id)
    return Outcome(recording, 'ok', '', facts)

  def example(self, outcome):
    trial, others = outcome.trial, {}
    if 'people' in self.wanted.streams:
      found = load_frames(self.directory / 'frames', _video_name(trial.video))
      others['people'] = {
        'values': found['people'],
        'valid': np.isfinite(found['people']),
        'times': (found['people_times'] - trial.video_onset).astype(np.float32),
      }
    with load_result(self.directory / 'signals', trial.trial_id) as arrays:
      return {
        'subject_name': trial.subject_name,
        'stimulus_name': trial.stimulus_name,
        'ratings': trial.ratings,
        'streams': {
          name: stream
          for name, stream in (
            ('signals', {name: arrays[name] for name in _SIGNALS}),
            ('action_units', as_stream(arrays)),
          )
          if name == 'action_units' or name in self.wanted.streams
        }
        | others,
        'signal_quality': arrays['quality'],
        'source': {'row': trial.row, 'video': str(trial.video or '')},
      }

  def frames(self, outcome, stream):
    return self._frames_of(outcome.trial, outcome.facts['seconds'])

  def sound(self, outcome, stream):
    return load_sound(self.directory / 'signals', outcome.trial.trial_id)

  def _frames_of(self, recording, seconds):
    """As `frames.load_frames` gives them, cut out of the video, with the baseline."""
    found = load_frames(self.directory / 'frames', _video_name(recording.video))
    times, before = found['times'], self.wanted.settings.baseline_seconds
    inside = of_trial(recording, times, seconds, before)
    return (
      found
      | {'times': times[inside] - np.float32(recording.video_onset)}
      | {name: found[name][inside] for name in ('valid', 'boxes', 'marks')}
      | {'jpegs': found['jpegs'].part(inside.start, inside.stop)}
      | {'before': of_trial(recording, times, seconds).start - inside.start}
    )


def _check_wanted(manifest, wanted):
  """Raises InputError if no row at all has what is asked for."""
  missing = set(wanted.channels) - {*manifest.channels, *NO_CHANNELS}
  if missing:
    raise InputError(
      f'{manifest.path}: no row names a column for {", ".join(sorted(missing))} (there '
      f'are {", ".join(manifest.channels) or "no channels"}); correct '
      'config.data.channels'
    )
  if wanted.faces is not None and not any(r.video for r in manifest.recordings):
    raise InputError(
      f'{manifest.path}: no row names a video; name in config.evaluation.models only '
      'models that read none, as --config.evaluation.models=physio'
    )
  if 'audio' in wanted.streams and not any(
    r.audio or r.video for r in manifest.recordings
  ):
    raise InputError(
      f'{manifest.path}: no row names a file with sound, in the column audio or video'
    )
  if 'action_units' in wanted.streams and not any(
    r.openface for r in manifest.recordings
  ):
    raise InputError(
      f'{manifest.path}: no row names a CSV of OpenFace in the column '
      'openface (docs/action_units.md)'
    )


def _units(channels, outcomes):
  """Each channel's unit, 'as recorded' if it is not the same in all trials."""
  found = [set() for _ in channels]
  for outcome in outcomes:
    for own, unit in zip(found, outcome.facts.get('units', ()), strict=False):
      own.add(unit)
  return [own.pop() if len(own) == 1 else units.AS_RECORDED for own in found]


def _frames(path, spec):
  return pack_frames(face_frames(path, spec))


def _video_name(path):
  return f'{path.stem[:40]}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}'


def _files(recording):
  return [
    path
    for path in (
      recording.video,
      recording.audio,
      recording.openface,
      *(source.file for source in recording.channels.values()),
    )
    if path is not None
  ]


def _parts(path):
  """The files that a path stands for: of a folder, or of a WFDB record, several."""
  path = Path(path)
  if path.is_dir():
    found = path.glob('*.csv')
  elif path.suffix == '.hea' or (
    not path.exists() and path.with_name(path.name + '.hea').exists()
  ):
    found = path.parent.glob(f'{glob.escape(path.stem)}.*')
  else:
    found = (path,)
  return tuple(sorted(part for part in found if part.is_file()))
