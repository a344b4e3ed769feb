"""Resampling: nothing folds back, nothing shifts, gaps stay gaps."""

import numpy as np
import pytest

from mvp_jax.errors import InputError
from mvp_jax.raw.resample import resample


def _sine(frequency, times):
  return np.sin(2 * np.pi * frequency * times + 0.3)


@pytest.mark.parametrize('source', [1000.0, 512.0, 256.0, 130.7, 64.0, 4.0])
@pytest.mark.parametrize('rate', [128.0, 25.0])
def test_what_the_new_rate_can_hold_stays_where_it_is(source, rate):
  frequency = 0.12 * min(source, rate)
  times = np.arange(round(40 * source)) / source
  values, valid = resample(_sine(frequency, times), times, rate, round(40 * rate))
  new = np.arange(round(40 * rate)) / rate
  inner = (new > 2) & (new < 38)
  assert valid[inner].all() and values.dtype == np.float32
  assert abs(values - _sine(frequency, new))[inner].max() < 0.05


@pytest.mark.parametrize(
  ('source', 'rate'), [(1000, 128), (512, 128), (64, 4), (130.7, 25)]
)
def test_what_it_cannot_hold_does_not_fold_back(source, rate):
  times = np.arange(round(40 * source)) / source
  for frequency in (0.55 * rate, 0.9 * rate, min(3.1 * rate, 0.45 * source)):
    values, _ = resample(_sine(frequency, times), times, rate, round(40 * rate))
    assert abs(values[5 * rate : -5 * rate]).max() < 0.01


def test_a_clock_that_drifts_and_jitters():
  rng = np.random.default_rng(0)
  even = np.arange(0, 60, 1 / 256)
  times = even * 1.003 + 0.0005 * even**1.2 + rng.uniform(-1, 1, len(even)) / 1600
  values, valid = resample(_sine(5, times), times, 128, 7000)
  new = np.arange(7000) / 128
  inner = slice(128, -128)
  assert valid[inner].all()
  assert abs(values - _sine(5, new))[inner].max() < 0.1
  assert np.corrcoef(values[inner], _sine(5, new)[inner])[0, 1] > 0.999


def test_gaps_are_bridged_up_to_a_second_and_masked_beyond():
  times = np.arange(0, 30, 1 / 100)
  values = _sine(0.1, times)
  values[500:560] = np.nan  # 0.6 s
  lost = (times > 12) & (times < 12.7) | (times > 20) & (times < 23)
  new, valid = resample(values[~lost], times[~lost], 64, 1920)
  at = np.arange(1920) / 64
  np.testing.assert_array_equal(~valid, (at > 20.005) & (at < 22.995))
  assert abs(new - _sine(0.1, at))[valid].max() < 0.05
  assert not new[~valid].any()


def test_nothing_is_invented_outside_the_recording():
  times = 5 + np.arange(1000) / 100
  values, valid = resample(np.ones(1000), times, 50, 1000, start=0.0)
  at = np.arange(1000) / 50
  np.testing.assert_array_equal(valid, (at >= 5) & (at < 15))
  np.testing.assert_allclose(values[valid], 1, atol=1e-6)


def test_channels_of_different_rates_meet():
  ends = []
  for source in (4, 32, 64, 1000):
    times = np.arange(60 * source) / source
    values, _ = resample(_sine(0.2, times), times, 16, 900, start=1.0)
    ends.append(values)
  assert np.ptp(ends, axis=0)[32:-32].max() < 0.02


@pytest.mark.parametrize('values', [[1.0, 2.0], [np.nan, np.nan], [np.nan, 3.0, 1.0]])
def test_hardly_any_samples(values):
  new, valid = resample(values, np.arange(len(values)) / 4, 128, 100)
  assert new.shape == valid.shape == (100,) and np.isfinite(new).all()
  assert valid.any() == (np.isfinite(values).sum() > 1)


@pytest.mark.parametrize(
  ('values', 'times', 'says'),
  [
    ([1.0], [0.0], 'at least two'),
    ([1.0, 2.0], [0.0], 'at least two'),
    ([1.0, 2.0], [1.0, 1.0], 'do not rise'),
    ([1.0, 2.0], [1.0, np.nan], 'do not rise'),
  ],
)
def test_what_is_no_signal(values, times, says):
  with pytest.raises(InputError, match=says):
    resample(values, times, 128, 100)


def test_a_rate_that_is_none():
  with pytest.raises(InputError, match='rate of 0'):
    resample([1.0, 2.0], [0.0, 1.0], 0, 10)
