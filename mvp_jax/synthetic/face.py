"""Draws the face videos of a twin.

All outlines of all frames are computed at once, as points in face units
(half a face width; x right, y down, origin between eyes and mouth), and moved
with the head into the frame; then every frame is filled with OpenCV on the
subject's own background. The skin darkens by up to a hundredth with every beat of the
heart that the body signals show.
"""

import dataclasses
import functools
import math

import cv2
import numpy as np

from mvp_jax.synthetic.expression import expression
from mvp_jax.synthetic.signals import face_pulse
from mvp_jax.synthetic.spec import stream

_SHIFT = 4  # fractional bits of the points given to OpenCV
_SHADE_SCALE = 64  # pixels of the shading texture per face unit
_SHADE_HALF = 104  # half its side in pixels
_GRAIN = 1.5  # standard deviation of the sensor noise, of 255
_NOISE_IMAGES = 8
# The share of the light that blood takes at the height of a pulse, blue, green and
# red (their ratio: de Haan and van Leest, Physiol. Meas. 35, 2014).
_PULSE_DEPTH = 0.01 * np.array([0.53, 0.77, 0.33]) / 0.77
_PULSE_LEVELS = 16

# Blue, green, red.
_SKINS = (
  (170, 196, 234),
  (150, 182, 226),
  (140, 172, 214),
  (122, 158, 204),
  (104, 142, 190),
  (90, 124, 172),
)
_HAIRS = ((30, 34, 44), (36, 50, 74), (44, 72, 110), (90, 130, 160), (104, 108, 112))


@dataclasses.dataclass(frozen=True)
class Identity:
  """What one subject looks like; lengths in face units unless stated."""

  skin: tuple
  hair: tuple
  iris: tuple
  cloth: tuple
  walls: tuple  # two background colours
  half_width: float  # of the face, share of the frame height
  place: tuple  # of the face, shares of frame width and height
  height: float  # of the face outline, above and below its middle
  jaw: float  # narrowing towards the chin
  eye_distance: float  # of each eye from the middle
  eye_width: float
  brow_height: float
  brow_weight: float
  mouth_height: float
  mouth_width: float
  mouth_rest: float  # corners of the mouth at rest, up > 0
  brow_rest: float
  fringe: float  # how far the hair comes down
  long_hair: bool


def identity(spec, subject):
  """The looks of one subject."""
  rng = stream(spec, 'identity', subject)

  def colour(base, spread):
    return tuple(int(np.clip(value + rng.normal(0, spread), 12, 245)) for value in base)

  grey = rng.uniform(90, 200)
  wall = colour((grey, grey, grey), 12)
  return Identity(
    skin=colour(_SKINS[rng.integers(len(_SKINS))], 4),
    hair=colour(_HAIRS[rng.integers(len(_HAIRS))], 6),
    iris=colour(((90, 60, 40), (30, 50, 80), (60, 90, 70))[rng.integers(3)], 8),
    cloth=colour((110, 100, 100), 30),
    walls=(wall, colour(wall, 10)),
    half_width=rng.uniform(0.19, 0.225),
    place=(rng.uniform(0.45, 0.55), rng.uniform(0.47, 0.53)),
    height=rng.uniform(1.24, 1.36),
    jaw=rng.uniform(0.08, 0.24),
    eye_distance=rng.uniform(0.39, 0.46),
    eye_width=rng.uniform(0.19, 0.23),
    brow_height=rng.uniform(0.24, 0.30),
    brow_weight=rng.uniform(0.045, 0.075),
    mouth_height=rng.uniform(0.60, 0.68),
    mouth_width=rng.uniform(0.34, 0.42),
    mouth_rest=float(rng.normal(0, 0.03)),
    brow_rest=float(rng.normal(0, 0.02)),
    fringe=rng.uniform(0.72, 0.9),
    long_hair=bool(rng.uniform() < 0.4),
  )


def face_track(spec, subject, trial, courses=None):
  """The true face of every frame, float32 [frames, 3] in stored pixels.

  `courses` are as `face_frames` takes them.

  Centre x (between eyes and mouth), centre y, and width from cheek to cheek;
  with pixels that are not square, the height of a square in display space is
  width * pixel_aspect.
  """
  who = identity(spec, subject)
  courses = courses or expression(spec, subject, trial)
  centres = _matrices(spec, who, courses)[:, :, 2]
  width = 2 * who.half_width * spec.height * courses['size'] / _aspect(spec)
  return np.column_stack([centres, width]).astype(np.float32)


def face_frames(spec, subject, trial, courses=None):
  """Yields each frame as planar YUV 4:2:0, uint8 [height * 3 / 2, width].

  The array is used again for the next frame. `courses` are what `expression.expression`
  gives and `pulse`, float [frames] from 0 to 1; None: those of the trial.
  """
  who = identity(spec, subject)
  if courses is None:
    courses = {
      **expression(spec, subject, trial),
      'pulse': face_pulse(spec, subject, trial),
    }
  matrices = _matrices(spec, who, courses)
  behind, before = (
    [(_to_pixels(points, matrices), colour) for points, colour in layers]
    for layers in _outlines(who, courses)
  )
  background, shades = _background(spec, who), _shades(who)
  pulse = np.round((_PULSE_LEVELS - 1) * courses['pulse']).astype(int)
  texture, corners, size = _shade_places(spec, who, matrices)
  grain = _grain(spec.width, spec.height)
  rng = stream(spec, 'noise', subject, trial)
  shown = rng.integers(_NOISE_IMAGES, size=spec.num_frames)
  light = courses['light'] * (1 - _GRAIN * 3 / 128)
  area = _head_area(spec, matrices)
  image, yuv, shading = background.copy(), None, None
  for frame in range(spec.num_frames):
    np.copyto(image[area], background[area])
    _fill(image, behind, frame)
    x, y = corners[frame]
    skin = image[y : y + size[1], x : x + size[0]]
    shading = cv2.warpAffine(shades[pulse[frame]], texture[frame], size, dst=shading)
    cv2.subtract(skin, shading, dst=skin)
    _fill(image, before, frame)
    yuv = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420, dst=yuv)
    bright = yuv[: spec.height]
    cv2.addWeighted(bright, light[frame], grain[shown[frame]], 1, 0, dst=bright)
    yield yuv


def _aspect(spec):
  return spec.pixel_aspect[0] / spec.pixel_aspect[1]


def _matrices(spec, who, courses):
  """Face units to stored pixels, float64 [frames, 2, 3]."""
  unit = who.half_width * spec.height
  scale, roll = unit * courses['size'], courses['roll']
  cos, sin = scale * np.cos(roll), scale * np.sin(roll)
  x = who.place[0] * spec.width + unit * courses['x'] / _aspect(spec)
  y = who.place[1] * spec.height + unit * courses['y']
  return np.stack(
    [
      np.stack([cos / _aspect(spec), -sin / _aspect(spec), x], axis=-1),
      np.stack([sin, cos, y], axis=-1),
    ],
    axis=1,
  )


def _to_pixels(points, matrices):
  """Points [frames or 1, points, 2] to OpenCV's int32 [frames, points, 2]."""
  pixels = points @ matrices[:, :, :2].swapaxes(1, 2) + matrices[:, None, :, 2]
  return np.round(pixels * 2**_SHIFT).astype(np.int32)


def _fill(image, layers, frame):
  for outlines, colour in layers:
    cv2.fillPoly(
      image,
      [outlines[frame]],
      colour[frame] if isinstance(colour, list) else colour,
      lineType=cv2.LINE_AA,
      shift=_SHIFT,
    )


def _head_area(spec, matrices):
  """Slices (rows, columns) of the frame that the moving head may touch."""
  box = np.array([(x, y) for x in (-1.7, 1.7) for y in (-1.8, 2.4)])
  pixels = _to_pixels(box[None], matrices).reshape(-1, 2) / 2**_SHIFT
  left, top = np.floor(pixels.min(axis=0)).clip(0).astype(int)
  right, bottom = np.ceil(pixels.max(axis=0)).astype(int)
  return slice(top, bottom), slice(left, right)


def _outlines(who, courses):
  """Two lists of (points, colour): below and above the shading."""
  smile, frown, talk = (courses[name][:, None] for name in ('smile', 'frown', 'talk'))
  angles = np.linspace(0, 2 * math.pi, 40, endpoint=False)
  cos, sin = np.cos(angles), np.sin(angles)
  face = np.stack(
    [cos * (1 - who.jaw * np.maximum(sin, 0) ** 2), -0.08 + who.height * sin], axis=-1
  )
  hair = np.stack(
    [1.12 * cos, -0.2 + np.where(sin < 0, 1.35, 1.5 if who.long_hair else 0.4) * sin],
    axis=-1,
  )
  neck = np.array([(-0.5, 0.7), (0.5, 0.7), (0.55, 2.2), (-0.55, 2.2)])
  ears = [_points(side + 0.12 * cos, 0.02 + 0.24 * sin) for side in (-1, 1)]
  crown = np.linspace(math.pi, 2 * math.pi, 20)
  edge = np.linspace(0.96, -0.96, 12)
  fringe = np.concatenate(
    [
      _points(1.03 * np.cos(crown), -0.15 + 1.3 * np.sin(crown)),
      _points(edge, -who.fringe + 0.35 * edge**4),
    ]
  )
  behind = [
    (points[None], colour)
    for points, colour in [
      (hair, who.hair),
      (neck, _darker(who.skin, 0.8)),
      *((ear, _darker(who.skin, 0.9)) for ear in ears),
      (face, who.skin),
    ]
  ]
  before = [(fringe[None], who.hair)]
  for side in (-1, 1):
    before += _eye(who, courses, side)
  before += _mouth(who, smile, frown, talk)
  return behind, before


def _eye(who, courses, side):
  """White, iris, pupil, lid and brow of one eye; `side` -1 or 1."""
  smile, frown, raised, opened = (
    courses[name][:, None] for name in ('smile', 'frown', 'brow_raise', 'eyes')
  )
  centre = np.array([side * who.eye_distance, -0.28])
  along = np.linspace(-1, 1, 9)
  arch = 1 - along**2
  upper = -0.115 * arch * opened * (1 - 0.25 * smile) * (1 - 0.2 * frown)
  lower = 0.085 * arch * np.maximum(opened * (1 - 0.75 * smile), -0.2)
  x = np.broadcast_to(who.eye_width * along, upper.shape)
  lid = _outline(x, upper - 0.03, upper + 0.015)
  white = _outline(x, upper, lower)
  angles = np.linspace(0, 2 * math.pi, 12, endpoint=False)

  def disc(radius):
    across, down = radius * np.cos(angles), radius * np.sin(angles)
    arch = 1 - (across / who.eye_width) ** 2
    lowest = np.maximum(lower[:, 4:5], upper[:, 4:5]) * arch
    return _points(across, np.clip(down, upper[:, 4:5] * arch, lowest))

  inner = (1 - along * side) / 2  # 1 at the nose
  rise = (
    -who.brow_height
    - 0.07 * arch
    - 0.10 * raised
    + 0.02 * smile
    + frown * (0.04 + 0.12 * inner)
    - who.brow_rest
  )
  weight = who.brow_weight * (1 + 0.35 * frown) * (0.5 + 0.5 * arch + 0.4 * inner)
  brow = _outline(
    np.broadcast_to(1.35 * who.eye_width * along - side * 0.05 * frown, rise.shape),
    rise - weight,
    rise + weight,
  )
  return [
    (points + centre, colour)
    for points, colour in [
      (white, (225, 228, 230)),
      (disc(0.085), who.iris),
      (disc(0.04), (15, 15, 15)),
      (lid, _darker(who.skin, 0.4)),
      (brow, _darker(who.hair, 0.6)),
    ]
  ]


def _mouth(who, smile, frown, talk):
  """Lips, dark inside, teeth, and the folds that come with expressions."""
  along = np.linspace(-1, 1, 13)
  width = who.mouth_width * (1 + 0.30 * smile - 0.08 * frown - 0.1 * talk)
  corners = who.mouth_rest + 0.16 * smile - 0.17 * frown
  middle = who.mouth_height - 0.02 * smile - corners * (along**2 - 0.4)
  arch = 1 - along**2
  gape = 0.20 * np.maximum(smile - 0.1, 0) + 0.30 * talk
  top, bottom = middle - 0.3 * gape * arch, middle + 0.7 * gape * arch
  x = width * along
  press = 1 - 0.45 * frown.clip(0, 1)
  lips = _outline(
    x, top - (0.02 + 0.055 * arch) * press, bottom + (0.02 + 0.075 * arch) * press
  )
  line = _outline(x, top - 0.012, bottom + 0.012)
  teeth = _outline(
    0.86 * x, top, np.minimum(bottom, top + 0.16 * np.minimum(smile, 1.2) * arch)
  )
  lip = tuple((np.array(who.skin) * (0.62, 0.58, 0.80)).astype(int).tolist())
  inside = (35, 25, 60)
  layers = [
    (lips, lip),
    (line, inside),
    (teeth, _between(inside, (222, 232, 236), 4 * smile[:, 0] - 0.4)),
  ]
  light, shadow = _darker(who.skin, 0.92), _darker(who.skin, 0.72)
  span = np.linspace(-0.5, 0.5, 7)
  hollow = middle[:, 6:7] + 0.16 + 0.05 * frown - 0.1 * span**2
  below = _outline(
    np.broadcast_to(0.55 * span, hollow.shape),
    hollow - 0.05 * frown,
    hollow + 0.05 * frown,
  )
  layers.append((below, _between(light, shadow, frown[:, 0])))
  down = np.linspace(0, 1, 7)
  swell = 0.05 * np.sin(math.pi * down) * smile
  for side in (-1, 1):
    fold_x = side * (0.3 + (width - 0.2) * down**0.8)
    fold_y = np.broadcast_to(0.24 + (who.mouth_height - 0.24) * down, fold_x.shape)
    fold = np.concatenate(
      [
        _points(fold_x - swell, fold_y),
        _points(fold_x + swell, fold_y)[:, ::-1],
      ],
      axis=1,
    )
    layers.append((fold, _between(light, shadow, smile[:, 0])))
  return layers


def _points(x, y):
  """Points [..., 2] of coordinates that broadcast."""
  return np.stack(np.broadcast_arrays(x, y), axis=-1)


def _outline(x, upper, lower):
  """Closed outline [frames, points, 2] between two curves over `x`."""
  x, upper, lower = np.broadcast_arrays(x, upper, lower)
  return np.concatenate([_points(x, upper), _points(x, lower)[:, ::-1]], axis=1)


def _darker(colour, factor):
  return tuple(int(part * factor) for part in colour)


def _between(start, end, share):
  """Colours from `start` (share <= 0) to `end` (share >= 1), one a frame."""
  share = np.clip(share, 0, 1)[:, None]
  return [
    tuple(colour) for colour in ((1 - share) * start + share * np.array(end)).tolist()
  ]


def _background(spec, who):
  """Wall and shoulders, uint8 [height, width, 3]."""
  height, width = spec.height, spec.width
  across = np.linspace(0, 1, width)[:, None]
  wall = (1 - across) * who.walls[0] + across * who.walls[1]
  image = np.broadcast_to(wall, (height, width, 3)).astype(np.uint8).copy()
  unit = who.half_width * height
  centre = (round(who.place[0] * width), round(who.place[1] * height + 3.4 * unit))
  cv2.ellipse(
    image,
    centre,
    (round(2.6 * unit / _aspect(spec)), round(1.9 * unit)),
    0,
    180,
    360,
    who.cloth,
    -1,
    cv2.LINE_AA,
  )
  return image


@functools.lru_cache(maxsize=2)
def _shades(who):
  """What shadows and blood take away from the skin, uint8 [level, side, side, 3].

  Levels are those of the pulse, from none to its peak. They differ by less than
  one step of brightness, so values are dithered: right in the mean over the face.
  """
  y, x = (
    np.mgrid[-_SHADE_HALF:_SHADE_HALF, -_SHADE_HALF:_SHADE_HALF] + 0.5
  ) / _SHADE_SCALE

  def spot(cx, cy, rx, ry, depth):
    return depth * np.exp(-(((abs(x) - cx) / rx) ** 2) - ((y - cy) / ry) ** 2)

  dark = (
    spot(who.eye_distance, -0.32, 0.30, 0.17, 70)  # eye sockets
    + spot(0.13, -0.05, 0.06, 0.22, 26)  # sides of the nose
    + spot(0.09, 0.22, 0.07, 0.045, 70)  # nostrils
    + spot(0, 0.30, 0.16, 0.05, 30)  # under the nose
    + spot(0, who.mouth_height + 0.2, 0.2, 0.06, 25)  # under the lips
    + spot(0.95, 0.25, 0.22, 0.9, 45)  # cheeks, to the sides
    + spot(0, 1.35, 1.0, 0.25, 40)
  )  # chin
  inside = (x / (1 - who.jaw * np.clip(y, 0, None) ** 2 / who.height**2)) ** 2 + (
    (y + 0.08) / who.height
  ) ** 2
  face = np.clip((1.02 - inside) * 12, 0, 1)
  skin = np.array(who.skin)
  dark = (dark * face)[..., None] * skin / max(who.skin)
  blood = np.linspace(0, 1, _PULSE_LEVELS)[:, None, None, None] * (
    face[..., None] * skin * _PULSE_DEPTH
  )
  dither = np.random.default_rng(0).uniform(size=dark.shape)
  return np.floor(dark + blood + dither).clip(0, 255).astype(np.uint8)


def _shade_places(spec, who, matrices):
  """Where the shading goes: a box about the face, as small as can be.

  Returns the transform of the shading texture into the box, float64
  [frames, 2, 3], the box's corner, int [frames, 2], and its size (x, y), the
  same for all frames.
  """
  reach = np.array([1.25, 1.15 * who.height]) * np.abs(matrices[:, [0, 1], [0, 1]]).max(
    axis=0
  )
  frame_size = np.array([spec.width, spec.height])
  size = np.minimum(np.ceil(2 * reach).astype(int), frame_size)
  corners = np.clip(
    np.round(matrices[:, :, 2] - reach).astype(int), 0, frame_size - size
  )
  texture = matrices.copy()
  texture[:, :, :2] /= _SHADE_SCALE
  texture[:, :, 2] -= texture[:, :, :2] @ np.full(2, _SHADE_HALF - 0.5) + corners
  return texture, corners, tuple(size.tolist())


@functools.lru_cache(maxsize=1)
def _grain(width, height):
  """Sensor noise around 3 standard deviations, uint8 [images, height, width]."""
  rng = np.random.default_rng(0)
  noise = rng.normal(3 * _GRAIN, _GRAIN, (_NOISE_IMAGES, height, width))
  return np.round(noise).clip(0, 255).astype(np.uint8)
