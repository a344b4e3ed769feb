"""Looks for faces in a picture: everywhere, or near where one was."""

import math

import cv2
import numpy as np

from mvp_jax.raw.face_detector import (
  alike,
  cascade_faces,
  contrasted,
  network_faces,
  second_opinion,
)

# Where nothing is known: rows of the picture searched, smallest face as a share
# of them, votes needed. Small faces are only looked for if there are no big ones.
_SEARCHES = ((160, 0.15, 4), (320, 0.07, 6))
_NEAR_FACE = 40  # Side in pixels to which a known face is scaled.
_NEAR_MARGIN = 0.3  # How far around the last box to look, in its sides.
_TURNED_SECONDS = 5.0  # How often to look for faces on their side or head.


class FaceSearch:
  """Looks for faces in grey pictures, uint8 [height, width] in stored pixels.

  Args:
    pixel_aspect, region: as of `face.FaceTracker`.

  Attributes:
    turned: quarters clockwise by which the picture seems to be turned.
  """

  def __init__(self, pixel_aspect=1.0, region=(0.0, 1.0)):
    self.turned = 0
    self._aspect, self._region = pixel_aspect, region
    self._next_turned = -math.inf

  def everywhere(self, time, grey):
    """All faces in the picture at `time`: a list of boxes, (x, y, side) as shown."""
    left, right = (round(share * grey.shape[1]) for share in self._region)
    part = grey[:, left:right]
    for rows, least, neighbours in _SEARCHES:
      scale = min(1.0, rows / part.shape[0])
      least = int(least * part.shape[0] * scale)
      picture = contrasted(self._scaled(part, scale))
      if min(picture.shape) < max(least, 1):
        continue
      found = cascade_faces(picture, neighbours, least)
      faces = self._sure(part, self._placed(found, 0, 0, scale))
      boxes = [box for box, _, _ in faces]
      others = self._placed(network_faces(picture), 0, 0, scale)
      others = [box for box in others if not any(alike(box, one) for one in boxes)]
      others = self._sure(part, others)
      # What the network takes for upright may be a mouth for eyes; it is doubted
      # until the cascade sees an upright face, and then looked into again.
      if self.turned and faces or not faces and time >= self._next_turned:
        self._next_turned = time + _TURNED_SECONDS
        score = max((score for _, score, _ in faces + others), default=0.0)
        self._look_for_turned(picture, (neighbours, least), score, not faces)
      boxes += [seen for _, _, seen in others]
      if boxes and not self.turned:
        return [(left * self._aspect + x, y, side) for x, y, side in boxes]
    return []

  def _sure(self, grey, boxes):
    """(box, score, box as seen) of those in which a closer look sees a face."""
    opinions = [(box, second_opinion(grey, box, self._aspect)) for box in boxes]
    return [(box, *opinion) for box, opinion in opinions if opinion]

  def _look_for_turned(self, picture, search, score, doubted):
    """Looks for surer faces with the picture on its side or head."""
    if not doubted:
      self.turned = 0
    for quarters in (1, 2, 3):
      turned = np.ascontiguousarray(np.rot90(picture, quarters))
      for box in cascade_faces(turned, *search):
        opinion = second_opinion(turned, box)
        if opinion and opinion[0] > score:
          self.turned, score = quarters, opinion[0]

  def near(self, grey, box):
    """The face at a box, where it is now: a list of one box, or none."""
    x, y, side = box
    reach = (0.5 + _NEAR_MARGIN) * side
    low, high = (share * grey.shape[1] for share in self._region)
    top, left = max(0, int(y - reach)), int(max(low, (x - reach) / self._aspect))
    part = grey[top : int(y + reach), left : int(min(high, (x + reach) / self._aspect))]
    scale = _NEAR_FACE / side
    picture = contrasted(self._scaled(part, scale))
    # Far smaller faces are allowed than bigger ones: the cascade also fires on
    # windows bigger than the face, and the box would grow from step to step.
    least, most = int(0.65 * _NEAR_FACE), int(1.3 * _NEAR_FACE)
    if min(picture.shape) < least:
      return []
    found = self._placed(cascade_faces(picture, 2, least, most), left, top, scale)
    if not found:
      _, seen = second_opinion(grey, box, self._aspect) or (0, None)
      if seen and low <= seen[0] / self._aspect <= high:
        found = [seen]
    return found

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
