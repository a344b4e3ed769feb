"""Descriptors as tokens: what is read of voice and signals, and how."""

import dataclasses
import types

import jax
import numpy as np
import pytest
from flax import nnx

from mvp_jax.config import Config, EvaluationConfig
from mvp_jax.data.examples import InputConfig
from mvp_jax.data.trial import Series, Trial
from mvp_jax.data.windows import trial_windows
from mvp_jax.errors import InputError
from mvp_jax.models.emotion import ModelSizes
from mvp_jax.models.modalities.descriptors import Descriptors
from mvp_jax.raw import voice
from mvp_jax.targets import Concordance

RATE = 16_000
SIZES = ModelSizes(width=16, heads=2, depth=1, mlp_width=16)
OWN = Descriptors(rate=2.0, heads=2, mlp_width=32, dropout=0.0)
STREAMS = {
  'audio': {'kind': 'sound', 'rate': float(RATE)},
  'signals': {'kind': 'series', 'rate': 32.0, 'channels': ('eda',)},
  'video': {'kind': 'frames', 'rate': 5.0},
}


@dataclasses.dataclass
class _Corpus:
  """A voice that is loud from the third second on, with skin conductance."""

  name: str = 'made'
  metadata: dict = dataclasses.field(default_factory=lambda: {'streams': STREAMS})

  def __post_init__(self):
    times = np.arange(6 * RATE) / RATE
    tone = sum(np.sin(2 * np.pi * 150 * k * times) / k for k in range(1, 6))
    tone *= np.where(times < 3, 0.01, 0.2)
    self.sound = (tone * 16_000).astype(np.int16)
    eda = np.linspace(1, 3, 6 * 32, dtype=np.float32)[:, None]
    sound = types.SimpleNamespace(kind='sound', rate=float(RATE), seconds=6.0)
    signals = Series(eda, np.ones(eda.shape, bool), ('eda',), 32.0)
    both = {'audio': sound, 'signals': signals}
    self.trials = [
      Trial('a', 1, 1, 1, {}, both),
      Trial('b', 2, 1, 1, {}, {'audio': sound}),
    ]

  def samples(self, trial, start, stop, stream='audio'):
    place = np.arange(start, stop)
    good = (place >= 0) & (place < len(self.sound))
    return np.where(good, self.sound[np.clip(place, 0, len(self.sound) - 1)], 0), good


@pytest.fixture(scope='module')
def corpus():
  return _Corpus()


def _inputs(corpus, own=OWN, seconds=8.0, last=0.0):
  windows = trial_windows(corpus.trials, seconds, last)
  return own.inputs(corpus, windows, InputConfig(max_seconds=seconds))


def test_what_is_read_of_voice_and_signals(corpus):
  names = OWN.names(corpus.metadata)
  found = _inputs(corpus)
  assert found.standardised == 'values' and found.pooled
  assert found[0]['values'].shape == (16, 2 * len(names))
  np.testing.assert_allclose(found[0]['times'][:2], [0.25, 0.75])
  assert found[0]['valid'].tolist() == [True] * 12 + [False] * 4
  level = names.index(('voice in audio', 'level', 'mean'))
  over = found[0]['values'][:12, len(names) + level]
  assert (over[:5] < -0.8).all() and (over[7:] > 0.8).all()  # the edge is in the sixth
  pitch = found[0]['values'][1:5, names.index(('voice in audio', 'pitch', 'mean'))]
  np.testing.assert_allclose(pitch, 12 * np.log2(150 / 55), atol=0.1)
  eda = names.index(('signals', 'eda', 'mean'))
  expected = np.linspace(1, 3, 192).reshape(12, 16).mean(1)
  np.testing.assert_allclose(found[0]['values'][:12, eda], expected, atol=1e-5)
  # A trial without signals has nothing of them, and all of its voice.
  assert np.isnan(found[1]['values'][:, eda]).all() and found[1]['valid'][:12].all()
  np.testing.assert_array_equal(
    found[1]['values'][:, level], found[0]['values'][:, level]
  )


def test_what_is_not_asked_for_is_not_worked_out(corpus, monkeypatch):
  def heard(*_):
    raise AssertionError

  expected = _inputs(corpus)[0]['values']
  monkeypatch.setattr(voice, 'voice_tracks', heard)
  found = _inputs(corpus, dataclasses.replace(OWN, streams=('signals',)))[0]['values']
  columns = [n for n, x in enumerate(OWN.names(corpus.metadata)) if x[0] == 'signals']
  np.testing.assert_array_equal(found[:, :2], expected[:, columns])


def test_labels_are_never_read():
  def config(streams):
    return Config(
      dataset='recola',
      target=Concordance(),
      models={'own': 'descriptors'},
      modalities={'descriptors': dataclasses.replace(OWN, streams=streams)},
      model=SIZES,
      evaluation=EvaluationConfig(models=('own',)),
    )

  config(('audio', 'signals'))
  with pytest.raises(
    ValueError, match=r'descriptors\.streams: ratings holds the labels'
  ):
    config(('audio', 'ratings'))


def test_the_last_seconds_alone(corpus):
  valid = _inputs(corpus, last=2.0)[0]['valid']
  assert valid.tolist() == [False] * 8 + [True] * 4 + [False] * 4


def test_padding_changes_no_token(corpus):
  network = OWN.network(corpus.metadata).create(SIZES, rngs=nnx.Rngs(0))
  short, long = (
    network(jax.tree.map(lambda x: x[None], _inputs(corpus, seconds=seconds)[0]))
    for seconds in (6.0, 9.0)
  )
  assert short.x.shape == (1, 12, 16) and long.x.shape == (1, 18, 16)
  np.testing.assert_allclose(long.x[:, :12], short.x, atol=1e-5)
  assert not np.asarray(long.x)[:, 12:].any() and not long.valid[:, 12:].any()


def test_what_is_far_off_is_drawn_in(corpus):
  network = OWN.network(corpus.metadata).create(SIZES, rngs=nnx.Rngs(0))
  arrays = jax.tree.map(lambda x: x[None], _inputs(corpus)[0])
  far, further, none, mean = (
    network(arrays | {'values': np.full_like(arrays['values'], value)}).x
    for value in (1e3, 1e6, np.nan, 0)
  )
  np.testing.assert_allclose(far, further, atol=1e-5)
  np.testing.assert_array_equal(none, mean)  # what is missing is the mean


@pytest.mark.parametrize('stream', ['voices', 'video'])
def test_streams_that_cannot_be_described_are_named(corpus, stream):
  own = dataclasses.replace(OWN, streams=('audio', stream))
  with pytest.raises(InputError, match=f"'{stream}' is no stream .*audio, signals"):
    _inputs(corpus, own)


@pytest.mark.parametrize(
  ('wrong', 'message'),
  [
    ({'streams': ()}, 'streams: name at least one'),
    ({'rate': 0.0}, 'rate: above 0'),
    ({'rate': 60.0}, 'at most 25 Hz'),
  ],
)
def test_settings_that_cannot_be(wrong, message):
  with pytest.raises(InputError, match=message):
    dataclasses.replace(OWN, **wrong)


def test_heads_must_divide_the_width():
  with pytest.raises(ValueError, match='3 heads do not divide the width 16'):
    dataclasses.replace(OWN, heads=3).check(SIZES)
