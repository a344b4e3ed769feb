"""The main job on AMIGOS: stimuli of different lengths, targets by others' eyes."""

from pathlib import Path

import pytest

from mvp_jax import corpora
from mvp_jax.config import Config, DataConfig, EvaluationConfig
from mvp_jax.corpora.amigos.twin_spec import AmigosSpec
from mvp_jax.data import lengths
from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.examples import InputConfig
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.inference.folder import read
from mvp_jax.inference.model import Ensemble
from mvp_jax.jobs import train as job
from mvp_jax.jobs import trainings
from mvp_jax.targets import Binary
from mvp_jax.training.encoder import VideoMAEEncoder
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.optimiser import OptimiserConfig
from tests import running

_TARGETS = ('external_valence', 'external_arousal')


@pytest.fixture(scope='module')
def config(tmp_path_factory):
  return Config(
    dataset='amigos',
    data=DataConfig(
      data_dir=str(tmp_path_factory.mktemp('data')),
      frame_rate=2.0,
      frame_size=32,
      workers=1,
      channels=('eda', 'ecg'),
      corpus=corpora.find('amigos').Settings(annotation=('external',), exclude=(2,)),
    ),
    twin=AmigosSpec(
      subjects=4,
      stimuli=('58', '138', '18'),
      frame_rate=2.0,
      width=128,
      height=96,
      scale=0.1,
    ),
    target=Binary(ratings=_TARGETS, threshold=0.0),
    input=InputConfig(
      max_seconds=15.0,
      clips=ClipLayout(frames=4, stride=1, spacing=3.0),
    ),
    encoder=VideoMAEEncoder(size='tiny'),
    model=running.SIZES,
    modalities=running.MODALITIES,
    train=TrainConfig(
      batch_size=4,
      log_every=1,
      validate_every=0,
      checkpoint_every=2,
      optimiser=OptimiserConfig(steps=2, warmup_steps=1),
    ),
    evaluation=EvaluationConfig(
      folds=2, validation_subjects=0, batch_size=4, models=('physio',)
    ),
  )


def test_from_the_twin_to_the_report(config, tmp_path, capsys):
  running.run(job, config, tmp_path)
  said = capsys.readouterr().out
  assert 'SYNTHETIC: no AMIGOS was given' in said and 'DEAP' not in said
  for name in ('report.html', 'report.md'):
    text = (tmp_path / name).read_text()
    assert 'SYNTHETIC' in text and 'external_arousal' in text and 'DEAP' not in text
  facts = running.facts(tmp_path)
  assert (facts['dataset'], facts['trials_in'], facts['trials_out']) == ('amigos', 9, 9)
  rows = [row for row in running.predictions(tmp_path) if row['model'] == 'physio']
  assert {int(row['subject']) for row in rows} == {1, 3, 4} and len(rows) == 3 * 3 * 2
  # In the order of the stimuli in AMIGOS, not in the twin's.
  assert {row['stimulus'] for row in rows} == {'6', '14', '16'}
  for row in rows:
    assert row['dataset'] == 'amigos' and -1 <= float(row['rating']) <= 1
    assert int(row['label']) == (float(row['rating']) > 0)
    assert 0 <= float(row['score']) <= 1

  # The threshold of the self-assessment parts nothing here, and the run says so.
  wrong = running.changed(config, target={'threshold': 5.0})
  with pytest.raises(
    InputError,
    match=r'target\.threshold: 5 has all 9 trials on one side, '
    r'external_valence is -?0\.\d+ to 0\.',
  ):
    running.run(job, wrong, tmp_path / 'wrong')


def test_long_trials_are_read_in_windows_and_all_by_their_lengths(
  config, tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(lengths, 'ENOUGH', 1.0)  # the twin's differ little
  config = running.changed(
    config,
    input={'max_seconds': 9.0, 'hop_seconds': 2.0, 'lengths': 2},
    train={'batch_size': 6},
    evaluation={'batch_size': 6},
  )
  running.run(job, config, tmp_path)
  facts = running.facts(tmp_path)
  said = capsys.readouterr().out
  assert facts['windows'] in said and 'longer than 9 s' in facts['windows']
  assert facts['lengths'] in said and 'padded to' in facts['lengths']
  assert facts['windows'] in (tmp_path / 'report.md').read_text()
  rows = [row for row in running.predictions(tmp_path) if row['model'] == 'physio']
  assert len(rows) == 3 * 3 * 2  # each trial once, whatever its windows
  # Whoever predicts a trial cuts it alike, and has the mean of the windows.
  models = read(tmp_path)
  assert models.config.input.max_seconds == 9
  prepared = next((Path(config.data.data_dir) / 'prepared').rglob('dataset_info.json'))
  corpus, several = PreparedCorpus(prepared.parent), 0
  for row in rows:
    (trial,) = (
      x
      for x in corpus.trials
      if (x.subject, x.trial) == (int(row['subject']), int(row['trial']))
    )
    model = Ensemble(models, 'physio', int(row['fold']))
    windows = model.windows(trial)
    several += len(windows) > 1
    found = model.predict(corpus, windows, tmp_path / 'features').mean(0)[0]
    place = config.target.ratings.index(row['target'])
    assert float(row['score']) == pytest.approx(found[place], abs=1e-5)
  assert 0 < several < len(rows)

  # One training after another, read from files, they come out alike.
  monkeypatch.setattr(trainings, 'together_bytes', lambda mesh: 0)
  running.run(job, config, tmp_path / 'alone')
  again = running.predictions(tmp_path / 'alone')
  assert 'than may lie in memory' in capsys.readouterr().out
  alone = {_key(row): float(row['score']) for row in again if row['model'] == 'physio'}
  assert alone == pytest.approx({_key(x): float(x['score']) for x in rows}, abs=1e-4)


def _key(row):
  return row['fold'], row['subject'], row['trial'], row['target']
