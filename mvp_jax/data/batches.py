"""Batches: Grain for training, padded passes for evaluation.

A batch is a function of its number alone. However many processes and workers
read, and wherever a run begins, batch n holds the same examples in the same rows
with the same random numbers; so a run is gone on with by its step, and nothing of
the reading is kept in checkpoints.
"""

import functools
import itertools
import signal
import sys

import grain
import jax
import numpy as np
from absl import flags

from mvp_jax.errors import InputError
from mvp_jax.processes import begin, once, script


def training_batches(
  source, batch_size, seed, workers=0, read=None, views=1, start=0, rows=None
):
  """Endless shuffled batches: this process's rows of every one.

  Args:
    source: has `__len__` and `__getitem__`; or a grain.MapDataset, such as a
      mixture, which may be endless and is then read in its own order.
    batch_size: over all processes together; counts views.
    seed: of the order and of `read`'s random numbers.
    workers: reader processes; 0 = threads of this process.
    read: function of (item, numpy Generator) for what is random in an example.
    views: with more than one, each array of an example has a leading axis of that
      many views, each of which is a row of the batch.
    start: number of the first batch; those before it are not read.
    rows: which rows of a batch this process holds, ascending. None = as many as
      each other process, in the order of the processes.

  Returns:
    grain.IterDataset of dicts of arrays [rows, ...].

  Raises:
    InputError: processes or views cannot divide the batch; there are no examples.
  """
  once()
  if not len(source):
    raise InputError('there are no examples to train on')
  rows = process_rows(batch_size) if rows is None else rows
  examples = _examples(rows, batch_size, views)
  known = isinstance(source, grain.MapDataset)
  data = _endless(source if known else grain.MapDataset.source(source), seed)
  if read is not None:  # its random numbers hang on the place in the endless order
    data = data.random_map(read)
  batches = _Batches(data, examples, batch_size // views, views, start)
  # Whole batches are what the threads and workers hand over: cheaper than single
  # examples, and the order does not depend on their number.
  reading = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
  data = grain.MapDataset.source(batches).to_iter_dataset(reading)
  if workers:
    if not flags.FLAGS.is_parsed():  # Grain reads them; in a notebook nobody has
      flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(num_workers=workers)
    belong = functools.partial(_belong_to_the_reader, script())
    data = data.mp_prefetch(options, worker_init_fn=belong)
  return data


def _endless(data, seed):
  data = data.seed(seed)
  return data.shuffle().repeat() if len(data) < sys.maxsize else data


def training_order(items, batch_size, seed, start=0):
  """Yields lists of items, endless: the order that `training_batches` reads them in."""
  data = _endless(grain.MapDataset.source(items), seed)
  for first in itertools.count(start * batch_size, batch_size):
    yield [data[first + i] for i in range(batch_size)]


def process_rows(batch_size):
  """This process's rows of a batch: a block, in the order of the processes."""
  processes = jax.process_count()
  if batch_size % processes:
    raise InputError(
      f'batch_size: {batch_size} rows cannot be divided over '
      f'{processes} processes; make it a multiple of {processes}'
    )
  share = batch_size // processes
  return range(jax.process_index() * share, (jax.process_index() + 1) * share)


def _examples(rows, batch_size, views):
  """Which examples of a batch hold some rows, all the views of each."""
  if batch_size % views:
    raise InputError(
      f'batch_size: {batch_size} rows are not whole examples of '
      f'{views} views each; make it a multiple of {views}'
    )
  examples = sorted({row // views for row in rows})
  if len(examples) * views != len(rows):
    raise InputError(
      f'batch_size: the {len(rows)} rows of a process, of {batch_size}, are not '
      f'whole examples of {views} views each; make it a multiple of {views} times '
      'the number of processes'
    )
  return examples


def _belong_to_the_reader(of, worker, workers):
  """Has a worker end with the process that reads from it, and not before.

  SIGTERM and Ctrl-C come to a whole group at once, and the step under way needs its
  batch; after SIGKILL nobody tells the workers.
  """
  signal.signal(signal.SIGTERM, signal.SIG_IGN)
  begin(of)


class _Batches:
  """A Grain source: item n is some examples of batch `start + n`, stacked."""

  def __init__(self, data, examples, per_batch, views, start):
    self._data, self._examples, self._per_batch = data, examples, per_batch
    self._views, self._start = views, start

  def __len__(self):
    return sys.maxsize

  def __getitem__(self, number):
    first = (self._start + int(number)) * self._per_batch
    items = [self._data[first + example] for example in self._examples]
    join = np.stack if self._views == 1 else np.concatenate
    return {name: join([item[name] for item in items]) for name in items[0]}


def evaluation_batches(source, batch_size, rows=None):
  """One pass in order. The last batch is filled up with examples of weight 0.

  Args:
    source: has `__len__` and `__getitem__`.
    batch_size: over all processes together.
    rows: as for `training_batches`; only these are read.
  """
  rows = process_rows(batch_size) if rows is None else rows
  for start in range(0, len(source), batch_size):
    items = []
    for row in rows:
      item = source[min(start + row, len(source) - 1)]
      if start + row >= len(source):
        item = {**item, 'weight': np.float32(0)}
      items.append(item)
    yield {k: np.stack([item[k] for item in items]) for k in items[0]}
