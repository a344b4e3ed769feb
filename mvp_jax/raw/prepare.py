"""Runs one function over many tasks in parallel, and remembers what is done.

Each result is a file of its own, written to a temporary name and renamed, so a
run that was killed continues where it stopped, and a run after a repair does
again only what the repair touched.
"""

import csv
import dataclasses
import hashlib
import zipfile
from pathlib import Path

import numpy as np

from mvp_jax.files import atomic_write
from mvp_jax.processes import available, parallel_map
from mvp_jax.progress import Progress
from mvp_jax.raw.blobs import Blobs
from mvp_jax.raw.losses import Loss


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


def run_tasks(function, tasks, directory, what, unit, workers=None):
  """Runs tasks that have no valid result yet.

  Args:
    function: importable by name; takes a task's `args`, returns a dict of
      arrays (or Blobs) or raises Loss. Any other exception stops the run; what is done
      stays done.
    tasks: list of Task.
    directory: where the results are.
    what, unit: for the progress display.
    workers: processes; 1 runs here. Defaults to the processors at hand. A text: the
      options of a Beam pipeline, whose workers all see `directory`.

  Returns:
    list with, for each task, None or its Loss. Losses are not remembered: the
    next run tries them again.
  """
  directory.mkdir(parents=True, exist_ok=True)
  for leftover in directory.glob('.*.part.npz'):
    leftover.unlink()
  todo = [i for i, task in enumerate(tasks) if not _is_done(task, directory)]
  losses = [None] * len(tasks)
  if not todo:
    return losses
  numbered = [(i, tasks[i]) for i in todo]
  with Progress(len(tasks), what, unit, initial=len(tasks) - len(todo)) as progress:

    def tell(i, loss):
      losses[i] = loss
      progress.update(1, lost=sum(loss is not None for loss in losses))

    if isinstance(workers, str):
      from mvp_jax.raw import beam  # It builds on this module.

      beam.run(function, numbered, directory, workers, tell)
    else:
      jobs = [(function, task, directory) for _, task in numbered]
      for number, loss in parallel_map(do, jobs, workers):
        tell(todo[number], loss)
  return losses


def at_most(workers, limit):
  """`workers` for tasks that take much memory; a Beam pipeline's are its own affair."""
  return workers if isinstance(workers, str) else min(workers or available(), limit)


def result_path(directory, name):
  """The file of a task's result."""
  return Path(directory) / f'{name}.npz'


def load_result(directory, name):
  """Opens the result of a task: a lazy mapping of arrays, to be closed."""
  return np.load(result_path(directory, name), allow_pickle=False)


def load_blobs(directory, name, array, ends):
  """Opens an array of a result of which `ends` are the ends of its pieces."""
  return Blobs.stored(result_path(directory, name), array, ends)


def write_account(path, rows):
  """Writes one line per trial; `rows` are dicts with the same keys."""
  with atomic_write(path) as part, part.open('w', newline='') as file:
    writer = csv.DictWriter(file, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)


def read_account(path):
  """Reads what `write_account` wrote, as a list of dicts of strings."""
  with path.open(newline='') as file:
    return list(csv.DictReader(file))


def do(function, task, directory, key=None):
  """Does one task and keeps its result; returns None or its Loss.

  `key` is the task's where the run was started, if that is another machine.
  """
  # The key is taken first: a file that changes meanwhile makes the result stale.
  key = key or task.key()
  try:
    arrays = function(*task.args)
  except Loss as loss:
    return loss
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


def _is_done(task, directory):
  try:
    # Opened here since np.load leaves a broken archive open.
    with result_path(directory, task.name).open('rb') as file, np.load(file) as arrays:
      return str(arrays['key']) == task.key()
  except (OSError, ValueError, KeyError, zipfile.BadZipFile):
    return False
