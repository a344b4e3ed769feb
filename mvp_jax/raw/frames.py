"""From a video file to face crops, or whole frames, at a steady rate, as JPEG."""

import collections
import contextlib
import dataclasses
import math
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped
from mvp_jax.raw import face
from mvp_jax.raw.face_quality import face_quality
from mvp_jax.raw.on_disk import require_file
from mvp_jax.raw.people import People
from mvp_jax.raw.video import Sampler, Video, luma, sample
from mvp_jax.raw.video_file import unopened
from mvp_jax.tasks import load_blobs, load_result
from mvp_jax.tasks.blobs import Blobs

JPEG_QUALITY = 95
MAX_LENGTH_DIFFERENCE = 2.0  # Seconds, between video and signals.
MAX_BROKEN_SECONDS = 2.0  # Of packets that cannot be decoded.
MIN_FACE_SHARE = 0.1
_MAX_SIDES = 16.0  # The longer over the shorter side of a picture.
# Pictures beyond full HD are made smaller before they wait to be cut: a face
# that is stored with a few hundred pixels loses nothing by it.
_WAITING_PIXELS = 1920 * 1088
# Of seconds: however a frame's time was worked out, a look that is due then is.
_DIGITS = 6
# One detection more than is looked ahead, which confirms the last of those.
WAITING_SECONDS = face.LOOKAHEAD_SECONDS + 1 / face.DETECTIONS_PER_SECOND


@dataclasses.dataclass(frozen=True)
class FrameSpec:
  """What to store of a face.

  Attributes:
    rate: frames per second.
    size: their side in pixels.
    crop: 'X', 'Y' or a number as text; see `face.crop_scale`.
    region: where the face's middle lies, as shares of the picture's width: left
      and right. The second of four seats is (0.25, 0.5).
    people: whether all faces in the picture are told apart, too.

  Raises:
    InputError: a crop or region that cannot be.
  """

  rate: float
  size: int
  crop: str
  region: tuple[float, float] = (0.0, 1.0)
  people: bool = False

  def __post_init__(self):
    if face.crop_scale(self.crop) is None:
      raise InputError(f'crop: one of {face.CROPS}; it is {self.crop!r}')
    left, right = self.region
    if not 0 <= left < right <= 1:
      raise InputError(
        f'region: left and right as shares of the width, 0 <= left < '
        f'right <= 1; it is {self.region!r}'
      )


def face_frames(path, spec, seconds=None, onset=0.0, before=0.0):
  """Decodes a video, follows the face and cuts it out at a steady rate.

  The one way from a video to what models read, in preparation and in use. One
  pass; memory does not grow with the video: two seconds of frames wait
  to be cut out, and the JPEGs lie in a temporary file once they are many.

  Args:
    path: the video file.
    spec: FrameSpec.
    seconds: length of the trial's signals; later frames are dropped. None: there
      are no signals, and the whole video is wanted.
    onset: of the trial, in seconds since the first frame.
    before: seconds before the onset that are wanted, too; what comes earlier is only
      looked at for the face.

  Returns:
    dict: jpegs (sequence of bytes), times float32 [time] in seconds since the
    onset, before (how many of them come before it; left out if none are wanted),
    valid bool [time], boxes float32 [time, 3] (centre x, centre y
    and side of the crop, in stored pixels of the upright picture; its width is
    side / pixel_aspect columns), marks bool [time, 3] (see `FaceTracker.marks`),
    info (VideoInfo), quality (dict, see `face_quality.face_quality`, of what follows
    the onset); and, if asked for, people_times float64 [n] in seconds since the first
    frame, and people float64 [n, 4] of the whole video (see `people.People.rows`).

  Raises:
    Dropped: missing_video, broken_video, length_mismatch or no_face.
  """
  end = math.inf if seconds is None else seconds
  with reading(path) as video:
    cut = _cut(video, spec, end, onset, before)
  length = video.seconds - onset
  if seconds is not None and abs(length - seconds) > MAX_LENGTH_DIFFERENCE:
    raise Dropped(
      'length_mismatch', f'{path}: {length:.1f} s of video, {seconds:.1f} s of signals'
    )
  return _found(cut, video, path, spec)


def faces_of(source, where, spec):
  """The same of pictures from elsewhere.

  Args:
    source: iterable of (seconds, av.VideoFrame) in the order of time, with `info`,
      `count`, `broken` and `notes` as `Video` has them.
    where: text, for messages.
    spec: FrameSpec.

  Raises:
    Dropped: no_face, or what iterating the source raises.
  """
  return _found(_cut(source, spec, math.inf), source, where, spec)


def _cut(video, spec, end, onset=0.0, before=0.0):
  """Follows the face from the first frame on, cuts it out up to the end.

  Returns (what `face_frames` returns of each crop, by how many quarters the picture
  seems to be turned).
  """
  crops = FaceCrops(video.info, spec, onset, end, before)
  people = People(video.info) if spec.people else None
  jpegs, others = Blobs(), []

  def keep(found):
    for crop in found:
      jpegs.append(crop.jpeg)
      others.append((crop.time, crop.valid, crop.box, crop.marks))

  for time, frame in video:
    if people is not None:
      people.add(time, frame)
    keep(crops.add(time, frame))
  keep(crops.end())
  times, valid, boxes, marks = zip(*others, strict=True) if others else ((),) * 4
  found = {
    'jpegs': jpegs,
    'times': np.array(times, np.float32),
    'valid': np.array(valid, bool),
    'boxes': np.array(boxes, np.float32),
    'marks': np.array(marks, bool).reshape(-1, 3),
    **({'before': np.array(crops.early)} if before else {}),
  }
  if people is not None:
    found['people_times'], found['people'] = people.rows
  return found, crops.turned


def _found(cut, video, path, spec):
  """What `face_frames` returns, of what `_cut` does. Raises Dropped, no_face."""
  found, turned = cut
  own = from_onset(found)
  share = np.mean(own['valid']) if len(own['valid']) else 0.0
  if share < MIN_FACE_SHARE:
    reason = f'{path}: a face in {share:.1%} of the frames'
    raise Dropped('no_face', reason + _turned_hint(turned))
  quality = face_quality(
    own['times'],
    own['valid'],
    own['boxes'],
    own['marks'],
    video.info.pixel_aspect,
    face.crop_scale(spec.crop),
  )
  return found | {
    'info': video.info,
    'quality': quality
    | {
      'broken_packets': video.broken,
      'video_frames': video.count,
      'video_notes': '; '.join(video.notes),
    },
  }


def from_onset(found):
  """What `face_frames` returns of each frame, as arrays, without those before."""
  first = int(found.get('before', 0))
  return {name: found[name][first:] for name in ('times', 'valid', 'boxes', 'marks')}


def _turned_hint(quarters):
  """What to do about a picture in which faces were found turned, or nothing."""
  if not quarters:
    return ''
  way, filters = {
    1: ('lies on its side (90 degrees clockwise)', 'transpose=2'),
    2: ('stands on its head', 'hflip,vflip'),
    3: ('lies on its side (90 degrees counterclockwise)', 'transpose=1'),
  }[quarters]
  return f'; the picture {way}: turn it with ffmpeg -i IN -vf {filters} OUT'


def whole_frames(path, rate, short_side, least=1):
  """Decodes a video and resizes its whole frames as they are to be shown.

  Pixels become square, and what the file says of rotation is done.

  Args:
    path: the video file.
    rate: frames per second; a frame comes twice where the video has fewer.
    short_side: of the stored frames, pixels; all of a video have one size.
    least: frames there must be at least.

  Returns:
    dict: jpegs (sequence of bytes), times float32 [time] in seconds since the
    first frame, size int [2] = height, width of the stored frames, info
    (VideoInfo), quality (dict: what there is to say of the video).

  Raises:
    Dropped: missing_video, broken_video or too_short.
  """
  jpegs, times, before = Blobs(), [], None
  with reading(path) as video:
    resizer = _Resizer(video.info, short_side)
    for time, frame in sample(video, rate, math.inf):
      jpegs.append(jpegs[-1] if frame is before else _jpeg(resizer(frame)))
      times.append(time)
      before = frame
  if len(jpegs) < least:
    raise Dropped(
      'too_short',
      f'{path}: {len(jpegs)} frames at {rate:g} a second, '
      f'fewer than min_frames={least}',
    )
  return {
    'jpegs': jpegs,
    'times': np.array(times, np.float32),
    'size': np.array(resizer.size),
    'info': video.info,
    'quality': {'video_notes': '; '.join(video.notes)},
  }


class _Resizer:
  """Turns and resizes whole frames; `size` is (height, width)."""

  def __init__(self, info, short_side):
    width = info.width * info.pixel_aspect
    scale = short_side / min(width, info.height)
    self.size = round(info.height * scale), round(width * scale)
    self._orientation = info.orientation
    self._reformatter = VideoReformatter()

  def __call__(self, frame):
    height, width = self.size[:: -1 if self._orientation.transposed else 1]
    return self._orientation.upright(
      self._reformatter.reformat(
        frame,
        width=width,
        height=height,
        format='bgr24',
        interpolation='AREA',
        threads=1,
      ).to_ndarray()
    )


@contextlib.contextmanager
def reading(path):
  """Opens a Video to be read to its end within the context, decoded or not.

  Raises:
    Dropped: it is not there, fails to decode, or ends before its header says.
  """
  require_file(path, 'video')
  seconds = 0.0
  try:
    with Video(path) as video:
      _check_shape(video.info)
      try:
        yield video
      finally:
        seconds = video.seconds
  except (av.FFmpegError, ValueError) as error:
    if isinstance(error, av.FFmpegError) and not seconds and (why := unopened(path)):
      raise Dropped('broken_video', f'{path}: {why}') from None
    told = f'fails after {seconds:.1f} s' if seconds else 'cannot be read as a video'
    raise Dropped('broken_video', f'{path}: {told} ({error})') from None
  if video.broken / video.info.rate > MAX_BROKEN_SECONDS:
    raise Dropped(
      'broken_video',
      f'{path}: {video.broken} packets are damaged, beside {video.count} good '
      'frames; copy it anew from its source',
    )
  _check_length(path, video)


def _check_shape(info):
  width, height = info.width * info.pixel_aspect, info.height
  if max(width, height) > _MAX_SIDES * min(width, height):
    raise ValueError(f'the picture is {width:.0f} wide and {height} high')


def _check_length(path, video):
  if video.missing > MAX_LENGTH_DIFFERENCE:
    told = (
      f'{video.count} of {video.info.frames} frames'
      if video.info.frames
      else f'{video.seconds:.1f} of {video.seconds + video.missing:.1f} s'
    )
    raise Dropped(
      'broken_video',
      f'{path}: truncated? It holds {told}; if it is whole, write it anew so that its '
      'header tells the truth (ffmpeg -i IN -c copy OUT)',
    )


class Crop(NamedTuple):
  """A face that was cut out: see `face_frames`, of which it is one frame."""

  time: float
  jpeg: bytes
  valid: bool
  box: tuple[float, float, float]
  marks: tuple[bool, bool, bool]


class FaceCrops:
  """Follows the face in frames that come one by one, and cuts it out.

  Holds frames back for `WAITING_SECONDS`, until the tracker has looked ahead.

  Args:
    info: VideoInfo of the frames; its rate does not count.
    spec: FrameSpec.
    onset: seconds on the clock of the frames. Times of crops count from it.
    end: seconds after the onset; there are no crops from it on.
    before: seconds before the onset; there are no crops of what is earlier.
  """

  def __init__(self, info, spec, onset=0.0, end=math.inf, before=0.0):
    self._tracker = face.FaceTracker(info.pixel_aspect, spec.region)
    self._sampler = Sampler(spec.rate, end, before)
    self._onset = onset
    self._due = -onset  # when to look for the face next
    self._info, self._size = info, spec.size
    self._scale = face.crop_scale(spec.crop)
    self._shrink = min(1.0, math.sqrt(_WAITING_PIXELS / (info.width * info.height)))
    self._waiting = collections.deque()
    self._reformatter = VideoReformatter()
    # Until a face is found, the largest square in the middle of the region.
    width = info.width * info.pixel_aspect
    self._box = (
      width * sum(spec.region) / 2,
      info.height / 2,
      min(width, info.height) / self._scale,
    )

  @property
  def turned(self):
    """By how many quarters clockwise the picture seems to be turned."""
    return self._tracker.turned

  @property
  def early(self):
    """How many of the crops come before the onset."""
    return self._sampler.early

  def add(self, time, frame):
    """Takes an av.VideoFrame as stored, later than the last; yields what can be cut."""
    time = round(time - self._onset, _DIGITS)
    if time >= self._due:
      self._tracker.detect(time, self._info.orientation.upright(luma(frame)))
      self._due = max(self._due, time) + 1 / face.DETECTIONS_PER_SECOND
    for one, picked in self._sampler.add(time, frame):
      yield from self._wait(one, picked)

  def end(self):
    """Yields what is left when no frame follows."""
    for time, frame in self._sampler.end():
      yield from self._wait(time, frame)
    while self._waiting:
      yield self._cut(*self._waiting.popleft())

  def _wait(self, time, frame):
    if self._shrink < 1:
      width, height = (
        max(1, round(side * self._shrink)) for side in (frame.width, frame.height)
      )
      frame = self._reformatter.reformat(
        frame,
        width=width,
        height=height,
        format='yuv420p',
        interpolation='AREA',
        threads=1,
      )
    self._waiting.append((time, frame))
    while self._waiting[0][0] + WAITING_SECONDS <= time:
      yield self._cut(*self._waiting.popleft())

  def _cut(self, time, frame):
    box, valid = self._tracker.box(time)
    self._box = box or self._box
    x, y, side = self._box
    x, side = x / self._info.pixel_aspect, side * self._scale
    image = self._info.orientation.upright(self._colours(frame))
    # In pixels of the image at hand, whose two sides may shrink by a hair apart.
    columns = image.shape[1] / self._info.width
    rows = image.shape[0] / self._info.height
    # Boxes are measured from the picture's edge, crop() from a pixel's middle.
    image = face.crop(
      image,
      x * columns - 0.5,
      y * rows - 0.5,
      side * rows,
      self._info.pixel_aspect * rows / columns,
      self._size,
    )
    return Crop(time, _jpeg(image), valid, (x, y, side), self._tracker.marks(time))

  def _colours(self, frame):
    return self._reformatter.reformat(frame, format='bgr24', threads=1).to_ndarray()


def _jpeg(image):
  _, jpeg = cv2.imencode('.jpg', image, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
  return jpeg.tobytes()


def pack_frames(found):
  """What `face_frames` gives, as arrays for a file of `tasks.run_tasks`."""
  info = found['info']
  packed = {
    'blob': found['jpegs'],
    'ends': found['jpegs'].ends,
    'info': np.array([info.rate, info.width, info.height, info.pixel_aspect]),
    **{name: found[name] for name in found if name not in ('jpegs', 'info', 'quality')},
  }
  for name, value in found.get('quality', {}).items():
    packed[_QUALITY + name] = np.array(value)
  return packed


_QUALITY = 'quality_'


def frame_facts(directory, name):
  """What an account says of the result `name`: dict of numbers, without pictures."""
  with load_result(directory, name) as arrays:
    rate, width, height, aspect = arrays['info'].tolist()
    return {
      'frames': len(arrays['times']) - int(arrays.get('before', 0)),
      'bytes': int(arrays['ends'][-1]),
      'video_rate': rate,
      'width': int(width),
      'height': int(height),
      'pixel_aspect': aspect,
      **{
        key.removeprefix(_QUALITY): arrays[key].item()
        for key in arrays
        if key.startswith(_QUALITY)
      },
    }


def load_frames(directory, name):
  """The frames that `pack_frames` put into the result `name`.

  Returns:
    dict as `face_frames` gives it, but with info = float [4]: rate, width, height,
    pixel aspect of the video, and without quality, which `frame_facts` has.
  """
  with load_result(directory, name) as arrays:
    found = {
      key: arrays[key]
      for key in arrays
      if key not in ('key', 'blob') and not key.startswith(_QUALITY)
    }
  ends = found.pop('ends')
  return {'jpegs': load_blobs(directory, name, 'blob', ends), **found}
