"""Memory of training on ratings in time as the corpus grows, and what caching saves.

  python benchmarks/long_corpus.py [--videos 60 600] [--minutes 5] [--steps 30]

Simulates videos of five minutes with ratings and cached features of face and voice, of
the sizes of configs/affwild2_jca.py:small, and trains its fusion for some steps, read
from files as the job does where data is too large to lie in memory. Each size is a
process of its own: its peak memory is what the operating system tells. Features lie in
a temporary folder (about 5 MB a video). Beside it: what the data would take in
memory, and the time of a step with its reading (on the clock, and of processors, which
others on the machine change little), against steps that also run and
train a backbone, on the smallest corpus: the encoder of the face on frames, or one of
the voice on log-mel pictures (the transformer, or the ResNet-18 of JCA) of sound that
is made up as it is read.
"""

import argparse
import dataclasses
import json
import multiprocessing
import pathlib
import resource
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from configs.affwild2_jca import get_config

_LIVE = ('face', 'voice', 'resnet18')  # what is not cached


class _Corpus:
  """Prepared videos, of which only sound is read from here."""

  name, title = 'affwild2', 'simulated'
  metadata = {
    'streams': {
      'video': {'kind': 'frames', 'rate': 5.0},
      'audio': {'kind': 'sound', 'rate': 16_000.0},
    },
    'frame_size': 64,
  }

  def __init__(self, trials):
    self.trials = trials
    self._noise = np.random.default_rng(0).integers(-9000, 9000, 1 << 16, np.int16)

  def samples(self, trial, first, end, stream='audio'):
    places = np.arange(first, end)
    inside = (places >= 0) & (places < trial.streams[stream].count)
    return np.where(inside, self._noise[places % len(self._noise)], 0), inside

  def frames(self, trial, numbers, stream='video'):
    return np.zeros((len(numbers), 64, 64, 3), np.uint8) + np.uint8(numbers[0] % 200)


def _trials(videos, seconds):
  from mvp_jax.data.trial import Frames, Series, Sound, Trial

  times = (np.arange(seconds * 5) / 5).astype(np.float32)
  found = []
  for number in range(1, videos + 1):
    rng = np.random.default_rng(number)
    course = np.cumsum(rng.normal(0, 0.02, (seconds * 30, 2)), 0).clip(-1, 1)
    streams = {
      'video': Frames(times, np.ones(len(times), bool), 0, 5.0),
      'audio': Sound(seconds * 16_000, np.array([[0, seconds * 16_000]]), 0, 16_000.0),
      'ratings': Series(
        course.astype(np.float32),
        np.ones(course.shape, bool),
        ('valence', 'arousal'),
        30.0,
      ),
    }
    found.append(Trial(f'v{number}', number, 1, None, {}, streams))
  return found


def _voice(config, live, trials, folder):
  """The voice, on made-up features of its backbone unless that is live."""
  voice = config.modalities['voice']
  if live == 'resnet18':
    return dataclasses.replace(voice, backbone='resnet18')
  if live == 'voice':
    return voice
  for trial in trials:
    count = voice.layout.count(trial) * voice.reader.slots
    _write(folder, trial, count, voice.reader.feature_width)
  return dataclasses.replace(voice, checkpoint='made up', frozen=True).cached(folder)


def _write(folder, trial, count, width):
  folder.mkdir(exist_ok=True)
  np.save(folder / f'{trial.stretch_id}.npy', np.ones((count, width), np.float32))


def _measure(videos, seconds, steps, live):
  import jax

  from mvp_jax.config import parse
  from mvp_jax.data.batches import training_batches
  from mvp_jax.data.clips import lay_clips
  from mvp_jax.data.examples import TrialExamples
  from mvp_jax.data.windows import stretches
  from mvp_jax.models.emotion import EmotionConfig
  from mvp_jax.models.modalities import Encoding
  from mvp_jax.training import sharding
  from mvp_jax.training.state import init_state, train_step
  from mvp_jax.training.tasks import Emotion

  config = parse(_tree())
  target, options = config.target, config.input
  whole = _trials(videos, seconds)
  trials = stretches(whole, target, options.max_seconds)
  corpus = _Corpus(whole)
  backbone = config.encoder.backbone(options.clips, 64)
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    if live != 'face':
      for trial in trials:
        count = len(lay_clips(trial.streams['video'], options.clips)[2])
        _write(folder / 'face', trial, count, backbone.feature_width)
    encoding = Encoding(backbone, None if live == 'face' else folder / 'face')
    names = config.modalities_of('fusion')
    modalities = {name: config.modalities[name] for name in names}
    modalities['voice'] = _voice(config, live, trials, folder / 'voice')
    examples = TrialExamples(corpus, trials, options, modalities, target, encoding)
    labels = target.fit(whole)
    data = len(trials) * sum(x.nbytes for x in examples[0].values())
    examples = examples.take(range(len(trials)), labels)
    networks = tuple(
      (name, one.network(corpus.metadata, encoding)) for name, one in modalities.items()
    )
    task = Emotion(
      EmotionConfig(config.model, networks, target, names, options.max_seconds)
    )
    mesh = sharding.make_mesh(config.mesh, jax.devices()[:1])
    state = init_state(task, config.train.optimiser, mesh, 0)
    step = train_step(task, config.train.optimiser, mesh)
    size = config.train.batch_size
    batches = iter(training_batches(examples, size, 0, 0))
    times = []
    for _ in range(steps):
      began = _now()
      batch = sharding.put_batch(next(batches), mesh)
      state, metrics = step(state, batch)
      jax.block_until_ready(metrics)
      times.append(_now() - began)
  wall, processor = np.median(times[1:], axis=0)
  return {
    'videos': videos,
    'live': live,
    'examples': len(trials),
    'peak_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    'data_mb': data / 1e6,
    'step_s': float(wall),
    'processor_s': float(processor),
  }


def _now():
  """Seconds on the clock, and those that processors have worked for this process."""
  return np.array([time.perf_counter(), time.process_time()])


def _tree():
  from mvp_jax.config import resolve

  config = get_config('small')
  config.data.manual_dir = 'simulated'
  return resolve(config)


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--videos', type=int, nargs='+', default=[60, 600])
  parser.add_argument('--minutes', type=int, default=5)
  parser.add_argument('--steps', type=int, default=30)
  given = parser.parse_args()
  context = multiprocessing.get_context('spawn')
  found = []
  sizes = [(n, '') for n in given.videos] + [(given.videos[0], x) for x in _LIVE]
  print('videos  examples  live      data, MB  peak memory, MB  step, s  of processors')
  for videos, live in sizes:
    steps = 3 if live else given.steps
    with context.Pool(1) as pool:
      one = pool.apply(_measure, (videos, given.minutes * 60, steps, live))
    found.append(one)
    print(
      f'{videos:6}  {one["examples"]:8}  {live or "none":8}  '
      f'{one["data_mb"]:8.0f}  {one["peak_mb"]:15.0f}  {one["step_s"]:7.3f}  '
      f'{one["processor_s"]:13.3f}',
      flush=True,
    )
  print(json.dumps({'minutes': given.minutes, 'runs': found}))


if __name__ == '__main__':
  main()
