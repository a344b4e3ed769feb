"""Finds one face, follows it through a video, and cuts it out steadily.

Viola and Jones, "Rapid object detection using a boosted cascade of simple
features", CVPR 2001, as in OpenCV (whose package holds the trained cascade).
A couple of detections a second are enough: the box at any time is a smooth of
the detections before and after it, which also makes the crop steadier than
boxes found frame by frame.
"""

import collections
import functools
import math

import cv2
import numpy as np

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
# Where nothing is known: rows of the picture searched, smallest face as a share
# of them, votes needed. Small faces are only looked for if there are no big ones.
_SEARCHES = ((160, 0.15, 4), (320, 0.07, 6))
_NEAR_FACE = 40  # Side in pixels to which a known face is scaled.
_TILTS = -25, 25  # Degrees; heads lean when people laugh or cry.
_NEAR_MARGIN = 0.3  # How far around the last box to look, in its sides.
_FULL_SEARCH_SECONDS = 30.0  # How often to look for a bigger face elsewhere.
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
    self._aspect = pixel_aspect
    self._region = region
    self._found = collections.deque()  # (time, x, y, side) of what was detected
    self._trusted = None  # Those of them that others confirm; None: not known.
    self._last = None
    self._last_look = 0.0
    self._agreeing = 0
    self._next_full = 0.0

  def detect(self, time, grey):
    """Looks for the face in the frame at `time`.

    Args:
      time: seconds, later than at the last call.
      grey: uint8 [height, width] in stored pixels.
    """
    self._last_look = time
    if self._last is not None and time - self._last[0] > _BRIDGED_SECONDS:
      self._last, self._agreeing = None, 0
    boxes = []
    if self._agreeing >= _SURE_AFTER and time < self._next_full:
      boxes = self._search_near(grey, self._last[1:])
    if not boxes:
      boxes = self._search_all(grey)
      self._next_full = time + _FULL_SEARCH_SECONDS
    if not boxes:
      return
    biggest = max(boxes, key=lambda box: box[2])
    same = [box for box in boxes if self._last and alike(box, self._last[1:])]
    pick = max(same, key=lambda box: box[2]) if same else biggest
    self._agreeing = self._agreeing + 1 if same else 1
    if biggest[2] > 1.3 * pick[2]:
      # A bigger face stands elsewhere: follow it if it is there next time too.
      self._agreeing, pick_next = 0, biggest
    else:
      pick_next = pick
    self._last = (time, *pick_next)
    self._found.append((time, *pick))
    self._trusted = None

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

  def _search_all(self, grey):
    left, right = (round(share * grey.shape[1]) for share in self._region)
    part = grey[:, left:right]
    for rows, least, neighbours in _SEARCHES:
      scale = min(1.0, rows / part.shape[0])
      least = int(least * part.shape[0] * scale)
      picture = self._scaled(part, scale)
      if min(picture.shape) >= max(least, 1):
        found = _detect(picture, neighbours, least)
        if found:
          return self._placed(found, left, 0, scale)
    return []

  def _search_near(self, grey, box):
    x, y, side = box
    reach = (0.5 + _NEAR_MARGIN) * side
    low, high = (share * grey.shape[1] for share in self._region)
    top, left = max(0, int(y - reach)), int(max(low, (x - reach) / self._aspect))
    part = grey[top : int(y + reach), left : int(min(high, (x + reach) / self._aspect))]
    scale = _NEAR_FACE / side
    picture = self._scaled(part, scale)
    # Far smaller faces are allowed than bigger ones: the cascade also fires on
    # windows bigger than the face, and the box would grow from step to step.
    least, most = int(0.65 * _NEAR_FACE), int(1.3 * _NEAR_FACE)
    if min(picture.shape) < least:
      return []
    for angle in (0, *_TILTS):
      found = _detect_tilted(picture, angle, 2, least, most)
      if found:
        return self._placed(found, left, top, scale)
    return []

  def _scaled(self, grey, scale):
    """Pixels become square and `scale` times as high, at least one."""
    size = (
      max(1, round(grey.shape[1] * scale * self._aspect)),
      max(1, round(grey.shape[0] * scale)),
    )
    return cv2.resize(
      grey, size, interpolation=(cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    )

  def _placed(self, boxes, left, top, scale):
    return [
      (left * self._aspect + x / scale, top + y / scale, side / scale)
      for x, y, side in boxes
    ]


def crop_scale(crop):
  """The side of a crop over the side of the face, or None if it is no crop.

  A crop is 'X' (face and some background), 'Y' (face only) or a number as text.
  """
  try:
    scale = CROP_SCALES[crop] if crop in CROP_SCALES else float(crop)
  except (TypeError, ValueError):
    return None
  return scale if _LEAST_SCALE <= scale <= _MOST_SCALE else None


def _detect_tilted(grey, angle, neighbours, least, most):
  """As `_detect`, after the picture was turned about its middle (degrees)."""
  if not angle:
    return _detect(grey, neighbours, least, most)
  size = grey.shape[1], grey.shape[0]
  turn = cv2.getRotationMatrix2D(((size[0] - 1) / 2, (size[1] - 1) / 2), angle, 1.0)
  turned = cv2.warpAffine(grey, turn, size, borderMode=cv2.BORDER_REPLICATE)
  back = cv2.invertAffineTransform(turn)
  return [
    (*(back @ (x, y, 1.0)).tolist(), side)
    for x, y, side in _detect(turned, neighbours, least, most)
  ]


def _detect(grey, neighbours, least, most=10**6):
  """Faces as a list of (centre x, centre y, side) in pixels."""
  boxes = _cascade().detectMultiScale(
    grey, 1.15, neighbours, minSize=(least,) * 2, maxSize=(most,) * 2
  )
  return [(float(x + w / 2), float(y + h / 2), float(h)) for x, y, w, h in boxes]


@functools.cache
def _cascade():
  return cv2.CascadeClassifier(
    cv2.data.haarcascades + 'haarcascade_frontalface_alt2.xml'
  )


def alike(box, other):
  """Whether two (x, y, side) may be the same face a moment apart."""
  small, big = sorted((box[2], other[2]))
  return (
    math.hypot(box[0] - other[0], box[1] - other[1]) < 0.6 * big and big < 1.6 * small
  )


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
