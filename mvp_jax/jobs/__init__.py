"""What `launch.py` can run: each job is a module with `run(config, workdir)`."""

import importlib

from mvp_jax.config import parse
from mvp_jax.errors import InputError

JOBS = ('train', 'pretrain', 'ablate')  # each a module of this package


def run(tree, workdir):
  """Runs the job that a config names.

  Args:
    tree: nested dict of settings, as `config.resolve` gives.
    workdir: folder for the results.

  Raises:
    InputError: a setting or something given is wrong.
    TrainingError: the run can't go on.
  """
  name = tree.get('job')
  if name not in JOBS:
    raise InputError(f'config.job: {name!r} is none of {", ".join(JOBS)}')
  importlib.import_module(f'{__name__}.{name}').run(parse(tree), workdir)
