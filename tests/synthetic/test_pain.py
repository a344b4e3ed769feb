"""Pain in twins: the face's events, and what the body does."""

import dataclasses

import numpy as np
import pytest

from mvp_jax.synthetic.pain import Pace, pace, pain_events, pained
from mvp_jax.synthetic.pain_body import MUSCLES, pain_body


@dataclasses.dataclass(frozen=True)
class _Spec:
  seed: int = 0
  variant: str = 'planted'
  frame_rate: float = 25.0
  trial_seconds: float = 20.0

  @property
  def frame_times(self):
    return np.arange(round(self.trial_seconds * self.frame_rate)) / self.frame_rate


def test_an_event_rises_and_ends_at_the_persons_pace():
  times = np.arange(100) / 10
  course = pain_events(times, [2.0], [0.5], Pace(0.3, 1.5, 1.2))
  assert not course[times <= 2.0].any() and not course[times >= 3.9].any()
  np.testing.assert_allclose(course[(times >= 2.31) & (times <= 3.49)], 0.6)
  assert pain_events(times, [2.0], [1.0], Pace(0.3, 1.5, 1.2)).max() == 1
  assert not pain_events(times, [], [], Pace(0.3, 1.5, 1.2)).any()


def test_people_differ_in_pace_and_a_person_has_one():
  spec = _Spec()
  paces = [pace(spec, subject) for subject in range(1, 40)]
  assert paces[0] == pace(spec, 1)
  for values in zip(*paces, strict=True):
    assert max(values) > 1.3 * min(values)
  assert all(0.5 <= one.seconds <= 1.6 for one in paces)


def test_without_pain_the_brows_are_never_as_low_nor_the_eyes_shut_for_long():
  spec, strongest = _Spec(), []
  for trial in range(1, 30):
    shown = pained(spec, 1, trial, np.zeros(500))
    strongest.append(shown['frown'].max())
    shut = (shown['eyes'] < 0.2).astype(int)
    runs = np.diff(np.flatnonzero(np.diff(np.pad(shut, 1))))[::2]
    assert max(runs, default=0) <= 8  # a blink, 0.3 s
  assert 0.1 < max(strongest) <= 0.3  # a tension comes, slowly
  hurt = pained(spec, 1, 1, np.where(spec.frame_times > 10, 1.0, 0.0))
  assert hurt['frown'][-1] > 1 and hurt['eyes'][-1] == 0


def test_the_rest_of_a_face_does_not_depend_on_pain():
  calm, hurt = (pained(_Spec(), 2, 3, np.full(500, x)) for x in (0.0, 0.8))
  for name in ('x', 'y', 'roll', 'size', 'talk', 'brow_raise', 'smile', 'light'):
    np.testing.assert_array_equal(calm[name], hurt[name])


@pytest.fixture(scope='module')
def bodies():
  spec = _Spec(trial_seconds=5.5)
  return [
    [pain_body(spec, subject, trial, 512.0, start) for subject in (1, 2, 3)]
    for trial in (1, 2, 3)
    for start in (1.0, None)
  ]


def test_the_body_reacts(bodies):
  reacting, calm = bodies[::2], bodies[1::2]

  def tension(body, name):
    return np.std(body[name][600:1000]) / np.std(body[name][:400])

  for name in MUSCLES:
    hurt, rest = (
      np.median([tension(x, name) for trial in some for x in trial])
      for some in (reacting, calm)
    )
    assert hurt > 1.5 * rest

  def risen(body):
    return (body['eda'][-1] - body['eda'][800]) / body['eda'][800]

  hurt, rest = (
    np.array([risen(x) for trial in some for x in trial]) for some in (reacting, calm)
  )
  assert np.median(hurt) > 0.06 and abs(np.median(rest)) < 0.02
  assert all(len(x['ecg']) == 2816 and np.isfinite(x['ecg']).all() for x in reacting[0])
