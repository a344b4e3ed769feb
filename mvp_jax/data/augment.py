"""Augmentation of clips on the host: RandAugment, colours, crops, flips, erasing.

The recipe of VideoMAE's fine-tuning (rand-m7-n4-mstd0.5-inc1, random resized crop,
flip, random erasing). What is drawn is drawn once a clip: all its frames are changed
alike. Frames are uint8 [T, H, W, 3] throughout, RGB.
"""

import dataclasses
import functools
import math

import cv2
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

_MAX_MAGNITUDE = 10.0
_GREY = (128, 128, 128)  # fills what a rotation or shift leaves empty
# Of ImageNet, by which the model normalises pixels in [0, 1].
_MEAN = np.float32([0.485, 0.456, 0.406])
_STD = np.float32([0.229, 0.224, 0.225])
_ATTEMPTS = 10  # at a crop or box that fits


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
  """How far a training clip may differ from the video."""

  operations: int = 4  # of RandAugment, on a clip; 0 = none
  probability: float = 0.5  # that one of them is done
  magnitude: float = 7.0  # of 10
  magnitude_std: float = 0.5
  colour: float = 0.0  # how far brightness, contrast and saturation may be from 1
  crop_area: tuple[float, ...] = (0.08, 1.0)  # share of the frame, least and most
  crop_aspect: tuple[float, ...] = (0.75, 4 / 3)  # width:height
  flip: float = 0.5  # probability
  erase: float = 0.25  # probability

  def __post_init__(self):
    for name in ('probability', 'flip', 'erase'):
      if not 0 <= getattr(self, name) <= 1:
        raise ValueError(f'{name} is {getattr(self, name)}, must be from 0 to 1')
    for name in ('crop_area', 'crop_aspect'):
      value = getattr(self, name)
      if len(value) != 2 or not 0 < value[0] <= value[1]:
        raise ValueError(f'{name} is {value}, must be two numbers, least and most')
    if not 0 <= self.colour < 1:
      raise ValueError(f'colour is {self.colour}, must be from 0 to less than 1')
    if self.crop_area[1] > 1:
      raise ValueError(f'crop_area is {self.crop_area}, must be at most 1')
    if self.operations < 0 or not 0 <= self.magnitude <= _MAX_MAGNITUDE:
      raise ValueError(
        f'operations {self.operations}, magnitude {self.magnitude}: '
        'must not be negative, the magnitude at most 10'
      )


def augment(frames, size, rng, config):
  """A training view of a clip: uint8 [T, H, W, 3] -> [T, size, size, 3]."""
  frames = rand_augment(frames, rng, config)
  frames = random_resized_crop(frames, size, rng, config)
  if config.colour:
    frames = jitter(frames, rng, config.colour)
  if rng.random() < config.flip:
    frames = frames[:, :, ::-1]
  if rng.random() < config.erase:
    frames = erase(frames, rng)
  return np.ascontiguousarray(frames)


def rand_augment(frames, rng, config):
  """RandAugment (arXiv 1909.13719) as in timm and VideoMAE.

  Operations are drawn with replacement; each is done with a probability, at a
  magnitude drawn anew around the configured one.
  """
  chosen = rng.integers(len(OPERATIONS), size=config.operations)
  images = None
  for name in (list(OPERATIONS)[i] for i in chosen):
    if rng.random() >= config.probability:
      continue
    magnitude = rng.normal(config.magnitude, config.magnitude_std)
    share = float(np.clip(magnitude, 0, _MAX_MAGNITUDE)) / _MAX_MAGNITUDE
    sign = rng.choice((-1, 1))
    images = images or [Image.fromarray(frame) for frame in frames]
    images = [OPERATIONS[name](image, share, sign) for image in images]
  return frames if images is None else np.stack([np.asarray(x) for x in images])


def _rotate(image, share, sign):
  return image.rotate(sign * share * 30, Image.Resampling.BICUBIC, fillcolor=_GREY)


def _affine(image, *matrix):
  how, resampling = Image.Transform.AFFINE, Image.Resampling.BICUBIC
  return image.transform(image.size, how, matrix, resampling, fillcolor=_GREY)


def _shear(image, share, sign, x=0.0, y=0.0):
  return _affine(image, 1, sign * share * x, 0, sign * share * y, 1, 0)


def _translate(image, share, sign, x=0.0, y=0.0):
  width, height = image.size
  return _affine(image, 1, 0, sign * share * x * width, 0, 1, sign * share * y * height)


def _solarize_add(image, share, _):
  table = [min(255, i + int(share * 110)) if i < 128 else i for i in range(256)]
  return image.point(table * 3)


def _enhance(enhancer, image, share, sign):
  return enhancer(image).enhance(1 + sign * share * 0.9)


# Name: function of (image, magnitude / 10, sign). "Increasing" in the reference:
# the larger the magnitude, the further from the original.
OPERATIONS = {
  'autocontrast': lambda image, *_: ImageOps.autocontrast(image),
  'equalize': lambda image, *_: ImageOps.equalize(image),
  'invert': lambda image, *_: ImageOps.invert(image),
  'rotate': _rotate,
  'posterize': lambda image, share, _: ImageOps.posterize(image, 4 - int(4 * share)),
  'solarize': lambda image, share, _: ImageOps.solarize(image, 256 - int(256 * share)),
  'solarize_add': _solarize_add,
  'colour': functools.partial(_enhance, ImageEnhance.Color),
  'contrast': functools.partial(_enhance, ImageEnhance.Contrast),
  'brightness': functools.partial(_enhance, ImageEnhance.Brightness),
  'sharpness': functools.partial(_enhance, ImageEnhance.Sharpness),
  'shear_x': functools.partial(_shear, x=0.3),
  'shear_y': functools.partial(_shear, y=0.3),
  'translate_x': functools.partial(_translate, x=0.45),
  'translate_y': functools.partial(_translate, y=0.45),
}


def jitter(frames, rng, strength):
  """Another light and skin: brightness, contrast, saturation and hue, drawn once.

  The first three are multiplied by 1 - strength to 1 + strength, the hue turns by up to
  strength / 4 of a circle, as in SimCLR (arXiv 2002.05709, appendix A), here about the
  axis of greys: uint8 [T, H, W, 3] -> the same.
  """
  brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
  angle = rng.uniform(-1, 1) * strength / 4 * 2 * math.pi
  grey = np.full((3, 3), 1 / 3)
  cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
  turned = math.cos(angle) * (np.eye(3) - grey) + math.sin(angle) * cross
  matrix = brightness * contrast * (saturation * turned + grey)
  middle = brightness * frames.mean()  # contrast is about it
  shift = np.full((3, 1), middle * (1 - contrast))
  flat = np.ascontiguousarray(frames).reshape(-1, *frames.shape[2:])
  return cv2.transform(flat, np.hstack([matrix, shift])).reshape(frames.shape)


def random_resized_crop(frames, size, rng, config):
  """A window of random area, shape and place, resized to [T, size, size, 3].

  The window is the whole frame's middle if none drawn fits, as in torchvision.
  """
  height, width = frames.shape[1:3]
  low, high = np.log(config.crop_aspect)
  for _ in range(_ATTEMPTS):
    area = rng.uniform(*config.crop_area) * height * width
    aspect = math.exp(rng.uniform(low, high))
    w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    if 0 < w <= width and 0 < h <= height:
      top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
      break
  else:
    h, w = height, width
    if w / h < config.crop_aspect[0]:
      h = round(w / config.crop_aspect[0])
    elif w / h > config.crop_aspect[1]:
      w = round(h * config.crop_aspect[1])
    top, left = (height - h) // 2, (width - w) // 2
  return resize(frames[:, top : top + h, left : left + w], size)


def resize(frames, size):
  """Bilinear: uint8 [T, H, W, 3] -> [T, size, size, 3]."""
  if frames.shape[1:3] == (size, size):
    return frames
  frames = np.ascontiguousarray(frames)
  return np.stack([cv2.resize(frame, (size, size)) for frame in frames])


def erase(frames, rng):
  """Random erasing (arXiv 1708.04896): one box, the same in all frames, of noise.

  The box takes 2 % to 33 % of the picture at a shape of 0.3 to 3.3; the noise is
  standard normal in the normalised values that the model sees.
  """
  count, height, width, colours = frames.shape
  for _ in range(_ATTEMPTS):
    area = rng.uniform(0.02, 1 / 3) * height * width
    aspect = math.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3)))
    h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    if 0 < h < height and 0 < w < width:
      top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
      noise = rng.standard_normal((count, h, w, colours), np.float32)
      noise = (noise * _STD + _MEAN) * 255
      frames = frames.copy()
      frames[:, top : top + h, left : left + w] = np.rint(noise).clip(0, 255)
      break
  return frames


def three_crops(frames, size):
  """Square windows at both ends and in the middle of the longer side.

  On square frames, where these would be one and the same, windows of 7/8 of the
  frame (224 of 256 pixels, the usual margin in tests) from left to right, halfway
  up. Returns a list of three, uint8 [T, size, size, 3].
  """
  height, width = frames.shape[1:3]
  side = min(height, width) if height != width else round(height * 7 / 8)
  down, right = (height - side) / 2, (width - side) / 2
  crops = []
  for place in (0, 1, 2):
    tall = height > width
    top = round(down * place if tall else down)
    left = round(right if tall else right * place)
    crops.append(resize(frames[:, top : top + side, left : left + side], size))
  return crops
