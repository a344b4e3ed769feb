"""The training state and the jitted steps that move it."""

import contextlib
import dataclasses
import functools
import types
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from mvp_jax.models.partition import use_mesh
from mvp_jax.training import sharding
from mvp_jax.training.optimiser import optimiser, schedule


class Task(Protocol):
  """What the training loop needs to know; tasks are frozen dataclasses."""

  def create(self, rngs: nnx.Rngs) -> nnx.Module:
    """Makes the model."""

  def loss(self, model, batch, key) -> tuple[jax.Array, dict]:
    """The scalar to minimise and scalars to log."""

  def evaluate(self, model, batch) -> dict:
    """Means over the examples of a padded batch, weighed by `batch['weight']`."""

  # A task may also have `flops(batch)`: of one example's training step, for the log.


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=('step', 'seed', 'params', 'opt_state', 'ema'),
  meta_fields=(),
)
@dataclasses.dataclass
class TrainState:
  """All that a checkpoint needs, besides the data position."""

  step: Any  # int32, steps done
  seed: Any  # uint32, of dropout and the like
  params: Any  # nested dict of float32 arrays
  opt_state: Any
  # The average of the parameters, like them; empty when none is kept.
  ema: Any = dataclasses.field(default_factory=dict)

  @property
  def evaluated(self):
    """The parameters to evaluate with."""
    return self.ema or self.params


@functools.cache
def _split(task):
  """The model's static graph and its abstract variables."""
  return nnx.split(nnx.eval_shape(lambda: task.create(nnx.Rngs(0))))


def init_params(task, key):
  """Fresh parameters as a nested dict."""
  return nnx.to_pure_dict(nnx.state(task.create(nnx.Rngs(key))))


def build_model(task, params):
  """The model with these parameters (a nested dict, as `init_params` gives)."""
  graph, abstract = _split(task)
  variables = jax.tree.map(lambda x: x, abstract)  # replaced below, so a copy
  nnx.replace_by_pure_dict(variables, params)
  return nnx.merge(graph, variables)


def fresh_state(task, config, seed):
  """The state to begin with: parameters drawn from the seed."""
  params = init_params(task, jax.random.key(seed))
  return TrainState(
    jnp.zeros((), jnp.int32),
    jnp.asarray(seed, jnp.uint32),
    params,
    optimiser(config).init(params),
    jax.tree.map(jnp.zeros_like, params) if config.ema else {},
  )


def abstract_state(task, config, mesh):
  """Shapes, dtypes and shardings of the state, without making it."""
  tree = jax.eval_shape(lambda: fresh_state(task, config, 0))
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    tree,
    sharding.shardings(tree, mesh),
  )


@functools.cache
def _init_fn(task, config, mesh):
  target = jax.tree.map(lambda x: x.sharding, abstract_state(task, config, mesh))
  return jax.jit(lambda seed: fresh_state(task, config, seed), out_shardings=target)


def init_state(task, config, mesh, seed):
  """A fresh state, born where it belongs."""
  seed = jax.device_put(np.uint32(seed), sharding.replicated(mesh))
  return _init_fn(task, config, mesh)(seed)


def _average(state, params, decay):
  """The next moving average; it begins at the parameters that training begins with."""
  before = jax.tree.map(
    lambda ema, x: jnp.where(state.step == 0, x, ema), state.ema, state.params
  )
  return optax.incremental_update(params, before, 1 - decay)


def step_function(task, config, accumulate=1, mesh=None):
  """The step, not jitted: (state, batch, settings={}) -> (state, metrics).

  `settings` are scalars in the place of the optimiser's: see `optimiser`.

  Args:
    task: see `Task`.
    config: OptimiserConfig.
    accumulate: parts that the batch is worked off in, one after another, to need
      the memory of one. Loss, gradient and metrics are the means over the parts.
    mesh: that the batch and the model are split over; None = neither is.
  """

  def gradient(params, batch, key):
    def loss_fn(params):
      return task.loss(build_model(task, params), batch, key)

    (loss, metrics), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
    return grads, {'loss': loss, **metrics}

  def in_parts(params, batch, key):
    def add(total, part):
      found = gradient(params, part[0], jax.random.fold_in(key, part[1]))
      return jax.tree.map(jnp.add, total, found), None

    parts = jax.tree.map(lambda x: sharding.deal(x, accumulate), batch)
    first = jax.eval_shape(gradient, params, jax.tree.map(lambda x: x[0], parts), key)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), first)
    total, _ = jax.lax.scan(add, zeros, (parts, jnp.arange(accumulate)))
    return jax.tree.map(lambda x: x / accumulate, total)

  def step(state, batch, settings=types.MappingProxyType({})):
    tx = optimiser(config, **settings)
    rate = schedule(config, settings.get('learning_rate'))
    key = jax.random.fold_in(jax.random.key(state.seed), state.step)
    with use_mesh(mesh) if mesh else contextlib.nullcontext():
      grads, metrics = (gradient if accumulate == 1 else in_parts)(
        state.params, batch, key
      )
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    metrics = {
      **metrics,
      'grad_norm': optax.tree.norm(grads),
      'learning_rate': rate(state.step),
    }
    params = optax.apply_updates(state.params, updates)
    ema = _average(state, params, config.ema) if config.ema else {}
    return TrainState(state.step + 1, state.seed, params, opt_state, ema), metrics

  return step


@functools.cache
def train_step(task, config, mesh, accumulate=1):
  """`step_function`, jitted for a mesh, state donated.

  Cached, so that runs that differ only in their data (folds) compile once.
  """
  step = step_function(task, config, accumulate, mesh)
  where = jax.tree.map(lambda x: x.sharding, abstract_state(task, config, mesh))
  return jax.jit(
    step,
    donate_argnums=0,
    in_shardings=(where, sharding.batch_sharding(mesh)),
    out_shardings=(where, sharding.replicated(mesh)),
  )


@functools.cache
def forward(task, mesh, method):
  """Jitted `getattr(task, method)(model, batch)` on given parameters."""

  def run(params, batch):
    with use_mesh(mesh):
      return getattr(task, method)(build_model(task, params), batch)

  return jax.jit(run, out_shardings=sharding.replicated(mesh))
