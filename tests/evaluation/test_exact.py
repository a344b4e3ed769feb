"""Smooth signals that are one to the last digits are copies; chance fits are not."""

import numpy as np
import pytest
import scipy.signal

from mvp_jax.evaluation import exact
from mvp_jax.evaluation.content import same_signals

_RATE = 128.0


def _skin(seed, seconds=30, noise=5e-4):
  """A drift, a few responses and little noise, all of it slow: float32 [time, 1]."""
  rng = np.random.default_rng(seed)
  count = round(seconds * _RATE)
  times = np.arange(count) / _RATE
  wave = 5 + 0.02 * rng.normal() * times
  for start in rng.uniform(-5, seconds, seconds // 6):
    since = np.maximum(0, times - start)
    wave += rng.uniform(0.1, 0.5) * since**2 * np.exp(-since / rng.uniform(0.6, 1.0))
  sos = scipy.signal.butter(4, 1.5, fs=_RATE, output='sos')
  hum = scipy.signal.sosfiltfilt(sos, rng.normal(size=count))
  return (wave + noise * hum / hum.std()).astype(np.float32)[:, None]


def _late(x, begin):
  places = np.arange(begin, len(x) - 1)
  return np.interp(places, np.arange(len(x)), x[:, 0])[:, None].astype(np.float32)


def _is_same(first, second, late):
  return exact.is_same(*(exact.bends(x, _RATE) for x in (first, second)), late, _RATE)


@pytest.mark.parametrize('seed', range(3))
def test_exact_copies_of_smooth_signals_are_found(seed):
  skins = [_skin(100 * seed + k) for k in range(12)]
  assert same_signals(skins, _RATE) == ([], [])
  x = skins[4]
  changed = {
    'equal': (x, 0.0),
    'scaled': (0.3 * x + 7, 0.0),
    'inverted': (-2 * x[1000:], 1000),
    'cropped': (x[500:-900], 500),
    'between samples': (_late(x, 700.4), 700.4),
  }
  for name, (copy, begin) in changed.items():
    found, _ = same_signals([*skins, copy], _RATE)
    assert [pair[:2] for pair in found] == [(4, 12)], name
    assert found[0][2] == pytest.approx(-begin / _RATE, abs=0.02)


def test_a_copy_with_noise_is_not_exact():
  x = _skin(0)
  assert _is_same(x, x[256:], -2.0) == (True, -2.0)
  assert _is_same(x, x[256:], -1.95) == (True, -2.0)  # met nearby
  noise = np.random.default_rng(0).normal(0, 0.01 * x.std(), x.shape)
  assert not _is_same(x, (x + noise)[256:], -2.0)[0]
  assert not _is_same(x, _skin(1), 0.0)[0]


def test_what_fits_at_several_places_is_no_copy():
  times = np.arange(30 * _RATE)[:, None] / _RATE
  tone = np.sin(2 * np.pi * 0.7 * times)
  later = 3 * np.sin(2 * np.pi * 0.7 * times + 1.0)
  assert not _is_same(tone, later, -1.0 / (2 * np.pi * 0.7))[0]


def test_few_levels_that_fit_by_chance_are_no_copy():
  rng = np.random.default_rng(0)
  stairs = 0.02 * np.cumsum(rng.random(30) < 0.5)
  drift = np.repeat(stairs, 128)[:, None]
  assert exact.levels(exact.bends(drift, _RATE), _RATE)[0] < exact.LEVELS
  assert not _is_same(drift, drift, 0.0)[0]


def test_a_channel_that_all_have_is_no_copy_but_one_that_stands_still_does_not_matter():
  shared, still = _skin(9), np.full((30 * 128, 1), 33.4, np.float32)
  a, b = (np.concatenate([shared, _skin(k)], axis=1) for k in (1, 2))
  assert not _is_same(a, b, 0.0)[0]
  a = np.concatenate([still, shared], axis=1)
  assert _is_same(a, 1.7 * a + 0.1, 0.0)[0]


def test_what_is_short_or_still_is_told_from_nothing():
  x = _skin(0)
  assert not _is_same(x, x[: 7 * 128], 0.0)[0]
  assert not _is_same(x[:100], x[:100], 0.0)[0]
  assert not exact.bends(np.full((3000, 2), 1e3), _RATE).any()
  assert same_signals([x[:100], x[:100]], _RATE) == ([], [0, 1])
