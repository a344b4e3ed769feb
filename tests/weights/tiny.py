"""A tiny VideoMAE with random parameters, and clips for it."""

import functools

import jax
import numpy as np
from flax import nnx

from mvp_jax.models import videomae

TINY = videomae.VideoMAEConfig(
  width=48,
  depth=2,
  heads=4,
  mlp_width=96,
  decoder_width=24,
  decoder_depth=2,
  decoder_heads=2,
  frames=4,
  size=48,
  tubelet=2,
  patch=16,
)
OUTPUTS = 3


def pretraining(rngs, config=TINY):
  return videomae.VideoMAE(config, rngs=rngs)


def classifier(rngs, config=TINY, outputs=OUTPUTS):
  return videomae.VideoClassifier(config, outputs, rngs=rngs)


@functools.cache
def abstract(make):
  return nnx.to_pure_dict(nnx.state(nnx.eval_shape(lambda: make(nnx.Rngs(0)))))


def random_params(make, seed=0):
  """Every number of its own, so that none can be mistaken for another."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: rng.normal(0, 0.1, x.shape).astype(np.float32), abstract(make)
  )


def clips(config=TINY, batch=2):
  return np.random.default_rng(0).integers(
    0, 256, (batch, config.frames, config.size, config.size, 3), np.uint8
  )


def assert_equal(one, other):
  """Bit for bit, and the same tree."""
  jax.tree.map(np.testing.assert_array_equal, one, other)
