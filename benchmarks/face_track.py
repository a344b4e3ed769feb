"""Steadiness of the face track, against detection in every frame.

  python benchmarks/face_track.py [--video=FILE] [--subjects=3]

Both sides see the same videos: moving heads of the twin, whose true places are
known (720x576, 25 frames a second, a minute each), and a real one if it is given.
The peer looks for the face in every frame with the same cascade of OpenCV at full
resolution (scale 1.1, 3 neighbours, the biggest box), as is usual; where it finds
none its last box stays. Boxes are compared with the truth after one constant shift
and scale for each side and video, for a cascade's box is not cheek to cheek.

Jitter is the standard deviation of what a box's centre does beyond the head
(with the real video: of the centre itself), as second difference and as first
difference from frame to frame, in percent of the face's side; drift is that of
the error itself. Overlap is the mean intersection over union with the truth. The
last line is one JSON object.
"""

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from mvp_jax.raw.frames import FrameSpec, face_frames
from mvp_jax.raw.video import Video, luma
from mvp_jax.synthetic.face import face_track
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.synthetic.video import write_face_video

RATE = 25.0
COLUMNS = 'jitter2', 'jitter1', 'drift', 'overlap', 'found'


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--video', type=Path, help='a real face video')
  parser.add_argument('--subjects', type=int, default=3)
  args = parser.parse_args()
  print(f'{"video":22}{"boxes":12}' + ''.join(f'{name:>10}' for name in COLUMNS))
  rows = []
  spec = TwinSpec(subjects=args.subjects, trials=1, frame_rate=RATE)
  with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / 'twin.avi'
    for subject in range(1, args.subjects + 1):
      write_face_video(path, spec, subject, 1)
      truth = face_track(spec, subject, 1).astype(float)
      truth *= [spec.pixel_aspect[0] / spec.pixel_aspect[1], 1, 1]
      truth[:, 2] *= spec.pixel_aspect[0] / spec.pixel_aspect[1]
      rows.append(compare(path, truth, f'twin, subject {subject}'))
  result = {}
  track, single = np.mean(rows, axis=0)
  for name, ours, theirs in zip(COLUMNS, track, single, strict=True):
    result[name] = {'track': round(ours, 4), 'every_frame': round(theirs, 4)}
  result['jitter_ratio'] = round(single[0] / track[0], 1)
  result['first_difference_ratio'] = round(single[1] / track[1], 1)
  result['required_ratio'] = 5
  if args.video:
    track, single = compare(args.video, None, args.video.name)
    result['real_jitter_ratio'] = round(single[0] / track[0], 1)
  print(json.dumps(result))


def compare(path, truth, name):
  """Prints and returns the figures of both sides, [2, column]."""
  with Video(path) as video:
    rate = video.info.rate
  found = face_frames(path, FrameSpec(rate, 32, 'Y'))
  track = found['boxes'] * [found['info'].pixel_aspect, 1, 1]
  single, seen = every_frame(path)
  count = min(len(track), len(single))
  rows = [
    figures(boxes[:count], truth, share)
    for boxes, share in ((track, found['valid'].mean()), (single, seen))
  ]
  for side, row in zip(('track', 'every frame'), rows, strict=True):
    print(f'{name:22}{side:12}' + ''.join(f'{value:10.4f}' for value in row))
  return rows


def every_frame(path):
  """Boxes [frames, 3] by detection in each frame, and the share with a face."""
  cascade = cv2.CascadeClassifier(
    cv2.data.haarcascades + 'haarcascade_frontalface_alt2.xml'
  )
  boxes, seen = [], 0
  with Video(path) as video:
    info = video.info
    least = int(0.15 * info.height)
    for _, frame in video:
      grey = info.orientation.upright(luma(frame))
      grey = cv2.resize(grey, (round(info.width * info.pixel_aspect), info.height))
      found = cascade.detectMultiScale(grey, 1.1, 3, minSize=(least, least))
      if len(found):
        x, y, side, _ = max(found, key=lambda box: box[2])
        boxes.append((x + side / 2, y + side / 2, side))
        seen += 1
      else:
        boxes.append(boxes[-1] if boxes else (math.nan,) * 3)
  boxes = np.array(boxes, float)
  boxes[np.isnan(boxes[:, 0])] = boxes[~np.isnan(boxes[:, 0])][0]
  return boxes, seen / len(boxes)


def figures(boxes, truth, found):
  if truth is None:
    error, side, overlap = boxes[:, :2], np.median(boxes[:, 2]), math.nan
    drift = math.nan
  else:
    ratio = np.median(truth[:, 2] / boxes[:, 2])
    shift = np.median((truth[:, :2] - boxes[:, :2]) / boxes[:, 2:], axis=0)
    boxes = np.column_stack([boxes[:, :2] + shift * boxes[:, 2:], boxes[:, 2] * ratio])
    error, side = boxes[:, :2] - truth[:, :2], np.median(truth[:, 2])
    overlap, drift = overlaps(boxes, truth).mean(), spread(error) / side
  return (
    100 * spread(np.diff(error, 2, axis=0)) / side,
    100 * spread(np.diff(error, axis=0)) / side,
    100 * drift,
    overlap,
    found,
  )


def spread(error):
  return np.sqrt(np.mean(np.sum((error - error.mean(0)) ** 2, axis=1)))


def overlaps(boxes, others):
  """Intersection over union of squares (centre x, centre y, side), row by row."""
  half, half_other = boxes[:, 2:] / 2, others[:, 2:] / 2
  low = np.maximum(boxes[:, :2] - half, others[:, :2] - half_other)
  high = np.minimum(boxes[:, :2] + half, others[:, :2] + half_other)
  common = np.prod(np.clip(high - low, 0, None), axis=1)
  return common / (boxes[:, 2] ** 2 + others[:, 2] ** 2 - common)


if __name__ == '__main__':
  main()
