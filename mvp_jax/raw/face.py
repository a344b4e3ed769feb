"""Finds one face, follows it through a video, and cuts it out steadily.

A couple of detections a second are enough: the box at any time is a smooth of
the detections before and after it, which also makes the crop steadier than
boxes found frame by frame.
"""

import collections
import math

import cv2
import numpy as np

from mvp_jax.raw.face_detector import alike
from mvp_jax.raw.face_search import FaceSearch
from mvp_jax.raw.stillness import Stillness

DETECTIONS_PER_SECOND = 2.0
LOOKAHEAD_SECONDS = 1.5
# Side of the crop over the side of the detected box, which spans the face from
# the brows to the chin.
CROP_SCALES = {'X': 1.6, 'Y': 1.0}
_LEAST_SCALE, _MOST_SCALE = 0.5, 4.0
CROPS = (
  f'{", ".join(CROP_SCALES)}, or a number from {_LEAST_SCALE:g} to '
  f"{_MOST_SCALE:g} (the crop's side over the face's)"
)

_BRIDGED_SECONDS = 1.5  # A face missed for so long is taken to be still there.
_LONE_SECONDS = 1.2  # A detection without a like one this near is a mistake.
_POSITION_SIGMA = 0.35  # Seconds.
_FULL_SEARCH_SECONDS = 30.0  # How often to look for a bigger face elsewhere.
_STILL_SEARCH_SECONDS = 3.0  # The same while the face in hand stands still.
_SURE_AFTER = 2  # Full searches in agreement before looking only nearby.


class FaceTracker:
  """Follows one face; feed it detections ahead of the boxes asked for.

  Coordinates are of the picture as shown: y in stored rows, x in stored columns
  times the pixel aspect. A box is (centre x, centre y, side).

  Args:
    pixel_aspect: width / height of one stored pixel.
    region: left and right of where the face's middle lies, as shares of the
      picture's width.
  """

  def __init__(self, pixel_aspect=1.0, region=(0.0, 1.0)):
    self._search = FaceSearch(pixel_aspect, region)
    self._found = collections.deque()  # (time, x, y, side) of what was detected
    self._trusted = None  # Those of them that others confirm; None: not known.
    self._last = None
    self._last_look = 0.0
    self._agreeing = 0
    self._next_full = 0.0
    self._next_still = -math.inf
    self._stillness = Stillness(pixel_aspect)
    self._passing = False  # A bigger face is not followed, for it stands still.
    self._seen = []  # (time, x, y, side) of all faces in the last full searches.
    self._marks = collections.deque()  # (time, marks) of each look

  @property
  def turned(self):
    """Quarters clockwise by which the picture seems to be turned."""
    return self._search.turned

  def detect(self, time, grey):
    """Looks for the face in the frame at `time`.

    Args:
      time: seconds, later than at the last call.
      grey: uint8 [height, width] in stored pixels.
    """
    self._last_look = time
    self._stillness.add(grey)
    if self._last is not None and time - self._last[0] > _BRIDGED_SECONDS:
      self._last, self._agreeing = None, 0
    pick = self._pick(time, self._boxes(time, grey))
    still = pick is not None and self._stillness.still(pick)
    self._marks.append((time, (self._stillness.frozen, still, self._passing)))
    if pick is not None:
      self._found.append((time, *pick))
      self._trusted = None

  def _boxes(self, time, grey):
    near = []
    if self._agreeing >= _SURE_AFTER and time < self._next_full:
      near = self._search.near(grey, self._last[1:])
      if near and not (time >= self._next_still and self._stillness.still(near[0])):
        return near
      self._next_still = time + _STILL_SEARCH_SECONDS
    boxes = self._search.everywhere(time, grey)
    boxes += [box for box in near if not any(alike(box, one) for one in boxes)]
    # What stands still beside a face that moves is a picture on the wall.
    live = [box for box in boxes if not self._stillness.still(box)]
    self._passing = bool(live) and max(boxes, key=_side) not in live
    self._seen = [one for one in self._seen if one[0] > time - LOOKAHEAD_SECONDS - 0.1]
    self._seen += [(time, *box) for box in boxes]
    self._next_full = time + _FULL_SEARCH_SECONDS
    if self._passing:
      self._next_full = time + _STILL_SEARCH_SECONDS
    elif len(boxes) > 1 and not self._stillness.known:
      self._next_full = time
    return live or boxes

  def _pick(self, time, boxes):
    """The face to follow, None if there is none."""
    if not boxes:
      return None
    biggest = max(boxes, key=_side)
    same = [box for box in boxes if self._last and alike(box, self._last[1:])]
    pick = max(same, key=_side) if same else biggest
    self._agreeing = self._agreeing + 1 if same else 1
    if self._passing and not same:
      # From the picture on the wall to the face beside it, from when both were seen.
      self._found = collections.deque(
        one for one in self._seen if one[0] < time and alike(one[1:], pick)
      )
    if biggest[2] > 1.3 * pick[2]:
      # A bigger face stands elsewhere: follow it if it is there next time too.
      self._agreeing, pick_next = 0, biggest
    else:
      pick_next = pick
    self._last = (time, *pick_next)
    return pick

  def box(self, time):
    """The smoothed box at `time`, asked for in the order of time.

    Returns:
      ((x, y, side) or None if no detection is near, whether a face is there).
    """
    horizon = time - LOOKAHEAD_SECONDS - _LONE_SECONDS
    while self._found and self._found[0][0] < horizon:
      self._found.popleft()
    if self._trusted is None:
      self._trusted = [one for one in self._found if self._has_company(one)]
    near = [one for one in self._trusted if abs(one[0] - time) <= LOOKAHEAD_SECONDS]
    if not near:
      return None, False
    # A mean of two faces, or of one before and after a cut, would be of nothing.
    nearest = min(near, key=lambda one: abs(one[0] - time))
    near = [one for one in near if alike(one[1:], nearest[1:])]
    return smooth(near, time), self._is_there([one[0] for one in near], time)

  def _is_there(self, times, time):
    before = max((t for t in times if t <= time), default=-math.inf)
    after = min((t for t in times if t >= time), default=math.inf)
    if min(time - before, after - time) <= 0.5 / DETECTIONS_PER_SECOND:
      return True
    if after - before <= _BRIDGED_SECONDS:
      return True
    # After the last look of all there is nothing that speaks against a face.
    return before == self._last_look and time - before <= 1 / DETECTIONS_PER_SECOND

  def _has_company(self, one):
    return any(
      0 < abs(other[0] - one[0]) <= _LONE_SECONDS and alike(other[1:], one[1:])
      for other in self._found
    )

  def marks(self, time):
    """(frozen, still, passing) at `time`, asked for in the order of time.

    Whether the picture is the one before, whether the face has stood still for a
    while, and whether it is followed because a bigger one has.
    """
    while len(self._marks) > 1 and self._marks[1][0] <= time:
      self._marks.popleft()
    return self._marks[0][1] if self._marks else (False,) * 3


def crop_scale(crop):
  """The side of a crop over the side of the face, or None if it is no crop.

  A crop is 'X' (face and some background), 'Y' (face only) or a number as text.
  """
  try:
    scale = CROP_SCALES[crop] if crop in CROP_SCALES else float(crop)
  except (TypeError, ValueError):
    return None
  return scale if _LEAST_SCALE <= scale <= _MOST_SCALE else None


def _side(box):
  return box[2]


def smooth(found, time):
  """The box at `time` from the detections around it.

  Position: local linear regression with Gaussian weights. Size: a mean of its
  logarithm over all that is near, since heads move more than they grow; its
  weights (1 - t^2) end at zero, lest the size jump when a detection comes near.

  Args:
    found: list of (time, x, y, side).
    time: seconds; before the first or after the last it stands still.

  Returns:
    (x, y, side).
  """
  # Plain floats: for a handful of detections several times faster than arrays.
  time = min(max(time, found[0][0]), found[-1][0])
  away = [one[0] - time for one in found]
  weights = _shares(math.exp(-0.5 * (t / _POSITION_SIGMA) ** 2) for t in away)
  mean = sum(w * t for w, t in zip(weights, away, strict=True))
  spread = sum(w * (t - mean) ** 2 for w, t in zip(weights, away, strict=True))
  # The small constant keeps a slope from being drawn through one detection.
  shift = -mean / (spread + 0.01)
  weights = [w * (1 + shift * (t - mean)) for w, t in zip(weights, away, strict=True)]
  x = sum(w * one[1] for w, one in zip(weights, found, strict=True))
  y = sum(w * one[2] for w, one in zip(weights, found, strict=True))
  weights = _shares(max(1e-6, 1 - (t / LOOKAHEAD_SECONDS) ** 2) for t in away)
  side = math.exp(
    sum(w * math.log(one[3]) for w, one in zip(weights, found, strict=True))
  )
  return x, y, side


def _shares(weights):
  weights = list(weights)
  total = sum(weights)
  return [w / total for w in weights]


def crop(image, x, y, side, pixel_aspect, size):
  """Cuts a square (as shown) out of an image, to a fraction of a pixel.

  Where it reaches over the border, the border is repeated.

  Args:
    image: uint8 [height, width, 3].
    x, y: centre in stored pixels (column, row), pixel centres at whole numbers.
    side: in stored rows; it spans side / pixel_aspect columns.
    size: side of the result in pixels.

  Returns:
    uint8 [size, size, 3].
  """
  step_y = side / size
  step_x = step_y / pixel_aspect
  left, top = x - step_x * (size - 1) / 2, y - step_y * (size - 1) / 2
  # Averaging whole blocks of pixels first keeps fine texture from flickering;
  # the rest, at most 1.5 pixels to one, is interpolated.
  block_x, block_y = max(1, round(step_x)), max(1, round(step_y))
  if block_x > 1 or block_y > 1:
    image, first_x, first_y = _shrink(
      image, block_x, block_y, (left, top, step_x * size, step_y * size)
    )
    left = (left - first_x + 0.5) / block_x - 0.5
    top = (top - first_y + 0.5) / block_y - 0.5
    step_x, step_y = step_x / block_x, step_y / block_y
  matrix = np.array([[step_x, 0, left], [0, step_y, top]])
  return cv2.warpAffine(
    image,
    matrix,
    (size, size),
    borderMode=cv2.BORDER_REPLICATE,
    flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
  )


def _shrink(image, block_x, block_y, part):
  """Averages blocks over the part (left, top, width, height) and a margin.

  Returns:
    (image, column and row of the first pixel that went into it).
  """

  def span(start, length, block, end):
    first = min(max(0, int(start) - 2 * block), end - block)
    blocks = min(int(length) // block + 5, (end - first) // block)
    return first, max(1, blocks)

  left, top, width, height = part
  x, columns = span(left, width, block_x, image.shape[1])
  y, rows = span(top, height, block_y, image.shape[0])
  image = image[y : y + rows * block_y, x : x + columns * block_x]
  return cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), x, y
