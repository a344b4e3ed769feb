"""Parallel work in several processes of this machine."""

import concurrent.futures
import multiprocessing
import os
import threading
from concurrent.futures.process import BrokenProcessPool

import cv2


def available():
  """The number of processors that this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def parallel_map(function, items, workers=None):
  """Calls `function(*item)` for each item, and yields results as they complete.

  Args:
    function: importable by name, for it is pickled, as are its arguments.
    items: list of tuples of arguments.
    workers: number of processes; 1 = work in this one, None or 0 = `available`. They
      end when this one does, however it ends.

  Yields:
    (index of the item, what the function returned).

  Raises:
    RuntimeError: a process died. Whatever the function raises is re-raised here.
  """
  workers = min(workers or available(), len(items))
  if workers <= 1:
    for i, item in enumerate(items):
      yield i, function(*item)
    return
  # Not forked, for JAX has threads.
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
  cv2.setNumThreads(1)  # one processor per process
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
  # If the parent is killed, a pool's processes would wait for work forever.
  multiprocessing.parent_process().join()
  os._exit(1)
