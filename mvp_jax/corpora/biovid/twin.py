"""Writes a twin of BioVid: made-up data in exactly the official layout of part A.

Under the root stand starting_point/samples.csv, biosignals_filtered/<person>/
<sample>_bio.csv, video/<person>/<sample>.mp4, what OpenFace says of them,
openface/<sample>.csv, and, last of all, the marker SYNTHETIC.json.

Pain shows in the face (`synthetic.pain`) of some samples and in the body
(`synthetic.pain_body`) of some, each the more often the stronger it is and both
independent of each other: face and body each know what the other does not.
"""

import csv
import dataclasses
import io
import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mvp_jax.corpora.biovid.tree import ALL_COLUMNS, LEVELS, RATE, SECONDS
from mvp_jax.corpora.corpus import some
from mvp_jax.synthetic.face import face_frames
from mvp_jax.synthetic.openface import write_openface
from mvp_jax.synthetic.pain import pace, pain_events, pained
from mvp_jax.synthetic.pain_body import MUSCLES, pain_body
from mvp_jax.synthetic.spec import require, stream
from mvp_jax.synthetic.tree import write_twin
from mvp_jax.synthetic.video import write_video

VARIANTS = ('planted', 'null', 'leaky')
# The share of samples of each level that show in the face, and in the body.
SHARES = (0.02, 0.1, 0.25, 0.5, 0.75)
LEAN = 0.85
_COLUMNS = {'eda': 'gsr', 'ecg': 'ecg'} | {name: name for name in MUSCLES}
_FIRST, _LAST = 0.6, 3.0  # seconds: when a reaction begins
_EFFECTS = (
  'Some samples show in the face (brows lowered, eyes closed, about a second), some '
  'in the body (skin conductance response, faster heart, three muscles), independently '
  "of each other, at each person's own pace and strength, among blinks, talking, tense "
  'brows, spontaneous responses and noise. '
)
_DESCRIPTIONS = {
  'planted': 'Shares of samples that show, by level: '
  + ', '.join(f'{share:g}' for share in SHARES)
  + '.',
  'null': 'The shares are the same for all levels; best possible is chance.',
  'leaky': f'The shares are the same for all levels, and {LEAN:.0%} of the samples of '
  'a person are of one half of the levels: only knowing the person helps.',
}


@dataclasses.dataclass(frozen=True)
class BioVidSpec:
  """One twin; equal specs give equal files, whatever the number of workers.

  Attributes:
    subjects: people.
    samples: of each person and level.
    classes: levels that there are, 0 (no pain) to 4.
    frame_rate: of the videos, Hz.
    width, height: pixels.
    openface: whether there is a CSV of action units for every video.

  Raises InputError for a value that no twin can have.
  """

  subjects: int = 87
  samples: int = 20
  classes: tuple[int, ...] = (0, 1, 2, 3, 4)
  seed: int = 0
  variant: str = 'planted'
  frame_rate: float = 25.0
  width: int = 1388
  height: int = 1038
  openface: bool = True

  crf = 26
  pixel_aspect = (1, 1)
  trial_seconds = SECONDS

  def __post_init__(self):
    object.__setattr__(self, 'classes', tuple(sorted(self.classes)))
    require(
      self,
      {
        'subjects: 1 to 99, samples: 1 to 40': lambda: (
          1 <= self.subjects <= 99 and 1 <= self.samples <= 40
        ),
        'classes: two or more of 0, 1, 2, 3, 4': lambda: (
          some(self.classes, range(len(LEVELS))) and len(self.classes) > 1
        ),
        'seed: not negative': lambda: self.seed >= 0,
        f'variant: one of {", ".join(VARIANTS)}': lambda: self.variant in VARIANTS,
        'frame_rate: 2 to 60 Hz': lambda: 2 <= self.frame_rate <= 60,
        'width and height: even, at least 64 pixels': lambda: (
          min(self.width, self.height) >= 64 and self.width % 2 == self.height % 2 == 0
        ),
      },
    )

  @property
  def num_frames(self):
    return round(SECONDS * self.frame_rate)

  @property
  def frame_times(self):
    """Seconds since the beginning, float64 [frames]."""
    return np.arange(self.num_frames) / self.frame_rate


class Reaction(NamedTuple):
  """Of one sample: its level, and when face and body begin to react, or None."""

  level: int
  face: float | None
  body: float | None


def person(subject):
  """The name of a person, as BioVid's: a date, w or m, an age."""
  month, day = divmod(subject - 1, 28)
  return f'{7 + month:02}{1 + day:02}14_{"mw"[subject % 2]}_{20 + subject % 46}'


def reactions(spec, subject):
  """The Reactions of a person's samples, in the order in which they were taken."""
  rng = stream(spec, 'ratings', subject)
  levels = np.repeat(spec.classes, spec.samples)
  shares = np.array(SHARES)
  if spec.variant != 'planted':
    shares = np.full(len(SHARES), shares[list(spec.classes)].mean())
  if spec.variant == 'leaky':
    high = spec.classes[len(spec.classes) // 2 :]
    low = spec.classes[: len(spec.classes) // 2]
    own, other = (high, low) if subject % 2 else (low, high)
    levels = np.where(
      rng.random(len(levels)) < LEAN,
      rng.choice(own, len(levels)),
      rng.choice(other, len(levels)),
    )
  levels = rng.permutation(levels)
  shown = rng.random((len(levels), 2)) < shares[levels][:, None]
  starts = rng.uniform(_FIRST, _LAST, shown.shape)
  return [
    Reaction(int(level), *(float(t) if x else None for x, t in zip(*one, strict=True)))
    for level, *one in zip(levels, shown, starts, strict=True)
  ]


def names(spec, subject):
  """The names of a person's samples: the numbers of those without pain come last."""
  levels = [one.level for one in reactions(spec, subject)]
  order = [i for i, level in enumerate(levels) if level]
  order += [i for i, level in enumerate(levels) if not level]
  numbers = {i: number for number, i in enumerate(order, start=1)}
  return [
    f'{person(subject)}-{LEVELS[level]}-{numbers[i]:03}'
    for i, level in enumerate(levels)
  ]


def write_biovid_twin(root, spec, workers=None):
  """Writes the twin of `spec` (BioVidSpec) under `root` (Path); see `write_twin`."""
  write_twin(Path(root), spec, 'BioVid', _jobs, told(spec), workers)


def _jobs(root, spec):
  """(function, path, arguments) of every file but the marker."""
  jobs = [(_write_samples, root / 'starting_point' / 'samples.csv', ())]
  for subject in range(1, spec.subjects + 1):
    folder = person(subject)
    for trial, name in enumerate(names(spec, subject), start=1):
      signals = root / 'biosignals_filtered' / folder / f'{name}_bio.csv'
      jobs.append((_write_signals, signals, (subject, trial)))
      video = root / 'video' / folder / f'{name}.mp4'
      jobs.append((_write_video, video, (subject, trial)))
      if spec.openface:
        units = root / 'openface' / f'{name}.csv'
        jobs.append((_write_units, units, (subject, trial)))
  return jobs


def _write_samples(path, spec):
  text = io.StringIO()
  writer = csv.writer(text, delimiter='\t', lineterminator='\n')
  writer.writerow(ALL_COLUMNS)
  number = itertools.count(1)
  for subject in range(1, spec.subjects + 1):
    listed = zip(names(spec, subject), reactions(spec, subject), strict=True)
    for name, one in listed:
      row = (subject, person(subject), one.level, LEVELS[one.level], next(number), name)
      writer.writerow(row)
  path.write_text(text.getvalue())


def _write_signals(path, spec, subject, trial):
  start = reactions(spec, subject)[trial - 1].body
  body = pain_body(spec, subject, trial, RATE, start)
  micros = np.round(np.arange(len(body['eda'])) * 1e6 / RATE)
  np.savetxt(
    path,
    np.column_stack([micros, *(body[name] for name in _COLUMNS)]),
    ['%d', *['%.4f'] * len(_COLUMNS)],
    '\t',
    header='\t'.join(['time', *_COLUMNS.values()]),
    comments='',
  )


def courses(spec, subject, trial):
  """What the face of a sample does, as `face.face_frames` takes it."""
  start, own = reactions(spec, subject)[trial - 1].face, pace(spec, subject)
  starts = [] if start is None else [start]
  height = stream(spec, 'pain', subject, 1000 + trial).uniform(0.75, 1)
  pain = pain_events(spec.frame_times, starts, [height] * len(starts), own)
  return pained(spec, subject, trial, pain)


def _write_video(path, spec, subject, trial):
  frames = face_frames(spec, subject, trial, courses(spec, subject, trial))
  write_video(path, spec, spec.width, frames)


def _write_units(path, spec, subject, trial):
  write_openface(path, spec, subject, trial, courses(spec, subject, trial))


def told(spec):
  """What the marker says: the best possible scores of the outermost levels.

  `face_accuracy` and `body_accuracy` are those of who sees one of the two alone.
  """
  outer = spec.classes[0], spec.classes[-1]
  shares = [SHARES[level] for level in outer]
  if spec.variant != 'planted':
    shares = [float(np.mean([SHARES[level] for level in spec.classes]))] * 2
  one = [np.array([1 - share, share]) for share in shares]
  both = [np.outer(p, p).ravel() for p in one]
  seen = [
    (one.level == outer[1], one.face is not None, one.body is not None)
    for subject in range(1, spec.subjects + 1)
    for one in reactions(spec, subject)
    if one.level in outer
  ]
  high, face, body = np.array(seen).T
  best = _best(*both)
  return {
    'ceiling': {
      'pain': {
        **best,
        'oracle_accuracy': round(float(((face | body) == high).mean()), 4),
        'face_accuracy': _best(*one)['accuracy'],
        'body_accuracy': _best(*one)['accuracy'],
        'share_high': round(float(high.mean()), 4),
        'task': f'{LEVELS[outer[0]]} against {LEVELS[outer[1]]}',
      }
    },
    'effects': _EFFECTS + _DESCRIPTIONS[spec.variant],
  }


def _best(low, high):
  """The best scores where two classes, as frequent, show signs with probabilities."""
  if np.allclose(low, high):
    return dict.fromkeys(('macro_f1', 'accuracy', 'balanced_accuracy', 'auroc'), 0.5)
  said = high > low
  right = low[~said].sum(), high[said].sum()  # of each class
  counts = np.array([[right[0], 1 - right[0]], [1 - right[1], right[1]]])
  f1 = [2 * counts[i, i] / (counts[i].sum() + counts[:, i].sum()) for i in (0, 1)]
  order = np.argsort(high / np.maximum(low, 1e-12))
  low, high = low[order], high[order]
  area = sum(high[i] * (low[:i].sum() + low[i] / 2) for i in range(len(low)))
  accuracy = round(float(np.mean(right)), 4)
  return {
    'macro_f1': round(float(np.mean(f1)), 4),
    'accuracy': accuracy,
    'balanced_accuracy': accuracy,
    'auroc': round(float(area), 4),
  }
