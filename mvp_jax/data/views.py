"""Views of a clip for pre-training: multi-scale crop, resize and flip.

VideoMAE crops a rectangle of one of four scales at one of thirteen places, the
same in every frame, and resizes it to the model's size. There is no colour jitter.
"""

import dataclasses
import functools
import itertools

import cv2
import numpy as np

_SNAP = 3  # pixels; a side so near to the model's is taken as the model's


@dataclasses.dataclass(frozen=True)
class ViewConfig:
  """How views are drawn from a decoded clip.

  `scales`: of the crop's sides against the shorter side of the frame, from large to
  small; (1,) crops a square as large as the frame. `flip`: how often left and right
  change places. `repeats`: views of each decoded clip, with a crop, a flip and a
  mask of their own (repeated augmentation): 4 in VideoMAE V2 (arXiv 2303.16727, and
  `num_sample` in its scripts), 1 in VideoMAE.
  """

  scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
  flip: float = 0.5
  repeats: int = 4

  def __post_init__(self):
    if not self.scales or not all(0 < scale <= 1 for scale in self.scales):
      raise ValueError(f'scales are {self.scales}, must be above 0 and at most 1')
    if list(self.scales) != sorted(set(self.scales), reverse=True):
      raise ValueError(f'scales are {self.scales}, must fall from one to the next')
    if not 0 <= self.flip <= 1:
      raise ValueError(f'flip is {self.flip}, must be 0 to 1')
    if self.repeats < 1:
      raise ValueError(f'repeats is {self.repeats}, must be at least 1')


@functools.lru_cache
def crops(height, width, size, scales):
  """Every crop that may be drawn: a list, by shape, of lists of places.

  As `GroupMultiScaleCrop` of the reference: the sides are scales of the shorter
  side, next to each other in the list at most; a shape has thirteen places, some
  of which coincide where it fills the frame. A place is (top, left, height, width), in
  pixels.
  """
  sides = [int(min(height, width) * scale) for scale in scales]
  sides = [
    size if abs(side - size) < _SNAP and size <= min(height, width) else max(side, 1)
    for side in sides
  ]
  return [
    [(i * ((height - h) // 4), j * ((width - w) // 4), h, w) for i, j in _PLACES]
    for a, h in enumerate(sides)
    for b, w in enumerate(sides)
    if abs(a - b) <= 1
  ]


# (row, column) in quarters of the room: corners, middles of the sides, the centre,
# and the centres of the quarters.
_PLACES = [
  *itertools.product((0, 2, 4), repeat=2),
  *itertools.product((1, 3), repeat=2),
]


def draw_view(rng, frames, size, config):
  """Draws one view of a clip: uint8 [T, height, width, 3] -> [T, size, size, 3]."""
  flip = rng.random() < config.flip
  shapes = crops(*frames.shape[1:3], size, config.scales)
  places = shapes[rng.integers(len(shapes))]
  top, left, height, width = places[rng.integers(len(places))]
  view = np.empty((len(frames), size, size, 3), np.uint8)
  # A third faster than averaging areas, and as good for crops of about the size.
  far = min(height, width) >= 2 * size
  method = cv2.INTER_AREA if far else cv2.INTER_LINEAR
  for frame, out in zip(frames, view, strict=True):  # all in one call is slower
    part = frame[top : top + height, left : left + width]
    if flip:
      part = cv2.flip(part, 1)
    cv2.resize(part, (size, size), dst=out, interpolation=method)
  return view
