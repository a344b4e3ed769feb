"""Writes what OpenFace 2.x would say of a twin's faces, as it would write it.

`true_units` follow from the expression that is drawn: a smile is AU6 and AU12 with
lips apart, a frown AU4 and AU15 with lips pressed, pain also AU6, AU7, AU9 and AU10.
An estimator adds a bias of its own
for each person and unit, noise that stays for a while and noise of each frame, and
loses the face now and then, above all when the head is turned.
"""

import functools

import numpy as np

from mvp_jax.raw.openface import CHANNELS, INTENSITIES, PRESENCES
from mvp_jax.synthetic.expression import expression
from mvp_jax.synthetic.face import face_track
from mvp_jax.synthetic.spec import stream

BIAS, SLOW, FAST = 0.25, 0.2, 0.15  # deviations of the estimator's errors, of 0 to 5
SLOW_SECONDS = 1.0
FAILURES = 2.0  # a minute
_LEAST = 1.0  # an intensity from which on a unit is said to be present
_FACE = ('frame', 'face_id', 'timestamp', 'confidence', 'success')
_LANDMARKS = 68


def true_units(spec, subject, trial, shown=None):
  """Intensities of one trial at `spec.frame_times`: float64 [frames, 17], 0 to 5.

  `shown`: what the face does, as `expression` gives it; None: that of the trial.
  """
  shown = expression(spec, subject, trial) if shown is None else shown
  smile, frown, talk = (shown[name] for name in ('smile', 'frown', 'talk'))
  raised, shut = shown['brow_raise'], 1 - shown['eyes']
  pain = shown.get('pain', np.zeros_like(smile))
  units = dict.fromkeys(INTENSITIES, np.zeros_like(smile))
  units |= {
    1: 3.5 * raised + 0.5 * frown,
    2: 3 * raised,
    4: 3 * frown,
    5: raised,
    6: 2.5 * smile + 3.5 * pain,
    7: 1.5 * smile + frown + 3 * pain,
    9: 3 * pain,
    10: 0.7 * smile + 4 * pain,
    12: 3.5 * smile,
    14: 0.8 * smile,
    15: 2.2 * frown,
    17: 1.5 * frown,
    20: 0.4 * talk,
    23: 1.2 * frown,
    25: 2 * smile + 3 * talk,
    26: 0.6 * smile + 2.2 * talk,
    45: 4 * shut,
  }
  return np.clip(np.stack([units[number] for number in INTENSITIES], 1), 0, 5)


def write_openface(path, spec, subject, trial, shown=None):
  """Writes the CSV of `FeatureExtraction -f VIDEO -aus` to `path`.

  `shown` is as `true_units` takes it.
  """
  _write(path, spec, [_estimate(spec, subject, trial, shown)])


def write_openface_together(path, spec, subjects, trial):
  """That of `FaceLandmarkVidMulti -aus -2Dfp` for people side by side.

  A face that was lost comes back under a number that is free, so numbers change hands;
  for as long as it is lost it has no row.
  """
  faces = []
  for seat, subject in enumerate(subjects):
    confidence, success, intensities, presences = _estimate(spec, subject, trial)
    x, y, width = face_track(spec, subject, trial).T.astype(float)
    outline = (
      _outline() * width[:, None, None] / 2
      + np.stack([x + seat * spec.width, y], 1)[:, None]
    )
    landmarks = outline.transpose(0, 2, 1).reshape(len(x), 2 * _LANDMARKS)
    faces.append((confidence, success, intensities, presences, landmarks))
  _write(
    path,
    spec,
    faces,
    _numbers(spec, subjects, trial, np.stack([face[1] for face in faces], 1)),
  )


def _estimate(spec, subject, trial, shown=None):
  """Confidence [n], success bool [n], intensities [n, 17], presences [n, 18]."""
  truth = true_units(spec, subject, trial, shown)
  times = spec.frame_times
  person = stream(spec, 'openface', subject)
  bias = BIAS * abs(person.normal(size=truth.shape[1]))
  rng = stream(spec, 'openface', subject, trial)
  said = (
    truth
    + bias
    + _slow(rng, times, truth.shape[1])
    + FAST * rng.normal(size=truth.shape)
  )
  sure = said > _LEAST + 0.1 * rng.normal(size=truth.shape)
  suck = rng.uniform(size=len(times)) < 0.01  # AU28 has no intensity
  presences = np.insert(sure, PRESENCES.index(28), suck, axis=1)
  lost = np.zeros(len(times), bool)
  for _ in range(rng.poisson(FAILURES * (times[-1] - times[0]) / 60)):
    start = rng.uniform(times[0], times[-1])
    lost |= (times >= start) & (times < start + rng.uniform(0.2, 1.5))
  confidence = np.where(
    lost,
    rng.uniform(0, 0.3, len(times)),
    rng.choice((0.98, 0.93, 0.88), len(times), p=(0.9, 0.07, 0.03)),
  )
  found = ~lost[:, None]
  return confidence, ~lost, np.clip(said, 0, 5) * found, presences * found


def _slow(rng, times, units):
  """Noise that stays for about `SLOW_SECONDS`: [frames, units]."""
  knots = np.arange(times[0], times[-1] + 2 * SLOW_SECONDS, SLOW_SECONDS)
  values = SLOW * rng.normal(size=(len(knots), units))
  return np.stack([np.interp(times, knots, column) for column in values.T], 1)


def _numbers(spec, subjects, trial, success):
  """Whose number is which in every frame: int [frames, faces]."""
  rng = stream(spec, 'openface', subjects[0], 1000 + trial)
  free = list(range(len(subjects) + 1))
  held, numbers = {}, np.zeros(success.shape, int)
  for frame, seen in enumerate(success):
    for face in np.flatnonzero(~seen):
      if face in held:
        free.append(held.pop(face))
    for face in np.flatnonzero(seen):
      if face not in held:
        held[face] = free.pop(rng.integers(len(free)))
      numbers[frame, face] = held[face]
  return numbers


@functools.cache
def _outline():
  """68 landmarks in half face widths about the middle: [68, 2]. Jaw first."""

  def arc(count, start, end, rx, ry, x=0.0, y=0.0):
    angles = np.linspace(start, end, count)
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], 1)

  pi, turn = np.pi, 2 * np.pi
  return np.concatenate(
    [
      arc(17, pi, 0, 1.0, 1.2),
      arc(5, pi, turn, 0.3, 0.08, -0.45, -0.5),
      arc(5, pi, turn, 0.3, 0.08, 0.45, -0.5),
      arc(4, -pi / 2, pi / 2, 0.02, 0.25),
      arc(5, pi, 0, 0.18, 0.05, 0, 0.3),
      arc(6, pi, 3 * pi, 0.2, 0.08, -0.42, -0.28),
      arc(6, pi, 3 * pi, 0.2, 0.08, 0.42, -0.28),
      arc(12, pi, 3 * pi, 0.4, 0.15, 0, 0.65),
      arc(8, pi, 3 * pi, 0.25, 0.05, 0, 0.65),
    ]
  )


def _write(path, spec, faces, numbers=None):
  """Faces are (confidence, success, intensities, presences[, landmarks])."""
  together = numbers is not None
  frames = np.arange(spec.num_frames)
  rows = []
  for i, (confidence, success, intensities, presences, *more) in enumerate(faces):
    rows.append(
      np.column_stack(
        [
          frames + 1,
          numbers[:, i] if together else np.zeros(len(frames)),
          frames / spec.frame_rate,
          confidence,
          success,
          *more,
          intensities,
          presences,
        ]
      )
    )
  rows = np.stack(rows, 1)  # [frame, face, column]
  rows = rows[rows[:, :, 4] > 0] if together else rows[:, 0]
  if together:
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
  marks = [f'{axis}_{i}' for axis in 'xy' for i in range(_LANDMARKS)] * together
  header = [*_FACE, *marks, *CHANNELS]
  formats = ['%d', '%d', '%.3f', '%.2f', '%d']
  for count, digits in ((len(marks), 1), (len(INTENSITIES), 2), (len(PRESENCES), 1)):
    formats += [f'%.{digits}f'] * count
  np.savetxt(path, rows, formats, ', ', header=', '.join(header), comments='')
