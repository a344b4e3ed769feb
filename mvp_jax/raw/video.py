"""Decodes video in sequence, with the time of every frame.

There is no seeking: on H.264 in AVI it lands on wrong frames.
"""

import dataclasses
import itertools
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

MAX_JUMP_SECONDS = 60.0
_ROUNDING = 1e-6
_JITTER_FRAMES = 2.5  # By how many frames the order of packets may differ.
_REWIND_SECONDS = 1.0
# A title in Latin-1 must not cost a video. PyAV 19 reads such by itself.
_METADATA = {'metadata_errors': 'replace'} if int(av.__version__[:2]) < 19 else {}
_LATE_STEP = 0.1  # Of a frame's time: what a frame gets that comes too late.


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
  `frames` = how many the header promises, `promised` = how many seconds (0 if it
  does not say).
  """

  rate: float
  width: int
  height: int
  pixel_aspect: float
  frames: int
  promised: float = 0.0
  orientation: Orientation = Orientation()


class Video:
  """A video file, to be iterated once: yields (seconds, av.VideoFrame as stored).

  Time zero is the first frame. Times come from the timestamps; frames without
  one follow their predecessor at the file's rate, and time never runs backwards.
  AVI has no presentation times, and those that FFmpeg makes up are wrong where
  the codec reorders frames: there frames are counted, and the order of packets
  only tells where some were dropped. Packets that cannot be decoded are passed
  over and counted. After the iteration `count`, `broken` and `seconds` hold what
  was decoded, what was not, and the length.

  Raises:
    av.FFmpegError: not a video, or it cannot be read on.
    ValueError: there is no picture in the file, its size changes on the way, or
      timestamps jump by more than `MAX_JUMP_SECONDS`.
  """

  def __init__(self, path):
    self.count, self.broken, self.seconds = 0, 0, 0.0
    # Nothing but files: a playlist must not make anyone go to the network.
    self._container = av.open(
      str(Path(path).absolute()), options={'protocol_whitelist': 'file'}, **_METADATA
    )
    try:
      self._counted = self._container.format.name == 'avi'
      self._stream = _picture_stream(self._container)
      self._stream.codec_context.thread_count = 1
      self._frames = self._decode()
      first = next(self._frames, None)
      if first is None:
        raise ValueError('no frame in it can be decoded')
      self._frames = itertools.chain([first], self._frames)
      self.info = _info(self._stream, first)
    except BaseException:
      self._container.close()
      raise

  def __enter__(self):
    return self

  def __exit__(self, exc_type, exc, tb):
    self._container.close()

  def __iter__(self):
    step, size = 1 / self.info.rate, None
    start, last = None, -step
    for frame in self._frames:
      size = size or (frame.width, frame.height)
      if (frame.width, frame.height) != size:
        raise ValueError(
          f'the picture changes from {size[0]}x{size[1]} to '
          f'{frame.width}x{frame.height} pixels'
        )
      stamp = frame.dts if self._counted else frame.pts
      time = last + step
      if stamp is not None:
        stamp = float(stamp * frame.time_base)
        start = stamp if start is None else start
        if self._counted:
          if stamp - start > last and abs(stamp - start - time) >= (
            _JITTER_FRAMES * step
          ):
            time = stamp - start
        elif stamp - start > last:
          time = stamp - start
        elif last - (stamp - start) > _REWIND_SECONDS:
          start = stamp - time  # Another recording follows: its clock begins anew.
        else:
          # A little later than the last, and those to come can catch up.
          time = last + _LATE_STEP * step
      if self.count and time - last > MAX_JUMP_SECONDS:
        raise ValueError(f'its timestamps jump by {time - last:.0f} s')
      last = time
      self.count += 1
      self.seconds = time + step
      yield time, frame

  def _decode(self):
    for packet in self._container.demux(self._stream):
      try:
        frames = packet.decode()
      except av.InvalidDataError:
        self.broken += 1
      else:
        yield from frames


def _picture_stream(container):
  # A cover picture in a sound file, or a thumbnail, is no video.
  still = Disposition.attached_pic | Disposition.timed_thumbnails
  streams = [
    stream for stream in container.streams.video if not stream.disposition & still
  ]
  if not streams:
    raise ValueError('no video stream')
  streams = [stream for stream in streams if stream.codec_context]
  if not streams:
    raise ValueError('a codec that is not known')
  return max(streams, key=lambda stream: stream.width * stream.height)


def _info(stream, frame):
  rate = stream.average_rate or stream.guessed_rate
  if not rate:
    raise ValueError('no frame rate in the video stream')
  orientation = _orientation(frame)
  width, height = frame.width, frame.height
  aspect = float(stream.sample_aspect_ratio or 1)
  if orientation.transposed:
    width, height, aspect = height, width, 1 / aspect
  return VideoInfo(
    rate=float(rate),
    width=width,
    height=height,
    pixel_aspect=aspect,
    frames=stream.frames,
    promised=_promised(stream),
    orientation=orientation,
  )


def _promised(stream):
  if 'mov' in stream.container.format.name and stream.duration:
    return float(stream.duration * stream.time_base)
  # Matroska says it in a tag. What FFmpeg gives for others can be its own guess.
  tag = stream.metadata.get('DURATION', '')
  try:
    hours, minutes, seconds = map(float, tag.split(':'))
  except ValueError:
    return 0.0
  return 3600 * hours + 60 * minutes + seconds


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
  """Picks the frame nearest to each k / rate, in one pass.

  Args:
    frames: iterable of (seconds, frame) in the order of time.
    rate: how many frames a second are wanted.
    seconds: samples at or after this time are not wanted.

  Yields:
    (seconds, frame): the frame picked and its own time. A frame comes twice
    where the video has fewer frames than wanted. The first frame comes always.
  """
  wanted, before, step = 0, None, 1 / rate
  for time, frame in frames:
    if before is not None:
      step = time - before[0]
      while wanted / rate < min(seconds, before[0] + step / 2):
        yield before
        wanted += 1
    before = time, frame
  # The last frame is shown for as long as the one before it was.
  while before and wanted / rate < min(seconds, before[0] + step) - _ROUNDING:
    yield before
    wanted += 1


def luma(frame):
  """The frame in grey, uint8 [height, width], without converting it if possible."""
  if not frame.format.name.startswith(('yuv4', 'yuvj4', 'nv12', 'gray')) or (
    frame.format.components[0].bits != 8
  ):
    frame = frame.reformat(format='gray')
  plane = frame.planes[0]
  rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
  return rows[: frame.height, : frame.width]
