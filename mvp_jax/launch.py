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
says what; 143 stopped by SIGTERM, 130 by Ctrl-C, with all saved; 1 anything else. A
second Ctrl-C stops at once.
"""

import os
import pathlib
import re
import signal
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from mvp_jax.errors import InputError, Terminated, ending

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
  folder = configs_folder()
  arguments = [
    re.sub(r'^(--?config=)(\w+)(?=:|$)', rf'\1{folder.as_posix()}/\2.py', argument)
    for argument in arguments
  ]
  if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
    signal.signal(signal.SIGTERM, _terminate)
  try:
    app.run(_run, argv=[sys.argv[0], *arguments], flags_parser=_parse_flags)
  except KeyboardInterrupt as error:  # before the job has begun
    line, status = ending(error)
    _complain(line)
    sys.exit(status)


def _terminate(number, frame):
  raise Terminated


def configs_folder():
  """The folder of the configs that come with the package, which can be imported."""
  folder = pathlib.Path(__file__).parent / 'configs'  # of an installation
  if not folder.is_dir():
    folder = pathlib.Path(__file__).parents[1] / 'configs'  # of a clone
  if str(folder.parent) not in sys.path:
    sys.path.append(str(folder.parent))  # config files import configs.base
  return folder


def _define_flags():
  config_flags.DEFINE_config_file(
    'config',
    None,
    'The experiment: FILE.py, or the name of one of configs/; :ARGUMENT.',
    # What only another kind of encoder or target has; `config.parse` refuses the rest.
    lock_config=False,
    accept_new_attributes=True,
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


def _as_in_the_file(flag):
  """The config without what was given for batches and their learning rates."""
  config = flag.value.copy_and_resolve_references()
  for name in config_flags.get_override_values(flag):
    if re.fullmatch(r'(encoder\.)?train\.(\w+|optimiser\.learning_rate)', name):
      config.update_from_flattened_dict(
        {name: flags.FLAGS[f'{flag.name}.{name}'].default}
      )
  return config


def _run(argv):
  if argv[1:]:
    return _complain(
      f'unexpected argument {argv[1]!r}; settings are given as --config.<name>=<value>'
    )
  logging.set_verbosity(logging.WARNING)
  import jax  # after the flags: --help stays quick

  from mvp_jax import host_cpu, hosts, jobs
  from mvp_jax.config import resolve

  given = flags.FLAGS
  name = pathlib.Path(given['config'].config_filename).stem
  workdir = pathlib.Path(given.workdir or pathlib.Path('runs') / name)
  overrides = config_flags.get_override_values(given['config'])
  status = 0
  try:
    host_cpu.make_quick()
    hosts.connect(given.coordinator, given.processes, given.process)
    kinds = [name for name in overrides if name.endswith('.kind')]
    recipe = resolve(_as_in_the_file(given['config']), kinds)
    jobs.run(resolve(given.config, overrides), workdir, recipe)
  except (Exception, KeyboardInterrupt) as error:
    ended = ending(error, (workdir, pathlib.Path(given.config.data.data_dir)))
    if ended is None:
      if not isinstance(error, jax.errors.JaxRuntimeError) or jax.process_count() == 1:
        raise
      ended = hosts.lost(error), 1
    _complain(ended[0])
    status = ended[1]
    if isinstance(error, KeyboardInterrupt):  # at once, whatever threads are doing
      sys.stdout.flush()
      os._exit(status)
  hosts.leave(status)
  return status
