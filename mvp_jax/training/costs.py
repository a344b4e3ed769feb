"""What an encoder costs: parameters, operations, and clips a second as measured."""

import statistics
import time

import jax
import numpy as np
from flax import nnx

from mvp_jax.training.flops import forward_macs

_PASSES = 5


def costs(backbone, batch):
  """Of a backbone of frames, with random weights, on one device: a dict.

  Args:
    backbone: see `models.backbones`.
    batch: clips that go through it at a time.

  Returns:
    `parameters`; `macs` of a clip, or None; `clips_per_second` of a forward pass, the
    median of several after the first; `device`.
  """
  shape = batch, backbone.frames, backbone.size, backbone.size, 3
  frames = jax.device_put(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
  graph, state = nnx.split(jax.jit(lambda: backbone.create(rngs=nnx.Rngs(0)))())
  run = jax.jit(lambda state, frames: nnx.merge(graph, state).features(frames))
  seconds = []
  for _ in range(_PASSES + 1):
    start = time.perf_counter()
    jax.block_until_ready(run(state, frames))
    seconds.append(time.perf_counter() - start)
  params = jax.tree.leaves(nnx.state(nnx.merge(graph, state), nnx.Param))
  return {
    'parameters': sum(x.size for x in params),
    'macs': forward_macs(backbone),
    'clips_per_second': round(batch / statistics.median(seconds[1:]), 2),
    'device': jax.devices()[0].device_kind,
  }
