"""Predicts what a camera sees, while it sees it.

  python examples/live.py MODEL [SOURCE...] [--hop 5] [--signals FILE]

MODEL is the work directory of a run, or an exported model. SOURCE is the number of a
camera or a video file, which is played as fast as it can be read; of several the first
that opens is taken (default: camera 0). `live.py MODEL 0 clip.mp4` falls back on a file
where there is no camera.

FILE is a CSV that another program may still be writing to: a column `time`, in seconds
since 1970 (of a video file: since its first frame), and one for each channel, called as
the model calls it (eda, ppg, ...).

Each window is a line: when it was, each rating with its spread over models (and the
answer, unless the models abstain), and the last values of the first rating as a curve.
Ctrl-C ends it.
"""

import argparse
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import mvp_jax

BARS = ' ▁▂▃▄▅▆▇█'
PAST = 40  # values of the curve


def main(argv=None):
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('model')
  parser.add_argument('sources', nargs='*', default=['0'])
  parser.add_argument('--hop', type=float, help='seconds between windows')
  parser.add_argument('--signals', type=Path)
  args = parser.parse_args(argv)
  try:
    model = mvp_jax.load(args.model)
    stream = model.stream(hop=args.hop)
  except mvp_jax.InputError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  frames = next(filter(None, map(opened, args.sources)), None)
  if frames is None:
    print(
      f'error: {", ".join(args.sources)}: no camera and no video that opens; give a '
      'video file',
      file=sys.stderr,
    )
    return 2
  print(
    f'{model}\nwindows of {stream.seconds:g} s every {stream.hop:g} s, each told '
    f'{stream.latency:.1f} s after its end at the earliest',
    flush=True,
  )
  samples = Samples(args.signals, model.channels) if args.signals else None
  curve = []
  try:
    for moment, image in frames:
      if samples is not None:
        tell(curve, stream, samples.until(stream, moment))
      tell(curve, stream, stream.frame(moment, image))
  except KeyboardInterrupt:
    print('ending')
  if samples is not None:
    tell(curve, stream, samples.until(stream, np.inf))
  try:
    tell(curve, stream, stream.finish())
  except mvp_jax.InputError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  return 0


def opened(source):
  """Frames of a camera or a file, (seconds, RGB or av.VideoFrame); None: not there."""
  if source.isdigit():
    camera = cv2.VideoCapture(int(source))
    return of_camera(camera) if camera.isOpened() else None
  try:
    container = av.open(source)
  except (OSError, av.FFmpegError):
    return None
  return of_file(container) if container.streams.video else None


def of_camera(camera):
  while True:
    there, image = camera.read()
    if not there:
      return
    yield time.time(), cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def of_file(container):
  first, last = None, -1.0
  for frame in container.decode(video=0):
    first = frame.time if first is None else first
    last = max(frame.time - first, last + 1e-3)
    yield last, frame


class Samples:
  """Rows of a CSV that may still grow, in the order of their times."""

  def __init__(self, path, channels):
    self._path = path
    with path.open(encoding='utf-8') as file:
      self._names = [name.strip() for name in file.readline().split(',')]
      self._place = file.tell()
    self._channels = [name for name in channels if name in self._names]
    self._part, self._rows = '', []

  def until(self, stream, moment):
    """Feeds rows up to a moment to a stream; returns its estimates."""
    with self._path.open(encoding='utf-8') as file:
      file.seek(self._place)
      *lines, self._part = (self._part + file.read()).split('\n')
      self._place = file.tell()
    for line in filter(str.strip, lines):
      cells = dict(zip(self._names, line.split(','), strict=False))
      row = [float(cells[name] or 'nan') for name in ('time', *self._channels)]
      self._rows.append(row)
    due = [row for row in self._rows if row[0] <= moment]
    if not due:
      return []
    del self._rows[: len(due)]
    times, *values = np.array(due).T
    return stream.signals(times, **dict(zip(self._channels, values, strict=True)))


def tell(curve, stream, found):
  for one in found:
    said = []
    for name, value in one.values.items():
      spread = one.spread[name]
      apart = '' if spread is None else f' +- {spread:.2f}'
      answer = one.answers.get(name)
      told = f' ({answer})' if isinstance(answer, str) else ''
      said.append(
        f'{name} n/a' if value is None else f'{name} {value:.2f}{apart}{told}'
      )
    curve.append(next(iter(one.values.values())))
    known = [x for x in curve[-PAST:] if x is not None]
    low, high = min(known, default=0), max(known, default=0)
    bars = ''.join(
      ' ' if x is None else BARS[1 + round(7 * (x - low) / max(high - low, 1e-9))]
      for x in curve[-PAST:]
    )
    note = f'  ({one.note})' if one.note else ''
    print(
      f'{one.start:7.1f} to {one.end:7.1f} s  {"  ".join(said)}  |{bars}|{note}',
      flush=True,
    )


if __name__ == '__main__':
  sys.exit(main())
