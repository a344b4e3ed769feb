"""Decodes video in sequence, with the time of every frame.

There is no seeking: on H.264 in AVI it lands on wrong frames.
"""

import dataclasses
import itertools
import math

import av
import numpy as np

from mvp_jax.raw.deinterlace import deinterlaced
from mvp_jax.raw.video_clock import Clock
from mvp_jax.raw.video_file import open_video, require_whole
from mvp_jax.raw.video_promises import missing_share, promised_seconds

_ROUNDING = 1e-6
_LOOK_AHEAD = 32  # Packets that tell the rate.
_TOLD_SECONDS = 0.5  # By which a video may be shorter than its header says, unsaid.


@dataclasses.dataclass(frozen=True)
class Orientation:
  """How stored pixels become the picture as shown: first transposed, then flipped."""

  transposed: bool = False
  flip_x: bool = False
  flip_y: bool = False

  def upright(self, image):
    """The picture as shown; an array of [height, width, ...], contiguous."""
    if self.transposed:
      image = image.swapaxes(0, 1)
    return np.ascontiguousarray(
      image[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
    )


@dataclasses.dataclass(frozen=True)
class VideoInfo:
  """What a video is, by its first frame and its header.

  `rate` in frames per second. `width` and `height` of the upright picture in
  stored pixels, `pixel_aspect` = width / height of one of them as shown upright.
  `frames` = how many the header promises, `promised` = when they end on the file's own
  clock, in seconds (0 if it does not say).
  """

  rate: float
  width: int
  height: int
  pixel_aspect: float
  frames: int
  promised: float = 0.0
  orientation: Orientation = Orientation()


class Video:
  """A video file, to be read once, decoded or not.

  To iterate it yields (seconds, av.VideoFrame as stored, but deinterlaced), on the
  clock of `video_clock.Clock`. Packets that cannot be decoded are passed over and
  counted. After the iteration `count`, `broken` and `seconds` hold what was decoded,
  what was not, and when it ends. `packet_times` gives the same times without
  decoding.

  Raises:
    av.FFmpegError: not a video, or it cannot be read on.
    ValueError: there is no picture in the file, its size changes on the way, it has
      no rate or jumps in time, or another video follows it in the file.
  """

  def __init__(self, path):
    self.count, self.broken, self.seconds = 0, 0, 0.0
    self._path = path
    self._missing_share = missing_share(path)
    self._container, self._stream, others = open_video(path)
    self._choice = [
      f'it has {others + 1} videos side by side; that of {self._stream.width}x'
      f'{self._stream.height} pixels is read (a file of another: ffmpeg -i IN '
      '-map 0:v:NUMBER -c copy OUT)'
    ] * bool(others)
    try:
      self._stream.codec_context.thread_count = 1
      packets = self._container.demux(self._stream)
      first_packets = list(itertools.islice(packets, _LOOK_AHEAD))
      self.clock = Clock(self._stream, first_packets)
      self._packets = self._read(itertools.chain(first_packets, packets))
      self._frames = self._decode()
      first = next(self._frames, None)
      if first is None:
        raise ValueError('no frame in it can be decoded')
      self.clock.begin(first)
      self._frames = itertools.chain([first], self._frames)
      self.info = _info(self._stream, first, self.clock.rate)
      self._interlaced = first.interlaced_frame
    except BaseException:
      self._container.close()
      raise

  def __enter__(self):
    return self

  def __exit__(self, exc_type, exc, tb):
    self._container.close()

  @property
  def missing(self):
    """How many seconds fewer were read than the header promises; 0 if it does not.

    By the bytes that it promises where it tells no time.
    """
    # Trimming leaves frames in a file that are not to be shown, recorders drop some:
    # then its duration says so, hence both must speak.
    promises = []
    if self.info.frames:
      promises.append((self.info.frames - self.count - self.broken) / self.info.rate)
    if self.info.promised:
      promises.append(self.info.promised - self.clock.starts[0] - self.seconds)
    return max(0.0, min(promises, default=self._missing_share * self.seconds))

  @property
  def notes(self):
    """What a person should know of the video once it was read, a list of texts."""
    notes = ['interlaced, made into whole pictures (bwdif)'] * self._interlaced
    if self.missing > _TOLD_SECONDS:
      notes.append(f'it ends {self.missing:.1f} s before its header says')
    return notes + self._choice + self.clock.notes

  def __iter__(self):
    return deinterlaced(self.timed())

  def packet_times(self):
    """When each frame is shown, by the packets that follow the first: [frames].

    Sets `count` and `seconds`, as if all of them could be decoded.
    """
    times = self.clock.of_packets(self._packets)
    self.count, self.seconds = len(times), float(times[-1]) + 1 / self.info.rate
    return times

  def timed(self):
    """Yields (seconds, av.VideoFrame as stored), interlaced or not."""
    size = None
    for frame in self._frames:
      size = size or (frame.width, frame.height)
      if (frame.width, frame.height) != size:
        raise ValueError(
          f'the picture changes from {size[0]}x{size[1]} to '
          f'{frame.width}x{frame.height} pixels'
        )
      time = self.clock.of_frame(frame)
      self._interlaced = self._interlaced or frame.interlaced_frame
      self.count += 1
      self.seconds = time + 1 / self.info.rate
      yield time, frame

  def _read(self, packets):
    end = 0
    for packet in packets:
      if not packet.size and packet.dts is not None:
        continue  # The frame before it goes on; decoders take it for the end.
      if packet.size and packet.pos is not None and not packet.is_discard:
        end = max(end, packet.pos + packet.size)
      yield packet
    require_whole(self._path, end)

  def _decode(self):
    for packet in self._packets:
      try:
        frames = packet.decode()
      except av.InvalidDataError:
        self.broken += 1
        self.clock.miss(packet)
        continue
      self.clock.feed(packet)
      for frame in frames:
        if not packet.size:
          self.clock.flush()
        yield frame


def _info(stream, frame, rate):
  return dataclasses.replace(
    info_of(frame, float(stream.sample_aspect_ratio or 1), rate),
    frames=stream.frames,
    promised=promised_seconds(stream),
  )


def info_of(frame, pixel_aspect=1.0, rate=0.0):
  """The VideoInfo that a first frame (av.VideoFrame as stored) tells.

  `pixel_aspect` is width / height of a stored pixel.
  """
  orientation = _orientation(frame)
  width, height = frame.width, frame.height
  if orientation.transposed:
    width, height, pixel_aspect = height, width, 1 / pixel_aspect
  return VideoInfo(rate, width, height, pixel_aspect, 0, orientation=orientation)


def _orientation(frame):
  """From the display matrix: x' = a x + c y, y' = b x + d y."""
  matrix = frame.side_data.get('DISPLAYMATRIX')
  if matrix is None:
    return Orientation()
  a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
  if abs(b) + abs(c) > abs(a) + abs(d):
    return Orientation(True, c < 0, b < 0)
  return Orientation(False, a < 0, d < 0)


def sample(frames, rate, seconds):
  """Picks the frame nearest to each k / rate, in one pass: see `Sampler`.

  `frames` is an iterable of (seconds, frame) in the order of time.
  """
  sampler = Sampler(rate, seconds)
  for time, frame in frames:
    yield from sampler.add(time, frame)
  yield from sampler.end()


class Sampler:
  """Picks the frame nearest to each k / rate from frames that come one by one.

  What is picked is (seconds, frame), the frame and its own time. A frame comes twice
  where there are fewer than wanted. There is none of the time before the first frame.

  Args:
    rate: how many frames a second are wanted.
    seconds: samples at or after this time are not wanted.
    before: samples up to so many seconds before time zero are wanted, too.

  Attributes:
    early: how many of those that were picked are of the time before zero.
  """

  def __init__(self, rate, seconds=math.inf, before=0.0):
    self._rate, self._seconds, self.early = rate, seconds, 0
    self._first = -math.floor(before * rate + _ROUNDING)
    self._wanted, self._before, self._step = self._first, None, 1 / rate

  def add(self, time, frame):
    """Takes the next frame; yields what is picked of the one before it."""
    before, self._before = self._before, (time, frame)
    if before is None:
      self._wanted = max(self._first, math.ceil(time * self._rate - 0.5))
      return
    self._step = time - before[0]
    while self._wanted / self._rate < min(self._seconds, before[0] + self._step / 2):
      self._take()
      yield before

  def end(self):
    """Yields what is picked of the last frame, shown for as long as the one before."""
    before = self._before
    while before and self._wanted / self._rate < (
      min(self._seconds, before[0] + self._step) - _ROUNDING
    ):
      self._take()
      yield before

  def _take(self):
    self.early += self._wanted < 0
    self._wanted += 1


def luma(frame):
  """The frame in grey, uint8 [height, width], without converting it if possible."""
  if not frame.format.name.startswith(('yuv4', 'yuvj4', 'nv12', 'gray')) or (
    frame.format.components[0].bits != 8
  ):
    frame = frame.reformat(format='gray')
  plane = frame.planes[0]
  rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
  return rows[: frame.height, : frame.width]
