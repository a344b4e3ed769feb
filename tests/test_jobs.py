"""Which program a config runs."""

import importlib

import pytest

from mvp_jax import jobs
from mvp_jax.errors import InputError


@pytest.mark.parametrize('name', jobs.JOBS)
def test_every_job_has_a_config_of_its_name(name):
  job = importlib.import_module(jobs.JOBS[name])
  assert job.Config().job == name
  assert callable(job.run)


@pytest.mark.parametrize('tree', [{}, {'job': 'fuse'}])
def test_a_job_that_is_not_there(tree, tmp_path):
  with pytest.raises(InputError, match=r'config\.job: .* is none of fusion'):
    jobs.run(tree, tmp_path)
