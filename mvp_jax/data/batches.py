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

from mvp_jax.data.lengths import Deal, concatenated, drawn, grown
from mvp_jax.errors import InputError
from mvp_jax.processes import begin, once, script


def training_batches(
  source, batch_size, seed, workers=0, read=None, views=1, start=0, rows=None, plan=None
):
  """Endless shuffled batches: this process's rows of every one.

  Args:
    source: has `__len__` and `__getitem__`; or an endless grain.MapDataset, such as a
      mixture, which is read in its own order.
    batch_size: over all processes together; counts views.
    seed: of the order and of `read`'s random numbers.
    workers: reader processes; 0 = threads of this process.
    read: function of (item, numpy Generator) for what is random in an example.
    views: with more than one, each array of an example has a leading axis of that
      many views, each of which is a row of the batch.
    start: number of the first batch; those before it are not read.
    rows: function of a number of rows: which of them this process holds, ascending.
      None = as many as each other process, in the order of the processes.
    plan: lengths.Plan; if it deals rows, the source has `seconds` and `shapes`, see
      `examples.TrialExamples`, and `views` is 1.

  Returns:
    grain.IterDataset of dicts of arrays [rows, ...]; with a plan of several lengths,
    of tuples of these, one for each.

  Raises:
    InputError: processes or views cannot divide the batch; there are no examples.
  """
  once()
  if not len(source):
    raise InputError('there are no examples to train on')
  rows = rows or process_rows
  if plan is not None and plan.rows is not None:
    batches = _Dealt(source, batch_size, seed, read, start, rows, plan)
  else:
    examples = _examples(rows(batch_size), batch_size, views)
    mixed = len(source) == sys.maxsize
    data = source.seed(seed) if mixed else endless(source, seed)
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


def endless(source, seed):
  """grain.MapDataset of a source in one random order after another, without end."""
  return grain.MapDataset.source(_Epochs(source, seed)).seed(seed)


class _Epochs:
  """Not Grain's own shuffle, which takes .2 to .5 ms an example of a few hundred."""

  def __init__(self, source, seed):
    self._source, self._seed = source, seed
    self._orders = {}  # of the epochs that are being read

  def __len__(self):
    return sys.maxsize

  def __getitem__(self, index):
    epoch, place = divmod(index, len(self._source))
    order = self._orders.get(epoch)
    if order is None:
      order = np.random.default_rng([self._seed, epoch]).permutation(len(self._source))
      before = self._orders.get(epoch - 1)  # another thread may be there still
      self._orders = {epoch: order} | ({} if before is None else {epoch - 1: before})
    return self._source[order[place]]


def training_order(items, batch_size, seed, start=0, seconds=None):
  """Yields lists of items, endless: the order that `training_batches` reads them in.

  Args:
    items: numbers, or tuples of numbers of which each time one is drawn, see `drawn`.
    seconds: float [items], where a plan deals them by their lengths; else None.
  """
  several = any(isinstance(item, tuple) for item in items)
  if seconds is not None:
    deal = Deal(seconds, batch_size, seed)
    for batch in itertools.count(start):
      chosen = [(row, items[deal(batch, row)]) for row in range(batch_size)]
      yield [
        drawn(item, _rng(seed, batch, row)) if isinstance(item, tuple) else item
        for row, item in chosen
      ]
  data = endless(items, seed)
  if several:
    data = data.random_map(drawn)
  for first in itertools.count(start * batch_size, batch_size):
    yield [data[first + i] for i in range(batch_size)]


def _rng(seed, batch, row):
  return np.random.default_rng([seed, batch, row, 1])


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


class _Dealt:
  """A Grain source: item n is some rows of batch `start + n`, dealt by length.

  A tuple of dicts of arrays, one for each length of the plan.
  """

  def __init__(self, source, batch_size, seed, read, start, rows, plan):
    self._source, self._read, self._seed, self._start = source, read, seed, start
    self._deal = Deal(source.seconds, batch_size, seed)
    self._shapes = source.shapes()
    self._rows = [
      [part.start + row for row in rows(part.stop - part.start)] for part in plan.slices
    ]

  def __len__(self):
    return sys.maxsize

  def __getitem__(self, number):
    number = self._start + int(number)
    return tuple(
      _stacked([grown(self._example(number, row), shapes) for row in rows])
      for rows, shapes in zip(self._rows, self._shapes, strict=True)
    )

  def _example(self, batch, row):
    item = self._source[self._deal(batch, row)]
    return (
      item if self._read is None else self._read(item, _rng(self._seed, batch, row))
    )


def _stacked(items):
  return {name: np.stack([item[name] for item in items]) for name in items[0]}


def passes(source, batch_size, unit=1):
  """The batches of one pass: a list of (numbers of examples, rows of the batch).

  Each is of examples of one length, if they have several (`lengths` of the source),
  and then has no more rows than there are such examples, but a multiple of `unit`.
  """
  lengths = getattr(source, 'lengths', None)
  if lengths is None or len(set(lengths)) < 2:
    groups = [(range(len(source)), batch_size)]
  else:
    groups = [(np.flatnonzero(lengths == x).tolist(), 0) for x in np.unique(lengths)]
    groups = [(x, min(batch_size, -(-len(x) // unit) * unit)) for x, _ in groups]
  return [
    (own[first : first + rows], rows)
    for own, rows in groups
    for first in range(0, len(own), rows)
  ]


def evaluation_batches(source, batch_size, rows=None, unit=1):
  """One pass, see `passes`. Batches are filled up with examples of weight 0.

  Args:
    source: has `__len__` and `__getitem__`.
    batch_size: over all processes together.
    rows: as for `training_batches`; only these are read.
    unit: as for `passes`.
  """
  for numbers, size in passes(source, batch_size, unit):
    items = []
    for row in (rows or process_rows)(size):
      item = source[numbers[min(row, len(numbers) - 1)]]
      if row >= len(numbers):
        item = {**item, 'weight': np.float32(0)}
      items.append(item)
    yield _stacked(items)


def in_order(found, source, batch_size, unit=1):
  """What was found for the batches of `evaluation_batches`, of all examples in order.

  `found` are arrays [rows, ...], of labels in time padded with zeros to the longest.
  """
  asked = passes(source, batch_size, unit)
  numbers = np.concatenate([own for own, _ in asked])
  parts = [x[: len(own)] for x, (own, _) in zip(found, asked, strict=True)]
  return concatenated(parts)[np.argsort(numbers)]
