"""The fine-tuning job end to end, on a tiny twin in DEAP's official layout."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest

from mvp_jax.config import Config, DataConfig, EvaluationConfig, parse, resolve
from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.examples import InputConfig
from mvp_jax.data.masks import MaskConfig
from mvp_jax.data.views import ViewConfig
from mvp_jax.errors import InputError
from mvp_jax.jobs import starts
from mvp_jax.jobs import train as job
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.training.encoder import VideoMAEEncoder
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.optimiser import OptimiserConfig
from tests import running

_SUBJECTS, _TRIALS, _STEPS = 5, 3, 4


def _training(steps, **optimiser):
  return TrainConfig(
    batch_size=4,
    log_every=1,
    validate_every=2,
    checkpoint_every=2,
    optimiser=OptimiserConfig(steps=steps, warmup_steps=1, **optimiser),
  )


@pytest.fixture(scope='module')
def config(tmp_path_factory):
  return Config(
    dataset='deap',
    data=DataConfig(
      data_dir=str(tmp_path_factory.mktemp('data')),
      frame_rate=2.0,
      frame_size=32,
      workers=1,
    ),
    twin=TwinSpec(
      subjects=_SUBJECTS,
      trials=_TRIALS,
      frame_rate=2.0,
      width=128,
      height=96,
      pixel_aspect=(1, 1),
    ),
    input=InputConfig(
      windows='random', clips=ClipLayout(frames=4, stride=2), test_clips=2
    ),
    encoder=VideoMAEEncoder(
      size='tiny',
      dtype='float32',
      subjects=1,
      masks=MaskConfig(ratio=0.5),
      views=ViewConfig(scales=(1.0,), repeats=1),
      clips_per_trial=2,
      train=_training(2),
    ),
    train=_training(_STEPS, layer_decay=0.75, ema=0.5),
    evaluation=EvaluationConfig(folds=2, batch_size=2, models=('video',)),
  )


@pytest.fixture(scope='module')
def run():
  """Function of (config, workdir, devices=1)."""
  return functools.partial(running.run, job)


@pytest.fixture(scope='module')
def workdir(config, run, tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'first'
  run(config, folder)
  return folder


def test_every_held_out_trial_is_predicted_once(workdir):
  facts, rows = running.facts(workdir), running.predictions(workdir)
  pretrained = facts['encoder']['trained_on_subjects']
  assert len(pretrained) == 1
  subjects = set(range(1, _SUBJECTS + 1)) - set(pretrained)
  found = [(int(r['subject']), int(r['trial']), r['target'], r['model']) for r in rows]
  assert sorted(found) == sorted(
    (s, t, target, model)
    for s in subjects
    for t in range(1, _TRIALS + 1)
    for target in ('valence', 'arousal')
    for model in (
      'class_prior',
      'stimulus_mean',
      'subject_mean',
      'logistic',
      'svm',
      'video',
    )
  )
  for fold in facts['folds']:
    test = {int(r['subject']) for r in rows if int(r['fold']) == fold['fold']}
    assert test == set(fold['test_subjects'])
    assert not test & set(fold['train_subjects'] + fold['validation_subjects'])


def test_the_models_that_are_kept_say_the_same(workdir, config, tmp_path):
  data = Path(config.data.data_dir)
  assert running.check_kept(workdir, data, 'video', tmp_path)


def test_what_a_run_leaves_is_marked_synthetic(workdir):
  for name in ('report.html', 'report.md'):
    assert 'SYNTHETIC' in (workdir / name).read_text()
  facts = running.facts(workdir)
  assert facts['synthetic'] is True and facts['parameters']['video'] > 0
  assert {'twin', 'prepare', 'pretrain', 'training'} <= set(facts['seconds'])
  assert (workdir / 'account.csv').exists()


def test_learning_curves(workdir):
  steps = {}
  for line in running.metrics(workdir):
    if line['split'] == 'speed':
      continue
    assert np.isfinite(line['loss'])
    steps.setdefault((line['run'], line['split']), []).append(line['step'])
  assert steps.pop(('encoder', 'train')) == [1, 2]
  for fold in (0, 1):
    assert steps.pop((f'fold{fold}/video', 'train')) == [1, 2, 3, 4]
    assert steps.pop((f'fold{fold}/video', 'validation')) == [2, 4]
  assert not steps


def test_a_second_run_trains_nothing_and_changes_no_prediction(
  workdir, config, run, monkeypatch
):
  before = (workdir / 'predictions.csv').read_bytes()
  monkeypatch.setattr(MetricLog, 'write', None)  # no step is taken
  run(config, workdir)
  assert (workdir / 'predictions.csv').read_bytes() == before


def test_a_killed_run_goes_on_to_the_same_result(
  workdir, config, run, tmp_path, monkeypatch
):
  def cut(self, name, split, step, metrics):
    if (name, split, step) == ('fold1/video', 'train', 3):
      raise KeyboardInterrupt
    write(self, name, split, step, metrics)

  write = MetricLog.write
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(MetricLog, 'write', cut)
    run(config, tmp_path)
  run(config, tmp_path)
  assert (tmp_path / 'predictions.csv').read_bytes() == (
    workdir / 'predictions.csv'
  ).read_bytes()
  steps = [
    (x['run'], x['step']) for x in running.metrics(tmp_path) if x['split'] == 'train'
  ]
  assert len(steps) == len(set(steps))


def test_the_average_of_the_parameters_is_what_is_tested(
  workdir, config, run, tmp_path
):
  # The average takes part in no step: without it training is the same.
  train = dataclasses.replace(
    config.train, optimiser=dataclasses.replace(config.train.optimiser, ema=0.0)
  )
  run(dataclasses.replace(config, train=train), tmp_path)

  def losses(folder, split):
    return {
      (x['run'], x['step']): x['loss']
      for x in running.metrics(folder)
      if x['split'] == split
    }

  assert losses(workdir, 'train') == losses(tmp_path, 'train')
  assert losses(workdir, 'validation') != losses(tmp_path, 'validation')
  scores, others = (
    [float(r['score']) for r in running.predictions(folder) if r['model'] == 'video']
    for folder in (workdir, tmp_path)
  )
  assert np.abs(np.subtract(scores, others)).max() > 1e-5


def test_from_scratch_differs_in_the_encoder_alone(
  workdir, config, run, tmp_path, monkeypatch
):
  monkeypatch.setattr(starts, 'pretrain', None)  # not called
  run(
    dataclasses.replace(
      config, encoder=dataclasses.replace(config.encoder, pretrained=False)
    ),
    tmp_path,
  )
  scratch, pretrained = running.facts(tmp_path), running.facts(workdir)
  assert scratch['folds'] == pretrained['folds']  # the same subjects set aside
  assert scratch['parameters'] == pretrained['parameters']
  assert scratch['encoder']['source'] == 'none, random weights'
  first, other = (
    [
      x['loss']
      for x in running.metrics(folder)
      if x['run'] == 'fold0/video' and x['split'] == 'train'
    ]
    for folder in (tmp_path, workdir)
  )
  # The head begins at nearly nothing, so the first loss is almost the same.
  assert first[0] == pytest.approx(other[0], rel=1e-3) and first != other


def test_an_encoder_that_has_seen_test_subjects(workdir, config, run, tmp_path):
  record = next(job.Path(config.data.data_dir).rglob('record.json'))
  given = dataclasses.replace(
    config, encoder=dataclasses.replace(config.encoder, checkpoint=str(record.parent))
  )
  with pytest.raises(InputError, match='was pre-trained on test subjects'):
    run(given, tmp_path / 'given')
  with pytest.raises(ValueError, match=r'encoder\.pretrained: False, but encoder\.'):
    dataclasses.replace(given.encoder, pretrained=False)


@pytest.mark.parametrize(
  ('sections', 'message'),
  [
    ({'train': {'batch_size': 12}}, r'config\.train\.batch_size: a batch of 12 cannot'),
    ({'encoder': {'patch': 24}}, r'config: 4 frames of 32 px cannot be cut'),
    ({'data': {'crop': 'Z'}}, r"config\.data: .*crop: one of X, Y, or .*; it is 'Z'"),
  ],
)
def test_what_cannot_work_is_said_before_anything_is_done(
  config, tmp_path, sections, message
):
  with pytest.raises(InputError, match=message):
    job.run(running.changed(config, **sections), tmp_path / 'new')
  assert not (tmp_path / 'new').exists()


def test_the_config_file_is_one_of_this_job():
  from configs.deap_fusion import get_config as get_fusion
  from configs.deap_video import get_config

  for manual_dir in ('', 'deap'):  # shrunk, and at full size
    tree, fusion = get_config(), get_fusion()
    tree.data.manual_dir = fusion.data.manual_dir = manual_dir
    config, fusion = parse(resolve(tree)), parse(resolve(fusion))
    assert config.job == 'train' and config.input.windows == 'random'
    # One twin, prepared once, and one pre-trained encoder serve both jobs.
    for name in ('seed', 'data', 'twin'):
      assert getattr(config, name) == getattr(fusion, name)
    assert config.input.clips == fusion.input.clips
    assert config.encoder.pretraining() == fusion.encoder.pretraining()
