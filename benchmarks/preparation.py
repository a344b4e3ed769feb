"""Speed of preparing a face video, against plain decoding and resizing.

  python benchmarks/preparation.py [--video=FILE] [--rounds=2]

Both sides read the same 60 s of 720x576 at 50 frames a second in one process on
one processor. The plain side decodes with PyAV to RGB and resizes every frame
with OpenCV (INTER_AREA) to the size stored; the whole preparation of a trial
decodes, follows the face, cuts it out 25 times a second and encodes JPEG. The
best of some alternating rounds counts. The last line is one JSON object.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import av
import cv2

sys.path.insert(0, str(Path(__file__).parent.parent))
from mvp_jax.corpora.deap.twin import write_deap_twin
from mvp_jax.raw import face, frames
from mvp_jax.raw.video import Video
from mvp_jax.synthetic.spec import TwinSpec

SPEC = frames.FrameSpec(rate=25.0, size=224, crop='X')
STAGES = {
  'find the face': (face.FaceTracker, 'detect'),
  'smooth the box': (face.FaceTracker, 'box'),
  'convert to colour': (frames._Cutter, '_colours'),
  'cut out': (face, 'crop'),
  'encode JPEG': (frames, '_jpeg'),
}


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--video', type=Path, help='a face video (default: drawn)')
  parser.add_argument('--rounds', type=int, default=2)
  args = parser.parse_args()
  if hasattr(os, 'sched_setaffinity'):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
  cv2.setNumThreads(1)
  with tempfile.TemporaryDirectory() as folder:
    path = args.video or draw(Path(folder))
    with Video(path) as video:
      for _ in video:
        pass
      count, seconds, info = video.count, video.seconds, video.info
    print(
      f'{path.name}: {count} frames, {info.width}x{info.height}, '
      f'{info.rate:g} a second; stored: {SPEC.rate:g} a second, {SPEC.size} px'
    )
    plain, whole = [], []
    for _ in range(args.rounds):
      plain.append(timed(decode_and_resize, path))
      with stopwatches() as stages:
        whole.append(timed(frames.face_frames, path, SPEC, seconds))
  print_table(stages, whole[-1], count)
  result = {
    'plain_frames_per_second': round(count / min(plain), 1),
    'preparation_frames_per_second': round(count / min(whole), 1),
    'ratio': round(min(plain) / min(whole), 2),
    'required_ratio': 0.7,
  }
  print(json.dumps(result))


def draw(folder):
  write_deap_twin(folder, TwinSpec(subjects=1, trials=1), workers=1)
  return folder / 'face_video' / 's01' / 's01_trial01.avi'


def decode_and_resize(path):
  with av.open(str(path)) as container:
    for frame in container.decode(video=0):
      cv2.resize(
        frame.to_ndarray(format='rgb24'),
        (SPEC.size, SPEC.size),
        interpolation=cv2.INTER_AREA,
      )


def timed(function, *args):
  start = time.perf_counter()
  function(*args)
  return time.perf_counter() - start


@contextlib.contextmanager
def stopwatches():
  """Adds up the seconds that each stage takes within the context."""
  spent = dict.fromkeys(STAGES, 0.0)

  def watched(stage, function):
    def run(*args):
      start = time.perf_counter()
      try:
        return function(*args)
      finally:
        spent[stage] += time.perf_counter() - start

    return run

  originals = {stage: getattr(*place) for stage, place in STAGES.items()}
  for stage, place in STAGES.items():
    setattr(*place, watched(stage, originals[stage]))
  try:
    yield spent
  finally:
    for stage, place in STAGES.items():
      setattr(*place, originals[stage])


def print_table(stages, total, count):
  rows = {'decode, and the rest': total - sum(stages.values()), **stages}
  print(f'\n{"stage":22}{"seconds":>9}{"share":>8}{"ms/frame in":>13}')
  for stage, seconds in (*rows.items(), ('all', total)):
    print(
      f'{stage:22}{seconds:9.2f}{seconds / total:8.0%}{1e3 * seconds / count:13.3f}'
    )


if __name__ == '__main__':
  main()
