"""Planted offsets between the pulse of the face and that of the body are found."""

import numpy as np
import pytest

from mvp_jax.raw import clock
from mvp_jax.raw.pulse import pos, skin_colour
from mvp_jax.synthetic import signals
from mvp_jax.synthetic.spec import TwinSpec

SPEC = TwinSpec(subjects=12, frame_rate=25.0)
RATE, ONSET = 128, 384
_BLOOD = np.array([0.33, 0.77, 0.53]) / 0.77  # red, green, blue
_SKIN = np.array([190.0, 140.0, 115.0])


def _colours(subject, late, noise=0.15, times=SPEC.frame_times):
  """Colours of a face whose frames are stamped `late` seconds too late."""
  rng = np.random.default_rng(subject)
  blood = np.interp(
    times - late, SPEC.frame_times, signals.face_pulse(SPEC, subject, 1)
  )
  light = (
    1
    + 0.05 * np.sin(2 * np.pi * 0.3 * times + subject)
    + 0.02 * np.sin(2 * np.pi * 1.3 * times)
  )  # as strong as the pulse, and within its band
  colours = _SKIN * light[:, None] * (1 - 0.01 * blood[:, None] * _BLOOD)
  return colours + noise * rng.standard_normal(colours.shape)


@pytest.fixture(scope='module')
def bodies():
  return {subject: signals.simulate_body(SPEC, subject, 1) for subject in range(1, 13)}


@pytest.mark.parametrize('channel', ['ppg', 'ecg_left', 'upside down'])
def test_planted_offsets(bodies, channel):
  errors, clocks = [], []
  for subject, body in bodies.items():
    late = (0.2 + 0.25 * subject) * (-1) ** subject  # 0.45 to 3.2 s
    values = {'ppg': body.ppg, 'ecg_left': body.ecg[:, 1], 'upside down': -body.ppg}[
      channel
    ][ONSET:]
    found = clock.compare(
      _colours(subject, late),
      SPEC.frame_times,
      values,
      RATE,
      'ecg_left' if channel == 'ecg_left' else 'ppg',
    )
    errors.append(abs(found.offset - late))
    clocks.append(found)
  errors, sure = np.array(errors), np.array([c.confidence > 0.8 for c in clocks])
  assert np.median(errors) < 0.1
  assert (errors < 0.2).sum() >= 10
  assert sure.sum() >= 6 and (errors[sure] >= 0.2).sum() <= 1


def test_another_body_s_pulse_does_not_fit(bodies):
  confidence = [
    clock.compare(
      _colours(subject, 0.0),
      SPEC.frame_times,
      bodies[subject % 12 + 1].ppg[ONSET:],
      RATE,
      'ppg',
    ).confidence
    for subject in bodies
  ]
  assert np.median(confidence) < 0.4 and np.max(confidence) < 0.9


def test_noise_tells_nothing(bodies):
  rng = np.random.default_rng(0)
  for subject in (1, 2, 3):
    found = clock.compare(
      _SKIN + rng.standard_normal((1500, 3)),
      SPEC.frame_times,
      bodies[subject].ppg[ONSET:],
      RATE,
      'ppg',
    )
    assert found.confidence < 0.5


def test_trials_that_share_an_offset_tell_more_together(bodies):
  clocks = [
    clock.compare(
      _colours(subject, 0.6, noise=1.0), SPEC.frame_times, body.ppg[ONSET:], RATE, 'ppg'
    )
    for subject, body in bodies.items()
  ]
  together = clock.pool([*clocks, clock.Clock(reason='no face')])
  assert together.offset == pytest.approx(0.6, abs=0.1)
  assert together.confidence > 0.95
  assert np.median([found.confidence for found in clocks]) < 0.7
  assert clock.pool([clock.Clock(reason='no face')]).reason


def test_gaps_and_uneven_times(bodies):
  rng = np.random.default_rng(1)
  times = SPEC.frame_times + rng.uniform(0, 0.03, SPEC.num_frames)
  colours = _colours(4, -1.2, times=times)
  colours[300:380] = np.nan
  colours[rng.random(len(colours)) < 0.05] = np.nan
  values = bodies[4].ppg[ONSET:].copy()
  values[2000:2300] = np.nan
  found = clock.compare(colours, times, values, RATE, 'ppg')
  assert found.offset == pytest.approx(-1.2, abs=0.1)


def test_what_cannot_be_compared(bodies):
  colours, times = _colours(1, 0.0), SPEC.frame_times
  ppg = bodies[1].ppg[ONSET:]
  for arguments, reason in (
    ((colours * np.nan, times, ppg, RATE, 'ppg'), 'no face'),
    ((colours[::5], times[::5], ppg, RATE, 'ppg'), '5 frames a second'),
    ((colours[:500], times[:500], ppg, RATE, 'ppg'), 'only 19 s of face'),
    ((colours, times, ppg * 0, RATE, 'ppg'), 'no pulse in ppg'),
    ((colours, times, ppg[:1000], RATE, 'ppg'), 'no pulse in ppg'),
    ((colours, times, ppg[:0], RATE, 'ppg'), 'no pulse in ppg'),
    ((colours, times, ppg * np.nan, RATE, 'ecg'), 'no pulse in ecg'),
    ((colours * 0 + 7, times, ppg, RATE, 'ppg'), 'never changes'),
    ((colours[:1], times[:1], ppg, RATE, 'ppg'), 'no face'),
  ):
    found = clock.compare(*arguments)
    assert reason in found.reason
    assert np.isnan(found.offset) and found.confidence == 0


def test_pos_keeps_the_pulse_and_drops_the_light():
  times = np.arange(0, 30, 1 / 32)
  pulse, light = np.sin(2 * np.pi * 1.2 * times), np.sin(2 * np.pi * 1.7 * times)
  colours = _SKIN * (1 + 0.02 * light[:, None]) * (1 - 0.005 * pulse[:, None] * _BLOOD)
  wave = pos(colours, 32.0)
  assert np.corrcoef(wave, pulse)[0, 1] > 0.98
  colours[200:300] = np.nan
  hole = pos(colours, 32.0)
  assert np.isnan(hole[200:300]).all() and np.isfinite(hole[:200]).all()


def test_colour_of_the_skin(draw_face):
  image = draw_face(200, 200, 100, 90, 120)
  np.testing.assert_allclose(skin_colour(image), (225, 190, 170), atol=6)
  shifted = np.roll(image, 7, axis=1)
  np.testing.assert_allclose(skin_colour(shifted), skin_colour(image), atol=1)
  assert np.isnan(skin_colour(np.zeros((50, 50, 3), np.uint8))).all()
  assert np.isnan(skin_colour(np.zeros((1, 1, 3), np.uint8))).all()
