"""Tells the faces of several people in a film apart, by numbers that stay.

From look to look a face is who it was by its place; where a face has been away, or the
film was cut, by its colours: hair, skin and what is beside them, each as a share of its
own brightness, so that an exposure that changes does not count.

What was seen is kept as rows of numbers, `CHANNELS`, one for each face in each look.
"""

import dataclasses

import cv2
import numpy as np

from mvp_jax.raw.face import DETECTIONS_PER_SECOND, crop
from mvp_jax.raw.face_detector import alike
from mvp_jax.raw.face_search import FaceSearch
from mvp_jax.raw.video import luma

AWAY_SECONDS = 1.5  # A face missed for so long is taken to be still there.
_FULL_SECONDS = 2.0  # How often to look for faces where none was.
_LEAST_LOOKS = 3  # A face seen in fewer is a mistake.
# Distance of a face's colours to their mean over the person's looks. Of five people in
# film, with the exposure a fifth up and down, 0.10 is the most to their own mean, and
# 0.16 the least to another's (two in one studio; else 0.40).
_SAME = 0.13
_OTHER = 0.3  # From here on it is another's face at the same place, after a cut.
_CROP, _SIDE = 1.6, 48  # the side of what is compared over the face's; in pixels
_DARK = 4.0  # levels that are added, lest dark pixels have any colour
_GREENS, _REDS, _BINS = (0.2, 0.45), (0.25, 0.6), 16
_LIGHTS, _LIGHT_BINS, _LIGHT_WEIGHT = (-1.5, 1.0), 10, 0.7  # log of brightness
_LOOKS_KEPT = 20  # over which the mean of the colours goes
# Of a row: whose face it is, by number in the order of their first looks; where its
# middle is and its side, in stored rows, columns times the pixel aspect.
CHANNELS = ('person', 'x', 'y', 'side')


@dataclasses.dataclass(eq=False)
class Person:
  """A face that was seen: `times`, seconds, and `boxes`, (x, y, side) as shown.

  `there`: whether in the last look of all.
  """

  times: list
  boxes: list
  colours: np.ndarray | None = None  # mean over looks
  there: bool = True

  def distance(self, colours):
    """How unlike some colours are: 0 to 1."""
    mean = self.colours / np.linalg.norm(self.colours)
    return float(np.sqrt(max(0.0, 1 - mean @ colours)))

  def see(self, time, box, colours):
    self.times.append(time)
    self.boxes.append(box)
    decay = 1 - 1 / min(len(self.times), _LOOKS_KEPT)
    self.colours = decay * self.colours + (1 - decay) * colours

  def at(self, moments):
    """Boxes at some times: float [n, 3], NaN where the face is not there."""
    times, boxes = np.array(self.times), np.array(self.boxes)
    after = np.clip(np.searchsorted(times, moments), 1, max(len(times) - 1, 1))
    after = np.minimum(after, len(times) - 1)
    before = np.maximum(after - 1, 0)
    near = np.minimum(abs(moments - times[before]), abs(times[after] - moments))
    there = near <= 0.5 / DETECTIONS_PER_SECOND
    if self.there:  # nothing speaks against it until the next look
      there |= (moments > times[-1]) & (near <= 1 / DETECTIONS_PER_SECOND)
    inside = (moments >= times[before]) & (moments <= times[after])
    there |= inside & (times[after] - times[before] <= AWAY_SECONDS)
    found = np.stack([np.interp(moments, times, one) for one in boxes.T], axis=1)
    return np.where(there[:, None], found, np.nan)


class People:
  """Finds all faces in looks at a film and says whose they are.

  Args:
    info: raw.video.VideoInfo of its frames.
  """

  def __init__(self, info):
    self._upright, self._aspect = info.orientation.upright, info.pixel_aspect
    self._search = FaceSearch(info.pixel_aspect)
    self._people: list[Person] = []
    self._looks: list = []  # when
    self._due = self._next_full = 0.0

  @property
  def rows(self):
    """What was seen: (seconds, float64 [n]; rows of `CHANNELS`, float64 [n, 4]).

    In the order of time. A look without a face has one row, of NaN.
    """
    known = [one for one in self._people if len(one.times) >= _LEAST_LOOKS]
    found = [
      (time, number, *box)
      for number, one in enumerate(known)
      for time, box in zip(one.times, one.boxes, strict=True)
    ]
    empty = set(self._looks).difference(*(one.times for one in known))
    found += [(time, *[np.nan] * len(CHANNELS)) for time in empty]
    rows = np.array(sorted(found), float).reshape(-1, 1 + len(CHANNELS))
    return rows[:, 0], rows[:, 1:]

  def add(self, time, frame):
    """Takes the next av.VideoFrame as stored; looks at some a second."""
    if time >= self._due:
      image = self._upright(frame.to_ndarray(format='bgr24'))
      self._look(time, self._upright(luma(frame)), image)
      self._due = max(self._due, time) + 1 / DETECTIONS_PER_SECOND

  def _look(self, time, grey, image):
    """Looks at a frame.

    Args:
      time: seconds, later than at the last call.
      grey, image: uint8 [height, width], and [height, width, 3] BGR, upright.
    """
    self._looks.append(time)
    left = list(self._people)
    here = [one for one in left if time - one.times[-1] <= AWAY_SECONDS]
    faces = []
    for box in self._boxes(time, grey, here):
      colours = self._colours(image, box)
      own = [one for one in here if one in left and alike(one.boxes[-1], box)]
      own = min(own, key=lambda one: one.distance(colours), default=None)
      nearest = min(left, key=lambda one: one.distance(colours), default=None)
      away = 1.0 if own is None else own.distance(colours)
      if away > _OTHER or nearest.distance(colours) < _SAME < away:
        faces.append((box, colours))  # nobody there looks like it
      else:
        own.see(time, box, colours)
        left.remove(own)
    for box, colours in faces:
      same = min(left, key=lambda one: one.distance(colours), default=None)
      if same is None or same.distance(colours) > _SAME:
        self._people.append(Person([time], [box], colours))
      else:
        same.see(time, box, colours)
        left.remove(same)

  def _boxes(self, time, grey, here):
    """Faces, the biggest first: of who is there, and now and then everywhere."""
    boxes = []
    if time >= self._next_full:
      boxes, self._next_full = self._search.everywhere(time, grey), time + _FULL_SECONDS
    for one in here:
      near = self._search.near(grey, one.boxes[-1])
      boxes += [x for x in near if not any(alike(x, other) for other in boxes)]
    return sorted(boxes, key=lambda box: -box[2])

  def _colours(self, image, box):
    """What a face is known by: float [n] of length 1."""
    x, y, side = box
    x = x / self._aspect
    near = crop(image, x - 0.5, y - 0.5, _CROP * side, self._aspect, _SIDE)
    near = near.astype(np.float32) + _DARK
    light = near.sum(2)
    greens, reds = near[..., 1] / light, near[..., 2] / light
    weights = np.minimum(light / np.quantile(light, 0.9), 1)
    shares, _, _ = np.histogram2d(
      greens.ravel(), reds.ravel(), _BINS, (_GREENS, _REDS), weights=weights.ravel()
    )
    shares = cv2.GaussianBlur(shares.astype(np.float32), (3, 3), 0).ravel()
    lights, _ = np.histogram(np.log(light / np.median(light)), _LIGHT_BINS, _LIGHTS)
    lights = np.convolve(lights, (0.25, 0.5, 0.25), 'same')
    parts = [
      weight * np.sqrt(part / max(part.sum(), 1e-9))
      for part, weight in ((shares, 1.0), (lights, _LIGHT_WEIGHT))
    ]
    found = np.concatenate(parts)
    return found / max(np.linalg.norm(found), 1e-9)


def people_of(times, rows):
  """Who was seen: list of Person, of what `People.rows` gives."""
  found = []
  for number in np.unique(rows[np.isfinite(rows[:, 0]), 0]):
    own = rows[:, 0] == number
    there = times[own][-1] == times[-1]
    found.append(Person(times[own].tolist(), rows[own, 1:].tolist(), there=there))
  return found
