"""What a crop shows: a frame of some persons, so that crops can be compared."""

from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from mvp_jax.data import streams
from mvp_jax.evaluation.figures import STYLE, blank, short
from mvp_jax.evaluation.files import read_arrays
from mvp_jax.files import atomic_write

FILE = 'crops.npz'
_PERSONS = 8
_SIDE = 96  # pixels that are kept


class Crop(NamedTuple):
  """A frame as models see it."""

  trial_id: str
  seconds: float  # from stimulus onset
  image: np.ndarray  # uint8 [height, width, 3]


def write(path, corpus):
  """Keeps the middle frame of a trial of some persons, spread over the corpus.

  Which they are depends on the corpus alone, not on the crop. Does nothing without
  video.
  """
  first = {}
  for trial in corpus.trials:
    if streams.pictured(corpus, trial):
      first.setdefault(trial.subject, trial)
  if not first:
    return
  places = np.unique(np.linspace(0, len(first) - 1, _PERSONS).round().astype(int))
  trials = [first[sorted(first)[place]] for place in places]
  images, seconds = [], []
  for trial in trials:
    name = streams.pictured(corpus, trial)
    times = trial.streams[name].times
    (image,) = corpus.frames(trial, [len(times) // 2], stream=name)
    images.append(cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA))
    seconds.append(times[len(times) // 2])
  with atomic_write(path) as part:
    ids = np.array([trial.trial_id for trial in trials])
    np.savez_compressed(part, trial_ids=ids, seconds=np.array(seconds), images=images)


def read(path):
  """What `write` kept: a list of Crop, empty if there is no such file.

  Raises InputError if the file is damaged.
  """

  def crops_of(arrays):
    rows = zip(*(arrays[x] for x in ('trial_ids', 'seconds', 'images')), strict=True)
    return [Crop(str(name), float(seconds), image) for name, seconds, image in rows]

  return read_arrays(path, crops_of) or []


def common(crops):
  """Of lists of Crop by name, the frames that all have."""
  known = set.intersection(*({crop[:2] for crop in own} for own in crops.values()))
  return {
    name: [crop for crop in own if crop[:2] in known] for name, own in crops.items()
  }


@matplotlib.rc_context(STYLE)
def figure(crops, synthetic) -> Figure:
  """A row for each crop, a column for each frame; `crops` is what `common` gives."""
  count = max(map(len, crops.values()))
  drawn = blank(0.3 + 1.08 * len(crops), synthetic)
  panels = drawn.subplots(len(crops), max(count, _PERSONS // 2), squeeze=False)
  for place, (row, (name, own)) in enumerate(zip(panels, crops.items(), strict=True)):
    for axes in row:
      axes.set_axis_off()
    for axes, crop in zip(row, own, strict=False):
      axes.imshow(crop.image)
      if place == 0:
        title = f'{short(crop.trial_id)}\n{crop.seconds:.0f} s'
        axes.set_title(title, fontsize=7.5, fontweight='normal', loc='center')
    style = {'rotation': 90, 'ha': 'right', 'va': 'center', 'fontsize': 8.5}
    row[0].text(-0.08, 0.5, short(name), transform=row[0].transAxes, **style)
  return drawn
