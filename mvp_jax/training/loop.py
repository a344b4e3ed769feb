"""The one training loop, for every task."""

import contextlib
import dataclasses
import functools
import math

import jax

from mvp_jax.errors import InputError, Stopped, TrainingError
from mvp_jax.progress import Progress
from mvp_jax.training import hosts, sharding
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
  keep_every: int = 0  # and those of every so many steps; 0 = none
  workers: int = 0  # processes that read data; 0 = threads of this one
  accumulate: int = 1  # parts of a batch, worked off one after another
  inspect_every: int = 0  # steps between pictures, where a job draws them; 0 = never
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


def check_finite(run, step, metrics):
  """Raises TrainingError, naming run and step, if a metric is NaN or infinite."""
  bad = [k for k, v in metrics.items() if not math.isfinite(v)]
  if bad:
    facts = ', '.join(f'{k} {v:.6g}' for k, v in metrics.items())
    raise TrainingError(
      f'{run}: {bad[0]} is not finite at step {step} ({facts}); checkpoints before '
      'it are whole. Lower optimiser.learning_rate, set optimiser.clip_norm, or '
      'look at the data of this step'
    )


def _start(task, config, mesh, seed, checkpoints, stream, params):
  """The state to begin with and the steps it has done; for the order see `fit`."""
  done = last_step(checkpoints, config.optimiser.steps)
  if done is None:
    state = init_state(task, config.optimiser, mesh, seed)
    if params is not None:
      # A copy, for the steps donate what they get.
      copied = jax.tree.map(
        lambda new, old: jax.device_put(new, old.sharding, may_alias=False),
        params,
        state.evaluated,
      )
      state.params = like(state.params, copied)
      state.model_state = like(state.model_state, copied)
    return state, 0
  state, before = checkpoints.restore(
    done, abstract_state(task, config.optimiser, mesh)
  )
  check_stream(checkpoints.directory, before, stream)
  return state, done


def last_step(checkpoints, steps):
  """The last whole checkpoint's step, or None; InputError if it is past `steps`."""
  done = checkpoints.latest_step()
  if done is not None and done > steps:
    raise InputError(
      f'{checkpoints.directory}: is at step {done}, past the '
      f'configured {steps}; raise optimiser.steps or use another work '
      'directory'
    )
  return done


def check_stream(directory, before, now):
  """Refuses to go on with other batches than a checkpoint's run had."""
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
):
  """Trains to the configured step.

  Where it begins: at the last whole checkpoint of `directory`, as if nothing had
  been in between; without one at `params`, to fine-tune; without those from scratch.

  After each step: log, validate, inspect, checkpoint, each when due. Metrics are
  read one step late, so that the device never waits for the host. Beside them stands
  the speed since the last time, see `speed.Speed`.

  Args:
    task: see `state.Task`.
    batches: function of the number of steps done that returns an iterable of the
      batches after them, endless: dicts of arrays, this process's rows of each.
    config: TrainConfig.
    mesh: of `sharding.make_mesh`.
    seed: of the initial parameters and of dropout.
    run: name in logs and progress.
    directory: pathlib.Path for the checkpoints.
    log: MetricLog.
    validation: function that returns an iterable of padded batches, or None.
    params: starting values, a nested dict; None for fresh ones.
    inspect: function of the step and the parameters, called when due, or None.

  Returns:
    The parameters after the last step, or their average if there is one: a nested
    dict.

  Raises:
    TrainingError: a metric is NaN or infinite, or a checkpoint cannot be written.
    InputError: the mesh can't divide the batch; the checkpoint does not fit, was of
      a run with other batches, or none is whole.
    Stopped: SIGTERM came; the step was finished and saved.
  """
  sharding.check_batch(config.batch_size, mesh, f'{run}: batch_size', config.accumulate)
  stream = {'seed': seed, 'batch_size': config.batch_size}

  def report(step, metrics, due):
    metrics = {k: float(v) for k, v in metrics.items()}
    check_finite(run, step, metrics)
    if due:
      log.write(run, 'train', step, metrics)
    return {'loss': f'{metrics["loss"]:.4f}'}

  def validate(step, state):
    log.write(
      run, 'validation', step, evaluate(task, state.evaluated, validation(), mesh)
    )

  return run_steps(
    train_step(task, config.optimiser, mesh, config.accumulate),
    lambda checkpoints: _start(task, config, mesh, seed, checkpoints, stream, params),
    batches,
    config,
    mesh=mesh,
    run=run,
    directory=directory,
    stream=stream,
    log=log,
    put=lambda batch: sharding.put_batch(batch, mesh),
    report=report,
    examples=config.batch_size,
    flops=lambda batch: _flops(task, batch, config.batch_size),
    validate=validate if validation else None,
    inspect=inspect,
  ).evaluated


def run_steps(
  step_fn,
  begin,
  batches,
  config,
  *,
  mesh,
  run,
  directory,
  stream,
  log,
  put,
  report,
  examples,
  flops=None,
  validate=None,
  inspect=None,
  saved=lambda state: state,
):
  """What `fit` and `many.fit` have in common; see there.

  Args:
    step_fn: (state, batch) -> (state, metrics), jitted.
    begin: function of the Checkpoints: the state to begin with, the steps it has done.
    stream: what tells the data from other data, JSON-able.
    put: puts a batch on the devices.
    report: function of a step, its metrics on the host, and whether they are to be
      logged; raises TrainingError if they are not finite, returns what to show.
    examples: of a step.
    flops: function of a batch: of a step, or None.
    validate: function of the step and the state, called when due, or None.
    saved: function of the state: what a checkpoint holds.

  Returns:
    The state after the last step.
  """
  steps = config.optimiser.steps
  # Simulated devices share few threads: steps that wait for each other can hang.
  serial = mesh.size > 1 and jax.default_backend() == 'cpu'

  with (
    hosts.StopRequest() as stop,
    Checkpoints(directory, config.keep_checkpoints, config.keep_every) as checkpoints,
  ):
    state, start = begin(checkpoints)
    if start == steps:
      return state

    with (
      contextlib.ExitStack() as tracing,
      _closing(iter(batches(start))) as iterator,
      Progress(steps, run, 'step', start, hosts.console()) as progress,
    ):
      late = None  # (step, metrics still on the device)
      speed = None

      def read_late():
        step, metrics = late
        due = step % config.log_every == 0 or step == steps
        shown = report(step, jax.device_get(metrics), due)
        if due:
          log.write(run, 'speed', step, speed.read())
        progress.update(1, **shown)

      for step in range(start + 1, steps + 1):
        with speed.waiting() if speed else contextlib.nullcontext():
          batch = put(next(iterator))
        if step == config.profile:
          tracing.enter_context(jax.profiler.trace(log.directory / 'profile'))
        state, metrics = step_fn(state, batch)
        if serial or speed is None:
          jax.block_until_ready(metrics)
        if speed is None:  # from here on: the first step compiles
          speed = Speed(examples, flops(batch) if flops else None)
        else:
          speed.step()
        if step == config.profile + _PROFILED - 1:
          jax.block_until_ready(metrics)
          tracing.close()  # nothing, if the run began after the first of them
        if late:
          read_late()
        late = step, metrics
        if (
          validate
          and config.validate_every
          and (step % config.validate_every == 0 or step == steps)
        ):
          validate(step, state)
        if (
          inspect
          and config.inspect_every
          and (step % config.inspect_every == 0 or step == steps)
        ):
          inspect(step, state.evaluated)
        stopping = stop.reached()
        if step % config.checkpoint_every == 0 or step == steps or stopping:
          read_late()  # never save a state that has gone wrong
          late = None
          checkpoints.save(step, saved(state), stream)
        if stopping:
          raise Stopped(
            f'{run}: stopped by SIGTERM and saved at step {step} of '
            f'{steps}; {hosts.AGAIN}'
          )
  return state


def _flops(task, batch, batch_size):
  """FLOP of a step, or None if the task doesn't tell."""
  count = getattr(task, 'flops', None)
  return count(batch) * batch_size if count else None


def _closing(iterator):
  """Closes an iterator that can be closed, such as Grain's with its workers."""
  return (
    contextlib.closing(iterator)
    if hasattr(iterator, 'close')
    else contextlib.nullcontext(iterator)
  )
