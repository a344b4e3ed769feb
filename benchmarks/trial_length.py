"""A 60 s trial against a 120 s trial: step time and memory of the fusion model.

  python benchmarks/trial_length.py [--seconds 60 120] [--steps 5]

Uses the full-size model of configs/deap_fusion.py on random inputs. Everything in
the model but the attention scores grows linearly with the length, so twice the
length should cost about twice as much. Memory is what the compiled step needs
besides its arguments, as the compiler states it.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from configs.deap_fusion import get_config
from mvp_jax.config import parse
from mvp_jax.models.emotion import EmotionConfig
from mvp_jax.models.modalities.physio import PhysioNetwork
from mvp_jax.models.modalities.video import VideoNetwork
from mvp_jax.models.videomae import preset
from mvp_jax.training import sharding
from mvp_jax.training.state import init_state, train_step
from mvp_jax.training.tasks import Emotion

_RATE = 128.0  # Hz, of the signals


def measure(config, seconds, steps):
  """Returns (seconds a step, bytes of temporary memory)."""
  width = preset(config.encoder.size).width
  task = Emotion(
    EmotionConfig(
      config.model,
      (
        ('physio', PhysioNetwork(config.modalities['physio'], 2, _RATE)),
        ('video', VideoNetwork(config.modalities['video'], width)),
      ),
      config.target,
      ('physio', 'video'),
    )
  )
  mesh = sharding.make_mesh(config.mesh, jax.devices()[:1])
  rng = np.random.default_rng(0)
  batch, samples = config.train.batch_size, round(seconds * _RATE)
  layout = config.input.clips
  tokens = layout.max_clips(seconds) * layout.slots
  examples = sharding.put_batch(
    {
      'physio/values': rng.standard_normal((batch, samples, 2), np.float32),
      'physio/levels': rng.standard_normal((batch, samples, 2), np.float32),
      'physio/valid': np.ones((batch, samples), bool),
      'video/tokens': rng.standard_normal((batch, tokens, width), np.float32),
      'video/valid': np.ones((batch, tokens), bool),
      'video/reference': np.ones((batch, tokens), bool),
      'video/times': np.tile(np.linspace(0, seconds, tokens, dtype='f'), (batch, 1)),
      'label': np.ones((batch, 2), np.float32),
      'weight': np.ones(batch, np.float32),
    },
    mesh,
  )
  state = init_state(task, config.train.optimiser, mesh, 0)
  step = train_step(task, config.train.optimiser, mesh).lower(state, examples).compile()
  memory = step.memory_analysis().temp_size_in_bytes
  times = []
  for _ in range(steps + 1):  # the first warms up
    start = time.perf_counter()
    state, metrics = step(state, examples)
    jax.block_until_ready((state, metrics))
    times.append(time.perf_counter() - start)
  return statistics.median(times[1:]), memory


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--seconds', type=float, nargs=2, default=(60, 120))
  parser.add_argument('--steps', type=int, default=5)
  args = parser.parse_args()
  tree = get_config().to_dict()
  del tree['embedded']
  config = parse(tree)
  rows = [measure(config, seconds, args.steps) for seconds in args.seconds]
  ratios = [b / a for a, b in zip(*rows, strict=True)]
  print(f'{"trial":>10}  {"s a step":>9}  {"memory MiB":>10}')
  for seconds, (duration, memory) in zip(args.seconds, rows, strict=True):
    print(f'{seconds:>8g} s  {duration:9.3f}  {memory / 2**20:10.1f}')
  print(f'{"ratio":>10}  {ratios[0]:9.2f}  {ratios[1]:10.2f}')
  print(
    json.dumps(
      {
        'benchmark': 'trial_length',
        'seconds': list(args.seconds),
        'time_ratio': round(ratios[0], 3),
        'memory_ratio': round(ratios[1], 3),
        'device': jax.devices()[0].device_kind,
      }
    )
  )


if __name__ == '__main__':
  main()
