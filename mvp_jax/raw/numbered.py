"""Pictures in numbered files as a video: the number in a name tells the time.

The position in the folder tells nothing, for pictures can be missing.
"""

import io
import re
import warnings

import av
import cv2
import numpy as np
from PIL import Image

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.frames import faces_of
from mvp_jax.raw.on_disk import read_bytes, shown
from mvp_jax.raw.video import VideoInfo
from mvp_jax.raw.video_file import MOST_PIXELS

ENDINGS = ('.png', '.jpg', '.jpeg', '.bmp')
_FORMATS = ('PNG', 'JPEG', 'BMP', 'GIF', 'WEBP', 'TIFF')
_MOST_BYTES = 256 << 20
_FEW = 3


def numbered_files(paths, begin='', end='', code='broken_video'):
  """The files whose names are `begin`, a number and `end`, of any case.

  Args:
    paths: of the files of a folder.
    begin, end: of a name without its ending.
    code: of what is raised.

  Returns:
    ({number: Path}, list of the other Paths), both in order.

  Raises:
    Dropped: two have one number.
  """
  name = re.compile(rf'{re.escape(begin)}(\d{{1,9}}){re.escape(end)}', re.ASCII | re.I)
  found, others = {}, []
  for path in sorted(paths):
    told = name.fullmatch(path.stem)
    if told is None:
      others.append(path)
    elif found.setdefault(int(told[1]), path) is not path:
      raise Dropped(
        code,
        f'{shown(path)}: a second file of frame {int(told[1])}, also '
        f'{shown(found[int(told[1])].name)}; keep one of them',
      )
  return dict(sorted(found.items())), others


def read_picture(path):
  """The picture in a file, uint8 [height, width, 3] (BGR); None if there is none.

  Raises:
    OSError: it cannot be read.
    Dropped: broken_video, it says that it is larger than pictures are.
  """
  data = read_bytes(path, _MOST_BYTES)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('error', Image.DecompressionBombWarning)
      with Image.open(io.BytesIO(data), formats=_FORMATS) as head:  # not decoded
        width, height = head.size
  except (Image.DecompressionBombError, Image.DecompressionBombWarning):
    width = height = Image.MAX_IMAGE_PIXELS
  except (OSError, ValueError, SyntaxError):
    return None
  if width * height > MOST_PIXELS:
    raise Dropped(
      'broken_video',
      f'{shown(path)}: over {MOST_PIXELS / 1e6:.0f} million pixels; make it smaller',
    )
  return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


class Pictures:
  """Numbered pictures as a video, to be iterated once: (seconds, av.VideoFrame).

  Where one is missing or broken the one before is shown, or the first that there is.

  Args:
    files: {number: Path}.
    numbers: range, of all frames from the first on.
    rate: Hz.

  Attributes:
    lost: numbers of those that are no pictures, once it was iterated.

  Raises:
    Dropped: broken_video, if none is a picture, or its size changes on the way.
  """

  def __init__(self, files, numbers, rate):
    self.files, self.numbers, self.rate = files, numbers, rate
    self.lost, self.broken = [], 0
    self._last = None
    first = next(filter(self._read, files.values()), None)
    if first is None:
      where = next(iter(files.values()), None)
      raise Dropped('broken_video', f'{shown(where)}: not a picture, nor the others')
    self._first = first
    height, width = self._last.shape[:2]
    self._size = height, width
    self.info = VideoInfo(rate, width, height, 1.0, len(numbers))

  def _read(self, path):
    self._last = read_picture(path)
    return self._last is not None

  @property
  def seconds(self):
    return len(self.numbers) / self.rate

  @property
  def count(self):
    """How many pictures there are."""
    return len(self.files) - len(self.lost)

  @property
  def notes(self):
    """What a person should know of them: a list of texts."""
    missing = [number for number in self.numbers if number not in self.files]
    notes = []
    for what, some in (('are missing', missing), ('are no pictures', self.lost)):
      if some:
        more = ', ...' if len(some) > _FEW else ''
        few = ', '.join(map(str, some[:_FEW]))
        notes.append(f'{len(some)} of {len(self.numbers)} frames {what}: {few}{more}')
    return notes

  def __iter__(self):
    image = self._last
    for place, number in enumerate(self.numbers):
      path = self.files.get(number)
      if path is not None:
        found = read_picture(path)
        if found is None:
          self.lost.append(number)
        elif found.shape[:2] != self._size:
          raise Dropped(
            'broken_video',
            f'{shown(path)}: {found.shape[1]} x {found.shape[0]} pixels, and '
            f'{shown(self._first.name)} {self._size[1]} x {self._size[0]}; a sequence '
            'must have pictures of one size, take the official ones',
          )
        else:
          image = found
      yield place / self.rate, av.VideoFrame.from_ndarray(image, format='bgr24')


def picture_faces(files, numbers, rate, spec, where):
  """Follows the face through numbered pictures and cuts it out: as `face_frames`.

  A frame without a picture has no face: it is not valid.

  Args:
    files, numbers, rate: as `Pictures` takes them.
    spec: FrameSpec.
    where: text, for messages.

  Raises:
    Dropped: broken_video or no_face.
  """
  pictures = Pictures(files, numbers, rate)
  found = faces_of(pictures, where, spec)
  places = np.round(found['times'] * rate).astype(int)
  there = np.isin(np.array(numbers)[places], [*set(files) - set(pictures.lost)])
  return found | {'valid': found['valid'] & there}
