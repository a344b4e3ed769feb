"""The programs of models that train side by side, see `many`: on devices alone.

Everything of a model's own has a leading axis of models, split over all devices; the
data that they read does not. `own` is, of each model, {'scale': what its arrays are
divided by, 'own': its own arrays in place of the shared ones, of each length of
examples, 'settings': of the optimiser}; `rows` says which examples it reads, of each
length; `data` are the arrays, of each length.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from mvp_jax import hosts
from mvp_jax.data.scales import rescaled
from mvp_jax.training import sharding
from mvp_jax.training.state import build_model, fresh_state, step_function

_SHARE = 0.8  # of an accelerator's memory that the models may take


def at_a_time(task, optimiser, accumulate, mesh, own, rows, data, share):
  """How many models a device should work on at a time.

  On CPU one: bundles of four took a fifth longer per model, at the embedded size of
  configs/deap_fusion.py. On an accelerator as many as fit: 80 % of its memory, minus
  the data and all states twice, divided by what a step of one model needs.

  Args:
    task, optimiser, accumulate: as of `state.step_function`.
    mesh: of `sharding.make_mesh`.
    own: of one model, representative of all.
    rows: how many a batch has, of each length.
    data: the arrays, on the devices, of each length.
    share: models per device.
  """
  device = mesh.devices.flat[0]
  if device.platform == 'cpu':
    return 1
  limit = (device.memory_stats() or {}).get('bytes_limit')
  if limit is None:
    return share
  state = jax.eval_shape(lambda: fresh_state(task, optimiser, 0))
  rows = tuple(jax.ShapeDtypeStruct((count,), jnp.int32) for count in rows)
  data_shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), data)
  compiled = (
    jax.jit(_one_step(task, optimiser, accumulate))
    .lower(state, own, rows, data_shapes)
    .compile()
  )
  return min(
    hosts.gather(
      _fitting(
        limit,
        sum(x.nbytes for x in jax.tree.leaves(data)),
        sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state)),
        compiled.memory_analysis().temp_size_in_bytes,
        share,
      )
    )
  )


def _fitting(limit, data, state, step, share):
  """Models at a time, from bytes: available, of the data, of a state, of a step."""
  free = _SHARE * limit - data - 2 * share * state
  return int(np.clip(free // max(step, 1), 1, share))


def put(x, where):
  """Lays out an array of which every process has a complete copy."""
  x = np.asarray(x)
  return jax.make_array_from_callback(x.shape, where, lambda index: x[index])


def examples(data, own, rows):
  """A model's batch: a dict of arrays, or a tuple of them, of each length."""
  parts = tuple(
    _rows(*part, own['scale']) for part in zip(data, own['own'], rows, strict=True)
  )
  return parts if len(parts) > 1 else parts[0]


def _rows(data, own, rows, scale):
  batch = {name: x[rows] for name, x in {**data, **own}.items()}
  return batch | {name: rescaled(batch[name], x) for name, x in scale.items()}


def _spread(one, mesh, together, out):
  """Jits `one(mine, own, rows, data)` over all models; donates `mine` if it is
  returned."""

  def on_device(mine, own, rows, data):
    return jax.lax.map(
      lambda x: one(*x, data),
      (mine, own, rows),
      batch_size=together if together > 1 else None,
    )

  models = P(sharding.AXES)
  run = jax.shard_map(
    on_device,
    mesh=mesh,
    in_specs=(models, models, models, P()),
    out_specs=models,
    check_vma=False,
  )
  return jax.jit(
    run, donate_argnums=0 if isinstance(out, tuple) else (), out_shardings=out
  )


def _one_step(task, optimiser, accumulate):
  step = step_function(task, optimiser, accumulate)
  return lambda state, own, rows, data: step(
    state, examples(data, own, rows), own['settings']
  )


@functools.cache
def step(task, optimiser, accumulate, mesh, together):
  """Jitted (state, own, rows, data) -> (state, metrics) of all models.

  The state is donated; `together` models run at a time on each device. Cached, like the
  others below, so that groups of models that differ only in their data compile once.
  """
  return _spread(
    _one_step(task, optimiser, accumulate),
    mesh,
    together,
    (NamedSharding(mesh, P(sharding.AXES)), sharding.replicated(mesh)),
  )


@functools.cache
def forward(task, method, mesh, together):
  """Jitted `task.method` of each model: (variables, own, (numbers, weight), data).

  `numbers` and `weight` are [models, rows], of examples of one length.
  """

  def one(params, own, rows, data):
    batch = _rows(data, own['own'], rows[0], own['scale']) | {'weight': rows[1]}
    return getattr(task, method)(build_model(task, params), batch)

  return _spread(one, mesh, together, sharding.replicated(mesh))


@functools.cache
def fresh(task, optimiser, mesh):
  """Jitted: the initial states of models from their seeds, uint32 [models]."""
  models = P(sharding.AXES)
  run = jax.shard_map(
    lambda seeds: jax.lax.map(lambda seed: fresh_state(task, optimiser, seed), seeds),
    mesh=mesh,
    in_specs=models,
    out_specs=models,
    check_vma=False,
  )
  return jax.jit(run)


@functools.cache
def take(places, where):
  """Picks models of a stacked tree, and lays them out."""
  return jax.jit(
    lambda tree: jax.tree.map(lambda x: x[np.array(places)], tree), out_shardings=where
  )
