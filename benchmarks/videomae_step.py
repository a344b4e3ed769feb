"""A VideoMAE pre-training step against `transformers` on PyTorch, in one run.

  python benchmarks/videomae_step.py [--size B] [--batch 2] [--dtype float32]
      [--remat none] [--steps 5]

Both sides take a full step (forward, backward, AdamW) on the same clips and tube
masks of 90 %, in turns, so that what else the machine does hits both. Beside it
stands the machine's own rate at a large matrix product in JAX. On a GPU the peer
is compiled and uses PyTorch's fused attention.
FLOP are those of the matrix products that the mathematics needs, 2 a
multiplication; what remat computes twice does not count.
Needs the packages of requirements-test.txt.
"""

import argparse
import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from benchmarks.timing import in_turns
from mvp_jax.data.masks import MaskConfig, draw_masks
from mvp_jax.host_cpu import make_quick
from mvp_jax.models import layers, videomae
from mvp_jax.training import sharding
from mvp_jax.training.flops import pretraining_flops
from mvp_jax.training.optimiser import OptimiserConfig
from mvp_jax.training.speed import known_peak
from mvp_jax.training.state import init_state, train_step
from mvp_jax.training.tasks import MaskedVideo

_MATMUL = 4096


def make_batch(config, batch):
  """Random clips and tube masks: dict of NumPy arrays."""
  rng = np.random.default_rng(0)
  masks = [draw_masks(rng, *config.grid, MaskConfig(ratio=0.9)) for _ in range(batch)]
  visible, masked = (np.stack(part) for part in zip(*masks, strict=True))
  frames = rng.integers(
    0, 256, (batch, config.frames, config.size, config.size, 3), np.uint8
  )
  return {
    'frames': frames,
    'visible': visible,
    'masked': masked,
    'weight': np.ones(batch, np.float32),
  }


def our_step(config, batch):
  """Returns a function that takes one step and waits for it."""
  task = MaskedVideo(config)
  mesh = sharding.make_mesh(sharding.MeshConfig(), jax.devices()[:1])
  optimiser = OptimiserConfig(learning_rate=1e-4, steps=1000, beta2=0.95)
  batch = sharding.put_batch(batch, mesh)
  states = [init_state(task, optimiser, mesh, 0)]
  step = train_step(task, optimiser, mesh).lower(states[0], batch).compile()

  def run():
    states[0], metrics = step(states[0], batch)
    return float(jax.block_until_ready(metrics)['loss'])

  return run


def peer_step(config, batch, device, dtype, compiled):
  """The same of `transformers`, or None where PyTorch is not installed."""
  try:
    import torch
    import transformers
  except ImportError:
    return None
  model = (
    transformers.VideoMAEForPreTraining(
      transformers.VideoMAEConfig(
        image_size=config.size,
        num_frames=config.frames,
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        intermediate_size=config.mlp_width,
        decoder_hidden_size=config.decoder_width,
        decoder_num_hidden_layers=config.decoder_depth,
        decoder_num_attention_heads=config.decoder_heads,
        decoder_intermediate_size=4 * config.decoder_width,
        norm_pix_loss=True,
        attn_implementation='sdpa',
      )
    )
    .to(device)
    .train()
  )
  optimiser = torch.optim.AdamW(
    model.parameters(), 1e-4, (0.9, 0.95), weight_decay=0.05, fused=device == 'cuda'
  )
  mean, std = np.float32(videomae.IMAGENET_MEAN), np.float32(videomae.IMAGENET_STD)
  pixels = torch.tensor(
    ((batch['frames'] / np.float32(255) - mean) / std).transpose(0, 1, 4, 2, 3)
  ).to(device)
  hidden = np.zeros((len(pixels), config.tokens), bool)
  np.put_along_axis(hidden, batch['masked'], True, 1)
  hidden = torch.tensor(hidden).to(device)

  def forward():
    with torch.autocast(device, torch.bfloat16, enabled=dtype == 'bfloat16'):
      return model(pixels, bool_masked_pos=hidden).loss

  torch.backends.cuda.matmul.allow_tf32 = True  # as JAX takes it
  if compiled:
    forward = torch.compile(forward)

  def run():
    optimiser.zero_grad(set_to_none=True)
    loss = forward()
    loss.backward()
    optimiser.step()
    return loss.item()  # waits for the device

  return run


def matmul(dtype):
  """A function that takes one large matrix product in JAX."""
  a = jnp.ones((_MATMUL, _MATMUL), dtype)
  product = jax.jit(lambda a: a @ a)
  product(a).block_until_ready()

  return lambda: product(a).block_until_ready()


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--size', default='B', choices=videomae.PRESETS)
  parser.add_argument('--frame_size', type=int, default=224)
  parser.add_argument('--batch', type=int, default=2)
  parser.add_argument('--dtype', default='float32', choices=('float32', 'bfloat16'))
  parser.add_argument('--remat', default='none', choices=layers.REMAT)
  parser.add_argument('--steps', type=int, default=5)
  args = parser.parse_args()
  make_quick()
  device = 'cuda' if jax.default_backend() == 'gpu' else 'cpu'
  config = videomae.preset(
    args.size, size=args.frame_size, dtype=args.dtype, remat=args.remat
  )
  batch = make_batch(config, args.batch)
  steps = {
    'mvp_jax': our_step(config, batch),
    'transformers': peer_step(config, batch, device, args.dtype, device == 'cuda'),
  }
  steps = {name: run for name, run in steps.items() if run}
  *found, one = in_turns([*steps.values(), matmul(args.dtype)], args.steps)
  median = dict(zip(steps, found, strict=True))
  flops = (
    pretraining_flops(config, batch['visible'].shape[1], batch['masked'].shape[1])
    * args.batch
  )
  rate = 2 * _MATMUL**3 / one
  print(
    f'ViT-{args.size}, {config.frames}x{config.size}, batch {args.batch}, '
    f'{args.dtype}, remat {args.remat}, on {jax.devices()[0].device_kind}; '
    f'{flops / 1e9:.0f} GFLOP a step'
  )
  print(f'{"":14}  {"s a step":>8}  {"clips/s":>8}  {"GFLOP/s":>8}  of matmul rate')
  for name, x in median.items():
    print(
      f'{name:14}  {x:8.3f}  {args.batch / x:8.2f}  {flops / x / 1e9:8.0f}  '
      f'{flops / x / rate:.0%}'
    )
  print(f'{"matmul in JAX":14}  {"":8}  {"":8}  {rate / 1e9:8.0f}')
  result = {
    'benchmark': 'videomae_step',
    'size': args.size,
    'batch': args.batch,
    'dtype': args.dtype,
    'remat': args.remat,
    'device': jax.devices()[0].device_kind,
    'seconds': {name: round(x, 4) for name, x in median.items()},
    'of_matmul_rate': round(flops / median['mvp_jax'] / rate, 3),
  }
  if 'transformers' in median:
    result['speedup'] = round(median['transformers'] / median['mvp_jax'], 3)
    print(f'speed-up over transformers: {result["speedup"]:.2f}')
  if peak := known_peak(jax.devices()[0].device_kind):
    result['of_peak'] = round(flops / median['mvp_jax'] / peak, 3)
  print(json.dumps(result))


if __name__ == '__main__':
  main()
