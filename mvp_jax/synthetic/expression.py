"""What the face of a twin does: expressions, distractors and head movement.

Valence v of the trial shows here and nowhere else. From a few seconds after
the onset come events of several seconds: smiles if v > 0 (mouth corners up,
mouth open with teeth, cheeks raised, eyes narrowed), frowns if v < 0 (corners
down, lips pressed, brows lowered). The larger |v|, the stronger, the longer
and the more of them. They stand on each subject's own resting mouth and brows
and own expressivity, among distractors that know nothing of v: talking, brow
raises, blinks, head movement, light. Nothing here depends on arousal; it moves
only the pulse in the skin (`face`), which takes frames of good quality to see.

In a coupled twin smiles and frowns of equal strength come in every trial, at the
moments that `moments` gives.
"""

import math

import numpy as np

from mvp_jax.synthetic.moments import moments
from mvp_jax.synthetic.ratings import latents
from mvp_jax.synthetic.spec import stream, wander

_SHOWN = 1.5  # how strongly a valence of 1 is shown


def expression(spec, subject, trial, felt=None):
  """Courses of one trial at `spec.frame_times`, each float64 [frames].

  `felt` is a valence that changes in time, float [frames] from -1 to 1, to be shown in
  place of the trial's own.

  smile, frown, brow_raise: 0 (none) to about 1.2; talk: opening of the mouth,
  0 to 1; eyes: 1 (open) to 0 (shut); light: gain about 1; and the head: x, y
  (half face widths from its place), roll (radians), size (about 1).
  """
  times, seconds = spec.frame_times, spec.trial_seconds
  rng = stream(spec, 'expression', subject, trial)
  gain = expressivity(spec, subject)
  if felt is not None:
    shown = np.clip(_SHOWN * gain * felt, -1.2, 1.2)
    smile, frown = np.maximum(shown, 0.0), np.maximum(-shown, 0.0)
  elif spec.variant == 'coupled':
    when = moments(spec, subject, trial)
    smile, frown = (_at(rng, times, x, gain) for x in (when.smiles, when.frowns))
  else:
    valence = float(np.clip(latents(spec, subject)[trial - 1, 0], -2.3, 2.3))
    events = _felt(rng, times, seconds, abs(valence), gain)
    still = np.zeros_like(events)
    smile, frown = (events, still) if valence > 0 else (still, events)
  syllables = 0.5 + 0.5 * np.sin(
    2 * math.pi * rng.uniform(2.5, 4) * times + wander(rng, times, (0.5, 2))
  )
  head = stream(spec, 'head', subject, trial)
  return {
    'smile': smile,
    'frown': frown,
    'talk': _distractor(rng, times, seconds, 2, (2, 4), 0.3) * syllables,
    'brow_raise': _distractor(rng, times, seconds, 2, (1, 3), 0.4),
    'eyes': 1 - _blinks(rng, times, seconds),
    'light': 1 + 0.03 * wander(head, times, (10, 60)),
    'x': 0.10 * wander(head, times) + 0.1 * head.normal(),
    'y': 0.06 * wander(head, times) + 0.06 * head.normal(),
    'roll': 0.05 * wander(head, times),
    'size': 1 + 0.03 * wander(head, times) + 0.03 * head.normal(),
  }


def expressivity(spec, subject):
  """How strongly a subject shows what it feels; about 1."""
  spread = stream(spec, 'expression', subject).normal()
  return math.exp(0.2 * float(np.clip(spread, -1.5, 1.5)))


def _felt(rng, times, seconds, strength, gain):
  """Course of the events that show valence."""
  course = np.zeros_like(times)
  start = rng.uniform(2, 5)
  while start < seconds:
    duration = (3.5 + 1.5 * strength) * rng.uniform(0.7, 1.3)
    height = (0.5 + 0.35 * strength) * gain * rng.uniform(0.8, 1.2)
    course = np.maximum(
      course, min(height, 1.2) * event(times, start, duration, rng.uniform(0.4, 0.9))
    )
    start += duration + rng.uniform(3, 8) / (1 + 0.5 * strength)
  return course


def _at(rng, times, starts, gain):
  """Course of events at given moments, of a strength that knows of nothing."""
  course = np.zeros_like(times)
  for start in starts:
    height = min(gain * rng.uniform(0.8, 1.2), 1.2)
    shown = event(times, start, rng.uniform(2.5, 3.5), rng.uniform(0.4, 0.9))
    course = np.maximum(course, height * shown)
  return course


def _distractor(rng, times, seconds, count, durations, height):
  """Course of events that know of nothing, of the onset neither.

  `count` is how many a minute.
  """
  course, first = np.zeros_like(times), times[0]
  for _ in range(rng.poisson(count * (seconds - first) / 60)):
    course = np.maximum(
      course,
      height
      * rng.uniform(0.6, 1.4)
      * event(times, rng.uniform(first, seconds), rng.uniform(*durations), 0.4),
    )
  return course


def _blinks(rng, times, seconds):
  first = times[0]
  count = round((seconds - first) * 4 / 3)
  starts = first + np.cumsum(0.5 + rng.gamma(2, 1.6, size=count))
  since = times[:, None] - starts[starts < seconds]
  return (
    np.where((since >= 0) & (since < 0.3), np.sin(math.pi * since / 0.3), 0)
    .sum(axis=1)
    .clip(0, 1)
  )


def event(times, start, duration, ramp):
  """Rises smoothly from 0 to 1 at `start` and falls again after `duration`."""

  def step(moment):
    share = np.clip((times - moment) / ramp, 0, 1)
    return share * share * (3 - 2 * share)

  return step(start) * (1 - step(start + duration))
