"""The one error that users are meant to read."""


class InputError(Exception):
  """Something given from outside is wrong: a file, a field, a setting.

  The message is one line: what is wrong, where, and what to do about it.
  `launch.py` prints it without a stack trace and exits with status 2.
  """
