"""Models of one kind that train side by side: all folds and seeds as one program.

They share an architecture and the number of steps, and read the same trials, each in
its own order. Every device holds the trials once (of several lengths: some twice, see
`laid.Laid`); row numbers, drawn on the host by the sampler of single models, say which
of them a model trains on. The models, their
optimisers and everything else of a model's own are stacked along a leading axis, which
is split over all devices of the mesh; no device waits for another within a step. Each
model comes out as `loop.fit` would train it alone, to rounding.
"""

import dataclasses
import functools
import hashlib
import json
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from mvp_jax import hosts
from mvp_jax.data.batches import training_order
from mvp_jax.data.lengths import concatenated
from mvp_jax.errors import InputError
from mvp_jax.training import sharding, side_by_side
from mvp_jax.training.laid import Laid
from mvp_jax.training.loop import (
  ORDER,
  TRAIN,
  check_finite,
  check_stream,
  last_step,
  train,
)
from mvp_jax.training.state import (
  add,
  computed,
  fresh_state,
  like,
)

_DATA_SHARE = 0.25  # that the data of all trials may take
# On CPUs, where it lies in memory up to three times while it is laid out.
_DATA_ON_CPU = 512 << 20  # bytes


@dataclasses.dataclass(frozen=True)
class Member:
  """One of the models. Rows refer to the data that all models share."""

  run: str  # its name in metrics.jsonl
  curve: str  # the curve in TensorBoard that it belongs to
  seed: int  # of its parameters, dropout and order of examples
  # Rows; or tuples of rows, of which one is drawn each time.
  train: tuple[int | tuple[int, ...], ...]
  validation: tuple[int, ...] = ()  # rows
  # By name of an array [trials, ..., D], what `scales.rescaled` takes.
  scale: dict = dataclasses.field(default_factory=dict)
  # Arrays [trials, ...] instead of the shared ones: labels by another threshold. Of
  # data that is `Laid` a tuple of such dicts, one for each length.
  own: Any = dataclasses.field(default_factory=dict)
  # Overrides of the optimiser's learning_rate and weight_decay; all have the same.
  settings: dict = dataclasses.field(default_factory=dict)

  @property
  def apart(self):
    """What the programs of `side_by_side` take as a model's own."""
    own = self.own if isinstance(self.own, tuple) else (self.own,)
    settings = {name: np.float32(x) for name, x in self.settings.items()}
    return {'scale': self.scale, 'own': own, 'settings': settings}


class Models:
  """Models that are trained, and then evaluated, together.

  Stacked parameters are nested dicts of arrays [models, ...], possibly padded with
  copies of the last model so that all devices have equally many.

  Args:
    task: see `state.Task`.
    data: dict of arrays [trials, ...], of all trials of all models; or Laid.
    members: list of Member.
    config: TrainConfig; `workers` is ignored.
    mesh: of `sharding.make_mesh`; its axes do not matter.
    together: models that a device runs at a time; 0 = as many as fit.
    start: function of one model's random variables that gives those to start from; None
      = these.

  Raises:
    InputError: a member has nothing to train on; `accumulate` can't divide a batch.
  """

  def __init__(self, task, data, members, config, mesh, together=0, start=None):
    for member in members:
      if not member.train:
        raise InputError(f'{member.run}: there are no examples to train on')
    if config.batch_size % config.accumulate:
      raise InputError(
        f'config.train.batch_size: {config.batch_size} is not a multiple of '
        f'config.train.accumulate, {config.accumulate}'
      )
    self.task, self._members, self._config = task, members, config
    self._mesh, self._start = mesh, start
    self._split = NamedSharding(mesh, P(sharding.AXES))
    self._laid = data if isinstance(data, Laid) else None
    self._data = tuple(
      {name: side_by_side.put(x, sharding.replicated(mesh)) for name, x in part.items()}
      for part in (self._laid.arrays if self._laid else (data,))
    )
    share = -(-len(members) // mesh.size)
    if not together:
      rows = self._laid.plan.rows if self._laid else (config.batch_size,)
      together = side_by_side.at_a_time(
        task,
        config.optimiser,
        config.accumulate,
        mesh,
        members[0].apart,
        rows,
        self._data,
        share,
      )
    turns = -(-share // together)
    self._together = -(-share // turns)
    # Which model is at which place.
    self._places = np.minimum(
      np.arange(mesh.size * turns * self._together), len(members) - 1
    )
    self._own = jax.tree.map(
      lambda x: side_by_side.put(x, self._split),
      self._stack([m.apart for m in members]),
    )

  def _stack(self, items):
    """Stacks the trees of all models into one."""
    return jax.tree.map(lambda *x: np.stack([x[i] for i in self._places]), *items)

  def fit(self, *, run, directory, log, batch_size):
    """Trains all models to the configured step, as `loop.fit` trains one.

    It starts from the last intact checkpoint, whatever devices it was written on.

    Args:
      run: name of the group in progress and TensorBoard.
      directory: pathlib.Path for the checkpoints of the group.
      log: MetricLog.
      batch_size: of the validation.

    Returns:
      Stacked parameters.

    Raises:
      TrainingError: a metric is NaN or infinite (the model is named), or a checkpoint
        cannot be written.
      InputError: the checkpoint does not fit, or is of other models or batches.
      Stopped: SIGTERM or Ctrl-C was received; the step was finished and saved.
    """
    return train(_Side(self, run, directory, log, batch_size)).evaluated

  def _started(self, state):
    """The initial state of all models, from `start` on."""
    if self._start is None:
      return state
    start = jax.jit(jax.vmap(self._start), out_shardings=self._split)
    begun = start(state.variables)
    return dataclasses.replace(
      state,
      params=like(state.params, begun),
      model_state=like(state.model_state, begun),
    )

  def _where_saved(self):
    even = len(self._members) % self._mesh.size == 0
    return self._split if even else sharding.replicated(self._mesh)

  def validation(self, params, batch_size):
    """{name: [models]}: over each model's validation rows, as `loop.evaluate`."""
    rows = [m.validation for m in self._members]
    parts = (found for _, found in self._passes(params, 'evaluate', rows, batch_size))
    total = jax.vmap(computed)(functools.reduce(jax.vmap(add), parts))
    return {name: np.asarray(x, np.float64) for name, x in total.items()}

  def scores(self, params, rows, batch_size):
    """Each model's `task.scores` of its own rows: a list of [rows, ...].

    Args:
      params: stacked parameters.
      rows: for each model, the rows of the data to score.
      batch_size: rows per model at a time.
    """
    parts = list(self._passes(params, 'scores', rows, batch_size))
    scores = []
    for model in range(len(rows)):
      places = np.concatenate([asked[model] for asked, _ in parts])
      found = [x[model][: len(asked[model])] for asked, x in parts]
      scores.append(concatenated(found)[np.argsort(places)])
    return scores

  def _passes(self, params, method, rows, batch_size):
    """Yields, of one length after another, what each model says of some of its rows.

    Which of its rows these are, for each model their places; and the results of each
    model's `method`, stacked.
    """
    forward, laid = (
      side_by_side.forward(self.task, method, self._mesh, self._together),
      self._laid,
    )
    for length, data in enumerate(self._data):
      own = {**self._own, 'own': self._own['own'][length]}
      here = [
        np.flatnonzero(laid.lengths[[*of_one]] == length)
        if laid and of_one
        else np.arange(len(of_one))
        for of_one in rows
      ]
      most = max(map(len, here))
      size = min(batch_size, most) if laid else batch_size
      for start in range(0, most, max(size, 1)):
        asked = [places[start : start + size] for places in here]
        weight = np.array([np.arange(size) < len(x) for x in asked], np.float32)
        numbers = [
          [of_one[i] for i in x] + [of_one[x[-1]] if len(x) else 0] * (size - len(x))
          for x, of_one in zip(asked, rows, strict=True)
        ]
        numbers = np.array(numbers, np.int32)
        if laid:
          numbers = laid.places(length, numbers)
        found = forward(
          params,
          own,
          tuple(
            side_by_side.put(x[self._places], self._split) for x in (numbers, weight)
          ),
          data,
        )
        yield asked, jax.tree.map(lambda x: x[: len(rows)], jax.device_get(found))

  def one(self, params, index):
    """The parameters of one model, on all devices."""
    return jax.tree.map(
      lambda x: x[0],
      side_by_side.take((index,), sharding.replicated(self._mesh))(params),
    )

  def parameters(self, params):
    """The number of parameters of one model."""
    return sum(x.size // len(self._places) for x in jax.tree.leaves(params))


@dataclasses.dataclass(frozen=True)
class _Side:
  """Adapts `Models` to `loop.train`."""

  models: Models
  run: str
  directory: Any
  log: Any
  batch_size: int  # of the validation
  called = TRAIN

  @property
  def config(self):
    return self.models._config

  @property
  def mesh(self):
    return self.models._mesh

  @property
  def members(self):
    return self.models._members

  @property
  def stream(self):
    laid = self.models._laid
    return {
      'batch_size': self.config.batch_size,
      'order': ORDER,
      'models': _digest(self.members),
      **({'lengths': [*laid.plan.lengths], 'rows': [*laid.plan.rows]} if laid else {}),
    }

  @property
  def examples(self):
    return self.config.batch_size * len(self.members)

  @property
  def validates(self):
    return any(member.validation for member in self.members)

  def begin(self, checkpoints):
    models, config = self.models, self.config
    done = last_step(checkpoints, config.optimiser.steps, self.called.section)
    if done is None:
      seeds = np.array([m.seed for m in models._members], np.uint32)[models._places]
      fresh = side_by_side.fresh(models.task, config.optimiser, models._mesh)
      return models._started(fresh(side_by_side.put(seeds, models._split))), 0
    where = models._where_saved()
    one = jax.eval_shape(lambda: fresh_state(models.task, config.optimiser, 0))
    state, before = checkpoints.restore(
      done,
      jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
          (len(models._members), *x.shape), x.dtype, sharding=where
        ),
        one,
      ),
    )
    check_stream(checkpoints.directory, before, self.stream)
    return side_by_side.take(tuple(models._places), models._split)(state), done

  def batches(self, start):
    laid = self.models._laid
    orders = [
      training_order(
        member.train,
        self.config.batch_size,
        member.seed,
        start,
        laid.of(member.train) if laid else None,
      )
      for member in self.members
    ]
    while True:
      rows = np.stack([next(order) for order in orders])[self.models._places]
      if laid is None:
        yield (rows,)
        continue
      parts = enumerate(laid.plan.slices)
      yield tuple(laid.places(length, rows[:, part]) for length, part in parts)

  def put(self, rows):
    return tuple(side_by_side.put(x, self.models._split) for x in rows)

  def step(self, state, rows):
    models, config = self.models, self.config
    step = side_by_side.step(
      models.task,
      config.optimiser,
      config.accumulate,
      models._mesh,
      models._together,
    )
    return step(state, models._own, rows, models._data)

  def report(self, step, metrics, due):
    members = self.members
    metrics = {name: x[: len(members)] for name, x in metrics.items()}
    if not all(np.isfinite(x).all() for x in metrics.values()):
      for i, member in enumerate(members):
        facts = {k: float(x[i]) for k, x in metrics.items()}
        check_finite(member.run, step, facts, self.called.section)
    if due:
      self._write('train', step, metrics, range(len(members)))
    loss = metrics['loss']
    return {
      'models': len(members),
      'loss': f'{loss.mean():.4f}',
      'highest': f'{loss.max():.4f}',
    }

  def flops(self, rows):
    return None

  def validate(self, step, state):
    found = self.models.validation(state.evaluated, self.batch_size)
    here = [i for i, member in enumerate(self.members) if member.validation]
    self._write('validation', step, {k: x[here] for k, x in found.items()}, here)

  def _write(self, split, step, metrics, numbers):
    members = [self.members[i] for i in numbers]
    self.log.write_many(
      self.run,
      [member.run for member in members],
      [member.curve for member in members],
      split,
      step,
      metrics,
    )

  def inspect(self, step, state):
    pass

  def saved(self, state):
    """Without the padding: checkpoints do not depend on the number of devices."""
    models = self.models
    return side_by_side.take(tuple(range(len(self.members))), models._where_saved())(
      state
    )


def together_bytes(mesh):
  """How much data may lie on each device of a mesh; what is more is read from files."""
  device = mesh.devices.flat[0]
  limit = (device.memory_stats() or {}).get('bytes_limit')
  if device.platform == 'cpu' or limit is None:
    return _DATA_ON_CPU
  return min(hosts.gather(int(_DATA_SHARE * limit)))


def _digest(members):
  """Identifies these models and their batches."""
  facts = [
    (m.run, m.seed, jax.tree.map(int, list(m.train)), m.settings) for m in members
  ]
  return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
