"""R(2+1)D-18 against the same network in PyTorch, in one run on one CPU thread.

  python benchmarks/conv3d.py [--batch 1] [--size 112] [--frames 16] [--steps 3]

Forward in evaluation and a training step without optimiser (forward in training mode,
backward), in turns, in seconds of CPU time, so that what else the machine does counts
little. Beside ours stand the two other ways to compute its convolutions: as 3-D
convolutions, and as matrix products over patches. The last line is JSON.
Needs the packages of requirements-test.txt.
"""

import argparse
import json
import os
import pathlib
import sys
import time

os.environ['XLA_FLAGS'] = (
  '--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1'
)
import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from benchmarks.timing import in_turns
from mvp_jax.models import convolution
from mvp_jax.models.backbones.r2plus1d import R2Plus1D
from mvp_jax.training.state import build_model, init_variables, merged, model_variables
from mvp_jax.training.tasks import FrameFeatures
from tests.weights.torchvision_networks import R2Plus1D18

torch.set_num_threads(1)


def _spatial_3d(conv, x):
  """A `SpatialConv` as a 3-D convolution."""
  kernel = conv.kernel[...][None]
  return _conv3d(x, kernel, (1, conv.stride, conv.stride))


def _temporal_3d(conv, x):
  """A `TemporalConv` as a 3-D convolution."""
  return _conv3d(x, conv.kernel[...][:, None, None], (conv.stride, 1, 1))


def _conv3d(x, kernel, strides):
  pads = [(n // 2, n // 2) for n in kernel.shape[:3]]
  names = ('NDHWC', 'DHWIO', 'NDHWC')
  return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=names)


def _spatial_patches(conv, x):
  """A `SpatialConv` as a matrix product over patches."""
  kernel, stride = conv.kernel[...], conv.stride
  taps, pad = len(kernel), len(kernel) // 2
  rows, columns = ((n + 2 * pad - taps) // stride + 1 for n in x.shape[2:4])
  x = jnp.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad), (0, 0)))
  bottom, right = (rows - 1) * stride + 1, (columns - 1) * stride + 1
  patches = [
    x[:, :, i : i + bottom : stride, j : j + right : stride]
    for i in range(taps)
    for j in range(taps)
  ]
  return jnp.concatenate(patches, -1) @ kernel.reshape(-1, kernel.shape[-1])


_WAYS = {  # the two convolutions of each; None: ours
  'mvp_jax': None,
  '3-D convolutions': (_spatial_3d, _temporal_3d),
  'patches': (_spatial_patches, None),
}


def ours(backbone, frames, way):
  """Two functions without arguments: a forward pass and a training step."""
  own = convolution.SpatialConv.__call__, convolution.TemporalConv.__call__
  spatial, temporal = _WAYS[way] or own
  convolution.SpatialConv.__call__ = spatial
  convolution.TemporalConv.__call__ = temporal or own[1]
  task = FrameFeatures(backbone)
  params, others = init_variables(task, jax.random.key(0))

  def forward(params, others, frames):
    return build_model(task, merged(params, others)).features(frames)

  def train(params, others, frames):
    def loss(params):
      model = build_model(task, merged(params, others))
      x = model.features(frames, jax.random.key(0))
      return jnp.square(x).sum(), model_variables(model)[1]

    return jax.grad(loss, has_aux=True)(params)

  arguments = params, others, frames
  compiled = [jax.jit(f).lower(*arguments).compile() for f in (forward, train)]
  convolution.SpatialConv.__call__, convolution.TemporalConv.__call__ = own
  return [lambda f=f: jax.block_until_ready(f(*arguments)) for f in compiled]


def peer(frames):
  """The same of PyTorch."""
  model = R2Plus1D18()
  pixels = torch.tensor(np.float32(frames).transpose(0, 4, 1, 2, 3) / 255)

  def forward():
    model.eval()
    with torch.no_grad():
      model(pixels).mean((2, 3, 4))

  def train():
    model.train()
    model.zero_grad(set_to_none=True)
    model(pixels).mean((2, 3, 4)).square().sum().backward()

  return forward, train


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--batch', type=int, default=1)
  parser.add_argument('--size', type=int, default=112)
  parser.add_argument('--frames', type=int, default=16)
  parser.add_argument('--steps', type=int, default=3)
  parser.add_argument('--ways', nargs='+', choices=_WAYS, default=list(_WAYS))
  args = parser.parse_args()
  shape = args.batch, args.frames, args.size, args.size, 3
  frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
  backbone = R2Plus1D(args.frames, args.size)
  runs = {way: ours(backbone, frames, way) for way in args.ways}
  runs['PyTorch'] = peer(frames)
  each = [run for both in runs.values() for run in both]
  found = in_turns(each, args.steps, time.process_time)
  median = dict(zip(runs, zip(found[::2], found[1::2], strict=True), strict=True))
  print(f'R(2+1)D-18, {args.batch} x {args.frames} x {args.size} px, float32, 1 thread')
  print(f'{"":18}{"forward s":>10}{"ratio":>7}{"step s":>10}{"ratio":>7}')
  for name, (forward, step) in median.items():
    of = median['PyTorch']
    print(f'{name:18}{forward:10.3f}{forward / of[0]:7.2f}', end='')
    print(f'{step:10.3f}{step / of[1]:7.2f}')
  rounded = {name: [round(x, 4) for x in both] for name, both in median.items()}
  print(json.dumps({'benchmark': 'conv3d', **vars(args), 'seconds': rounded}))


if __name__ == '__main__':
  main()
