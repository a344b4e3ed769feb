"""Writes a twin of UNBC-McMaster: made-up data in exactly the archive's layout.

Under the root stand Images/<person>/<sequence>/<sequence>001.png, for each frame
Frame_Labels/PSPI/.../<sequence>001_facs.txt and Frame_Labels/FACS/..., what OpenFace
says of them, openface/<sequence>.csv, and, last of all, the marker SYNTHETIC.json. Pain
comes in short events at a person's own pace, see `synthetic.pain`; action units are
coded of what is shown, with an error, and the PSPI follows from them as in the archive.
Some frames are missing.
"""

import dataclasses
import math
import string
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import rankdata

from mvp_jax.corpora.unbc.tree import FACS, IMAGES, LABEL_END, LABELS, UNITS, pspi
from mvp_jax.synthetic.face import face_frames
from mvp_jax.synthetic.openface import write_openface
from mvp_jax.synthetic.pain import CLOSED_FROM, pace, pain_events, pained
from mvp_jax.synthetic.spec import Filmed, require, stream, wander
from mvp_jax.synthetic.tree import write_twin

VARIANTS = ('planted', 'null', 'leaky')
THRESHOLDS = (1, 2, 3)  # PSPI from which on frames are told apart
_EVENTS = (2.0, 14.0)  # a minute: of the calmest and of the most suffering person
_BEFORE = 2.5  # seconds: longer than an event lasts
_NOBODY = 100  # from this number on there are no people
_ERROR = 0.06  # of what is coded, of a course from 0 to 1
_MISSING = 0.01  # share of frames
# Intensity of the action units at the height of an event.
_HEIGHTS = {4: 5.0, 6: 3.5, 7: 4.5, 9: 3.0, 10: 4.0, 12: 1.5, 25: 2.0}
_EFFECTS = (
  "Pain comes in events of about a second at each person's own pace and strength: "
  'brows lowered, eyes narrowed and shut at the height. Blinks, talking, raised brows '
  'and a slow tension of the brows know nothing of it. Action units are coded with an '
  'error, and PSPI follows from them. '
)
_DESCRIPTIONS = {
  'planted': 'What is coded is what is shown.',
  'null': 'What is coded are events at other times; best possible is chance.',
  'leaky': 'What is coded are events at other times, hardly any of every second person '
  'and many of the others: only knowing the person helps.',
}


@dataclasses.dataclass(frozen=True)
class UnbcSpec(Filmed):
  """One twin; equal specs give equal files, whatever the number of workers.

  Attributes:
    subjects: people.
    sequences: of each.
    seconds: of a sequence.
    frame_rate: of the pictures, which no file says; give it as video_rate.
    width, height: pixels.
    openface: whether there is a CSV of action units for every sequence.

  Raises InputError for a value that no twin can have.
  """

  subjects: int = 25
  sequences: int = 8
  seed: int = 0
  variant: str = 'planted'
  seconds: float = 9.6
  frame_rate: float = 25.0
  width: int = 320
  height: int = 240
  openface: bool = True

  pixel_aspect = (1, 1)

  def __post_init__(self):
    require(
      self,
      {
        'subjects: 1 to 99, sequences: 1 to 26': lambda: (
          1 <= self.subjects <= 99 and 1 <= self.sequences <= 26
        ),
        'seed: not negative': lambda: self.seed >= 0,
        f'variant: one of {", ".join(VARIANTS)}': lambda: self.variant in VARIANTS,
        'seconds: 2 to 60': lambda: 2 <= self.seconds <= 60,
        'frame_rate: 2 to 60 Hz': lambda: 2 <= self.frame_rate <= 60,
        'width and height: even, at least 64 pixels': lambda: (
          min(self.width, self.height) >= 64 and self.width % 2 == self.height % 2 == 0
        ),
      },
    )


def person(subject):
  """The name of a person's folder: 042-aa042."""
  first, second = divmod(subject - 1, 26)
  letters = string.ascii_lowercase
  return f'{41 + subject:03}-{letters[first]}{letters[second]}{41 + subject:03}'


def sequence(subject, trial):
  """The name of a sequence: aa042t1aaaff."""
  own = person(subject).partition('-')[2]
  return f'{own}t{1 + trial % 2}a{string.ascii_lowercase[trial - 1]}aff'


def felt(spec, subject, trial, other=False):
  """The course of pain in a sequence at its frames: float64 [frames], 0 to 1.

  `other`: another one, that nothing shows.
  """
  rng = stream(spec, 'ratings' if other else 'latents', subject, trial)
  # What is not shown is that of somebody else: not even how often is told by the face.
  whose = subject + _NOBODY if other else subject
  own = pace(spec, whose)
  rate = math.exp(stream(spec, 'pain', whose, 1000).uniform(*np.log(_EVENTS)))
  if other and spec.variant == 'leaky':
    rate = _EVENTS[1] * 1.5 if subject % 2 else _EVENTS[0] / 4
  # As often at the beginning as later.
  count = rng.poisson(rate * (spec.seconds + _BEFORE) / 60)
  starts = rng.uniform(-_BEFORE, spec.seconds, count)
  heights = rng.uniform(0.3, 1, count)
  return pain_events(spec.frame_times, starts, heights, own)


def coded(spec, subject, trial):
  """The action units of a sequence, float64 [frames, UNITS]: whole numbers."""
  pain = felt(spec, subject, trial, other=spec.variant != 'planted')
  rng = stream(spec, 'sides', subject, trial)
  error = _ERROR * wander(rng, spec.frame_times, (1.0, 6.0))
  return _units(np.where(pain > 0, np.clip(pain + error, 0, 1), 0))


def _units(pain):
  """What is seen of a course of pain."""
  units = np.zeros((len(pain), len(UNITS)))
  for unit, height in _HEIGHTS.items():
    units[:, UNITS.index(unit)] = np.round(height * pain)
  units[:, UNITS.index(43)] = pain >= CLOSED_FROM
  return units


def write_unbc_twin(root, spec, workers=None):
  """Writes the twin of `spec` (UnbcSpec) under `root` (Path); see `write_twin`."""
  write_twin(Path(root), spec, 'UNBC-McMaster', _jobs, told(spec), workers)


def _jobs(root, spec):
  """(function, path, arguments) of every file but the marker.

  All files of a sequence are written with its last label.
  """
  jobs = []
  for subject in range(1, spec.subjects + 1):
    for trial in range(1, spec.sequences + 1):
      name = sequence(subject, trial)
      folder = root / LABELS / person(subject) / name
      last = folder / f'{name}{spec.num_frames:03}{LABEL_END}.txt'
      jobs.append((_write_sequence, last, (root, subject, trial)))
      if spec.openface:
        jobs.append((_write_units, root / 'openface' / f'{name}.csv', (subject, trial)))
  return jobs


def _write_sequence(path, spec, root, subject, trial):
  name = sequence(subject, trial)
  folders = [root / part / person(subject) / name for part in (IMAGES, LABELS, FACS)]
  for folder in folders:
    folder.mkdir(parents=True, exist_ok=True)
  images, labels, facs = folders
  units, missing = coded(spec, subject, trial), _missing(spec, subject, trial)
  courses = pained(spec, subject, trial, felt(spec, subject, trial))
  for i, image in enumerate(face_frames(spec, subject, trial, courses)):
    frame = f'{name}{i + 1:03}'
    if missing[i]:
      continue
    picture = cv2.cvtColor(image, cv2.COLOR_YUV2BGR_I420)
    _, png = cv2.imencode('.png', picture, (cv2.IMWRITE_PNG_COMPRESSION, 1))
    (images / f'{frame}.png').write_bytes(png.tobytes())
    rows = [
      f'   {unit:.7e}   {units[i, k]:.7e}   0.0000000e+00   0.0000000e+00\n'
      for k, unit in enumerate(UNITS)
      if units[i, k]
    ]
    (facs / f'{frame}{LABEL_END}.txt').write_text(''.join(rows))
    label = path if i + 1 == spec.num_frames else labels / f'{frame}{LABEL_END}.txt'
    label.write_text(f'   {pspi(units[i]):.7e}\n')


def _missing(spec, subject, trial):
  """Which frames are not there, bool [frames]; the first and the last are."""
  missing = stream(spec, 'filler', subject, trial).random(spec.num_frames) < _MISSING
  missing[[0, -1]] = False
  return missing


def _write_units(path, spec, subject, trial):
  """As OpenFace reads a folder of pictures: it numbers those that there are."""
  shown = pained(spec, subject, trial, felt(spec, subject, trial))
  write_openface(path, spec, subject, trial, shown)
  header, *rows = path.read_text().splitlines()
  there = np.flatnonzero(~_missing(spec, subject, trial))
  rows = [
    ','.join([str(i), rows[place].partition(',')[2]])
    for i, place in enumerate(there, start=1)
  ]
  path.write_text('\n'.join([header, *rows]) + '\n')


def told(spec):
  """What the marker says: the best possible scores, and the effects.

  They are those of who knows what is shown, and not the error of what is coded; in a
  twin without effect those of the median.
  """
  pairs = [
    (
      pspi(coded(spec, subject, trial)),
      pspi(_units(felt(spec, subject, trial))),
    )
    for subject in range(1, spec.subjects + 1)
    for trial in range(1, spec.sequences + 1)
  ]
  rated, known = (np.concatenate(x) for x in zip(*pairs, strict=True))
  if spec.variant != 'planted':
    known = np.full_like(rated, np.median(rated))
  return {
    'ceiling': {'pspi': _scores(known, rated)},
    'effects': _EFFECTS + _DESCRIPTIONS[spec.variant],
  }


def _scores(x, y):
  """Of predictions and labels; what a constant leaves undefined is 0."""
  covariance = np.mean((x - x.mean()) * (y - y.mean()))
  spread = x.std() * y.std()
  error = x - y
  found = {
    'mae': np.abs(error).mean(),
    'mse': np.square(error).mean(),
    'rmse': np.sqrt(np.square(error).mean()),
    'pearson': covariance / spread if spread else 0.0,
    'icc': 2 * covariance / (x.var() + y.var()),  # ICC(3,1), of two judges
    'ccc': 2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2),
    'share_above_0': (y > 0).mean(),
  }
  for least in THRESHOLDS:
    said, true = x >= least, y >= least
    ranks = rankdata(x)
    area = ranks[true].sum() - true.sum() * (true.sum() + 1) / 2
    found[f'auroc_{least}'] = area / max(true.sum() * (~true).sum(), 1)
    found[f'f1_{least}'] = 2 * (said & true).sum() / max(said.sum() + true.sum(), 1)
  return {name: round(float(value), 4) for name, value in found.items()}
