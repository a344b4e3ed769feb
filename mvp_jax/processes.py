"""Work spread over processes of this machine."""

import concurrent.futures
import multiprocessing
import os
import threading
from concurrent.futures.process import BrokenProcessPool

import cv2


def available():
  """The processors that this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def parallel_map(function, items, workers=None):
  """Calls `function(*item)` for each item, and yields results as they come.

  Args:
    function: importable by name, as its arguments travel to other processes.
    items: list of tuples.
    workers: processes; 1 works in this one. None or 0 = `available`. They end when
      this one does, however it ends.

  Yields:
    (number of the item, what the function returned).

  Raises:
    RuntimeError: a process died. What the function raises is raised here too.
  """
  workers = min(workers or available(), len(items))
  if workers <= 1:
    for i, item in enumerate(items):
      yield i, function(*item)
    return
  # Not forked: JAX has threads.
  pool = concurrent.futures.ProcessPoolExecutor(
    workers, multiprocessing.get_context('spawn'), _begin
  )
  try:
    numbers = {pool.submit(function, *item): i for i, item in enumerate(items)}
    for future in concurrent.futures.as_completed(numbers):
      yield numbers[future], future.result()
  except BrokenProcessPool:
    raise RuntimeError(
      'a worker process died (out of memory, or killed); what is done is kept: '
      'start again to continue, with fewer workers if it was memory'
    ) from None
  finally:
    pool.shutdown(cancel_futures=True)


def _begin():
  cv2.setNumThreads(1)  # The processes share the processors among themselves.
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
  # A pool's processes would wait for work for ever if the one that gives it is killed.
  multiprocessing.parent_process().join()
  os._exit(1)
