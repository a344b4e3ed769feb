"""What trials of different lengths cost, against the seconds that they last.

  python benchmarks/trial_length.py [--trials 956] [--median 44] [--longest 329]
    [--batch 32] [--steps 3] [--rounds 2] [--full] [--lengths 4 6 8] [--count]

Simulates a corpus whose lengths are log-normal, with body signals and cached features
of the face, and trains the fusion of configs/deap_fusion.py (at its embedded size;
--full: as it is) on it. In the same run, in turns, a step on
  - trials that all last the mean length, without any padding: what the valid seconds
    alone cost, 1.0;
  - batches dealt by length (`data.lengths`), of at most so many lengths each;
  - all trials padded to the longest one.
CPU seconds are what counts (the least of the rounds): they tell of the work where a
machine is shared, too. Attention, whose scores grow with the square of the length, is
part of the step. Beside the time: the floating-point operations of a step, how many
seconds are computed for each that a trial lasts, the memory of a step as the compiler
states it, and how long it took to compile. --count compiles and runs nothing, and tells
of operations and seconds alone. Last line: one JSON object.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import tempfile
import time

import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from configs.deap_fusion import get_config
from mvp_jax.config import parse, resolve
from mvp_jax.data.batches import training_batches
from mvp_jax.data.clips import lay_clips
from mvp_jax.data.examples import TrialExamples
from mvp_jax.data.lengths import Plan, plan
from mvp_jax.data.trial import Frames, Series, Trial
from mvp_jax.models.emotion import EmotionConfig
from mvp_jax.models.modalities import Encoding
from mvp_jax.training import sharding
from mvp_jax.training.state import abstract_state, init_state, train_step
from mvp_jax.training.tasks import Emotion

_RATE, _FRAMES = 128.0, 5.0  # Hz


def lognormal(count, median, longest):
  """Seconds of each trial: float [count]."""
  z = np.random.default_rng(0).standard_normal(count)
  z -= np.median(z)
  return median * np.exp(z * np.log(longest / median) / z.max())


class Corpus:
  """What modalities ask of a prepared corpus."""

  name = 'simulated'
  metadata = {
    'frame_size': 64,
    'clean': True,
    'streams': {
      'signals': {'rate': _RATE, 'channels': ('eda', 'ppg'), 'before': 0.0},
      'video': {'rate': _FRAMES},
    },
  }


class Trials:
  """A source of examples of some lengths, each made up when it is read."""

  def __init__(self, config, seconds, plan, encoding):
    self.seconds, self.plan, self._encoding = seconds, plan, encoding
    self._config = config
    names = config.modalities_of('fusion')
    self._modalities = {name: config.modalities[name] for name in names}

  def __len__(self):
    return len(self.seconds)

  def _examples(self, number):
    rng, seconds = np.random.default_rng(number), self.seconds[number]
    samples, frames = round(seconds * _RATE), max(round(seconds * _FRAMES), 1)
    signals = rng.standard_normal((samples, 2), np.float32)
    times = (np.arange(frames) / _FRAMES).astype(np.float32)
    streams = {
      'signals': Series(signals, np.ones((samples, 2), bool), ('eda', 'ppg'), _RATE),
      'video': Frames(times, np.ones(frames, bool), 0, _FRAMES),
    }
    ratings = {'valence': 1.0 + 7 * (number % 2), 'arousal': 8.0}
    trial = Trial(f't{number}', number, 1, 1, ratings, streams)
    encoding, options = self._encoding, self._config.input
    count = len(lay_clips(streams['video'], options.clips)[2])
    tokens = rng.standard_normal((count, encoding.backbone.feature_width), np.float32)
    np.save(encoding.features / f'{trial.trial_id}.npy', tokens)
    limit = self.plan.lengths[-1]
    return TrialExamples(
      Corpus(),
      [trial],
      dataclasses.replace(options, max_seconds=limit),
      self._modalities,
      self._config.target,
      encoding,
      self.plan,
    )

  def __getitem__(self, number):
    return self._examples(int(number))[0]

  def shapes(self):
    return self._examples(int(np.argmin(self.seconds))).shapes()


class Way:
  """One way to lay out batches: its step, and what it takes."""

  def __init__(self, config, task, mesh, source, batch_size):
    self._batches = iter(training_batches(source, batch_size, 0, plan=source.plan))
    self._batches = [sharding.put_batch(next(self._batches), mesh) for _ in range(2)]
    self._given, self.clocks = (task, config.train.optimiser, mesh), []
    self._lowered = train_step(*self._given).lower(
      abstract_state(*self._given), self._batches[0]
    )
    self.flops = self._lowered.cost_analysis()['flops']

  def compile(self):
    clock = Clock()
    self._step = self._lowered.compile()
    self.compiling = clock.read()
    self.memory = self._step.memory_analysis().temp_size_in_bytes
    self._state = init_state(*self._given, 0)
    self.run(1)
    self.clocks.clear()

  def run(self, steps):
    clock = Clock()
    for i in range(steps):
      self._state, metrics = self._step(self._state, self._batches[i % 2])
    jax.block_until_ready((self._state, metrics))
    self.clocks.append(clock.read() / steps)


class Clock:
  """Seconds since it was made, of all cores and of the wall."""

  def __init__(self):
    self._began = time.process_time(), time.perf_counter()

  def read(self):
    return np.array([time.process_time(), time.perf_counter()]) - self._began


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--trials', type=int, default=956)
  parser.add_argument('--median', type=float, default=44)
  parser.add_argument('--longest', type=float, default=329)
  parser.add_argument('--batch', type=int, default=32)
  parser.add_argument('--lengths', type=int, nargs='+', default=[4, 6, 8])
  parser.add_argument('--steps', type=int, default=3)
  parser.add_argument('--rounds', type=int, default=2)
  parser.add_argument('--full', action='store_true')
  parser.add_argument('--count', action='store_true')
  args = parser.parse_args()
  tree = get_config().to_dict()
  if args.full:
    del tree['embedded']
    config = parse(tree)
  else:
    config = parse(resolve(get_config()))
  seconds = lognormal(args.trials, args.median, args.longest)
  longest, mean = float(np.ceil(seconds.max())), float(seconds.mean())
  mesh = sharding.make_mesh(config.mesh, jax.devices()[:1])
  backbone = config.encoder.backbone(config.input.clips, Corpus.metadata['frame_size'])
  plans = {
    f'{most} lengths': plan([seconds], longest, args.batch, most)
    for most in args.lengths
  }
  laid = {
    'valid seconds alone': (np.full(args.trials, mean), Plan((mean,))),
    **{name: (seconds, one) for name, one in plans.items()},
    'padded to the longest': (seconds, Plan((longest,))),
  }
  ways = {}
  with tempfile.TemporaryDirectory() as folder:
    encoding = Encoding(backbone, pathlib.Path(folder))
    names = config.modalities_of('fusion')
    networks = tuple(
      (name, config.modalities[name].network(Corpus.metadata, encoding))
      for name in names
    )
    task = Emotion(EmotionConfig(config.model, networks, config.target, names, longest))
    for name, (lasting, one) in laid.items():
      source = Trials(config, lasting, one, encoding)
      ways[name] = Way(config, task, mesh, source, args.batch)
      if not args.count:
        ways[name].compile()
        print(f'{name}: compiled in {ways[name].compiling[1]:.1f} s', flush=True)
  for _ in range(0 if args.count else args.rounds):
    for way in ways.values():
      way.run(args.steps)
  base = next(iter(ways.values()))
  print(
    f'\n{args.trials} trials of {seconds.min():.0f} to {longest:.0f} s (median '
    f'{np.median(seconds):.0f}, mean {mean:.0f}), batches of {args.batch}, '
    f'{"full" if args.full else "embedded"} size'
  )
  found = {}
  for name, way in ways.items():
    lasting, one = laid[name]
    rows = one.rows or (args.batch,)
    found[name] = {
      'seconds': round(float(np.dot(rows, one.lengths)) / args.batch / mean, 3),
      'operations': round(way.flops / base.flops, 3),
    }
    if not args.count:
      (cpu, wall), least = np.min(way.clocks, axis=0), np.min(base.clocks, axis=0)[0]
      found[name] |= {
        'time': round(cpu / least, 3),
        'cpu_s': round(cpu, 4),
        'wall_s': round(wall, 4),
        'memory_mib': round(way.memory / 2**20, 1),
        'compile_cpu_s': round(way.compiling[0], 1),
      }
  columns = list(found['padded to the longest'])
  print('ratios: seconds, operations, time')
  print(f'{"":22}' + ''.join(f'{column:>14}' for column in columns))
  for name, x in found.items():
    print(f'{name:22}' + ''.join(f'{x[column]:14.2f}' for column in columns))
  for name, (_, one) in laid.items():
    found[name] |= {'lengths': one.lengths, 'rows': one.rows or (args.batch,)}
  print(
    json.dumps(
      {
        'benchmark': 'trial_length',
        'size': 'full' if args.full else 'embedded',
        'batch': args.batch,
        'ways': found,
        'device': jax.devices()[0].device_kind,
      }
    )
  )


if __name__ == '__main__':
  main()
