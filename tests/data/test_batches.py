"""Batches: functions of their number, and nothing lost or counted twice."""

import contextlib
import itertools

import grain
import jax
import numpy as np
import pytest

from mvp_jax.data.batches import endless, evaluation_batches, training_batches
from mvp_jax.errors import InputError


class _Numbers:
  """Example i is the number i; notes which were asked for."""

  def __init__(self, count):
    self.count, self.asked = count, []

  def __len__(self):
    return self.count

  def __getitem__(self, index):
    self.asked.append(int(index))
    return {'x': np.int32(index), 'weight': np.float32(1)}


def _add_noise(item, rng):
  return item | {'noise': rng.random(3, np.float32)}


def _two_views(item, rng):
  return {'x': np.int32([item['x']] * 2), 'noise': rng.random((2, 3), np.float32)}


def _take(batches, count):
  with contextlib.closing(iter(batches)) as iterator:
    return list(itertools.islice(iterator, count))


def _numbers(batches):
  return np.concatenate([b['x'] for b in batches])


def _assert_same(one, other):
  assert len(one) == len(other)
  for a, b in zip(one, other, strict=True):
    assert set(a) == set(b)
    for name in a:
      np.testing.assert_array_equal(a[name], b[name])


def _of_process(monkeypatch, index, count):
  monkeypatch.setattr(jax, 'process_index', lambda: index)
  monkeypatch.setattr(jax, 'process_count', lambda: count)


def test_each_epoch_has_each_example_once_in_another_order():
  found = _numbers(_take(training_batches(_Numbers(12), 4, seed=0), 9)).reshape(3, 12)
  for epoch in found:
    np.testing.assert_array_equal(np.sort(epoch), np.arange(12))
  assert not np.array_equal(found[0], found[1])
  assert not np.array_equal(found[0], np.arange(12))


def test_a_batch_may_be_larger_than_the_source():
  (batch,) = _take(training_batches(_Numbers(3), 7, seed=0), 1)
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


@pytest.mark.parametrize('processes', [1, 2, 4])
@pytest.mark.parametrize('views', [1, 2])
def test_processes_read_shares_of_the_very_same_batches(monkeypatch, processes, views):
  read = _two_views if views == 2 else _add_noise
  # 10 examples: epochs end within batches.
  wanted = _take(training_batches(_Numbers(10), 8, 3, read=read, views=views), 6)
  shares = []
  for process in range(processes):
    _of_process(monkeypatch, process, processes)
    shares.append(
      _take(training_batches(_Numbers(10), 8, 3, read=read, views=views), 6)
    )
  found = [
    {name: np.concatenate([batch[name] for batch in parts]) for name in parts[0]}
    for parts in zip(*shares, strict=True)
  ]
  _assert_same(found, wanted)
  assert wanted[0]['noise'].shape == (8, 3)
  assert len(np.unique(wanted[0]['noise'])) == 24


@pytest.mark.parametrize('start', [0, 1, 4])
def test_starting_later_gives_what_would_have_come(start):
  wanted = _take(training_batches(_Numbers(10), 4, 3, read=_add_noise), 7)
  found = _take(
    training_batches(_Numbers(10), 4, 3, read=_add_noise, start=start), 7 - start
  )
  _assert_same(found, wanted[start:])
  assert len({b['x'].tobytes() for b in wanted}) > 1


def test_what_is_skipped_is_not_read():
  source = _Numbers(10)
  _take(training_batches(source, 4, 3, start=1_000_000), 2)
  assert len(source.asked) < 100  # and what was read ahead


def test_who_reads_changes_nothing():
  def make(workers):
    return training_batches(_Numbers(10), 4, 3, workers, _two_views, views=2, start=2)

  _assert_same(_take(make(2), 5), _take(make(0), 5))


def test_rows_may_be_named():
  whole = _take(training_batches(_Numbers(10), 8, 3, read=_add_noise), 3)
  some = _take(
    training_batches(
      _Numbers(10), 8, 3, read=_add_noise, rows=lambda count: [0, 1, 6, 7]
    ),
    3,
  )
  _assert_same(some, [{k: v[[0, 1, 6, 7]] for k, v in b.items()} for b in whole])


def test_a_mixture_keeps_its_weights_in_every_process(monkeypatch):
  def mixture():
    return grain.MapDataset.mix(
      [
        grain.MapDataset.source(_Numbers(n)).map(lambda x, tag=n: x | {'tag': tag})
        for n in (30, 10)
      ],
      weights=[0.75, 0.25],
    )

  wanted = _take(training_batches(mixture(), 8, 1, read=_add_noise), 10)
  tags = np.concatenate([b['tag'] for b in wanted])
  assert (tags == 30).sum() == 60 and (tags == 10).sum() == 20
  for tag in (30, 10):  # in two epochs each example twice
    numbers = _numbers(wanted)[tags == tag]
    np.testing.assert_array_equal(np.bincount(numbers), np.full(tag, 2))
  _of_process(monkeypatch, 1, 2)
  share = _take(training_batches(mixture(), 8, 1, read=_add_noise), 10)
  _assert_same(share, [{k: v[4:] for k, v in b.items()} for b in wanted])


def test_every_epoch_has_each_example_once_in_an_order_of_its_own():
  data = endless(_Numbers(50), 3)
  epochs = [[int(data[50 * e + i]['x']) for i in range(50)] for e in (0, 1, 2, 1)]
  assert all(sorted(epoch) == [*range(50)] for epoch in epochs)
  assert epochs[1] == epochs[3]
  assert len({tuple(epoch) for epoch in epochs}) == 3
  assert epochs[0] != [int(endless(_Numbers(50), 4)[i]['x']) for i in range(50)]


def test_an_endless_mixture_comes_in_its_own_order():
  source = grain.MapDataset.source(_Numbers(5)).repeat()
  found = _take(training_batches(source, 3, 1, read=_add_noise, start=1), 2)
  assert _numbers(found).tolist() == [3, 4, 0, 1, 2, 3]


@pytest.mark.parametrize(
  ('batch_size', 'views', 'processes', 'message'),
  [
    (6, 1, 4, r'batch_size: 6 rows cannot be divided over 4 processes'),
    (6, 4, 1, r'batch_size: 6 rows are not whole examples of 4 views'),
    (4, 4, 2, r'batch_size: the 2 rows of a process, of 4, .* multiple of 4 times'),
  ],
)
def test_batches_that_cannot_be_divided(
  monkeypatch, batch_size, views, processes, message
):
  _of_process(monkeypatch, 0, processes)
  with pytest.raises(InputError, match=message):
    training_batches(_Numbers(10), batch_size, 0, views=views)


def test_training_on_nothing():
  with pytest.raises(InputError, match='no examples'):
    training_batches(_Numbers(0), 4, 0)


@pytest.mark.parametrize(
  ('count', 'batch_size', 'batches'), [(8, 4, 2), (9, 4, 3), (3, 4, 1), (1, 1, 1)]
)
def test_evaluation_counts_each_example_once(count, batch_size, batches):
  found = list(evaluation_batches(_Numbers(count), batch_size))
  assert len(found) == batches
  assert all(b['x'].shape == (batch_size,) for b in found)
  weight = np.concatenate([b['weight'] for b in found])
  assert weight.dtype == np.float32
  np.testing.assert_array_equal(_numbers(found)[weight == 1], np.arange(count))
  assert weight.sum() == count


@pytest.mark.parametrize('count', [9, 11, 13])
def test_processes_evaluate_shares_of_the_same_batches(monkeypatch, count):
  wanted = list(evaluation_batches(_Numbers(count), 4))
  shares = []
  for process in range(2):
    _of_process(monkeypatch, process, 2)
    shares.append(list(evaluation_batches(_Numbers(count), 4)))
  _assert_same(
    [
      {k: np.concatenate([a[k], b[k]]) for k in a} for a, b in zip(*shares, strict=True)
    ],
    wanted,
  )


def test_evaluation_of_nothing():
  assert list(evaluation_batches(_Numbers(0), 4)) == []
