"""Lengths that waste little, and batches that hold their share of each."""

import collections
import itertools

import numpy as np
import pytest

from mvp_jax.data.lengths import ENOUGH, Deal, Plan, concatenated, plan


def _lognormal(count=956, median=44.0, longest=329.0):
  z = np.random.default_rng(0).standard_normal(count)
  z -= np.median(z)
  return median * np.exp(z * np.log(longest / median) / z.max())


def _cost(found):
  return np.dot(found.lengths, found.rows)


def test_trials_of_one_length_are_not_dealt():
  assert plan([np.full(40, 60.0)] * 2, 60.0, 32) == Plan((60.0,))
  assert plan([[50, 55, 60]], 60.0, 4) == Plan((60.0,))  # nearly
  assert plan([_lognormal()], 329.0, 32, most=1) == Plan((329.0,))
  assert plan([], 60.0, 32) == Plan((60.0,))


@pytest.mark.parametrize(('batch', 'wanted'), [(16, 1.45), (32, 1.35), (64, 1.35)])
def test_a_corpus_with_a_long_tail_is_padded_by_a_third(batch, wanted):
  seconds = _lognormal()
  folds = [seconds[np.arange(len(seconds)) % 5 != fold] for fold in range(5)]
  found = plan(folds, 329.0, batch)
  assert len(found.lengths) <= 6 and found.lengths[-1] == 329
  assert sum(found.rows) == batch and list(found.lengths) == sorted(found.lengths)
  assert _cost(found) < wanted * batch * seconds.mean() < 329 * batch / 4


@pytest.mark.parametrize(('most', 'unit'), [(2, 1), (3, 1), (3, 2)])
def test_no_other_way_pads_less(most, unit):
  seconds = np.sort(np.random.default_rng(3).uniform(5, 100, 37))
  found = plan([seconds], 100.0, 8, most, unit)
  assert len(found.lengths) == most
  ends = [np.ceil(seconds[-(-37 * row // 8) - 1]) for row in range(1, 8)] + [100.0]
  places = range(unit, 8, unit)
  least = np.inf
  for cuts in itertools.combinations(places, most - 1):
    edges = [0, *cuts, 8]
    cost = sum((b - a) * ends[b - 1] for a, b in itertools.pairwise(edges))
    least = min(least, cost)
  assert _cost(found) == least and not np.any(np.array(found.rows) % unit)


def test_no_more_lengths_than_are_needed():
  seconds = [30.0] * 50 + [120.0] * 50
  found = plan([seconds], 120.0, 8)
  assert found == Plan((30.0, 120.0), (4, 4))
  assert _cost(found) / 8 <= ENOUGH * np.mean(seconds)


@pytest.mark.parametrize(
  ('count', 'batch'), [(12, 4), (13, 4), (101, 32), (33, 32), (31, 32), (3, 7), (5, 1)]
)
def test_each_example_comes_equally_often(count, batch):
  deal = Deal(np.random.default_rng(1).uniform(1, 9, count), batch, seed=5)
  times = -(-batch // count)  # that a smaller corpus comes in what is dealt at once
  batches = 2 * count * times
  drawn = [deal(i, row) for i in range(batches) for row in range(batch)]
  found = collections.Counter(drawn)
  assert found == dict.fromkeys(range(count), 2 * batch * times)
  # Not only in the end: after any number of batches.
  for batches in (1, count // 2, count):
    often = collections.Counter(drawn[: batches * batch])
    share = batches * batch / count
    # Rows are up to a part of an epoch apart.
    assert all(abs(often[i] - share) < 1 + times for i in range(count))


@pytest.mark.parametrize(('count', 'batch'), [(100, 16), (23, 8), (5, 8)])
def test_no_row_is_longer_than_its_array(count, batch):
  rng = np.random.default_rng(count)
  folds = [rng.lognormal(3, 0.8, count + extra) for extra in range(3)]
  found = plan(folds, 1000.0, batch)
  assert len(found.lengths) > 1
  for seconds in folds:
    deal = Deal(seconds, batch, seed=0)
    for i in range(3 * count):
      for part, most in zip(found.slices, found.lengths, strict=True):
        rows = range(part.start, part.stop)
        assert max(seconds[deal(i, row)] for row in rows) <= most


def test_batches_have_the_same_mix_in_another_order():
  seconds = np.random.default_rng(2).permutation(np.arange(40.0))
  one, other, again = (Deal(seconds, 4, seed) for seed in (0, 1, 0))
  means = []
  for i in range(20):
    batch = [seconds[one(i, row)] for row in range(4)]
    assert [int(x // 10) for x in batch] == [0, 1, 2, 3]
    means.append(np.mean(batch))
  assert np.std(means) > 0
  order = [one(i, 0) for i in range(20)]
  assert order[:10] != order[10:] and sorted(order[:10]) == sorted(order[10:])
  assert order != [other(i, 0) for i in range(20)]
  # Any batch can be asked for, in any order.
  assert order == [again(i, 0) for i in reversed(range(20))][::-1]


def test_arrays_of_different_lengths_are_joined():
  found = concatenated([np.ones((2, 3, 1)), np.full((1, 5, 1), 2.0)])
  assert found.shape == (3, 5, 1)
  np.testing.assert_array_equal(found[0, :, 0], [1, 1, 1, 0, 0])
  np.testing.assert_array_equal(
    concatenated([np.arange(2), np.arange(3)]), [0, 1, 0, 1, 2]
  )
