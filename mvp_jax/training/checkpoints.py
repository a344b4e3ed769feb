"""Checkpoints of a training run, by Orbax, with checksums.

A checkpoint gets its name once it is complete. Orbax does not notice later damage to
array values (a bad disk, an interrupted copy), so a checksum of each file is kept
beside them.
"""

import dataclasses
import logging
import shutil
import sys

import jax
import orbax.checkpoint as ocp

from mvp_jax import checksums, hosts
from mvp_jax.errors import InputError, Stopped, TrainingError, of_the_system
from mvp_jax.training.sharding import path_string
from mvp_jax.training.state import like, merged

_SLACK = 1e6  # bytes, for everything but arrays
# Orbax writes these last, and nothing is read from them.
_UNREAD = ('_CHECKPOINT_METADATA', 'commit_success.txt')


class Checkpoints:
  """The checkpoints of one run, in one folder. A context manager.

  Saves are asynchronous. All processes of the job take part in every call.

  Args:
    directory: pathlib.Path on storage that all processes share.
    keep: how many of the latest checkpoints to keep.
    keep_every: also keep those at multiples of so many steps; 0 = none.
  """

  def __init__(self, directory, keep=2, keep_every=0):
    for name in ('absl', 'concurrent.futures'):
      logging.getLogger(name).addFilter(_is_not_raised_again)
    self.directory = directory.absolute()
    self._manager = ocp.CheckpointManager(
      self.directory,
      options=ocp.CheckpointManagerOptions(
        max_to_keep=keep,
        keep_period=keep_every or None,
        create=True,
        cleanup_tmp_directories=True,
        enable_async_checkpointing=True,
        async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
      ),
      item_handlers={
        'params': ocp.StandardCheckpointHandler(),
        'rest': ocp.StandardCheckpointHandler(),
        'stream': ocp.JsonCheckpointHandler(),
      },
    )

  def __enter__(self):
    return self

  def __exit__(self, exc_type, exc, tb):
    # If another process has died, its part of a checkpoint will never arrive.
    if exc_type in (None, Stopped) or jax.process_count() == 1:
      try:
        self._manager.wait_until_finished()
      except Exception as error:
        raise self._unsaved(error) from error
      finally:
        self._manager.close()

  def save(self, step, state, stream):
    """Saves a TrainState and `stream`, which identifies its data (JSON-serialisable).

    Raises:
      TrainingError: this checkpoint or the previous one could not be written.
    """
    try:
      self._manager.wait_until_finished()
      self._check_room(sum(x.nbytes for x in jax.tree.leaves(state)))
      self._manager.save(
        step,
        args=ocp.args.Composite(
          params=ocp.args.StandardSave(state.variables),
          rest=ocp.args.StandardSave(
            dataclasses.replace(state, params={}, model_state={})
          ),
          stream=ocp.args.JsonSave(stream),
        ),
      )
    except TrainingError:
      raise
    except Exception as error:
      raise self._unsaved(error) from error

  def _check_room(self, size):
    """Raises TrainingError, in all processes, unless `size` bytes fit on the disk."""
    free = hosts.on_main(lambda: shutil.disk_usage(self.directory).free)
    if free < 1.1 * size + _SLACK:
      raise TrainingError(
        f'{self.directory}: the disk is full: {free / 1e6:.0f} MB are free, a '
        f'checkpoint takes {size / 1e6:.0f}; those before are whole. Make room and '
        f'{hosts.AGAIN}'
      )

  def _seal(self):
    """Writes the checksums of a checkpoint just before it gets its name."""
    (part,) = self.directory.glob('*.orbax-checkpoint-tmp*')
    checksums.seal(part, _read)

  def _unsaved(self, error):
    if jax.process_count() > 1 and not isinstance(of_the_system(error), OSError):
      return TrainingError(
        f'{self.directory}: the last checkpoint is not whole, those before it are: '
        f'{hosts.lost(error)}'
      )
    # Only the end: the paths come first, once for each storage layer.
    reason = str(error).split(' [tensorstore_spec')[0].split(': ')[-1]
    return TrainingError(
      f'{self.directory}: a checkpoint cannot be written ({reason}); those before '
      f'it are whole. Is the disk full? Make room and {hosts.AGAIN}'
    )

  def save_params(self, step, params):
    """Saves only a model's variables; training cannot be resumed from them."""
    self._manager.save(
      step, args=ocp.args.Composite(params=ocp.args.StandardSave(params))
    )

  def latest_step(self):
    """The step of the last intact checkpoint, or None if there never was one.

    Damaged ones after it are reported on stderr and renamed to `<step>.damaged`.

    Raises:
      InputError: there are checkpoints, but none is intact.
    """
    step = hosts.on_main(self._last_whole)
    self._manager.reload()
    return step

  def _last_whole(self):
    damaged = {}
    for step in self._steps():
      damaged[step] = damage(self.directory / str(step))
      if not damaged[step]:
        del damaged[step]
        break
    else:
      if damaged:
        facts = '; '.join(f'{step}: {what}' for step, what in damaged.items())
        raise InputError(
          f'{self.directory}: no checkpoint is whole ({facts}); delete '
          'the folder to train anew'
        )
      return None
    for bad, what in damaged.items():
      print(
        f'warning: {self.directory}: checkpoint {bad} is damaged ({what}); going '
        f'back to checkpoint {step}',
        file=sys.stderr,
        flush=True,
      )
      aside = self.directory / f'{bad}.damaged'
      shutil.rmtree(aside, ignore_errors=True)
      (self.directory / str(bad)).rename(aside)
    return step

  def _steps(self):
    return sorted(
      (int(path.name) for path in self.directory.iterdir() if path.name.isdigit()),
      reverse=True,
    )

  def restore(self, step, abstract_state):
    """Returns the TrainState and the `stream` of a checkpoint.

    Args:
      step: of `latest_step`.
      abstract_state: the shapes, dtypes and shardings to restore to, on any mesh.

    Raises:
      InputError: the checkpoint holds another model.
    """
    found = self._restore(
      step,
      {
        'params': merged(abstract_state.params, abstract_state.model_state),
        'rest': dataclasses.replace(abstract_state, params={}, model_state={}),
      },
      stream=ocp.args.JsonRestore(),
    )
    state = dataclasses.replace(
      found['rest'],
      params=like(abstract_state.params, found['params']),
      model_state=like(abstract_state.model_state, found['params']),
    )
    return state, found['stream']

  def restore_params(self, abstract_params):
    """Returns only the model's variables, of the very last checkpoint; see `restore`.

    Raises:
      InputError: there is no checkpoint, it is damaged, or it holds another model.
    """
    return self._restore(self._very_last(), {'params': abstract_params})['params']

  def abstract_params(self):
    """Shapes and dtypes of the very last checkpoint's variables, a nested dict."""
    there = self._manager.item_metadata(self._very_last())
    return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), there['params'].tree
    )

  def _very_last(self):
    def check():
      steps = self._steps()
      if not steps:
        raise InputError(f'{self.directory}: there is no whole checkpoint here')
      what = damage(self.directory / str(steps[0]))
      if what:
        raise InputError(
          f'{self.directory}: checkpoint {steps[0]} is damaged ({what}); train it anew'
        )
      return steps[0]

    return hosts.on_main(check)

  def _restore(self, step, trees, **others):
    there = self._manager.item_metadata(step)
    for name, tree in trees.items():  # before anything is read
      wanted, found = _shapes(tree), _shapes(there[name].tree)
      for path in sorted(wanted.keys() | found.keys()):
        if wanted.get(path) != found.get(path):
          raise InputError(
            f'{self.directory}: checkpoint {step} does not fit this model: {path} '
            f'is {found.get(path, "not there")}, must be '
            f'{wanted.get(path, "not there")}; use the configuration it was '
            'written with, or another work directory'
          )
    return self._manager.restore(
      step,
      args=ocp.args.Composite(
        **{name: ocp.args.StandardRestore(tree) for name, tree in trees.items()},
        **others,
      ),
    )


def _is_not_raised_again(record):
  """Filters out log records of errors that Orbax also raises.

  The second kind comes from threads of Orbax that end after a save has failed.
  """
  return not (
    record.exc_info
    and (
      'orbax' in record.pathname or 'Event loop is closed' in str(record.exc_info[1])
    )
  )


def damage(folder):
  """What is wrong with the files of a checkpoint, or None."""
  for name, what in checksums.damage(folder, _read).items():
    return f'{name} {what}'
  return None


def _read(name):
  """Whether a file of a checkpoint is ever read."""
  return name not in _UNREAD


def _shapes(tree):
  return {
    path_string(path): tuple(x.shape)
    for path, x in jax.tree_util.tree_leaves_with_path(tree)
  }
