"""Writes predictions as the ABAW challenges take them."""

import csv
import math

import numpy as np

from mvp_jax.corpora.affwild2.tree import RATINGS
from mvp_jax.errors import InputError
from mvp_jax.files import atomic_write

_HEADER = ('image_location', *RATINGS)


def write_submission(path, predictions):
  """Writes one line for each frame: `<video>/00001.jpg,valence,arousal`.

  Args:
    path: pathlib.Path of the file.
    predictions: {name of a person's video, `<video>[_left|_right]`: float [frames, 2]},
      valence and arousal of every frame from the first on.

  Raises:
    InputError: a prediction is not a number from -1 to 1, or has another shape.
  """
  for name, values in predictions.items():
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] != len(RATINGS):
      raise InputError(
        f'{name}: predictions are {values.shape}, must be [frames, {len(RATINGS)}]'
      )
    wrong = ~(np.abs(values) <= 1).all(1)  # NaN, too
    if wrong.any():
      i = int(wrong.argmax())
      told = ', '.join(f'{x:g}' for x in values[i].tolist())
      raise InputError(
        f'{name}, frame {i + 1}: {told} is not from -1 to 1; clip what is predicted'
      )
  with atomic_write(path) as part, part.open('w', newline='') as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(_HEADER)
    for name, values in predictions.items():
      digits = max(5, math.ceil(math.log10(len(values) + 1)))
      for i, row in enumerate(np.asarray(values).tolist(), start=1):
        writer.writerow([f'{name}/{i:0{digits}}.jpg', *(f'{x:.6g}' for x in row)])


def frame_predictions(predicted, rate, times):
  """Predictions at label times, brought to the frames of a video.

  Args:
    predicted: float [L, 2], of the spans of 1 / `rate` seconds from the onset on.
    rate: Hz.
    times: seconds of the video's frames, [frames].

  Returns:
    float [frames, 2]: between the middles of spans linear, beyond them the nearest.
  """
  middles = (np.arange(len(predicted)) + 0.5) / rate
  columns = [np.interp(times, middles, column) for column in np.asarray(predicted).T]
  return np.stack(columns, axis=-1)
