"""False alarms and finds of the search for copies, on real recordings.

  python benchmarks/copies.py FOLDER ... [--seconds 10 18 30 60] [--windows 6]
      [--planted 20] [--videos FILE ...]

FOLDER has recordings of one person each, at --rate Hz: .npz (an array a channel), or
.csv with a header. Windows are cut that do not overlap, of all people; no two of them
are copies. They are compared as recorded, and as a wristband would have had them:
conductance at 4 Hz in steps of .001 (also a tenth as large), a slow drift of it in
steps of .02 (30 s hold three or four values) and both. Then copies are planted, each
beginning up to .4 of a window later, and changed. Of each kind it is told how many are
found, of how many that either look tells at the true place (the others carry too little
to tell), of how many planted. Faces are cut likewise; each video is one
person. The last line is one JSON object.
"""

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import scipy.signal

sys.path.insert(0, str(Path(__file__).parent.parent))
from mvp_jax.evaluation import content, evidence, exact
from mvp_jax.raw.resample import resample

RATE = 128.0  # Hz, of a model's input


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('folders', nargs='*', type=Path)
  parser.add_argument('--rate', type=float, default=100.0)
  parser.add_argument('--seconds', nargs='+', type=float, default=[10, 18, 30, 60])
  parser.add_argument('--windows', type=int, default=6, help='of each person')
  parser.add_argument('--planted', type=int, default=20, help='of each kind')
  parser.add_argument('--videos', nargs='*', type=Path, default=[])
  args = parser.parse_args()
  people = [
    read(path)
    for folder in args.folders
    for path in sorted(folder.iterdir())
    if path.suffix in ('.npz', '.csv')
  ]
  table = []
  print(
    f'{"data":<22}{"s":>4}{"windows":>9}{"pairs":>8}{"false":>7}{"plain":>7}  found'
  )
  for name, make in KINDS.items():
    made = [x for x in (make(person, args.rate) for person in people) if x is not None]
    for seconds in args.seconds:
      row = measure(made, seconds, args.windows, args.planted)
      if row:
        table.append({'data': name, 'seconds': seconds, **row})
        show(table[-1])
  films = [film(path) for path in args.videos]
  for seconds in args.seconds if films else ():
    row = measure_films(films, seconds, args.planted)
    if row:
      table.append({'data': 'faces', 'seconds': seconds, **row})
      show(table[-1])
  print(json.dumps({'benchmark': 'copies', 'table': table}))


def show(row):
  found = ', '.join(
    f'{kind} {"/".join(map(str, numbers))}' for kind, numbers in row['found'].items()
  )
  print(
    f'{row["data"]:<22}{row["seconds"]:>4.0f}{row["windows"]:>9}{row["pairs"]:>8}'
    f'{row["false"]:>7}{row["plain"]:>7}  {found}',
    flush=True,
  )


def read(path):
  """{channel: float [samples]} of a file."""
  if path.suffix == '.npz':
    with np.load(path) as arrays:
      return {name.lower(): np.asarray(arrays[name], float) for name in arrays}
  names = path.open().readline().strip().lower().split(',')
  rows = np.genfromtxt(path, delimiter=',', skip_header=1)
  return dict(zip(names, rows.T, strict=True))


def at(values, rate, new):
  seconds = len(values) / rate
  times = np.arange(len(values)) / rate
  even, _ = resample(values, times, new, int(seconds * new))
  return even.astype(float)


def coarse(values, rate, step):
  """As a sensor of 4 Hz that rounds has it, at the rate of a model's input."""
  return at(np.round(at(values, rate, 4.0) / step) * step, 4.0, RATE)


def slow(values, rate):
  """A drift of conductance in place of a skin's temperature, which is not at hand."""
  sos = scipy.signal.butter(2, 0.03, fs=rate, output='sos')
  return 0.35 * scipy.signal.sosfiltfilt(sos, values)


def plain(*names):
  def make(person, rate):
    if not set(names) <= set(person):
      return None
    return np.stack([at(person[name], rate, RATE) for name in names], 1)

  return make


def wristband(*channels):
  def make(person, rate):
    if 'eda' not in person:
      return None
    eda = person['eda']
    made = {
      'eda': lambda: coarse(eda, rate, 0.001),
      'faint': lambda: coarse(eda / 10, rate, 0.001),
      'temperature': lambda: coarse(slow(eda, rate), rate, 0.02),
    }
    return np.stack([made[name]() for name in channels], 1)

  return make


KINDS = {
  'eda': plain('eda'),
  'emg': plain('emg_zygomaticus'),
  'eda, emg, emg': plain('eda', 'emg_corrugator', 'emg_zygomaticus'),
  'ecg': plain('ecg'),
  'rsp': plain('rsp'),
  'coarse eda': wristband('eda'),
  'coarse faint eda': wristband('faint'),
  'coarse drift': wristband('temperature'),
  'coarse eda, drift': wristband('eda', 'temperature'),
}


def changes(rng):
  """{kind: function of a window [time, k]} of how a copy is changed."""

  def rounded(x):
    step = 0.02 * x.std(0) + 1e-12
    return np.round(x / step) * step

  def noisy(share):
    return lambda x: x + rng.normal(0, share, x.shape) * x.std(0)

  def slower(x):
    return np.stack([at(at(c, RATE, 50.0), 50.0, RATE) for c in x.T], 1)

  return {
    'scaled': lambda x: rng.uniform(0.2, 5) * x + rng.normal(),
    'inverted': lambda x: -x,
    'cropped': lambda x: x[: -round(0.1 * len(x))],
    'resampled': slower,
    'rounded': rounded,
    'noise 1 %': noisy(0.01),
    'noise 2 %': noisy(0.02),
    'noise 5 %': noisy(0.05),
  }


def measure(people, seconds, windows, planted):
  """What is found among windows of people, [time, k] each, or None if there are none.

  Of planted copies: [found, of those that carry enough to tell, planted].
  """
  rng = np.random.default_rng(0)
  size, cut = round(seconds * RATE), []
  for whole in people:
    starts = np.arange(0, len(whole) - size + 1, size)
    cut += [whole[s : s + size] for s in rng.permutation(starts)[:windows]]
  if len(cut) < 2:
    return None
  pairs, mute = content.same_signals(cut, RATE)
  found = {}
  for kind, change in changes(rng).items():
    which = rng.permutation(len(cut))[:planted]
    room = min(0.4 * seconds, 0.9 * seconds - 8.1)
    # Not on a sample: a shift of a fraction of one.
    begins = rng.uniform(0, max(0.0, room), len(which)) * RATE
    copies = [
      change(late(cut[i], begin)) for i, begin in zip(which, begins, strict=True)
    ]
    hits = {pair[:2] for pair in content.same_signals([*cut, *copies], RATE)[0]}
    told = [
      enough(cut[i], copy, begin)
      for i, copy, begin in zip(which, copies, begins, strict=True)
    ]
    hit = [(int(i), len(cut) + n) in hits for n, i in enumerate(which)]
    both = sum(h and t for h, t in zip(hit, told, strict=True))
    found[kind] = [both, sum(told), len(told)]
  return {
    'windows': len(cut),
    'pairs': len(cut) * (len(cut) - 1) // 2,
    'false': len(pairs),
    'plain': len(mute),
    'found': found,
  }


def late(x, begin):
  places = np.arange(begin, len(x) - 1)
  return np.stack([np.interp(places, np.arange(len(x)), c) for c in x.T], 1)


def enough(whole, copy, begin):
  """Whether a copy is exact where it truly lies, or the evidence reaches the limit."""
  bent = [exact.bends(x, RATE) for x in (whole, copy)]
  if exact.is_same(*bent, -begin / RATE, RATE)[0]:
    return True
  fine = 16.0
  a, b = (evidence.at_rate(x - x[:1], RATE, fine) for x in (whole, copy))
  a = a[round(begin / RATE * fine) :]
  count = min(len(a), len(b))
  (nats,), _ = evidence.evidence(a[None, :count], b[None, :count], fine)
  return bool(nats >= evidence.LIMIT)


def film(path):
  """Grey frames of a video, 64 x 64, five a second: list of uint8 [64, 64]."""
  capture, frames = cv2.VideoCapture(str(path)), []
  step = max(1.0, (capture.get(cv2.CAP_PROP_FPS) or 25.0) / 5.0)
  number = 0
  while True:
    good, image = capture.read()
    if not good:
      break
    if number >= len(frames) * step:
      frames.append(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
    number += 1
  return frames


def measure_films(films, seconds, planted):
  """As `measure`, of faces. Frames before they are made small, so that crops differ."""
  rng = np.random.default_rng(0)
  size, cut = round(seconds * 5), []
  for frames in films:
    cut += [frames[s : s + size] for s in range(0, len(frames) - size + 1, size)]
  if not cut:
    return None
  known = [patterns(x) for x in cut]
  pairs, found = content.same_films(known, 5.0), {}
  kinds = {
    'shifted': lambda x: x,
    'brighter': lambda x: np.clip(x * 1.3 + 10, 0, 255).astype(np.uint8),
    'recoded': lambda x: cv2.imdecode(
      cv2.imencode('.jpg', x, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 0
    ),
    'other crop': lambda x: x[x.shape[0] // 20 :, : -x.shape[1] // 16],
  }
  for kind, change in kinds.items():
    hits = 0
    which = rng.integers(0, len(cut), planted)
    for i in which:
      begin = int(rng.integers(0, max(1, min(0.4 * size, size - 41))))
      copy = patterns([change(x) for x in cut[i][begin:]])
      told = content.same_films([*known, copy], 5.0)
      hits += (int(i), len(cut)) in {pair[:2] for pair in told}
    found[kind] = [hits, planted]
  count = len(cut)
  return {
    'windows': count,
    'pairs': count * (count - 1) // 2,
    'false': len(pairs),
    'plain': 0,
    'found': found,
  }


def patterns(frames):
  """`frame_patterns` [time, 8] of frames as stored, an eighth of 224 pixels."""
  small = [cv2.resize(x, (28, 28), interpolation=cv2.INTER_AREA) for x in frames]
  return np.array([content.frame_patterns(x) for x in small], np.float32)


if __name__ == '__main__':
  main()
