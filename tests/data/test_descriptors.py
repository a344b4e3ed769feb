"""Descriptors in time: means and deviations in spans, and what is left of a trial."""

import numpy as np
import pytest

from mvp_jax.data.descriptors import descriptor_names, descriptors, within
from mvp_jax.data.trial import Series


@pytest.fixture
def series():
  """4 s of 10 Hz with a gap, and a slower one of 1 Hz."""
  rng = np.random.default_rng(0)
  values = rng.normal(3, 1, (40, 2)).astype(np.float32)
  valid = np.ones((40, 2), bool)
  valid[10:20, 1] = False
  slow = np.arange(4, dtype=np.float32)[:, None]
  return {
    'signals': Series(np.where(valid, values, 0), valid, ('eda', 'ecg'), 10.0),
    'slow': Series(slow, np.ones((4, 1), bool), ('level',), 1.0),
  }


def test_means_and_deviations_of_each_channel(series):
  layouts = [(name, one.channels, one.rate) for name, one in series.items()]
  names = descriptor_names(layouts * 2, 1.0)
  assert names == [
    ('signals', 'eda', 'mean'),
    ('signals', 'ecg', 'mean'),
    ('signals', 'eda', 'log deviation'),
    ('signals', 'ecg', 'log deviation'),
    ('slow', 'level', 'mean'),  # one sample a span has no deviation
  ]
  found = descriptors(series, 1.0, 5, [*names, ('other', 'x', 'mean')])
  parts = series['signals'].values.reshape(4, 10, 2).astype(float)
  np.testing.assert_allclose(found[:4, 0], parts[..., 0].mean(1), rtol=1e-6)
  np.testing.assert_allclose(found[:4, 2], np.log(parts[..., 0].std(1)), rtol=1e-5)
  assert np.isnan(found[1, [1, 3]]).all() and np.isfinite(found[[0, 2, 3], 1]).all()
  np.testing.assert_array_equal(found[:4, 4], [0, 1, 2, 3])
  assert np.isnan(found[4]).all() and np.isnan(found[:, 5]).all()


def test_nothing_is_described_by_nothing(series):
  assert descriptors(series, 1.0, 5, []).shape == (5, 0)


def test_within_a_trial(series):
  x = np.array([[1.0, 5.0, np.nan], [3.0, 5.0, 2.0], [np.nan, 5.0, 6.0]])
  found = within(x)
  np.testing.assert_array_equal(found[:, 0], [-1, 1, np.nan])
  np.testing.assert_array_equal(found[:, 2], [np.nan, -1, 1])
  assert not found[:, 1].any()  # what never changes
  # Gain and offset of a microphone change nothing.
  np.testing.assert_allclose(within(x * 7 - 3), found, atol=1e-12)
