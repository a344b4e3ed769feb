"""Runs the job of a config file.

  python launch.py --config=configs/deap_fusion.py [--workdir=DIR]
      [--config.data.manual_dir=DIR] [--config.seed=N] ...

`python -m mvp_jax run` is the same command, from any folder. --config=deap_fusion,
without .py, is the file of that name among those that come with the package.

Any setting of the config file can be changed by `--config.<name>=<value>`.

On several hosts start the same command on each, with folders that all of them share.
In a TPU pod, and under SLURM, Open MPI or Kubernetes, the processes find each other;
elsewhere each is told by --coordinator=HOST:PORT --processes=N --process=I.

Exit status: 0 the whole job succeeded; 2 something given is wrong, and one line
says what; 143 stopped by SIGTERM, with all saved; 1 anything else.
"""

import errno
import pathlib
import re
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from mvp_jax.errors import InputError, Stopped, TrainingError

# What is defined here counts as defined by the main module: --help shows it.
flags.disclaim_key_flags()


def main(arguments=None):
  """Runs the command and ends the process with its exit status.

  Args:
    arguments: those after the program's name; None for those of this process.
  """
  _define_flags()
  sys.modules['__main__'].__doc__ = __doc__  # which --help shows
  arguments = sys.argv[1:] if arguments is None else arguments
  folder = pathlib.Path(__file__).parent / 'configs'  # of an installation
  if not folder.is_dir():
    folder = pathlib.Path(__file__).parents[1] / 'configs'  # of a clone
  sys.path.append(str(folder.parent))  # config files import configs.base
  arguments = [
    re.sub(r'^(--?config=)(\w+)(?=:|$)', rf'\1{folder.as_posix()}/\2.py', argument)
    for argument in arguments
  ]
  app.run(_run, argv=[sys.argv[0], *arguments], flags_parser=_parse_flags)


def _define_flags():
  config_flags.DEFINE_config_file(
    'config',
    None,
    'The experiment: FILE.py, or the name of one of configs/; :ARGUMENT.',
  )
  flags.DEFINE_string(
    'workdir', None, 'Where results go; default: runs/<name of the config file>.'
  )
  flags.DEFINE_string('coordinator', None, 'On several hosts: HOST:PORT of process 0.')
  flags.DEFINE_integer(
    'processes', None, 'On several hosts: how many processes there are.'
  )
  flags.DEFINE_integer('process', None, 'On several hosts: which one this is, from 0.')
  flags.mark_flag_as_required('config')


def _parse_flags(argv):
  try:
    rest = flags.FLAGS(argv)
    flags.FLAGS.config.to_dict()  # where a file that could not be read says so
    return rest
  except (AttributeError, KeyError) as error:
    while isinstance(error, Exception):  # ml_collections wraps one in the other
      error = error.args[0]
    sys.exit(_complain(f'no such setting: {error}'))
  except (flags.Error, InputError, OSError, TypeError, ValueError) as error:
    sys.exit(_complain(error))


def _complain(message):
  print('error:', *str(message).split(), file=sys.stderr)  # one line
  return 2


def _run(argv):
  if argv[1:]:
    return _complain(
      f'unexpected argument {argv[1]!r}; settings are given as --config.<name>=<value>'
    )
  logging.set_verbosity(logging.WARNING)
  import jax  # after the flags: --help stays quick

  from mvp_jax import hosts, jobs
  from mvp_jax.config import resolve
  from mvp_jax.training.host_memory import keep_freed_memory

  given = flags.FLAGS
  name = pathlib.Path(given['config'].config_filename).stem
  workdir = pathlib.Path(given.workdir or pathlib.Path('runs') / name)
  overrides = config_flags.get_override_values(given['config'])
  try:
    hosts.connect(given.coordinator, given.processes, given.process)
    if jax.default_backend() == 'cpu':
      keep_freed_memory()
    jobs.run(resolve(given.config, overrides), workdir)
    status = 0
  except InputError as error:
    status = _complain(error)
  except (Stopped, TrainingError) as error:
    _complain(error)
    status = 143 if isinstance(error, Stopped) else 1
  except jax.errors.JaxRuntimeError as error:
    if jax.process_count() == 1:
      raise
    _complain(
      f'process {jax.process_index()} of {jax.process_count()} has lost '
      f'another one ({str(error)[:200]}); {hosts.AGAIN}'
    )
    status = 1
  except OSError as error:
    if error.errno != errno.ENOSPC:
      raise
    _complain(
      f'{error.filename or workdir}: the disk is full; make room and {hosts.AGAIN}'
    )
    status = 1
  hosts.leave(status)
  return status
