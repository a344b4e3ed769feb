"""Signals pre-trained without labels, and a model that starts from them."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from mvp_jax.errors import InputError
from mvp_jax.jobs import pretrain
from mvp_jax.training import encoder as encoders
from mvp_jax.training.checkpoints import Checkpoints
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.optimiser import OptimiserConfig
from mvp_jax.training.sharding import MeshConfig, make_mesh
from mvp_jax.training.signal_encoder import PhysioEncoder
from tests import running

_STEPS = 3


@pytest.fixture(scope='module')
def pretraining(config):
  train = TrainConfig(
    batch_size=4,
    log_every=1,
    checkpoint_every=2,
    inspect_every=2,
    optimiser=OptimiserConfig(steps=_STEPS, warmup_steps=1),
  )
  found = dataclasses.replace(
    config, job='pretrain', encoder=PhysioEncoder(train=train)
  )
  return running.changed(found, pretrain={'subjects': (), 'held_out': 1})


@pytest.fixture(scope='module')
def pretrained(pretraining, tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'signals'
  running.run(pretrain, pretraining, folder, drawn=True)
  return folder


def _encoder(folder):
  mesh = make_mesh(MeshConfig(), jax.devices()[:1])
  return jax.device_get(encoders.read_variables(folder, mesh)['encoder'])


def test_the_pre_training_leaves_a_record_and_a_report(pretrained):
  record = json.loads((pretrained / encoders.RECORD).read_text())
  assert record['channels'] == ['eda', 'ppg'] and record['synthetic']
  assert len(record['people']) == len(record['trained_on_subjects']) == 4
  report = (pretrained / 'report.html').read_text()
  assert 'Signal pre-training' in report and 'Absent' not in report
  with np.load(pretrained / 'reconstructions' / f'step_{_STEPS}.npz') as arrays:
    assert arrays['restored'].shape == arrays['values'].shape
  splits = {x['split'] for x in running.metrics(pretrained)}
  assert {'train', 'validation'} <= splits


def test_several_devices_change_nothing(pretraining, pretrained, tmp_path):
  running.run(pretrain, pretraining, tmp_path, devices=2)
  for one, two in zip(
    jax.tree.leaves(_encoder(pretrained)),
    jax.tree.leaves(_encoder(tmp_path)),
    strict=True,
  ):
    np.testing.assert_allclose(one, two, atol=1e-5)


def _using(config, folder, **evaluation):
  """Learning nothing, so that what is saved is what it started from."""
  physio = dataclasses.replace(config.modalities['physio'], checkpoint=str(folder))
  still = OptimiserConfig(steps=1, warmup_steps=1, learning_rate=0.0)
  config = dataclasses.replace(
    config, modalities=config.modalities | {'physio': physio}
  )
  return running.changed(
    config,
    train={'optimiser': still},
    evaluation={'models': ('physio',), **evaluation},
  )


def test_test_subjects_that_it_has_seen_stop_the_run(config, pretrained, run, tmp_path):
  with pytest.raises(InputError, match='physio pre-training: was pre-trained on test'):
    run(_using(config, pretrained), tmp_path)


def test_every_model_starts_from_it(config, pretrained, run, tmp_path):
  run(_using(config, pretrained, allow_encoder_overlap=True), tmp_path)
  with Checkpoints(tmp_path / 'checkpoints' / 'physio') as checkpoints:
    saved = checkpoints.restore_params(checkpoints.abstract_params())
  found = saved['modalities']['physio']['transformer']
  wanted = _encoder(pretrained)['transformer']
  for stacked, one in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
    assert len(stacked) == 2  # folds
    for x in stacked:
      np.testing.assert_array_equal(x, one)
  report = (tmp_path / 'report.html').read_text()
  assert 'pre-trained physio' in report and 'OVERLAP' in report.upper()


def test_what_is_no_pre_training_is_named(config, run, tmp_path):
  with pytest.raises(InputError, match='nowhere: is no work directory of a finished'):
    run(_using(config, tmp_path / 'nowhere'), tmp_path / 'run')
