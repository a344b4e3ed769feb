"""Tells a frozen camera, and faces that stand as still as pictures on a wall."""

import collections

import cv2
import numpy as np

_ROWS = 160  # Of the pictures compared.
_LEAST_LOOKS, _LOOKS = 4, 7  # Compared for a still face: 1.5 to 3 s.
# Mean change from look to look over the picture's contrast. Of a repeated picture in
# H.264 it is 0.0008 at most; of real films 0.013 is the least, 0.006 if compressed to
# the utmost (CRF 35), of drawn ones 0.006.
_FROZEN = 0.002
# Standard deviation over time of a face's pixels, each look scaled to mean 0 and
# standard deviation 1. Of six people in film 0.052 is the least over 1.5 s and 0.09
# over 3 s; of photographs of them in light that wavers 0.026 the most, with noise of
# 3 levels in each pixel (with 8, where it is not told any more, up to 0.06).
_STILL = 0.035


class Stillness:
  """Compares the last few looks; `frozen` says if the last one showed nothing new.

  Args:
    pixel_aspect: width / height of a stored pixel.
  """

  def __init__(self, pixel_aspect):
    self.frozen = False
    self._aspect = pixel_aspect
    self._scale = 1.0
    self._pictures = collections.deque(maxlen=_LOOKS)  # without repeated ones
    self._told: dict = {}  # whether the face in a box is still, since the last look

  def add(self, grey):
    """Takes the next look, uint8 [height, width] in stored pixels."""
    self._told.clear()
    self._scale = min(1.0, _ROWS / grey.shape[0])
    size = [max(1, round(side * self._scale)) for side in grey.shape[::-1]]
    picture = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    if self._pictures and self._pictures[-1].shape == picture.shape:
      change = np.abs(picture - self._pictures[-1]).mean()
      self.frozen = bool(change <= _FROZEN * picture.std())
    if not self.frozen:
      self._pictures.append(picture)

  @property
  def known(self):
    """Whether there are enough looks for `still` to tell."""
    return len(self._pictures) >= _LEAST_LOOKS

  def still(self, box):
    """Whether the face in the box (x, y, side, as shown) has not moved for long."""
    if box not in self._told:
      self._told[box] = self.known and self._unmoved(box)
    return self._told[box]

  def _unmoved(self, box):
    x, y, side = (value * self._scale for value in box)
    top, bottom = max(0, round(y - side / 2)), round(y + side / 2)
    left = max(0, round((x - side / 2) / self._aspect))
    right = round((x + side / 2) / self._aspect)
    face = np.stack([one[top:bottom, left:right] for one in self._pictures])
    if not face.size:
      return False
    face -= face.mean((1, 2), keepdims=True)
    face /= face.std((1, 2), keepdims=True) + 1e-3
    return bool(face.std(0).mean() < _STILL)
