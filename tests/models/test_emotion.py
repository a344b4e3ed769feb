import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from mvp_jax.errors import InputError
from mvp_jax.models.emotion import (
  EmotionConfig,
  EmotionModel,
  ModelSizes,
  at_times,
)
from mvp_jax.models.fusion import FUSIONS, Fused, Tokens
from mvp_jax.models.modalities import find
from mvp_jax.models.modalities.physio import Physio, PhysioNetwork
from mvp_jax.models.modalities.video import Video, VideoNetwork
from mvp_jax.models.videomae import VideoMAEConfig
from mvp_jax.targets.binary import Binary

SIZES = ModelSizes(width=16, depth=2, heads=2, mlp_width=32, dropout=0.5)
PHYSIO = Physio(
  widths=(8, 16),
  kernels=(16, 8),
  strides=(4, 2),
  depth=1,
  heads=2,
  mlp_width=32,
  dropout=0.5,
  levels=False,
)
ENCODER = VideoMAEConfig(width=12, depth=1, heads=2, mlp_width=24, frames=4, size=32)
NAMES = ('physio', 'video')


@functools.cache
def make(modalities=NAMES, backbone=None, **sizes):
  """A function (examples, key, want_attention) and the model behind it."""
  networks = {
    'physio': PhysioNetwork(PHYSIO, channels=2, rate=128.0),
    'video': VideoNetwork(Video(depth=1), 12, backbone),
  }
  config = EmotionConfig(
    dataclasses.replace(SIZES, **sizes),
    tuple((name, networks[name]) for name in modalities),
    Binary(),
    NAMES,
  )
  model = nnx.jit(lambda: EmotionModel(config, rngs=nnx.Rngs(0)))()
  graph, state = nnx.split(model)
  run = jax.jit(lambda state, *args: nnx.merge(graph, state)(*args), static_argnums=3)

  def call(examples, key=None, want_attention=False, state=state):
    return run(state, examples, key, want_attention)

  call.graph, call.state = graph, state
  return call


def referred(examples, centre='onset'):
  """Examples with the reference that `Video.inputs` would give them."""
  video = Video(centre=centre)
  pairs = zip(examples['video/valid'], examples['video/times'], strict=True)
  return examples | {'video/reference': np.stack([video.reference(*x) for x in pairs])}


def batch(samples=64, tokens=6, seed=0, centre='onset'):
  rng = np.random.default_rng(seed)
  return referred(
    {
      'physio/values': rng.standard_normal((2, samples, 2)).astype(np.float32),
      'physio/valid': np.ones((2, samples), bool),
      'video/tokens': rng.standard_normal((2, tokens, 12)).astype(np.float32),
      'video/valid': np.ones((2, tokens), bool),
      'video/times': np.tile(np.arange(tokens, dtype=np.float32), (2, 1)),
    },
    centre,
  )


def lengthen(examples, by, value):
  """Pads every sequence with junk that is marked invalid."""

  def pad(name, x):
    width = ((0, 0), (0, by)) + ((0, 0),) * (x.ndim - 2)
    return np.pad(x, width, constant_values=False if x.dtype == bool else value)

  return {name: pad(name, x) for name, x in examples.items()}


@pytest.mark.parametrize(
  'changes',
  [
    {'modalities': ('physio',)},
    {'modalities': ('video',)},
    *({'fusion': fusion} for fusion in FUSIONS),
  ],
  ids=str,
)
def test_padding_never_changes_the_logits(changes):
  model, examples = make(**changes), batch()
  logits, _ = model(examples)
  padded, _ = model(lengthen(examples, 24, 50.0))
  assert logits.shape == (2, 2) and logits.dtype == jnp.float32
  np.testing.assert_allclose(padded, logits, atol=1e-5)


def test_each_modality_matters_only_where_it_is_used():
  one, other = batch(seed=0), batch(seed=1)
  mixed = one | {'video/tokens': other['video/tokens']}
  for modalities, moved in [
    (('physio', 'video'), True),
    (('physio',), False),
    (('video',), True),
  ]:
    model = make(modalities=modalities)
    same = np.allclose(model(one)[0], model(mixed)[0], atol=1e-6)
    assert same != moved
  alone = make(modalities=('video',))
  del one['physio/values'], one['physio/valid']
  assert np.isfinite(alone(one)[0]).all()


def test_video_order_matters_through_its_times():
  model, examples = make(), batch()
  swapped = dict(examples)
  swapped['video/times'] = swapped['video/times'][:, ::-1]
  assert not np.allclose(model(examples)[0], model(swapped)[0], atol=1e-5)


@pytest.mark.parametrize('centre', ['onset', 'recording', 'nothing'])
def test_centring_takes_the_person_off_and_leaves_the_change(centre):
  model, examples = make(), batch(centre=centre)
  logits, _ = model(examples)
  person = np.random.default_rng(1).standard_normal((2, 1, 12)).astype(np.float32)
  tokens = examples['video/tokens']
  other, _ = model(examples | {'video/tokens': tokens + person})
  assert np.allclose(other, logits, atol=1e-4) == (centre != 'nothing')
  # A change after the first two seconds is seen in full when those are the reference.
  late = np.where(examples['video/times'][..., None] >= 2, 1, 0).astype(np.float32)
  changed, _ = model(examples | {'video/tokens': tokens + late})
  assert not np.allclose(changed, logits, atol=1e-4)


def test_centring_without_a_face_at_the_onset_uses_the_recording():
  examples = batch()
  examples['video/valid'][:, :2] = False
  model = make()
  np.testing.assert_allclose(
    model(referred(examples, 'onset'))[0],
    model(referred(examples, 'recording'))[0],
    atol=1e-5,
  )


def test_the_end_of_a_recording_is_centred_by_what_lies_before_it():
  """Tokens that are no longer valid still are the reference of those that are."""
  model, whole = make(modalities=('video',)), batch()
  late = whole | {'video/valid': whole['video/times'] >= 3}
  logits, _ = model(late)
  tokens = whole['video/tokens'].copy()
  tokens[:, :2] += 1  # only the change since the onset is another
  assert not np.allclose(model(late | {'video/tokens': tokens})[0], logits, atol=1e-4)
  tokens[:, 2:] += 1  # and now not any more
  np.testing.assert_allclose(
    model(late | {'video/tokens': tokens})[0], logits, atol=1e-5
  )


def test_attention_is_physio_over_video():
  examples = batch()
  examples['video/valid'][:, 4:] = False
  _, seen = make()(examples, want_attention=True)
  weights = np.asarray(seen['attention'])
  assert weights.shape == (2, 2, 2, 8, 6)  # depth, batch, heads, queries, keys
  np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
  assert not weights[..., 4:].any()
  assert seen['query_valid'].shape == (2, 8)


def test_dropout_needs_a_key_and_repeats_with_it():
  model, examples = make(), batch()
  exact = model(examples)[0]
  np.testing.assert_array_equal(exact, model(examples)[0])
  a, b = (model(examples, jax.random.key(i))[0] for i in (0, 1))
  np.testing.assert_array_equal(a, model(examples, jax.random.key(0))[0])
  assert not np.allclose(a, b) and not np.allclose(a, exact)


def test_the_heads_of_late_fusion_drop_each_for_itself():
  """With equal vectors and heads, equal dropout would give equal outputs."""
  model, examples = make(fusion='late'), batch()
  state = jax.tree.map(lambda x: x, model.state)
  one, other = state['heads'][0], state['heads'][1]
  for leaf, source in zip(jax.tree.leaves(other), jax.tree.leaves(one), strict=True):
    assert leaf.shape == source.shape
  state['heads'][1] = jax.tree.map(lambda x: x, one)

  class Same(nnx.Module):
    widths = (16, 16)

    def __call__(self, tokens, key=None, want_attention=False):
      x = tokens['physio'].x[:, 0]
      return Fused([x, x], tokens['physio'], {}, None)

  built = nnx.merge(model.graph, state)
  built.fusion, found = Same(), {}
  target = built.config.target

  @dataclasses.dataclass(frozen=True)
  class Apart(type(target)):
    def combine(self, outputs, present):
      found['outputs'] = outputs
      return super().combine(outputs, present)

  built.config = dataclasses.replace(built.config, target=Apart())
  built(examples, None)
  np.testing.assert_array_equal(*found['outputs'])
  built(examples, jax.random.key(0))
  assert not np.allclose(*found['outputs'])


def test_a_modality_drops_the_same_whatever_others_a_model_reads():
  """Keys go by the modalities of the run, not by those of the model."""
  key, examples = jax.random.key(3), batch()
  both, alone = (
    make(modalities=names, backbone=None) for names in (NAMES, ('physio',))
  )

  def tokens(model):
    built, seen = nnx.merge(model.graph, model.state), {}
    module = built.modalities['physio']

    class Watched(nnx.Module):
      def __call__(self, arrays, key):
        seen['found'] = module(arrays, key)
        return seen['found']

    built.modalities['physio'] = Watched()
    built(examples, key)
    return seen['found'].x

  np.testing.assert_array_equal(tokens(both), tokens(alone))


def test_encoder_inside_equals_its_features_from_outside():
  frames = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 32, 32, 3), np.uint8)
  model = make(backbone=ENCODER)
  examples = batch()
  video = nnx.merge(model.graph, model.state).modalities['video']
  features = video.encoder.features(frames.reshape(-1, 4, 32, 32, 3))
  inside, _ = model(examples | {'video/frames': frames})
  rest = nnx.to_pure_dict(model.state)
  del rest['modalities']['video']['encoder']
  outside = make()
  state = jax.tree.map(lambda x: x, outside.state)
  nnx.replace_by_pure_dict(state, rest)
  examples['video/tokens'] = np.asarray(features).reshape(2, 6, 12)
  np.testing.assert_allclose(inside, outside(examples, state=state)[0], atol=1e-5)


@pytest.mark.parametrize('fusion', [f for f in FUSIONS if not f.startswith('cross')])
def test_every_fusion_reads_both_modalities(fusion):
  one, other = batch(seed=0), batch(seed=1)
  model = make(fusion=fusion)
  logits, seen = model(one, want_attention=True)
  assert 'attention' not in seen
  for name in ('video/tokens', 'physio/values'):
    mixed = one | {name: other[name]}
    assert not np.allclose(model(mixed)[0], logits, atol=1e-6)


def test_swapped_cross_attention_reads_both_and_shows_video_over_physio():
  one, other = batch(seed=0), batch(seed=1)
  model = make(fusion='cross_swapped')
  logits, seen = model(one, want_attention=True)
  assert seen['attention'].shape == (2, 2, 2, 6, 8)
  for name in ('video/tokens', 'physio/values'):
    assert not np.allclose(model(one | {name: other[name]})[0], logits, atol=1e-6)


@pytest.mark.parametrize('fusion', FUSIONS)
def test_no_fusion_needs_a_face_or_a_sensor(fusion):
  examples = batch()
  examples['video/valid'][0] = False
  examples['physio/valid'][1] = False
  assert np.isfinite(make(fusion=fusion)(referred(examples))[0]).all()


def _without_gradient(model, examples):
  grads = jax.jit(jax.grad(lambda state: (model(examples, state=state)[0] ** 2).sum()))(
    model.state
  )
  return [
    jax.tree_util.keystr(path)
    for path, g in jax.tree_util.tree_leaves_with_path(grads)
    if not np.any(g)
  ]


def test_gradients_reach_every_parameter():
  frames = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 32, 32, 3), np.uint8)
  model = make(backbone=ENCODER)
  assert not _without_gradient(model, batch() | {'video/frames': frames})


@pytest.mark.parametrize('fusion', [f for f in FUSIONS if f != 'cross'])
def test_gradients_reach_every_parameter_of_the_other_fusions(fusion):
  assert not _without_gradient(make(fusion=fusion), batch())


def test_what_is_unknown_is_refused():
  with pytest.raises(ValueError, match="centre 'person' is none of onset, recording"):
    Video(centre='person')
  with pytest.raises(ValueError, match="fusion 'mean' is none of cross, cross_swapped"):
    ModelSizes(fusion='mean')
  with pytest.raises(ValueError, match='segments is 0'):
    ModelSizes(segments=0)
  with pytest.raises(InputError, match="modality 'audio' is none of physio, video"):
    find('audio')
  with pytest.raises(ValueError, match='widths end in 16, must end in model.width, 32'):
    PHYSIO.check(dataclasses.replace(SIZES, width=32))
  with pytest.raises(ValueError, match='3 heads do not divide the width 16'):
    dataclasses.replace(PHYSIO, heads=3).check(SIZES)


AT_TIMES = jax.jit(at_times)


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_outputs_between_tokens_are_interpolated(data):
  """As NumPy does it, over the valid tokens in the order of their times."""
  seed, shared = data.draw(st.integers(0, 2**32 - 1)), data.draw(st.booleans())
  order = data.draw(st.sampled_from(['sorted', 'shuffled']))
  rng = np.random.default_rng(seed)
  valid = np.stack([rng.permutation(7) < count for count in rng.integers(0, 8, 3)])
  own = np.stack([rng.permutation(200)[:7] / 20 for _ in range(1 if shared else 3)])
  if order == 'sorted':
    own = np.sort(own)
  own = own.astype(np.float32)
  x = rng.normal(size=(3, 7, 2)).astype(np.float32)
  junk = np.where(valid[..., None], x, np.float32(data.draw(st.sampled_from(_JUNK))))
  # Some are those of tokens.
  times = np.concatenate([rng.uniform(-2, 12, 6), own[0, :3]]).astype(np.float32)
  times = np.sort(times)
  tokens = Tokens(junk, valid, own[0] if shared else own)
  found = np.asarray(AT_TIMES(junk, tokens, times))
  for i, good in enumerate(valid):
    if not good.any():
      assert not found[i].any()
      continue
    at = own[0 if shared else i][good]
    line = np.argsort(at)
    for k in range(2):
      wanted = np.interp(times, at[line], x[i, good, k][line])
      np.testing.assert_allclose(found[i, :, k], wanted, rtol=1e-4, atol=1e-5)


_JUNK = [0.0, 1e30, np.nan, np.inf]


def test_one_valid_token_says_it_for_all_times():
  x = np.arange(8, dtype=np.float32).reshape(1, 4, 2)
  valid, times = np.array([[False, False, True, False]]), np.float32([3, 1, 2, 0])
  found = at_times(x, Tokens(x, valid, times), np.float32([0, 2, 5]))
  np.testing.assert_array_equal(found, [[[4, 5]] * 3])


def test_tokens_of_one_time_are_no_division_by_zero():
  x = np.float32([[[1], [3], [5]]])
  tokens = Tokens(x, np.ones((1, 3), bool), np.float32([1, 1, 2]))
  found = np.asarray(at_times(x, tokens, np.float32([0, 1, 1.5])))
  assert found[0, 0] in (1, 3) and found[0, 1] in (1, 3)
  assert 3 <= found[0, 2] <= 4


def test_gradients_reach_the_valid_tokens_alone():
  x = np.float32([[[1], [3], [np.nan], [5]]])
  valid, times = np.array([[True, True, False, False]]), np.float32([1, 2, 3, 4])
  grads = jax.grad(
    lambda x: at_times(x, Tokens(x, valid, times), np.float32([0, 1.5, 3])).sum()
  )(x)
  np.testing.assert_allclose(grads[0, :, 0], [1.5, 1.5, 0, 0])


@dataclasses.dataclass(frozen=True)
class _InTime:
  """What the model asks of a target in time."""

  level = 'frame'
  outputs = 1
  rate: float = 2.0

  def times(self, length):
    return np.arange(length) / self.rate


def test_as_many_moments_as_the_labels_have():
  """The examples of a batch may last less than the longest ones."""
  config = EmotionConfig(
    SIZES,
    (('video', VideoNetwork(Video(centre='nothing', depth=0), 12)),),
    _InTime(),
    NAMES,
    seconds=6.0,
  )
  model, examples = EmotionModel(config, rngs=nnx.Rngs(0)), batch(centre='nothing')
  found = model(examples)[0]
  fewer = model(examples | {'label': np.zeros((2, 5, 1), np.float32)})[0]
  assert found.shape == (2, 12, 1) and fewer.shape == (2, 5, 1)
  np.testing.assert_allclose(fewer, found[:, :5], atol=1e-6)


@pytest.mark.parametrize('fusion', [None, *FUSIONS])
def test_a_target_in_time_gets_outputs_at_its_times(fusion):
  """Padding changes none of them, and each hangs on the tokens around it."""
  names = NAMES if fusion else ('video',)
  networks = {
    'physio': PhysioNetwork(PHYSIO, channels=2, rate=16.0),
    'video': VideoNetwork(Video(centre='nothing', depth=0), 12),
  }
  config = EmotionConfig(
    dataclasses.replace(SIZES, fusion=fusion or 'cross'),
    tuple((name, networks[name]) for name in names),
    _InTime(),
    NAMES,
    seconds=6.0,
  )
  model = EmotionModel(config, rngs=nnx.Rngs(0))
  examples = batch(centre='nothing')
  run = nnx.jit(lambda model, examples: model(examples)[0])
  found = run(model, examples)
  assert found.shape == (2, 12, 1) and len(config.label_times) == 12
  assert np.ptp(np.asarray(found), axis=1).min() > 0  # not the same all the time
  np.testing.assert_allclose(run(model, lengthen(examples, 24, 50.0)), found, atol=1e-5)
  if fusion is None:  # frames 0 to 5, a second each
    later = dict(examples)
    later['video/tokens'] = examples['video/tokens'].copy()
    later['video/tokens'][:, 4:] += 1
    np.testing.assert_allclose(run(model, later)[:, :7], found[:, :7], atol=1e-6)
    assert not np.allclose(run(model, later)[:, 7], found[:, 7], atol=1e-3)
  nothing = {k: np.zeros_like(x) if x.dtype == bool else x for k, x in examples.items()}
  assert not run(model, nothing).any()
