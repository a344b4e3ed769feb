"""The training state and the jitted steps that update it."""

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
from mvp_jax.targets.base import Mean
from mvp_jax.targets.metric import Metric
from mvp_jax.training import sharding
from mvp_jax.training.optimiser import optimiser, schedule


class Task(Protocol):
  """What the training loop needs of a task; tasks are frozen dataclasses.

  Metrics hold sums over examples (clu.metrics.Metric). They are merged over the parts
  of a batch and over batches, and computed once, so that padding, accumulation and
  weights are exact whatever the metric.
  """

  def create(self, rngs: nnx.Rngs) -> nnx.Module:
    """Makes the model."""

  def loss(self, model, batch, key) -> dict[str, Metric]:
    """Metrics of a training batch; 'loss' is minimised."""

  def evaluate(self, model, batch) -> dict[str, Metric]:
    """Metrics of a padded batch, each example weighted by `batch['weight']`."""

  # A task may also have `flops(batch)`, of one example's training step (or None), for
  # the log; and `layer(path, shape)`, of a parameter, see `optimiser.layer_scales`.


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=('step', 'seed', 'params', 'opt_state', 'ema', 'model_state'),
  meta_fields=(),
)
@dataclasses.dataclass
class TrainState:
  """Everything in a checkpoint, except the position in the data."""

  step: Any  # int32, steps done
  seed: Any  # uint32, of dropout and the like
  params: Any  # nested dict of float32 arrays: what the optimiser updates
  opt_state: Any
  # The moving average of the parameters, like them; empty if none is kept.
  ema: Any = dataclasses.field(default_factory=dict)
  # The other variables of the model, such as batch statistics: updated by the forward
  # pass alone, neither decayed nor averaged. A nested dict.
  model_state: Any = dataclasses.field(default_factory=dict)

  @property
  def variables(self):
    """All variables to train on, a nested dict as `build_model` takes it."""
    return merged(self.params, self.model_state)

  @property
  def evaluated(self):
    """All variables to evaluate with, a nested dict as `build_model` takes it."""
    return merged(self.ema or self.params, self.model_state)


def merged(a, b):
  """Merges two nested dicts without common leaves."""
  if not b:
    return a
  return {
    key: merged(a[key], b[key]) if key in a and key in b else a.get(key, b.get(key))
    for key in [*a, *(key for key in b if key not in a)]
  }


def like(tree, variables):
  """The part of the nested dict `variables` that has the structure of `tree`."""
  return {
    key: like(x, variables[key]) if isinstance(x, dict) else variables[key]
    for key, x in tree.items()
  }


@functools.cache
def _split(task):
  """The model's static graph and its abstract variables."""
  return nnx.split(nnx.eval_shape(lambda: task.create(nnx.Rngs(0))))


def model_variables(model):
  """Returns a model's parameters and its other variables, two nested dicts."""
  _, params, others = nnx.split(model, nnx.Param, ...)
  return nnx.to_pure_dict(params), nnx.to_pure_dict(others)


def init_variables(task, key):
  """Returns random parameters and other variables, two nested dicts."""
  return model_variables(task.create(nnx.Rngs(key)))


def build_model(task, variables):
  """The model with these variables, all of them in one nested dict."""
  graph, abstract = _split(task)
  state = jax.tree.map(lambda x: x, abstract)  # replaced below, so a copy
  nnx.replace_by_pure_dict(state, variables)
  return nnx.merge(graph, state)


def _optimiser(task, config, **settings):
  return optimiser(config, layer=getattr(task, 'layer', None), **settings)


def fresh_state(task, config, seed):
  """The initial state: parameters drawn from the seed."""
  params, model_state = init_variables(task, jax.random.key(seed))
  return TrainState(
    jnp.zeros((), jnp.int32),
    jnp.asarray(seed, jnp.uint32),
    params,
    _optimiser(task, config).init(params),
    jax.tree.map(jnp.zeros_like, params) if config.ema else {},
    model_state,
  )


def abstract_state(task, config, mesh):
  """Shapes, dtypes and shardings of the state, without allocating it."""
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
  """The initial state, created in its final layout."""
  seed = jax.device_put(np.uint32(seed), sharding.replicated(mesh))
  return _init_fn(task, config, mesh)(seed)


def _average(state, params, decay):
  """The next moving average; it starts from the initial parameters."""
  before = jax.tree.map(
    lambda ema, x: jnp.where(state.step == 0, x, ema), state.ema, state.params
  )
  return optax.incremental_update(params, before, 1 - decay)


def step_function(task, config, accumulate=1, mesh=None):
  """The step, not jitted: (state, batch, settings={}) -> (state, metrics).

  `settings` are scalars that override the config's: see `optimiser`. A batch is a dict
  of arrays, or a tuple of them, of examples of several lengths; loss, gradient and
  metrics are of all together.

  Args:
    task: see `Task`.
    config: OptimiserConfig.
    accumulate: number of micro-batches, processed in sequence to save memory. Loss,
      gradient and metrics are those of the whole batch.
    mesh: over which batch and model are split; None = neither is.
  """

  def forward(params, model_state, batch, key):
    """Metrics, and the model's other variables after the pass."""
    found = []
    for number, part in enumerate(batch if isinstance(batch, tuple) else (batch,)):
      model = build_model(task, merged(params, model_state))
      own = jax.random.fold_in(key, number) if number else key
      found.append(task.loss(model, part, own))
      model_state = model_variables(model)[1]
    return functools.reduce(add, found), model_state

  def gradient(scalar, params, model_state, batch, key):
    """The gradient of `scalar(loss)`, and what `forward` gives."""

    def of(params):
      metrics, after = forward(params, model_state, batch, key)
      return scalar(metrics['loss']), (metrics, after)

    grads, found = jax.grad(of, has_aux=True)(params)
    return grads, *found

  def in_parts(params, model_state, batch, key):
    parts = jax.tree.map(lambda x: sharding.deal(x, accumulate), batch)
    first = jax.tree.map(lambda x: x[0], parts)

    def over_parts(one_part, *own):
      """Gradients and metrics of all parts, and other variables, which go from part
      to part; then the loss of each part. `own` are stacked, one for each part."""

      def next_part(carry, part):
        grads, metrics, before = carry
        number, batch, *own = part
        more, found, after = one_part(
          *own, params, before, batch, jax.random.fold_in(key, number)
        )
        carry = jax.tree.map(jnp.add, grads, more), add(metrics, found), after
        return carry, found['loss']

      one = [jax.tree.map(lambda x: x[0], x) for x in own]
      shapes = jax.eval_shape(one_part, *one, params, model_state, first, key)[:2]
      zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
      numbered = jnp.arange(accumulate), parts, *own
      return jax.lax.scan(next_part, (*zeros, model_state), numbered)

    # The gradient is that of each part's sums, times the slopes of the loss along them.
    loss = jax.eval_shape(forward, params, model_state, first, key)[0]['loss']
    if isinstance(loss, Mean):  # the slope along the total is one over the count
      (grads, metrics, after), _ = over_parts(
        functools.partial(gradient, lambda loss: loss.total)
      )
      count = jnp.maximum(metrics['loss'].count, 1)
      return jax.tree.map(lambda x: x / count, grads), metrics, after
    # Of any other loss the sums, where slopes are taken, come first.
    _, losses = over_parts(lambda *args: ({}, *forward(*args)))
    slopes = jax.grad(lambda losses: _merged(losses, accumulate).compute())(losses)

    def along(slopes, *args):
      return gradient(lambda loss: optax.tree.vdot(slopes, loss), *args)

    return over_parts(along, slopes)[0]

  whole = functools.partial(gradient, lambda loss: loss.compute())

  def step(state, batch, settings=types.MappingProxyType({})):
    tx = _optimiser(task, config, **settings)
    rate = schedule(config, settings.get('learning_rate'))
    key = jax.random.fold_in(jax.random.key(state.seed), state.step)
    with use_mesh(mesh) if mesh else contextlib.nullcontext():
      grads, metrics, model_state = (whole if accumulate == 1 else in_parts)(
        state.params, state.model_state, batch, key
      )
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    metrics = {
      **computed(metrics),
      'grad_norm': optax.tree.norm(grads),
      'learning_rate': rate(state.step),
    }
    params = optax.apply_updates(state.params, updates)
    ema = _average(state, params, config.ema) if config.ema else {}
    return TrainState(
      state.step + 1, state.seed, params, opt_state, ema, model_state
    ), metrics

  return step


def _merged(stacked, count):
  """One metric of `count` that are stacked; merging need not be adding."""
  each = [jax.tree.map(lambda x, i=i: x[i], stacked) for i in range(count)]
  return functools.reduce(lambda a, b: a.merge(b), each)


def add(a, b):
  """Merges the metrics of two parts."""
  return {name: a[name].merge(b[name]) for name in a}


def computed(metrics):
  """Computes metrics: {name: number}."""
  return {name: metric.compute() for name, metric in metrics.items()}


@functools.cache
def train_step(task, config, mesh, accumulate=1):
  """`step_function`, jitted for a mesh; the state is donated.

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
  """Jitted `getattr(task, method)(model, batch)` on given variables."""

  def run(variables, batch):
    with use_mesh(mesh):
      return getattr(task, method)(build_model(task, variables), batch)

  return jax.jit(run, out_shardings=sharding.replicated(mesh))
