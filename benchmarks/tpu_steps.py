"""The training step of a config, lowered for a TPU that is not here, and measured."""

import dataclasses
import importlib
import importlib.metadata
import json
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
