"""Turns a row of a manifest into a trial: its signals, times, action units and sound.

Everything that a row lacks is a Dropped whose reason begins with the manifest's row
and column. `check` says what these functions say, for preparation goes by them, too.
"""

import contextlib
import dataclasses
import math

import numpy as np

from mvp_jax.outcomes import Dropped
from mvp_jax.raw import channels as raw_channels
from mvp_jax.raw import units
from mvp_jax.raw.action_units import on_clock, require_faces
from mvp_jax.raw.audio import RATE, SoundTrack, pack_sound, read_sound
from mvp_jax.raw.frames import MAX_LENGTH_DIFFERENCE, MIN_FACE_SHARE
from mvp_jax.raw.guard import rate_problem
from mvp_jax.raw.on_disk import require_file
from mvp_jax.raw.openface import read_openface
from mvp_jax.raw.signal_files import read_channel, without_gaps
from mvp_jax.raw.sound_quality import GOOD
from mvp_jax.raw.video_times import video_times as times_of

NO_CHANNELS = ('none',)  # where the signals, though there, are not wanted
_MIN_SECONDS = 1.0
_UNIX_TIME = 1e8  # an onset beyond it is a time of day


def channels_in_use(manifest, wanted):
  """The channels to prepare: `wanted`, or with () all that any row names."""
  if tuple(wanted) == NO_CHANNELS:
    return ()
  return tuple(wanted) or manifest.channels


@dataclasses.dataclass
class Examined:
  """What a row comes to.

  Attributes:
    problems: list of Dropped, of all that keeps it from being a trial.
    rates: {channel, or 'video': Hz} of what could be read.
    notes: list of (column, remark) on what costs no trial.
    found: list of (channel, what was found out of its file).
    seconds: of the trial, if they are known.
    arrays: as `prepare_signals` returns them; None if there are problems.
  """

  problems: list = dataclasses.field(default_factory=list)
  rates: dict = dataclasses.field(default_factory=dict)
  notes: list = dataclasses.field(default_factory=list)
  found: list = dataclasses.field(default_factory=list)
  seconds: float | None = None
  arrays: dict | None = None


def prepare_signals(*row):
  """All of a trial but its frames, of what `examine` takes.

  Returns:
    dict: what `channels.prepare` returns, before and before_valid [time, channel] like
    values and valid, units [channel], seconds, and the action
    units as `action_units.on_clock` gives them; and, with sound, what
    `audio.pack_sound` gives.

  Raises:
    Dropped: a file is missing or broken, or what it holds cannot be used.
  """
  found = examine(*row)
  if found.problems:
    raise found.problems[0]
  return found.arrays


def examine(
  recording, channels, settings, clean, video, must_have_units=False, sound=False
):
  """Reads all that a row names but the pictures: Examined.

  Args:
    recording: manifest.Recording.
    channels: names of those to be used.
    settings: RecordingsSettings.
    clean: whether signals are cleaned.
    video: whether the video is used.
    must_have_units: whether it is no trial without action units.
    sound: whether the sound is used.
  """
  row = Examined()

  def attempt(function, *args):
    try:
      return function(*args)
    except Dropped as dropped:
      row.problems.append(dropped)
      return None

  found = {name: attempt(channel_of, recording, name) for name in channels}
  for name, channel in found.items():
    if channel is not None:
      row.rates[name] = channel.rate
      row.found += [(name, note) for note in channel.notes]
  shown, action_units = None, None
  if video:
    shown = attempt(video_times, recording)
    if shown is not None:
      row.rates['video'] = (len(shown.times) - 1) / (shown.times[-1] - shown.times[0])
      row.notes += [('video', f'{recording.video}: {note}') for note in shown.notes]
  elif recording.openface and recording.video:
    with contextlib.suppress(Dropped):  # OpenFace could read it
      shown = video_times(recording)
  if recording.openface or must_have_units:
    action_units = attempt(units_of, recording, shown)
  if row.problems:
    return row
  seen = action_units is not None and (must_have_units or not found)
  heard = None
  if sound and not (found or video or seen):  # it alone says how long the trial is
    heard = attempt(sound_of, recording, recording.duration)
    row.seconds = heard and heard['count'] / RATE
  else:
    row.seconds = attempt(
      trial_seconds,
      recording,
      found,
      shown.times if video else action_units.times if seen else None,
      'video' if video else 'openface',
    )
  if row.problems:
    return row
  if sound and heard is None:
    heard = attempt(sound_of, recording, row.seconds)
  judged = attempt(judge, recording, found, row.seconds)
  trial_units = on_clock(
    action_units, recording.video_onset, row.seconds, settings.baseline_seconds
  )
  if must_have_units:
    attempt(_require_units, recording, trial_units)
  if row.problems:
    return row
  for name, one in judged.items():
    if text := problem_of(recording, name, one):
      row.notes.append((name, f'{text}; it is masked in this trial'))
    elif one.note:
      row.notes.append((name, f'{recording.channels[name].file}: {one.note}'))
  if heard is not None:
    told = heard['facts']['notes'], heard['facts']['flags'].removeprefix(GOOD)
    if any(told):
      text = f'{recording.audio or recording.video}: {"; ".join(filter(None, told))}'
      row.notes.append(('audio', text))
  row.arrays = {
    **(pack_sound(heard) if heard is not None else {}),
    **_stored(recording, found, judged, row.seconds, settings, clean),
    'seconds': np.array(row.seconds),
    'units': np.array([channel.unit for channel in found.values()], np.str_),
    'notes': np.array(['; '.join(x.notes) for x in found.values()], np.str_),
    **trial_units,
  }
  return row


def _require_units(recording, trial_units):
  with _at(recording, 'openface'):
    require_faces(recording.openface, trial_units)


def of_trial(recording, times, seconds, before=0.0):
  """The trial's part (slice) of a video whose frames have these times, as stored.

  From `before` seconds before the onset on.
  """
  times = times - np.float32(recording.video_onset)
  return slice(*np.searchsorted(times, (-before - 1e-3, seconds)).tolist())


def require_face(recording, valid):
  """Raises Dropped, no_face, if hardly any of the trial's frames shows a face.

  `valid` bool [frames], whether one does.
  """
  share = valid.mean() if len(valid) else 0.0
  if share < MIN_FACE_SHARE:
    with _at(recording, 'video'):
      raise Dropped(
        'no_face',
        f"{recording.video}: a face in {share:.1%} of the trial's frames",
      )


def of_row(recording, dropped):
  """A Dropped that tells of a row's video, where it was said of the file alone."""
  return Dropped(dropped.code, f'row {recording.row}, column video: {dropped.reason}')


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
  begins = {name: onset(recording, channel) for name, channel in found.items()}
  whole = raw_channels.at_rate(
    found, begins, judged, seconds, settings.baseline_seconds, rate, clean
  )
  return _parted(whole, before)


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
      channel.begin - MAX_LENGTH_DIFFERENCE <= begin < channel.end - _MIN_SECONDS
    ):
      raise Dropped(
        'length_mismatch',
        f'{source.file}: signals_onset {begin:g} does not '
        f'lie in it, from {channel.begin:g} to {channel.end:g} ({where})',
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
    return channel.begin if recording.time else 0.0
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
    require_file(path, 'video')
    found = times_of(path)
    left = found.seconds - recording.video_onset
    if left < _MIN_SECONDS:
      told = f'video_onset {recording.video_onset:g} lies after its end, '
      if not recording.video_onset:
        told = f'a trial lasts at least {_MIN_SECONDS:g} s, this video '
      raise Dropped('length_mismatch', f'{path}: {told}{found.seconds:.1f} s')
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


def sound_of(recording, seconds=None):
  """The sound of a trial, as `raw.audio.read_sound` gives it.

  `seconds`: its length; None = to the end of the sound. Raises Dropped.
  """
  with _at(recording, 'audio'):
    path = recording.audio or recording.video
    if path is None:
      raise Dropped(
        'missing_audio',
        'blank, as is video, while sound is to be used; name the file, or leave it out',
      )
    own = recording.audio_onset is None and path == recording.video
    onset = recording.video_onset if own else recording.audio_onset or 0.0
    return read_sound(SoundTrack(path, onset, seconds))


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
    step = (frame_times[-1] - frame_times[0]) / max(1, len(frame_times) - 1)
    ends[shown] = frame_times[-1] + step - recording.video_onset
  if not ends:
    raise Dropped(
      'missing_signals',
      f'row {recording.row}, column signals: no channel and no video is to be used',
    )
  first, last = min(ends, key=ends.get), max(ends, key=ends.get)
  if ends[first] < _MIN_SECONDS:
    raise Dropped(
      'length_mismatch',
      f'row {recording.row}, column {first}: it ends {ends[first]:.1f} s after the '
      'onset; correct the onset',
    )
  if recording.duration:
    return recording.duration
  if ends[last] - ends[first] > MAX_LENGTH_DIFFERENCE:
    raise Dropped(
      'length_mismatch',
      f'row {recording.row}, column {first}: from the '
      f'onset it goes on for {ends[first]:.1f} s, {last} for '
      f'{ends[last]:.1f}; correct the onsets, or give duration',
    )
  return ends[first]


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
    code = f'missing_{column}'
    if column not in ('video', 'audio', 'openface'):
      code = 'missing_signals'
    raise Dropped(
      code, f'row {recording.row}, column {column}: {error.filename}: {error.strerror}'
    ) from None
