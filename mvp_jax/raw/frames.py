"""From a video file to face crops, or whole frames, at a steady rate, as JPEG."""

import collections
import contextlib
import dataclasses
import math

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from mvp_jax.raw import face
from mvp_jax.raw.losses import Loss
from mvp_jax.raw.prepare import load_result
from mvp_jax.raw.video import Video, luma, sample

JPEG_QUALITY = 95
MAX_LENGTH_DIFFERENCE = 2.0  # Seconds, between video and signals.
MIN_FACE_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class FrameSpec:
  """What to store: `rate` frames per second, `size` pixels square, `crop` X or Y.

  `region` is the part of the picture that belongs to the person: its left and right
  edge as shares of the width.
  """

  rate: float
  size: int
  crop: str
  region: tuple[float, float] = (0.0, 1.0)


def face_frames(path, spec, seconds, onset=0.0):
  """Decodes a video, follows the face and cuts it out at a steady rate.

  One pass; beside the JPEGs only a second and a half of frames is in memory.

  Args:
    path: the video file.
    spec: FrameSpec.
    seconds: length of the trial's signals; later frames are dropped.
    onset: of the trial, in seconds since the first frame; what comes before is
      only looked at for the face.

  Returns:
    dict: jpegs (list of bytes), times float32 [time] in seconds since the onset,
    valid bool [time], boxes float32 [time, 3] (centre x, centre y and side of the
    crop, in stored pixels; its width is side / pixel_aspect columns), info
    (VideoInfo).

  Raises:
    Loss: missing_video, broken_video, length_mismatch or no_face.
  """
  with _decoding(path) as video:
    cutter = _Cutter(video.info, spec)
    watched = _watched(video, cutter, onset)
    for time, frame in sample(watched, spec.rate, seconds):
      cutter.add(time, frame)
    cutter.flush()
  length = video.seconds - onset
  if abs(length - seconds) > MAX_LENGTH_DIFFERENCE:
    raise Loss('length_mismatch', f'{path}: {length:.1f} s of video, {seconds:.1f} '
               's of signals')
  share = np.mean(cutter.valid)
  if share < MIN_FACE_SHARE:
    raise Loss('no_face', f'{path}: a face in {share:.1%} of the frames')
  return {
    'jpegs': cutter.jpegs,
    'times': np.array(cutter.times, np.float32),
    'valid': np.array(cutter.valid, bool),
    'boxes': np.array(cutter.boxes, np.float32),
    'info': video.info,
  }


def whole_frames(path, rate, short_side, least=1):
  """Decodes a video and resizes its whole frames as they are to be shown.

  Pixels become square, and what the file says of rotation is done.

  Args:
    path: the video file.
    rate: frames per second; a frame comes twice where the video has fewer.
    short_side: of the stored frames, pixels; all of a video have one size.
    least: frames there must be at least.

  Returns:
    dict: jpegs (list of bytes), times float32 [time] in seconds since the first
    frame, size int [2] = height, width of the stored frames, info (VideoInfo).

  Raises:
    Loss: missing_video, broken_video or too_short.
  """
  jpegs, times, before = [], [], None
  with _decoding(path) as video:
    resizer = _Resizer(video.info, short_side)
    for time, frame in sample(video, rate, math.inf):
      jpegs.append(jpegs[-1] if frame is before else _jpeg(resizer(frame)))
      times.append(time)
      before = frame
  if len(jpegs) < least:
    raise Loss('too_short', f'{path}: {len(jpegs)} frames at {rate:g} a second, '
               f'fewer than min_frames={least}')
  return {'jpegs': jpegs, 'times': np.array(times, np.float32),
          'size': np.array(resizer.size), 'info': video.info}


class _Resizer:
  """Turns and resizes whole frames; `size` is (height, width) after the first."""

  def __init__(self, info, short_side):
    width = info.width * info.pixel_aspect
    scale = short_side / min(width, info.height)
    self._width, self._height = round(width * scale), round(info.height * scale)
    self._turns = None  # quarters of a turn to the left
    self._reformatter = VideoReformatter()

  def __call__(self, frame):
    if self._turns is None:
      self._turns = round(frame.rotation / 90) % 4
    image = self._reformatter.reformat(
      frame, width=self._width, height=self._height, format='bgr24',
      interpolation='AREA', threads=1).to_ndarray()
    return np.ascontiguousarray(np.rot90(image, self._turns))

  @property
  def size(self):
    size = self._height, self._width
    return size if self._turns % 2 == 0 else size[::-1]


@contextlib.contextmanager
def _decoding(path):
  """Opens a video to be decoded to its end within the context.

  Raises:
    Loss: it is not there, fails to decode, or ends before its header says.
  """
  if not path.exists():
    raise Loss('missing_video', f'{path}: no such file')
  seconds = 0.0
  try:
    with Video(path) as video:
      try:
        yield video
      finally:
        seconds = video.seconds
  except (av.FFmpegError, ValueError) as error:
    raise Loss('broken_video', f'{path}: decoding fails after {seconds:.1f} s '
               f'({error})') from None
  if not video.count:
    raise Loss('broken_video', f'{path}: it holds no frame')
  missing = (video.info.frames - video.count) / video.info.rate
  if missing > MAX_LENGTH_DIFFERENCE:
    raise Loss('broken_video', f'{path}: truncated? It holds {video.count} of '
               f'{video.info.frames} frames')


def _watched(video, cutter, onset):
  due = -onset
  for time, frame in video:
    time -= onset
    if time >= due:
      cutter.tracker.detect(time, luma(frame)[:, cutter.columns])
      due = max(due, time) + 1 / face.DETECTIONS_PER_SECOND
    yield time, frame


class _Cutter:
  """Holds frames back until the tracker has looked ahead, then cuts them."""

  def __init__(self, info, spec):
    self.jpegs, self.times, self.valid, self.boxes = [], [], [], []
    self.tracker = face.FaceTracker(info.pixel_aspect)
    self._info, self._spec = info, spec
    self.columns = slice(*(round(edge * info.width) for edge in spec.region))
    self._waiting = collections.deque()
    self._reformatter = VideoReformatter()
    # Until a face is found, the largest square in the middle.
    width = (self.columns.stop - self.columns.start) * info.pixel_aspect
    scale = face.CROP_SCALES[spec.crop]
    self._box = width / 2, info.height / 2, min(width, info.height) / scale

  def add(self, time, frame):
    self._waiting.append((time, frame))
    while self._waiting[0][0] + face.LOOKAHEAD_SECONDS <= time:
      self._cut(*self._waiting.popleft())

  def flush(self):
    while self._waiting:
      self._cut(*self._waiting.popleft())

  def _cut(self, time, frame):
    box, valid = self.tracker.box(time)
    self._box = box or self._box
    aspect = self._info.pixel_aspect
    x, y, side = self._box
    x, side = x / aspect, side * face.CROP_SCALES[self._spec.crop]
    image = self._colours(frame)[:, self.columns]
    # Boxes are measured from the picture's edge, crop() from a pixel's middle.
    image = face.crop(image, x - 0.5, y - 0.5, side, aspect, self._spec.size)
    self.jpegs.append(_jpeg(image))
    self.times.append(time)
    self.valid.append(valid)
    self.boxes.append((self.columns.start + x, y, side))

  def _colours(self, frame):
    return self._reformatter.reformat(frame, format='bgr24', threads=1).to_ndarray()


def _jpeg(image):
  _, jpeg = cv2.imencode('.jpg', image, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
  return jpeg.tobytes()


def pack_frames(found):
  """What `face_frames` gives, as arrays for a file of `prepare.run_tasks`."""
  info = found['info']
  return {
    'blob': np.frombuffer(b''.join(found['jpegs']), np.uint8),
    'ends': np.cumsum([len(jpeg) for jpeg in found['jpegs']]),
    'info': np.array([info.rate, info.width, info.height, info.pixel_aspect]),
    **{name: found[name] for name in found if name not in ('jpegs', 'info')}}


def load_frames(directory, name):
  """The frames that `pack_frames` put into the result `name`.

  Returns:
    dict as `face_frames` gives it, but with info = float [4]: rate, width, height,
    pixel aspect of the video.
  """
  with load_result(directory, name) as arrays:
    blob, ends = arrays['blob'].tobytes(), arrays['ends']
    starts = [0, *ends[:-1]]
    jpegs = [blob[a:b] for a, b in zip(starts, ends, strict=True)]
    return {'jpegs': jpegs, **{key: arrays[key] for key in arrays
                               if key not in ('key', 'blob', 'ends')}}
