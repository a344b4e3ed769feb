"""One minus the concordance as a loss: values, slopes, merging, far-off ratings."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mvp_jax.targets.discordance import Discordance


def _closed_form(x, y, weight):
  """1 - CCC of float64 arrays [n]."""
  w = weight / weight.sum()
  mean_x, mean_y = (w * x).sum(), (w * y).sum()
  covariance = (w * (x - mean_x) * (y - mean_y)).sum()
  spread = (w * ((x - mean_x) ** 2 + (y - mean_y) ** 2)).sum()
  return 1 - 2 * covariance / (spread + (mean_x - mean_y) ** 2)


def _drawn(seed=0, shape=(6, 50, 2), middle=0.0):
  rng = np.random.default_rng(seed)
  y = rng.normal(middle, 0.3, shape)
  x = 0.6 * (y - middle) + middle + rng.normal(0.05, 0.2, shape)
  weight = rng.choice([0, 1, 1, 2.5], shape)
  return [z.astype(np.float32) for z in (x, y, weight)]


def _wanted(x, y, weight):
  each = [
    _closed_form(*(z[..., k].ravel().astype(float) for z in (x, y, weight)))
    for k in range(x.shape[-1])
  ]
  return np.mean(each)


@pytest.mark.parametrize('middle', [0, 5, -300])
def test_it_is_the_closed_form_also_far_from_zero(middle):
  drawn = _drawn(middle=middle)
  found = Discordance.of(*drawn).compute()
  tolerance = 1e-6 if abs(middle) < 10 else 1e-4
  np.testing.assert_allclose(found, _wanted(*drawn), rtol=tolerance)


@pytest.mark.parametrize('middle', [0, 5])
def test_merged_parts_are_the_whole_also_empty_ones(middle):
  x, y, weight = _drawn(1, middle=middle)
  weight[2] = 0
  weight[4, :, 1] = 0
  parts = [Discordance.of(x[i], y[i], weight[i]) for i in range(len(x))]
  nothing = jax.tree.map(jnp.zeros_like, parts[0])
  found = functools.reduce(lambda a, b: a.merge(b), parts, nothing)
  whole = Discordance.of(x, y, weight)
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(whole), strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)
  np.testing.assert_allclose(found.compute(), _wanted(x, y, weight), rtol=2e-6)


def test_what_has_no_weight_is_nothing_whatever_it_is():
  x, y, weight = _drawn(2)
  spoilt = np.where(weight > 0, y, np.nan).astype(np.float32)
  assert (
    Discordance.of(x, spoilt, weight).compute()
    == Discordance.of(x, y, weight).compute()
  )
  weight[..., 1] = 0  # a rating that is never given does not count
  one = Discordance.of(x[..., :1], y[..., :1], weight[..., :1])
  np.testing.assert_allclose(Discordance.of(x, y, weight).compute(), one.compute())


def test_weights_of_moments_are_those_of_each_rating():
  x, y, weight = _drawn(3)
  each = np.repeat(weight[..., :1], 2, axis=-1)
  assert Discordance.of(x, y, weight[..., 0]).compute() == pytest.approx(
    float(Discordance.of(x, y, each).compute())
  )


@pytest.mark.parametrize(
  'x, y, wanted',
  [
    ([1, 1, 1], [1, 1, 1], 0.0),  # nothing to tell
    ([0, 0, 0], [1, 1, 1], 1.0),
    ([0, 0, 0], [0, 1, 2], 1.0),
    ([0, 1, 2], [0, 1, 2], 0.0),
    ([2, 1, 0], [0, 1, 2], 2.0),
  ],
)
def test_values_that_never_change_have_finite_slopes(x, y, wanted):
  x, y = (np.array(z, np.float32)[:, None] for z in (x, y))

  def loss(x, weight):
    return Discordance.of(x, y, weight).compute()

  assert loss(x, jnp.ones(3)) == pytest.approx(wanted, abs=1e-6)
  for weight in (np.ones(3, np.float32), np.zeros(3, np.float32)):
    assert np.isfinite(jax.grad(loss)(x, weight)).all()
  assert loss(x, jnp.zeros(3)) == 0
