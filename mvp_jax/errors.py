"""The errors that users are meant to read: one line each, no stack trace."""

import errno
import os
import re
import shutil
import signal
import tempfile


class InputError(Exception):
  """Something given from outside is wrong: a file, a field, a setting.

  The message is one line: what is wrong, where, and what to do about it.
  `launch.py` prints it without a stack trace and exits with status 2.
  """


class TrainingError(RuntimeError):
  """The run can't go on; the message says where it stands and what was seen.

  `launch.py` prints it and exits with status 1.
  """


class Terminated(KeyboardInterrupt):
  """SIGTERM, where no training catches it: the process ends as by Ctrl-C."""


class Stopped(Exception):
  """The run was asked to end and has saved where it is.

  `launch.py` prints it and exits with status 128 + `signal`, that of SIGTERM (143) or
  of Ctrl-C, SIGINT (130); the same command goes on.
  """

  def __init__(self, message, signal=signal.SIGTERM):
    super().__init__(message)
    self.signal = signal


AGAIN = 'run the same command again to go on'
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REMEDIES = {  # beside what the operating system says
  **dict.fromkeys(_FULL, f'make room and {AGAIN}'),
  **dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EROFS), 'give yourself the right, or another path'
  ),
  errno.EMFILE: f'raise the limit (ulimit -n) and {AGAIN}',
  errno.EIO: 'look at the disk',
  errno.EISDIR: 'a folder stands where a file is needed; delete it',
  **dict.fromkeys(
    (errno.ENOTDIR, errno.EEXIST), 'a file stands where a folder is needed'
  ),
}
_NO_ROOM = 1_000_000  # bytes


def ending(error, folders=()):
  """How a command ends by an error: (a line, exit status), or None for a defect.

  Args:
    error: a BaseException.
    folders: pathlib.Path of those that are written to.
  """
  if isinstance(error, InputError):
    return str(error), 2
  if isinstance(error, Stopped):
    return str(error), 128 + error.signal
  if isinstance(error, TrainingError):
    return str(error), 1
  if isinstance(error, KeyboardInterrupt):
    by = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
    name = 'SIGTERM' if by == signal.SIGTERM else 'Ctrl-C'
    return f'stopped by {name}; what is done is kept: {AGAIN}', 128 + by
  if isinstance(error, RuntimeError):
    error = of_the_system(error)
  if isinstance(error, OSError):
    return _told(error, folders), 1
  return None


def of_the_system(error):
  """The OSError that a library in C++ tells of in words, or the error itself."""
  for number in (*_FULL, errno.EFBIG, errno.EIO, errno.EROFS, errno.EMFILE):
    if os.strerror(number) in str(error):
      path = re.search(r'writing (/[^;]+)', str(error))  # as Riegeli, of array_record
      return OSError(number, os.strerror(number), path and path[1])
  return error


def out_of_memory(error):
  """Whether an error says that memory ran out, the host's or a device's."""
  return isinstance(error, MemoryError) or (
    type(error).__name__ == 'JaxRuntimeError' and 'RESOURCE_EXHAUSTED' in str(error)
  )


def no_memory(where, error, lower, raised, remat=''):
  """The TrainingError of an `out_of_memory`.

  Args:
    where: what was done.
    error: what was raised.
    lower, raised: lists of settings that take less memory if lowered, raised.
    remat: the setting of what is computed twice to save memory; '' = there is none.
  """
  asked = re.search(r'allocat\w+ ([\d.]+ ?([KMGT]?i?B|bytes))', str(error))
  ways = [f'lower {" or ".join(lower)}', f'raise {" or ".join(raised)}']
  ways += [f'set {remat}=full'] if remat else []
  return TrainingError(
    f'{where}: out of memory'
    + (f', {asked[1]} were asked for; ' if asked else '; ')
    + f'{", ".join(ways[:-1])} or {ways[-1]}, and {AGAIN}'
  )


def _told(error, folders):
  """What went wrong with which path, and what to do."""
  if not error.errno:
    return f'{error} ({type(error).__name__})'
  names = [str(x) for x in (error.filename, error.filename2) if x is not None]
  if not names and error.errno in _FULL:  # a write says no name
    names = list(map(str, _full(folders)))
  what = ' -> '.join(names) or 'a file or connection without a name'
  why = 'the disk is full' if error.errno in _FULL else error.strerror
  remedy = _REMEDIES.get(error.errno)
  return f'{what}: {why}' + (f'; {remedy}' if remedy else '')


def _full(folders):
  """Which of some folders, or that for temporary files, have no room."""
  there = [next(p for p in (f, *f.parents) if p.exists()) for f in folders]
  places = [*zip(folders, there, strict=True), *[(tempfile.gettempdir(),) * 2]]
  full = [
    folder for folder, place in places if shutil.disk_usage(place).free < _NO_ROOM
  ]
  return full[:1] or list(folders)
