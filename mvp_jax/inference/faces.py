"""Whose faces are seen in every frame of a video, and which of them is predicted."""

import numpy as np

from mvp_jax.raw.face import crop_scale
from mvp_jax.raw.video_times import video_times

EARLY = 1e-3  # seconds; times of stored frames are float32
# A stored frame further from the next by more than this share of its side is of another
# face, or after a cut: there is no box between the two.
_MOST_MOVED = 0.5
_LEAST_OVERLAP = 0.2  # of two boxes of one face, found by two looks


def seen(corpus, recording, found):
  """Times, faces, boxes, who and others of a video, see `predict.Estimates`.

  Args:
    corpus: recordings.Recordings.
    recording: manifest.Recording.
    found: recordings.Found.
  """
  if recording.video is None:
    return None, None, None, None, []
  video = found.trial.streams.get('video')
  count = found.facts.get('video_frames')
  times = video_times(recording.video).numbered(count and int(float(count)))
  if video is None:
    return times, None, None, None, []
  boxes, aspect = corpus.boxes(found.trial)
  own, clock = np.asarray(video.times, float), times - recording.video_onset
  after = np.clip(np.searchsorted(own, clock), 1, max(len(own) - 1, 1))
  before = after - 1
  after = np.minimum(after, len(own) - 1)
  near = np.where(clock - own[before] <= own[after] - clock, before, after)
  share = (clock - own[before]) / np.maximum(own[after] - own[before], 1e-9)
  share = np.clip(share, 0, 1)[:, None]
  between = boxes[before] * (1 - share) + boxes[after] * share
  moved = np.abs(boxes[after] - boxes[before]).max(1) > _MOST_MOVED * boxes[near, 2]
  placed = np.where(moved[:, None], boxes[near], between)
  inside = (clock > -EARLY) & (clock < found.trial.seconds - EARLY)
  faces = video.valid[near] & inside
  x, y, side = placed.T
  boxes = _laid(x, y, side / crop_scale(corpus.metadata['crop']), aspect)
  boxes = np.where(faces[:, None], boxes, np.nan)
  laid = []
  for one in corpus.people(found.trial):
    x, y, side = one.at(clock).T
    laid.append(_laid(x / aspect, y, side, aspect))
  return times, faces, boxes, *_told_apart(boxes, laid)


def _laid(x, y, side, aspect):
  """Left, top, width and height, in stored pixels, of squares as shown: [n, 4]."""
  width = side / aspect
  return np.stack([x - width / 2, y - side / 2, width, side], axis=1)


def _told_apart(boxes, seen):
  """Whose face is predicted, and the boxes of the others: see `Estimates`.

  Args:
    boxes: float [N, 4], of the face that is predicted.
    seen: of each person float [N, 4], in the order of their first look.
  """
  if not seen:
    return np.zeros(len(boxes), int), [np.full_like(boxes, np.nan)]
  common = np.stack([_overlap(boxes, one) for one in seen])  # [persons, N]
  who = np.where(common.max(0) > _LEAST_OVERLAP, common.argmax(0), -1)
  known = np.flatnonzero(who >= 0)
  if len(known):  # between two looks it is whose it was
    place = np.searchsorted(known, np.arange(len(who)), 'right') - 1
    who = who[known[np.maximum(place, 0)]]
  else:
    who[:] = 0
  counts = np.bincount(who, minlength=len(seen))
  order = sorted(
    range(len(seen)), key=lambda i: (-counts[i] * (i == counts.argmax()), i)
  )
  number = np.argsort(order)
  who = number[who]
  others = [np.where((who == number[i])[:, None], np.nan, seen[i]) for i in order]
  return who, others


def _overlap(one, other):
  """Intersection over union of boxes [N, 4] each; 0 where one is NaN: [N]."""
  first = np.maximum(one[:, :2], other[:, :2])
  last = np.minimum(one[:, :2] + one[:, 2:], other[:, :2] + other[:, 2:])
  common = np.prod(np.maximum(last - first, 0), axis=1)
  areas = np.prod(one[:, 2:], axis=1) + np.prod(other[:, 2:], axis=1)
  return np.nan_to_num(common / (areas - common))
