"""Finds faces in a grey picture: a fast cascade, and a network where it is unsure.

The cascade: Viola and Jones, "Rapid object detection using a boosted cascade of
simple features", CVPR 2001, as in OpenCV (whose package holds it). It sees bright
upright faces. The network: BlazeFace (`blazeface/README.md`), read by OpenCV, which
also sees dark, leaning and half-hidden ones, at several times the cost.

A box is (centre x, centre y, side); it spans a face from the brows to the chin.
"""

import functools
import math
import threading
from pathlib import Path

import cv2
import numpy as np

# A picture that spans fewer levels of grey is stretched. The cascade passes over
# windows whose standard deviation is below 10, as of a face at 15 % of its light.
# Well-lit real faces span 125 levels or more, drawn ones 82.
_LEAST_SPAN = 64
_CANDIDATE = 0.5  # Score in a whole picture of what is worth a closer look.
# Mean score of a closer look: at the picture and its mirror image, in two sizes.
# Of 1402 candidates in noise, walls, textures, drawn hands and cartoons none has
# more than 0.60 (of 180 more drawn hands one has). Faces in six films have, however
# dark, hazy, leaning or covered; of 14 small ones in photographs, all but masked
# ones (86 %) and those at 5 % of the light (64 %).
_SURE = 0.62
_CLOSE_SIDES = 40, 56  # Sides in pixels to which a face is scaled for it.
# The network's box against the cascade's on real faces: smaller, and lower on the
# face by a share of its own side.
_SIDE, _LOWER = 1.21, 0.147
_STRIDES = (8, 2), (16, 6)  # Pixels between the network's places; boxes at each.
_STEEP = 60.0  # Degrees; a face whose eyes are so askew lies on its side.
_WEIGHTS = Path(__file__).parent / 'blazeface' / 'face_detection_short_range.tflite'
_OUTPUTS = 'classificator_8', 'classificator_16', 'regressor_8', 'regressor_16'


def alike(box, other):
  """Whether two (x, y, side) may be the same face a moment apart."""
  small, big = sorted((box[2], other[2]))
  return (
    math.hypot(box[0] - other[0], box[1] - other[1]) < 0.6 * big and big < 1.6 * small
  )


def contrasted(grey):
  """uint8 [height, width], stretched to all levels of grey if it has but few."""
  low, high = _span(grey)
  return grey if high - low >= _LEAST_SPAN else _stretched(grey, low, high)


def cascade_faces(grey, neighbours, least, most=10**6):
  """Bright upright faces, as a list of boxes in pixels.

  Args:
    grey: uint8 [height, width].
    neighbours: windows that must agree.
    least, most: side of a face in pixels.
  """
  boxes = _tools.cascade.detectMultiScale(
    grey, 1.15, neighbours, minSize=(least,) * 2, maxSize=(most,) * 2
  )
  return [(float(x + w / 2), float(y + h / 2), float(h)) for x, y, w, h in boxes]


def network_faces(grey):
  """What may be faces of 15 to 100 pixels, as a list of boxes, likeliest first."""
  return [box for _, box in _network([grey], _CANDIDATE)[0]]


def second_opinion(grey, box, pixel_aspect=1.0):
  """Looks closely whether a face is where one is thought to be.

  Args:
    grey: uint8 [height, width] in stored pixels.
    box: in pixels as shown: rows, and columns times the aspect.
    pixel_aspect: width / height of a stored pixel.

  Returns:
    (score, the face's own box in pixels as shown), or None if there is no face.
  """
  x, y, reach = box
  left, right = (math.floor((x + way * reach) / pixel_aspect) for way in (-1, 1))
  top, bottom = (math.floor(y + way * reach) for way in (-1, 1))
  part = _cut(grey, left, top, max(right, left + 1), max(bottom, top + 1))
  scores, seen = 0.0, []
  for side in _CLOSE_SIDES:
    size = 2 * side
    shrinks = size < part.shape[0]
    close = cv2.resize(
      part, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    looks = _network([close, close[:, ::-1]], 0.05)
    for mirrored, faces in enumerate(looks):
      score, found = next(
        (one for one in faces if alike(one[1], (side, side, side))), (0.0, None)
      )
      if found is None:
        continue
      u, v, w = found
      u = size - u if mirrored else u
      scale = part.shape[0] / size
      columns = part.shape[1] / size * pixel_aspect
      seen.append((left * pixel_aspect + u * columns, top + v * scale, w * scale))
      scores += score
  score = scores / (2 * len(_CLOSE_SIDES))
  if score < _SURE:
    return None
  return score, tuple(float(np.median(values)) for values in zip(*seen, strict=True))


def _cut(grey, left, top, right, bottom):
  """The part, with the border repeated where it reaches over it."""
  height, width = grey.shape
  inside = grey[max(0, top) : max(bottom, 1), max(0, left) : max(right, 1)]
  inside = grey[-1:, -1:] if not inside.size else inside
  over = [max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width)]
  return cv2.copyMakeBorder(inside, *over, cv2.BORDER_REPLICATE)


def _network(pictures, least):
  """For each picture of one size, [(score, box in pixels)], likeliest first."""
  height, width = pictures[0].shape
  pads = 0, -height % _STRIDES[-1][0], 0, -width % _STRIDES[-1][0]
  pictures = [
    cv2.copyMakeBorder(_even(picture), *pads, cv2.BORDER_CONSTANT)
    for picture in pictures
  ]
  batch = np.stack(pictures).astype(np.float32)[:, None] / 127.5 - 1
  network = _tools.network(batch.shape)
  network.setInput(np.repeat(batch, 3, axis=1))
  outputs = network.forward(_OUTPUTS)
  return [
    _faces(*(output[one] for output in outputs), least) for one in range(len(batch))
  ]


def _faces(scores_8, scores_16, values_8, values_16, least):
  scores, points = [], []
  for score, value, (step, boxes) in zip(
    (scores_8, scores_16), (values_8, values_16), _STRIDES, strict=True
  ):
    _, height, width = score.shape
    scores.append(score.transpose(1, 2, 0).reshape(-1))
    # Centre, size and six points of the face, all but the size from their place.
    value = value.transpose(1, 2, 0).reshape(height, width, boxes, 8, 2).copy()
    rows, columns = np.mgrid[:height, :width]
    place = (np.stack([columns, rows], -1) + 0.5) * step
    value[..., [0, 2, 3, 4, 5, 6, 7], :] += place[:, :, None, None]
    points.append(value.reshape(-1, 8, 2))
  scores = 1 / (1 + np.exp(-np.clip(np.concatenate(scores), -50, 50)))
  points = np.concatenate(points)
  left = np.flatnonzero(scores >= least)
  left = left[np.argsort(-scores[left])]
  found = []
  while len(left):
    first = points[left[0]]
    same = np.abs(points[left, 0] - first[0]).max(1) < 0.3 * first[1, 0]
    one = np.average(points[left[same]], axis=0, weights=scores[left[same]])
    box = _box(one)
    if box is not None:
      found.append((float(scores[left[0]]), box))
    left = left[~same]
  return found


def _box(points):
  """The box of a face from centre, size, eyes ...; None of one on its side."""
  (x, y), size, one_eye, other_eye = points[:4].astype(float)
  across = other_eye - one_eye
  lean = math.atan2(across[1], across[0])
  if abs(lean) > math.radians(_STEEP):
    return None
  lower = _LOWER * size[0]
  return (
    float(x + lower * math.sin(lean)),
    float(y - lower * math.cos(lean)),
    float(_SIDE * size[0]),
  )


def _even(grey):
  """With the same contrast everywhere, be it in the dark or in haze."""
  return cv2.createCLAHE(2.0, (4, 4)).apply(_stretched(grey, *_span(grey)))


def _span(grey):
  """Levels between which all but a thousandth at either end lie.

  A face that is small in the picture is little more than that.
  """
  counts = np.cumsum(np.bincount(grey.ravel(), minlength=256))
  return np.searchsorted(counts, (0.001 * counts[-1], 0.999 * counts[-1])).tolist()


def _stretched(grey, low, high):
  scale = 255 / max(high - low, 1)
  return cv2.convertScaleAbs(np.maximum(grey, low), alpha=scale, beta=-low * scale)


class _Tools(threading.local):
  """Of one thread, for neither cascade nor network may be shared."""

  def __init__(self):
    self.network = functools.lru_cache(maxsize=8)(_new_network)

  @functools.cached_property
  def cascade(self):
    return cv2.CascadeClassifier(
      cv2.data.haarcascades + 'haarcascade_frontalface_alt2.xml'
    )


def _new_network(shape):
  """One for each shape, for it takes longer to change the shape than to look."""
  del shape
  return cv2.dnn.readNetFromTFLite(str(_WEIGHTS))


_tools = _Tools()
