"""Handcrafted features as a modality: standardised on training trials, and masked."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.preprocessing import StandardScaler

from mvp_jax.data.examples import InputConfig, TrialExamples
from mvp_jax.data.handcrafted import channel_features, feature_table
from mvp_jax.data.scales import moments
from mvp_jax.data.splits import Fold
from mvp_jax.errors import InputError
from mvp_jax.jobs.trainings import scales_of
from mvp_jax.models.emotion import EmotionConfig, EmotionModel, ModelSizes
from mvp_jax.models.fusion import FUSIONS
from mvp_jax.models.modalities import handcrafted
from mvp_jax.models.modalities.handcrafted import Handcrafted
from mvp_jax.raw.features import trial_features
from mvp_jax.raw.openface import CHANNELS
from mvp_jax.targets.binary import Binary
from mvp_jax.training import side_by_side
from tests.data.tiny_trials import trial
from tests.evaluation.memory import MemoryCorpus, twin

_NAME, _TIMES = 'handcrafted/values', 'handcrafted/times'
_CORPUS = MemoryCorpus([])
_CHANNELS = channel_features(_CORPUS.metadata)  # of eda 7, of ppg 7
_NAMES = [name for names in _CHANNELS.values() for name in names]
_TRIALS = [
  trial(s, k, signals=np.ones((1280, 2), np.float32))
  for s in (1, 2, 3)
  for k in (1, 2, 3, 4)
]
_SIZES = ModelSizes(width=16, depth=1, heads=2, mlp_width=16, dropout=0.0)


def _table():
  rng = np.random.default_rng(0)
  level, spread = rng.uniform(-50, 50, 14), rng.uniform(0.01, 20, 14)
  table = rng.normal(level, spread, (len(_TRIALS), 14))
  table[rng.random(table.shape) < 0.2] = np.nan
  table[:, 2] = 0.1  # the same in all, but for one that is tested
  table[11, 2] = 7
  table[:10, 4] = np.nan  # known in no training trial
  table[[3, 9], 7:] = np.nan  # no PPG
  return table


@pytest.fixture
def source(monkeypatch):
  """Function of a table of features -> TrialExamples of it."""

  def make(table, names=_NAMES, modalities=None):
    monkeypatch.setattr(handcrafted, 'feature_table', lambda *_: (table, names))
    return TrialExamples(
      _CORPUS,
      _TRIALS,
      InputConfig(max_seconds=12.0),
      modalities or {'handcrafted': Handcrafted()},
      Binary(),
    )

  return make


def _fitted(examples):
  """The scales of a fold that trains on the first eight trials, and its facts."""
  ids = [t.trial_id for t in examples.trials]
  fold = Fold(0, tuple(ids[:8]), (), tuple(ids[8:]), None)
  facts = {'folds': [{}]}
  return scales_of(examples, [fold], facts)[0], facts['folds'][0]['fitted']


def _standardised(examples):
  ids = [t.trial_id for t in examples.trials]
  chosen = examples.select(ids, scales=_fitted(examples)[0])
  return np.stack([chosen[i][_NAME] for i in range(len(chosen))])


def test_features_are_standardised_as_by_scikit_learn_on_training_rows(source):
  table = _table()
  found = _standardised(source(table)).reshape(len(table), -1)
  usual = [i for i in range(14) if i not in (2, 4)]
  wanted = table[:, usual]
  expected = StandardScaler().fit(wanted[:8]).transform(wanted)
  np.testing.assert_allclose(found[:, usual], expected, rtol=1e-3, atol=1e-4)
  assert not found[:, 2].any()  # nothing was learnt of it
  assert np.isnan(found[:, 4]).all()


def test_the_fit_is_noted_and_of_training_trials_alone(source):
  table = _table()
  scales, noted = _fitted(source(table))
  assert noted == {
    f'mean and deviation of {_NAME}': {'on': 'training trials', 'trials': 8}
  }
  other = table.copy()
  other[9] = 1e6
  again, _ = _fitted(source(other))
  jax.tree.map(np.testing.assert_array_equal, scales, again)
  before, after = _standardised(source(table)), _standardised(source(other))
  rest = np.arange(len(table)) != 9
  np.testing.assert_array_equal(before[rest], after[rest])
  assert not np.array_equal(before[9], after[9], equal_nan=True)


def test_models_that_train_together_read_the_same(source):
  examples = source(_table())
  scales, _ = _fitted(examples)
  rows = np.array([10, 0, 3])
  own = {'own': ({},), 'scale': scales}
  data = ({_NAME: examples.stacked(_NAME)},)
  found = jax.jit(side_by_side.examples)(data, own, (rows,))[_NAME]
  np.testing.assert_allclose(found, _standardised(examples)[rows], 1e-6, 1e-6)


def test_without_any_feature(source):
  nothing = np.full((len(_TRIALS), 14), np.nan)
  with pytest.raises(InputError, match=r'^modalities\.handcrafted: no trial has any'):
    source(nothing)
  with pytest.raises(InputError, match='no trial has any'):
    source(np.zeros((len(_TRIALS), 0)), [])
  nothing[10] = 1
  with pytest.raises(InputError, match='values: the training trials have none of it'):
    _fitted(source(nothing))


def test_numbers_so_large_and_so_small_that_float32_hardly_has_them():
  mean, deviation = moments(np.array([[1e30, 1e-42], [3e30, 3e-42]]), 'x')
  np.testing.assert_allclose(mean[0], 2e30)
  np.testing.assert_allclose(deviation[0], 1e30)
  assert np.isinf(deviation[1])


def _network():
  network = Handcrafted().network(_CORPUS.metadata)
  return nnx.jit(lambda: network.create(_SIZES, rngs=nnx.Rngs(0)))()


def test_a_token_is_what_a_channel_s_layer_makes_of_it(source):
  values, model = _standardised(source(_table())), _network()
  values[0, 0, 0] = 1e5  # an artefact
  times = np.zeros(values.shape[:2], np.float32)
  tokens = model({'values': values, 'times': times})
  assert tokens.x.shape == (12, 2, 16) and tokens.valid.shape == (12, 2)
  np.testing.assert_array_equal(tokens.valid[:, 1], ~np.isin(np.arange(12), (3, 9)))
  assert not np.asarray(tokens.x)[[3, 9], 1].any()
  drawn = 4 * np.tanh(np.where(np.isfinite(values), values, 0).astype(np.float64) / 4)
  for place, embed in enumerate(model.embed):
    kernel, bias = np.asarray(embed.kernel[...]), np.asarray(embed.bias[...])
    good = np.asarray(tokens.valid[:, place])
    expected = drawn[:, place] @ kernel + bias
    np.testing.assert_allclose(tokens.x[good, place], expected[good], atol=1e-5)


def test_gradients_reach_every_parameter(source):
  table = np.random.default_rng(1).normal(size=(len(_TRIALS), 14))
  values = _standardised(source(table))
  arrays = {'values': values, 'times': np.zeros(values.shape[:2], np.float32)}
  gradients = nnx.grad(lambda model: (model(arrays).x ** 2).sum())(_network())
  assert all(jnp.abs(x).max() > 0 for x in jax.tree.leaves(gradients))


@pytest.mark.parametrize('fusion', [None, *FUSIONS])
def test_it_goes_alone_and_with_every_fusion(source, fusion):
  """Two of them stand for two modalities; one may have no valid token."""
  names = ('one', 'other') if fusion else ('one',)
  sizes = ModelSizes(
    width=16, depth=1, heads=2, mlp_width=16, dropout=0.0, fusion=fusion or 'cross'
  )
  network = Handcrafted().network(_CORPUS.metadata)
  config = EmotionConfig(sizes, tuple((n, network) for n in names), Binary(), names)
  model = nnx.jit(lambda: EmotionModel(config, rngs=nnx.Rngs(0)))()
  values = _standardised(source(_table()))
  batch = {}
  for name in names:
    batch[f'{name}/values'] = values.copy()
    batch[f'{name}/times'] = np.full(values.shape[:2], 5, np.float32)
  batch['one/values'][5] = np.nan
  outputs, _ = nnx.jit(lambda model, batch: model(batch))(model, batch)
  assert outputs.shape == (12, 2) and np.isfinite(outputs).all()


def test_values_are_those_of_the_table_by_their_names(tmp_path):
  trials = twin(subjects=1, trials=2, seconds=20)
  corpus = MemoryCorpus(trials, tmp_path / 'corpus/1.0.0')
  modality = {'handcrafted': Handcrafted()}
  options = InputConfig(max_seconds=20.0)
  examples = TrialExamples(corpus, trials, options, modality, Binary())
  table, names = feature_table(corpus, trials)
  assert set(names) <= set(_NAMES) and 'ppg_heart_rate' in names
  columns = dict(zip(names, table.T, strict=True))
  for i in range(2):
    for place, own in enumerate(_CHANNELS.values()):
      expected = [columns.get(name, [np.nan] * 2)[i] for name in own]
      found = examples[i][_NAME][place]
      np.testing.assert_array_equal(found, np.array(expected, np.float32))
  np.testing.assert_array_equal(examples[0][_TIMES], [10, 10])


def test_features_of_a_window_are_of_what_it_holds(tmp_path):
  (whole,) = twin(subjects=1, trials=1, seconds=30)
  window = whole.stretch(10, 20)
  corpus = MemoryCorpus([whole], tmp_path / 'corpus/1.0.0')
  table, names = feature_table(corpus, [window, whole])
  signals = whole.streams['signals']
  rows = [
    trial_features(values, signals.rate, signals.channels, None, before)
    for values, before in (
      (signals.values[1280:2560], None),
      (signals.values, signals.before),
    )
  ]
  wanted = [[row[name] for name in names] for row in rows]
  np.testing.assert_allclose(table, wanted, rtol=1e-9)
  assert table[0, 0] != table[1, 0] and len(names) > 10
  # The same where there is no folder to keep them in.
  loose = types.SimpleNamespace(metadata=corpus.metadata, trials=[])
  again, _ = feature_table(loose, [window])
  known = np.isfinite(table[0])
  np.testing.assert_array_equal(again[0], table[0, known])


def test_channels_are_those_of_series():
  streams = {
    'signals': {'kind': 'series', 'rate': 8.0, 'channels': ['ecg_left', 'other']},
    'video': {'kind': 'frames', 'rate': 5.0, 'channels': None},
    'face': {'kind': 'series', 'rate': None, 'channels': list(CHANNELS)},
  }
  found = channel_features({'streams': streams})
  assert list(found)[:2] == ['ecg_left', 'au01'] and len(found) == 18
  assert found['au01'] == [f'au01_{name}' for name in ('mean', 'std', 'max', 'share')]
