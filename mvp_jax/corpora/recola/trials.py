"""RECOLA's people as trials: face, voice, body and gold standard on one clock."""

import numpy as np

from mvp_jax.corpora.rated_in_time import FRAMES, RATED, SOUND, RatedInTime, Step
from mvp_jax.corpora.recola.annotation import MAX_SECONDS, gold_standard
from mvp_jax.corpora.recola.tree import (
  AUDIO,
  BIOSIGNALS,
  VIDEO,
  WITH_BIOSIGNALS,
  Person,
  find_tree,
  fingerprint,
)
from mvp_jax.outcomes import Dropped
from mvp_jax.raw import channels as raw_channels
from mvp_jax.raw.audio import SoundTrack, pack_sound, read_sound
from mvp_jax.raw.frames import MAX_LENGTH_DIFFERENCE, face_frames, pack_frames
from mvp_jax.raw.guard import rate_problem
from mvp_jax.raw.on_disk import shown
from mvp_jax.raw.recorded import broken
from mvp_jax.raw.signal_files import read_channel, without_gaps
from mvp_jax.raw.units import AS_RECORDED
from mvp_jax.raw.video_times import video_times
from mvp_jax.tasks import load_result

SIGNAL_RATE = 128.0  # Hz, stored; recorded at 1 kHz
CHANNELS = {'eda': 'EDA', 'ecg': 'ECG'}  # columns of their files
_BODY = 'signals'
_EARLY = 1e-3  # seconds; times are rounded


def rated_person(person: Person, raters):
  """The gold standard of a person, as arrays.

  Raises:
    Dropped: there is none, it is broken, or it does not go with the video.
  """
  rated = gold_standard(person, raters)
  notes = list(rated.notes)
  try:
    seconds = video_times(person.video).seconds if person.video else None
  except Dropped:  # lost where it is wanted
    seconds = None
  if seconds is None:
    notes.append('no video, so the length of the annotation is not checked')
  else:
    _check_length(person, rated, seconds)
  known = np.isfinite(rated.values)
  return {
    'values': np.where(known, rated.values, 0).astype(np.float32),
    'rated': known,
    'times': rated.times.astype(np.float32),
    'notes': np.array('; '.join(notes)),
  }


def _check_length(person, rated, shown_to):
  if (
    rated.end > shown_to + MAX_LENGTH_DIFFERENCE
    or min(rated.end, MAX_SECONDS) < min(shown_to, MAX_SECONDS) - MAX_LENGTH_DIFFERENCE
  ):
    raise Dropped(
      'length_mismatch',
      f'{shown(person.valence)}: its annotation ends at {rated.end:.1f} s, and '
      f'{shown(person.video)} at {shown_to:.1f} s; take both from one release',
    )


def _end(person, raters):
  """When the trial of a person ends, in seconds."""
  return min(gold_standard(person, raters).end, MAX_SECONDS)


def found_faces(person: Person, raters, spec):
  """Our own crops of a person's face. Raises Dropped."""
  if person.video is None:
    raise Dropped(
      'missing_video',
      f'{person.trial_id}: no {VIDEO}/{person.trial_id}.mp4; put it there',
    )
  found = face_frames(person.video, spec)
  count = int(np.searchsorted(found['times'], _end(person, raters) - _EARLY))
  if count < len(found['times']):
    cut = {name: found[name][:count] for name in ('times', 'valid', 'boxes', 'marks')}
    found = found | cut | {'jpegs': found['jpegs'].part(0, count)}
  return pack_frames(found)


def heard_person(person: Person, raters):
  """The voice of a person, of its own file or else the video's. Raises Dropped."""
  path = person.audio or person.video
  if path is None:
    raise Dropped(
      'missing_audio',
      f'{person.trial_id}: no {AUDIO}/{person.trial_id}.wav, nor a video that has its '
      'sound; put it there',
    )
  return pack_sound(read_sound(SoundTrack(path, 0.0, _end(person, raters))))


def body(person: Person, raters, channels, cleaned):
  """The biosignals of a person at `SIGNAL_RATE`, as arrays. Raises Dropped."""
  path = person.biosignals
  if path is None:
    told = f'no {BIOSIGNALS}/{person.trial_id}.csv'
    if person.number in WITH_BIOSIGNALS:
      raise Dropped('missing_signals', f'{person.trial_id}: {told}; put it there')
    raise Dropped(
      'missing_signals',
      f'{person.trial_id}: {told}, as officially of some; allow it '
      '(--config.data.allow_dropped=missing_signals), or leave out what reads signals',
    )
  seconds = _end(person, raters)
  found, judged, notes = {}, {}, []
  for name in channels:
    channel = without_gaps(
      path, read_channel(path, CHANNELS[name], time='time', time_unit='s')
    )
    if rate_problem(name, channel.rate):
      raise broken(
        path,
        f'{CHANNELS[name]} has {channel.rate:.4g} samples a second by its time, which '
        'must count in seconds',
      )
    begin, end = float(channel.times[0]), channel.end
    if begin > MAX_LENGTH_DIFFERENCE or end < seconds - MAX_LENGTH_DIFFERENCE:
      raise Dropped(
        'length_mismatch',
        f'{shown(path)}: its {CHANNELS[name]} goes from {begin:.1f} to {end:.1f} s, '
        f'the annotation on to {seconds:.1f} s; take both from one release',
      )
    inside = slice(*np.searchsorted(channel.times, (0.0, seconds)).tolist())
    found[name] = channel
    judged[name] = raw_channels.judge(
      channel.values, channel.rate, name, AS_RECORDED, inside
    )
    notes += [f'{name}: {note}' for note in (*channel.notes, judged[name].note) if note]
  raw_channels.require_one(
    f'{shown(path)}: ', {name: one.problem for name, one in judged.items()}
  )
  stored = raw_channels.at_rate(
    found, dict.fromkeys(found, 0.0), judged, seconds, 0.0, SIGNAL_RATE, cleaned
  )
  return stored | {'notes': np.array('; '.join(notes))}


class RecolaTrials(RatedInTime):
  """The people of RECOLA. Raises InputError."""

  def __init__(self, manual_dir, wanted):
    self.tree, self.wanted = find_tree(manual_dir, wanted.streams), wanted
    self.trials = list(self.tree.people)
    self.marker = self.tree.marker

  @property
  def fingerprint(self):
    return fingerprint(self.tree)

  def people(self):
    found = {}
    for person in self.trials:
      found.setdefault(person.subject, []).append(f'recola:{person.trial_id}')
    return found

  def about(self, trial):
    return {'group': trial.group}

  def steps(self):
    wanted, raters = self.wanted, self.wanted.settings.raters
    steps = [
      Step('Annotations', RATED, rated_person, (raters,)),
      Step(
        'Biosignals',
        _BODY,
        body,
        (raters, wanted.channels, wanted.clean),
        needed='signals' in wanted.streams,
      ),
    ]
    if wanted.faces is not None:
      steps.append(Step('Faces', FRAMES, found_faces, (raters, wanted.faces)))
    if 'audio' in wanted.streams:
      steps.append(Step('Sound', SOUND, heard_person, (raters,)))
    return steps

  def files(self, clip):
    return tuple(clip.files.values())

  def facts(self, clip):
    sound = {}
    if 'audio' in self.wanted.streams and clip.audio is None:
      sound = {'audio_source': 'of the video'}
    without = self.lacking.get((_BODY, clip.trial_id))
    if without is not None:
      return sound | {'signal_notes': without}
    with load_result(self.directory / _BODY, clip.trial_id) as arrays:
      return sound | {
        **raw_channels.signal_facts(
          self.wanted.channels,
          arrays['valid'],
          arrays['quality'],
          arrays['masked'].tolist(),
        ),
        'signal_notes': arrays['notes'].item(),
      }

  def example(self, outcome):
    person = outcome.trial
    found = super().example(outcome)
    found['source'] = {name: path.name for name, path in person.files.items()}
    if (_BODY, person.trial_id) in self.lacking:
      return found
    with load_result(self.directory / _BODY, person.trial_id) as arrays:
      found['streams']['signals'] = {name: arrays[name] for name in ('values', 'valid')}
      return found | {'signal_quality': arrays['quality']}
