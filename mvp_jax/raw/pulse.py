"""The pulse in a face: from crops to a blood volume wave.

Each heart beat sends blood into the skin, which then takes up to about a hundredth
more of the green light, less of the blue and least of the red. Averaged over the
skin this outlasts the noise of the camera, and POS (W. Wang, A. den Brinker,
S. Stuijk, G. de Haan, "Algorithmic principles of remote PPG", IEEE TBME 64(7),
2017, algorithm 1) keeps it while it drops changes of light and movement, which
are the same in all colours.
"""

import cv2
import numpy as np

_WINDOW_SECONDS = 1.6  # of POS, as in the paper
_COLOUR_SPREAD = 12  # steps of Cr and Cb around the skin's own
_LEAST_BRIGHTNESS = 40  # of 255; darker is hair or pupil


def skin_colour(image):
  """The mean colour of the skin in a face crop, uint8 [height, width, 3], RGB.

  Skin is what is near the middle of the crop and has about the colour that most
  of it has there.

  Returns:
    float64 [3], red, green, blue; NaN where there is next to no skin.
  """
  height, width = image.shape[:2]
  y, x = np.ogrid[:height, :width]
  middle = (((x + 0.5) / width - 0.5) / 0.30) ** 2 + (
    ((y + 0.5) / height - 0.5) / 0.36
  ) ** 2 < 1
  colours = image[middle]
  if not len(colours):
    return np.full(3, np.nan)
  luma, *chroma = cv2.cvtColor(colours[None], cv2.COLOR_RGB2YCrCb)[0].T
  skin = luma > _LEAST_BRIGHTNESS
  for plane in chroma:
    plane = plane.astype(np.int16)
    if skin.any():
      skin &= abs(plane - np.median(plane[skin])) <= _COLOUR_SPREAD
  if skin.mean() < 0.1:
    return np.full(3, np.nan)
  return colours[skin].mean(axis=0, dtype=np.float64)


def pos(colours, rate):
  """The blood volume wave from the skin's colour over time.

  Args:
    colours: float [time, 3], red, green, blue, above 0, evenly sampled; NaN without
      a face.
    rate: Hz.

  Returns:
    float64 [time], any unit, high with much blood; NaN where no window fits.
  """
  length = round(_WINDOW_SECONDS * rate)
  total, count = np.zeros(len(colours)), np.zeros(len(colours))
  if len(colours) < length:
    return np.full(len(colours), np.nan)
  windows = np.lib.stride_tricks.sliding_window_view(colours, length, axis=0)
  starts = np.flatnonzero((np.isfinite(windows) & (windows > 0)).all(axis=(1, 2)))
  windows = windows[starts]  # [window, colour, time]
  red, green, blue = np.moveaxis(
    windows / windows.mean(axis=2, keepdims=True) - 1, 1, 0
  )
  one, two = green - blue, green + blue - 2 * red
  spread = two.std(axis=1, keepdims=True)
  alpha = one.std(axis=1, keepdims=True) / np.where(spread > 0, spread, np.inf)
  wave = one + alpha * two
  # Blood makes green darker, so the paper's wave falls as the vessels fill.
  wave = wave.mean(axis=1, keepdims=True) - wave
  for shift in range(length):
    total[starts + shift] += wave[:, shift]
    count[starts + shift] += 1
  return np.where(count > 0, total / np.maximum(count, 1), np.nan)
