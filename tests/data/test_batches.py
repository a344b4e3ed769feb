"""Batches: order, exact positions, and nothing lost or counted twice."""

import itertools
import json

import numpy as np
import pytest

from mvp_jax.data.batches import evaluation_batches, training_batches


class _Numbers:
  """Example i is the number i."""

  def __init__(self, count):
    self.count = count

  def __len__(self):
    return self.count

  def __getitem__(self, index):
    return {'x': np.int32(index), 'weight': np.float32(1)}


def _add_noise(item, rng):
  return item | {'noise': rng.random(3, np.float32)}


def _take(batches, count):
  iterator = iter(batches)
  found = list(itertools.islice(iterator, count))
  getattr(iterator, 'close', lambda: None)()
  return found


def _numbers(batches):
  return np.concatenate([b['x'] for b in batches])


def _assert_same(one, other):
  assert len(one) == len(other)
  for a, b in zip(one, other, strict=True):
    assert set(a) == set(b)
    for name in a:
      np.testing.assert_array_equal(a[name], b[name])


def test_each_epoch_has_each_example_once_in_another_order():
  found = _numbers(_take(training_batches(_Numbers(12), 4, seed=0), 9)).reshape(3, 12)
  for epoch in found:
    np.testing.assert_array_equal(np.sort(epoch), np.arange(12))
  assert not np.array_equal(found[0], found[1])
  assert not np.array_equal(found[0], np.arange(12))


def test_a_batch_may_be_larger_than_the_source():
  batch, = _take(training_batches(_Numbers(3), 7, seed=0), 1)
  assert batch['x'].shape == (7,)
  assert set(batch['x'].tolist()) == {0, 1, 2}


def test_the_seed_gives_order_and_noise():
  def take(seed):
    return _take(training_batches(_Numbers(40), 4, seed, read=_add_noise), 12)

  _assert_same(take(5), take(5))
  one, other = take(5), take(6)
  assert not np.array_equal(_numbers(one), _numbers(other))
  noise = np.concatenate([b['noise'] for b in one])
  # New noise in the second epoch too: 48 examples, 40 of them different.
  assert len(np.unique(noise)) == noise.size


@pytest.mark.parametrize('workers', [0, 2])
def test_going_on_from_a_position_gives_the_very_same_batches(workers):
  def make(workers=workers):
    return training_batches(_Numbers(10), 4, 3, workers, _add_noise)

  through = iter(make())
  positions, batches = [], []
  for _ in range(7):
    positions.append(json.dumps(through.get_state()))
    batches.append(next(through))
  getattr(through, 'close', lambda: None)()
  assert len({b['x'].tobytes() for b in batches}) > 1
  if workers:  # who reads changes nothing
    _assert_same(_take(make(workers=0), 7), batches)

  for start in (0, 1, 4) if not workers else (4,):
    resumed = iter(make())
    resumed.set_state(json.loads(positions[start]))
    _assert_same(list(itertools.islice(resumed, 7 - start)), batches[start:])
    getattr(resumed, 'close', lambda: None)()


@pytest.mark.parametrize(('count', 'batch_size', 'batches'), [
    (8, 4, 2), (9, 4, 3), (3, 4, 1), (1, 1, 1)])
def test_evaluation_counts_each_example_once(count, batch_size, batches):
  found = list(evaluation_batches(_Numbers(count), batch_size))
  assert len(found) == batches
  assert all(b['x'].shape == (batch_size,) for b in found)
  weight = np.concatenate([b['weight'] for b in found])
  assert weight.dtype == np.float32
  np.testing.assert_array_equal(_numbers(found)[weight == 1], np.arange(count))
  assert weight.sum() == count


def test_evaluation_of_nothing():
  assert list(evaluation_batches(_Numbers(0), 4)) == []
