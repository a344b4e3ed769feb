"""Means and deviations over training trials, of each place or of all tokens."""

import numpy as np
import pytest

from mvp_jax.data.scales import moments, rescaled
from mvp_jax.errors import InputError


@pytest.fixture
def values():
  """Three trials of four tokens of two numbers, some not known."""
  x = np.random.default_rng(0).normal(5, 2, (3, 4, 2)).astype(np.float32)
  x[0, 3] = np.nan
  x[1, :, 1] = np.nan
  return x


def test_moments_of_each_place(values):
  mean, deviation = moments(values, 'x')
  np.testing.assert_allclose(mean, np.nanmean(values, 0), rtol=1e-5)
  expected = np.nanstd(values, 0)
  expected[3, 1] = np.inf  # known of one trial alone
  np.testing.assert_allclose(deviation, expected, rtol=1e-4)


def test_moments_of_all_tokens_together(values):
  scale = moments(values, 'x', pooled=True)
  flat = values.reshape(-1, 2)
  np.testing.assert_allclose(scale[0], np.nanmean(flat, 0), rtol=1e-5)
  np.testing.assert_allclose(scale[1], np.nanstd(flat, 0), rtol=1e-4)
  found = rescaled(values, scale).reshape(-1, 2)
  np.testing.assert_allclose(np.nanmean(found, 0), 0, atol=1e-5)
  np.testing.assert_allclose(np.nanstd(found, 0), 1, rtol=1e-4)


@pytest.mark.parametrize('pooled', [False, True])
def test_of_nothing_there_are_none(pooled):
  with pytest.raises(InputError, match='x: the training trials have none of it'):
    moments(np.full((2, 3, 1), np.nan), 'x', pooled)
