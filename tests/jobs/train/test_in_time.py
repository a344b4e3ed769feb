"""A run on ratings in time: Aff-Wild2's layout, long videos, voice and face."""

import csv
import dataclasses
import types

import numpy as np
import pytest

from mvp_jax.config import Config, DataConfig, EvaluationConfig
from mvp_jax.corpora.affwild2.twin import AffWild2Spec
from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.examples import InputConfig
from mvp_jax.data.trial import Series, Trial
from mvp_jax.data.windows import stretches
from mvp_jax.jobs import train, trainings
from mvp_jax.models.modalities.descriptors import Descriptors
from mvp_jax.models.modalities.voice import Voice
from mvp_jax.targets import Binary, Concordance
from mvp_jax.training.encoder import VideoMAEEncoder
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.optimiser import OptimiserConfig
from tests import running

_SPEC = AffWild2Spec(train=9, validation=2, test=1, seconds=9.0, frame_rate=5.0)
_STEPS = 60


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('in_time')
  voice = Voice(
    picture_width=16, picture_depth=1, heads=2, mlp_width=32, depth=1, dropout=0.0
  )
  config = Config(
    dataset='affwild2',
    data=DataConfig(
      data_dir=str(folder / 'data'), frame_rate=5.0, frame_size=32, workers=1
    ),
    twin=_SPEC,
    target=Concordance(rate=5.0, lag=1.0, smooth=(0.6,)),
    # Of each video two stretches.
    input=InputConfig(
      max_seconds=5.0, clips=ClipLayout(frames=4, stride=1, spacing=0.8)
    ),
    encoder=VideoMAEEncoder(
      size='tiny', dtype='float32', subjects=0, pretrained=False, feature_batch=8
    ),
    modalities=running.MODALITIES
    | {
      'voice': voice,
      'descriptors': Descriptors(
        streams=('audio',), depth=0, heads=2, mlp_width=16, dropout=0.0
      ),
    },
    models={'fusion': 'voice+video', 'voice': 'voice', 'descriptors': 'descriptors'},
    model=dataclasses.replace(
      running.SIZES, dropout=0.0, fusion='joint', segments=4, segment_seconds=1.25
    ),
    train=TrainConfig(
      batch_size=8,
      validate_every=_STEPS,
      optimiser=OptimiserConfig(learning_rate=5e-3, steps=_STEPS, warmup_steps=5),
    ),
    evaluation=EvaluationConfig(
      protocol='official',
      validation_subjects=1,
      models=('fusion', 'voice', 'descriptors'),
      batch_size=8,
    ),
  )
  with running.few_devices(drawn=True):
    train.run(config, folder / 'run')
  return folder / 'run'


def _moments(workdir, model, rating):
  with (workdir / 'frames.csv').open(newline='') as file:
    rows = [
      r for r in csv.DictReader(file) if (r['model'], r['target']) == (model, rating)
    ]
  return rows


def test_every_annotated_moment_of_the_validation_set_is_predicted_once(workdir):
  rows = _moments(workdir, 'fusion', 'arousal')
  # video10 and video11, in the order of names; five annotations a second.
  assert {r['subject'] for r in rows} == {'2', '3'}
  keys = [(r['subject'], r['trial'], r['time']) for r in rows]
  assert len(set(keys)) == len(keys)
  root = next((workdir.parent / 'data' / 'twins').iterdir())
  annotations = (root / 'VA_Estimation_Challenge' / 'Validation_Set').glob('*.txt')
  rated = [np.loadtxt(p, delimiter=',', skiprows=1)[:, 0] != -5 for p in annotations]
  assert len(rows) == sum(x.sum() for x in rated)
  assert max(float(r['time']) for r in rows) > 8.5  # of the last stretch, too


@pytest.mark.parametrize('model', ['fusion', 'descriptors'])
def test_the_models_that_are_kept_say_the_same(workdir, model, tmp_path):
  data = workdir.parent / 'data'
  assert running.check_kept(workdir, data, model, tmp_path) > 50


@pytest.mark.parametrize('model', ['voice', 'descriptors'])
def test_arousal_is_heard(workdir, model):
  rows = _moments(workdir, model, 'arousal')
  said = np.array([float(r['prediction']) for r in rows])
  rated = np.array([float(r['rating']) for r in rows])
  assert np.corrcoef(said, rated)[0, 1] > 0.5
  assert abs(said).max() <= 1


def test_plain_features_of_the_voice_tell_arousal_too(workdir):
  rows = _moments(workdir, 'ridge', 'arousal')
  said, rated = (
    np.array([float(r[name]) for r in rows]) for name in ('prediction', 'rating')
  )
  assert np.corrcoef(said, rated)[0, 1] > 0.6


def test_the_report_tells_of_the_split_and_the_smoothing(workdir):
  text = ' '.join((workdir / 'report.md').read_text().split())
  assert 'Protocol: official, 1 fold' in text
  assert 'clipped to -1 to 1, and smoothed: means over 0.6 s' in text
  (fold,) = running.facts(workdir)['folds']
  assert fold['test_subjects'] == [2, 3]
  assert fold['train_trials'] + fold['validation_trials'] == 10  # 8 has two people


def test_a_rating_at_the_very_end_cuts_no_trial():
  """RECOLA's 7501st is at 300 s: a label of its own."""
  times = (np.arange(101) / 25).astype(np.float32)
  values = np.zeros((101, 2), np.float32)
  ratings = Series(values, values == 0, ('valence', 'arousal'), rate=None, times=times)
  trial = Trial('a', 1, 1, None, {}, {'ratings': ratings})
  target = Concordance(rate=25.0)
  config = Config(
    dataset='affwild2', target=target, input=InputConfig(max_seconds=60.0)
  )
  padded = train._padded_to_the_longest(config, types.SimpleNamespace(trials=[trial]))
  assert padded.input.max_seconds == 5
  assert stretches([trial], target, padded.input.max_seconds) == [trial]


@pytest.mark.parametrize(('level', 'moved'), [('frame', False), ('trial', True)])
def test_signals_stay_beside_ratings_in_time(monkeypatch, level, moved):
  monkeypatch.setattr(trainings, 'TrialExamples', lambda *given: given)
  target = Concordance() if level == 'frame' else Binary()
  config = Config(dataset='recola', target=target, models={'body': 'physio'})
  (own,) = trainings.examples_of(config, None, [], 'body', None)[3].values()
  augment = own.augment
  assert (augment.shift > 0) == (augment.crop > 0) == moved
  assert augment.noise > 0  # what moves nothing stays
