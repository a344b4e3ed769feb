"""What `launch.py` can run: each job is a module with `run(config, workdir)`."""

import importlib

from mvp_jax.config import parse
from mvp_jax.errors import InputError, no_memory, out_of_memory
from mvp_jax.processes import once

JOBS = ('train', 'pretrain', 'ablate')  # each a module of this package


def run(tree, workdir, recipe=None):
  """Runs the job that a config names.

  Args:
    tree: nested dict of settings, as `config.resolve` gives.
    workdir: folder for the results.
    recipe: as `tree`, what it was before batches were changed; None = the same.

  Raises:
    InputError: a setting or something given is wrong.
    TrainingError: the run can't go on.
  """
  once()
  name = tree.get('job')
  if name not in JOBS:
    raise InputError(f'config.job: {name!r} is none of {", ".join(JOBS)}')
  job, config = importlib.import_module(f'{__name__}.{name}'), parse(tree)
  from mvp_jax.jobs import batches  # with the job: TensorFlow and JAX load slowly

  if recipe is not None:
    batches.say(config, recipe)
  try:
    job.run(config, workdir)
  except Exception as error:
    if not out_of_memory(error):
      raise
    raise no_memory(f'the job {name!r}', error, *batches.memory(config)) from error
