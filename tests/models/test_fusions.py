"""The fusions against their formulas, written out in NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from mvp_jax.models.fusions import Joint, Pooled, Tokens, Vanilla
from scipy.special import expit, softmax

from mvp_jax.models.fusion import _mean_odds

_B, _L, _D = 2, 4, 6


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
  kernel, bias = module.out.kernel[...], module.out.bias[...]
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
  module = Joint(_D, _L, rngs=nnx.Rngs(0), dtype=jnp.float32)

  def attended(p, v, there, here):
    joint = np.concatenate([p, v], axis=1)
    found = []
    for x, weights in ((p, module.physio), (v, module.video)):
      w = {name: np.asarray(weight[...], float) for name, weight in weights.items()}
      c = np.tanh(x.T @ w['joint'] @ joint / np.sqrt(2 * _D))
      h = np.maximum(w['own'] @ x + w['correlated'] @ c.T, 0)
      found.append(w['back'].T @ h + x)
    return found

  (found,), _ = module(*pair)
  np.testing.assert_allclose(found, _through(module, *pair, attended), atol=1e-5)


def test_joint_has_the_parameters_of_jca():
  module = Joint(128, 8, rngs=nnx.Rngs(0), dtype=jnp.float32)
  count = sum(x.size for part in (module.physio, module.video) for x in part.values())
  assert count == 17_536  # of its attention, for 8 clips


def test_vanilla_weighs_each_modality_by_the_correlation(pair):
  module = Vanilla(_D, _L, rngs=nnx.Rngs(0), dtype=jnp.float32)

  def attended(p, v, there, here):
    z = p @ np.asarray(module.correlation[...], float) @ v.T
    over_p = softmax(np.where(there[:, None], z, -np.inf), axis=0)
    over_v = softmax(np.where(here[None], z, -np.inf).T, axis=0)
    return np.tanh(p + (p.T @ over_p).T), np.tanh(v + (v.T @ over_v).T)

  (found,), _ = module(*pair)
  np.testing.assert_allclose(found, _through(module, *pair, attended), atol=1e-5)


def test_pooled_means(pair):
  means = [np.stack([t.x[b][t.valid[b]].mean(0) for b in range(_B)]) for t in pair]
  for kind, wanted in [
    ('sum', [means[0] + means[1]]),
    ('late', means),
    ('concat_mid', [np.concatenate(means, axis=1)]),
  ]:
    module = Pooled(_D, kind)
    found, _ = module(*pair)
    assert module.widths == tuple(x.shape[1] for x in found)
    for a, b in zip(found, wanted, strict=True):
      np.testing.assert_allclose(a, b, atol=1e-6)


def test_late_fusion_averages_probabilities():
  one, other = np.random.default_rng(0).normal(scale=20, size=(2, 50, 2))
  found = _mean_odds([jnp.asarray(one, jnp.float32), jnp.asarray(other, jnp.float32)])
  np.testing.assert_allclose(
    expit(np.asarray(found, float)),
    (expit(one) + expit(other)) / 2,
    rtol=1e-4,
    atol=1e-7,
  )
