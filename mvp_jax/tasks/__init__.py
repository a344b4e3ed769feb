"""Runs one function over many tasks in parallel, and remembers what is done.

Each result is a file of its own, written to a temporary name and renamed, so a
run that was killed continues where it stopped, and a run after a repair does
again only what the repair touched.
"""

from mvp_jax.processes import available, parallel_map
from mvp_jax.progress import Progress
from mvp_jax.tasks import beam
from mvp_jax.tasks.task import Task, do, is_done, load_blobs, load_result, result_path

__all__ = ['Task', 'at_most', 'load_blobs', 'load_result', 'result_path', 'run_tasks']


def run_tasks(function, tasks, directory, what, unit, workers=None):
  """Runs tasks that have no valid result yet.

  Args:
    function: importable by name; takes a task's `args`, returns a dict of
      arrays (or Blobs) or raises Dropped. Any other exception stops the run; what is
      done stays done.
    tasks: list of Task.
    directory: where the results are.
    what, unit: for the progress display.
    workers: processes; 1 runs here. Defaults to the processors at hand. A text: the
      options of a Beam pipeline, whose workers all see `directory`.

  Returns:
    for each task None or its Dropped, which the next run tries again.
  """
  directory.mkdir(parents=True, exist_ok=True)
  for leftover in directory.glob('.*.part.npz'):
    leftover.unlink()
  todo = [i for i, task in enumerate(tasks) if not is_done(task, directory)]
  drops = [None] * len(tasks)
  if not todo:
    return drops
  numbered = [(i, tasks[i]) for i in todo]
  with Progress(len(tasks), what, unit, initial=len(tasks) - len(todo)) as progress:

    def tell(i, dropped):
      drops[i] = dropped
      progress.update(1, dropped=sum(dropped is not None for dropped in drops))

    if isinstance(workers, str):
      beam.run(function, numbered, directory, workers, tell)
    else:
      jobs = [(function, task, directory) for _, task in numbered]
      for number, dropped in parallel_map(do, jobs, workers):
        tell(todo[number], dropped)
  return drops


def at_most(workers, limit):
  """`workers` for tasks that take much memory; a Beam pipeline's are its own affair."""
  return workers if isinstance(workers, str) else min(workers or available(), limit)
