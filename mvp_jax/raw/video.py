"""Decodes video in sequence, with the time of every frame.

There is no seeking: on H.264 in AVI it lands on wrong frames.
"""

import dataclasses

import av
import numpy as np

_ROUNDING = 1e-6
_JITTER_FRAMES = 2.5  # By how many frames the order of packets may differ.


@dataclasses.dataclass(frozen=True)
class VideoInfo:
  """What a video file says of itself.

  `rate` in frames per second, `width` and `height` in stored pixels,
  `pixel_aspect` = width / height of one pixel as shown, `frames` = how many the
  header promises (0 if it does not say).
  """

  rate: float
  width: int
  height: int
  pixel_aspect: float
  frames: int


class Video:
  """A video file, to be iterated once: yields (seconds, av.VideoFrame).

  Time zero is the first frame. Times come from the timestamps; frames without
  one, or that would run backwards, follow their predecessor at the file's rate.
  AVI has no presentation times, and those that FFmpeg makes up are wrong where
  the codec reorders frames: there frames are counted, and the order of packets
  only tells where some were dropped. After the iteration `count` and `seconds`
  hold what was decoded.

  Raises:
    av.FFmpegError: not a video, or a packet that cannot be decoded.
    ValueError: there is no video in the file.
  """

  def __init__(self, path):
    self._container = av.open(str(path))
    try:
      if not self._container.streams.video:
        raise ValueError('no video stream')
      self._stream = self._container.streams.video[0]
      self._stream.codec_context.thread_count = 1
      self.info = _info(self._stream)
    except BaseException:
      self._container.close()
      raise
    self.count, self.seconds = 0, 0.0

  def __enter__(self):
    return self

  def __exit__(self, exc_type, exc, tb):
    self._container.close()

  def __iter__(self):
    step = 1 / self.info.rate
    counted = self._container.format.name == 'avi'
    start, last = None, -step
    for frame in self._container.decode(self._stream):
      stamp = frame.dts if counted else frame.pts
      time = last + step
      if stamp is not None:
        stamp = float(stamp * frame.time_base)
        start = stamp if start is None else start
        if stamp - start > last and not (
            counted and abs(stamp - start - time) < _JITTER_FRAMES * step):
          time = stamp - start
      last = time
      self.count += 1
      self.seconds = time + step
      yield time, frame


def _info(stream):
  rate = stream.average_rate or stream.guessed_rate
  if not rate or not stream.width or not stream.height:
    raise ValueError('no frame rate or size in the video stream')
  aspect = stream.sample_aspect_ratio
  return VideoInfo(rate=float(rate), width=stream.width, height=stream.height,
                   pixel_aspect=float(aspect) if aspect else 1.0,
                   frames=stream.frames)


def sample(frames, rate, seconds):
  """Picks the frame nearest to each k / rate, in one pass.

  Args:
    frames: iterable of (seconds, frame) in the order of time.
    rate: how many frames a second are wanted.
    seconds: samples at or after this time are not wanted.

  Yields:
    (seconds, frame): the frame picked and its own time. A frame comes twice
    where the video has fewer frames than wanted.
  """
  wanted, before, step = 0, None, 0.0
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
      frame.format.components[0].bits != 8):
    frame = frame.reformat(format='gray')
  plane = frame.planes[0]
  rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
  return rows[:frame.height, :frame.width]
