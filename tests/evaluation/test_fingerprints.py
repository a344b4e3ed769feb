"""Agreements of some pairs are those of all pairs."""

import numpy as np
import pytest

from mvp_jax.evaluation.fingerprints import (
  agreements,
  equal_pairs,
  fingerprint,
  flattened,
)


def _bits(seed, count, channels=2):
  rng = np.random.default_rng(seed)
  return np.where(rng.random((count, channels)) < 0.5, 1, -1).astype(np.int8)


def _by_hand(a, b, least):
  """The most that two agree at a shift of b, [time, k], by counting."""
  best = (0.0, 0)
  for shift in range(-len(a), len(b)):
    x, y = a[max(0, -shift) :], b[max(0, shift) :]
    n = min(len(x), len(y))
    if n >= max(least, min(len(a), len(b)) / 2):
      best = max(best, (abs((x[:n].astype(float) * y[:n]).sum(0).mean() / n), shift))
  return best


def test_agreements_are_those_that_are_counted():
  prints = [_bits(k, count) for k, count in enumerate((120, 90, 150, 120))]
  prints.append(prints[0][25:].copy())
  pairs = [(2, 1), (0, 4), (1, 3), (0, 3)]
  shifts, top = agreements(prints, pairs, 10.0)
  for (i, j), shift, agreed in zip(pairs, shifts, top, strict=True):
    expected, late = _by_hand(prints[i], prints[j], 80)
    assert agreed == pytest.approx(expected, abs=1e-5)
    assert shift == pytest.approx(late / 10)
  assert top[1] == pytest.approx(1) and shifts[1] == -2.5


def test_some_pairs_agree_as_all_do():
  prints = [_bits(k, 100 + 7 * (k % 3)) for k in range(12)]
  everything = equal_pairs(prints, 10.0, -1)
  assert len(everything) == 66
  some = [(i, j) for i, j, *_ in everything][::5]
  assert equal_pairs(prints, 10.0, -1, pairs=some) == everything[::5]


def test_what_has_no_bits_has_no_agreement():
  prints = [_bits(0, 100), np.zeros((100, 2), np.int8), _bits(2, 100)]
  _, top = agreements(prints, [(0, 1), (0, 2)], 10.0)
  assert np.isnan(top[0]) and np.isfinite(top[1])
  assert [len(x) for x in agreements(prints, [], 10.0)] == [0, 0]


def test_bits_are_every_second_sign_of_the_flattened_course():
  course = np.random.default_rng(0).normal(size=(2048, 2)).cumsum(0)
  wave = flattened(course, 128.0, (0.2, 4.0))
  bits = fingerprint(course, 128.0, (0.2, 4.0))
  assert wave.shape == (512, 2) and bits.shape == (256, 2)
  np.testing.assert_array_equal(bits, np.sign(wave[::2]))
  # Above its band there is nothing left.
  power = abs(np.fft.rfft(wave, axis=0)) ** 2
  hertz = np.fft.rfftfreq(512, 1 / 32.0)
  assert power[hertz >= 4.0].sum() < 1e-9 * power.sum()
