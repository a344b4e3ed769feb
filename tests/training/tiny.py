"""Examples and batches for the tiny tasks of conftest.py."""

import itertools

import numpy as np

from mvp_jax.models.modalities.video import Video
from mvp_jax.training.optimiser import OptimiserConfig

BATCH = 8
# One for all tests: each other one is another step to compile.
OPTIMISER = OptimiserConfig(
  learning_rate=0.02,
  steps=8,
  warmup_steps=2,
  weight_decay=0.3,
  beta1=0.8,
  beta2=0.95,
  clip_norm=0.5,
)


def learning_rate(step, config):
  """Linear warm-up from 0, then half a cosine to 0."""
  if step < config.warmup_steps:
    return config.learning_rate * step / config.warmup_steps
  done = (step - config.warmup_steps) / (config.steps - config.warmup_steps)
  return config.learning_rate * (1 + np.cos(np.pi * min(done, 1))) / 2


def emotion_example(rng):
  """One trial of 4 s at 8 Hz with six video tokens; some of it invalid."""
  return {
    'physio/values': rng.normal(size=(32, 2)).astype(np.float32),
    'physio/valid': rng.random(32) < 0.9,
    'video/tokens': rng.normal(size=(6, 4)).astype(np.float32),
    'video/valid': (valid := rng.random(6) < 0.7),
    'video/times': (times := np.sort(rng.uniform(0, 4, 6)).astype(np.float32)),
    'video/reference': Video().reference(valid, times),
    'label': rng.integers(0, 2, 2).astype(np.float32),
    'weight': np.float32(1),
  }


def video_example(rng):
  """One clip of 2 slots x 4 places, half of the places hidden."""
  hidden = np.tile(rng.permutation([True, True, False, False]), 2)
  return {
    'frames': rng.integers(0, 256, (4, 16, 16, 3), np.uint8),
    'visible': np.flatnonzero(~hidden).astype(np.int32),
    'masked': np.flatnonzero(hidden).astype(np.int32),
    'weight': np.float32(1),
  }


def make_batch(example, seed, size=BATCH):
  rng = np.random.default_rng(seed)
  examples = [example(rng) for _ in range(size)]
  return {name: np.stack([x[name] for x in examples]) for name in examples[0]}


class Batches:
  """Endless batches, each made from its number, from 1.

  `change(number, batch)` may alter a batch or raise.
  """

  def __init__(self, example=emotion_example, change=None, size=BATCH):
    self.example, self.change, self.size = example, change, size

  def __call__(self, start):
    for number in itertools.count(start + 1):
      batch = make_batch(self.example, number, self.size)
      if self.change:
        self.change(number, batch)
      yield batch
