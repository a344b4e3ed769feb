"""Lock files: what only one process at a time may do, on all hosts of a file system."""

import contextlib
import fcntl
import os
import socket
import sys
import time

from mvp_jax.processes import once

_SECONDS = 0.5  # between two tries


@contextlib.contextmanager
def waited_for(path, doing):
  """Holds a lock; as long as another process does, waits for it and says so.

  The operating system releases it when the process ends, however it ends. The file
  stays.

  Args:
    path: pathlib.Path of the file, which is made if need be, as is its folder.
    doing: what the other process does then, such as 'preparing deap'.
  """
  with contextlib.ExitStack() as stack:
    holder = held_by(path, stack)
    if holder:
      print(
        f'another run ({holder}) is {doing}: waiting until it is done',
        file=sys.stderr,
        flush=True,
      )
    while holder:
      time.sleep(_SECONDS)
      holder = held_by(path, stack)
    yield


def held_by(path, stack):
  """Takes a lock until an ExitStack is closed, or says who has it: '' or words."""
  once()  # a script that is run anew would find that its first process has it
  path.parent.mkdir(parents=True, exist_ok=True)
  with contextlib.ExitStack() as opened:
    file = opened.enter_context(path.open('a+'))
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      file.seek(0)
      return file.read().strip() or 'which has just begun'
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
    file.flush()
    stack.enter_context(opened.pop_all())
  return ''
