"""The main job end to end, on a tiny twin in DEAP's official layout, 60 s a trial."""

import csv
import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from mvp_jax import experiment
from mvp_jax.config import (
    Config,
    DataConfig,
    EncoderConfig,
    EvaluationConfig,
    GridConfig,
)
from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.emotion import EmotionInput
from mvp_jax.data.masks import MaskConfig
from mvp_jax.data.views import ViewConfig
from mvp_jax.errors import InputError
from mvp_jax.evaluation import cases
from mvp_jax.evaluation.leak_meter import TRIALS
from mvp_jax.evaluation.predictions import read_predictions
from mvp_jax.models.action_units import ActionUnitConfig
from mvp_jax.models.fusion import FusionSizes
from mvp_jax.models.physio import PhysioConfig
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.optimiser import OptimiserConfig
from mvp_jax.training.sharding import make_mesh, put_batch
from mvp_jax.training.state import forward
from mvp_jax.weights.__main__ import main as weights

_SUBJECTS, _TRIALS = 5, 4
_TARGETS = ('valence', 'arousal')
_BASELINES = ('class_prior', 'stimulus_mean', 'subject_mean', 'logistic', 'svm')
_MODELS = ('fusion', 'physio', 'video')


def _training(steps):
  return TrainConfig(batch_size=8, log_every=1, validate_every=2, checkpoint_every=2,
                     optimiser=OptimiserConfig(steps=steps, warmup_steps=1))


@pytest.fixture(scope='module')
def config(tmp_path_factory):
  return Config(
      data=DataConfig(data_dir=str(tmp_path_factory.mktemp('data')), frame_rate=2.0,
                      frame_size=32, workers=1),
      twin=TwinSpec(subjects=_SUBJECTS, trials=_TRIALS, frame_rate=2.0, width=128,
                    height=96, pixel_aspect=(1, 1)),
      input=EmotionInput(clips=ClipLayout(frames=4, stride=1, spacing=6.0)),
      encoder=EncoderConfig(size='tiny', subjects=1, clips_per_trial=2,
                            masks=MaskConfig(ratio=0.5), views=ViewConfig(repeats=1),
                            train=_training(3), feature_batch=8),
      model=FusionSizes(
          video_depth=1, depth=1, heads=2, mlp_width=16, physio=PhysioConfig(
              widths=(8, 16), kernels=(64, 32), strides=(32, 16), depth=1, heads=2,
              mlp_width=16),
          action_units=ActionUnitConfig(depth=1, heads=2, mlp_width=16)),
      train=_training(4),
      evaluation=EvaluationConfig(folds=2, validation_subjects=1, batch_size=8))


@pytest.fixture(scope='module', autouse=True)
def _jax_for_tests():
  """Lets Optax promote dtypes, forgets the compilation cache."""
  with jax.numpy_dtype_promotion('standard'):
    yield
  jax.config.update('jax_compilation_cache_dir', None)
  compilation_cache.reset_cache()


@pytest.fixture(scope='module')
def run():
  """Function of (config, workdir): runs on few devices, for speed."""
  def run(config, workdir, devices=1):
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(experiment, 'make_mesh', lambda mesh: make_mesh(
          mesh, jax.devices()[:devices]))
      experiment.run(config, workdir)

  return run


@pytest.fixture(scope='module')
def workdir(config, run, tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'first'
  run(config, folder)
  return folder


def _changed(config, **sections):
  """The config with fields of sections changed: train={'batch_size': 3}."""
  return dataclasses.replace(config, **{
      name: dataclasses.replace(getattr(config, name), **fields)
      for name, fields in sections.items()})


def _predictions(workdir):
  with (workdir / 'predictions.csv').open(newline='') as file:
    return list(csv.DictReader(file))


def _ratings(config):
  """{(subject, trial): row} of the official ratings file of the twin."""
  path, = (experiment.Path(config.data.data_dir) / 'twins').glob(
      '*/metadata_csv/participant_ratings.csv')
  with path.open(newline='') as file:
    return {(int(row['Participant_id']), int(row['Trial'])): row
            for row in csv.DictReader(file)}


def _snapshot(folder):
  """{file: (size, time of change)} of all files below a folder."""
  return {path: (path.stat().st_size, path.stat().st_mtime_ns)
          for path in sorted(folder.rglob('*'))
          if path.is_file() and path.name != '.lock'}


def _json_lines(workdir):
  return [json.loads(line)
          for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


def test_all_files_that_others_rely_on_are_there(workdir):
  names = {p.name for p in workdir.iterdir()}
  assert names >= {
      'config.json', 'run.json', 'metrics.jsonl', 'predictions.csv', 'report.html',
      'report.md', 'checkpoints', 'cases', 'crops.npz', 'account.csv', 'account.html',
      'tensorboard'}
  assert 'href="account.html"' in (workdir / 'report.html').read_text()
  for model in _MODELS[1:]:
    assert (workdir / 'checkpoints' / model / '4').is_dir()


def test_everything_is_marked_synthetic(workdir, capsys, run, config):
  for name in ('report.html', 'report.md'):
    assert 'SYNTHETIC' in (workdir / name).read_text()
  assert json.loads((workdir / 'run.json').read_text())['synthetic'] is True
  run(config, workdir)
  assert 'SYNTHETIC' in capsys.readouterr().out


def test_every_held_out_trial_is_predicted_once(workdir, config):
  rows = _predictions(workdir)
  assert list(rows[0]) == ['dataset', 'subject', 'trial', 'stimulus', 'fold', 'seed',
                           'model', 'target', 'rating', 'label', 'score',
                           'predicted_rating']
  run_facts = json.loads((workdir / 'run.json').read_text())
  pretrained = set(run_facts['encoder']['trained_on_subjects'])
  assert len(pretrained) == 1
  subjects = set(range(1, _SUBJECTS + 1)) - pretrained
  found = [(int(r['subject']), int(r['trial']), r['target'], r['model']) for r in rows]
  assert sorted(found) == sorted(
      (s, t, target, model) for s in subjects for t in range(1, _TRIALS + 1)
      for target in _TARGETS for model in _BASELINES + _MODELS)
  ratings = _ratings(config)
  for row in rows:
    told = ratings[int(row['subject']), int(row['trial'])]
    assert float(row['rating']) == pytest.approx(
        float(told[row['target'].capitalize()]), abs=1e-4)
    assert row['stimulus'] == told['Experiment_id']
    assert int(row['label']) == (float(row['rating']) > 5)
    assert 0 < float(row['score']) < 1 or row['model'] in _BASELINES
    assert bool(row['predicted_rating']) == (row['model'] in _BASELINES[:3])
    assert row['dataset'] == 'deap' and row['seed'] == '0'


def test_folds_are_disjoint_subjects_and_the_prior_is_of_the_training_ones(
    workdir, config):
  folds = json.loads((workdir / 'run.json').read_text())['folds']
  rows, ratings = _predictions(workdir), _ratings(config)
  tested = []
  for fold in folds:
    of_fold = [r for r in rows if int(r['fold']) == fold['fold']]
    assert {int(r['subject']) for r in of_fold} == set(fold['test_subjects'])
    train = fold['train_subjects']
    assert not set(train) & set(fold['test_subjects'])
    tested += fold['test_subjects']
    for target in _TARGETS:
      high = [float(ratings[s, t][target.capitalize()]) > 5
              for s in train for t in range(1, _TRIALS + 1)]
      scores = [float(r['score']) for r in of_fold
                if (r['model'], r['target']) == ('class_prior', target)]
      np.testing.assert_allclose(scores, np.mean(high))
  assert len(tested) == len(set(tested)) == _SUBJECTS - 1


def test_run_facts(workdir, config):
  facts = json.loads((workdir / 'run.json').read_text())
  assert facts['trials_in'] == facts['trials_out'] == _SUBJECTS * _TRIALS
  assert facts['losses'] == {}
  assert set(facts['parameters']) == {'fusion', 'physio', 'video'}
  assert facts['parameters']['fusion'] > facts['parameters']['video'] > 0
  assert {'jax', 'flax', 'python'} <= set(facts['versions'])
  assert {'twin', 'prepare', 'pretrain', 'features', 'training'} <= set(
      facts['seconds'])
  saved = json.loads((workdir / 'config.json').read_text())
  assert saved == json.loads(json.dumps(dataclasses.asdict(config)))


def test_learning_curves_of_every_run(workdir):
  steps = {}
  for line in _json_lines(workdir):
    if line['split'] == 'speed':
      continue
    assert np.isfinite(line['loss'])
    steps.setdefault((line['run'], line['split']), []).append(line['step'])
  assert steps.pop(('encoder', 'train')) == [1, 2, 3]
  for fold in (0, 1):
    for model in _MODELS:
      assert steps.pop((f'fold{fold}/{model}', 'train')) == [1, 2, 3, 4]
      assert steps.pop((f'fold{fold}/{model}', 'validation')) == [2, 4]
  assert not steps


def test_the_surest_trials_are_kept_with_their_attention(workdir, tmp_path):
  rows = cases.rows_of(cases.choose(read_predictions(workdir / 'predictions.csv')))
  assert {row.fold for row in rows} == {0, 1}
  assert {path.name for path in (workdir / 'cases').iterdir()} == {
      cases.path(tmp_path, row).name for row in rows}
  for row in rows:
    arrays = cases.read(cases.path(workdir / 'cases', row))
    assert arrays['trial_id'] == f's{row.subject:02d}_trial{row.trial:02d}'
    # A clip every 6 s, two slots each.
    assert arrays['weights'].shape == (60 * 128 // 512, 10 * 2)
    valid = arrays['key_valid']
    np.testing.assert_allclose(arrays['weights'][:, valid].sum(-1), 1, rtol=1e-4)
    assert not arrays['weights'][:, ~valid].any()
    assert arrays['query_times'][-1] == pytest.approx(58, abs=0.01)
    assert arrays['signals'].shape == (60 * 128, 2)
    assert arrays['faces'].shape == (8, 64, 64, 3)
  said = (workdir / 'report.md').read_text()
  assert 'cases_1.png' in said and 'cases_2.png' in said


def test_the_attention_is_that_of_the_fold_that_tests_the_trial(workdir, config, run,
                                                                monkeypatch):
  """Seen by the scores that come with it."""
  kept, look = {}, experiment._look

  def spy(task, params, test, rows, mesh):
    scores = forward(task, mesh, 'scores')
    for row in rows:
      found = test.select([f's{row.subject:02d}_trial{row.trial:02d}'], test.cuts,
                          test.scale)
      batch = {name: np.repeat(np.asarray(x)[None], 8, 0)
               for name, x in found[0].items()}
      target = config.input.targets.index(row.target)
      kept[row] = float(scores(params, put_batch(batch, mesh))[0, target])
    return look(task, params, test, rows, mesh)

  monkeypatch.setattr(experiment, '_look', spy)
  run(config, workdir)
  assert len(kept) == len(list((workdir / 'cases').iterdir()))
  assert len({row.fold for row in kept}) == 2
  for row, score in kept.items():
    assert score == pytest.approx(row.score, rel=1e-3)


def test_a_second_run_trains_nothing_and_changes_no_prediction(workdir, config, run,
                                                               monkeypatch):
  data = experiment.Path(config.data.data_dir)
  kept = ('predictions.csv', 'metrics.jsonl', 'config.json', *(
      f'cases/{path.name}' for path in (workdir / 'cases').iterdir()))
  before = {name: (workdir / name).read_bytes() for name in kept}
  checkpoints = _snapshot(workdir / 'checkpoints')
  prepared = _snapshot(data / 'prepared') | _snapshot(data / 'twins')
  monkeypatch.setattr(MetricLog, 'write', None)  # no step is taken
  monkeypatch.setattr(MetricLog, 'write_many', None)
  run(config, workdir)
  assert before == {name: (workdir / name).read_bytes() for name in kept}
  assert _snapshot(workdir / 'checkpoints') == checkpoints
  assert _snapshot(data / 'prepared') | _snapshot(data / 'twins') == prepared


def test_another_work_directory_reuses_what_is_prepared_and_repeats_the_result(
    workdir, config, run, tmp_path):
  data = experiment.Path(config.data.data_dir)
  before = _snapshot(data / 'prepared') | _snapshot(data / 'twins')
  assert any(path.suffix == '.npy' for path in before)
  assert any(path.name == 'record.json' for path in before)
  run(config, tmp_path / 'new')
  assert _snapshot(data / 'prepared') | _snapshot(data / 'twins') == before
  assert ((tmp_path / 'new/predictions.csv').read_bytes()
          == (workdir / 'predictions.csv').read_bytes())


def test_a_killed_run_goes_on_to_the_same_result(workdir, config, run, tmp_path,
                                                 monkeypatch):
  def cut(self, name, runs, curves, split, step, metrics):
    if (name, split, step) == ('physio', 'train', 3):
      raise KeyboardInterrupt
    write(self, name, runs, curves, split, step, metrics)

  write = MetricLog.write_many
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(MetricLog, 'write_many', cut)
    run(config, tmp_path)
  assert not (tmp_path / 'predictions.csv').exists()
  run(config, tmp_path)
  assert ((tmp_path / 'predictions.csv').read_bytes()
          == (workdir / 'predictions.csv').read_bytes())
  # Only what was not there yet has been trained: no fusion a second time.
  steps = [(x['run'], x['step']) for x in _json_lines(tmp_path)
           if x['split'] == 'train']
  assert len(steps) == len(set(steps))


def test_a_work_directory_of_another_config(workdir, config, run):
  before = _snapshot(workdir)
  other = _changed(config, input={'threshold': 4.5})
  with pytest.raises(InputError, match=r'belongs to another config \(input\.threshold '
                                       r'was 5\.0, now 4\.5\)'):
    run(other, workdir)
  with pytest.raises(InputError, match=r'seed was 0, now 1'):
    run(dataclasses.replace(config, seed=1), workdir)
  assert _snapshot(workdir) == before


def test_settings_that_change_no_result_may_change(workdir, config, run):
  run(_changed(config, data={'workers': 2}), workdir)


def test_a_work_directory_of_other_source_files(workdir, config, run, tmp_path):
  for name in ('config.json', 'run.json'):
    shutil.copy(workdir / name, tmp_path / name)
  facts = json.loads((tmp_path / 'run.json').read_text())
  facts['source_fingerprint'] = 'other'
  (tmp_path / 'run.json').write_text(json.dumps(facts))
  with pytest.raises(InputError, match='results of other source files'):
    run(config, tmp_path)


@pytest.mark.parametrize(('sections', 'message'), [
    ({'train': {'batch_size': 12}}, r'config\.train\.batch_size: a batch of 12 cannot'),
    ({'evaluation': {'batch_size': 4}}, r'config\.evaluation\.batch_size: .* 4 cannot'),
    ({'encoder': {'feature_batch': 9}}, r'config\.encoder\.feature_batch: .* 9 cannot'),
    ({'encoder': {'patch': 24}}, r'config: 4 frames of 32 px cannot be cut'),
    ({'encoder': {'masks': MaskConfig(ratio=0.1)}},
     r'config\.encoder\.masks\.ratio: 0\.1 hides 0 of 4 places'),
    ({'encoder': {'dtype': 'f8'}}, r"config: dtype 'f8' is none of"),
    ({'data': {'crop': 'Z'}}, r"config\.data: .*crop: one of X, Y, or .*; it is 'Z'"),
    ({'data': {'channels': ('ecg',)}}, r'config\.data: .*channels: some of eda'),
    ({'evaluation': {'models': ('audio',)}}, r"config\.evaluation\.models: 'audio' is"),
    ({'evaluation': {'models': ()}}, r'config\.evaluation\.models: name at least one'),
    ({'mesh': {'data': 3}}, r'mesh: .* does not fit 8 devices'),
])
def test_what_cannot_work_is_said_before_anything_is_done(config, tmp_path, sections,
                                                          message):
  with pytest.raises(InputError, match=message) as error:
    experiment.run(_changed(config, **sections), tmp_path / 'new')
  assert '\n' not in str(error.value)
  assert not (tmp_path / 'new').exists()


def test_too_few_subjects(config, run, tmp_path):
  with pytest.raises(InputError, match=r'evaluation\.folds: 5 folds of 4 subjects'):
    run(_changed(config, evaluation={'folds': 5}), tmp_path)


def test_an_encoder_that_has_seen_test_subjects(workdir, config, run, tmp_path):
  encoder = next(experiment.Path(config.data.data_dir).rglob('record.json')).parent
  given = _changed(config, encoder={'checkpoint': str(encoder)},
                   evaluation={'models': ('video',)})
  with pytest.raises(InputError, match='was pre-trained on test subjects'):
    run(given, tmp_path)
  run(_changed(given, evaluation={'allow_encoder_overlap': True}), tmp_path / 'allowed')
  rows = _predictions(tmp_path / 'allowed')
  assert len({r['subject'] for r in rows}) == _SUBJECTS  # nobody is set aside


def test_an_encoder_of_a_pytorch_file(workdir, config, run, tmp_path, capsys):
  folder = next(experiment.Path(config.data.data_dir).rglob('record.json')).parent
  path = tmp_path / 'encoder.pth'
  assert weights(['export', str(folder), str(path), '--format=reference']) == 0
  given = _changed(config, encoder={'checkpoint': str(path)},
                   evaluation={'models': ('video',)})
  run(given, tmp_path / 'run')  # nobody of this corpus is known to be in it
  assert f'{path}: reference layout, pre-training' in capsys.readouterr().out
  facts = json.loads((tmp_path / 'run/run.json').read_text())['encoder']
  assert facts['imported_from'] == 'encoder.pth' and len(facts['sha256']) == 64
  assert len(_predictions(tmp_path / 'run')) == _SUBJECTS * _TRIALS * 2 * 6
  bad = _changed(given, encoder={'size': 'S'})
  with pytest.raises(InputError, match=r'encoder\.pth: is VideoMAE-tiny with width 96'):
    run(bad, tmp_path / 'bad')
  assert not (tmp_path / 'bad').exists()  # found before anything is done


def test_without_video_all_subjects_are_in_the_folds(workdir, config, run, tmp_path):
  twin, = (experiment.Path(config.data.data_dir) / 'twins').iterdir()
  run(_changed(config, evaluation={'models': ('physio',), 'folds': _SUBJECTS,
                                   'validation_subjects': 0, 'leak_meter': True},
               data={'manual_dir': str(twin)}, mesh={'fsdp': 2}), tmp_path,
      devices=4)  # sharded, too
  rows = _predictions(tmp_path)
  assert len(rows) == _SUBJECTS * _TRIALS * len(_TARGETS) * 6
  assert {r['model'] for r in rows} == {*_BASELINES, 'physio'}
  kept = list((tmp_path / 'cases').iterdir())
  assert kept and not any({'weights', 'faces'} & cases.read(p).keys() for p in kept)
  # What wrong splits would have claimed stands apart from the scores.
  leaks = json.loads((tmp_path / 'run.json').read_text())['leak_meter']
  assert {(x['target'], x['model'], x['split']) for x in leaks} >= {
      (target, model, TRIALS) for target in _TARGETS for model in ('physio', 'svm')}
  assert (tmp_path / 'leak_meter.csv').exists()
  assert 'NOT RESULTS' in (tmp_path / 'report.md').read_text()
  # A twin given by hand is still one.
  assert 'SYNTHETIC' in (tmp_path / 'report.md').read_text()


def test_seeds_train_each_fold_anew(workdir, config, run, tmp_path):
  run(_changed(config, evaluation={'models': ('video',), 'seeds': 2}), tmp_path)
  rows = _predictions(tmp_path)
  models = 1 + len(_BASELINES)
  assert len(rows) == (_SUBJECTS - 1) * _TRIALS * len(_TARGETS) * models * 2
  by_seed = {seed: {tuple(r[k] for k in ('subject', 'trial', 'target', 'model')): r
                    for r in rows if r['seed'] == seed} for seed in ('0', '1')}
  assert by_seed['0'].keys() == by_seed['1'].keys()
  first = {key: r for key, r in by_seed['0'].items() if key[-1] == 'video'}
  for key, row in first.items():
    other = by_seed['1'][key]
    assert row['fold'] == other['fold'] and row['score'] != other['score']
  # The seeds before are not changed by one more.
  alone = {tuple(r[k] for k in ('subject', 'trial', 'target', 'model')): r['score']
           for r in _predictions(workdir)}
  for key, row in first.items():
    assert float(row['score']) == pytest.approx(float(alone[key]), rel=1e-4)
  assert {line['run'] for line in _json_lines(tmp_path) if line['split'] == 'train'
          } == {'encoder'} | {f'fold{fold}/seed{seed}/video'
                              for fold in (0, 1) for seed in (0, 1)}
  assert '2 seeds' in (tmp_path / 'report.md').read_text()


def test_fine_tuning_trains_the_encoder_in_every_fold(workdir, config, run, tmp_path):
  config = _changed(config, encoder={'finetune': True},
                    evaluation={'models': ('fusion',)}, train={'validate_every': 0})
  config = _changed(config, train={
      'optimiser': OptimiserConfig(steps=2, warmup_steps=1)})
  run(config, tmp_path)
  rows = _predictions(tmp_path)
  assert len(rows) == (_SUBJECTS - 1) * _TRIALS * len(_TARGETS) * 6
  facts = json.loads((tmp_path / 'run.json').read_text())
  frozen = json.loads((workdir / 'run.json').read_text())
  assert facts['parameters']['fusion'] > 2 * frozen['parameters']['fusion']
  # Kept of each fold, and in the end of those that are shown.
  chosen = cases.rows_of(cases.choose(read_predictions(tmp_path / 'predictions.csv')))
  for row in chosen:
    assert 'weights' in cases.read(cases.path(tmp_path / 'cases', row))
  assert len(list((tmp_path / 'cases').iterdir())) == len(chosen)


def test_action_units_as_the_video_are_tested_on_the_same_trials(workdir, config, run,
                                                                 tmp_path):
  config = dataclasses.replace(config, video_backbone='au')
  config = _changed(config, evaluation={'models': ('fusion', 'video')}, train={
      'validate_every': 0, 'optimiser': OptimiserConfig(steps=2, warmup_steps=1)})
  run(config, tmp_path / 'run')
  facts = json.loads((tmp_path / 'run/run.json').read_text())
  before = json.loads((workdir / 'run.json').read_text())
  for found, other in zip(facts['folds'], before['folds'], strict=True):
    del found['fitted'], other['fitted']  # which names the scale of video tokens
    assert found == other
  assert facts['encoder']['subjects_set_aside'] == before['encoder'][
      'trained_on_subjects']
  assert not {'pretrain', 'features'} & set(facts['seconds'])
  keys = ('subject', 'trial', 'stimulus', 'fold', 'target', 'rating', 'label', 'model')

  def held_out(rows):
    return [[row[key] for key in keys] for row in rows if row['model'] != 'physio']

  assert held_out(_predictions(tmp_path / 'run')) == held_out(_predictions(workdir))
  for path in (tmp_path / 'run/cases').iterdir():
    arrays = cases.read(path)
    assert arrays['weights'].shape == (15, 240)  # four tokens a second
    assert 'faces' not in arrays
  assert 'cases_1.png' in (tmp_path / 'run/report.md').read_text()
  saved = json.loads((tmp_path / 'run/config.json').read_text())
  assert saved['video_backbone'] == 'au'


def test_action_units_that_are_not_there(config, run, tmp_path):
  twin, = (experiment.Path(config.data.data_dir) / 'twins').iterdir()
  config = dataclasses.replace(config, video_backbone='openface')
  with pytest.raises(InputError, match=r"config\.video_backbone: 'openface' is none"):
    run(config, tmp_path / 'run')
  config = _changed(dataclasses.replace(config, video_backbone='au'), data={
      'manual_dir': str(twin), 'openface_dir': str(tmp_path / 'none')})
  with pytest.raises(InputError, match=r'none: there is no such folder; .*OpenFace'):
    run(config, tmp_path / 'run')


def test_validation_trials_choose_among_a_grid(config, run, tmp_path):
  rates = (1e-5, 3e-2)

  def physio(folder, grid=(), rate=1e-3):
    run(_changed(config, evaluation={
        'models': ('physio',), 'grid': GridConfig(learning_rate=grid)},
        train={'optimiser': OptimiserConfig(learning_rate=rate, steps=4,
                                            warmup_steps=1)}), folder)
    return ([row for row in _predictions(folder) if row['model'] == 'physio'],
            {row['run']: row['loss'] for row in _json_lines(folder)
             if row['split'] == 'validation'})  # at the last step

  found, losses = physio(tmp_path / 'grid', rates)
  single = [physio(tmp_path / str(rate), rate=rate) for rate in rates]
  chosen = json.loads((tmp_path / 'grid' / 'run.json').read_text())['chosen']
  for fold in range(2):
    run_name = f'fold{fold}/physio'
    best = int(np.argmin([losses_of_one[run_name] for _, losses_of_one in single]))
    name = f'{run_name}/learning_rate={rates[best]:g}'
    assert chosen[name]['validation_loss'] == pytest.approx(losses[name], rel=1e-5)
    rows, wanted = ([row for row in rows if row['fold'] == str(fold)]
                    for rows in (found, single[best][0]))
    assert [row['trial'] for row in rows] == [row['trial'] for row in wanted]
    np.testing.assert_allclose([float(row['score']) for row in rows],
                               [float(row['score']) for row in wanted], rtol=1e-4)
  assert len(chosen) == 2 and 'one of 2 settings' in (
      tmp_path / 'grid' / 'report.html').read_text()


def test_a_grid_that_cannot_choose(config, run, tmp_path):
  grid = GridConfig(weight_decay=(0.0, 0.1))
  with pytest.raises(InputError, match='validation_subjects is 0'):
    run(_changed(config, evaluation={'grid': grid, 'validation_subjects': 0}), tmp_path)
  with pytest.raises(InputError, match='only where encoder.finetune is False'):
    run(_changed(config, evaluation={'grid': grid}, encoder={'finetune': True}),
        tmp_path)
