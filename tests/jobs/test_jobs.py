"""Which program a config runs."""

import importlib

import pytest

from mvp_jax import jobs
from mvp_jax.errors import InputError


@pytest.mark.parametrize('name', jobs.JOBS)
def test_every_job_is_a_module_of_its_name(name):
  assert callable(importlib.import_module(f'mvp_jax.jobs.{name}').run)


@pytest.mark.parametrize('tree', [{}, {'job': 'fuse'}])
def test_a_job_that_is_not_there(tree, tmp_path):
  with pytest.raises(InputError, match=r'config\.job: .* is none of train'):
    jobs.run(tree, tmp_path)
