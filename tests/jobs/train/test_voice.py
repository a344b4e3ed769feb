"""A run on the voice alone, of recordings that are sound files."""

import csv
import dataclasses

import numpy as np
import pytest

from mvp_jax.config import Config, DataConfig, EvaluationConfig
from mvp_jax.data.examples import InputConfig
from mvp_jax.errors import InputError
from mvp_jax.jobs import train
from mvp_jax.models.modalities.voice import Voice
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.optimiser import OptimiserConfig
from tests import running
from tests.raw.sound_files import write_sound

_RATE, _SECONDS = 8000, 3.0


@pytest.fixture(scope='module')
def study(tmp_path_factory):
  """Who is aroused is louder."""
  folder, rng = tmp_path_factory.mktemp('voices'), np.random.default_rng(0)
  rows = []
  for subject in range(1, 7):
    for trial in range(1, 5):
      high = trial % 2
      level = rng.uniform(0.1, 0.2) if high else rng.uniform(0.005, 0.01)
      sound = rng.normal(0, level, round(_SECONDS * _RATE)).clip(-0.9, 0.9)
      name = f'{subject}-{trial}.wav'
      write_sound(folder / name, sound.astype(np.float32), _RATE)
      rating = 8 if high else 2
      rows.append(
        {
          'subject': subject,
          'trial': trial,
          'audio': name,
          'valence': [2, 8][trial // 2 % 2],
          'arousal': rating,
        }
      )
  with (folder / 'manifest.csv').open('w', newline='') as file:
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
  return folder


VOICE = Voice(
  picture_width=16, picture_depth=1, heads=2, mlp_width=32, depth=1, dropout=0.0
)


def _config(study, voice=VOICE):
  config = Config(
    dataset='recordings',
    data=DataConfig(
      manual_dir=str(study), data_dir=str(study.parent / 'voices_data'), workers=1
    ),
    input=InputConfig(max_seconds=3.0),
    modalities=running.MODALITIES | {'voice': voice},
    models={'voice': 'voice'},
    model=dataclasses.replace(running.SIZES, dropout=0.0),
    train=TrainConfig(
      batch_size=16,
      validate_every=40,
      optimiser=OptimiserConfig(learning_rate=3e-3, steps=80, warmup_steps=8),
    ),
    evaluation=EvaluationConfig(
      models=('voice',), folds=2, validation_subjects=1, batch_size=8
    ),
  )
  return running.changed(config, target={'ratings': ('arousal',)})


@pytest.fixture(scope='module')
def trained(study, tmp_path_factory):
  folder = tmp_path_factory.mktemp('trained') / 'run'
  running.run(train, _config(study), folder)
  return folder


def _right(workdir):
  rows = [r for r in running.predictions(workdir) if r['model'] == 'voice']
  assert len(rows) == 24
  return np.mean([(float(r['score']) > 0.5) == (r['label'] == '1') for r in rows])


def test_loudness_is_heard_of_people_never_met(trained):
  assert _right(trained) > 0.9
  assert 'voice' in (trained / 'report.html').read_text()


def test_what_read_the_sound_can_be_frozen(study, trained, tmp_path):
  """The reader of one run, its tokens worked out once, in another."""
  reader = trained / 'encoders' / 'fold0' / 'voice' / 'voice'
  frozen = dataclasses.replace(VOICE, checkpoint=str(reader), frozen=True)
  config = _config(study, frozen)
  with pytest.raises(InputError, match='voice pre-training: .* test subjects'):
    running.run(train, config, tmp_path / 'refused')
  other = dataclasses.replace(frozen, picture_width=24)
  with pytest.raises(InputError, match='has width 16, .*; the config wants width 24'):
    running.run(train, _config(study, other), tmp_path / 'other')
  config = running.changed(config, evaluation={'allow_encoder_overlap': True})
  running.run(train, config, tmp_path / 'run')
  assert _right(tmp_path / 'run') > 0.9
  facts = running.facts(tmp_path / 'run')
  record = facts['pretrained']['voice']
  assert record['labels'] == 'ratings of arousal' and len(record['people']) == 8
  assert record['model']['width'] == 16
  (features,) = (study.parent / 'voices_data').rglob('features/*')
  assert len(list(features.glob('*.npy'))) == 24
  assert not (tmp_path / 'run' / 'encoders').exists()  # nothing new was learnt
  data = study.parent / 'voices_data'
  assert running.check_kept(tmp_path / 'run', data, 'voice', tmp_path / 'kept') == 24
