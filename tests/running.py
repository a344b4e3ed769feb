"""What tests of whole jobs share: a small model, a few devices, what a run leaves."""

import contextlib
import csv
import dataclasses
import io
import json

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from PIL import Image

from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.evaluation import figures
from mvp_jax.inference.folder import read
from mvp_jax.inference.model import Ensemble
from mvp_jax.inference.predict import course_of
from mvp_jax.jobs import pretrain, train
from mvp_jax.models.emotion import ModelSizes
from mvp_jax.models.modalities.action_units import ActionUnits
from mvp_jax.models.modalities.physio import Physio
from mvp_jax.models.modalities.video import Video
from mvp_jax.targets import binary_baselines
from mvp_jax.training.sharding import make_mesh

# What a job does with models does not depend on their layers, what compiling them takes
# does. There are some in the fusion.
SIZES = ModelSizes(width=16, depth=1, heads=2, mlp_width=16)
MODALITIES = {
  'physio': Physio(
    widths=(16,), kernels=(512,), strides=(512,), depth=0, heads=2, mlp_width=16
  ),
  'video': Video(depth=0),
  'action_units': ActionUnits(depth=0, heads=2, mlp_width=16),
}


def _white(figure):
  """A PNG file's content in place of a figure's."""
  content = io.BytesIO()
  Image.new('RGB', (4, 4), 'white').save(content, 'png')
  return content.getvalue()


@contextlib.contextmanager
def few_devices(count=1, drawn=False):
  """Jobs run on few devices, for speed, and promote dtypes, for Optax.

  The compilation cache that they turn on is off again after them. Classic baselines
  choose among few settings: thousands of small fits took a fifth of the time. Figures
  are made, and turned into pixels only where they are to be `drawn`: that takes longer
  than all else that a small job does.
  """
  with pytest.MonkeyPatch.context() as patch, jax.numpy_dtype_promotion('standard'):
    patch.setattr(binary_baselines, '_COSTS', (0.01, 1.0))
    if not drawn:
      patch.setattr(figures, 'png', _white)
    for job in (train, pretrain):
      patch.setattr(
        job, 'make_mesh', lambda mesh: make_mesh(mesh, jax.devices()[:count])
      )
    try:
      yield
    finally:
      jax.config.update('jax_compilation_cache_dir', None)
      compilation_cache.reset_cache()


def run(job, config, workdir, devices=1, drawn=False):
  """Runs a job, a module of mvp_jax, as `few_devices` says."""
  with few_devices(devices, drawn):
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


def check_kept(workdir, data_dir, name, folder, atol=1e-5):
  """Asserts that the models that a run has kept say what it has said.

  Args:
    data_dir: of the run.
    name: of the model.
    folder: for features.
    atol: by how much the two may differ.

  Returns how many values were compared.
  """
  models = read(workdir)
  (corpus,) = [
    corpus
    for info in sorted((data_dir / 'prepared').rglob('dataset_info.json'))
    for corpus in [PreparedCorpus(info.parent)]
    if models.record['metadata'].items() <= corpus.metadata.items()
  ]
  trials, compared = {(t.subject, t.trial): t for t in corpus.trials}, 0
  in_time = models.config.target.level == 'frame'
  with (workdir / ('frames.csv' if in_time else 'predictions.csv')).open() as file:
    rows = [row for row in csv.DictReader(file) if row['model'] == name]
  by_trial = {}
  for row in rows:
    key = int(row['fold']), int(row['subject']), int(row['trial'])
    by_trial.setdefault(key, []).append(row)
  for (fold, subject, number), own in by_trial.items():
    model, trial = Ensemble(models, name, fold), trials[subject, number]
    windows = model.windows(trial)
    found = model.predict(corpus, windows, folder / f'fold{fold}')
    if in_time:
      course = course_of(model, trial, windows, found)
    else:
      course = model.target.finished(found)
    seeds = [member.seed for member in model.members]
    for row in own:
      moment = round(float(row['time']) * model.target.rate - 0.5) if in_time else 0
      place = seeds.index(int(row['seed']))
      value = course[moment, place, model.target.ratings.index(row['target'])]
      wanted = row['prediction'] if in_time else row['score'] or row['predicted_rating']
      np.testing.assert_allclose(value, float(wanted), atol=atol)
      compared += 1
  assert compared == len(rows)
  return compared


def metrics(workdir):
  """The lines of `metrics.jsonl`."""
  return [
    json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()
  ]
