"""The one training loop, for every task."""

import contextlib
import dataclasses
import functools
import math
from typing import Any, Protocol

import jax

from mvp_jax import compiled, hosts
from mvp_jax.errors import (
  InputError,
  Stopped,
  TrainingError,
  no_memory,
  out_of_memory,
)
from mvp_jax.processes import starting
from mvp_jax.progress import Progress
from mvp_jax.training import sharding
from mvp_jax.training.checkpoints import Checkpoints
from mvp_jax.training.optimiser import OptimiserConfig
from mvp_jax.training.speed import Speed
from mvp_jax.training.state import (
  abstract_state,
  add,
  computed,
  forward,
  init_state,
  like,
  train_step,
)

_PROFILED = 3  # steps


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """How long, how fast, how often. Batch sizes are global."""

  batch_size: int = 32
  optimiser: OptimiserConfig = OptimiserConfig()
  log_every: int = 10
  validate_every: int = 50  # 0 = never
  checkpoint_every: int = 100
  keep_checkpoints: int = 2  # the last ones
  keep_every: int = 0  # and those at multiples of so many steps; 0 = none
  workers: int = 0  # processes that read data; 0 = threads of this process
  accumulate: int = 1  # micro-batches per batch, processed in sequence
  inspect_every: int = 0  # steps between pictures, if a job draws any; 0 = never
  profile: int = 0  # first of three steps to trace for TensorBoard; 0 = none

  def __post_init__(self):
    for name, least in (
      ('batch_size', 1),
      ('log_every', 1),
      ('validate_every', 0),
      ('checkpoint_every', 1),
      ('keep_checkpoints', 1),
      ('keep_every', 0),
      ('workers', 0),
      ('accumulate', 1),
      ('inspect_every', 0),
      ('profile', 0),
    ):
      if getattr(self, name) < least:
        raise ValueError(f'{name} is {getattr(self, name)}, must be at least {least}')


@dataclasses.dataclass(frozen=True)
class Called:
  """What the settings of a training are called, for messages that name them."""

  section: str = 'config.train'
  remat: str = ''  # that of the model; '' = it has none


TRAIN = Called()  # of a model without an encoder of its own


def check_finite(run, step, metrics, section):
  """Raises TrainingError, naming run and step, if a metric is NaN or infinite."""
  bad = [k for k, v in metrics.items() if not math.isfinite(v)]
  if bad:
    facts = ', '.join(f'{k} {v:.6g}' for k, v in metrics.items())
    raise TrainingError(
      f'{run}: {bad[0]} is not finite at step {step} ({facts}); checkpoints before '
      f'it are whole. Lower {section}.optimiser.learning_rate, set '
      f'{section}.optimiser.clip_norm, or look at the data of this step'
    )


def last_step(checkpoints, steps, section):
  """The last intact checkpoint's step, or None; InputError if it is past `steps`."""
  done = checkpoints.latest_step()
  if done is not None and done > steps:
    raise InputError(
      f'{checkpoints.directory}: is at step {done}, past the '
      f'configured {steps}; raise {section}.optimiser.steps or use another work '
      'directory'
    )
  return done


# Grows when `data.batches` lays training examples out in another order than before.
ORDER = 2


def check_stream(directory, before, now):
  """Raises InputError if a checkpoint's run had other batches."""
  different = [
    f'{k} was {before.get(k)}, is now {v}' for k, v in now.items() if before.get(k) != v
  ]
  if different:
    raise InputError(
      f'{directory}: {"; ".join(different)}, which gives other batches; '
      'restore the setting or use another work directory'
    )


def evaluate(task, variables, batches, mesh):
  """{name: number}: `task.evaluate` over padded batches, each example counted once.

  Args:
    batches: of `evaluation_batches`, this process's rows of each.
  """
  run = forward(task, mesh, 'evaluate')
  parts = (run(variables, sharding.put_batch(batch, mesh)) for batch in batches)
  return {name: float(x) for name, x in computed(functools.reduce(add, parts)).items()}


def fit(
  task,
  batches,
  config,
  *,
  mesh,
  seed,
  run,
  directory,
  log,
  validation=None,
  params=None,
  inspect=None,
  called=TRAIN,
):
  """Trains to the configured step.

  It starts from the last intact checkpoint of `directory`, as if it had never been
  interrupted; without one from `params`, to fine-tune; otherwise from scratch.

  After each step: log, validate, inspect, checkpoint, each when due. Metrics are
  read one step late, so that the device never waits for the host. They are logged with
  the speed since the last time, see `speed.Speed`.

  Args:
    task: see `state.Task`.
    batches: function of the number of steps done that returns an endless iterable of
      the batches after them: dicts of arrays, or tuples of them, this process's rows
      of each.
    config: TrainConfig.
    mesh: of `sharding.make_mesh`.
    seed: of the initial parameters and of dropout.
    run: name in logs and progress.
    directory: pathlib.Path for the checkpoints.
    log: MetricLog.
    validation: function that returns an iterable of padded batches, or None.
    params: initial values, a nested dict; None for random ones.
    inspect: function of the step and the parameters, called when due, or None.
    called: Called.

  Returns:
    The parameters after the last step, or their average if there is one: a nested
    dict.

  Raises:
    TrainingError: a metric is NaN or infinite, a checkpoint cannot be written, or
      memory has run out.
    InputError: the mesh can't divide the batch; the checkpoint does not fit, is of a
      run with other batches, or none is intact.
    Stopped: SIGTERM or Ctrl-C was received; the step was finished and saved.
  """
  sharding.check_batch(config.batch_size, mesh, f'{run}: batch_size', config.accumulate)
  training = _One(
    task,
    batches,
    config,
    mesh,
    seed,
    run,
    directory,
    log,
    validation,
    params,
    inspect,
    called,
  )
  return train(training).evaluated


class Training(Protocol):
  """What the loop trains: one model (`fit`), or many side by side (`many`)."""

  config: TrainConfig
  mesh: Any
  run: str  # name in logs and progress
  directory: Any  # pathlib.Path of the checkpoints
  log: Any  # MetricLog
  stream: dict  # identifies its data, JSON-serialisable
  examples: int  # per step
  validates: bool  # whether there is a validation set
  called: Called

  def begin(self, checkpoints):
    """The initial state, and the number of steps it has done."""

  def batches(self, start):
    """Endless iterable of the batches after step `start`."""

  def put(self, batch):
    """The batch on the devices."""

  def step(self, state, batch):
    """Returns (next state, metrics on the devices)."""

  def report(self, step, metrics, due) -> dict:
    """Checks metrics, logs them if due, and returns what progress is to show.

    Raises TrainingError if they are not finite.
    """

  def flops(self, batch):
    """FLOPs of a step, or None."""

  def validate(self, step, state):
    """Validates and logs."""

  def inspect(self, step, state):
    """Inspects the state in some other way, when due."""

  def saved(self, state):
    """What a checkpoint holds."""


@dataclasses.dataclass(frozen=True)
class _One:
  """A single model, see `fit`."""

  task: Any
  batches: Any
  config: TrainConfig
  mesh: Any
  seed: int
  run: str
  directory: Any
  log: Any
  validation: Any
  params: Any
  inspection: Any
  called: Called

  @property
  def stream(self):
    return {
      'seed': self.seed,
      'batch_size': self.config.batch_size,
      'order': ORDER,
    }

  @property
  def examples(self):
    return self.config.batch_size

  @property
  def validates(self):
    return self.validation is not None

  def begin(self, checkpoints):
    task, config, mesh = self.task, self.config, self.mesh
    done = last_step(checkpoints, config.optimiser.steps, self.called.section)
    if done is not None:
      state, before = checkpoints.restore(
        done, abstract_state(task, config.optimiser, mesh)
      )
      check_stream(checkpoints.directory, before, self.stream)
      return state, done
    state = init_state(task, config.optimiser, mesh, self.seed)
    if self.params is not None:
      # A copy, for the steps donate what they get.
      copied = jax.tree.map(
        lambda new, old: jax.device_put(new, old.sharding, may_alias=False),
        self.params,
        state.variables,
      )
      state.params = like(state.params, copied)
      state.model_state = like(state.model_state, copied)
    return state, 0

  def put(self, batch):
    return sharding.put_batch(batch, self.mesh)

  def step(self, state, batch):
    config = self.config
    return train_step(self.task, config.optimiser, self.mesh, config.accumulate)(
      state, batch
    )

  def report(self, step, metrics, due):
    metrics = {k: float(v) for k, v in metrics.items()}
    check_finite(self.run, step, metrics, self.called.section)
    if due:
      self.log.write(self.run, 'train', step, metrics)
    return {'loss': f'{metrics["loss"]:.4f}'}

  def flops(self, batch):
    count = getattr(self.task, 'flops', None)
    each = count(batch) if count else None
    return None if each is None else each * self.config.batch_size

  def validate(self, step, state):
    found = evaluate(self.task, state.evaluated, self.validation(), self.mesh)
    self.log.write(self.run, 'validation', step, found)

  def inspect(self, step, state):
    if self.inspection is not None:
      self.inspection(step, state.evaluated)

  def saved(self, state):
    return state


def train(training):
  """The loop: trains to the configured step, see `fit`. Returns the last state."""
  try:
    return _train(training)
  except Exception as error:
    if not out_of_memory(error):
      raise
    called = training.called
    raise no_memory(
      training.run,
      error,
      [f'{called.section}.batch_size'],
      [f'{called.section}.accumulate'],
      called.remat,
    ) from error


def _train(training):
  config, steps = training.config, training.config.optimiser.steps

  def due(every):
    return every and (step % every == 0 or step == steps)

  with (
    hosts.StopRequest() as stop,
    Checkpoints(
      training.directory, config.keep_checkpoints, config.keep_every
    ) as checkpoints,
  ):
    state, start = training.begin(checkpoints)
    if start == steps:
      return state
    with (
      _closing(iter(training.batches(start))) as iterator,
      Progress(steps, training.run, 'step', start, hosts.console()) as progress,
      _Meter(training, progress) as meter,
    ):
      for step in range(start + 1, steps + 1):
        first = starting() if step == start + 1 else contextlib.nullcontext()
        with meter.waiting(step), first:  # readers, if any, start with the first batch
          batch = training.put(_next(iterator, training))
        with jax.transfer_guard(
          'disallow'
        ):  # everything a step needs is on the devices
          state, metrics = training.step(state, batch)
        meter.stepped(step, batch, metrics)
        if step == start + 1:
          compiled.seal()
        if training.validates and due(config.validate_every):
          training.validate(step, state)
        if due(config.inspect_every):
          training.inspect(step, state)
        stopping = stop.reached()
        if stopping or due(config.checkpoint_every):
          meter.read()  # never save a state that has gone wrong
          checkpoints.save(step, training.saved(state), training.stream)
        if stopping:
          raise Stopped(
            f'{training.run}: stopped by {stop.by} and saved at step {step} of '
            f'{steps}; {hosts.AGAIN}',
            stop.signal,
          )
  return state


class _Meter:
  """Metrics, speed and profile of a training. A context manager.

  Metrics are read one step late, so that the device never waits for the host.
  """

  def __init__(self, training, progress):
    self._training, self._progress = training, progress
    self._late, self._speed = None, None
    self._tracing = contextlib.ExitStack()
    # Simulated devices share few threads: steps waiting for each other can hang.
    mesh = training.mesh
    self._serial = mesh.size > 1 and mesh.devices.flat[0].platform == 'cpu'

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._tracing.close()

  def waiting(self, step):
    """A context manager for the time in which a step waits for its batch."""
    config = self._training.config
    if step == config.profile:
      folder = self._training.log.directory / 'profile'
      options = jax.profiler.ProfileOptions()
      # Following Python's own calls once ended a process by a segmentation fault.
      options.python_tracer_level = 0
      tracing = jax.profiler.trace(folder, profiler_options=options)
      self._tracing.enter_context(tracing)
    return self._speed.waiting() if self._speed else contextlib.nullcontext()

  def stepped(self, step, batch, metrics):
    """Takes the metrics of a step, which may still be running."""
    if self._serial or self._speed is None:
      jax.block_until_ready(metrics)
    if self._speed is None:  # only from here: the first step compiles
      self._speed = Speed(self._training.examples, self._training.flops(batch))
    else:
      self._speed.step()
    if step == self._training.config.profile + _PROFILED - 1:
      jax.block_until_ready(metrics)
      self._tracing.close()  # does nothing if the run began after the first of them
    self.read()
    self._late = step, metrics

  def read(self):
    """Reads and reports any metrics not read yet."""
    if self._late is None:
      return
    (step, metrics), self._late = self._late, None
    training, steps = self._training, self._training.config.optimiser.steps
    due = step % training.config.log_every == 0 or step == steps
    shown = training.report(step, jax.device_get(metrics), due)
    if due:
      training.log.write(training.run, 'speed', step, self._speed.read())
    self._progress.update(1, **shown)


def _next(iterator, training):
  """The next batch; raises TrainingError if a process that reads them has died."""
  try:
    return next(iterator)
  except RuntimeError as error:  # Grain's
    if 'Worker process was terminated' not in str(error):
      raise
    raise TrainingError(
      f'{training.run}: a process that reads batches has died (out of memory, or '
      f'killed); if it was memory, lower {training.called.section}.workers; '
      f'{hosts.AGAIN}'
    ) from error


def _closing(iterator):
  """Closes an iterator that can be closed, such as Grain's with its workers."""
  if hasattr(iterator, 'close'):
    return contextlib.closing(iterator)
  return contextlib.nullcontext(iterator)
