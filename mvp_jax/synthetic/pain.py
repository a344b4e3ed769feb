"""Pain in a twin's face: short, strong events, each at the person's own pace.

An event lowers the brows, presses the lips and narrows the eyes within a few tenths of
a second, closes them at its height, and is over within a second or two. How fast it
comes, how long it lasts and how strongly it is shown is each person's own. It stands
among distractors that know nothing of pain: blinks, talking, brows that are raised, and
a tension of the brows that comes slowly, stays for seconds and never gets as strong.
"""

import math
from typing import NamedTuple

import numpy as np

from mvp_jax.synthetic.expression import event, expression
from mvp_jax.synthetic.spec import stream

CLOSED_FROM = 0.6  # of a course, from which on the eyes are shut
_TENSION = 0.3  # height of what is no pain, at most
_TENSIONS = 4  # a minute


class Pace(NamedTuple):
  """How one person shows pain.

  `rise` and `seconds` of an event, `gain` of what is shown, about 1.
  """

  rise: float
  seconds: float
  gain: float


def pace(spec, subject):
  """The Pace of a person, the same in all trials."""
  rng = stream(spec, 'pain', subject)
  gain = math.exp(0.15 * float(np.clip(rng.normal(), -1.5, 1.5)))
  return Pace(rng.uniform(0.15, 0.4), math.exp(rng.uniform(*np.log([0.5, 1.6]))), gain)


def pain_events(times, starts, heights, own):
  """The course of events: float64 [times], 0 to 1.

  Args:
    times: float [n], seconds.
    starts, heights: one for each event; heights at most 1.
    own: Pace; its gain is on top of the heights.
  """
  course = np.zeros(len(times))
  for start, height in zip(starts, heights, strict=True):
    shown = min(1.0, own.gain * height)
    course = np.maximum(course, shown * event(times, start, own.seconds, own.rise))
  return course


def pained(spec, subject, trial, pain):
  """The courses of a face, as `face.face_frames` takes them, and `pain` itself.

  `pain` is a course of `pain_events` at `spec.frame_times`.
  """
  times = spec.frame_times
  shown = expression(spec, subject, trial, np.zeros(len(times)))
  rng = stream(spec, 'pain', subject, trial)
  tension = np.zeros(len(times))
  for _ in range(rng.poisson(_TENSIONS * spec.trial_seconds / 60)):
    start, length = rng.uniform(-3, spec.trial_seconds), rng.uniform(3, 8)
    slow = event(times, start, length, 1.5)
    tension = np.maximum(tension, _TENSION * rng.uniform(0.3, 1) * slow)
  shut = np.clip((pain - CLOSED_FROM + 0.15) / 0.15, 0, 1)
  return shown | {
    'pain': pain,
    'frown': np.clip(np.maximum(1.2 * pain, tension), 0, 1.5),
    'eyes': shown['eyes'] * (1 - 0.4 * pain) * (1 - shut),
    'pulse': np.zeros(len(times)),
  }
