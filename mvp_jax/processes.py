"""Parallel work in several processes of this machine."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import pickle
import signal
import sys
import threading
import traceback
import types
from multiprocessing import resource_tracker

from mvp_jax.errors import TrainingError

_DEATH_SECONDS = 5.0  # in which a process that closed its pipe has ended
_script_runs = False  # in this process, again, for what it defines: see `begin`


class _Enough(BaseException):
  """Ends a script that runs again where it comes to what only the first one does."""


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
      end when this one does, however it ends. Ctrl-C does not end them before that:
      what they have begun is finished. A second one ends them.

  Yields:
    (index of the item, what the function returned).

  Raises:
    TrainingError: a process died. Whatever the function raises is re-raised here.
  """
  once()
  workers = min(workers or available(), len(items))
  if workers <= 1:
    for i, item in enumerate(items):
      yield i, function(*item)
    return
  pool, of = [], script()
  try:
    with starting():
      for _ in range(workers):
        pool.append(_Worker(function, of))
    yield from _handed_out(items, pool)
  except _Died as error:
    _kill(pool)  # memory is free at once, if it was that
    raise TrainingError(
      f'a worker process died ({error}); what is done is kept: start again to '
      'continue, with fewer workers if it was memory'
    ) from None
  finally:
    try:
      for worker in pool:
        worker.end()
      for worker in pool:
        worker.process.join()
    except KeyboardInterrupt:  # the second one: what has begun is not waited for
      _kill(pool)
      raise


class _Died(Exception):
  """A worker process has ended, how is said, with a task in hand."""


class _Worker:
  """A process that calls a function, and a pipe to it.

  Each has a pipe of its own: one that is killed, whatever it was writing, is seen by
  the end of its pipe, and holds no lock that others wait for.
  """

  def __init__(self, function, of):
    context = multiprocessing.get_context('spawn')  # not forked, for JAX has threads
    self.pipe, theirs = context.Pipe()
    # Daemons, so that an interpreter that ends ends them.
    self.process = context.Process(target=_work, args=(theirs, of), daemon=True)
    try:
      self.process.start()
      self.pipe.send(function)  # read when it knows what the script defines
    finally:
      theirs.close()

  def give(self, number, item):
    """Has the worker call its function."""
    try:
      self.pipe.send((number, item))
    except OSError:
      raise self._died() from None

  def take(self):
    """(number of the item, what the function returned); raises what it raised."""
    try:
      number, value, error = self.pipe.recv()
    except (EOFError, OSError):
      raise self._died() from None
    if error is not None:
      raise error
    return number, value

  def _died(self):
    self.process.join(_DEATH_SECONDS)
    status = self.process.exitcode
    if status is not None and status < 0:
      return _Died(f'{signal.Signals(-status).name}: killed, or out of memory')
    return _Died(f'exit status {status}')

  def end(self):
    """Lets the process end when what it has begun is done."""
    self.pipe.close()


def _handed_out(items, pool):
  """Yields what `parallel_map` does."""
  todo = iter(enumerate(items))
  busy = {}
  for worker, (number, item) in zip(pool, todo, strict=False):
    worker.give(number, item)
    busy[worker.pipe] = worker
  while busy:
    for pipe in multiprocessing.connection.wait(list(busy)):
      worker = busy.pop(pipe)
      found = worker.take()
      if (following := next(todo, None)) is not None:
        worker.give(*following)
        busy[pipe] = worker
      yield found


def _kill(pool):
  for worker in pool:
    worker.process.kill()


def _work(pipe, of):
  """What a worker process does, until the other end of its pipe is closed."""
  import cv2  # here: what only starts processes, or holds a lock, has no use for it

  cv2.setNumThreads(1)  # one processor per process
  begin(of)
  with contextlib.suppress(EOFError, OSError):
    function = pipe.recv()
    while True:
      number, item = pipe.recv()
      try:
        found = number, function(*item), None
      except Exception as error:
        error.__cause__ = RuntimeError(f'\n{traceback.format_exc()}')  # of this process
        found = number, None, error
      try:
        pipe.send(found)
      except (pickle.PicklingError, AttributeError, TypeError) as error:
        pipe.send((number, None, RuntimeError(f'{found[1:]}: {error}')))


def once():
  """Marks what a script does once, however many processes import it.

  Processes import the script of the first one, for what it defines. One that does its
  work without asking for `__name__ == '__main__'` would do all of it in each of them,
  without end: there it ends here.
  """
  if _script_runs:
    raise _Enough


def script():
  """(file, package or None) of the script of this process, for `begin`; or None."""
  main = sys.modules['__main__']
  spec = getattr(main, '__spec__', None)
  path = getattr(main, '__file__', None) if spec is None else spec.origin
  # As multiprocessing does: what a package runs for itself has such a guard.
  if path is None or (spec and spec.name.split('.')[-1] == '__main__'):
    return None
  path = pathlib.Path(path).absolute()
  if not path.is_file() or path.suffix != '.py':
    return None
  return str(path), spec and spec.parent


@contextlib.contextmanager
def starting():
  """Around the start of processes that call `begin`.

  They import the script only there, and a Ctrl-C, which the terminal sends to all of
  them, ends this process alone, when they have begun: one that is left half begun says
  so in a stack trace.
  """
  main = sys.modules['__main__'].__dict__
  resource_tracker.ensure_running()  # it would unblock SIGINT when it starts
  with _later():
    hidden = {name: main.pop(name) for name in ('__file__', '__spec__') if name in main}
    main['__spec__'] = None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited
    try:
      yield
    finally:
      main.update(hidden)
      signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _later():
  """Puts off what SIGINT and SIGTERM do, whichever thread gets them."""
  noted, handlers = [], {}
  if threading.current_thread() is threading.main_thread():
    for number in (signal.SIGINT, signal.SIGTERM):
      if callable(signal.getsignal(number)):
        handlers[number] = signal.signal(number, lambda got, _: noted.append(got))
  try:
    yield
  finally:
    for number, handler in handlers.items():
      signal.signal(number, handler)
    for number in noted:
      signal.raise_signal(number)


def begin(of):
  """Makes a new process follow the one that started it.

  It ends with it, not by Ctrl-C, and knows what its script defines.

  Args:
    of: `script()` there.
  """
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
  threading.Thread(target=_end_with_parent, daemon=True).start()
  if of is not None:
    _run_script(*of)


def _run_script(path, package):
  """Runs a script as a module, up to what is done `once`, or fails a second time.

  As making a folder does: what the script defines before is known, and that may do.
  """
  global _script_runs
  module = types.ModuleType('__mp_main__')
  module.__file__, module.__package__ = path, package
  # Under both names, so that what is pickled in the one process is found in the other.
  sys.modules['__main__'] = sys.modules['__mp_main__'] = module
  _script_runs = True
  try:
    exec(compile(pathlib.Path(path).read_bytes(), path, 'exec'), module.__dict__)
  except _Enough:
    pass
  except (Exception, SystemExit) as error:
    told = ' '.join(f'{type(error).__name__}: {error}'.split())
    print(
      f"note: worker processes know {path} up to where it can't be run twice ({told}); "
      "put what is to be done once under if __name__ == '__main__':",
      file=sys.stderr,
    )
  finally:
    _script_runs = False


def _end_with_parent():
  # If the parent is killed, its processes would wait for work forever.
  multiprocessing.parent_process().join()
  os._exit(1)
