"""The voice of whole trials: what is read of the sound, and its tokens."""

import dataclasses
import types

import jax
import numpy as np
import pytest
from flax import nnx

from mvp_jax.data.examples import InputConfig
from mvp_jax.data.log_mel import PRESETS, VGGISH, log_mel
from mvp_jax.data.trial import Trial
from mvp_jax.data.windows import trial_windows
from mvp_jax.errors import InputError
from mvp_jax.models.emotion import ModelSizes
from mvp_jax.models.modalities.voice import Voice
from mvp_jax.training.features import cache_features
from mvp_jax.training.sharding import MeshConfig, make_mesh

RATE = 16_000
VOICE = Voice(picture_width=16, picture_depth=1, heads=2, mlp_width=32, dropout=0.0)
RESNET = dataclasses.replace(VOICE, backbone='resnet18', preset='jca')
SIZES = ModelSizes(width=16, heads=2, depth=1, mlp_width=16)


@dataclasses.dataclass
class _Corpus:
  """One trial of noise, of which a stretch was not recorded."""

  values: np.ndarray
  valid: np.ndarray
  name: str = 'made'
  metadata: dict = dataclasses.field(default_factory=lambda: {'streams': {'audio': {}}})

  def samples(self, trial, start, stop, stream='audio'):
    place = np.arange(start, stop)
    inside = (place >= 0) & (place < len(self.values))
    place = np.clip(place, 0, len(self.values) - 1)
    good = inside & self.valid[place]
    return np.where(good, self.values[place], 0).astype(np.int16), good


@pytest.fixture(scope='module')
def corpus():
  values = np.random.default_rng(0).integers(-9000, 9000, 5 * RATE).astype(np.int16)
  valid = np.ones(len(values), bool)
  valid[RATE : 2 * RATE + 1000] = False
  return _Corpus(values, valid)


def _trial(corpus):
  sound = types.SimpleNamespace(rate=float(RATE), seconds=len(corpus.values) / RATE)
  return Trial('t', 1, 1, 1, {}, {'audio': sound})


def _inputs(corpus, seconds=7.0, last=0.0, voice=VOICE):
  trial = _trial(corpus)
  options = InputConfig(max_seconds=seconds)
  return voice.inputs(corpus, trial_windows([trial], seconds, last), options)[0]


def test_pictures_are_those_of_the_sound(corpus):
  found = _inputs(corpus)
  length = VGGISH.samples
  assert length == VGGISH.seconds * RATE
  assert found['pictures'].shape == (8, 64, 96)
  # 5 s are 5.2 pictures, the last of which is mostly not recorded; nor is the second.
  assert found['valid'].tolist() == [True, False, True, True, True] + [False] * 3
  sound = corpus.values[3 * length : 4 * length] / np.float32(32768)
  np.testing.assert_allclose(found['pictures'][3], log_mel(sound, VGGISH), atol=3e-3)
  assert not found['pictures'][~found['valid']].any()


def test_the_last_seconds_alone(corpus):
  found = _inputs(corpus, last=2.0)
  assert found['valid'].tolist() == [False] * 4 + [True] + [False] * 3


def test_what_is_not_there_changes_no_token(corpus):
  network = VOICE.network({}).create(SIZES, rngs=nnx.Rngs(0))
  arrays = jax.tree.map(lambda x: x[None], _inputs(corpus))
  found = network(arrays)
  slots = 6
  assert found.x.shape == (1, 8 * slots, 16)
  step = VGGISH.seconds / slots
  np.testing.assert_allclose(found.times[:2], [step / 2, 1.5 * step], atol=1e-6)
  noise = np.where(arrays['valid'][..., None, None], arrays['pictures'], 3)
  other = network(arrays | {'pictures': noise.astype(np.float16)})
  np.testing.assert_array_equal(other.x, found.x)
  assert not np.asarray(found.x)[:, slots : 2 * slots].any()
  longer = jax.tree.map(lambda x: x[None], _inputs(corpus, seconds=9.0))
  np.testing.assert_allclose(network(longer).x[:, : 8 * slots], found.x, atol=1e-5)


@pytest.mark.parametrize('voice', [VOICE, RESNET], ids=['transformer', 'resnet18'])
def test_features_of_a_frozen_backbone_are_those_of_the_live_one(
  corpus, voice, tmp_path
):
  live = voice.network({}).create(SIZES, rngs=nnx.Rngs(0))
  frozen = dataclasses.replace(voice, checkpoint='x', frozen=True)
  variables = nnx.to_pure_dict(nnx.state(live.within))
  trial = _trial(corpus)
  options = InputConfig(max_seconds=7.0)
  mesh = make_mesh(MeshConfig(), jax.devices()[:1])
  cache_features(
    frozen.reader,
    variables,
    corpus,
    [trial],
    frozen.layout,
    4,
    mesh=mesh,
    directory=tmp_path,
  )
  slots = frozen.reader.slots
  stored = np.load(tmp_path / 't.npy')
  pictures = round(np.ceil(5 / PRESETS[voice.preset].seconds))
  assert stored.shape == (pictures * slots, frozen.reader.feature_width)
  there = np.isfinite(stored).reshape(pictures, -1)
  recorded = _inputs(corpus, voice=voice)['valid'][:pictures]
  assert not recorded.all()
  np.testing.assert_array_equal(there.all(1), recorded)
  np.testing.assert_array_equal(there.any(1), recorded)
  cached = frozen.cached(tmp_path)
  for last in (0.0, 2.0):
    windows = trial_windows([trial], 7.0, last)
    arrays = jax.tree.map(lambda x: x[None], voice.inputs(corpus, windows, options)[0])
    inputs = cached.inputs(corpus, windows, options)
    assert inputs.scaled == 'tokens'
    own = jax.tree.map(lambda x: x[None], inputs[0])
    of_tokens = cached.network({}).create(SIZES, rngs=nnx.Rngs(0))
    assert of_tokens.within is None
    for name in ('project', 'stack'):
      setattr(of_tokens, name, getattr(live, name))
    wanted, found = live(arrays), of_tokens(own)
    np.testing.assert_array_equal(found.valid, wanted.valid)
    # Pictures are kept in half precision, features are not.
    np.testing.assert_allclose(found.x, wanted.x, atol=5e-3)
    np.testing.assert_array_equal(found.times, wanted.times)


def test_padding_moves_no_batch_statistics(corpus):
  arrays = jax.tree.map(lambda x: x[None], _inputs(corpus, voice=RESNET))
  moved = []
  for value in (0, 3):
    network = RESNET.network({}).create(SIZES, rngs=nnx.Rngs(0))
    there = arrays['valid'][..., None, None]
    noise = np.where(there, arrays['pictures'], value).astype(np.float16)
    network(arrays | {'pictures': noise}, jax.random.key(0))
    moved.append(nnx.to_pure_dict(nnx.state(network, nnx.BatchStat)))
  jax.tree.map(np.testing.assert_array_equal, *moved)


def test_a_trained_backbone_starts_another(corpus):
  networks = [VOICE.network({}).create(SIZES, rngs=nnx.Rngs(i)) for i in (0, 1)]
  trained, fresh = (nnx.to_pure_dict(nnx.state(x)) for x in networks)
  started = VOICE.started(fresh, VOICE.trained(trained))
  jax.tree.map(np.testing.assert_array_equal, started['within'], trained['within'])
  jax.tree.map(np.testing.assert_array_equal, started['stack'], fresh['stack'])


def test_what_does_not_fit_is_refused(corpus):
  with pytest.raises(
    InputError, match="backbone: 'vgg' is none of transformer, resnet"
  ):
    dataclasses.replace(VOICE, backbone='vgg')
  with pytest.raises(InputError, match='frozen: random weights .* give a checkpoint'):
    dataclasses.replace(VOICE, frozen=True)
  with pytest.raises(InputError, match="'mel' is none of jca, vggish"):
    dataclasses.replace(VOICE, preset='mel')
  with pytest.raises(ValueError, match='cannot be cut into patches of 24'):
    dataclasses.replace(VOICE, patch=24)
  mute = dataclasses.replace(corpus, metadata={'streams': {}})
  with pytest.raises(InputError, match='made was prepared without sound'):
    _inputs(mute)
