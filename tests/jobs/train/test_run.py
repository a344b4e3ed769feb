"""The main job end to end: what a run leaves, going on, what is refused."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest

from mvp_jax.config import to_tree
from mvp_jax.data.masks import MaskConfig
from mvp_jax.errors import InputError
from mvp_jax.evaluation import cases
from mvp_jax.evaluation.predictions import read_predictions
from mvp_jax.jobs import train as job
from mvp_jax.jobs import trainings
from mvp_jax.targets import Binary
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.sharding import put_batch
from mvp_jax.training.state import forward
from tests import running

_SUBJECTS, _TRIALS = 5, 4  # of the twin
_TARGETS = ('valence', 'arousal')
_BASELINES = ('class_prior', 'stimulus_mean', 'subject_mean', 'logistic', 'svm')
_MODELS = ('fusion', 'physio', 'video')


def _ratings(config):
  """{(subject, trial): row} of the official ratings file of the twin."""
  (path,) = (job.Path(config.data.data_dir) / 'twins').glob(
    '*/metadata_csv/participant_ratings.csv'
  )
  with path.open(newline='') as file:
    return {
      (int(row['Participant_id']), int(row['Trial'])): row
      for row in csv.DictReader(file)
    }


def _snapshot(folder):
  """{file: (size, time of change)} of all files below a folder."""
  return {
    path: (path.stat().st_size, path.stat().st_mtime_ns)
    for path in sorted(folder.rglob('*'))
    if path.is_file() and path.name != '.lock'
  }


def test_all_files_that_others_rely_on_are_there(workdir):
  names = {p.name for p in workdir.iterdir()}
  assert names >= {
    'config.json',
    'run.json',
    'metrics.jsonl',
    'predictions.csv',
    'report.html',
    'report.md',
    'checkpoints',
    'models',
    'cases',
    'crops.npz',
    'account.csv',
    'account.html',
    'tensorboard',
  }
  assert 'href="account.html"' in (workdir / 'report.html').read_text()
  for model in _MODELS[1:]:
    assert (workdir / 'checkpoints' / model / '4').is_dir()


def test_everything_is_marked_synthetic(workdir, capsys, run, config):
  for name in ('report.html', 'report.md'):
    assert 'SYNTHETIC' in (workdir / name).read_text()
  assert running.facts(workdir)['synthetic'] is True
  run(config, workdir)
  assert 'SYNTHETIC' in capsys.readouterr().out


def test_every_held_out_trial_is_predicted_once(workdir, config):
  rows = running.predictions(workdir)
  assert list(rows[0]) == [
    'dataset',
    'subject',
    'trial',
    'stimulus',
    'fold',
    'seed',
    'model',
    'target',
    'rating',
    'label',
    'score',
    'predicted_rating',
  ]
  run_facts = running.facts(workdir)
  pretrained = set(run_facts['encoder']['trained_on_subjects'])
  assert len(pretrained) == 1
  subjects = set(range(1, _SUBJECTS + 1)) - pretrained
  found = [(int(r['subject']), int(r['trial']), r['target'], r['model']) for r in rows]
  assert sorted(found) == sorted(
    (s, t, target, model)
    for s in subjects
    for t in range(1, _TRIALS + 1)
    for target in _TARGETS
    for model in _BASELINES + _MODELS
  )
  ratings = _ratings(config)
  for row in rows:
    told = ratings[int(row['subject']), int(row['trial'])]
    assert float(row['rating']) == pytest.approx(
      float(told[row['target'].capitalize()]), abs=1e-4
    )
    assert row['stimulus'] == told['Experiment_id']
    assert int(row['label']) == (float(row['rating']) > 5)
    assert 0 < float(row['score']) < 1 or row['model'] in _BASELINES
    assert bool(row['predicted_rating']) == (row['model'] in _BASELINES[:3])
    assert row['dataset'] == 'deap' and row['seed'] == '0'


def test_folds_are_disjoint_subjects_and_the_prior_is_of_the_training_ones(
  workdir, config
):
  folds = running.facts(workdir)['folds']
  rows, ratings = running.predictions(workdir), _ratings(config)
  tested = []
  for fold in folds:
    of_fold = [r for r in rows if int(r['fold']) == fold['fold']]
    assert {int(r['subject']) for r in of_fold} == set(fold['test_subjects'])
    train = fold['train_subjects']
    assert not set(train) & set(fold['test_subjects'])
    tested += fold['test_subjects']
    for target in _TARGETS:
      high = [
        float(ratings[s, t][target.capitalize()]) > 5
        for s in train
        for t in range(1, _TRIALS + 1)
      ]
      scores = [
        float(r['score'])
        for r in of_fold
        if (r['model'], r['target']) == ('class_prior', target)
      ]
      np.testing.assert_allclose(scores, np.mean(high))
  assert len(tested) == len(set(tested)) == _SUBJECTS - 1


def test_run_facts(workdir, config):
  facts = running.facts(workdir)
  assert facts['trials_in'] == facts['trials_out'] == _SUBJECTS * _TRIALS
  assert facts['dropped'] == {}
  assert set(facts['parameters']) == {'fusion', 'physio', 'video'}
  assert facts['parameters']['fusion'] > facts['parameters']['video'] > 0
  assert {'jax', 'flax', 'python'} <= set(facts['versions'])
  assert {'twin', 'prepare', 'pretrain', 'features', 'training'} <= set(
    facts['seconds']
  )
  saved = json.loads((workdir / 'config.json').read_text())
  assert saved == json.loads(json.dumps(to_tree(config)))


def test_learning_curves_of_every_run(workdir):
  steps = {}
  for line in running.metrics(workdir):
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
  rows = cases.rows_of(
    cases.choose(read_predictions(workdir / 'predictions.csv'), Binary(), 'fusion')
  )
  assert {row.fold for row in rows} == {0, 1}
  assert {path.name for path in (workdir / 'cases').iterdir()} == {
    cases.path(tmp_path, row).name for row in rows
  }
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


def test_the_attention_is_that_of_the_fold_that_tests_the_trial(
  workdir, config, run, monkeypatch
):
  """Seen by the scores that come with it."""
  kept, look = {}, trainings._look

  def spy(task, params, test, wanted, mesh):
    scores = forward(task, mesh, 'scores')
    for subject, trial in wanted:
      found = test.select(
        [f's{subject:02d}_trial{trial:02d}'], test.labels, test.scales
      )
      batch = {
        name: np.repeat(np.asarray(x)[None], 8, 0) for name, x in found[0].items()
      }
      kept[subject, trial] = np.asarray(scores(params, put_batch(batch, mesh))[0])
    return look(task, params, test, wanted, mesh)

  monkeypatch.setattr(trainings, '_look', spy)
  run(config, workdir)
  chosen = cases.rows_of(
    cases.choose(read_predictions(workdir / 'predictions.csv'), Binary(), 'fusion')
  )
  assert len({row.fold for row in chosen}) == 2
  for row in chosen:
    score = kept[row.subject, row.trial][config.target.ratings.index(row.target)]
    assert score == pytest.approx(row.score, rel=1e-3)


def test_a_second_run_trains_nothing_and_changes_no_prediction(
  workdir, config, run, monkeypatch
):
  data = job.Path(config.data.data_dir)
  kept = (
    'predictions.csv',
    'metrics.jsonl',
    'config.json',
    *(f'cases/{path.name}' for path in (workdir / 'cases').iterdir()),
  )
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
  workdir, config, run, tmp_path
):
  data = job.Path(config.data.data_dir)
  before = _snapshot(data / 'prepared') | _snapshot(data / 'twins')
  assert any(path.suffix == '.npy' for path in before)
  assert any(path.name == 'record.json' for path in before)
  run(config, tmp_path / 'new')
  assert _snapshot(data / 'prepared') | _snapshot(data / 'twins') == before
  assert (tmp_path / 'new/predictions.csv').read_bytes() == (
    workdir / 'predictions.csv'
  ).read_bytes()


def test_a_killed_run_goes_on_to_the_same_result(
  workdir, config, run, tmp_path, monkeypatch
):
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
  assert (tmp_path / 'predictions.csv').read_bytes() == (
    workdir / 'predictions.csv'
  ).read_bytes()
  # Only what was not there yet has been trained: no fusion a second time.
  steps = [
    (x['run'], x['step']) for x in running.metrics(tmp_path) if x['split'] == 'train'
  ]
  assert len(steps) == len(set(steps))


def test_a_work_directory_of_another_config(workdir, config, run):
  before = _snapshot(workdir)
  other = running.changed(config, target={'threshold': 4.5})
  with pytest.raises(
    InputError,
    match=r'belongs to another config \(target\.threshold '
    r'was 5\.0, now 4\.5\)',
  ):
    run(other, workdir)
  with pytest.raises(InputError, match=r'seed was 0, now 1'):
    run(dataclasses.replace(config, seed=1), workdir)
  assert _snapshot(workdir) == before


def test_settings_that_change_no_result_may_change(workdir, config, run):
  run(running.changed(config, data={'workers': 2}), workdir)


def test_a_work_directory_of_other_source_files(workdir, config, run, tmp_path):
  for name in ('config.json', 'run.json'):
    shutil.copy(workdir / name, tmp_path / name)
  facts = running.facts(tmp_path)
  facts['source_fingerprint'] = 'other'
  (tmp_path / 'run.json').write_text(json.dumps(facts))
  with pytest.raises(InputError, match='results of other source files'):
    run(config, tmp_path)


@pytest.mark.parametrize(
  ('sections', 'message'),
  [
    ({'train': {'batch_size': 12}}, r'config\.train\.batch_size: a batch of 12 cannot'),
    ({'evaluation': {'batch_size': 4}}, r'config\.evaluation\.batch_size: .* 4 cannot'),
    ({'encoder': {'feature_batch': 9}}, r'config\.encoder\.feature_batch: .* 9 cannot'),
    ({'encoder': {'patch': 24}}, r'config: 4 frames of 32 px cannot be cut'),
    (
      {'encoder': {'masks': MaskConfig(ratio=0.1)}},
      r'config\.encoder\.masks\.ratio: 0\.1 hides 0 of 4 places',
    ),
    ({'data': {'crop': 'Z'}}, r"config\.data: .*crop: one of X, Y, or .*; it is 'Z'"),
    ({'data': {'channels': ('ecg',)}}, r'config\.data: .*channels: some of eda'),
    ({'evaluation': {'models': ('audio',)}}, r"config\.evaluation\.models: 'audio' is"),
    ({'evaluation': {'models': ()}}, r'config\.evaluation\.models: name at least one'),
    ({'mesh': {'data': 3}}, r'mesh: .* does not fit 8 devices'),
  ],
)
def test_what_cannot_work_is_said_before_anything_is_done(
  config, tmp_path, sections, message
):
  with pytest.raises(InputError, match=message) as error:
    job.run(running.changed(config, **sections), tmp_path / 'new')
  assert '\n' not in str(error.value)
  assert not (tmp_path / 'new').exists()


def test_too_few_subjects(config, run, tmp_path):
  with pytest.raises(InputError, match=r'evaluation\.folds: 5 folds of 4 subjects'):
    run(running.changed(config, evaluation={'folds': 5}), tmp_path)
