"""Flags of what a sensor gives: few steps, no contact, rails."""

import numpy as np
import pytest

from mvp_jax.raw.signal_quality import quality

SECONDS = 30


def drift(rate, rng=None):
  """A slow course around 0, from -1 to 1, with two responses as of sweat."""
  times = np.arange(SECONDS * rate) / rate
  course = 0.6 * np.sin(times / 9)
  for start in (6.0, 17.0):
    after = np.maximum(times - start, 0)
    course += 0.5 * (after / 1.5) * np.exp(1 - after / 1.5)
  return course


def rounded(values, step):
  return np.round(values / step) * step


@pytest.mark.parametrize('step', [0.001, 0.005, 0.02, 0.1])
@pytest.mark.parametrize('rate', [4, 32])
@pytest.mark.parametrize('repeated', [1, 16])
def test_a_plateau_of_few_steps_is_no_clipping(step, rate, repeated):
  values = np.repeat(rounded(5 + drift(rate), step), repeated)
  assert quality(values, rate * repeated, 'eda', 'microsiemens').flags == ()
  temperature = np.repeat(rounded(33 + 0.1 * drift(rate), 0.02), repeated)
  assert quality(temperature, rate * repeated, 'temp', 'celsius').clipped == 0


@pytest.mark.parametrize('repeated', [1, 16])
def test_a_rail_is(repeated):
  values = rounded(np.minimum(5 + drift(4), 5.7), 0.001)
  expected = (values == values.max()).mean()
  found = quality(np.repeat(values, repeated), 4 * repeated, 'eda', 'microsiemens')
  assert found.flags == ('clipped',) and found.clipped == pytest.approx(expected)


def test_a_rail_at_the_end_is_come_to_twice_as_steeply():
  for fall, clipped in ((0.015, False), (0.017, True)):  # 8 steps, 2 sides: 16
    values = rounded(5 + 0.5 * drift(4), 0.001)
    top = values.max() + fall
    values = np.append(values[: values.argmax() + 1], [top] * 3)
    found = quality(values, 4, 'eda', 'microsiemens')
    assert ('clipped' in found.flags) == clipped


def test_noise_at_a_rail():
  noise = np.random.default_rng(0).normal(0, 50, 3000)
  for step in (0.01, 1.0):
    whole, cut = rounded(noise, step), rounded(np.clip(noise, -80, 80), step)
    assert quality(whole, 100, 'emg').flags == ()
    assert quality(cut, 100, 'emg').flags == ('clipped',)


def test_an_electrode_that_is_off():
  rng = np.random.default_rng(0)
  loose = np.abs(rng.normal(0.01, 0.01, 1200))
  assert 'no_contact' in quality(loose, 40, 'eda', 'microsiemens').flags
  assert quality(loose + 0.1, 40, 'eda', 'microsiemens').no_contact == 0
  # In another unit its level means nothing.
  assert quality(loose, 40, 'eda').no_contact == 0
  assert quality(loose, 40, 'ppg', 'microsiemens').no_contact == 0
  values = np.where(np.arange(1200) < 480, 5 + drift(40), loose)
  assert quality(values, 40, 'eda', 'microsiemens').no_contact == pytest.approx(0.6)


def test_what_does_not_move():
  two = 0.3 + 0.001 * (np.random.default_rng(0).random(480) < 0.5)  # 2 min at 4 Hz
  assert quality(two, 4, 'eda', 'microsiemens').flags == ('still',)
  for channel in ('eda', 'emg_left', 'resp'):  # whatever the unit, it is one step
    assert quality(two, 4, channel).still == 1
  for channel in ('temp', 'ppg', 'other'):
    assert quality(two, 4, channel).still == 0
  fine = 0.3 + 0.0003 * np.random.default_rng(0).integers(0, 10, 480)
  assert quality(fine, 4, 'eda', 'microsiemens').flags == ('still',)
  assert quality(fine, 4, 'eda').still == 0
  calm = 0.3 + 0.008 * drift(4)
  assert quality(calm, 4, 'eda', 'microsiemens').still == 0


def test_stillness_is_a_share_of_half_minutes():
  moving, still = 5 + drift(4), np.full(120, 5.0)
  still[::3] += 0.001
  values = np.concatenate([moving, still, still, still])
  assert quality(values, 4, 'eda', 'microsiemens').still == pytest.approx(0.75)
  values[130:240] = np.nan  # less than ten seconds are left: not judged
  assert quality(values, 4, 'eda', 'microsiemens').still == pytest.approx(2 / 3)
  assert quality(still[:39], 4, 'eda', 'microsiemens').still == 0
  assert quality(np.full(200, np.nan), 4, 'eda', 'microsiemens').still == 0


def test_an_emg_holds_nothing_for_a_second():
  values = np.random.default_rng(0).normal(0, 10, 1800)
  values[600:1000] = values[600]
  assert quality(values, 100, 'emg_zygomaticus').flags == ('flat',)
  assert quality(values, 100, 'eda').flat == 0
