"""One measurement of benchmarks/gpu.py, in a process of its own: so memory is its own.

  python benchmarks/gpu_part.py '{"work": "device"}'
  python benchmarks/gpu_part.py '{"work": "ViT-B", "side": "mvp_jax", "batch": 64, ...}'

The last line is one JSON object. Nothing but jax, flax, optax, numpy, torch and
transformers is imported.
"""

import dataclasses
import json
import pathlib
import sys
import time
from importlib.metadata import version

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from benchmarks.timing import alone

SIDES = OURS, PEER, PEER_TOGETHER = 'mvp_jax', 'PyTorch', 'PyTorch vmap'
_TRIALS, _BATCH = 40, 32  # of a subject; of a step of one model


@dataclasses.dataclass(frozen=True)
class Part:
  """What is measured, and how.

  Attributes:
    work: 'device', 'ViT-...' or 'folds'.
    side: one of SIDES.
    batch: clips; of 'folds' how many models PyTorch trains at a time.
    gpu: whether there is one.
    dtype: of pre-training; the fusion is float32, as its config says.
    compiled: whether PyTorch compiles.
    steps: how many are timed, or as many as `seconds` allow.
  """

  work: str
  side: str = OURS
  batch: int = 1
  gpu: bool = False
  dtype: str = 'float32'
  compiled: bool = False
  steps: int = 3
  seconds: float = 5.0

  @property
  def device(self):
    """As PyTorch calls it."""
    return 'cuda' if self.gpu else 'cpu'


def device(part):
  """What JAX sees: {'gpu', 'device', 'memory_bytes', 'dtype', ...}."""
  import jax

  one = jax.devices()[0]
  gpu = one.platform == 'gpu'
  # Those before Ampere have no bfloat16.
  modern = gpu and float(getattr(one, 'compute_capability', 0)) >= 8
  return {
    'gpu': gpu,
    'device': one.device_kind,
    'memory_bytes': (one.memory_stats() or {}).get('bytes_limit'),
    'dtype': 'bfloat16' if modern else 'float32',
    'jax': jax.__version__,
  }


def pretraining(part):
  """A step of masked video: see videomae_step.py."""
  from benchmarks import videomae_step
  from mvp_jax.models import videomae
  from mvp_jax.training.flops import pretraining_flops

  size = part.work.removeprefix('ViT-')
  config = videomae.preset(size, size=64 if size == 'tiny' else 224, dtype=part.dtype)
  batch = videomae_step.make_batch(config, part.batch)
  clip = pretraining_flops(config, batch['visible'].shape[1], batch['masked'].shape[1])

  def make():
    if part.side == OURS:
      return videomae_step.our_step(config, batch)
    return videomae_step.peer_step(
      config, batch, part.device, part.dtype, part.compiled
    )

  return timed(part, make, part.batch, clip) | {
    'input_bytes': batch['frames'][0].nbytes
  }


def folds(part):
  """A step of all folds and seeds of the fusion, or, in PyTorch, of one model."""
  sizes = FusionSizes() if part.gpu else TINY_FUSION
  make = sizes.ours if part.side == OURS else sizes.peers
  models = 1 if part.side == PEER else sizes.models
  found = timed(part, lambda: make(part), models * _BATCH, sizes.flops)
  return found | {'models': models, 'steps_of_a_model': sizes.models * sizes.steps}


def timed(part, make, examples, flops):
  """Seconds of a step of `make()`, memory, and until two steps are done."""
  start = time.perf_counter()
  run = make()
  run(), run()
  ready = time.perf_counter() - start
  seconds = alone(run, part.steps, part.seconds, warm_up=1)
  return {
    'version': version('jax' if part.side == OURS else 'torch'),
    'seconds': seconds,
    'examples': examples,  # of a step
    'flops': examples * flops,
    'memory_bytes': peak_memory(part),
    'ready_seconds': ready,
  }


def peak_memory(part):
  """Bytes of the device; None where it has no memory of its own."""
  if not part.gpu:
    return None
  if part.side == OURS:
    import jax

    return (jax.devices()[0].memory_stats() or {}).get('peak_bytes_in_use')
  import torch

  return torch.cuda.max_memory_allocated()


@dataclasses.dataclass(frozen=True)
class FusionSizes:
  """The fusion of configs/deap_fusion.py on DEAP: leave-one-subject-out, some seeds."""

  subjects: int = 22
  seeds: int = 5
  steps: int = 1500  # of each model's training
  trial_seconds: int = 60
  tokens: int = 184
  token_width: int = 768
  model: tuple = ()  # (name, value) of what differs from the defaults of ModelSizes,
  physio: tuple = ()  # and Physio

  @property
  def models(self):
    return self.subjects * self.seeds

  @property
  def optimiser(self):
    from mvp_jax.training.optimiser import OptimiserConfig

    return OptimiserConfig(3e-4, steps=self.steps, warmup_steps=100, clip_norm=1.0)

  @property
  def configs(self):
    """ModelSizes, Physio, Video."""
    from mvp_jax.models.emotion import ModelSizes
    from mvp_jax.models.modalities.physio import Physio
    from mvp_jax.models.modalities.video import Video

    return ModelSizes(**dict(self.model)), Physio(**dict(self.physio)), Video()

  @property
  def flops(self):
    """Of one trial's training step: thrice the forward pass."""
    from benchmarks.noise_trials import RATE
    from mvp_jax.training.flops import transformer_flops

    model, physio, video = self.configs
    width, tokens, count = model.width, self.tokens, self.trial_seconds * RATE
    forward, inputs = 0, 4  # shapes and levels of two signals
    for outputs, kernel, stride in zip(
      physio.widths, physio.kernels, physio.strides, strict=True
    ):
      count = -(-count // stride)
      forward += 2 * count * kernel * inputs * outputs
      inputs = outputs
    forward += transformer_flops(count, width, physio.mlp_width, physio.depth)
    forward += 2 * tokens * self.token_width * width
    forward += transformer_flops(tokens, width, model.mlp_width, video.depth)
    cross = (
      2 * 2 * (count + tokens) * width**2  # queries, outputs; keys, values
      + 2 * 2 * count * tokens * width
      + 2 * 2 * count * width * model.mlp_width
    )
    return 3 * (forward + model.depth * cross)

  @property
  def data(self):
    from benchmarks.noise_trials import noise_trials

    count = self.subjects * _TRIALS
    return noise_trials(count, self.trial_seconds, self.tokens, self.token_width)

  def rows(self, models):
    """Yields which trials models read: int [models, batch], none of their subject."""
    rng, count = np.random.default_rng(0), self.subjects * _TRIALS
    after = (np.arange(models) % self.subjects + 1)[:, None] * _TRIALS
    while True:
      yield (after + rng.integers(0, count - _TRIALS, (models, _BATCH))) % count

  def task(self):
    """training.tasks.Emotion."""
    from benchmarks.noise_trials import RATE
    from mvp_jax.models.emotion import EmotionConfig
    from mvp_jax.models.modalities.physio import PhysioNetwork
    from mvp_jax.models.modalities.video import VideoNetwork
    from mvp_jax.targets import Binary
    from mvp_jax.training.tasks import Emotion

    model, physio, video = self.configs
    networks = (
      ('physio', PhysioNetwork(physio, 2, float(RATE))),
      ('video', VideoNetwork(video, self.token_width)),
    )
    return Emotion(EmotionConfig(model, networks, Binary(), ('physio', 'video')))

  def ours(self, part):
    """All models as `training.many` runs them: a function that takes a step."""
    import jax
    from jax.sharding import NamedSharding
    from jax.sharding import PartitionSpec as P

    from mvp_jax.training import sharding, side_by_side

    task, optimiser = self.task(), self.optimiser
    mesh = sharding.make_mesh(sharding.MeshConfig(), jax.devices()[:1])
    here, split = sharding.replicated(mesh), NamedSharding(mesh, P(sharding.AXES))
    data = ({name: side_by_side.put(x, here) for name, x in self.data.items()},)
    scale = {
      'physio/levels': np.ones(2, np.float32),
      'video/tokens': np.ones(self.token_width, np.float32),
    }
    own = {'scale': scale, 'own': ({},), 'settings': {}}
    together = side_by_side.at_a_time(
      task, optimiser, 1, mesh, own, (_BATCH,), data, self.models
    )
    turns = -(-self.models // together)
    together = -(-self.models // turns)
    padded = turns * together
    own = jax.tree.map(lambda x: side_by_side.put(np.stack([x] * padded), split), own)
    seeds = side_by_side.put(np.arange(padded, dtype=np.uint32), split)
    states = [side_by_side.fresh(task, optimiser, mesh)(seeds)]
    step = side_by_side.step(task, optimiser, 1, mesh, together)
    rows = self.rows(padded)

    def run():
      mine = (side_by_side.put(next(rows).astype(np.int32), split),)
      states[0], metrics = step(states[0], own, mine, data)
      return float(jax.block_until_ready(metrics)['loss'][0])

    return run

  def peers(self, part):
    """One model in PyTorch or, by torch.func, all, `part.batch` of them at a time."""
    import torch

    from benchmarks import fusion_torch
    from benchmarks.noise_trials import RATE

    torch.set_float32_matmul_precision('high')  # TF32, as JAX takes it
    data = {name: torch.tensor(x, device=part.device) for name, x in self.data.items()}
    together = part.side == PEER_TOGETHER
    models = [
      fusion_torch.Fusion(*self.configs, 2, RATE, self.token_width, 2).to(part.device)
      for _ in range(self.models if together else 1)
    ]
    rows = self.rows(len(models))
    if together:
      step = fusion_torch.Together(models, data, self.optimiser, part.gpu, part.batch)
    else:
      step = fusion_torch.Alone(
        models[0], data, self.optimiser, part.gpu, part.compiled
      )

    def run():
      mine = torch.tensor(next(rows), device=part.device)
      return float(step(mine if together else mine[0]).flatten()[0])

    return run


TINY_FUSION = FusionSizes(
  subjects=3,
  seeds=1,
  steps=100,
  trial_seconds=8,
  tokens=16,
  token_width=32,
  model=(
    *(('width', 64), ('depth', 1), ('heads', 2), ('mlp_width', 128)),
    ('dropout', 0.2),
  ),
  physio=(
    *(('widths', (32, 48, 64)), ('kernels', (64, 16, 8)), ('strides', (16, 4, 2))),
    *(('depth', 1), ('mlp_width', 128)),
  ),
)


def out_of_memory(error):
  """Whether an exception of JAX or PyTorch says that the device's memory is full."""
  return type(error).__name__ == 'OutOfMemoryError' or 'RESOURCE_EXHAUSTED' in str(
    error
  )


def main():
  part = Part(**json.loads(sys.argv[1]))
  if part.side != OURS and part.gpu:
    import torch

    if not torch.cuda.is_available():
      print(json.dumps({'left_out': 'this PyTorch sees no GPU'}))
      return
  work = {'device': device, 'folds': folds}.get(part.work, pretraining)
  try:
    found = work(part)
  except Exception as error:
    if not out_of_memory(error):
      raise
    found = {'out_of_memory': True}
  print(json.dumps(found))


if __name__ == '__main__':
  main()
