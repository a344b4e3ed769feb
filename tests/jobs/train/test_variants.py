"""The main job in other ways than its first: encoders, models, seeds, a grid."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from mvp_jax import corpora
from mvp_jax.config import GridConfig
from mvp_jax.errors import InputError
from mvp_jax.evaluation import cases
from mvp_jax.evaluation.leak_meter import TRIALS
from mvp_jax.evaluation.predictions import read_predictions
from mvp_jax.jobs import stages
from mvp_jax.jobs import train as job
from mvp_jax.targets import Binary
from mvp_jax.training import many
from mvp_jax.training.optimiser import OptimiserConfig
from mvp_jax.weights.__main__ import main as weights
from tests import running

_SUBJECTS, _TRIALS = 5, 4  # of the twin
_TARGETS = ('valence', 'arousal')
_UNITS = {
  'fusion': 'physio+action_units',
  'physio': 'physio',
  'video': 'action_units',
}
_BASELINES = ('class_prior', 'stimulus_mean', 'subject_mean', 'logistic', 'svm')


def test_an_encoder_that_has_seen_test_subjects(workdir, config, run, tmp_path):
  encoder = next(job.Path(config.data.data_dir).rglob('record.json')).parent
  given = running.changed(
    config, encoder={'checkpoint': str(encoder)}, evaluation={'models': ('video',)}
  )
  with pytest.raises(InputError, match='was pre-trained on test subjects'):
    run(given, tmp_path)
  run(
    running.changed(given, evaluation={'allow_encoder_overlap': True}),
    tmp_path / 'allowed',
  )
  rows = running.predictions(tmp_path / 'allowed')
  assert len({r['subject'] for r in rows}) == _SUBJECTS  # nobody is set aside


def test_an_encoder_of_a_pytorch_file(workdir, config, run, tmp_path, capsys):
  folder = next(job.Path(config.data.data_dir).rglob('record.json')).parent
  path = tmp_path / 'encoder.pth'
  assert weights(['export', str(folder), str(path), '--format=reference']) == 0
  given = running.changed(
    config, encoder={'checkpoint': str(path)}, evaluation={'models': ('video',)}
  )
  run(given, tmp_path / 'run')  # nobody of this corpus is known to be in it
  assert f'{path}: reference layout, pre-training' in capsys.readouterr().out
  facts = running.facts(tmp_path / 'run')['encoder']
  assert facts['imported_from'] == 'encoder.pth' and len(facts['sha256']) == 64
  assert len(running.predictions(tmp_path / 'run')) == _SUBJECTS * _TRIALS * 2 * 6
  bad = running.changed(given, encoder={'size': 'S'})
  with pytest.raises(InputError, match=r'encoder\.pth: is VideoMAE-tiny with width 96'):
    run(bad, tmp_path / 'bad')
  assert not (tmp_path / 'bad').exists()  # found before anything is done


def test_without_video_all_subjects_are_in_the_folds(workdir, config, run, tmp_path):
  (twin,) = (job.Path(config.data.data_dir) / 'twins').iterdir()
  run(
    running.changed(
      config,
      evaluation={
        'models': ('physio',),
        'folds': _SUBJECTS,
        'validation_subjects': 0,
        'leak_meter': True,
      },
      data={'manual_dir': str(twin)},
      mesh={'fsdp': 2},
    ),
    tmp_path,
    devices=4,
  )  # sharded, too
  rows = running.predictions(tmp_path)
  assert len(rows) == _SUBJECTS * _TRIALS * len(_TARGETS) * 6
  assert {r['model'] for r in rows} == {*_BASELINES, 'physio'}
  kept = list((tmp_path / 'cases').iterdir())
  assert kept and not any({'weights', 'faces'} & cases.read(p).keys() for p in kept)
  # What wrong splits would have claimed stands apart from the scores.
  leaks = running.facts(tmp_path)['leak_meter']
  assert {(x['target'], x['model'], x['split']) for x in leaks} >= {
    (target, model, TRIALS) for target in _TARGETS for model in ('physio', 'svm')
  }
  assert (tmp_path / 'leak_meter.csv').exists()
  assert 'NOT RESULTS' in (tmp_path / 'report.md').read_text()
  # A twin given by hand is still one.
  assert 'SYNTHETIC' in (tmp_path / 'report.md').read_text()


def test_seeds_train_each_fold_anew(workdir, config, run, tmp_path):
  run(running.changed(config, evaluation={'models': ('video',), 'seeds': 2}), tmp_path)
  rows = running.predictions(tmp_path)
  models = 1 + len(_BASELINES)
  assert len(rows) == (_SUBJECTS - 1) * _TRIALS * len(_TARGETS) * models * 2
  by_seed = {
    seed: {
      tuple(r[k] for k in ('subject', 'trial', 'target', 'model')): r
      for r in rows
      if r['seed'] == seed
    }
    for seed in ('0', '1')
  }
  assert by_seed['0'].keys() == by_seed['1'].keys()
  first = {key: r for key, r in by_seed['0'].items() if key[-1] == 'video'}
  for key, row in first.items():
    other = by_seed['1'][key]
    assert row['fold'] == other['fold'] and row['score'] != other['score']
  # The seeds before are not changed by one more.
  alone = {
    tuple(r[k] for k in ('subject', 'trial', 'target', 'model')): r['score']
    for r in running.predictions(workdir)
  }
  for key, row in first.items():
    assert float(row['score']) == pytest.approx(float(alone[key]), rel=1e-4)
  assert {
    line['run'] for line in running.metrics(tmp_path) if line['split'] == 'train'
  } == {'encoder'} | {
    f'fold{fold}/seed{seed}/video' for fold in (0, 1) for seed in (0, 1)
  }
  assert '2 seeds' in (tmp_path / 'report.md').read_text()


def test_data_too_large_for_memory_is_read_from_files(
  workdir, config, run, tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(many, '_DATA_ON_CPU', 1000)
  run(running.changed(config, evaluation={'models': ('fusion',)}), tmp_path)
  assert 'fusion: its data (0.0 GB) is more than may lie in' in capsys.readouterr().out
  by_model = [
    {
      tuple(r[k] for k in ('subject', 'trial', 'target')): float(r['score'])
      for r in running.predictions(folder)
      if r['model'] == 'fusion'
    }
    for folder in (workdir, tmp_path)
  ]
  assert by_model[0] == pytest.approx(by_model[1], rel=1e-4)
  data = Path(config.data.data_dir)
  assert running.check_kept(tmp_path, data, 'fusion', tmp_path / 'features')


def test_fine_tuning_trains_the_encoder_in_every_fold(workdir, config, run, tmp_path):
  config = running.changed(
    config,
    encoder={'finetune': True},
    evaluation={'models': ('fusion',)},
    train={'validate_every': 0},
  )
  config = running.changed(
    config, train={'optimiser': OptimiserConfig(steps=2, warmup_steps=1)}
  )
  run(config, tmp_path)
  rows = running.predictions(tmp_path)
  assert len(rows) == (_SUBJECTS - 1) * _TRIALS * len(_TARGETS) * 6
  facts = running.facts(tmp_path)
  frozen = running.facts(workdir)
  assert facts['parameters']['fusion'] > 2 * frozen['parameters']['fusion']
  # Kept of each fold, and in the end of those that are shown.
  chosen = cases.rows_of(
    cases.choose(read_predictions(tmp_path / 'predictions.csv'), Binary(), 'fusion')
  )
  for row in chosen:
    assert 'weights' in cases.read(cases.path(tmp_path / 'cases', row))
  assert len(list((tmp_path / 'cases').iterdir())) == len(chosen)
  data = Path(config.data.data_dir)
  assert running.check_kept(tmp_path, data, 'fusion', tmp_path / 'features')


def test_action_units_as_the_video_are_tested_on_the_same_trials(
  workdir, config, run, tmp_path
):
  config = dataclasses.replace(config, models=_UNITS)
  config = running.changed(
    config,
    evaluation={'models': ('fusion', 'video')},
    train={'validate_every': 0, 'optimiser': OptimiserConfig(steps=2, warmup_steps=1)},
  )
  run(config, tmp_path / 'run')
  facts = running.facts(tmp_path / 'run')
  before = running.facts(workdir)
  for found, other in zip(facts['folds'], before['folds'], strict=True):
    del found['fitted'], other['fitted']  # which names the scale of video tokens
    assert found == other
  assert (
    facts['encoder']['subjects_set_aside'] == before['encoder']['trained_on_subjects']
  )
  assert not {'pretrain', 'features'} & set(facts['seconds'])
  keys = ('subject', 'trial', 'stimulus', 'fold', 'target', 'rating', 'label', 'model')

  def held_out(rows):
    return [[row[key] for key in keys] for row in rows if row['model'] != 'physio']

  assert held_out(running.predictions(tmp_path / 'run')) == held_out(
    running.predictions(workdir)
  )
  for path in (tmp_path / 'run/cases').iterdir():
    arrays = cases.read(path)
    assert arrays['weights'].shape == (15, 240)  # four tokens a second
    assert 'faces' not in arrays
  assert 'cases_1.png' in (tmp_path / 'run/report.md').read_text()
  saved = json.loads((tmp_path / 'run/config.json').read_text())
  assert saved['models'] == _UNITS


def test_action_units_that_are_not_there(config, run, tmp_path):
  (twin,) = (job.Path(config.data.data_dir) / 'twins').iterdir()
  with pytest.raises(
    ValueError, match=r"models\.fusion: .* names 'openface', which is"
  ):
    dataclasses.replace(config, models={'fusion': 'physio+openface'})
  config = running.changed(
    dataclasses.replace(config, models=_UNITS),
    data={
      'manual_dir': str(twin),
      'corpus': corpora.find('deap').Settings(openface_dir=str(tmp_path / 'none')),
    },
  )
  with pytest.raises(InputError, match=r'none: there is no such folder; .*OpenFace'):
    run(config, tmp_path / 'run')


def test_validation_trials_choose_among_a_grid(config, run, tmp_path):
  rates = (1e-5, 3e-2)

  def physio(folder, grid=(), rate=1e-3):
    run(
      running.changed(
        config,
        evaluation={'models': ('physio',), 'grid': GridConfig(learning_rate=grid)},
        train={
          'optimiser': OptimiserConfig(learning_rate=rate, steps=4, warmup_steps=1)
        },
      ),
      folder,
    )
    return (
      [row for row in running.predictions(folder) if row['model'] == 'physio'],
      {
        row['run']: row['loss']
        for row in running.metrics(folder)
        if row['split'] == 'validation'
      },
    )  # at the last step

  found, losses = physio(tmp_path / 'grid', rates)
  single = [physio(tmp_path / str(rate), rate=rate) for rate in rates]
  chosen = running.facts(tmp_path / 'grid')['chosen']
  for fold in range(2):
    run_name = f'fold{fold}/physio'
    best = int(np.argmin([losses_of_one[run_name] for _, losses_of_one in single]))
    name = f'{run_name}/learning_rate={rates[best]:g}'
    assert chosen[name]['validation_loss'] == pytest.approx(losses[name], rel=1e-5)
    rows, wanted = (
      [row for row in rows if row['fold'] == str(fold)]
      for rows in (found, single[best][0])
    )
    assert [row['trial'] for row in rows] == [row['trial'] for row in wanted]
    np.testing.assert_allclose(
      [float(row['score']) for row in rows],
      [float(row['score']) for row in wanted],
      rtol=1e-4,
    )
  assert (
    len(chosen) == 2
    and 'one of 2 settings' in (tmp_path / 'grid' / 'report.html').read_text()
  )


def test_validation_trials_choose_when_to_stop(config, run, tmp_path):
  def physio(folder, steps, grid=()):
    optimiser = OptimiserConfig(learning_rate=1e-2, steps=steps, warmup_steps=1)
    own = running.changed(
      config,
      evaluation={'models': ('physio',), 'grid': GridConfig(steps=grid)},
      train={'optimiser': optimiser, 'validate_every': 1},
    )
    run(own, folder)
    rows = [row for row in running.predictions(folder) if row['model'] == 'physio']
    losses = {
      row['run']: row['loss']
      for row in running.metrics(folder)
      if row['split'] == 'validation' and row['step'] == steps
    }
    return rows, losses

  lengths = (2, 5)
  found, _ = physio(tmp_path / 'grid', 9, lengths)
  single = [physio(tmp_path / str(steps), steps) for steps in lengths]
  chosen = running.facts(tmp_path / 'grid')['chosen']
  assert len(chosen) == 2
  for fold in range(2):
    name = f'fold{fold}/physio'
    losses = [of_one[name] for _, of_one in single]
    best = int(np.argmin(losses))
    noted = chosen[f'{name}/steps={lengths[best]}']
    assert noted['validation_loss'] == pytest.approx(losses[best], rel=1e-4)
    scores, wanted = (
      [float(row['score']) for row in rows if row['fold'] == str(fold)]
      for rows in (found, single[best][0])
    )
    np.testing.assert_allclose(scores, wanted, rtol=1e-3)


def test_a_temperature_is_fitted_on_validation_trials(config, run, tmp_path):
  def physio(folder, temperature):
    evaluation = {'models': ('physio',), 'temperature': temperature}
    run(running.changed(config, evaluation=evaluation), folder)
    rows = running.predictions(folder)
    scores = [float(row['score']) for row in rows if row['model'] == 'physio']
    folds = [int(row['fold']) for row in rows if row['model'] == 'physio']
    return np.array(scores), np.array(folds), running.facts(folder)

  before, folds, facts = physio(tmp_path / 'as it is', False)
  assert 'temperatures' not in facts
  after, _, facts = physio(tmp_path / 'fitted', True)
  for fold in range(2):
    value = facts['temperatures'][f'fold{fold}/physio']
    logits = [np.log(x / (1 - x))[folds == fold] for x in (before, after)]
    np.testing.assert_allclose(logits[1] * value, logits[0], rtol=2e-3, atol=1e-4)
    noted = facts['folds'][fold]['fitted']['temperature of physio']
    assert noted['on'] == 'validation trials' and noted['trials'] == 4


def test_a_grid_that_cannot_choose(config, run, tmp_path):
  grid = GridConfig(weight_decay=(0.0, 0.1))
  with pytest.raises(InputError, match='validation_subjects is 0'):
    run(
      running.changed(config, evaluation={'grid': grid, 'validation_subjects': 0}),
      tmp_path,
    )
  with pytest.raises(InputError, match='only where encoder.finetune is False'):
    run(
      running.changed(config, evaluation={'grid': grid}, encoder={'finetune': True}),
      tmp_path,
    )


def test_an_ensemble_is_the_mean_of_its_models(config, run, tmp_path):
  def scores(name, **evaluation):
    own = running.changed(config, evaluation={'models': ('physio',), **evaluation})
    run(own, tmp_path / name)
    return {
      (p['target'], p['subject'], p['trial'], p['seed']): float(p['score'])
      for p in running.predictions(tmp_path / name)
      if p['model'] == 'physio'
    }

  found = scores('both', ensemble=2)
  alone, seed = [], stages.run_seed
  for part in (0, 1):  # each of its models by itself
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(stages, 'run_seed', lambda x, fold, _, own=part: seed(x, fold, own))
      alone.append(scores(f'part{part}'))
  first, second = alone
  assert found.keys() == first.keys() == second.keys()
  assert first != second
  for key, score in found.items():
    assert score == pytest.approx((first[key] + second[key]) / 2, abs=1e-5)
