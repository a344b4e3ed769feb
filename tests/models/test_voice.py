"""The voice of whole trials: what is read of the sound, and its tokens."""

import dataclasses
import types

import jax
import numpy as np
import pytest
from flax import nnx

from mvp_jax.data.examples import InputConfig
from mvp_jax.data.log_mel import VGGISH, log_mel
from mvp_jax.data.trials import Trial
from mvp_jax.data.windows import trial_windows
from mvp_jax.errors import InputError
from mvp_jax.models.emotion import ModelSizes
from mvp_jax.models.modalities.voice import Voice

RATE = 16_000
VOICE = Voice(picture_width=16, picture_depth=1, heads=2, mlp_width=32, dropout=0.0)
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


def _inputs(corpus, seconds=7.0, last=0.0, voice=VOICE):
  sound = types.SimpleNamespace(rate=float(RATE), seconds=len(corpus.values) / RATE)
  trial = Trial('t', 1, 1, 1, {}, {'audio': sound})
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


def test_what_does_not_fit_is_refused(corpus):
  with pytest.raises(InputError, match="'mel' is none of jca, vggish"):
    dataclasses.replace(VOICE, preset='mel')
  with pytest.raises(ValueError, match='cannot be cut into patches of 24'):
    dataclasses.replace(VOICE, patch=24)
  mute = dataclasses.replace(corpus, metadata={'streams': {}})
  with pytest.raises(InputError, match='made was prepared without sound'):
    _inputs(mute)
