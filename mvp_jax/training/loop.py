"""The one training loop, for every task."""

import contextlib
import dataclasses
import math

import jax

from mvp_jax.errors import InputError, TrainingError
from mvp_jax.progress import Progress
from mvp_jax.training import sharding
from mvp_jax.training.checkpoints import Checkpoints
from mvp_jax.training.optimiser import OptimiserConfig
from mvp_jax.training.state import abstract_state, forward, init_state, train_step


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """How long, how fast, how often. Batch sizes are global."""

  batch_size: int = 32
  optimiser: OptimiserConfig = OptimiserConfig()
  log_every: int = 10
  validate_every: int = 50  # 0 = never
  checkpoint_every: int = 100
  keep_checkpoints: int = 2
  workers: int = 0  # processes that read data; 0 = threads of this one

  def __post_init__(self):
    for name, least in (('batch_size', 1), ('log_every', 1), ('validate_every', 0),
                        ('checkpoint_every', 1), ('keep_checkpoints', 1),
                        ('workers', 0)):
      if getattr(self, name) < least:
        raise ValueError(f'{name} is {getattr(self, name)}, must be at least {least}')


def _check_finite(run, step, metrics):
  bad = [k for k, v in metrics.items() if not math.isfinite(v)]
  if bad:
    facts = ', '.join(f'{k} {v:.6g}' for k, v in metrics.items())
    raise TrainingError(
        f'{run}: {bad[0]} is not finite at step {step} ({facts}); checkpoints before '
        'it are whole. Lower optimiser.learning_rate, set optimiser.clip_norm, or '
        'look at the data of this step')


def _check_stream(directory, before, now):
  """Refuses to go on with other batches than a checkpoint's run had."""
  different = [f'{k} was {before.get(k)}, is now {v}' for k, v in now.items()
               if before.get(k) != v]
  if different:
    raise InputError(f'{directory}: {"; ".join(different)}, which gives other batches; '
                     'restore the setting or use another work directory')


def evaluate(task, params, batches, mesh):
  """Means of `task.evaluate` over padded batches, each example counted once."""
  totals, count = {}, 0.0
  run = forward(task, mesh, 'evaluate')
  for batch in batches:
    weight = float(batch['weight'].sum())
    for name, value in run(params, sharding.put_batch(batch, mesh)).items():
      totals[name] = totals.get(name, 0.0) + float(value) * weight
    count += weight
  return {name: value / count for name, value in totals.items()}


def fit(task, batches, config, *, mesh, seed, run, directory, log,
        validation=None, params=None):
  """Trains to the configured step, from the last checkpoint if there is one.

  Order: resume from `directory`; else start from `params`; else from scratch.
  After each step: log, validate, checkpoint, each when due. Metrics are read
  one step late, so that the device never waits for the host.

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

  Returns:
    The parameters after the last step, a nested dict.

  Raises:
    TrainingError: a metric is NaN or infinite.
    InputError: the mesh can't divide the batch, the checkpoint does not fit or was
      of a run with other batches.
  """
  sharding.check_batch(config.batch_size, mesh, f'{run}: batch_size')
  steps = config.optimiser.steps
  stream = {'seed': seed, 'batch_size': config.batch_size}
  step_fn = train_step(task, config.optimiser, mesh)
  # Simulated devices share few threads: steps that wait for each other can hang.
  serial = mesh.size > 1 and jax.default_backend() == 'cpu'

  with Checkpoints(directory, config.keep_checkpoints) as checkpoints:
    start = checkpoints.latest_step() or 0
    if start > steps:
      raise InputError(f'{directory}: is at step {start}, past the configured {steps}; '
                       'raise optimiser.steps or use another work directory')
    if start:
      state, before = checkpoints.restore(
          abstract_state(task, config.optimiser, mesh))
      _check_stream(directory, before, stream)
      if start == steps:
        return state.params
    else:
      state = init_state(task, config.optimiser, mesh, seed)
      if params is not None:
        state.params = jax.tree.map(  # a copy, for the steps donate what they get
            lambda new, old: jax.device_put(new, old.sharding, may_alias=False),
            params, state.params)

    iterator = iter(batches(start))
    closing = contextlib.closing(iterator) if hasattr(iterator, 'close') else (
        contextlib.nullcontext())
    with closing, Progress(steps, run, 'step', initial=start) as progress:
      late = None  # (step, metrics still on the device)

      def read_late():
        step, metrics = late
        metrics = {k: float(v) for k, v in jax.device_get(metrics).items()}
        _check_finite(run, step, metrics)
        if step % config.log_every == 0 or step == steps:
          log.write(run, 'train', step, metrics)
        progress.update(1, loss=f'{metrics["loss"]:.4f}')

      for step in range(start + 1, steps + 1):
        batch = sharding.put_batch(next(iterator), mesh)
        state, metrics = step_fn(state, batch)
        if serial:
          jax.block_until_ready(metrics)
        if late:
          read_late()
        late = step, metrics
        if validation and config.validate_every and (
            step % config.validate_every == 0 or step == steps):
          log.write(run, 'validation', step,
                    evaluate(task, state.params, validation(), mesh))
        if step % config.checkpoint_every == 0 or step == steps:
          read_late()  # never save a state that has gone wrong
          late = None
          checkpoints.save(step, state, stream)
  return state.params
