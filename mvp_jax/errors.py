"""The errors that users are meant to read: one line each, no stack trace."""


class InputError(Exception):
  """Something given from outside is wrong: a file, a field, a setting.

  The message is one line: what is wrong, where, and what to do about it.
  `launch.py` prints it without a stack trace and exits with status 2.
  """


class TrainingError(Exception):
  """The run can't go on; the message says at which step and what was seen.

  `launch.py` prints it and exits with status 1.
  """


class Stopped(Exception):
  """The run was asked to end (SIGTERM) and has saved where it is.

  `launch.py` prints it and exits with status 143; the same command goes on.
  """
