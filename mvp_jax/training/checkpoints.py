"""Checkpoints of a training run: state and data position, by Orbax."""

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
                       'data': ocp.JsonCheckpointHandler()})

  def __enter__(self):
    return self

  def __exit__(self, exc_type, exc, tb):
    self._manager.wait_until_finished()
    self._manager.close()

  def latest_step(self):
    """The last whole checkpoint's step, or None."""
    return self._manager.latest_step()

  def save(self, step, state, data_position):
    """Saves a TrainState and the JSON-able `data_position` of this process."""
    self._manager.save(step, args=ocp.args.Composite(
        params=ocp.args.StandardSave(state.params),
        rest=ocp.args.StandardSave(dataclasses.replace(state, params={})),
        data=ocp.args.JsonSave(data_position)))

  def save_params(self, step, params):
    """Saves parameters alone, of which no training can go on."""
    self._manager.save(step, args=ocp.args.Composite(
        params=ocp.args.StandardSave(params)))

  def abstract_params(self):
    """Shapes and dtypes of the last checkpoint's parameters, a nested dict."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype),
                        self._metadata()[1]['params'].tree)

  def restore(self, abstract_state):
    """Returns (TrainState, data position) of the last checkpoint.

    Args:
      abstract_state: shapes, dtypes and shardings wanted.

    Raises:
      InputError: the checkpoint holds another model.
    """
    found = self._restore({
        'params': abstract_state.params,
        'rest': dataclasses.replace(abstract_state, params={})},
        data=ocp.args.JsonRestore())
    return dataclasses.replace(found['rest'], params=found['params']), found['data']

  def restore_params(self, abstract_params):
    """Returns the parameters alone of the last checkpoint, as `restore`."""
    return self._restore({'params': abstract_params})['params']

  def _restore(self, trees, **others):
    step, there = self._metadata()
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

  def _metadata(self):
    step = self.latest_step()
    if step is None:
      raise InputError(f'{self._directory}: there is no whole checkpoint here')
    return step, self._manager.item_metadata(step)


def _shapes(tree):
  return {path_string(path): tuple(x.shape)
          for path, x in jax.tree_util.tree_leaves_with_path(tree)}
