"""How well a face was seen in a trial: numbers that a person can look at."""

import numpy as np

from mvp_jax.raw.channels import GOOD

# Names of the facts, in the order of the account's columns, with digits to show.
QUALITY = {
  'face_share': 4,
  'face_pixels': 1,
  'face_jitter': 5,
  'face_gaps': 0,
  'longest_gap': 2,
  'frozen_seconds': 2,
  'still_share': 4,
  'passing_share': 4,
  'face_flags': 0,
  'broken_packets': 0,
}

# A live camera never gives the same picture for so long; real films have 0 s.
_LEAST_FROZEN = 3.0
_LEAST_STILL = 0.3  # Share of frames; real films have 0.


def face_quality(times, valid, boxes, marks, pixel_aspect, crop_scale):
  """Says how well a face was seen.

  Args:
    times: float [time] in seconds.
    valid: bool [time], whether there is a face.
    boxes: float [time, 3], crops as `frames.face_frames` gives them.
    marks: bool [time, 3]: picture frozen, face still, bigger still face passed by.
    pixel_aspect: width / height of a stored pixel.
    crop_scale: the crop's side over the face's.

  Returns:
    dict of floats and ints: face_share (of the frames); face_pixels (median side
    of the face in stored rows, 0 without a face); face_jitter (root mean square
    of the second difference of the crop's centre from frame to frame, as a share
    of the face's side: 0 for a head that rests or moves evenly); face_gaps (how
    many runs of frames without a face); longest_gap (seconds); frozen_seconds (of
    pictures that do not change); still_share and passing_share (of the frames, in
    which the face stands as still as a picture of one, or is followed because a
    bigger one does); and face_flags (text).
  """
  edges = np.flatnonzero(np.diff(np.concatenate([[True], valid, [True]]).astype(int)))
  starts, ends = edges[::2], edges[1::2]
  step = np.median(np.diff(times)) if len(times) > 1 else 0.0
  stops = np.append(times, times[-1] + step)
  gaps = stops[ends] - times[starts]
  sides = boxes[:, 2] / crop_scale
  centres = boxes[:, :2] * [pixel_aspect, 1.0]
  moves = np.diff(centres, 2, axis=0)
  three = valid[:-2] & valid[1:-1] & valid[2:]
  jitter = (
    np.sqrt(np.mean(np.sum((moves / sides[1:-1, None])[three] ** 2, axis=1)))
    if three.any()
    else 0.0
  )
  frozen_seconds = float(marks[:, 0].sum() * step)
  still, passing = (float(share) for share in marks[:, 1:].mean(0))
  flags = []
  if frozen_seconds >= _LEAST_FROZEN:
    flags.append(f'the picture is frozen for {frozen_seconds:.0f} s')
  if still >= _LEAST_STILL:
    flags.append(f'as still as a photograph {still:.0%}')
  if passing:
    flags.append(f'a bigger still face passed by {passing:.0%}')
  return {
    'face_share': float(np.mean(valid)),
    'face_pixels': float(np.median(sides[valid])) if valid.any() else 0.0,
    'face_jitter': float(jitter),
    'face_gaps': len(gaps),
    'longest_gap': float(gaps.max()) if len(gaps) else 0.0,
    'frozen_seconds': frozen_seconds,
    'still_share': still,
    'passing_share': passing,
    'face_flags': '; '.join(flags) or GOOD,
  }
