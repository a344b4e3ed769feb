"""How well the clock audit finds planted offsets between video and signals.

  python benchmarks/clock.py [--subjects 12] [--workers 2] [--crf 18 22 26]

Draws one trial each of some subjects of the twin (720x576, 25 frames a second) at
several qualities of H.264, prepares the face crops as for training, and stamps their
frames 0.2 to 3 s too late or too early. Then, at several rates and sizes of the
crops, two ways look for the offset: the audit (POS, the band around the heart rate,
the recorded pulse gone on at its ends), and what one would do at first with a PPG:
the highest cross-correlation of the face's green with it, both band-passed. `pooled`
is the audit of four trials with one offset in common. The last line is one JSON
object.
"""

import argparse
import concurrent.futures
import json
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from scipy.signal import butter, correlate, correlation_lags, sosfiltfilt

sys.path.insert(0, str(Path(__file__).parent.parent))
from mvp_jax.raw import clock
from mvp_jax.raw.frames import FrameSpec, face_frames
from mvp_jax.raw.pulse import skin_colour
from mvp_jax.synthetic.signals import simulate_body
from mvp_jax.synthetic.spec import BASELINE_SECONDS, SIGNAL_RATE, TwinSpec
from mvp_jax.synthetic.video import write_face_video

RATE = 25
# Size of the crop in pixels, every how many-th frame.
SETTINGS = ((224, 1), (112, 1), (64, 1), (224, 2))
SURE, POOLED = 0.95, 4


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--subjects', type=int, default=12)
  parser.add_argument('--workers', type=int, default=2)
  parser.add_argument('--crf', type=int, nargs='+', default=[18, 22, 26])
  args = parser.parse_args()
  jobs = [(crf, subject) for crf in args.crf for subject in range(1, args.subjects + 1)]
  with concurrent.futures.ProcessPoolExecutor(args.workers) as pool:
    seen = dict(zip(jobs, pool.map(watch, *zip(*jobs, strict=True)), strict=True))
  summary = {'benchmark': 'clock', 'subjects': args.subjects}
  print(
    f'{"crf":>4}{"size":>6}{"Hz":>6} {"signal":<6}{"way":<7}'
    f'{"median error":>13}{"within 0.1 s":>14}{"sure":>6}{"sure, right":>13}'
  )
  for crf in args.crf:
    for size, every in SETTINGS:
      for channel in clock.CHANNELS:
        trials = [
          (subject, channel, every, *seen[crf, subject][size])
          for subject in range(1, args.subjects + 1)
        ]
        audit, sure, plain = map(
          np.array, zip(*(errors(*trial) for trial in trials), strict=True)
        )
        pooled = np.array(
          [
            pooled_error(trials[start : start + POOLED])
            for start in range(0, len(trials), POOLED)
          ]
        )
        for way, found in (('audit', audit), ('plain', plain), ('pooled', pooled)):
          if (way, channel) == ('plain', 'ecg'):  # it is no wave like the face's
            continue
          told = f'{sure.sum():6d}{(audit[sure] < 0.2).sum():13d}'
          print(
            f'{crf:4d}{size:6d}{RATE / every:6.1f} {channel:<6}{way:<7}'
            f'{np.median(found):11.3f} s{(found <= 0.1).mean():14.0%}'
            f'{told if way == "audit" else ""}',
            flush=True,
          )
          summary[f'crf{crf}/{size}px/{RATE / every:g}Hz/{channel}/{way}'] = [
            round(float(np.median(found)), 3),
            round(float((found <= 0.1).mean()), 3),
          ]
  summary['required_median_seconds'] = 0.1
  print(json.dumps(summary))


def watch(crf, subject):
  """Draws and prepares a trial: {size: (colours [frames, 3], times [frames])}."""
  cv2.setNumThreads(1)
  spec = TwinSpec(subjects=99, frame_rate=float(RATE), crf=crf)
  with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / 'face.avi'
    write_face_video(path, spec, subject, 1)
    frames = face_frames(path, FrameSpec(float(RATE), 224, 'X'), 60.0)
  colours = {size: [] for size, _ in SETTINGS}
  for jpeg in frames['jpegs']:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    for size in colours:
      colours[size].append(skin_colour(image if size == 224 else stored(image, size)))
  return {size: (np.array(found), frames['times']) for size, found in colours.items()}


def stored(image, size):
  """The crop at another size, through JPEG like the first."""
  small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
  _, jpeg = cv2.imencode('.jpg', small[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 95))
  return cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB)


def errors(subject, channel, every, colours, times):
  """(error of the audit in s, whether it was sure, error of the plain way)."""
  late = planted(subject)
  trial = shifted(subject, channel, every, colours, times, late)
  found = clock.compare(*trial)
  error = abs(found.offset - late) if np.isfinite(found.offset) else clock.MAX_OFFSET
  return error, found.confidence >= SURE, abs(plain(*trial) - late)


def pooled_error(trials):
  """The error in s of the audit of some trials with the same offset."""
  late = planted(trials[0][0] + 100)
  found = clock.pool([clock.compare(*shifted(*trial, late)) for trial in trials])
  return abs(found.offset - late) if np.isfinite(found.offset) else clock.MAX_OFFSET


def planted(seed):
  rng = np.random.default_rng(seed)
  return rng.uniform(0.2, 3.0) * rng.choice([-1, 1])


def shifted(subject, channel, every, colours, times, late):
  """Arguments of `clock.compare`; of the frames only those within the 60 s."""
  body = simulate_body(TwinSpec(subjects=99), subject, 1)
  values = {'ppg': body.ppg, 'ecg': body.ecg[:, 0]}[channel]
  values = values[BASELINE_SECONDS * SIGNAL_RATE :]
  colours, times = colours[::every], times[::every].astype(float) + late
  inside = (times >= 0) & (times <= len(values) / SIGNAL_RATE)
  return colours[inside], times[inside], values, SIGNAL_RATE, channel


def plain(colours, times, values, rate, channel):
  """The offset where the green of the face goes best with the signal."""
  even = np.arange(times[0], times[-1], 1 / rate)
  band = butter(2, [0.7, 3.0], 'bandpass', fs=rate, output='sos')
  good = np.isfinite(colours).all(axis=1)
  face = sosfiltfilt(band, -np.interp(even, times[good], colours[good, 1]))
  body = sosfiltfilt(band, values)
  lags = correlation_lags(len(face), len(body)) / rate
  together = correlate(face, body)
  offsets = lags + times[0] - clock.DELAYS[channel]
  inside = abs(offsets) <= clock.MAX_OFFSET
  return offsets[inside][np.argmax(together[inside])]


if __name__ == '__main__':
  main()
