"""Checkpoints of a training run: state and data position, by Orbax."""

import dataclasses

import orbax.checkpoint as ocp

from mvp_jax.errors import InputError


class Checkpoints:
  """The checkpoints of one run, in one folder. Use as a context manager.

  Saving goes on in the background; a checkpoint counts once it is whole.
  """

  def __init__(self, directory, keep=2):
    self._directory = directory
    self._manager = ocp.CheckpointManager(
        directory.absolute(), options=ocp.CheckpointManagerOptions(
            max_to_keep=keep, create=True, enable_async_checkpointing=True))

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

  def restore(self, abstract_state):
    """Returns (TrainState, data position) of the last checkpoint.

    Args:
      abstract_state: shapes, dtypes and shardings wanted.

    Raises:
      InputError: the checkpoint holds another model.
    """
    found = self._restore(
        params=ocp.args.StandardRestore(abstract_state.params),
        rest=ocp.args.StandardRestore(
            dataclasses.replace(abstract_state, params={})),
        data=ocp.args.JsonRestore())
    return dataclasses.replace(found['rest'], params=found['params']), found['data']

  def restore_params(self, abstract_params):
    """Returns the parameters alone of the last checkpoint, as `restore`."""
    return self._restore(params=ocp.args.StandardRestore(abstract_params))['params']

  def _restore(self, **items):
    step = self.latest_step()
    if step is None:
      raise InputError(f'{self._directory}: there is no whole checkpoint here')
    try:
      return self._manager.restore(step, args=ocp.args.Composite(**items))
    except (ValueError, KeyError) as error:
      raise InputError(
          f'{self._directory}: checkpoint {step} does not fit this model '
          f'({str(error).splitlines()[0]}); use the configuration it was written '
          'with, or another work directory') from error
