"""Turns the rows of a manifest into trials: signals, face frames, action units.

Everything that a row lacks is a Dropped whose reason begins with the manifest's row
and column. What `check` finds before the long work is found by these functions.
"""

import contextlib
import hashlib
import json
import math
from pathlib import Path

import numpy as np

from mvp_jax.corpora.corpus import Source, identity, read_marker
from mvp_jax.corpora.recordings.manifest import read_manifest
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped, Outcome
from mvp_jax.raw import channels as raw_channels
from mvp_jax.raw import units
from mvp_jax.raw.action_units import as_stream, on_clock, require_faces
from mvp_jax.raw.cleaning import kind
from mvp_jax.raw.face import crop_scale
from mvp_jax.raw.face_quality import face_quality
from mvp_jax.raw.frames import (
  MAX_LENGTH_DIFFERENCE,
  MIN_FACE_SHARE,
  face_frames,
  frame_facts,
  load_frames,
  pack_frames,
)
from mvp_jax.raw.guard import rate_problem
from mvp_jax.raw.openface import read_openface
from mvp_jax.raw.resample import resample
from mvp_jax.raw.signal_files import read_channel, without_gaps
from mvp_jax.raw.video_times import video_times as times_of
from mvp_jax.tasks import Task, load_result, run_tasks

_SIGNALS = ('values', 'valid', 'before', 'before_valid')
NO_CHANNELS = ('none',)  # where the signals, though there, are not wanted
_MIN_SECONDS = 1.0
_SETTLING_SECONDS = 5.0  # on either side of a trial, for the filters
_UNIX_TIME = 1e8  # an onset beyond it is a time of day


def channels_in_use(manifest, wanted):
  """The channels to prepare: `wanted`, or with () all that any row names."""
  if tuple(wanted) == NO_CHANNELS:
    return ()
  return tuple(wanted) or manifest.channels


def prepare_signals(recording, channels, settings, clean, video, must_have_units=False):
  """All of a trial but its frames; `settings` are RecordingsSettings.

  Returns:
    dict: what `channels.prepare` returns, before and before_valid [time, channel] like
    values and valid, units [channel], seconds, and the action
    units as `action_units.on_clock` gives them.

  Raises:
    Dropped: a file is missing or broken, or what it holds cannot be used.
  """
  found = {name: channel_of(recording, name) for name in channels}
  shown, action_units = None, None
  if video or (recording.openface and recording.video and recording.video.is_file()):
    shown = video_times(recording)
  if recording.openface or must_have_units:
    action_units = units_of(recording, shown)
  seen = action_units is not None and (must_have_units or not found)
  seconds = trial_seconds(
    recording,
    found,
    shown.times if video else action_units.times if seen else None,
    'video' if video else 'openface',
  )
  judged = judge(recording, found, seconds)
  trial_units = on_clock(action_units, recording.video_onset, seconds)
  if must_have_units:
    with _at(recording, 'openface'):
      require_faces(recording.openface, trial_units)
  return {
    **_stored(recording, found, judged, seconds, settings, clean),
    'seconds': np.array(seconds),
    'units': np.array([channel.unit for channel in found.values()], np.str_),
    'notes': np.array(['; '.join(x.notes) for x in found.values()], np.str_),
    **trial_units,
  }


def judge(recording, found, seconds):
  """Judges the channels of a trial, {name: Channel}: {name: channels.Judged}.

  Raises Dropped, bad_signal, if none can be used.
  """
  judged = {}
  for name, channel in found.items():
    begin = onset(recording, channel)
    first, end = np.searchsorted(channel.times, (begin, begin + seconds))
    judged[name] = raw_channels.judge(
      channel.values, channel.rate, name, channel.unit, slice(first, end)
    )
  problems = {name: problem_of(recording, name, one) for name, one in judged.items()}
  with _at(recording, next(iter(found), '')):
    raw_channels.require_one('', problems)
  return judged


def problem_of(recording, name, judged):
  """What makes a channel useless over the trial, with its file, or ''."""
  source = recording.channels[name]
  return judged.problem and f'{source.file}: {source.column}: {judged.problem}'


def _stored(recording, found, judged, seconds, settings, clean):
  """The channels at the rate of all, from before the onset on."""
  rate = settings.signal_rate
  length, before = (round(x * rate) for x in (seconds, settings.baseline_seconds))
  if not found:
    return _parted(raw_channels.none(before + length), before)
  aside, filled = before + round(_SETTLING_SECONDS * rate), []
  for name, channel in found.items():
    begin = onset(recording, channel)
    near = _near(channel.times, begin, seconds, aside / rate + _SETTLING_SECONDS)
    values, fast = judged[name].values[near], clean and kind(name) == 'emg'
    if fast:  # It lies above what the rate of all keeps, its envelope does not.
      values = raw_channels.clean(values, channel.rate, name)
    values, valid = resample(
      values, channel.times[near], rate, length + 2 * aside, begin - aside / rate
    )
    values, good = raw_channels.fill(
      np.where(valid, values, np.nan), rate, name, clean and not fast
    )
    # The filter of another rate may swing below the zero of an envelope.
    values, valid = np.maximum(values, 0) if fast else values, valid & good
    trial = slice(aside - before, aside + length)
    filled.append((np.where(valid, values, 0)[trial], valid[trial]))
  return _parted(raw_channels.stored(filled, list(judged.values())), before)


def _parted(stored, before):
  """What `channels.stored` gives, parted at the onset."""
  parts = {}
  for name, own in (('values', 'before'), ('valid', 'before_valid')):
    parts |= {name: stored[name][before:], own: stored[name][:before]}
  return stored | parts


def channel_of(recording, name):
  """Reads a channel (signal_files.Channel) in its unit; sees that it covers the trial.

  Raises:
    Dropped: missing_signals, broken_signals, bad_signal or length_mismatch.
  """
  source = recording.channels.get(name)
  if source is None:
    raise Dropped(
      'missing_signals',
      f'row {recording.row}, column {name}: blank, while it is to be used; name the '
      'column of the signal file, or leave the channel out (channels)',
    )
  with _at(recording, name):
    channel = read_channel(
      source.file, source.column, source.rate, recording.time, recording.time_unit
    )
    if problem := rate_problem(name, channel.rate):
      raise Dropped('broken_signals', f'{source.file}: {source.column}: {problem}')
    channel = without_gaps(source.file, units.convert(name, channel, source.unit))
    begin = onset(recording, channel)
    where = 'time' if recording.time else 'seconds from the start'
    if not (
      channel.times[0] - MAX_LENGTH_DIFFERENCE <= begin < channel.end - _MIN_SECONDS
    ):
      raise Dropped(
        'length_mismatch',
        f'{source.file}: signals_onset {begin:g} does not '
        f'lie in it, from {channel.times[0]:g} to {channel.end:g} ({where})',
      )
    left = channel.end - begin
    if recording.duration and left < recording.duration - MAX_LENGTH_DIFFERENCE:
      raise Dropped(
        'length_mismatch',
        f'{source.file}: it ends {left:.1f} s after the '
        f'onset, duration is {recording.duration:g}',
      )
    window = channel.values[
      (channel.times >= begin)
      & (channel.times < begin + (recording.duration or math.inf))
    ]
    window = window[np.isfinite(window)]  # whether enough of it is, `judge` says
    if len(window) and (problem := units.implausible(name, channel.unit, window)):
      raise Dropped('bad_signal', f'{source.file}: {source.column}: {problem}')
  return channel


def onset(recording, channel):
  """When the stimulus begins, on the clock of `channel.times`.

  Of a clock that tells the day, `signals_onset` may be Unix time; a smaller one counts
  from the file's beginning.
  """
  if recording.signals_onset is None:
    return float(channel.times[0]) if recording.time else 0.0
  if channel.began is not None and recording.signals_onset > _UNIX_TIME:
    return recording.signals_onset - channel.began
  return recording.signals_onset


def video_times(recording):
  """When each frame of the video is shown: `raw.video_times.VideoTimes`.

  Raises:
    Dropped: missing_video, broken_video or length_mismatch.
  """
  path = recording.video
  with _at(recording, 'video'):
    if path is None:
      raise Dropped(
        'missing_video',
        'blank, while video is to be used; name the file, or leave video out',
      )
    if not path.is_file():
      raise Dropped('missing_video', f'{path}: no such file')
    found = times_of(path)
    left = found.seconds - recording.video_onset
    if left < _MIN_SECONDS:
      raise Dropped(
        'length_mismatch',
        f'{path}: video_onset {recording.video_onset:g} '
        f'lies after its end, {found.seconds:.1f} s',
      )
    if recording.duration and left < recording.duration - MAX_LENGTH_DIFFERENCE:
      raise Dropped(
        'length_mismatch',
        f'{path}: it ends {left:.1f} s after the onset, '
        f'duration is {recording.duration:g}',
      )
  return found


def units_of(recording, shown):
  """The ActionUnits of a trial, on the clock of its video if that is there.

  `shown`: VideoTimes or None. Raises Dropped, also if it names no OpenFace file.
  """
  with _at(recording, 'openface'):
    if recording.openface is None:
      raise Dropped(
        'missing_openface',
        'blank, while action units are to be used; name the CSV that OpenFace wrote',
      )
    return read_openface(
      recording.openface, shown and shown.numbered, recording.openface_face
    )


def trial_seconds(recording, channels, frame_times, shown='video'):
  """How long a trial lasts: `duration`, or as long as all its files go on.

  Args:
    channels: {name: Channel}.
    frame_times: of VideoTimes or ActionUnits, or None without video.
    shown: the column that they are of.

  Raises:
    Dropped: length_mismatch.
  """
  ends = {
    name: channel.end - onset(recording, channel) for name, channel in channels.items()
  }
  if frame_times is not None:
    step = (frame_times[-1] - frame_times[0]) / (len(frame_times) - 1)
    ends[shown] = frame_times[-1] + step - recording.video_onset
  if not ends:
    raise Dropped(
      'missing_signals',
      f'row {recording.row}, column signals: no channel and no video is to be used',
    )
  if recording.duration:
    return recording.duration
  first, last = min(ends, key=ends.get), max(ends, key=ends.get)
  if ends[last] - ends[first] > MAX_LENGTH_DIFFERENCE:
    raise Dropped(
      'length_mismatch',
      f'row {recording.row}, column {first}: from the '
      f'onset it goes on for {ends[first]:.1f} s, {last} for '
      f'{ends[last]:.1f}; correct the onsets, or give duration',
    )
  return ends[first]


def _near(times, begin, seconds, margin):
  """The trial's samples and some before and after, for filters to settle."""
  return (times >= begin - margin) & (times <= begin + seconds + margin)


def _frames(path, spec):
  return pack_frames(face_frames(path, spec))


def _video_name(path):
  return f'{path.stem[:40]}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}'


def _files(recording):
  return [
    path
    for path in (
      recording.video,
      recording.openface,
      *(source.file for source in recording.channels.values()),
    )
    if path is not None
  ]


def _parts(path):
  """The files that a path stands for: of a folder, or of a WFDB record, several."""
  path = Path(path)
  if path.is_dir():
    return tuple(sorted(path.glob('*.csv')))
  if path.suffix == '.hea' or (
    not path.exists() and path.with_name(path.name + '.hea').exists()
  ):
    return tuple(sorted(path.parent.glob(f'{path.stem}.*')))
  return (path,) if path.exists() else ()


@contextlib.contextmanager
def _at(recording, column):
  """Puts the row and the column in front of what a Dropped says."""
  try:
    yield
  except Dropped as dropped:
    raise Dropped(
      dropped.code, f'row {recording.row}, column {column}: {dropped.reason}'
    ) from None
  except OSError as error:  # no right to look, a drive that went away
    code = {'video': 'missing_video', 'openface': 'missing_openface'}.get(
      column, 'missing_signals'
    )
    raise Dropped(
      code, f'row {recording.row}, column {column}: {error.filename}: {error.strerror}'
    ) from None


class RecordingTrials(Source):
  """The trials of a manifest.

  Raises:
    InputError: it cannot be read, or no row has what is wanted.
  """

  def __init__(self, manual_dir, wanted):
    self.manifest, self.wanted = read_manifest(manual_dir), wanted
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
    for path in sorted({path for r in self.trials for path in _files(r)}):
      sizes = [part.stat().st_size for part in _parts(path)]
      digest.update(f'{path.name} {sizes}\n'.encode())
    return digest.hexdigest()[:16]

  def people(self):
    """Of each subject, a name for each video and signal file."""
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
      problems |= {
        r.row: Dropped(
          drops[r.video].code, f'row {r.row}, column video: {drops[r.video].reason}'
        )
        for r in todo
        if drops[r.video]
      }
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
      if not len(found['valid']) or found['valid'].mean() < MIN_FACE_SHARE:
        share = found['valid'].mean() if len(found['valid']) else 0
        return Outcome(
          recording,
          'no_face',
          f'row {recording.row}, column video: '
          f"{recording.video}: a face in {share:.1%} of the trial's frames",
          {},
        )
      rate, _, _, pixel_aspect = found['info'].tolist()
      # Of this trial; what the video has besides is not.
      quality = face_quality(
        found['times'],
        found['valid'],
        found['boxes'],
        found['marks'],
        pixel_aspect,
        crop_scale(self.wanted.crop),
      )
      whole = frame_facts(self.directory / 'frames', _video_name(recording.video))
      facts |= quality | {
        'broken_packets': whole['broken_packets'],
        'video_notes': whole['video_notes'],
        'frames': len(found['times']),
        'video_rate': rate,
        'bytes': sum(map(len, found['jpegs'])),
      }
    return Outcome(recording, 'ok', '', facts)

  def example(self, outcome):
    trial = outcome.trial
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
        },
        'signal_quality': arrays['quality'],
        'source': {'row': trial.row, 'video': str(trial.video or '')},
      }

  def frames(self, outcome, stream):
    return self._frames_of(outcome.trial, outcome.facts['seconds'])

  def _frames_of(self, recording, seconds):
    """As `frames.load_frames` gives them, cut out of the video, from the onset on."""
    found = load_frames(self.directory / 'frames', _video_name(recording.video))
    times = found['times'] - np.float32(recording.video_onset)
    first, end = np.searchsorted(times, (-1e-3, seconds)).tolist()
    return (
      found
      | {'times': times[first:end]}
      | {name: found[name][first:end] for name in ('jpegs', 'valid', 'boxes', 'marks')}
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
