"""Speed of reading clips for pre-training, against decoding the source video.

  python benchmarks/input.py [--video=FILE] [--clips=16]

Both sides make the very same examples (16 frames, stride 4 at 25 a second, 224
pixels, the recipe's crop, flip and mask) in one process on one processor, by the
same code but for where the frames come from: the prepared shards of
`datasets/videos` (JPEG of quality 95, shorter side 256), or PyAV. PyAV opens the
file, decodes up to the clip's last frame, and converts just the frames it needs:
in sequence from the start, which is right in any file, or from the key frame that
it seeks to, in the same stream put into an MP4, where seeking finds the right
frames (in AVI it does not; how often is printed). Seconds are of the processor,
so that other programs change little. Then the loader's examples a second by the
clock, with threads and with worker processes. The last line is one JSON object.
"""

import argparse
import contextlib
import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from mvp_jax.data import random_clips, trials
from mvp_jax.data.batches import training_batches
from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.masks import MaskConfig
from mvp_jax.data.random_clips import RandomClips
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.data.views import ViewConfig
from mvp_jax.preparation import prepare
from mvp_jax.raw.frames import JPEG_QUALITY
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.synthetic.video import write_face_video

RATE, SHORT_SIDE, SIZE = 25.0, 256, 224
REQUIRED = 10


class Decoded:
  """Stands in for a Corpus of one video: frames come from the file itself."""

  def __init__(self, path, corpus, seek):
    self.name, self._path, self._seek = path.name, str(path), seek
    self._times = corpus.trials[0].streams['video'].times

  def frames(self, trial, numbers):
    """Frames nearest to the stored ones' times: uint8 [n, height, width, 3]."""
    wanted = self._times[np.asarray(numbers)]
    found = []
    with av.open(self._path) as container:
      stream = container.streams.video[0]
      stream.codec_context.thread_count = 1
      half = 0.5 / float(stream.average_rate)
      if self._seek:
        container.seek(int(wanted[0] / stream.time_base), stream=stream)
      for count, frame in enumerate(container.decode(stream)):
        seconds = frame.time if self._seek else count * 2 * half
        if seconds > wanted[len(found)] - half:
          found.append(frame.to_ndarray(format='rgb24'))
          if len(found) == len(wanted):
            break
    return np.stack(found)


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--video', type=Path, help='a video file (default: drawn)')
  parser.add_argument('--clips', type=int, default=16, help='to measure each way')
  args = parser.parse_args()
  cv2.setNumThreads(1)
  with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    path = args.video or draw(folder)
    videos = folder / 'videos'
    videos.mkdir()
    (videos / path.name).symlink_to(path.resolve())
    corpus = PreparedCorpus(
      prepare('videos', videos, folder / 'data', frame_rate=RATE, frame_size=SHORT_SIDE)
    )
    describe(path, corpus)
    processors = pin()
    result = one_core(path, as_mp4(path, folder), corpus, args.clips)
    stages(corpus, args.clips)
    unpin(processors)
    result['loader_views_per_second'] = loader(corpus)
  print(json.dumps(result))


def draw(folder):
  path = folder / 'drawn.avi'
  write_face_video(path, TwinSpec(subjects=1, trials=1), 1, 1)
  return path


def as_mp4(path, folder):
  """The same packets in an MP4, in which seeking works."""
  target = folder / 'same.mp4'
  with av.open(str(path)) as source, av.open(str(target), 'w') as sink:
    stream = source.streams.video[0]
    out = sink.add_stream_from_template(stream)
    step = 1 / (stream.average_rate * stream.time_base)
    # AVI's times are those of decoding: the order of showing is not in them. These
    # are right where no frame is reordered, as in what `draw` writes.
    for number, packet in enumerate(p for p in source.demux(stream) if p.size):
      packet.pts = packet.dts = round(number * step)
      packet.stream = out
      sink.mux(packet)
  return target


def describe(path, corpus):
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    print(
      f'{path.name}: {stream.width}x{stream.height}, '
      f'{float(stream.average_rate):g} a second, {stream.codec_context.name}'
    )
  trial = corpus.trials[0]
  height, width = corpus.frames(trial, [0]).shape[1:3]
  stored = sum(f.stat().st_size for f in corpus.directory.glob('*frames*'))
  count = len(trial.streams['video'].times)
  print(
    f'stored: {count} frames, {width}x{height}, {RATE:g} a second, JPEG quality '
    f'{JPEG_QUALITY}, {stored / count / 1e3:.1f} kB a frame'
  )


def source_of(corpus, trial, repeats):
  return RandomClips(
    corpus,
    [trial],
    ClipLayout(),
    size=SIZE,
    patch=16,
    masks=MaskConfig(),
    views=ViewConfig(repeats=repeats),
    per_trial=1,
  )


def one_core(path, mp4, corpus, count):
  """Measures and prints every way; returns the figures."""
  trial = corpus.trials[0]
  sequence, seek = Decoded(path, corpus, False), Decoded(mp4, corpus, True)
  right = agreement(sequence, seek, trial)
  avi = agreement(sequence, Decoded(path, corpus, True), trial)
  print(
    f'seeking finds the right frames: {right:.0%} of those in the MP4, {avi:.0%} '
    f'of those in {path.name}\n'
  )
  ways = {
    'prepared shards': corpus,
    'PyAV in sequence': sequence,
    'PyAV with seek, MP4': seek,
  }
  seconds = {}
  print(f'{"":22}{"ms a clip":>20}{"clips a second":>17}{"ratio":>8}')
  for repeats in (1, 4):
    print(f'views of a clip: {repeats}')
    for way, frames in ways.items():
      seconds[way, repeats] = cost(source_of(frames, trial, repeats), count)
      ratio = seconds[way, repeats] / seconds['prepared shards', repeats]
      print(
        f'  {way:20}{1e3 * seconds[way, repeats]:20.1f}'
        f'{1 / seconds[way, repeats]:17.1f}{ratio:8.1f}'
      )
  ours, inorder, sought = (seconds[way, 1] for way in ways)
  return {
    'clips_per_second_per_core': round(1 / ours, 1),
    'pyav_clips_per_second_per_core': round(1 / inorder, 2),
    'pyav_seek_clips_per_second_per_core': round(1 / sought, 2),
    'ratio': round(inorder / ours, 1),
    'ratio_to_seek': round(sought / ours, 1),
    'ratio_with_4_views': round(
      seconds['PyAV in sequence', 4] / seconds['prepared shards', 4], 1
    ),
    'required_ratio': REQUIRED,
    'seek_right_in_mp4': right,
    'seek_right_in_avi': avi,
  }


def cost(source, count):
  """Mean processor seconds of some examples, equal for every way; one warms up."""
  spent = []
  for seed in range(count + 1):
    start = time.process_time()
    source.read((0, 0), np.random.default_rng(seed))
    spent.append(time.process_time() - start)
  return float(np.mean(spent[1:]))


def agreement(sequence, seek, trial, clips=4):
  """The share of frames that seeking gets right."""
  same = []
  for start in np.linspace(0, len(trial.streams['video'].times) - 61, clips + 2).astype(
    int
  )[1:-1]:
    numbers = start + 4 * np.arange(16)
    wanted = sequence.frames(trial, numbers)
    try:
      found = seek.frames(trial, numbers)
    except ValueError:
      found = wanted[:0]
    same += [len(found) > i and np.array_equal(found[i], wanted[i]) for i in range(16)]
  return float(np.mean(same))


def stages(corpus, count):
  """Prints where an example's time goes."""
  spent = {}
  with contextlib.ExitStack() as stack:
    for name, place, attribute in (
      ('read and parse chunks', corpus, '_chunks'),
      ('decode JPEG', trials.cv2, 'imdecode'),
      ('draw masks', random_clips, 'draw_masks'),
      ('crop, resize, flip', random_clips, 'draw_view'),
    ):
      spent[name] = 0.0
      stack.enter_context(watched(spent, name, place, attribute))
    total = cost(source_of(corpus, corpus.trials[0], 1), count) * (count + 1)
  spent['the rest'] = total - sum(spent.values())
  print('\nwhere the time goes, one view a clip')
  for name, seconds in spent.items():
    print(f'  {name:22}{1e3 * seconds / (count + 1):8.2f} ms{seconds / total:7.0%}')


@contextlib.contextmanager
def watched(spent, name, place, attribute):
  real = getattr(place, attribute)

  def run(*args, **kwargs):
    start = time.process_time()
    try:
      return real(*args, **kwargs)
    finally:
      spent[name] += time.process_time() - start

  set_it = (
    place.__dict__.__setitem__
    if isinstance(place, PreparedCorpus)
    else (lambda key, value: setattr(place, key, value))
  )
  set_it(attribute, run)
  try:
    yield
  finally:
    set_it(attribute, real)


def loader(corpus, seconds=6.0, batch_size=16):
  """Views a second of `training_batches` by the clock; prints and returns them."""
  found = {}
  print(f'\nthe loader on {os.cpu_count()} processors, views a second by the clock')
  for repeats, workers in itertools.product((1, 4), (0, 1, 2)):
    source = RandomClips(
      corpus,
      corpus.trials,
      ClipLayout(),
      size=SIZE,
      patch=16,
      masks=MaskConfig(),
      views=ViewConfig(repeats=repeats),
      per_trial=64,
    )
    batches = iter(
      training_batches(source, batch_size, 0, workers, source.read, views=repeats)
    )
    for _ in range(4):  # what was read ahead
      next(batches)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
      next(batches)
      count += batch_size
    rate = count / (time.perf_counter() - start)
    getattr(batches, 'close', lambda: None)()
    how = f'{workers} workers' if workers else '2 threads'
    found[f'{how}, {repeats} views'] = round(rate, 1)
    print(f'  {how:10} {repeats} views a clip {rate:10.1f}')
  return found


def pin():
  """Keeps this process on one processor; returns where it might be before."""
  if not hasattr(os, 'sched_setaffinity'):
    return None
  before = os.sched_getaffinity(0)
  os.sched_setaffinity(0, {min(before)})
  return before


def unpin(processors):
  if processors:
    os.sched_setaffinity(0, processors)


if __name__ == '__main__':
  main()
