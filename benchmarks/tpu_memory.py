"""What a step of pre-training keeps on a TPU, of each size: counted, in seconds.

  python benchmarks/tpu_memory.py [--clips 32]

Parameters, moments and gradients (which `mesh.fsdp` divides), and what a chip keeps of
so many clips from forward to backward by `encoder.remat`, padded to tiles. What a step
works with comes on top: `tpu_compile.py` tells it exactly, in minutes.
"""

import argparse
import dataclasses
import json
import math
import pathlib
import sys

import jax
import jax.numpy as jnp
from jax.sharding import AbstractDevice, AbstractMesh, AxisType

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from configs import videomae_pretrain
from mvp_jax.config import parse
from mvp_jax.data.masks import mask_sizes
from mvp_jax.models.layers import REMAT
from mvp_jax.training.sharding import AXES
from mvp_jax.training.state import build_model, init_variables, merged

SIZES = ('S', 'B', 'L', 'H', 'g')
_GIB = 2**30
_CHIP = AbstractMesh(
  (1, 1, 1),
  AXES,
  (AxisType.Auto,) * 3,
  abstract_device=AbstractDevice('TPU v5 lite', 1, 'tpu'),
)


def settings(size):
  """The Config of the recipe at full size, with another encoder."""
  tree = videomae_pretrain.get_config().to_dict()
  tree.pop('embedded')
  tree['encoder'] |= {'size': size, 'patch': 14 if size == 'g' else 16}
  return parse(tree)


def counted(config, remat, clips):
  """Parameters, and bytes that a chip keeps of some clips for the backward pass."""
  encoder = config.encoder
  backbone = dataclasses.replace(encoder.network(config), remat=remat)
  task = encoder.task(backbone)
  visible, masked = mask_sizes(*backbone.grid, encoder.masks)
  shape = clips, backbone.frames, backbone.size, backbone.size, 3
  batch = {
    'frames': jax.ShapeDtypeStruct(shape, jnp.uint8),
    'visible': jax.ShapeDtypeStruct((clips, visible), jnp.int32),
    'masked': jax.ShapeDtypeStruct((clips, masked), jnp.int32),
    'weight': jax.ShapeDtypeStruct((clips,), jnp.float32),
  }
  params, others = jax.eval_shape(lambda: init_variables(task, jax.random.key(0)))

  def backward(params, batch, key):
    def loss(params):
      model = build_model(task, merged(params, others))
      return task.loss(model, batch, key)['loss'].compute()

    return jax.vjp(loss, params)[1]

  with jax.sharding.use_abstract_mesh(_CHIP):
    kept = jax.eval_shape(backward, params, batch, jax.random.key(0))
  return sum(x.size for x in jax.tree.leaves(params)), sum(
    map(_stored, jax.tree.leaves(kept))
  )


def _stored(x):
  """Bytes of an array in tiles of 8 x 128."""
  if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) or x.dtype == jax.dtypes.float0:
    return 0
  *others, rows, columns = (1, 1, *x.shape)
  return math.prod(others) * _up(rows, 8) * _up(columns, 128) * x.dtype.itemsize


def _up(count, multiple):
  return count + -count % multiple


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--clips', type=int, default=32, help='of a chip')
  parser.add_argument('--sizes', nargs='*', default=SIZES, choices=SIZES)
  args = parser.parse_args()
  kept = ' | '.join(f'`{remat}`' for remat in REMAT)
  print(f'| size | parameters and moments, GiB | gradients | {kept} |')
  print('| --- ' * (3 + len(REMAT)) + '|')
  found = {}
  for size in args.sizes:
    config = settings(size)
    counts = {remat: counted(config, remat, args.clips) for remat in REMAT}
    params = counts['none'][0]
    found[size] = {remat: kept for remat, (_, kept) in counts.items()}
    cells = [12 * params, 4 * params, *found[size].values()]
    print(f'| {size} | {" | ".join(f"{x / _GIB:.1f}" for x in cells)} |', flush=True)
  print(json.dumps({'benchmark': 'tpu_memory', 'clips': args.clips, 'kept': found}))


if __name__ == '__main__':
  main()
