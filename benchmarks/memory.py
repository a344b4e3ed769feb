"""Peak memory of a VideoMAE pre-training step against what it should need.

  python benchmarks/memory.py [--size B] [--batch 8] [--dtype float32]

For each remat policy: what the compiler says that the compiled step needs, and the
sum of what has to be in memory at the worst moment. That is the parameters, AdamW's
two moments and the gradient, 4 bytes a parameter each; and what the blocks of both
stacks keep for the backward pass, beside one block's working set:

  none    a block's input, both norms' outputs, query, key, value, attention weights
          (twice: unnormalised, and their gradient in the block at work), attention's
          output, the MLP before and after its GELU
  linear  a block's input and the outputs of its linear layers
  full    a block's input

Nothing is run: the figures come from the compiled program.
"""

import argparse
import json
import pathlib
import sys

import jax

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from benchmarks.videomae_step import make_batch
from mvp_jax.models import layers, videomae
from mvp_jax.training import sharding
from mvp_jax.training.optimiser import OptimiserConfig
from mvp_jax.training.state import abstract_state, train_step
from mvp_jax.training.tasks import MaskedVideo


def kept(tokens, width, mlp, heads, remat):
  """Numbers that one block keeps for the backward pass, of one example."""
  if remat == 'full':
    return tokens * width
  if remat == 'linear':  # input; query, key, value, out; up, down
    return tokens * (6 * width + mlp)
  return tokens * (8 * width + 2 * mlp) + heads * tokens**2


def theory(config, batch, visible, masked):
  """Bytes at the worst moment of a step; see the module."""
  item = 2 if config.dtype == 'bfloat16' else 4
  width, tokens = config.decoder_width, visible + masked
  stacks = [
    (visible, config.width, config.mlp_width, config.heads, config.depth),
    (tokens, width, 4 * width, config.decoder_heads, config.decoder_depth),
  ]
  numbers = sum(depth * kept(n, d, m, h, config.remat) for n, d, m, h, depth in stacks)
  n, d, m, h, _ = stacks[1]  # at work: the decoder's block, the larger one
  working = kept(n, d, m, h, 'none') * (config.remat != 'none') + h * n**2
  ends = 3 * masked * config.pixels_per_token  # target, prediction, gradient
  return batch * (item * (numbers + working) + 4 * ends)


def measure(config, batch):
  """(bytes of the state, bytes of temporary arrays) of the compiled step."""
  task, optimiser = MaskedVideo(config), OptimiserConfig(steps=1000)
  mesh = sharding.make_mesh(sharding.MeshConfig(), jax.devices()[:1])
  state = abstract_state(task, optimiser, mesh)
  step = (
    train_step(task, optimiser, mesh)
    .lower(state, sharding.put_batch(batch, mesh))
    .compile()
  )
  parameters = sum(4 * x.size for x in jax.tree.leaves(state.params))
  return parameters, step.memory_analysis().temp_size_in_bytes


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--size', default='B', choices=videomae.PRESETS)
  parser.add_argument('--batch', type=int, default=8)
  parser.add_argument('--dtype', default='float32', choices=layers.DTYPES)
  args = parser.parse_args()
  print(
    f'ViT-{args.size}, batch {args.batch}, {args.dtype}, on '
    f'{jax.devices()[0].device_kind}; MiB'
  )
  print(f'{"remat":8} {"state":>8} {"temporary":>10} {"peak":>8} {"theory":>8} ratio')
  ratios = {}
  for remat in layers.REMAT:
    config = videomae.preset(args.size, dtype=args.dtype, remat=remat)
    batch = make_batch(config, args.batch)
    parameters, temporary = measure(config, batch)
    peak = 3 * parameters + temporary
    wanted = 4 * parameters + theory(
      config, args.batch, batch['visible'].shape[1], batch['masked'].shape[1]
    )
    ratios[remat] = round(peak / wanted, 3)
    mib = [x / 2**20 for x in (3 * parameters, temporary, peak, wanted)]
    print(
      f'{remat:8} {mib[0]:8.0f} {mib[1]:10.0f} {mib[2]:8.0f} {mib[3]:8.0f} '
      f'{ratios[remat]:5.2f}'
    )
  print(
    json.dumps(
      {
        'benchmark': 'memory',
        'size': args.size,
        'batch': args.batch,
        'dtype': args.dtype,
        'device': jax.devices()[0].device_kind,
        'peak_over_theory': ratios,
      }
    )
  )


if __name__ == '__main__':
  main()
