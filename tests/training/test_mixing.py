"""Mixup and CutMix against timm's formulas, written out in NumPy."""

import jax
import numpy as np
import pytest

from mvp_jax.training.mixing import box, mix
from mvp_jax.training.sharding import MeshConfig, batch_sharding, make_mesh
from mvp_jax.training.tasks import Regularisation

_H, _W = 12, 16


@pytest.fixture
def batch():
  rng = np.random.default_rng(0)
  return (rng.random((6, 2, _H, _W, 3), np.float32), rng.random((6, 2), np.float32))


@pytest.fixture(scope='module')
def mixed():
  """Function of (batch, seed, options): what comes of it."""
  run = jax.jit(mix, static_argnums=3)
  return lambda batch, seed, **fields: jax.device_get(
    run(*batch, jax.random.key(seed), Regularisation(**fields))
  )


def _own_share(label, found):
  """The share of a clip's own label in the mixed one."""
  other = label[::-1]
  return ((found - other) / (label - other)).mean()


def test_mixup(batch, mixed):
  frames, label = batch
  shares = []
  for seed in range(200):
    found, found_label = mixed(batch, seed, cutmix=0.0)
    share = _own_share(label, found_label)
    shares.append(share)
    np.testing.assert_allclose(
      found, share * frames + (1 - share) * frames[::-1], atol=1e-4
    )
    np.testing.assert_allclose(
      found_label, share * label + (1 - share) * label[::-1], atol=1e-4
    )
  # Beta(.8, .8): mean 1/2, variance 1 / (4 * 2.6).
  assert np.mean(shares) == pytest.approx(0.5, abs=0.07)
  assert np.var(shares) == pytest.approx(1 / 10.4, abs=0.02)


def test_cutmix(batch, mixed):
  frames, label = batch
  shares = []
  for seed in range(50):
    found, found_label = mixed(batch, seed, mixup=0.0)
    other = (found == frames[::-1]).all((0, 1, 4))
    assert ((found == frames).all((0, 1, 4)) | other).all()
    rows, columns = other.any(1), other.any(0)
    assert other.sum() == rows.sum() * columns.sum()  # one box, in all frames
    share = 1 - other.mean()  # of what is left, not of what was drawn
    shares.append(share)
    np.testing.assert_allclose(
      found_label, share * label + (1 - share) * label[::-1], atol=1e-5
    )
  assert np.ptp(shares) > 0.5


@pytest.mark.parametrize('kept', [0.0, 0.3, 0.75, 1.0])
def test_a_box_is_that_of_timm(kept):
  hole = jax.jit(box, static_argnums=(2, 3))
  high, wide = (int(n * np.sqrt(1 - kept)) // 2 for n in (_H, _W))
  boxes = {
    (max(y - high, 0), min(y + high, _H), max(x - wide, 0), min(x + wide, _W))
    for y in range(_H)
    for x in range(_W)
  }
  found = set()
  for seed in range(100):
    inside = np.asarray(hole(jax.random.key(seed), np.float32(kept), _H, _W)) == 1
    if not high or not wide:
      assert not inside.any()
      continue
    (top, *_, bottom), (left, *_, right) = (
      np.flatnonzero(inside.any(axis))[[0, -1]] for axis in (1, 0)
    )
    found.add((top, bottom + 1, left, right + 1))
  assert found <= boxes
  assert not high or len(found) > 30 or kept == 0


def test_one_or_the_other_as_often_as_configured(batch, mixed):
  frames, _ = batch
  kinds = []
  for seed in range(200):
    found, label = mixed(batch, seed, mix_probability=0.8, cutmix_share=0.25)
    same = (found == frames).mean()
    kinds.append(
      'none'
      if same == 1 and np.allclose(label, batch[1])
      else 'mixup'
      if same < 0.01
      else 'cutmix'
    )
  # 200 draws; a cut may be empty, and then counts as none.
  assert kinds.count('mixup') == pytest.approx(120, abs=25)
  assert kinds.count('cutmix') == pytest.approx(40, abs=20)


def test_without_either_nothing_is_mixed(batch, mixed):
  found, label = mixed(batch, 0, mixup=0.0, cutmix=0.0)
  np.testing.assert_array_equal(found, batch[0])
  np.testing.assert_array_equal(label, batch[1])


def test_the_batch_mixed_is_that_of_all_devices(batch, mixed):
  mesh = make_mesh(MeshConfig(data=2), jax.devices()[:2])
  spread = jax.device_put(batch, batch_sharding(mesh))
  for name, x in enumerate(mixed(spread, 3)):
    np.testing.assert_allclose(x, mixed(batch, 3)[name], rtol=1e-6)
