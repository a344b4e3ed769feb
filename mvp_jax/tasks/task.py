"""One task, and the file of its result."""

import dataclasses
import hashlib
import zipfile
from pathlib import Path

import numpy as np

from mvp_jax.files import atomic_write
from mvp_jax.outcomes import Dropped
from mvp_jax.tasks.blobs import Blobs


@dataclasses.dataclass(frozen=True)
class Task:
  """`function(*args)` returns a dict of arrays, kept as `name`.npz.

  `inputs` are the files it reads: a result is taken over only as long as they
  (by size and time of change) and `args` are the same.
  """

  name: str
  args: tuple
  inputs: tuple[Path, ...]

  def key(self):
    """A hash of what the result depends on."""
    digest = hashlib.sha256(repr(self.args).encode())
    for path in self.inputs:
      stat = path.stat() if path.exists() else None
      digest.update(repr(stat and (stat.st_size, stat.st_mtime_ns)).encode())
    return digest.hexdigest()[:32]


def result_path(directory, name):
  """The file of a task's result."""
  return Path(directory) / f'{name}.npz'


def load_result(directory, name):
  """Opens the result of a task: a lazy mapping of arrays, to be closed."""
  return np.load(result_path(directory, name), allow_pickle=False)


def load_blobs(directory, name, array, ends):
  """Opens an array of a result of which `ends` are the ends of its pieces."""
  return Blobs.stored(result_path(directory, name), array, ends)


def do(function, task, directory, key=None):
  """Does one task and keeps its result; returns None or its Dropped.

  `key` is the task's where the run was started, if that is another machine.
  """
  # The key is taken first: a file that changes meanwhile makes the result stale.
  key = key or task.key()
  try:
    arrays = function(*task.args)
  except Dropped as dropped:
    return dropped
  with atomic_write(result_path(directory, task.name)) as part:
    _save(part, {'key': np.array(key), **arrays})
  return None


def _save(path, arrays):
  """As np.savez does it, but piece by piece where a value is Blobs."""
  with zipfile.ZipFile(path, 'w') as archive:
    for name, array in arrays.items():
      with archive.open(f'{name}.npy', 'w', force_zip64=True) as file:
        if isinstance(array, Blobs):
          array.write_npy(file)
        else:
          np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def is_done(task, directory):
  """Whether a task has a result that is still valid, and whole."""
  try:
    # Opened here since np.load leaves a broken archive open.
    with result_path(directory, task.name).open('rb') as file, np.load(file) as arrays:
      return str(arrays['key']) == task.key() and arrays.zip.testzip() is None
  except (OSError, ValueError, KeyError, zipfile.BadZipFile):
    return False
