"""Turns the rows of a manifest into trials: signals, face frames, action units.

Everything that a row lacks is a Loss whose reason begins with the manifest's row
and column. What `check` finds before the long work is found by these functions.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
from pathlib import Path

import numpy as np

from mvp_jax.raw import channels as raw_channels
from mvp_jax.raw import units
from mvp_jax.raw.action_units import on_clock, require_faces
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
from mvp_jax.raw.losses import Loss, Outcome
from mvp_jax.raw.openface import read_openface
from mvp_jax.raw.prepare import Task, load_result, run_tasks
from mvp_jax.raw.resample import resample
from mvp_jax.raw.signal_files import read_channel
from mvp_jax.raw.video_times import packet_times

NO_CHANNELS = ('none',)  # where the signals, though there, are not wanted
_MIN_SECONDS = 1.0
_SETTLING_SECONDS = 5.0  # on either side of a trial, for the filters
_UNIX_TIME = 1e8  # an onset beyond it is a time of day
_MARKER = 'SYNTHETIC.json'


def channels_in_use(manifest, wanted):
  """The channels to prepare: `wanted`, or with () all that any row names."""
  if tuple(wanted) == NO_CHANNELS:
    return ()
  return tuple(wanted) or manifest.channels


def marker(manifest):
  """What SYNTHETIC.json beside a manifest says; None: the recordings are real."""
  path = manifest.path.parent / _MARKER
  return json.loads(path.read_text()) if path.exists() else None


def fingerprint(manifest):
  """A short hash of the manifest and of the names and sizes of its files."""
  digest = hashlib.sha256(manifest.path.read_bytes())
  digest.update(json.dumps(marker(manifest), sort_keys=True).encode())
  for path in sorted({path for r in manifest.recordings for path in _files(r)}):
    digest.update(f'{path.name} {[p.stat().st_size for p in _parts(path)]}\n'.encode())
  return digest.hexdigest()[:16]


def prepare_trials(
  manifest, channels, rate, clean, frames, directory, workers=None, action_units=False
):
  """Prepares every trial; results stay in `directory` until all is written.

  Args:
    manifest: Manifest that has passed `require`.
    channels: names, as `channels_in_use` gives them; () = no signals.
    rate: of the stored signals in Hz.
    clean: whether they are cleaned.
    frames: FrameSpec, or None for signals only.
    directory: for the results of single trials and videos; a killed run continues.
    workers: processes, by default as many as there are processors.
    action_units: whether every trial must have them.

  Returns:
    list of Outcome, one per recording and in the same order.
  """
  recordings = manifest.recordings
  problems = {
    p.row: Loss(p.code, str(p))
    for p in reversed(manifest.problems)
    if p.code != 'manifest'
  }
  todo = [r for r in recordings if r.row not in problems]
  wanted = channels, rate, clean, frames is not None, action_units
  tasks = [
    Task(
      r.trial_id,
      (r, *wanted),
      tuple(part for path in _files(r) for part in _parts(path)),
    )
    for r in todo
  ]
  losses = run_tasks(
    prepare_signals, tasks, directory / 'signals', 'Signals', 'trials', workers
  )
  problems |= {r.row: loss for r, loss in zip(todo, losses, strict=True) if loss}
  if frames is not None:
    todo = [r for r in recordings if r.row not in problems]
    videos = list(dict.fromkeys(r.video for r in todo))
    tasks = [Task(_video_name(path), (path, frames), (path,)) for path in videos]
    losses = dict(
      zip(
        videos,
        run_tasks(
          _frames, tasks, directory / 'frames', 'Face videos', 'videos', workers
        ),
        strict=True,
      )
    )
    problems |= {
      r.row: Loss(
        losses[r.video].code, f'row {r.row}, column video: {losses[r.video].reason}'
      )
      for r in todo
      if losses[r.video]
    }
  return [
    _outcome(r, problems.get(r.row), channels, frames, directory) for r in recordings
  ]


def prepare_signals(recording, channels, rate, clean, video, must_have_units=False):
  """All of a trial but its frames; see `load_signals`. Raises Loss."""
  found = {name: channel_of(recording, name) for name in channels}
  frame_times, action_units = None, None
  if video or (recording.openface and recording.video and recording.video.is_file()):
    frame_times = video_times(recording)
  if recording.openface or must_have_units:
    action_units = units_of(recording, frame_times)
  seen = action_units is not None and (must_have_units or not found)
  seconds = trial_seconds(
    recording,
    found,
    frame_times if video else action_units.times if seen else None,
    'video' if video else 'openface',
  )
  judged = judge(recording, found, seconds)
  trial_units = on_clock(action_units, recording.video_onset, seconds)
  if must_have_units:
    with _at(recording, 'openface'):
      require_faces(recording.openface, trial_units)
  return {
    **_stored(recording, found, judged, seconds, rate, clean),
    'seconds': np.array(seconds),
    'units': np.array([channel.unit for channel in found.values()], np.str_),
    **trial_units,
  }


def judge(recording, found, seconds):
  """Judges the channels of a trial, {name: Channel}: {name: channels.Judged}.

  Raises Loss, bad_signal, if none can be used.
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


def _stored(recording, found, judged, seconds, rate, clean):
  """The channels at the rate of all."""
  length = round(seconds * rate)
  if not found:
    return {
      'signals': np.zeros((length, 0), np.float32),
      'signal_valid': np.zeros((length, 0), bool),
      'signal_quality': np.zeros((0, len(raw_channels.MEASURES)), np.float32),
      'masked': np.zeros(0, np.str_),
    }
  aside = round(_SETTLING_SECONDS * rate)
  trial, filled = slice(aside, aside + length), []
  for name, channel in found.items():
    begin = onset(recording, channel)
    values, valid = resample(
      *_around(judged[name].values, channel.times, begin, seconds),
      rate,
      length + 2 * aside,
      begin - aside / rate,
    )
    values, good = raw_channels.fill(np.where(valid, values, np.nan), rate, name, clean)
    valid = (valid & good)[trial]
    filled.append((np.where(valid, values[trial], 0), valid))
  stored = raw_channels.stored(
    filled,
    [dataclasses.astuple(one.quality) for one in judged.values()],
    [one.problem for one in judged.values()],
  )
  return {
    'signals': stored['values'],
    'signal_valid': stored['valid'],
    'signal_quality': stored['quality'],
    'masked': stored['masked'],
  }


def channel_of(recording, name):
  """Reads one channel in its unit and sees that it covers the trial.

  Returns:
    signal_files.Channel.

  Raises:
    Loss: missing_signals, broken_signals, bad_signal or length_mismatch.
  """
  source = recording.channels.get(name)
  if source is None:
    raise Loss(
      'missing_signals',
      f'row {recording.row}, column {name}: blank, while '
      'it is to be used; name the column of the signal file, or leave the '
      'channel out (channels)',
    )
  with _at(recording, name):
    channel = read_channel(source.file, source.column, source.rate, recording.time)
    channel = units.convert(name, channel, source.unit)
    begin = onset(recording, channel)
    where = 'time' if recording.time else 'seconds from the start'
    if not (
      channel.times[0] - MAX_LENGTH_DIFFERENCE <= begin < channel.end - _MIN_SECONDS
    ):
      raise Loss(
        'length_mismatch',
        f'{source.file}: signals_onset {begin:g} does not '
        f'lie in it, from {channel.times[0]:g} to {channel.end:g} ({where})',
      )
    left = channel.end - begin
    if recording.duration and left < recording.duration - MAX_LENGTH_DIFFERENCE:
      raise Loss(
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
      raise Loss('bad_signal', f'{source.file}: {source.column}: {problem}')
  return channel


def onset(recording, channel):
  """When the stimulus begins, on the clock of `channel.times`."""
  if recording.signals_onset is None:
    return float(channel.times[0]) if recording.time else 0.0
  if channel.began is not None and recording.signals_onset > _UNIX_TIME:
    return recording.signals_onset - channel.began
  return recording.signals_onset


def video_times(recording):
  """When each frame of the video is shown, without decoding it.

  Returns:
    float64 [frames], seconds since the first.

  Raises:
    Loss: missing_video, broken_video or length_mismatch.
  """
  path = recording.video
  with _at(recording, 'video'):
    if path is None:
      raise Loss(
        'missing_video',
        'blank, while video is to be used; name the file, or leave video out',
      )
    if not path.is_file():
      raise Loss('missing_video', f'{path}: no such file')
    times = packet_times(path)
    left = times[-1] + times[-1] / max(1, len(times) - 1) - recording.video_onset
    if left < _MIN_SECONDS:
      raise Loss(
        'length_mismatch',
        f'{path}: video_onset {recording.video_onset:g} '
        f'lies after its end, {times[-1]:.1f} s',
      )
    if recording.duration and left < recording.duration - MAX_LENGTH_DIFFERENCE:
      raise Loss(
        'length_mismatch',
        f'{path}: it ends {left:.1f} s after the onset, '
        f'duration is {recording.duration:g}',
      )
  return times


def units_of(recording, frame_times):
  """The ActionUnits of a trial. Raises Loss, also if it names no OpenFace file."""
  with _at(recording, 'openface'):
    if recording.openface is None:
      raise Loss(
        'missing_openface',
        'blank, while action units are to be used; name the CSV that OpenFace wrote',
      )
    return read_openface(recording.openface, frame_times, recording.openface_face)


def trial_seconds(recording, channels, frame_times, shown='video'):
  """How long a trial lasts: `duration`, or as long as all its files go on.

  Args:
    recording: Recording.
    channels: {name: Channel}.
    frame_times: as of `video_times` or `ActionUnits`, or None without video.
    shown: the column that they are of.

  Raises:
    Loss: length_mismatch.
  """
  ends = {
    name: channel.end - onset(recording, channel) for name, channel in channels.items()
  }
  if frame_times is not None:
    step = frame_times[-1] / (len(frame_times) - 1)
    ends[shown] = frame_times[-1] + step - recording.video_onset
  if not ends:
    raise Loss(
      'missing_signals',
      f'row {recording.row}, column signals: no channel and no video is to be used',
    )
  if recording.duration:
    return recording.duration
  first, last = min(ends, key=ends.get), max(ends, key=ends.get)
  if ends[last] - ends[first] > MAX_LENGTH_DIFFERENCE:
    raise Loss(
      'length_mismatch',
      f'row {recording.row}, column {first}: from the '
      f'onset it goes on for {ends[first]:.1f} s, {last} for '
      f'{ends[last]:.1f}; correct the onsets, or give duration',
    )
  return ends[first]


def load_signals(directory, recording):
  """What `prepare_signals` gave for a recording.

  Returns:
    dict: signals float32 [time, channel] and signal_valid bool (0 where not valid),
    signal_quality float32 [channel, channels.MEASURES], masked str [channel] (why a
    channel is masked as a whole, or ''), units [channel], seconds, and of the action
    units au_times float32 [n] since the onset, au_intensities [n, 17], au_presences
    [n, 18], au_valid bool [n].
  """
  with load_result(directory / 'signals', recording.trial_id) as arrays:
    return {name: arrays[name] for name in arrays if name != 'key'}


def load_trial_frames(directory, recording, seconds):
  """The frames of a trial, cut out of its video.

  Returns:
    dict as `frames.load_frames` gives it, times since the onset.
  """
  found = load_frames(directory / 'frames', _video_name(recording.video))
  times = found['times'] - np.float32(recording.video_onset)
  first, end = np.searchsorted(times, (-1e-3, seconds)).tolist()
  return (
    found
    | {'times': times[first:end]}
    | {name: found[name][first:end] for name in ('jpegs', 'valid', 'boxes')}
  )


def _around(values, times, begin, seconds):
  """The trial's samples and some before and after, for the filter to settle."""
  margin = 2 * _SETTLING_SECONDS
  near = (times >= begin - margin) & (times <= begin + seconds + margin)
  return values[near], times[near]


def _outcome(recording, problem, channels, frames, directory):
  if problem is not None:
    return Outcome(recording, problem.code, problem.reason, {})
  with load_result(directory / 'signals', recording.trial_id) as arrays:
    facts = {
      'seconds': float(arrays['seconds']),
      'units': arrays['units'].tolist(),
      'au_frames': len(arrays['au_valid']),
      'au_valid': int(arrays['au_valid'].sum()),
      **raw_channels.signal_facts(
        channels,
        arrays['signal_valid'],
        arrays['signal_quality'],
        arrays['masked'].tolist(),
      ),
    }
  if frames is not None:
    found = load_trial_frames(directory, recording, facts['seconds'])
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
      pixel_aspect,
      crop_scale(frames.crop),
    )
    whole = frame_facts(directory / 'frames', _video_name(recording.video))
    facts |= quality | {
      'broken_packets': whole['broken_packets'],
      'frames': len(found['times']),
      'video_rate': rate,
      'bytes': sum(map(len, found['jpegs'])),
    }
  return Outcome(recording, 'ok', '', facts)


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
  """Puts the row and the column in front of what a Loss says."""
  try:
    yield
  except Loss as loss:
    raise Loss(
      loss.code, f'row {recording.row}, column {column}: {loss.reason}'
    ) from None
  except OSError as error:  # no right to look, a drive that went away
    code = {'video': 'missing_video', 'openface': 'missing_openface'}.get(
      column, 'missing_signals'
    )
    raise Loss(
      code, f'row {recording.row}, column {column}: {error.filename}: {error.strerror}'
    ) from None
