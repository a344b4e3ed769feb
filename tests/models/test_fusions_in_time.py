"""JCA's family in windows of clips, against PyTorch written from the equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mvp_jax.models import layers
from mvp_jax.models.emotion import ModelSizes
from mvp_jax.models.fusion import Tokens, find
from tests.models.test_fusions import Sizes

torch = pytest.importorskip('torch', reason='PyTorch is in the test extra of 3.11')

_L, _D, _CLIP = 8, 12, 1.25  # clips a window, width, seconds a clip
_SECONDS = 24.0  # two and a half windows
_CLIPS = 24  # of three whole windows
_FUSIONS = ('concat_segments', 'vanilla', 'joint', 'joint_recursive', 'joint_gated')
_NAMES = ('voice', 'face', 'skin')


def _make(fusion, names, seconds=_SECONDS, **changes):
  sizes = Sizes(
    fusion, width=_D, segments=_L, segment_seconds=_CLIP, seconds=seconds, **changes
  )

  def block(rngs, cross=False):
    return layers.Block(_D, 2, 12, rngs=rngs, dtype=jnp.float32, cross=cross)

  return find(fusion)(sizes, names, block, rngs=nnx.Rngs(0), dtype=jnp.float32)


def _examples(names, seed=0, batch=3):
  """Tokens at rates of their own, with gaps; the last one's first modality absent."""
  rng, found = np.random.default_rng(seed), {}
  for name, rate in zip(names, (4.0, 1.7, 0.9), strict=False):
    n = int(_SECONDS * rate)
    valid = rng.random((batch, n)) < 0.6
    times = (np.arange(n) + rng.uniform(0.1, 0.9, (batch, n))) / rate
    x = rng.normal(size=(batch, n, _D))
    found[name] = Tokens(x.astype(np.float32), valid, times.astype(np.float32))
  found[names[0]].valid[-1] = False
  found[names[-1]].valid[0, : len(found[names[-1]].valid[0]) // 2] = False
  return found


# --- In PyTorch


def _clips(tokens, b):
  """Means of clips [CLIPS, D], zero without any token; and which have one."""
  x, there = torch.zeros(_CLIPS, _D), torch.zeros(_CLIPS, dtype=torch.bool)
  for i in range(_CLIPS):
    here = tokens.valid[b] & (tokens.times[b] // _CLIP == i)
    if here.any():
      x[i], there[i] = torch.tensor(tokens.x[b][here]).mean(0), True
  return x, there


def _jca(xs, weights):
  """Joint cross-attention of [L, D] each, as in section 3.3 of the paper."""
  joint = torch.cat(xs, dim=1)
  found = []
  for x, w in zip(xs, weights, strict=True):
    correlation = torch.tanh(x.T @ w['joint'] @ joint / joint.shape[1] ** 0.5)
    assert correlation.shape == (_D, _D * len(xs))
    hidden = torch.relu(w['own'] @ x + w['correlated'] @ correlation.T)
    assert hidden.shape == (32, _D)
    found.append(w['back'].T @ hidden + x)
  return found


def _vanilla(xs, there, correlations):
  added = [[] for _ in xs]
  pairs = [(i, j) for i in range(len(xs)) for j in range(i + 1, len(xs))]
  for (i, j), w in zip(pairs, correlations, strict=True):
    z = xs[i] @ w @ xs[j].T
    for one, other, scores in ((i, j, z), (j, i, z.T)):
      if there[other].any():
        if there[one].any():
          weights = torch.softmax(scores.masked_fill(~there[one][:, None], -1e9), 0)
          added[one].append((xs[one].T @ weights).T)
        else:
          added[one].append(torch.zeros_like(xs[one]))
  return [
    torch.tanh(x + (sum(a) / len(a) if a else 0))
    for x, a in zip(xs, added, strict=True)
  ]


def _attended(fusion, module, xs, there):
  def dicts(layer):
    return [{k: _torch(w) for k, w in one.items()} for one in layer]

  if fusion == 'concat_segments':
    return xs
  if fusion == 'vanilla':
    return _vanilla(xs, there, [_torch(w) for w in module.correlations])
  if fusion == 'joint':
    return _jca(xs, dicts(module.weights))
  layers_of = [dicts(layer) for layer in (module.weights, *module.further)]
  assert len(layers_of) == 2
  for number, layer in enumerate(layers_of):
    new = _jca(xs, layer)
    if fusion == 'joint_gated':
      gates = [_torch(gate) for gate in module.gates[number]]
      for i, (x, y, gate) in enumerate(zip(xs, new, gates, strict=True)):
        share = torch.softmax((y @ gate) / 0.1, dim=1)
        new[i] = torch.relu(share[:, :1] * x + share[:, 1:] * y)
    xs = new
  return xs


def _torch(parameter):
  return torch.tensor(np.asarray(parameter[...]))


@pytest.mark.parametrize('count', [2, 3])
@pytest.mark.parametrize('fusion', _FUSIONS)
def test_windows_of_clips_are_as_in_pytorch(fusion, count):
  names = _NAMES[:count]
  module, tokens = _make(fusion, names), _examples(names)
  rng = np.random.default_rng(1)
  graph, state = nnx.split(module)
  state = jax.tree.map(
    lambda x: x + rng.normal(scale=0.1, size=x.shape).astype(np.float32), state
  )
  module = nnx.merge(graph, state)
  found = module(tokens)
  assert found.sequence.x.shape == (3, _CLIPS, _D)
  np.testing.assert_allclose(
    found.sequence.times, np.tile((np.arange(_CLIPS) + 0.5) * _CLIP, (3, 1)), rtol=1e-6
  )
  kernel, bias = _torch(module.out.kernel), _torch(module.out.bias)
  for b in range(3):
    clips, there = zip(*(_clips(tokens[name], b) for name in names), strict=True)
    for first in range(0, _CLIPS, _L):
      window = slice(first, first + _L)
      xs = _attended(
        fusion, module, [x[window] for x in clips], [x[window] for x in there]
      )
      wanted = torch.cat(xs, dim=1) @ kernel + bias
      valid = torch.stack(there).any(0)[window].numpy()
      np.testing.assert_array_equal(found.sequence.valid[b, window], valid)
      np.testing.assert_allclose(
        found.sequence.x[b, window][valid], wanted.numpy()[valid], atol=1e-5, rtol=1e-5
      )


@pytest.mark.parametrize('fusion', _FUSIONS)
def test_a_window_hangs_on_nothing_outside(fusion):
  """Also not on how long the recording goes on, nor on what it is padded to."""
  names = _NAMES[:2]
  tokens = _examples(names)
  found = _make(fusion, names)(tokens).sequence
  early = {
    name: t._replace(valid=t.valid & (t.times < _L * _CLIP))
    for name, t in tokens.items()
  }
  for other in (_make(fusion, names), _make(fusion, names, seconds=10.0)):
    alone = other(early).sequence
    assert not alone.valid[:, _L:].any()
    np.testing.assert_allclose(alone.x[:, :_L], found.x[:, :_L], atol=1e-6)


@pytest.mark.parametrize('fusion', _FUSIONS)
def test_what_came_by_attention_can_be_looked_at(fusion):
  names = _NAMES[:2]
  module, tokens = _make(fusion, names, segment_shifts=2), _examples(names)
  found = module(tokens, None, True)
  assert not module(tokens).seen
  if fusion == 'concat_segments':
    assert not found.seen  # there is no attention
    return
  shares, times = found.seen['shares'], found.seen['share_times']
  assert found.seen['share_names'].names == names
  assert shares.shape == (3, 2, _CLIPS) and times.shape == (3, _CLIPS)
  np.testing.assert_array_equal(times, found.sequence.times[:, :_CLIPS])
  for b in range(3):
    clips, there = zip(*(_clips(tokens[name], b) for name in names), strict=True)
    for first in range(0, _CLIPS, _L):
      window = slice(first, first + _L)
      xs, valid = ([x[window] for x in of] for of in (clips, there))
      wanted = _torch_shares(fusion, module, xs, valid)
      for share, one, own in zip(shares[b, :, window], wanted, valid, strict=True):
        own = own.numpy()
        assert np.isnan(share[~own]).all()
        np.testing.assert_allclose(share[own], one.detach().numpy()[own], atol=1e-5)
        assert ((share[own] >= 0) & (share[own] <= 1)).all()


def _torch_shares(fusion, module, xs, there):
  if fusion == 'joint_gated':
    shares = []
    for layer, gates in zip(
      (module.weights, *module.further), module.gates, strict=True
    ):
      weights = [{k: _torch(w) for k, w in one.items()} for one in layer]
      new = _jca(xs, weights)
      gated = [
        torch.softmax(y @ _torch(g) / 0.1, 1) for y, g in zip(new, gates, strict=True)
      ]
      xs = [
        torch.relu(s[:, :1] * x + s[:, 1:] * y)
        for s, x, y in zip(gated, xs, new, strict=True)
      ]
      shares.append([s[:, 1] for s in gated])
    return [sum(one) / 2 for one in zip(*shares, strict=True)]
  new = _attended(fusion, module, xs, there)
  if fusion == 'vanilla':  # before its tanh
    new = [torch.atanh(x.double().clamp(-1 + 1e-12, 1 - 1e-12)).float() for x in new]
  added = [(y - x).norm(dim=1) for x, y in zip(xs, new, strict=True)]
  return [a / (x.norm(dim=1) + a) for x, a in zip(xs, added, strict=True)]


@pytest.mark.parametrize('fusion', _FUSIONS)
def test_at_test_every_frame_is_the_end_of_one_clip(fusion):
  """Each laying is what an unshifted one makes of tokens that come later."""
  names, shifts = _NAMES[:2], 5
  tokens = _examples(names)
  shifted = _make(fusion, names, segment_shifts=shifts)
  found = shifted(tokens).sequence
  clips = found.x.shape[1] // shifts
  for i in range(shifts):
    early = _CLIP * i / shifts
    later = {name: t._replace(times=t.times + early) for name, t in tokens.items()}
    wanted = _make(fusion, names, seconds=_SECONDS + _CLIP)(later).sequence
    own = slice(i * clips, (i + 1) * clips)
    np.testing.assert_array_equal(found.valid[:, own], wanted.valid)
    np.testing.assert_allclose(found.x[:, own], wanted.x, atol=1e-5)
    np.testing.assert_allclose(found.times[:, own], wanted.times - early, atol=1e-5)
  rate = shifts / _CLIP  # of labels
  ends = (np.asarray(found.times[0]) + _CLIP / 2) * rate
  np.testing.assert_allclose(ends, ends.round(), atol=1e-3)
  inside = ends.round()[(ends > 0.5) & (ends < _SECONDS * rate + 0.5)]
  assert sorted(inside) == list(range(1, round(_SECONDS * rate) + 1))


@pytest.mark.parametrize('fusion', _FUSIONS)
def test_in_training_segments_lie_once_and_anywhere(fusion):
  names = _NAMES[:2]
  tokens = _examples(names)
  shifted = _make(fusion, names, segment_shifts=5)
  found = shifted(tokens, jax.random.key(0)).sequence
  early = _CLIP / 2 - np.asarray(found.times)[:, :1]
  assert ((early >= 0) & (early < _L * _CLIP)).all() and len(set(early.flat)) == 3
  later = {
    name: t._replace(times=np.asarray(t.times) + early) for name, t in tokens.items()
  }
  wanted = _make(fusion, names, seconds=_SECONDS + _L * _CLIP)(later).sequence
  np.testing.assert_array_equal(found.valid, wanted.valid)
  np.testing.assert_allclose(found.x, wanted.x, atol=1e-5)
  np.testing.assert_allclose(found.times, wanted.times - early, atol=1e-5)
  again = shifted(tokens, jax.random.key(1)).sequence
  assert np.abs(np.asarray(again.times) - found.times).min() > 0


@pytest.mark.parametrize('clips, count', [(8, 181_889), (16, 183_297)])
def test_jca_has_the_parameters_of_the_paper(clips, count):
  """With its two linear layers on 512 features, and a head of two."""
  sizes = Sizes('joint', width=128, segments=clips, segment_seconds=1.0, seconds=60.0)
  module = find('joint')(sizes, _NAMES[:2], None, rngs=nnx.Rngs(0), dtype=jnp.float32)
  own = sum(x.size for x in jax.tree.leaves(nnx.state(module)))
  assert own + 2 * (512 * 128 + 128) + 128 + 1 == count


def test_once_is_joint_cross_attention():
  names, tokens = _NAMES[:2], _examples(_NAMES[:2])
  once = _make('joint_recursive', names, depth=1)(tokens)
  np.testing.assert_array_equal(
    once.sequence.x, _make('joint', names)(tokens).sequence.x
  )


def test_lengths_that_cannot_be():
  with pytest.raises(ValueError, match='nobody says how long examples last'):
    _make('joint', _NAMES[:2], seconds=0.0)
  with pytest.raises(ValueError, match='segment_seconds is -1'):
    ModelSizes(segment_seconds=-1.0)
  with pytest.raises(ValueError, match='segment_shifts is 0, must be at least 1'):
    ModelSizes(segment_shifts=0)
  with pytest.raises(ValueError, match='a trial is one window .* set segment_seconds'):
    ModelSizes(segment_shifts=8)
