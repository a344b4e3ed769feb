"""The fusions: their formulas in NumPy, what never changes, what is missing."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from mvp_jax.models import layers
from mvp_jax.models.fusion import FUSIONS, Sides, Tokens, find, register
from mvp_jax.targets import Binary

_B, _L, _D = 2, 4, 6
_NAMES = ('voice', 'face', 'heart', 'skin')
_LENGTHS = dict(zip(_NAMES, (5, 4, 6, 3), strict=True))
_FAMILIES = ('cross', 'cross_swapped', 'concat_early', 'concat_mid', 'sum', 'late')
_FAMILIES += (
  'cross_near',
  'concat_segments',
  'vanilla',
  'joint',
  'joint_recursive',
  'joint_gated',
)


@dataclasses.dataclass(frozen=True)
class Sizes:
  fusion: str
  width: int = _D
  depth: int = 2
  segments: int = _L
  segment_seconds: float = 0.0
  segment_shifts: int = 1
  seconds: float = 0.0
  remat: str = 'none'


def _make(fusion, names, **changes):
  sizes = Sizes(fusion, **changes)

  def block(rngs, cross=False):
    return layers.Block(
      sizes.width, 2, 12, rngs=rngs, dtype=jnp.float32, dropout=0.5, cross=cross
    )

  return find(fusion)(sizes, names, block, rngs=nnx.Rngs(0), dtype=jnp.float32)


@functools.cache
def _compiled(fusion, names):
  """The fusion as a function, with no parameter at zero: biases are learnt too."""
  graph, state = nnx.split(_make(fusion, names))
  rng = np.random.default_rng(0)
  state = jax.tree.map(
    lambda x: x + rng.normal(scale=0.1, size=x.shape).astype(np.float32), state
  )
  run = jax.jit(lambda tokens: nnx.merge(graph, state)(tokens, None, True))
  return lambda tokens: jax.device_get(run(tokens))


def _examples(names, batch, seed, present=None):
  """Tokens of all modalities, any valid or not; of those present any number is."""
  rng = np.random.default_rng(seed)
  tokens = {}
  for name in names:
    n = _LENGTHS[name]
    valid = rng.random((batch, n)) < 0.6
    if present is not None:
      valid[:, 0] = True
      valid &= np.array(present[name])[:, None]
    tokens[name] = Tokens(
      rng.normal(size=(batch, n, _D)).astype(np.float32),
      valid,
      rng.uniform(0, 9, (batch, n)).astype(np.float32),
    )
  return tokens


def _same(one, other, exact=True):
  """Asserts that two results agree, in what is valid of the sequences."""
  tolerance = {'rtol': 0, 'atol': 0} if exact else {'rtol': 1e-4, 'atol': 1e-5}
  for a, b in zip(one.pooled, other.pooled, strict=True):
    np.testing.assert_allclose(a, b, **tolerance)
  np.testing.assert_array_equal(one.present, other.present)
  for a, b in zip(one.sequence.valid, other.sequence.valid, strict=True):
    assert a.sum() == b.sum()
  for field in ('x', 'times'):
    a, b = (getattr(r.sequence, field)[r.sequence.valid] for r in (one, other))
    np.testing.assert_allclose(a, b, **tolerance)


_PAIR = ('physio', 'video')


def _named(pair):
  return dict(zip(_PAIR, pair, strict=True))


def _tokens(seed, tokens=8, seconds=8.0):
  rng = np.random.default_rng(seed)
  return Tokens(
    rng.normal(size=(_B, tokens, _D)).astype(np.float32),
    np.ones((_B, tokens), bool),
    np.linspace(0, seconds, tokens, dtype=np.float32),
  )


def _segments(tokens, end):
  """Means over equal spans, one trial after another."""
  means, there = np.zeros((_B, _L, _D)), np.zeros((_B, _L), bool)
  times = np.broadcast_to(tokens.times, tokens.valid.shape)
  for b in range(_B):
    place = np.minimum(np.floor(times[b] / end[b] * _L), _L - 1)
    for i in range(_L):
      here = tokens.valid[b] & (place == i)
      there[b, i] = here.any()
      if there[b, i]:
        means[b, i] = tokens.x[b][here].mean(0)
  return means, there


def _through(module, physio, video, attended):
  """What `_Segments` gives, with `attended` in NumPy."""
  end = [max(t.times[t.valid[b]].max() for t in (physio, video)) for b in range(_B)]
  (p, there), (v, here) = _segments(physio, end), _segments(video, end)
  kernel, bias = (np.asarray(x[...]) for x in (module.out.kernel, module.out.bias))
  pooled = []
  for b in range(_B):
    both = np.concatenate(attended(p[b], v[b], there[b], here[b]), axis=1)
    pooled.append((both @ kernel + bias)[there[b] | here[b]].mean(0))
  return np.stack(pooled)


@pytest.fixture
def pair():
  physio, video = _tokens(0), _tokens(1, tokens=5, seconds=7.0)
  physio.valid[0, 6:] = False  # a trial that ends early
  video.valid[1, 1:4] = False  # and one with segments without a face
  return physio, video


def test_joint_is_the_formula_of_jca(pair):
  module = _make('joint', _PAIR)

  def attended(p, v, there, here):
    joint = np.concatenate([p, v], axis=1)
    found = []
    for x, weights in zip((p, v), module.weights, strict=True):
      w = {name: np.asarray(weight[...], float) for name, weight in weights.items()}
      c = np.tanh(x.T @ w['joint'] @ joint / np.sqrt(2 * _D))
      h = np.maximum(w['own'] @ x + w['correlated'] @ c.T, 0)
      found.append(w['back'].T @ h + x)
    return found

  (found,) = module(_named(pair)).pooled
  np.testing.assert_allclose(found, _through(module, *pair, attended), atol=1e-5)


def test_joint_has_the_parameters_of_jca():
  module = _make('joint', _PAIR, width=128, segments=8)
  count = sum(x.size for part in module.weights for x in part.values())
  assert count == 17_536  # of its attention, for 8 clips


def test_vanilla_weighs_each_modality_by_the_correlation(pair):
  module = _make('vanilla', _PAIR)

  def attended(p, v, there, here):
    z = p @ np.asarray(module.correlations[0][...], float) @ v.T
    over_p = softmax(np.where(there[:, None], z, -np.inf), axis=0)
    over_v = softmax(np.where(here[None], z, -np.inf).T, axis=0)
    return np.tanh(p + (p.T @ over_p).T), np.tanh(v + (v.T @ over_v).T)

  (found,) = module(_named(pair)).pooled
  np.testing.assert_allclose(found, _through(module, *pair, attended), atol=1e-5)


def test_pooled_means(pair):
  means = [np.stack([t.x[b][t.valid[b]].mean(0) for b in range(_B)]) for t in pair]
  for kind, wanted in [
    ('sum', [means[0] + means[1]]),
    ('late', means),
    ('concat_mid', [np.concatenate(means, axis=1)]),
  ]:
    module = _make(kind, _PAIR)
    found = module(_named(pair)).pooled
    assert module.widths == tuple(x.shape[1] for x in found)
    for a, b in zip(found, wanted, strict=True):
      np.testing.assert_allclose(a, b, atol=1e-6)


def test_near_weighs_content_and_distance_in_time():
  """softmax(q k / sqrt(K) - ((t - s - lag) / reach)^2 / 2), each head its own."""
  tokens = _examples(_NAMES[:2], 2, 0, dict.fromkeys(_NAMES[:2], [True, True]))
  graph, state = nnx.split(_make('cross_near', _NAMES[:2], depth=1))
  rng = np.random.default_rng(0)
  state = jax.tree.map(lambda x: x + rng.normal(0, 0.3, x.shape).astype('f'), state)
  module = nnx.merge(graph, state)
  weights = np.asarray(module(tokens, None, True).seen['attention'])[0]

  query, context = (tokens[name] for name in _NAMES[:2])
  block = jax.tree.map(lambda x: np.asarray(x)[0], nnx.to_pure_dict(state))['stack']
  block = block['blocks']

  def normed(t, norm):
    x = t.x - t.x.mean(-1, keepdims=True)
    return x / np.sqrt(t.x.var(-1, keepdims=True) + 1e-6) * norm['scale'] + norm['bias']

  def heads(x, layer):
    y = x @ layer['kernel'] + layer.get('bias', 0)
    return y.reshape(2, -1, 2, _D // 2).swapaxes(1, 2)

  q = heads(normed(query, block['norm1']), block['attention']['query'])
  k = heads(normed(context, block['norm_context']), block['attention']['key'])
  lag, reach = np.asarray(module.lag[...]), np.exp(np.asarray(module.log_reach[...]))
  gaps = query.times[:, None, :, None] - context.times[:, None, None, :]
  late = (gaps - lag[:, None, None]) / reach[:, None, None]
  scores = q @ k.swapaxes(-1, -2) / np.sqrt(_D // 2) - late**2 / 2
  wanted = softmax(np.where(context.valid[:, None, None], scores, -np.inf), -1)
  asks = np.broadcast_to(query.valid[:, None], weights.shape[:3])
  np.testing.assert_allclose(weights[asks], wanted[asks], atol=1e-5)


def test_who_is_absent_asks_at_no_time():
  names = _NAMES[:2]
  tokens = _examples(names, 2, 0, {names[0]: [False, False], names[1]: [True, True]})
  face = tokens[names[1]]
  later = tokens | {names[1]: face._replace(times=2 * face.times + 7)}
  run = _compiled('cross_near', names)
  np.testing.assert_array_equal(run(tokens).pooled[0], run(later).pooled[0])


def test_near_starts_with_heads_that_see_their_second_and_heads_that_see_all():
  module = _make('cross_near', _NAMES[:2])
  np.testing.assert_allclose(np.exp(module.log_reach[...]), [1, 3], rtol=1e-6)
  np.testing.assert_array_equal(module.lag[...], 0)


def test_late_fusion_averages_probabilities():
  one, other = np.random.default_rng(0).normal(scale=20, size=(2, 50, 2))
  found = Binary().combine(
    [jnp.asarray(one, jnp.float32), jnp.asarray(other, jnp.float32)]
  )
  np.testing.assert_allclose(
    expit(np.asarray(found, float)),
    (expit(one) + expit(other)) / 2,
    rtol=1e-4,
    atol=1e-7,
  )


def test_late_fusion_leaves_absent_heads_out():
  one, other = (jnp.full((3, 2), x, jnp.float32) for x in (1.5, -40.0))
  present = [jnp.array([True, True, False]), jnp.array([True, False, True])]
  found = Binary().combine([one, other], present)
  np.testing.assert_allclose(found[0], Binary().combine([one, other])[0])
  np.testing.assert_allclose(found[1:, 0], [1.5, -40], rtol=1e-6)


_WITH_COUNTS = pytest.mark.parametrize('count', [1, 2, 3, 4])
_WITH_FUSIONS = pytest.mark.parametrize('fusion', _FAMILIES)
_MASKS = st.lists(
  st.lists(st.booleans(), min_size=3, max_size=3), min_size=4, max_size=4
)


def test_all_fusions_are_tested():
  assert sorted(_FAMILIES) == sorted(FUSIONS)


@_WITH_COUNTS
@_WITH_FUSIONS
@settings(max_examples=8, deadline=None)
@given(
  present=_MASKS,
  seed=st.integers(0, 99),
  junk=st.sampled_from([0, 1e30, np.inf, np.nan]),
  order=st.permutations(range(3)),
)
def test_what_is_invalid_and_the_order_never_matter(
  fusion, count, present, seed, junk, order
):
  names = _NAMES[:count]
  run = _compiled(fusion, names)
  present = dict(zip(_NAMES, present, strict=True))
  tokens = _examples(names, 3, seed, present)
  found = run(tokens)
  assert all(np.isfinite(x).all() for x in found.pooled)
  assert np.isfinite(found.sequence.x[found.sequence.valid]).all()
  anything = np.any([present[name] for name in names], axis=0)
  np.testing.assert_array_equal(found.sequence.valid.any(1), anything)
  for x in found.pooled:
    assert not x[~anything].any()

  spoilt = {
    name: Tokens(
      np.where(t.valid[..., None], t.x, np.float32(junk)),
      t.valid,
      np.where(t.valid, t.times, np.float32(junk)),
    )
    for name, t in tokens.items()
  }
  _same(run(spoilt), found)

  order = np.array(order)
  permuted = run(jax.tree.map(lambda x: x[order], tokens))
  everywhere = jax.tree.map(lambda x: x[order], (found.pooled, found.sequence))
  heads = found.present and [x[order] for x in found.present]
  _same(
    permuted,
    found._replace(pooled=everywhere[0], sequence=everywhere[1], present=heads),
    exact=False,
  )


@_WITH_FUSIONS
@settings(max_examples=5, deadline=None)
@given(present=_MASKS, seed=st.integers(0, 99))
def test_padding_changes_nothing(fusion, present, seed):
  names = _NAMES[:3]
  run = _compiled(fusion, names)
  tokens = _examples(names, 3, seed, dict(zip(_NAMES, present, strict=True)))
  longer = {
    name: Tokens(
      np.pad(t.x, ((0, 0), (0, 3), (0, 0)), constant_values=7),
      np.pad(t.valid, ((0, 0), (0, 3))),
      np.pad(t.times, ((0, 0), (0, 3)), constant_values=50),
    )
    for name, t in tokens.items()
  }
  _same(run(longer), run(tokens), exact=False)


@_WITH_FUSIONS
def test_every_modality_counts_also_without_the_others(fusion):
  names = _NAMES[:3]
  run = _compiled(fusion, names)
  for alone in names:
    present = {name: [name == alone] * 3 for name in names}
    one, other = (_examples(names, 3, seed, present) for seed in (0, 1))
    other[alone] = other[alone]._replace(valid=one[alone].valid, times=one[alone].times)
    a, b = run(one), run(other)
    _differ(a.sequence.x[a.sequence.valid], b.sequence.x[b.sequence.valid])
    moved = [
      not np.allclose(x, y, atol=1e-3) for x, y in zip(a.pooled, b.pooled, strict=True)
    ]
    assert any(moved)
    if a.present is not None:
      np.testing.assert_array_equal(np.array(a.present).any(1), moved)


def _differ(a, b):
  assert a.shape == b.shape and len(a) and not np.allclose(a, b, atol=1e-3)


@pytest.mark.parametrize(
  'fusion, query, keys',
  [
    ('cross', 'voice', ('face', 'heart')),
    ('cross_swapped', 'heart', ('voice', 'face')),
    ('cross_near', 'voice', ('face', 'heart')),
  ],
)
def test_cross_attention_says_who_asks_whom(fusion, query, keys):
  tokens = _examples(_NAMES[:3], 2, 0, {name: [True, True] for name in _NAMES})
  tokens[query].valid[1] = False
  tokens[keys[0]].valid[0] = False
  seen = _compiled(fusion, _NAMES[:3])(tokens).seen
  lengths = tuple(_LENGTHS[name] for name in keys)
  assert seen['sides'] == Sides(query, keys, lengths)
  weights = seen['attention']
  assert weights.shape == (2, 2, 2, _LENGTHS[query], sum(lengths))
  assert not weights[..., 0, :, :, : lengths[0]][:, 0].any()
  np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
  np.testing.assert_array_equal(seen['query_valid'], tokens[query].valid)
  for field in ('valid', 'times'):
    together = np.concatenate([getattr(tokens[name], field) for name in keys], axis=1)
    np.testing.assert_array_equal(seen[f'key_{field}'], together)


@pytest.mark.parametrize('fusion', ['cross', 'cross_swapped', 'cross_near'])
def test_cross_attention_without_a_context_is_as_if_weights_were_zero(fusion):
  names = _NAMES[:2]
  query, context = names[::-1] if fusion == 'cross_swapped' else names
  tokens = _examples(names, 2, 0, {query: [True, True], context: [True, False]})
  found = _compiled(fusion, names)(tokens)
  assert not found.seen['attention'][:, 1].any()
  assert np.isfinite(found.pooled[0]).all() and found.pooled[0][1].any()


@pytest.mark.parametrize('fusion', ['cross', 'cross_swapped'])
def test_the_mean_of_the_context_asks_where_the_query_is_absent(fusion):
  names = _NAMES[:2]
  query, context = names[::-1] if fusion == 'cross_swapped' else names
  tokens = _examples(names, 2, 0, {query: [False, False], context: [True, True]})
  found = _compiled(fusion, names)(tokens)
  t = tokens[context]
  mean = (t.x * t.valid[..., None]).sum(1) / t.valid.sum(1)[:, None]
  asking = Tokens(mean[:, None], np.ones((2, 1), bool), np.zeros((2, 1), np.float32))
  asked = _compiled(fusion, names)(tokens | {query: asking})
  np.testing.assert_allclose(found.pooled[0], asked.pooled[0], atol=1e-5)
  sequence = found.sequence
  assert not sequence.valid[:, : _LENGTHS[query]].any()
  weights = sequence.valid[..., None] / sequence.valid.sum(1)[:, None, None]
  np.testing.assert_allclose((sequence.x * weights).sum(1), found.pooled[0], atol=1e-5)


_FIRST_AND_LAST = {  # two numbers each, of when a fusion took two modalities only
  'cross': (-0.192206, 0.808586, -1.589011, 1.044622),
  'cross_swapped': (-0.791152, 0.627587, 0.235489, -2.343555),
  'concat_early': (-0.218319, 1.205575, -0.478904, -0.182999),
  'concat_mid': (-0.098303, 0.253922, -0.301023, 0.174582),
  'sum': (-0.982482, 0.072647, -0.594959, 0.547626),
  'late': (-0.098303, 0.253922, -0.301023, 0.174582),
  'vanilla': (0.612434, 0.666047, 0.960499, 0.234045),
  'joint': (0.381722, 0.518461, 0.083279, -0.406265),
  # Since they are there:
  'cross_near': (0.058741, 0.252948, -1.838034, 0.682829),
  'concat_segments': (0.500043, 0.455827, 0.418171, -0.155842),
  'joint_recursive': (0.539937, 0.440485, -0.204314, -0.529765),
  'joint_gated': (0.624911, 0.083059, 0.407222, 0.006261),
}


@_WITH_FUSIONS
def test_a_seed_gives_the_numbers_that_it_always_gave(pair, fusion):
  found = np.concatenate(_make(fusion, _PAIR)(_named(pair)).pooled, axis=-1)
  ends = [*found[0, :2], *found[1, -2:]]
  np.testing.assert_allclose(ends, _FIRST_AND_LAST[fusion], atol=1e-5)


def test_segments_lie_at_the_centres_of_their_spans(pair):
  found = _make('joint', _PAIR)(_named(pair))
  x, valid, times = (np.asarray(array) for array in found.sequence)
  end = max(t.times[t.valid[0]].max() for t in pair)
  np.testing.assert_allclose(times[0], (np.arange(_L) + 0.5) * end / _L)
  means = (x * valid[..., None]).sum(1) / valid.sum(1)[:, None]
  np.testing.assert_allclose(means, found.pooled[0], atol=1e-6)


def test_vanilla_with_one_of_two_absent_adds_nothing(pair):
  physio, video = pair
  module = _make('vanilla', _PAIR)
  video.valid[:] = False
  found = module(_named(pair)).pooled[0]
  end = [physio.times[physio.valid[b]].max() for b in range(_B)]
  means, there = _segments(physio, end)
  both = np.concatenate([np.tanh(means), np.zeros_like(means)], axis=-1)
  out = both @ np.asarray(module.out.kernel[...]) + np.asarray(module.out.bias[...])
  wanted = [out[b][there[b]].mean(0) for b in range(_B)]
  np.testing.assert_allclose(found, wanted, atol=1e-5)


@_WITH_FUSIONS
def test_gradients_are_finite_where_modalities_are_absent(fusion):
  names = _NAMES[:3]
  graph, state = nnx.split(_make(fusion, names))
  present = {'voice': [False, True, False], 'face': [True, False, False]}
  tokens = _examples(names, 3, 0, present | {'heart': [True, True, False]})
  inputs = {name: t.x for name, t in tokens.items()}

  @jax.jit
  @functools.partial(jax.grad, argnums=(0, 1))
  def gradients(state, inputs):
    given = {name: t._replace(x=inputs[name]) for name, t in tokens.items()}
    fused = nnx.merge(graph, state)(given, jax.random.key(0))
    x = jnp.where(fused.sequence.valid[..., None], fused.sequence.x, 0)
    return sum((y**2).sum() for y in (*fused.pooled, x))

  for x in jax.tree.leaves(gradients(state, inputs)):
    assert np.isfinite(x).all()


def test_a_new_fusion_is_a_class_and_a_line():
  @register('first_alone')
  class First(find('sum')):
    def _pool(self, means):
      return means[:1]

  try:
    tokens = _examples(_NAMES[:2], 2, 0)
    (found,) = _make('first_alone', _NAMES[:2])(tokens).pooled
    assert found.shape == (2, _D)
  finally:
    del FUSIONS['first_alone']
  with pytest.raises(ValueError, match="fusion 'first_alone' is none of cross, "):
    find('first_alone')
