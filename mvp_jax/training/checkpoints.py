"""Checkpoints of a training run, by Orbax."""

import dataclasses

import jax
import orbax.checkpoint as ocp

from mvp_jax.errors import InputError
from mvp_jax.training.sharding import path_string


class Checkpoints:
  """The checkpoints of one run, in one folder. Use as a context manager.

  Saving goes on in the background; a checkpoint counts once it is whole.
  """

  def __init__(self, directory, keep=2):
    self._directory = directory
    self._manager = ocp.CheckpointManager(
        directory.absolute(), options=ocp.CheckpointManagerOptions(
            max_to_keep=keep, create=True, enable_async_checkpointing=True),
        item_handlers={'params': ocp.StandardCheckpointHandler(),
                       'rest': ocp.StandardCheckpointHandler(),
                       'stream': ocp.JsonCheckpointHandler()})

  def __enter__(self):
    return self

  def __exit__(self, exc_type, exc, tb):
    self._manager.wait_until_finished()
    self._manager.close()

  def latest_step(self):
    """The last whole checkpoint's step, or None."""
    return self._manager.latest_step()

  def save(self, step, state, stream):
    """Saves a TrainState and what tells its data from other data, JSON-able."""
    self._manager.save(step, args=ocp.args.Composite(
        params=ocp.args.StandardSave(state.params),
        rest=ocp.args.StandardSave(dataclasses.replace(state, params={})),
        stream=ocp.args.JsonSave(stream)))

  def restore(self, abstract_state):
    """Returns (TrainState, `stream`) of the last checkpoint.

    Args:
      abstract_state: shapes, dtypes and shardings wanted.

    Raises:
      InputError: the checkpoint holds another model.
    """
    found = self._restore({
        'params': abstract_state.params,
        'rest': dataclasses.replace(abstract_state, params={})},
        stream=ocp.args.JsonRestore())
    return dataclasses.replace(found['rest'], params=found['params']), found['stream']

  def restore_params(self, abstract_params):
    """Returns the parameters alone of the last checkpoint, as `restore`."""
    return self._restore({'params': abstract_params})['params']

  def _restore(self, trees, **others):
    step = self.latest_step()
    if step is None:
      raise InputError(f'{self._directory}: there is no whole checkpoint here')
    there = self._manager.item_metadata(step)
    for name, tree in trees.items():  # before anything is read
      wanted, found = _shapes(tree), _shapes(there[name].tree)
      for path in sorted(wanted.keys() | found.keys()):
        if wanted.get(path) != found.get(path):
          raise InputError(
              f'{self._directory}: checkpoint {step} does not fit this model: {path} '
              f'is {found.get(path, "not there")}, must be '
              f'{wanted.get(path, "not there")}; use the configuration it was '
              'written with, or another work directory')
    return self._manager.restore(step, args=ocp.args.Composite(
        **{name: ocp.args.StandardRestore(tree) for name, tree in trees.items()},
        **others))


def _shapes(tree):
  return {path_string(path): tuple(x.shape)
          for path, x in jax.tree_util.tree_leaves_with_path(tree)}
