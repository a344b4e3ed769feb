import numpy as np
import pytest

from mvp_jax.raw.signals import bridge_gaps, conductance, unusable

RATE = 128.0


def test_conductance_is_the_inverse_of_resistance():
  ohm = np.array([1e5, 2e5, 1e6, 4e3])
  np.testing.assert_allclose(conductance(ohm), [10, 5, 1, 250])


def test_conductance_guards_against_what_is_no_resistance():
  ohm = np.array([0.0, -1e5, np.nan, np.inf, 1e-3, 1e5])
  np.testing.assert_array_equal(np.isfinite(conductance(ohm)), [False] * 5 + [True])


def test_short_gaps_are_bridged_linearly():
  line = np.arange(1000) * 0.5 - 20
  gappy = line.copy()
  gappy[300:428] = np.nan  # exactly a second
  gappy[500] = np.inf
  values, valid = bridge_gaps(gappy, RATE)
  assert valid.all() and values.dtype == np.float32
  np.testing.assert_allclose(values, line, rtol=1e-6)


def test_long_gaps_and_ends_stay_invalid():
  gappy = np.ones(1000)
  gappy[300:429] = np.nan  # a sample more than a second
  gappy[:3] = gappy[-2:] = np.nan
  values, valid = bridge_gaps(gappy, RATE)
  np.testing.assert_array_equal(valid, np.isfinite(gappy))
  assert np.all(values[~valid] == 0) and np.all(values[valid] == 1)


def test_nothing_measured():
  values, valid = bridge_gaps(np.full(50, np.nan), RATE)
  assert not valid.any() and not values.any()
  assert '100%' in unusable(np.full(50, np.nan))


@pytest.mark.parametrize('share, fine', [(0.19, True), (0.21, False)])
def test_mostly_missing_is_unusable(share, fine):
  values = np.arange(1000.0)
  values[: round(share * 1000)] = np.nan
  assert (unusable(values) == '') is fine


def test_flat_is_unusable():
  assert 'flat' in unusable(np.full(1000, 3.5))
