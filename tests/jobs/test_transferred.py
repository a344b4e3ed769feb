"""A convolutional encoder trained end to end on one corpus starts runs on another."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from mvp_jax import corpora
from mvp_jax.config import Config, DataConfig, EvaluationConfig
from mvp_jax.corpora.amigos.twin_spec import AmigosSpec
from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.examples import InputConfig
from mvp_jax.errors import InputError
from mvp_jax.jobs import train as job
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.targets import Binary
from mvp_jax.training import encoder as encoders
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.multiscale_encoder import DMSNEncoder
from mvp_jax.training.optimiser import OptimiserConfig
from mvp_jax.training.sharding import MeshConfig, make_mesh
from tests import running

_CLIPS = ClipLayout(frames=8, stride=1, spacing=8.0, tubelet=8)
_TRAIN = TrainConfig(
  batch_size=4,
  log_every=1,
  validate_every=0,
  checkpoint_every=2,
  optimiser=OptimiserConfig(steps=2, warmup_steps=1),
)
_ENCODER = DMSNEncoder(
  pretrained=False,
  subjects=0,
  feature_batch=4,
  variant='A',
  stem=4,
  widths=(8, 8, 8, 16),
  blocks=(1, 1, 1, 1),
)
_run = functools.partial(running.run, job)


@pytest.fixture(scope='module')
def first(tmp_path_factory):
  """The config and the work directory of a run on clips of DEAP."""
  config = Config(
    dataset='deap',
    data=DataConfig(
      data_dir=str(tmp_path_factory.mktemp('data')),
      frame_rate=2.0,
      frame_size=16,
      workers=1,
    ),
    twin=TwinSpec(
      subjects=3, trials=2, frame_rate=2.0, width=64, height=64, pixel_aspect=(1, 1)
    ),
    input=InputConfig(windows='random', clips=_CLIPS, test_clips=1),
    encoder=_ENCODER,
    train=_TRAIN,
    evaluation=EvaluationConfig(
      folds=3, validation_subjects=0, batch_size=4, models=('video',)
    ),
  )
  workdir = tmp_path_factory.mktemp('runs') / 'first'
  _run(config, workdir)
  return config, workdir


def _second(config, encoder, **evaluation):
  """On AMIGOS, whole trials of face and body."""
  return dataclasses.replace(
    config,
    dataset='amigos',
    data=dataclasses.replace(
      config.data,
      channels=('eda', 'ecg'),
      corpus=corpora.find('amigos').Settings(annotation=('external',)),
    ),
    twin=AmigosSpec(
      subjects=4, stimuli=('58', '18'), frame_rate=2.0, width=64, height=64, scale=0.1
    ),
    target=Binary(ratings=('external_valence',), threshold=0.0),
    input=InputConfig(max_seconds=15.0, clips=_CLIPS),
    encoder=dataclasses.replace(config.encoder, **encoder),
    model=running.SIZES,
    modalities=running.MODALITIES,
    evaluation=EvaluationConfig(
      folds=2, validation_subjects=0, batch_size=4, models=('fusion',), **evaluation
    ),
  )


def _variables(folder):
  mesh = make_mesh(MeshConfig(), jax.devices()[:1])
  return jax.device_get(encoders.read_variables(folder, mesh)['encoder'])


def test_each_training_leaves_its_encoder_and_says_whom_it_saw(first):
  config, workdir = first
  facts = running.facts(workdir)
  assert facts['encoder']['source'] == 'none, random weights'
  for fold in facts['folds']:
    folder = workdir / 'encoders' / f'fold{fold["fold"]}' / 'video'
    record = json.loads((folder / 'record.json').read_text())
    assert record['trained_on_subjects'] == fold['train_subjects']
    assert len(record['people']) == 2 and record['dataset'] == 'deap'
    assert record['labels'] == 'ratings of valence, arousal'
    assert record['encoder']['kind'] == 'dmsn'
    means = [
      x
      for path, x in jax.tree_util.tree_leaves_with_path(_variables(folder))
      if 'mean' in str(path[-1])
    ]
    assert means and all(np.abs(x).max() > 0 for x in means)  # statistics, too


def test_it_starts_a_fusion_on_another_corpus(first, tmp_path):
  config, workdir = first
  start = workdir / 'encoders' / 'fold0' / 'video'
  second = _second(
    config, {'pretrained': True, 'checkpoint': str(start), 'finetune': True}
  )
  _run(second, tmp_path / 'second')
  facts = running.facts(tmp_path / 'second')
  assert facts['encoder']['source'] == str(start)
  checks = {check['name']: check for check in facts['audit']['checks']}
  assert checks['encoder']['detail'].startswith('pre-trained on no test subject')
  assert {r['model'] for r in running.predictions(tmp_path / 'second')} >= {'fusion'}
  # Both corpora's people are known to what comes of it, and it begins as it was left.
  again = tmp_path / 'second' / 'encoders' / 'fold0' / 'fusion'
  record = json.loads((again / 'record.json').read_text())
  before = json.loads((start / 'record.json').read_text())
  assert set(before['people']) < set(record['people'])
  assert record['started_from'] == str(start)
  moved = [
    np.abs(a - b).max()
    for a, b in zip(
      *(
        jax.tree.leaves(_variables(folder)['stem']['conv']) for folder in (start, again)
      ),
      strict=True,
    )
  ]
  assert 0 < max(moved) < 0.01  # two small steps away

  frozen = _second(config, {'pretrained': True, 'checkpoint': str(again)})
  frozen = dataclasses.replace(frozen, dataset='amigos')
  with pytest.raises(InputError, match='test subjects .*, with their ratings of ext'):
    _run(frozen, tmp_path / 'overlap')


def test_its_own_corpus_has_seen_it(first, tmp_path):
  config, workdir = first
  start = workdir / 'encoders' / 'fold0' / 'video'
  given = running.changed(
    config, encoder={'pretrained': True, 'checkpoint': str(start)}
  )
  with pytest.raises(InputError, match='test subjects .*, with their ratings of val'):
    _run(given, tmp_path / 'again')
  several = running.changed(
    config, encoder={'pretrained': True, 'checkpoint': str(workdir)}
  )
  with pytest.raises(InputError, match='holds 3 trained encoders, one for each'):
    _run(several, tmp_path / 'several')
