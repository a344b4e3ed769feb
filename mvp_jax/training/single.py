"""A single model: trained on some examples, then evaluated on others."""

import numpy as np

from mvp_jax.data.batches import evaluation_batches, in_order, training_batches
from mvp_jax.data.lengths import concatenated
from mvp_jax.training import sharding
from mvp_jax.training.loop import TRAIN, fit
from mvp_jax.training.sharding import put_batch
from mvp_jax.training.state import forward, init_state


def fit_and_score(
  task,
  sides,
  config,
  batch_size,
  *,
  mesh,
  seed,
  run,
  directory,
  log,
  start=None,
  read=None,
  plan=None,
  called=TRAIN,
):
  """Trains a model with `loop.fit`, and returns its scores of other examples.

  Args:
    task: see `state.Task`; must have `scores`.
    sides: sources of examples for training, validation (may be empty) and test.
    config: TrainConfig.
    batch_size: of validation and test.
    mesh, seed, run, directory, log: as for `fit`.
    start: function from random variables to initial ones; None = random ones.
    read, plan: as for `training_batches`.
    called: as for `fit`.

  Returns:
    (variables, scores float32 [examples, ...] of validation, then of test).

  Raises:
    See `fit`.
  """
  train, validation, test = sides
  begin = start and start(init_state(task, config.optimiser, mesh, seed).variables)
  unit = sharding.batch_ways(mesh)
  rows = sharding.rows_on(mesh)
  params = fit(
    task,
    lambda start: training_batches(
      train,
      config.batch_size,
      seed,
      config.workers,
      read,
      start=start,
      rows=rows,
      plan=plan,
    ),
    config,
    mesh=mesh,
    seed=seed,
    run=run,
    directory=directory,
    log=log,
    params=begin,
    called=called,
    validation=(lambda: evaluation_batches(validation, batch_size, rows, unit))
    if len(validation)
    else None,
  )
  ask = forward(task, mesh, 'scores')

  def scores(source):
    found = [
      np.asarray(ask(params, put_batch(batch, mesh)))
      for batch in evaluation_batches(source, batch_size, rows, unit)
    ]
    return in_order(found, source, batch_size, unit)

  sources = [source for source in (validation, test) if len(source)]
  return params, concatenated([scores(source) for source in sources])
