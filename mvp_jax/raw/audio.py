"""From a video or a sound file to mono sound on the clock of the trial.

Every sound is kept at one rate, `RATE`, as 16-bit numbers: what any log-mel asks for is
made of it on the fly, and at 88 kB a second it is little beside the pictures.
"""

import dataclasses
import math
from fractions import Fraction

import av
import numpy as np
from av.audio.resampler import AudioResampler

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.on_disk import require_file, shown
from mvp_jax.raw.sound_quality import FULL, sound_quality
from mvp_jax.raw.video_clock import MAX_JUMP_SECONDS, REWIND_SECONDS
from mvp_jax.raw.video_file import open_media, pictures, require_whole
from mvp_jax.raw.video_times import video_times
from mvp_jax.tasks import load_blobs, load_result
from mvp_jax.tasks.blobs import Blobs

RATE = 44_100  # Hz, the highest that a published network listens to
CHUNK = 1 << 16  # samples in one piece of what is stored, 1.5 s
# Timestamps in milliseconds, or of packets that were sent, jitter: a gap is what is
# longer than a frame of video. Two clocks may drift apart by as much.
GAP_SECONDS = 0.04
_TOLD_SECONDS = 0.5  # By which sound may begin late or end early, unsaid.
_MAX_MISSING = 2.0  # Seconds that a header may promise too much.
_GAPS_TOLD = 5
RATES = 1000, 1_000_000  # Hz that sound is recorded with
# Of the time without sound: times what there is, and always so many seconds.
_MOST_SILENCE, _ALWAYS_SECONDS = 10, 600.0
_MOST = 16.0  # times full scale; what a float says beyond is damage
_FACT = 'fact_'


@dataclasses.dataclass(frozen=True)
class SoundTrack:
  """Which sound of which file, and when its trial is.

  Attributes:
    path: of a video or a sound file.
    onset: of the trial on the file's clock: seconds since its picture begins
      (`video_clock.Clock`) or, without one, since its sound does.
    seconds: of the trial; None: to the end of the sound.
  """

  path: object
  onset: float = 0.0
  seconds: float | None = None


def read_sound(track):
  """Decodes the sound of a trial: any codec, rate and number of channels.

  Channels are averaged, but for those of deep tones alone (LFE). Where the file has no
  sound, by its timestamps, there is none: before it begins, in gaps, after its end.
  Several tracks: the one that players take. It ends with the trial, whatever follows.

  Args:
    track: SoundTrack.

  Returns:
    dict: chunks (Blobs, each int16 little-endian [`CHUNK`], the last one shorter),
    count (samples), recorded int64 [stretches, 2] (first sample, last + 1), facts
    (dict, see `sound_quality.sound_quality`, and what a person should know as `notes`).

  Raises:
    Dropped: missing_audio (no file, no sound track, or nothing in the trial),
      broken_audio, or what is wrong with the picture whose clock it is on.
  """
  path = track.path
  require_file(path, 'audio')
  try:
    with open_media(path) as container:
      stream, notes = _stream(path, container)
      starts = video_times(path).starts if pictures(container) else ()
      length = None if track.seconds is None else round(track.seconds * RATE)
      reader = _Reader(stream, starts, track.onset, length)
      reader.read()
      if not starts and not reader.stopped:
        require_whole(path, reader.end_byte)
  except (av.FFmpegError, ValueError) as error:
    raise Dropped(
      'broken_audio', f'{shown(path)}: its sound cannot be decoded ({error})'
    ) from None
  out = reader.out
  if not reader.decoded and not reader.broken:
    raise Dropped(
      'missing_audio',
      f'{shown(path)}: its sound track is empty; name the file that has the sound',
    )
  if not reader.decoded:
    raise Dropped(
      'broken_audio',
      f'{shown(path)}: all {reader.broken} packets of its sound are damaged',
    )
  if not out.recorded:
    raise Dropped(
      'missing_audio',
      f'{shown(path)}: no sound in the trial: it is recorded from '
      f'{reader.began - track.onset:.1f} to {reader.seconds - track.onset:.1f} s '
      'after the onset; correct the onsets, or name a file that has it',
    )
  if reader.missing > _MAX_MISSING:
    raise Dropped(
      'broken_audio',
      f'{shown(path)}: truncated? Its sound ends {reader.missing:.1f} s before its '
      'header says; if it is whole, write it anew so that its header tells the truth '
      '(ffmpeg -i IN -c copy OUT)',
    )
  try:
    out.finish()
  except ValueError as error:
    raise Dropped('broken_audio', f'{shown(path)}: {error}') from None
  recorded = np.array(out.recorded, np.int64)
  return {
    'chunks': out.chunks,
    'count': out.end,
    'recorded': recorded,
    'facts': {
      **sound_quality(out.chunks, out.end, recorded, RATE, reader.clipped),
      'notes': '; '.join(notes + reader.notes),
    },
  }


def _stream(path, container):
  """The sound stream of a container, and what to say of the choice."""
  streams = container.streams.audio
  if not streams:
    raise Dropped(
      'missing_audio',
      f'{shown(path)}: no sound track in it; name the file that has the sound',
    )
  stream = container.streams.best('audio')
  if stream is None or not stream.codec_context:
    raise ValueError('a codec that is not known')
  if len(streams) == 1:
    return stream, []
  place = streams.index(stream) + 1
  return stream, [f'track {place} of {len(streams)} is used']


class _Reader:
  """Decodes a sound stream and puts it where its timestamps say.

  Attributes:
    out: _Samples of the trial.
    decoded, broken: frames and packets, those that could be decoded and not.
    began, seconds: when the sound begins and ends on the file's clock, in seconds.
    missing: seconds that the header promises beyond the end.
    clipped: share of the samples of the trial at full scale.
    stopped: whether there was more than was wanted.
    end_byte: where the last packet ends in the file.
  """

  def __init__(self, stream, starts, onset, length):
    self.out = _Samples(length)
    self.decoded, self.broken, self.stopped, self.end_byte = 0, 0, False, 0
    self.began, self.seconds, self.missing = math.nan, 0.0, 0.0
    self._stream, self._onset = stream, onset
    self._starts, self._part = list(starts), 0
    self._brought, self._kind = (
      None,
      None,
    )  # ToRate, and the rate that it is brought from
    self._next = None  # the timestamp that goes on without a gap, seconds
    self._place = 0  # of the next sample that the resampler gives
    self._loud, self._heard = 0, 0

  @property
  def clipped(self):
    return self._loud / max(1, self._heard)

  @property
  def notes(self):
    notes = []
    late = self.out.recorded[0][0] / RATE
    if late > _TOLD_SECONDS:
      notes.append(f'its sound begins {late:.1f} s after the trial')
    gaps = [
      (before[1], after[0])
      for before, after in zip(self.out.recorded, self.out.recorded[1:], strict=False)
    ]
    if gaps:
      told = ', '.join(
        f'{(end - begin) / RATE:.2f} s at {begin / RATE:.1f}'
        for begin, end in gaps[:_GAPS_TOLD]
      )
      more = f' and {len(gaps) - _GAPS_TOLD} more' if len(gaps) > _GAPS_TOLD else ''
      notes.append(f'gaps in its sound: {told}{more}')
    if self.out.length is not None:
      early = (self.out.length - self.out.recorded[-1][1]) / RATE
      if early > _TOLD_SECONDS:
        notes.append(f'its sound ends {early:.1f} s before the trial')
    if self.broken:
      notes.append(f'{self.broken} packets of its sound are damaged')
    if self.missing > _TOLD_SECONDS:
      notes.append(f'its sound ends {self.missing:.1f} s before its header says')
    return notes

  def read(self):
    """Reads to the end of the trial or of the file."""
    for packet in self._stream.container.demux(self._stream):
      if packet.size and packet.pos is not None:
        self.end_byte = max(self.end_byte, packet.pos + packet.size)
      try:
        frames = packet.decode()
      except av.InvalidDataError:
        self.broken += 1
        continue
      for frame in frames:
        self._take(frame)
      if self.out.full:
        self.stopped = True
        break
    self._flush()
    if not self.stopped:
      promised = _promised(self._stream)
      self.missing = max(0.0, promised - (self._next or 0.0)) if promised else 0.0

  def _take(self, frame):
    if not frame.samples:
      return
    stamp = None if frame.pts is None else float(frame.pts * frame.time_base)
    kind = frame.sample_rate
    if not RATES[0] <= kind <= RATES[1]:
      raise ValueError(f'{kind} samples a second, as no sound has')
    if not self.decoded:
      stamp = stamp or 0.0
      if not self._starts:  # no picture: the sound's own beginning
        self._starts = [stamp]
      self._begin(stamp, kind)
      self.began = self._now
    elif stamp is not None and stamp < self._next - REWIND_SECONDS:
      self._flush()
      self._part += 1  # another recording, joined on
      self._begin(stamp, kind)
    elif stamp is not None and abs(stamp - self._next) > GAP_SECONDS:
      self._flush()
      if self.out.length is None and stamp - self._next > MAX_JUMP_SECONDS:
        raise ValueError(f'its timestamps jump by {stamp - self._next:.0f} s')
      self._begin(stamp, kind)
    elif kind != self._kind:
      self._flush()
      self._begin(self._next, kind)
    self.decoded += 1
    samples = _floats(frame)
    seconds = samples.shape[1] / frame.sample_rate
    if -seconds < self._now - self._onset < (self.out.length or math.inf) / RATE:
      self._loud += int((np.abs(samples).max(0) >= FULL).sum())
      self._heard += samples.shape[1]
    self._next += seconds
    self._now += seconds
    self.seconds = self._now
    self._put(self._brought.add(_mono(samples, frame.layout)))

  def _begin(self, stamp, kind):
    """A stretch without gaps begins at a timestamp."""
    if self._part < len(self._starts):
      self._now = stamp - self._starts[self._part]
    else:  # of another recording that has no picture
      self._starts.append(stamp - self._now)
    self._next, self._kind = stamp, kind
    self._place = round((self._now - self._onset) * RATE)
    self._brought = ToRate(kind)

  def _flush(self):
    if self._brought is not None:
      self._put(self._brought.end())
      self._brought = None

  def _put(self, mono):
    self.out.put(self._place, mono)
    self._place += len(mono)


class ToRate:
  """Brings mono sound of one rate to `RATE`, piece by piece, without a seam."""

  def __init__(self, rate):
    self._rate = rate
    self._resampler = AudioResampler('flt', 'mono', RATE) if rate != RATE else None

  def add(self, mono):
    """Takes float32 [n], gives what is ready, float32 [m]."""
    if self._resampler is None:
      return mono
    frame = av.AudioFrame.from_ndarray(mono[None], 'fltp', 'mono')
    frame.sample_rate = self._rate
    return self._joined(self._resampler.resample(frame))

  def end(self):
    """What is left when nothing follows."""
    return self._joined(
      [] if self._resampler is None else self._resampler.resample(None)
    )

  def _joined(self, frames):
    found = [frame.to_ndarray()[0] for frame in frames]
    return np.concatenate([np.zeros(0, np.float32), *found])


class _Samples:
  """Takes sound in the order of time, and keeps what lies in the trial.

  Attributes:
    length: samples of the trial, or None.
    end: samples so far.
    recorded: list of [first, last + 1].
    chunks: Blobs; whole after `finish`.
  """

  def __init__(self, length):
    self.length, self.end, self.recorded, self.chunks = length, 0, [], Blobs()
    self._waiting, self._size, self._silent = [], 0, 0

  @property
  def full(self):
    return self.length is not None and self.end >= self.length

  def put(self, place, samples):
    """Sound that begins at sample `place` of the trial; what is past is left out."""
    samples = samples[max(0, self.end - place) :]
    place = max(place, self.end)
    if self.length is not None:
      samples = samples[: max(0, self.length - place)]
    if not len(samples):
      return
    if self.recorded and self.recorded[-1][1] == place:
      self.recorded[-1][1] += len(samples)
    else:
      self.recorded.append([place, place + len(samples)])
    self._silence(place)
    self._write(samples)

  def finish(self):
    """Fills up the trial and writes what waits."""
    if self.length is not None:
      self._silence(self.length)
    self._cut(1)

  def _silence(self, end):
    self._silent += max(0, end - self.end)
    heard = max(self.end, end) - self._silent
    if self._silent > max(_MOST_SILENCE * heard, _ALWAYS_SECONDS * RATE):
      raise ValueError(
        f'it has {heard / RATE:.0f} s of sound in a trial of over '
        f'{max(self.end, end) / RATE:.0f} s; correct the duration, or the onset'
      )
    while self.end < end:
      self._write(np.zeros(min(CHUNK, end - self.end), np.float32))

  def _write(self, samples):
    whole = as_stored(samples)
    self._waiting.append(whole)
    self._size += len(whole)
    self.end += len(whole)
    self._cut(CHUNK)

  def _cut(self, least):
    if self._size < least:
      return
    joined = np.concatenate(self._waiting)
    for first in range(0, len(joined), CHUNK):
      part = joined[first : first + CHUNK]
      if len(part) < min(least, CHUNK):
        break
      self.chunks.append(part.tobytes())
    else:
      first += CHUNK
    rest = joined[first:]
    self._waiting, self._size = [rest], len(rest)


def as_stored(samples):
  """Sound as it is kept: int16 of float [n], full scale 1."""
  return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype('<i2')


def _floats(frame):
  """The samples of a frame, float32 [channels, time], full scale 1."""
  x = frame.to_ndarray()
  if not frame.format.is_planar:
    x = x.reshape(-1, frame.layout.nb_channels).T
  if x.dtype.kind == 'u':
    x = (x.astype(np.float32) - 128) / 128
  elif x.dtype.kind == 'i':
    x = x / np.float32(2.0 ** (8 * x.dtype.itemsize - 1))
  return np.clip(np.nan_to_num(x.astype(np.float32)), -_MOST, _MOST)


def _mono(samples, layout):
  """The mean of all channels but those of deep tones alone."""
  kept = [i for i, channel in enumerate(layout.channels) if 'LFE' not in channel.name]
  if kept and len(kept) < len(samples):
    samples = samples[kept]
  return np.ascontiguousarray(samples.mean(0, dtype=np.float32))


def _promised(stream):
  """When the header says that the sound ends, a timestamp in seconds, or 0."""
  # What FFmpeg gives for others can be its own guess.
  name = stream.container.format.name
  if stream.duration and ('mov' in name or name == 'flac'):
    begin = (stream.start_time or 0) + stream.duration
    return float(begin * Fraction(stream.time_base))
  return 0.0


def pack_sound(found):
  """What `read_sound` gives, as arrays for a file of `tasks.run_tasks`."""
  return {
    'blob': found['chunks'],
    'ends': found['chunks'].ends,
    'count': np.array(found['count']),
    'recorded': found['recorded'],
    **{_FACT + name: np.array(value) for name, value in found['facts'].items()},
  }


def sound_facts(directory, name, stream='audio'):
  """What an account says of the sound in the result `name`: dict, without the sound."""
  with load_result(directory, name) as arrays:
    return {
      f'{stream}_{key.removeprefix(_FACT)}': arrays[key].item()
      for key in arrays
      if key.startswith(_FACT)
    }


def load_sound(directory, name):
  """The sound that `pack_sound` put into the result `name`, without facts."""
  with load_result(directory, name) as arrays:
    found = {key: arrays[key] for key in ('count', 'recorded')}
    ends = arrays['ends']
  return {'chunks': load_blobs(directory, name, 'blob', ends), **found}
