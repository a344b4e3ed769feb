"""What `launch.py` can run: each job is a config class and a `run(config, workdir)`."""

import importlib

from mvp_jax.config import parse
from mvp_jax.errors import InputError

# config.job: module that holds `Config` and `run`, imported only when wanted
JOBS = {
  'fusion': 'mvp_jax.experiment',
  'video': 'mvp_jax.finetuning',
  'pretrain': 'mvp_jax.pretraining',
  'ablation': 'mvp_jax.ablation',
}


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
  job = importlib.import_module(JOBS[name])
  job.run(parse(tree, job.Config), workdir)
