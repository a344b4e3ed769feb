"""Training steps compiled for TPUs that are not here: memory, collectives, bounds.

  python benchmarks/tpu_compile.py CONFIG TOPOLOGY [SETTING=VALUE ...]
  python benchmarks/tpu_compile.py videomae_pretrain v5e:4x8 encoder.remat=linear
  python benchmarks/tpu_compile.py --all      all of the table that are not known yet
  python benchmarks/tpu_compile.py --table    the table of docs/scale.md

CONFIG is a file of configs/, taken at full size; settings are as on the command line,
without --config. TPU's own compiler, in the package libtpu, runs on any CPU and refuses
what does not fit. Its version goes with that of JAX, see what `jax[tpu]` asks for:

  pip install --no-deps --target libtpu libtpu==0.0.42.1      (for JAX 0.10.2)
  PYTHONPATH=libtpu python benchmarks/tpu_compile.py ...

Nothing is run: there are no times, but bounds. What is found stays in
benchmarks/tpu_compile.json, or in the file that --found names.
"""

import argparse
import dataclasses
import importlib
import importlib.metadata
import json
import os
import pathlib
import re
import sys
import tempfile
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from mvp_jax.config import parse
from mvp_jax.data.masks import mask_sizes
from mvp_jax.data.trial import Frames, Series, Trial
from mvp_jax.jobs import train as training_job
from mvp_jax.models.emotion import EmotionConfig
from mvp_jax.models.modalities import Encoding
from mvp_jax.training import sharding, side_by_side
from mvp_jax.training.collectives import counted, moved_bytes
from mvp_jax.training.speed import peak_flops
from mvp_jax.training.state import abstract_state, fresh_state, train_step
from mvp_jax.training.tasks import Emotion, VideoEmotion
from mvp_jax.training.traffic import moved

FOUND = pathlib.Path(__file__).with_suffix('.json')
_TRIALS = 880  # of DEAP with video, that all folds share
_GIB = 2**30
# By the kind of a chip: bytes a second of its memory and of its links to others, all
# together, as published, and the GiB of memory that the compiler has.
_CHIPS = {
  'TPU v5 lite': (819e9, 200e9, 15.75),
  'TPU v5': (2765e9, 600e9, 95.74),
  'TPU v6 lite': (1640e9, 448e9, 31.25),
}
_NEEDED = re.compile(r'Used ([\d.]+)([GM]) of ([\d.]+)G hbm')


@dataclasses.dataclass(frozen=True)
class Case:
  """A config file's name, a topology, and settings ('encoder.remat=linear', ...)."""

  config: str
  topology: str
  settings: tuple[str, ...] = ()

  def __str__(self):
    return ' '.join([self.config, self.topology, *self.settings])

  def parsed(self):
    """The Config, at full size."""
    words = importlib.import_module(f'configs.{self.config}').get_config()
    for setting in self.settings:
      name, _, value = setting.partition('=')
      words.update_from_flattened_dict({name: _value(value)})
    tree = words.to_dict()
    tree.pop('embedded')
    return parse(tree)


def _value(text):
  try:
    return json.loads(text)
  except ValueError:
    return text


@dataclasses.dataclass(frozen=True)
class Step:
  """A step to compile: lowered for its devices, and what is known of it beforehand."""

  lowered: object
  params: object  # abstract, with their shardings; None: of models on their own
  flops: float | None  # that the mathematics of all devices requires
  batch: int


def lowered(config, mesh):
  """The Step of a Config: pre-training, fine-tuning of video, or folds of trials."""
  if config.job == 'pretrain':
    return _pretraining(config, mesh)
  if config.input.windows == 'random':
    return _clips(config, mesh)
  return _trials(config, mesh)


def _one(task, train, example, mesh):
  """The Step of a single model."""
  where = sharding.batch_sharding(mesh)
  sharding.check_batch(train.batch_size, mesh, 'batch_size', train.accumulate)
  batch = {
    name: jax.ShapeDtypeStruct((train.batch_size, *shape), dtype, sharding=where)
    for name, (shape, dtype) in example.items()
  }
  state = abstract_state(task, train.optimiser, mesh)
  step = train_step(task, train.optimiser, mesh, train.accumulate)
  flops = task.flops(batch) if hasattr(task, 'flops') else None
  return Step(
    step.lower(state, batch),
    state.params,
    flops and flops * train.batch_size,
    train.batch_size,
  )


def _clip(config, size):
  return (config.input.clips.frames, size, size, 3), jnp.uint8


def _pretraining(config, mesh):
  settings = config.encoder
  backbone = settings.network(config)
  visible, masked = mask_sizes(*backbone.grid, settings.masks)
  example = {
    'frames': _clip(config, backbone.size),
    'visible': ((visible,), jnp.int32),
    'masked': ((masked,), jnp.int32),
    'weight': ((), jnp.float32),
  }
  return _one(settings.task(backbone), settings.train, example, mesh)


def _clips(config, mesh):
  backbone = config.encoder.network(config)
  task = VideoEmotion(backbone, config.target, config.regularisation)
  shape, dtype = _clip(config, backbone.size)
  example = {
    'frames': ((config.input.views, *shape), dtype),
    'label': ((config.target.outputs,), jnp.float32),
    'weight': ((), jnp.float32),
  }
  return _one(task, config.train, example, mesh)


def _trials(config, mesh):
  """All folds and seeds of the first model; alone, if its encoder is trained."""
  model = config.evaluation.models[0]
  with tempfile.TemporaryDirectory() as folder:
    corpus, trial = _longest(config, config.input.max_seconds)
    backbone = config.encoder.network(config)
    features = None if config.encoder.finetune else pathlib.Path(folder)
    if features:
      count = len(trial.streams['video'].times) // round(
        config.input.clips.spacing * config.data.frame_rate
      )
      slots = max(count, 1) * config.input.clips.slots
      tokens = np.zeros((slots, backbone.feature_width), np.float32)
      np.save(features / f'{trial.stretch_id}.npy', tokens)
    encoding = Encoding(backbone, features)
    examples = training_job._examples(config, corpus, [trial], model, encoding)
    networks = tuple(
      (name, one.network(corpus.metadata, encoding))
      for name, one in examples.modalities.items()
    )
    task = Emotion(
      EmotionConfig(
        config.model,
        networks,
        config.target,
        config.modality_names,
        config.input.max_seconds,
      )
    )
    example = {
      name: (np.shape(x), np.asarray(x).dtype) for name, x in examples[0].items()
    }
  label = (config.target.outputs,), np.float32
  if config.encoder.finetune:
    return _one(task, config.train, example | {'label': label}, mesh)
  members = config.evaluation.folds * config.evaluation.seeds
  each = -(-members // mesh.size)
  split = NamedSharding(mesh, P(sharding.AXES))

  def stacked(tree, where, count):
    return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct((count, *x.shape), x.dtype, sharding=where), tree
    )

  def array(shape, dtype):
    return jax.ShapeDtypeStruct(shape, dtype)

  state = stacked(
    jax.eval_shape(lambda: fresh_state(task, config.train.optimiser, 0)),
    split,
    each * mesh.size,
  )
  own = {
    'scale': {
      name: array(example[name][0][-1:], jnp.float32) for name in examples.scaled
    },
    'own': {'label': array((_TRIALS, *label[0]), jnp.float32)},
    'settings': {},
  }
  step = side_by_side.step(
    task, config.train.optimiser, config.train.accumulate, mesh, each
  ).lower(
    state,
    stacked(own, split, each * mesh.size),
    stacked(array((config.train.batch_size,), jnp.int32), split, each * mesh.size),
    stacked(
      {name: array(*x) for name, x in example.items()},
      sharding.replicated(mesh),
      _TRIALS,
    ),
  )
  return Step(step, None, None, config.train.batch_size * members)


def _longest(config, seconds):
  """A corpus of one trial with signals and video, of which only the shapes count."""
  channels, rate = config.data.channels, 128.0
  count, frames = round(seconds * rate), round(seconds * config.data.frame_rate)
  times = np.arange(frames, dtype=np.float32) / np.float32(config.data.frame_rate)
  trial = Trial(
    'trial',
    1,
    1,
    1,
    dict.fromkeys(config.target.ratings, 5.0),
    {
      'signals': Series(
        np.zeros((count, len(channels)), np.float32),
        np.ones((count, len(channels)), bool),
        channels,
        rate,
      ),
      'video': Frames(times, np.ones(frames, bool), 0, config.data.frame_rate),
    },
  )
  size = config.data.frame_size
  metadata = {
    'streams': {'signals': {'kind': 'series', 'channels': channels, 'rate': rate}},
    'frame_size': size,
  }

  def pictures(trial, numbers):
    return np.zeros((len(numbers), size, size, 3), np.uint8)

  return types.SimpleNamespace(
    metadata=metadata, frames=pictures, name='made up'
  ), trial


def least_sent(params, mesh):
  """Bytes that a device must get from others in a step, as `moved_bytes` counts.

  Where `data` alone splits: each gradient once, in bfloat16 as the encoders compute.
  None of other meshes: what is gathered is then the compiler's choice.
  """
  if mesh.shape['fsdp'] > 1 or mesh.shape['tensor'] > 1:
    return None
  return 2 * sum(x.size for x in jax.tree.leaves(params)) * (mesh.size > 1)


def measure(case):
  """Compiles a Case: what it needs, a dict that can be written as JSON."""
  config = case.parsed()
  devices = topologies.get_topology_desc(
    platform='tpu', topology_name=case.topology
  ).devices
  mesh = sharding.make_mesh(config.mesh, devices)
  bandwidth, links, limit = _CHIPS[devices[0].device_kind]
  step = lowered(config, mesh)
  found = {
    'chip': devices[0].device_kind,
    'chips': mesh.size,
    'hosts': len({device.process_index for device in devices}),
    'mesh': dict(mesh.shape),
    'batch': step.batch,
    'libtpu': importlib.metadata.version('libtpu'),
    'jax': jax.__version__,
    'limit_gib': limit,
  }
  start = time.process_time()
  try:
    compiled = step.lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    needed = _NEEDED.search(str(error))
    if not needed:
      raise
    size = float(needed[1]) / (1024 if needed[2] == 'M' else 1)
    return found | {'fits': False, 'needed_gib': round(size, 2)}
  found |= {'fits': True, 'compile_cpu_seconds': round(time.process_time() - start)}
  memory = compiled.memory_analysis()
  parts = {
    'arguments': memory.argument_size_in_bytes,
    'outputs': memory.output_size_in_bytes - memory.alias_size_in_bytes,
    'temporaries': memory.temp_size_in_bytes,
    'code': memory.generated_code_size_in_bytes,
  }
  found['needed_gib'] = round(sum(parts.values()) / _GIB, 2)
  found['memory_gib'] = {name: round(x / _GIB, 3) for name, x in parts.items()}
  sent, count = moved_bytes(compiled)[1], counted(compiled)
  found['collectives'] = {
    kind: {'count': count[kind], 'bytes': size} for kind, size in sent.items()
  }
  found['least_sent_bytes'] = least_sent(step.params, mesh) if step.params else 0
  by_name = moved(compiled)
  found['moved_bytes'] = sum(by_name.values())
  largest = sorted(by_name.items(), key=lambda item: -item[1])[:8]
  found['most_moved'] = {name: size for name, size in largest}
  seconds = {
    'memory': found['moved_bytes'] / bandwidth,
    # A reduction sends all but a share twice, out and back.
    'links': sum(
      size * (2 if kind == 'all-reduce' else 1) for kind, size in sent.items()
    )
    / links,
  }
  if step.flops:
    found['flops'] = step.flops / mesh.size
    seconds['units'] = step.flops / peak_flops(devices)
    found['most_of_peak'] = round(seconds['units'] / max(seconds.values()), 3)
  found['least_seconds'] = {name: float(f'{x:.3g}') for name, x in seconds.items()}
  return found


# What docs/scale.md shows, the most wanted first.
_PRETRAIN = 'videomae_pretrain'
TABLE = (
  Case(_PRETRAIN, 'v5e:4x8'),
  Case(_PRETRAIN, 'v5e:4x8', ('encoder.remat=linear',)),
  Case('deap_fusion', 'v5e:4x8'),
  Case('deap_video', 'v5e:4x8'),
  Case(
    _PRETRAIN,
    'v5p:4x4x4',
    ('encoder.size=L', 'encoder.train.batch_size=2048', 'mesh.fsdp=4'),
  ),
  Case(_PRETRAIN, 'v6e:8x8', ('encoder.train.batch_size=2048',)),
  Case(_PRETRAIN, 'v5e:2x2', ('encoder.train.accumulate=8',)),
  Case(_PRETRAIN, 'v5e:4x4', ('encoder.train.accumulate=2',)),
  Case(_PRETRAIN, 'v5e:4x8', ('encoder.size=L', 'encoder.remat=linear')),
  Case(_PRETRAIN, 'v5e:4x8', ('encoder.size=S',)),
  Case(
    _PRETRAIN,
    'v5p:4x4x4',
    ('encoder.size=H', 'encoder.remat=linear', 'mesh.fsdp=4'),
  ),
  Case(
    _PRETRAIN,
    'v5p:4x4x4',
    ('encoder.size=g', 'encoder.patch=14', 'encoder.remat=linear', 'mesh.fsdp=4'),
  ),
)


def known(path):
  """{text of a Case: what `measure` found} so far."""
  return json.loads(path.read_text()) if path.exists() else {}


def keep(path, case, found):
  """Adds what `measure` found of a Case."""
  part = path.with_suffix('.part')
  everything = dict(sorted((known(path) | {str(case): found}).items()))
  part.write_text(json.dumps(everything, indent=1) + '\n')
  part.replace(path)


def table(everything):
  """The table of docs/scale.md: Markdown."""
  rows = [
    (
      'step',
      'chips (hosts)',
      'batch',
      'memory of a chip, GiB',
      'collectives a step',
      'a chip does',
      'at most of peak',
      'compiled in',
    ),
    ('---',) * 8,
  ]
  for case in TABLE:
    if (found := everything.get(str(case))) is None:
      continue
    rows.append(
      (
        f'`{" ".join([case.config, *case.settings])}`',
        f'{found["chips"]} {case.topology.replace(":", " ")} ({found["hosts"]})',
        f'{found["batch"]:,}',
        _memory(found),
        *(_work(found) if found['fits'] else ('',) * 4),
      )
    )
  return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def _memory(found):
  need = f'{found["needed_gib"]:.1f} of {found["limit_gib"]:g}'
  if not found['fits']:
    return f'{need}: **refused**'
  parts = found['memory_gib']
  return (
    f'{need} ({", ".join(f"{x:.1f} {name}" for name, x in parts.items() if x > 0.05)})'
  )


def _work(found):
  sent = ', '.join(
    f'{x["count"]} {kind} {x["bytes"] / 1e6:.0f} MB'
    for kind, x in found['collectives'].items()
  )
  does = f'{found["moved_bytes"] / 1e9:.1f} GB'
  if 'flops' in found:
    does = f'{found["flops"] / 1e12:.1f} TFLOP, {does}'
  bound = max(found['least_seconds'], key=found['least_seconds'].get)
  most = f'{found["most_of_peak"]:.0%}' if 'most_of_peak' in found else '-'
  if found['least_sent_bytes']:
    sent += f' (least {found["least_sent_bytes"] / 1e6:.0f} MB)'
  return (
    sent or 'none',
    does,
    f'{most} ({bound})',
    f'{found["compile_cpu_seconds"]} s',
  )


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('case', nargs='*', help='CONFIG TOPOLOGY [SETTING=VALUE ...]')
  parser.add_argument('--all', action='store_true')
  parser.add_argument('--table', action='store_true')
  parser.add_argument('--found', type=pathlib.Path, default=FOUND)
  args = parser.parse_args()
  # No TPU is looked for.
  jax.config.update('jax_platforms', 'cpu')
  os.environ |= {'TPU_SKIP_MDS_QUERY': '1', 'TPU_WORKER_HOSTNAMES': 'localhost'}
  os.environ['ALLOW_MULTIPLE_LIBTPU_LOAD'] = '1'  # beside another that compiles
  cases = [Case(args.case[0], args.case[1], tuple(args.case[2:]))] if args.case else []
  if args.all:
    cases += [case for case in TABLE if str(case) not in known(args.found)]
  for case in cases:
    found = measure(case)
    keep(args.found, case, found)
    print(json.dumps({str(case): found}), flush=True)
  if args.table:
    print(table(known(args.found)))


if __name__ == '__main__':
  main()
