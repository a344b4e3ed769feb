"""A run on numbers: AVEC's layout, one score a session, people apart, median wins."""

import csv
import dataclasses

import numpy as np
import pytest

from mvp_jax.config import Config, DataConfig, EvaluationConfig
from mvp_jax.corpora.avec2014.twin import AvecSpec
from mvp_jax.data.examples import InputConfig
from mvp_jax.errors import InputError
from mvp_jax.jobs import train
from mvp_jax.models.modalities.action_units import ActionUnits
from mvp_jax.targets import Regression
from mvp_jax.training.encoder import VideoMAEEncoder
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.optimiser import OptimiserConfig
from tests import running

_SPEC = AvecSpec(people=14, seconds=4.0, frame_rate=5.0, width=96, height=96)
_STEPS = 60


def _config(folder, **evaluation):
  return Config(
    dataset='avec2014',
    data=DataConfig(data_dir=str(folder / 'data'), workers=1),
    twin=_SPEC,
    target=Regression(
      ratings=('depression',),
      scale=(0.0, 63.0),
      thresholds=(14.0,),
      balance='sampling',
    ),
    input=InputConfig(max_seconds=4.0),
    encoder=VideoMAEEncoder(size='tiny', dtype='float32', subjects=0, pretrained=False),
    modalities=running.MODALITIES
    | {
      'action_units': ActionUnits(
        centre='nothing', rate=5.0, depth=1, heads=2, mlp_width=32, dropout=0.0
      )
    },
    models={'units': 'action_units'},
    model=dataclasses.replace(running.SIZES, dropout=0.0),
    train=TrainConfig(
      batch_size=8,
      validate_every=_STEPS,
      optimiser=OptimiserConfig(learning_rate=3e-3, steps=_STEPS, warmup_steps=5),
    ),
    evaluation=EvaluationConfig(models=('units',), batch_size=8, **evaluation),
  )


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('regression')
  with running.few_devices(drawn=True):
    train.run(_config(folder, folds=2), folder / 'run')
  return folder / 'run'


def _said(workdir, model):
  with (workdir / 'predictions.csv').open(newline='') as file:
    return [row for row in csv.DictReader(file) if row['model'] == model]


def _error(rows):
  return np.mean([abs(float(r['rating']) - float(r['predicted_rating'])) for r in rows])


def test_scores_are_on_the_scale_and_tell_more_than_the_median(workdir):
  rows = _said(workdir, 'units')
  assert len(rows) == 2 * len(_SPEC.sessions)
  said = np.array([float(row['predicted_rating']) for row in rows])
  assert said.min() >= 0 and said.max() <= 63 and said.std() > 2
  assert {row['label'] for row in rows} == {row['score'] for row in rows} == {''}
  assert _error(rows) < _error(_said(workdir, 'training_median'))
  assert _error(_said(workdir, 'ridge')) < _error(_said(workdir, 'training_median'))


def test_the_report_says_what_counts(workdir):
  text = ' '.join((workdir / 'report.md').read_text().split())
  for told in (
    'reaches MAE',
    '0 is perfect',
    'chance (the training median)',
    'The best possible MAE on this twin',
    'random forest',
    'Success and failure',
    'Predicted: depression. The scale goes from 0 to 63.',
  ):
    assert told in text, told
  facts = running.facts(workdir)
  assert 'training_mean' in facts['folds'][0]['fitted']['thresholds']
  for fold in facts['folds']:
    assert not set(fold['train_subjects']) & set(fold['test_subjects'])


def test_the_official_parts_share_people_and_stop_the_run(workdir, tmp_path):
  config = _config(workdir.parent, protocol='official')
  with running.few_devices(), pytest.raises(InputError) as raised:
    train.run(config, tmp_path / 'run')
  told = str(raised.value)
  assert 'audit: subjects: fold 0 tests subject' in told
  assert "--config.evaluation.accept='subjects'" in told
