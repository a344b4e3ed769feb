"""MSN-69 and DMSN against the same networks in PyTorch, in one run on CPU cores.

  python benchmarks/dmsn_step.py [--networks msn69 A B C] [--batch 4] [--steps 3]
                                 [--alone]

Forward in evaluation and a training step without optimiser (forward in training mode,
backward), ours and PyTorch's in turns: medians of seconds of the clock, on two threads.
With --alone on one thread, in seconds of CPU time, so that what else the machine does
counts little. The ratio is PyTorch's time over ours: above 1 we are faster. The last
line is JSON.
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
  if '--alone' in sys.argv
  else ''
)
import jax
import jax.numpy as jnp
import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from benchmarks.timing import in_turns
from mvp_jax.host_cpu import make_quick
from mvp_jax.models.backbones.multiscale import DMSN, MSN69, VARIANTS
from mvp_jax.training.state import build_model, init_variables, merged, model_variables
from mvp_jax.training.tasks import FrameFeatures
from tests.models import multiscale_networks

ALONE = '--alone' in sys.argv
make_quick()  # as jobs do


def ours(backbone, frames):
  """Two functions without arguments: a forward pass and a training step."""
  task = FrameFeatures(backbone)
  params, others = jax.jit(lambda: init_variables(task, jax.random.key(0)))()

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
  return [lambda f=f: jax.block_until_ready(f(*arguments)) for f in compiled]


def peer(backbone, frames):
  """The same of PyTorch."""
  model = multiscale_networks.peer(backbone)
  pixels = multiscale_networks.pixels(frames)

  def forward():
    model.eval()
    with torch.no_grad():
      model(pixels).mean((2, 3, 4))

  def train():
    model.train()
    model.zero_grad(set_to_none=True)
    model(pixels).mean((2, 3, 4)).square().sum().backward()

  return forward, train


def measured(backbone, frames, steps):
  """{'forward' or 'step': (our seconds, PyTorch's)}: medians."""
  runs = [ours(backbone, frames), peer(backbone, frames)]
  clock = time.process_time if ALONE else time.perf_counter
  return {
    name: in_turns([both[number] for both in runs], steps, clock)
    for number, name in enumerate(('forward', 'step'))
  }


def main():
  names = ['msn69', *VARIANTS]
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--networks', nargs='+', choices=names, default=names)
  parser.add_argument('--batch', type=int, default=4)
  parser.add_argument('--size', type=int, default=112)
  parser.add_argument('--frames', type=int, default=16)
  parser.add_argument('--steps', type=int, default=3)
  parser.add_argument('--alone', action='store_true')
  args = parser.parse_args()
  torch.set_num_threads(1 if ALONE else 2)
  shape = args.batch, args.frames, args.size, args.size, 3
  frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
  sizes = {'frames': args.frames, 'size': args.size, 'tubelet': args.frames}
  threads = 'one thread' if ALONE else 'two threads'
  print(f'{args.batch} x {args.frames} x {args.size} px, float32, {threads}')
  print(f'{"":8}{"params M":>9}{"GMAC":>7}{"forward s":>10}{"ratio":>7}', end='')
  print(f'{"step s":>8}{"ratio":>7}')
  whole = MSN69(**sizes)
  results = {}
  for name in args.networks:
    backbone = whole if name == 'msn69' else DMSN(**sizes, variant=name)
    found = measured(backbone, frames, args.steps)
    results[name] = {
      'parameters': backbone.parameters,
      'macs': backbone.macs,
      'fewer_parameters': round(whole.parameters / backbone.parameters, 2),
    }
    print(f'{name:8}{backbone.parameters / 1e6:9.2f}{backbone.macs / 1e9:7.1f}', end='')
    for what, (own, other) in found.items():
      results[name] |= {
        f'{what}_s': round(own, 3),
        f'{what}_pytorch_s': round(other, 3),
        f'{what}_ratio': round(other / own, 3),
      }
      print(f'{own:{10 if what == "forward" else 8}.3f}{other / own:7.2f}', end='')
    print(flush=True)
  print(json.dumps({'benchmark': 'dmsn_step', **vars(args), 'results': results}))


if __name__ == '__main__':
  main()
