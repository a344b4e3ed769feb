"""Signals are changed as said, and never what is not there."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mvp_jax.data.augment_signals import (
  SignalAugmentConfig,
  augment_signals,
  nearly_normal,
)

NONE = SignalAugmentConfig(noise=0, gain=0, drift=0, channel_dropout=0, crop=0, shift=0)


@pytest.fixture(scope='module')
def batch():
  rng = np.random.default_rng(0)
  values, levels = rng.standard_normal((2, 64, 200, 3)).astype(np.float32)
  valid = np.ones((64, 200), bool)
  valid[:, 150:] = False
  return jnp.array(values), jnp.array(levels), jnp.array(valid)


def _changed(batch, seed=0, **strength):
  config = dataclasses.replace(NONE, **strength)
  return [np.asarray(x) for x in augment_signals(*batch, jax.random.key(seed), config)]


def test_nothing_is_changed_at_no_strength(batch):
  for before, after in zip(batch, _changed(batch), strict=True):
    np.testing.assert_array_equal(before, after)


def test_noise_is_of_shapes_drift_of_levels_and_both_are_drawn_anew(batch):
  values, levels, _ = _changed(batch, noise=0.5)
  added = values - batch[0]
  assert added.std() == pytest.approx(0.5, rel=0.02)
  np.testing.assert_array_equal(levels, batch[1])
  values, levels, _ = _changed(batch, drift=0.5)
  added = levels - batch[1]
  np.testing.assert_array_equal(values, batch[0])
  assert np.ptp(added, axis=1).max() < 1e-5  # one number for a channel
  assert added[:, 0].std() == pytest.approx(0.5, rel=0.15)
  assert not np.array_equal(levels, _changed(batch, 1, drift=0.5)[1])


def test_noise_is_nearly_normal_and_white():
  x = np.asarray(nearly_normal(jax.random.key(0), (2, 200_000)))
  assert x.mean() == pytest.approx(0, abs=0.01)
  assert x.std() == pytest.approx(1, rel=0.01)
  assert scipy.stats.kstest(x.ravel(), 'norm').statistic < 0.01
  assert 3 < np.abs(x).max() < 3.46
  for by in (1, 2, 3, 4):
    assert abs(np.corrcoef(x[0, by:], x[0, :-by])[0, 1]) < 0.01
  assert abs(np.corrcoef(x)[0, 1]) < 0.01


def test_gain_and_silence_are_the_same_for_shape_and_level(batch):
  values, levels, _ = _changed(batch, gain=0.3, channel_dropout=0.4)
  size = (values / batch[0])[:, 0]
  np.testing.assert_allclose(levels / batch[1], size[:, None] + 0 * levels, rtol=1e-4)
  silent = size == 0
  assert silent.mean() == pytest.approx(0.4 - 0.4**3 / 3, abs=0.08)
  assert (~silent).any(1).all()  # one channel at least
  assert np.log(size[~silent]).std() == pytest.approx(0.3, rel=0.2)


def test_a_crop_takes_away_both_ends_at_most_so_much(batch):
  *_, valid = _changed(batch, crop=0.5)
  assert not (valid & ~np.asarray(batch[2])).any()
  kept = valid.sum(1)
  assert kept.min() >= 49 and kept.max() <= 150 and len(set(kept.tolist())) > 10


def test_a_shift_moves_values_with_their_validity(batch):
  values, levels, valid = _changed(batch, shift=0.1)
  moved = set()
  for i in range(len(values)):
    by = next(
      by
      for by in range(-20, 21)
      if np.array_equal(values[i, 20:-20], batch[0][i, 20 - by : 180 - by])
    )
    moved.add(by)
    np.testing.assert_array_equal(levels[i, 20:-20], batch[1][i, 20 - by : 180 - by])
    np.testing.assert_array_equal(valid[i, 20:-20], batch[2][i, 20 - by : 180 - by])
    assert not valid[i, : max(by, 0)].any()
  assert len(moved) > 10


def test_strengths_that_mean_nothing():
  for name, value in (('noise', -1.0), ('crop', 1.0), ('shift', float('nan'))):
    with pytest.raises(ValueError, match=f'{name} is'):
      SignalAugmentConfig(**{name: value})
