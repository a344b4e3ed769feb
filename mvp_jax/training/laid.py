"""The data of trials of several lengths, as models that train side by side share it."""

import dataclasses

import numpy as np

from mvp_jax.data.lengths import Plan, grown


@dataclasses.dataclass(frozen=True, eq=False)
class Laid:
  """Data of trials of several lengths; a trial may lie in the arrays of more than one.

  Attributes:
    plan: lengths.Plan, which deals rows.
    seconds: float [trials].
    lengths: int [trials], which of the plan's lengths each is evaluated in.
    rows: for each length the trials that lie in it: int [n], ascending.
    arrays: for each length a dict of arrays [n, ...].
  """

  plan: Plan
  seconds: np.ndarray
  lengths: np.ndarray
  rows: tuple[np.ndarray, ...]
  arrays: tuple[dict, ...]

  def of(self, items):
    """The seconds of rows to train on: float [items]."""
    return self.seconds[[_first(item) for item in items]]

  def places(self, length, rows):
    """Where some rows, an int array, lie in the arrays of a length."""
    return np.searchsorted(self.rows[length], rows).astype(np.int32)


def rows_of(plan, trainings, seconds, lengths):
  """`Laid.rows` of what some trainings read, and of what each trial is evaluated in.

  Args:
    trainings: for each its rows to train on, as `Member.train`.
  """
  found = [set(np.flatnonzero(lengths == i)) for i in range(len(plan.lengths))]
  size = sum(plan.rows)
  for items in trainings:
    order = np.argsort(seconds[[_first(item) for item in items]], kind='stable')
    for own, part in zip(found, plan.slices, strict=True):
      first = len(items) * part.start // size
      last = -(-len(items) * part.stop // size)
      for i in order[first:last]:
        own.update(np.atleast_1d(items[i]).tolist())
  return tuple(np.array(sorted(own), int) for own in found)


def _first(item):
  return item[0] if isinstance(item, tuple) else item


def laid(examples, trainings):
  """The data of TrialExamples, as `many.Models` takes it.

  A dict of arrays [trials, ...] where their plan deals no rows, else Laid. `trainings`
  as for `rows_of`.
  """
  plan = examples.plan
  if plan.rows is None:
    items = [examples[i] for i in range(len(examples))]
    return {name: np.stack([x[name] for x in items]) for name in items[0]}
  rows = rows_of(plan, trainings, examples.seconds, examples.lengths)
  arrays = []
  for own, shapes in zip(rows, examples.shapes(), strict=True):
    items = [grown(examples[i], shapes) for i in own]
    arrays.append({name: np.stack([x[name] for x in items]) for name in items[0]})
  return Laid(plan, examples.seconds, examples.lengths, rows, tuple(arrays))


def labels(examples, fitted, ids, data):
  """`Member.own` of labels by a Fitted, of the trials of some ids; see `laid`."""
  if not isinstance(data, Laid):
    return examples.labels_of(fitted, ids)
  return tuple(
    examples.labels_of(fitted, ids, rows, seconds)
    for rows, seconds in zip(data.rows, data.plan.lengths, strict=True)
  )
