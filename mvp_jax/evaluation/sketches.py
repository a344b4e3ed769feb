"""Small drawings of a trial: its signals as lines, its face as thumbnails."""

import cv2
import numpy as np

from mvp_jax.evaluation.document import Sketch
from mvp_jax.raw.cleaning import kind

_WIDTH, _HEIGHT = 200, 40  # units of a sketch
_EXCERPT_SECONDS = 8.0  # of a signal whose beats are too dense over a whole trial
_BEATING = ('ecg', 'ppg')
_SIDE = 64  # pixels of a thumbnail
_JPEG_QUALITY = 60


def signal_sketches(name, values, valid, rate):
  """Draws a channel over the trial; of a beating one also some seconds closer.

  A list of Sketch of `values`, float32 [time]; shaded where not `valid`, bool [time].
  """
  seconds = len(values) / rate
  if not valid.any():
    label = f'{name}: nothing valid in {seconds:.0f} s'
    return [Sketch(label, _WIDTH, _HEIGHT, '', [(0, _WIDTH)])]
  low, high = np.quantile(values[valid], [0.002, 0.998])
  beating = kind(name) in _BEATING
  label = f'{name}: {low:.3g} to {high:.3g}, {seconds:.0f} s'
  lines = _lines(values, valid, low, high, beating)
  sketches = [Sketch(label, _WIDTH, _HEIGHT, lines, shaded(valid))]
  length = round(_EXCERPT_SECONDS * rate)
  if beating and len(values) > 2 * length:
    part = _longest(valid, length)
    label = f'{_EXCERPT_SECONDS:.0f} s of it from {part.start / rate:.0f} s on'
    lines = _lines(values[part], valid[part], low, high, peaks=True)
    sketches.append(Sketch(label, _WIDTH, _HEIGHT, lines, shaded(valid[part])))
  return sketches


def shaded(valid):
  """Spans of a sketch's width where `valid`, bool [time], is not."""
  edges = np.flatnonzero(np.diff(np.concatenate([[True], valid, [True]]).astype(int)))
  places = (edges * _WIDTH / max(len(valid), 1)).round(1).reshape(-1, 2)
  # A short one must still be seen.
  return [(start, max(end, start + 0.5)) for start, end in places.tolist()]


def face_sketch(valid):
  """When a face is seen in the video: bool [frames]."""
  label = f'face seen in {valid.mean():.0%} of {len(valid)} frames'
  return Sketch(label, _WIDTH, 8, '', shaded(valid))


def thumbnail(image):
  """A small JPEG of an RGB image, uint8 [height, width, 3]."""
  scale = _SIDE / min(image.shape[:2])
  size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
  small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
  quality = cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY
  _, jpeg = cv2.imencode('.jpg', small[:, :, ::-1], quality)
  return jpeg.tobytes()


def _longest(valid, length):
  """The part of a length that has most valid samples; the middle one of equals."""
  known = np.concatenate([[0], np.cumsum(valid)])
  share = known[length:] - known[:-length]
  best = np.flatnonzero(share == share.max())
  start = int(best[len(best) // 2])
  return slice(start, start + length)


def _lines(values, valid, low, high, filled=False, peaks=False):
  """SVG path data of a line, or with `filled` from each column's lowest to highest.

  The line goes through each column's mean, or with `peaks` through the value that is
  furthest from the middle of all.
  """
  columns = min(_WIDTH, len(values))
  edges = np.linspace(0, len(values), columns + 1).astype(int)
  height = (high - values.astype(np.float64)) / max(high - low, 1e-12) * (_HEIGHT - 2)
  y = np.clip(height + 1, 0, _HEIGHT)
  x = ((np.arange(columns) + 0.5) * _WIDTH / columns).astype(int)
  known = np.add.reduceat(valid.astype(int), edges[:-1])
  top = np.minimum.reduceat(np.where(valid, y, np.inf), edges[:-1])
  bottom = np.maximum.reduceat(np.where(valid, y, -np.inf), edges[:-1])
  if filled:
    keep = known > 0
    top, bottom = (edge[keep].round().astype(int) for edge in (top, bottom))
    bottom = np.maximum(bottom, top + 1)
    columns = zip(x[keep].tolist(), top.tolist(), bottom.tolist(), strict=True)
    return ''.join(f'M{a} {b}V{c}' for a, b, c in columns)
  if peaks and valid.any():
    middle = np.median(y[valid])
    path = np.where(middle - top > bottom - middle, top, bottom)
    path = np.where(known > 0, path, 0)
  else:
    path = np.add.reduceat(np.where(valid, y, 0), edges[:-1]) / np.maximum(known, 1)
  text, pen = [], None
  for a, b, n in np.stack([x, path.round(), known], 1).astype(int).tolist():
    if n:
      text.append(f'M{a} {b}' if pen is None else f'l{a - pen[0]} {b - pen[1]}')
    pen = (a, b) if n else None
  return ''.join(text)
