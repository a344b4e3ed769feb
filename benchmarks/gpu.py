"""Pre-training and all folds of the fusion on a GPU, beside PyTorch: one command.

  python benchmarks/gpu.py [--minutes 10] [--out gpu.json]

It needs jax (with CUDA), flax, optax, numpy, torch and transformers, nothing else, and
always ends in time: what no time is left for is said. `--out` also writes the table, as
Markdown, beside the JSON. Without a GPU all is tiny: that it works is seen, no speed.

Each measurement is a process of its own, so that no side takes the other's memory:

  ViT-B, ViT-L  a step of pre-training (16 x 224 x 224, nine tenths hidden in tubes)
                against `transformers`: torch.compile, fused attention, bfloat16
                autocast, fused AdamW; pictures as it wants them, floats, lie ready.
                Where torch.compile fails it is measured without, and that is told.
  folds         leave-one-subject-out of 22 subjects with 5 seeds of the fusion of face
                and signals, all 110 models as one program, against the same network in
                PyTorch: one model after another (compiled), or all by torch.func.vmap.
                All in float32, TF32 on both sides.

Where memory does not do, a side takes half the batch. MFU: FLOPs that the mathematics
needs (2 a multiply-add of matrix products, a training step thrice the forward pass,
nothing that is computed again: mvp_jax/training/flops.py) over the chip's published
dense bfloat16 peak. The last line is one JSON object.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from benchmarks.gpu_part import OURS, PEER, PEER_TOGETHER, FusionSizes, Part
from mvp_jax.training.speed import known_peak

_OF_JAX = {'XLA_PYTHON_CLIENT_MEM_FRACTION': '.95'}  # as PyTorch takes what it needs
_OF_PYTORCH = {'JAX_PLATFORMS': 'cpu'}  # all memory is PyTorch's
_LEAST_SECONDS = 10  # in which a measurement could not end
_MOST_CLIPS = 128
_CLIPS_PER_GIB = {'B': 1.0, 'L': 0.5}
_GIB = 2**30


class Budget:
  """Time, of which there is so much."""

  def __init__(self, minutes):
    self._end = time.monotonic() + 60 * minutes - 2  # to write what was found

  @property
  def left(self):
    """Seconds."""
    return self._end - time.monotonic()


def run(part, budget):
  """Measures a Part in a process of its own: what it found, or {'left_out': why}."""
  if budget.left < _LEAST_SECONDS:
    return {'left_out': 'no time is left'}
  script = pathlib.Path(__file__).with_name('gpu_part.py')
  child = subprocess.Popen(
    [sys.executable, script, json.dumps(dataclasses.asdict(part))],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env={**os.environ, **(_OF_PYTORCH if part.side != OURS else _OF_JAX)},
    start_new_session=True,  # with those that it starts to compile
  )
  try:
    out, errors = child.communicate(timeout=budget.left)
  except subprocess.TimeoutExpired:
    return {'left_out': 'it was not done when time was up'}
  finally:
    _end(child)
  if child.returncode:
    lines = errors.strip().splitlines() or [f'exit status {child.returncode}']
    return {'left_out': f'it failed: {lines[-1]}', 'failed': True}
  return json.loads(out.splitlines()[-1])


def _end(child):
  with contextlib.suppress(ProcessLookupError):
    os.killpg(child.pid, signal.SIGKILL)
  child.communicate()


def largest(part, budget):
  """As `run`, with half the batch as often as memory does not do."""
  while True:
    found = run(part, budget) | {'batch': part.batch}
    if found.get('failed') and part.compiled:
      print(f'{part.work}, {part.side}: {found["left_out"]}; without torch.compile ...')
      part = dataclasses.replace(part, compiled=False)
      continue
    if part.side == PEER:
      found['compiled'] = part.compiled
    if not found.pop('out_of_memory', False):
      return found
    if part.batch == 1 or (part.work == 'folds' and part.side != PEER_TOGETHER):
      return {'left_out': 'its memory does not do'}
    half = part.batch // 2
    print(f'{part.work}, {part.side}: {part.batch} do not fit, {half} are tried')
    part = dataclasses.replace(part, batch=half)


def planned(device):
  """The Parts, the most wanted first."""
  if not device['gpu']:
    tiny = dataclasses.replace(Part('ViT-tiny'), batch=2)
    parts = [tiny, dataclasses.replace(tiny, side=PEER)]
    return parts + [Part('folds', side, 2) for side in (OURS, PEER, PEER_TOGETHER)]
  common = {'gpu': True, 'dtype': device['dtype'], 'steps': 30, 'seconds': 15.0}
  gib = (device['memory_bytes'] or 16 * _GIB) / _GIB
  parts = []
  for size, each in _CLIPS_PER_GIB.items():
    batch = min(2 ** max(0, math.floor(math.log2(gib * each))), _MOST_CLIPS)
    parts.append(Part(f'ViT-{size}', OURS, batch, **common))
    parts.append(Part(f'ViT-{size}', PEER, batch, compiled=True, **common))
  models = FusionSizes().models
  return parts + [
    Part('folds', OURS, models, **common),
    Part('folds', PEER, 1, compiled=True, **common),
    Part('folds', PEER_TOGETHER, models, **common),
  ]


def judged(found, peer, peak):
  """What a measurement says: rates, ratio to PyTorch, MFU. Seconds are of a step."""
  rate = found['examples'] / found['seconds']
  facts = dict(found, rate=rate)
  if peak:
    facts['mfu'] = found['flops'] / found['seconds'] / peak
  if peer and 'seconds' in peer:
    facts['of_pytorch'] = rate / (peer['examples'] / peer['seconds'])
  if 'input_bytes' in found:
    facts['input_bytes_a_second'] = rate * found['input_bytes']
  if 'models' in found:
    each = found['seconds'] / found['models']
    facts['minutes_in_all'] = each * found['steps_of_a_model'] / 60
  return facts


def cells(work, side, found):
  """A row of the table."""
  if 'left_out' in found:
    return [work, side, f'left out: {found["left_out"]}', *[''] * 7]
  clips = 'input_bytes' in found
  memory, mfu = found['memory_bytes'], found.get('mfu')
  ratio = found.get('of_pytorch')
  batch = f'{found["batch"]}' if clips else f'{found["models"]} models'
  if clips:
    needs = (
      f'{found["rate"]:,.0f} clips/s, {found["input_bytes_a_second"] / 1e6:,.0f} MB/s'
    )
  else:
    needs = f'none; all trainings in {found["minutes_in_all"]:,.1f} min'
  return [
    work,
    side + (', not compiled' if found.get('compiled') is False else ''),
    batch,
    f'{1e3 * found["seconds"]:,.1f}',
    f'{found["rate"]:,.1f} {"clips" if clips else "trials"}/s',
    f'{ratio:.2f}' if ratio else '-',
    f'{mfu:.0%}' if mfu else 'unknown',
    f'{memory / _GIB:.1f}' if memory else 'unknown',
    f'{found["ready_seconds"]:.0f}',
    needs,
  ]


HEADER = [
  *('work', 'side', 'batch', 'ms a step', 'rate', 'of PyTorch', 'MFU'),
  *('memory, GiB', 'ready in s', 'input needed'),
]


def markdown(rows):
  lines = [HEADER, ['---'] * len(HEADER), *rows]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def report(device, found):
  """The table, and what is written as JSON; `found` is of each (work, side)."""
  peak, said = known_peak(device['device']), {}
  for (work, side), one in found.items():
    peer = found.get((work, PEER)) if side != PEER else None
    said[work, side] = judged(one, peer, peak) if 'seconds' in one else one
  result = {
    'benchmark': 'gpu',
    **device,
    'peak_flops': peak,
    'tiny': not device['gpu'],
    'results': {f'{work}, {side}': one for (work, side), one in said.items()},
  }
  return markdown([cells(*name, one) for name, one in said.items()]), result


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--minutes', type=float, default=10.0)
  parser.add_argument('--out', type=pathlib.Path, help='a file for the JSON')
  args = parser.parse_args()
  if args.out:
    args.out.parent.mkdir(parents=True, exist_ok=True)
  budget = Budget(args.minutes)
  device = run(Part('device'), budget)
  if 'left_out' in device:
    sys.exit(f'benchmarks/gpu.py: nothing was measured: {device["left_out"]}')
  title = f'{device["device"]}, JAX {device["jax"]}, pre-training in {device["dtype"]}'
  if not device['gpu']:
    title += '; JAX sees no GPU, so all is tiny: no speed of anything'
  print(title, flush=True)
  found = {}
  for part in planned(device):
    print(f'{part.work}, {part.side} ...', flush=True)
    found[part.work, part.side] = largest(part, budget)
    table, result = report(device, found)
    if args.out:  # after each, so that none is lost
      args.out.write_text(json.dumps(result, indent=1) + '\n')
      args.out.with_suffix('.md').write_text(f'{title}\n\n{table}\n')
  print(table)
  print(json.dumps(result))
  if any(one.get('failed') for one in found.values()):
    sys.exit(1)


if __name__ == '__main__':
  main()
