"""Faces in the dark, in haze, leaning and half hidden: in how many frames found?

  python benchmarks/face_light.py VIDEO ... [--seconds=8]

Each video of one face is written anew in versions: darkened, hazy, with a dark
face before a bright wall, a face lit from one side, leaning by 25 degrees, and with
a mask, a hand or a bar over the lower half. Whole preparation follows the face in
each. A frame counts if the face is found and the box is where it is found in the
video as it is; frames without a face there are left out. `level` is the median
grey of the face's skin in the video as it is, 0 to 255.

Then pictures without a face: noise, textures, walls, gradients, drawn hands, and
what is beside the face in the videos. The last line is one JSON object.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from mvp_jax.outcomes import Dropped
from mvp_jax.raw.face_detector import alike
from mvp_jax.raw.frames import FrameSpec, face_frames
from mvp_jax.raw.video import Video

RATE = 12
REQUIRED = 0.98


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('videos', type=Path, nargs='+', help='videos of one face')
  parser.add_argument('--seconds', type=float, default=8.0, help='of each video')
  args = parser.parse_args()
  names = [path.stem[:12] for path in args.videos]
  shares, levels, backgrounds = {name: [] for name in VERSIONS}, [], []
  with tempfile.TemporaryDirectory() as folder:
    for path in args.videos:
      images, boxes = as_it_is(path, args.seconds)
      levels.append(skin(images, boxes))
      backgrounds.append(beside(images, boxes))
      for name, change in VERSIONS.items():
        video = write(Path(folder) / 'version.mp4', map(change, images, boxes))
        shares[name].append(share_found(video, boxes, name))
    print(f'{"version":14}' + ''.join(f'{name:>14}' for name in names))
    for name, row in shares.items():
      print(f'{name:14}' + ''.join(f'{share:14.3f}' for share in row))
    print(f'{"level":14}' + ''.join(f'{level:14.0f}' for level in levels))
    print(f'\n{"no face":14}{"videos":>8}{"with a face":>13}')
    wrong = {}
    negatives = {
      name: [make(seed) for seed in range(20)] for name, make in NONE.items()
    }
    negatives['beside'] = [images for images in backgrounds if images]
    for name, videos in negatives.items():
      paths = [write(Path(folder) / f'{k}.mp4', v) for k, v in enumerate(videos)]
      wrong[name] = sum(has_face(path) for path in paths)
      print(f'{name:14}{len(paths):8}{wrong[name]:13}')
  result = {
    'least': min(min(row) for row in shares.values()),
    'least_by_version': {name: round(min(row), 4) for name, row in shares.items()},
    'required': REQUIRED,
    'faces_where_none_is': sum(wrong.values()),
  }
  print(json.dumps(result))


def as_it_is(path, seconds):
  """Pictures at RATE, BGR with square pixels, and the box of the face in each."""
  found = face_frames(path, FrameSpec(RATE, 32, 'Y'))
  images, boxes, due = [], [], 0.0
  with Video(path) as video:
    info = video.info
    size = round(info.width * info.pixel_aspect / 2) * 2, info.height // 2 * 2
    for time, frame in video:
      if time < due or time > seconds:
        continue
      due += 1 / RATE
      nearest = np.abs(found['times'] - time).argmin()
      if found['valid'][nearest]:
        image = info.orientation.upright(frame.to_ndarray(format='bgr24'))
        images.append(cv2.resize(image, size))
        boxes.append(found['boxes'][nearest] * [info.pixel_aspect, 1, 1])
  return images, np.array(boxes)


def write(path, images):
  images = list(images)
  height, width = (side // 2 * 2 for side in images[0].shape[:2])
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('libx264', rate=RATE)
    stream.pix_fmt, stream.options = 'yuv420p', {'crf': '18', 'preset': 'veryfast'}
    stream.height, stream.width = height, width
    for image in images:
      image = np.ascontiguousarray(image[:height, :width])
      container.mux(stream.encode(av.VideoFrame.from_ndarray(image, 'bgr24')))
    container.mux(stream.encode())
  return path


def share_found(path, boxes, name):
  try:
    found = face_frames(path, FrameSpec(RATE, 32, 'Y'))
  except Dropped:
    return 0.0
  hits = [
    valid and alike(box, true)
    for valid, box, true in zip(found['valid'], found['boxes'], boxes, strict=False)
  ]
  return sum(hits) / len(boxes)


def has_face(path):
  try:
    return bool(face_frames(path, FrameSpec(RATE, 32, 'Y'))['valid'].any())
  except Dropped as drop:
    return 'a face in 0.0%' not in drop.reason


def skin(images, boxes):
  cheeks = []
  for image, (x, y, side) in zip(images[::10], boxes[::10], strict=True):
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    cheeks.append(
      np.median(
        grey[int(y) : int(y + 0.2 * side), int(x - 0.3 * side) : int(x + 0.3 * side)]
      )
    )
  return float(np.median(cheeks))


def beside(images, boxes):
  """The part of the pictures beside the face in all of them, None if too narrow."""
  left = int(min(x - 0.8 * side for x, _, side in boxes))
  right = int(max(x + 0.8 * side for x, _, side in boxes))
  width = images[0].shape[1]
  if max(left, width - right) < 80:
    return None
  return [im[:, :left] if left > width - right else im[:, right:] for im in images]


def dark(light):
  noise = np.random.default_rng(0)

  def change(image, box):
    grain = noise.normal(0, 0.7, image.shape)
    return np.clip(image * light + grain, 0, 255).round().astype(np.uint8)

  return change


def haze(contrast, veil):
  return lambda image, box: np.clip(image * contrast + veil, 0, 255).astype(np.uint8)


def on_face(image, box, light):
  """Changes the light of an oval over the head."""
  x, y, side = map(float, box)
  oval = np.zeros(image.shape[:2], np.float32)
  axes = int(0.65 * side), int(0.9 * side)
  cv2.ellipse(oval, (int(x), int(y)), axes, 0, 0, 360, 1.0, -1)
  oval = cv2.GaussianBlur(oval, (0, 0), 0.05 * side)[..., None]
  return (image * (1 - oval + oval * light)).astype(np.uint8)


def side_lit(image, box):
  x, _, side = box
  columns = (np.arange(image.shape[1]) - x) / (0.1 * side)
  return (image * (1 - 0.9 / (1 + np.exp(-columns)))[None, :, None]).astype(np.uint8)


def lean(degrees):
  def change(image, box):
    turn = cv2.getRotationMatrix2D((float(box[0]), float(box[1])), degrees, 1.0)
    size = image.shape[1::-1]
    return cv2.warpAffine(image, turn, size, borderMode=cv2.BORDER_REPLICATE)

  return change


def mask(image, box):
  x, y, side = box
  image, shape = image.copy(), [(-0.42, 0.03), (0, -0.08), (0.42, 0.03)]
  shape += [(0.38, 0.35), (0, 0.62), (-0.38, 0.35)]
  points = (np.array(shape) * side + [x, y]).astype(int)
  cv2.fillPoly(image, [points], (210, 180, 150))
  for fold in (0.12, 0.25, 0.38):
    ends = ((int(x + w * 0.38 * side), int(y + fold * side)) for w in (-1, 1))
    cv2.line(image, *ends, (190, 160, 130), 2)
  return image


def bar(image, box):
  x, y, side = box
  image = image.copy()
  top, bottom = int(y + 0.08 * side), int(y + 0.75 * side)
  image[top:bottom, max(0, int(x - 0.6 * side)) : int(x + 0.6 * side)] = 60
  return image


def hand(image, box):
  x, y, side = map(float, box)
  image = image.copy()
  brow = image[int(y - 0.35 * side) : int(y - 0.2 * side), int(x) - 5 : int(x) + 5]
  colour = tuple(np.median(brow.reshape(-1, 3), axis=0).tolist())
  shade = tuple(0.7 * value for value in colour)
  palm = int(x + 0.35 * side), int(y + 0.5 * side)
  cv2.ellipse(image, palm, (int(0.35 * side), int(0.3 * side)), -30, 0, 360, shade, -1)
  for finger in range(4):
    start = int(x + 0.25 * side), int(y + (0.2 + 0.12 * finger) * side)
    end = int(x - 0.3 * side), int(y + (0.05 + 0.13 * finger) * side)
    cv2.line(image, start, end, shade, int(0.115 * side))
    cv2.line(image, start, end, colour, int(0.095 * side))
  return image


VERSIONS = {
  'as it is': lambda image, box: image,
  'light 15 %': dark(0.15),
  'light 5 %': dark(0.05),
  'haze 20 %': haze(0.2, 150),
  'haze 10 %': haze(0.1, 190),
  'dark face': lambda image, box: on_face(image, box, 0.3),
  'lit from side': side_lit,
  'leans left': lean(25),
  'leans right': lean(-25),
  'mask': mask,
  'hand': hand,
  'lower half': bar,
}


def film(still, rng, noise=3.0):
  """Eight seconds of a picture [height, width] with sensor noise."""
  return [
    np.repeat(
      np.clip(still + rng.normal(0, noise, still.shape), 0, 255).astype(np.uint8)[
        ..., None
      ],
      3,
      axis=2,
    )
    for _ in range(4 * RATE)
  ]


def noise_film(seed):
  rng = np.random.default_rng(seed)
  block = int(rng.choice([1, 2, 4, 8, 16, 24]))
  shape = 240 // block + 1, 320 // block + 1
  return film(cv2.resize(rng.uniform(0, 255, shape), (320, 240)), rng)


def texture_film(seed):
  rng = np.random.default_rng(seed)
  rows, columns = np.fft.fftfreq(240)[:, None], np.fft.rfftfreq(320)[None]
  power = np.hypot(rows, columns) ** rng.uniform(0.5, 2.5)
  power[0, 0] = 1
  picture = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(240, 320))) / power, (240, 320))
  return film(255 * (picture - picture.min()) / np.ptp(picture), rng)


def wall_film(seed):
  rng = np.random.default_rng(seed)
  wall, brick = np.full((240, 320), rng.uniform(80, 200)), int(rng.integers(12, 60))
  for row in range(0, 240, brick):
    cv2.line(wall, (0, row), (320, row), 60.0, 2)
    for column in range(-(row // brick % 2) * brick, 320, 2 * brick):
      cv2.line(wall, (column, row), (column, row + brick), 60.0, 2)
  return film(wall, rng)


def gradient_film(seed):
  rng = np.random.default_rng(seed)
  rows, columns = np.mgrid[:240, :320]
  slope = rng.normal() * rows + rng.normal() * columns
  return film((slope - slope.min()) / np.ptp(slope) * rng.uniform(20, 255), rng)


def hand_film(seed):
  rng = np.random.default_rng(seed)
  picture, skin_level = np.full((240, 320), rng.uniform(20, 220)), rng.uniform(60, 230)
  side = 240 * rng.uniform(0.25, 0.45)
  x, y = 320 * rng.uniform(0.35, 0.65), 240 * rng.uniform(0.45, 0.6) + 0.3 * side
  palm = (int(0.5 * side),) * 2
  cv2.ellipse(picture, (int(x), int(y)), palm, 0, 0, 360, skin_level, -1)
  for finger, angle in enumerate(np.deg2rad([-160, -115, -95, -78, -60])):
    reach = side * (0.8 if finger == 0 else 1.15)
    way = np.array([np.cos(angle), np.sin(angle)])
    start, end = ((way * r + [x, y]).astype(int) for r in (0.35 * side, reach))
    cv2.line(picture, start, end, skin_level - 20, int(0.24 * side))
    cv2.line(picture, start, end, skin_level, int(0.2 * side))
    cv2.circle(picture, end, int(0.07 * side), skin_level + 20, -1)
  return film(cv2.GaussianBlur(picture, (0, 0), 1.0), rng)


NONE = {
  'noise': noise_film,
  'textures': texture_film,
  'walls': wall_film,
  'gradients': gradient_film,
  'hands': hand_film,
}


if __name__ == '__main__':
  main()
