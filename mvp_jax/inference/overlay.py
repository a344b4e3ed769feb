"""A copy of a video with the face's box and what is said, drawn into it."""

import fractions

import av
import cv2
import numpy as np

from mvp_jax.files import atomic_write
from mvp_jax.inference.result import SYNTHETIC, scale
from mvp_jax.raw.frames import reading

OVERLAY = 'overlay.mp4'
_LONGEST = 1280  # pixels of the longer side
_STRIP = 0.18  # height of a curve, as a share of the picture's
_PAST = 20.0  # seconds of the curve that are seen
_MOMENTS = 200  # of them
_CLOCK = 90_000  # ticks a second
_COLOURS = ((114, 178, 0), (0, 94, 213), (115, 158, 0))  # BGR
_BOX, _INK = (0, 220, 255), (255, 255, 255)


def write_overlay(folder, model, prediction):
  """Writes the video of a Prediction, without its sound, beside its tables.

  Frames keep their times. Raises outcomes.Dropped if the video cannot be read.
  """
  estimates = prediction.estimates
  said = estimates.at(estimates.times - estimates.onset, model.target.rate)
  mean, spread = said.mean(1), said.std(1)
  ends = scale(model.target) or (np.nanmin(mean, 0).min(), np.nanmax(mean, 0).max())
  with (
    atomic_write(folder / OVERLAY) as part,
    reading(estimates.found.video) as video,
    av.open(str(part), 'w') as out,
  ):
    info = video.info
    shape = info.width * info.pixel_aspect, info.height
    shrink = min(1.0, _LONGEST / max(shape))
    width, height = (max(2, round(side * shrink / 2) * 2) for side in shape)
    stream = out.add_stream('libx264', rate=max(1, round(info.rate)))
    stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
    stream.options = {'crf': '23', 'preset': 'veryfast'}
    stream.codec_context.time_base = fractions.Fraction(1, _CLOCK)
    last = -1
    for number, (time, frame) in enumerate(video):
      image = info.orientation.upright(frame.to_ndarray(format='bgr24'))
      image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
      if number < len(estimates.times):
        scales = width / info.width, height / info.height
        for boxes in estimates.others:
          _box(image, boxes[number], scales, _INK)
        if estimates.boxes is not None:
          _box(image, estimates.boxes[number], scales, _BOX)
        _curves(image, model, estimates.times, mean, spread, number, ends)
      drawn = av.VideoFrame.from_ndarray(image, format='bgr24')
      last = max(round(time * _CLOCK), last + 1)
      drawn.pts, drawn.time_base = last, fractions.Fraction(1, _CLOCK)
      out.mux(stream.encode(drawn))
    out.mux(stream.encode())


def _box(image, box, scales, colour):
  """Draws a box (left, top, width, height), unless it is NaN."""
  if not np.isfinite(box).all():
    return
  left, top, right, bottom = np.concatenate([box[:2], box[:2] + box[2:]]) * (scales * 2)
  ends = (round(left), round(top)), (round(right), round(bottom))
  cv2.rectangle(image, *ends, colour, max(1, image.shape[0] // 240))


def _curves(image, model, times, mean, spread, number, ends):
  """Draws the last seconds of each rating, up to the frame of a number."""
  height, width = image.shape[:2]
  first = int(np.searchsorted(times, times[number] - _PAST))
  step = max(1, (number - first) // _MOMENTS)
  past = np.arange(first, number + 1, step)
  strip = round(_STRIP * height)
  image[height - strip :] = image[height - strip :] // 3
  low, high = ends
  x = width * (1 - (times[number] - times[past]) / _PAST)
  size = max(0.3, height / 900)
  for i, name in enumerate(model.target.ratings):
    colour = _COLOURS[i % len(_COLOURS)]
    values = mean[past, i]
    good = np.isfinite(values)
    y = height - 2 - (strip - 4) * (values[good] - low) / max(high - low, 1e-9)
    points = np.stack([x[good], y], axis=1).round().astype(np.int32)
    if len(points):
      cv2.polylines(image, [points], False, colour, max(1, height // 240), cv2.LINE_AA)
    now, apart = mean[number, i], spread[number, i]
    text = f'{name} {now:.2f} +- {apart:.2f}' if np.isfinite(now) else f'{name} n/a'
    place = 6, round(30 * size * (i + 1))
    _write(image, text, place, size, colour)
  if model.folder.synthetic:
    place = 6, height - strip - 6
    _write(image, f'{SYNTHETIC}: trained on made-up people', place, size, _INK)


def _write(image, text, place, size, colour):
  font = cv2.FONT_HERSHEY_SIMPLEX
  cv2.putText(image, text, place, font, size, (0, 0, 0), 3, cv2.LINE_AA)
  cv2.putText(image, text, place, font, size, colour, 1, cv2.LINE_AA)
