"""What tests of whole jobs share: a small model, a few devices, what a run leaves."""

import contextlib
import csv
import dataclasses
import json

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from mvp_jax.jobs import pretrain, train
from mvp_jax.models.emotion import ModelSizes
from mvp_jax.models.modalities.action_units import ActionUnits
from mvp_jax.models.modalities.physio import Physio
from mvp_jax.models.modalities.video import Video
from mvp_jax.training.sharding import make_mesh

SIZES = ModelSizes(width=16, depth=1, heads=2, mlp_width=16)
MODALITIES = {
  'physio': Physio(
    widths=(8, 16), kernels=(64, 32), strides=(32, 16), depth=1, heads=2, mlp_width=16
  ),
  'video': Video(depth=1),
  'action_units': ActionUnits(depth=1, heads=2, mlp_width=16),
}


@contextlib.contextmanager
def few_devices(count=1):
  """Jobs run on few devices, for speed, and promote dtypes, for Optax.

  The compilation cache that they turn on is off again after them.
  """
  with pytest.MonkeyPatch.context() as patch, jax.numpy_dtype_promotion('standard'):
    for job in (train, pretrain):
      patch.setattr(
        job, 'make_mesh', lambda mesh: make_mesh(mesh, jax.devices()[:count])
      )
    try:
      yield
    finally:
      jax.config.update('jax_compilation_cache_dir', None)
      compilation_cache.reset_cache()


def run(job, config, workdir, devices=1):
  """Runs a job, a module of mvp_jax, on few devices."""
  with few_devices(devices):
    job.run(config, workdir)


def changed(config, **sections):
  """The config with fields of sections changed: train={'batch_size': 3}."""
  return dataclasses.replace(
    config,
    **{
      name: dataclasses.replace(getattr(config, name), **fields)
      for name, fields in sections.items()
    },
  )


def predictions(workdir):
  with (workdir / 'predictions.csv').open(newline='') as file:
    return list(csv.DictReader(file))


def facts(workdir):
  return json.loads((workdir / 'run.json').read_text())


def metrics(workdir):
  """The lines of `metrics.jsonl`."""
  return [
    json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()
  ]
