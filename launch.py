"""Runs an experiment.

  python launch.py --config=configs/deap_fusion.py [--workdir=DIR]
      [--config.data.manual_dir=DIR] [--config.seed=N] ...

Any setting of the config file can be changed by `--config.<name>=<value>`.
Exit status: 0 the whole job succeeded; 2 something given is wrong, and one line
says what; 1 anything else.
"""

import pathlib
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from mvp_jax.errors import InputError, TrainingError

_CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'The experiment: a file of configs/, maybe FILE.py:ARGUMENT.')
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Where results go; default: runs/<name of the config file>.')
flags.mark_flag_as_required('config')


def _parse_flags(argv):
  try:
    rest = flags.FLAGS(argv)
    _CONFIG.value.to_dict()  # where a file that could not be read says so
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


def main(argv):
  if argv[1:]:
    return _complain(f'unexpected argument {argv[1]!r}; settings are given as '
                     '--config.<name>=<value>')
  logging.set_verbosity(logging.WARNING)
  from mvp_jax import jobs  # after the flags: --help stays quick
  from mvp_jax.config import resolve

  name = pathlib.Path(flags.FLAGS['config'].config_filename).stem
  workdir = pathlib.Path(_WORKDIR.value or pathlib.Path('runs') / name)
  overrides = config_flags.get_override_values(flags.FLAGS['config'])
  try:
    jobs.run(resolve(_CONFIG.value, overrides), workdir)
  except InputError as error:
    return _complain(error)
  except TrainingError as error:
    _complain(error)
    return 1
  return 0


if __name__ == '__main__':
  app.run(main, flags_parser=_parse_flags)
