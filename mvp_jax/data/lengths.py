"""Batches of trials of different lengths, padded to few of them.

A compiled step takes arrays of one shape, and trials last as long as they last. A batch
is therefore dealt like cards: its first row is one of the shortest trials, its last row
one of the longest, and each row between is of its own part of the trials, sorted by
length. Rows that follow each other lie in one array, which is as long as the longest
trial that its last row can be. So every batch has the same shapes and the same mix of
lengths (one of long trials alone might be one of few stimuli), and every trial comes
once an epoch, as if there were one length.
"""

from typing import NamedTuple

import numpy as np

MOST = 6  # lengths; the step is compiled for each
# Seconds that are computed over seconds that trials last; with no more, fewer lengths
# do.
ENOUGH = 1.3


class Plan(NamedTuple):
  """How examples are padded, and how the rows of a batch lie.

  Attributes:
    lengths: seconds that examples are padded to, ascending.
    rows: rows of a batch of each length, in order; None: one length, not dealt.
  """

  lengths: tuple[float, ...]
  rows: tuple[int, ...] | None = None

  def number(self, seconds):
    """Which is the least length that holds so many seconds; the last one if none."""
    fitting = (i for i, x in enumerate(self.lengths) if seconds <= x)
    return next(fitting, len(self.lengths) - 1)

  @property
  def slices(self):
    """The rows of each length."""
    ends = np.cumsum(self.rows).tolist()
    return [slice(end - n, end) for end, n in zip(ends, self.rows, strict=True)]


def plan(trainings, limit, batch_size, most=MOST, unit=1):
  """The Plan that pads the least, with as few lengths as do.

  Those are the fewest that need no more than `ENOUGH` times the seconds that trials
  last, else `most`.

  Args:
    trainings: for each training its seconds, float [n]: how long each of its examples
      lasts.
    limit: seconds that examples are padded to at most.
    batch_size: rows of a batch.
    most: lengths, at most.
    unit: rows of a length are a multiple of it, as devices and micro-batches ask.
  """
  trainings = [np.minimum(np.sort(x), limit) for x in trainings if len(x)]
  if not trainings:
    return Plan((limit,))
  longest = np.zeros(batch_size + 1)  # of all rows up to each
  for seconds in trainings:
    ends = -(-len(seconds) * np.arange(1, batch_size + 1) // batch_size)
    longest[1:] = np.maximum(longest[1:], seconds[ends - 1])
  longest = np.minimum(np.ceil(longest), limit)
  longest[-1] = limit
  lasting = np.mean([x.mean() for x in trainings]) * batch_size
  if most == 1 or len(_split(longest, lasting, most, 1)) == 1:
    return Plan((limit,))
  edges = [0, *_split(longest, lasting, most, unit)]
  return Plan(tuple(longest[edges[1:]].tolist()), tuple(np.diff(edges).tolist()))


def _split(longest, lasting, most, unit):
  """The last row of each length, counted from 1."""
  rows = np.arange(0, len(longest), unit)
  cost = (rows - rows[:, None]) * longest[rows]  # [from, to]: of one array
  cost = np.where(rows > rows[:, None], cost, np.inf)
  least, ways = cost[0], [[(row,) for row in rows.tolist()]]
  while len(ways) < most and least[-1] > ENOUGH * lasting:
    costs = least[:, None] + cost
    before = costs.argmin(0)
    if costs.min(0)[-1] >= least[-1]:
      break
    least = costs.min(0)
    ways.append(
      [(*ways[-1][i], row) for i, row in zip(before, rows.tolist(), strict=True)]
    )
  return ways[-1][-1]


class Deal:
  """An endless order of examples, one of each part of their lengths in every batch.

  The examples, sorted by length, are cut into as many parts as a batch has rows. Where
  the number of rows does not divide theirs, parts begin and end a place earlier or
  later from epoch to epoch, so that each example comes equally often.

  Args:
    seconds: float [n], the length of each example.
    batch_size: rows of a batch.
    seed: of the order within each part.
  """

  def __init__(self, seconds, batch_size, seed):
    # Parts of less than one example would have nothing to give in some epochs.
    times = -(-batch_size // len(seconds))
    self._order = np.tile(np.arange(len(seconds)), times)
    by_length = np.argsort(np.tile(seconds, times), kind='stable')
    self._order = self._order[by_length].tolist()
    self._rows, self._seed, self._kept = batch_size, seed, {}

  def __call__(self, batch, row):
    """The number of the example in a row of a batch."""
    total, rows = len(self._order), self._rows

    def before(epoch, row):
      """Draws of all rows before this one in all epochs before this one."""
      return epoch * total * row // rows

    def drawn(epoch):
      return before(epoch, row + 1) - before(epoch, row)

    epoch = max(batch * rows // total - 1, 0)
    while drawn(epoch + 1) <= batch:
      epoch += 1
    first, end = (before(epoch + 1, r) - before(epoch, r) for r in (row, row + 1))
    kept = self._kept.get(row)
    if kept is None or kept[0] != epoch:
      rng = np.random.default_rng([self._seed, row, epoch])
      kept = self._kept[row] = epoch, rng.permutation(end - first).tolist()
    return self._order[first + kept[1][batch - drawn(epoch)]]


def drawn(item, rng):
  """A number: the item itself, or one of a tuple of them at random."""
  return item[int(rng.integers(len(item)))] if isinstance(item, tuple) else item


def grown(example, shapes):
  """An example whose arrays are padded with zeros, at the end, to some shapes."""
  found = dict(example)
  for name, shape in shapes.items():
    x = np.asarray(example[name])
    if x.shape != shape:
      pads = [(0, most - size) for size, most in zip(x.shape, shape, strict=True)]
      found[name] = np.pad(x, pads)
  return found


def concatenated(arrays):
  """Joins arrays [n, ...], padded with zeros to one shape behind the first axis."""
  shape = np.max([x.shape[1:] for x in arrays], axis=0).tolist()
  return np.concatenate([grown({0: x}, {0: (len(x), *shape)})[0] for x in arrays])
