"""Copies are among the few pairs that hashes name, and the work follows the trials."""

import itertools

import numpy as np
import pytest

from mvp_jax.evaluation.candidates import Index, few_of_each

_RATE = 32.0


def _noise(seed, seconds=30, channels=1):
  """Noise up to 4 Hz: float32 [time, channels]."""
  rng = np.random.default_rng(seed)
  size = round(seconds * _RATE)
  spectrum = np.fft.rfft(rng.normal(size=(size, channels)), axis=0)
  spectrum[np.fft.rfftfreq(size, 1 / _RATE) > 4] = 0
  wave = np.fft.irfft(spectrum, size, axis=0)
  return (wave / wave.std()).astype(np.float32)


def _pairs(courses, most=5, **options):
  index = Index(_RATE, **options)
  for course in courses:
    index.add(course)
  if len(courses) <= most + 1:
    raise ValueError('all would be named')
  return {tuple(pair) for pair in index.pairs(most).tolist()}


@pytest.mark.parametrize('channels', [1, 2])
@pytest.mark.parametrize('together', [False, True])
def test_copies_are_named_however_changed(channels, together):
  courses = [_noise(k, channels=channels) for k in range(60)]
  x, other = courses[7], _noise(99, channels=channels)
  courses += [
    3 * x,
    -x,
    x[333:],
    x[100:-500],
    np.concatenate([_noise(98, 9, channels), x[:650]]),
    x + 0.4 * other,
  ]
  found = _pairs(courses, 12, together=together)
  assert {(7, k) for k in range(60, 66)} <= found


def test_of_most_pairs_nothing_is_said():
  courses = [_noise(k) for k in range(200)]
  found = _pairs(courses)
  # Each is named by itself five times at most, and by others: of 19,900 pairs.
  assert len(found) <= 5 * 200
  assert all(i < j for i, j in found)


def test_what_all_have_hides_no_copy():
  # One channel is the same in all: as a trigger, or a wave at each onset.
  shared = _noise(1000)
  own = [_noise(k) for k in range(60)] + [_noise(11)[200:]]
  courses = [np.concatenate([shared[: len(x)], x], 1).astype(np.float32) for x in own]
  assert (11, 60) in _pairs(courses, 8)


def test_pairs_are_the_same_however_many_meetings_are_counted_at_a_time(monkeypatch):
  courses = [_noise(k, 20) for k in range(40)] + [_noise(3, 20)[64:]]
  whole = _pairs(courses, 10)
  monkeypatch.setattr('mvp_jax.evaluation.candidates._MEETINGS', 1 << 12)
  parts = _pairs(courses, 10)
  assert (3, 40) in whole & parts
  assert len(whole ^ parts) < 0.2 * len(whole)  # ties, by which comes first


def test_what_stands_still_or_is_not_there_is_in_no_pair():
  still = np.zeros((900, 2), np.float32)
  courses = [still[:0], _noise(0), still, _noise(0)[99:], still, _noise(1)]
  assert (1, 3) in _pairs(courses, 4)
  assert not {0, 2, 4} & {k for pair in _pairs(courses, 4) for k in pair}


def test_few_are_all_compared():
  index = Index(_RATE)
  assert index.pairs(2).shape == (0, 2)
  for k in range(3):
    index.add(_noise(k))
  assert index.pairs(2).tolist() == [[0, 1], [0, 2], [1, 2]]


def test_a_pair_is_kept_by_either_of_its_courses():
  pairs = np.array(list(itertools.combinations(range(4), 2)))
  #         01 02 03 12 13 23
  score = [9, 8, 7, 1, 2, 3]
  assert few_of_each(pairs, np.array(score), 1).tolist() == [0, 1, 2]
  assert few_of_each(pairs[:0], np.zeros(0), 1).tolist() == []
