"""What a twin of AMIGOS holds."""

import dataclasses

import numpy as np

from mvp_jax.corpora.amigos.tree import (
  BASELINE_SECONDS,
  LONG,
  SHORT,
  SUBJECTS,
  SUBJECTS_WITHOUT_LONG,
)
from mvp_jax.corpora.corpus import some
from mvp_jax.synthetic.spec import SIGNAL_RATE, common_rules, require

# Seconds of each stimulus: of the long ones as published, of the short ones made
# up within the published 51 to 150 s.
_SHORT_SECONDS = 96, 123, 82, 75, 118, 150, 64, 110, 88, 70, 132, 57, 91, 51, 104, 127
SECONDS = dict(zip(SHORT, _SHORT_SECONDS, strict=True)) | LONG
# Who watched the long stimuli together, from the left seat to the right one.
GROUPS = (
  (4, 1, 3, 2),
  (7, 5, 10, 6),
  (13, 14, 11, 12),
  (15, 18, 17, 16),
  (22, 20, 19, 21),
)


@dataclasses.dataclass(frozen=True)
class AmigosSpec:
  """One twin; equal specs give equal files, whatever the number of workers.

  `stimuli` are the VideoIDs that are watched, `scale` shortens them all. Where
  four people watch together, the picture is four times as wide as high. `openface`:
  whether there is a CSV of action units for every video.
  Raises InputError for a value that no twin can have.
  """

  subjects: int = SUBJECTS
  stimuli: tuple[str | int, ...] = SHORT
  seed: int = 0
  variant: str = 'planted'
  frame_rate: float = 25.0  # Hz
  width: int = 1920  # pixels
  height: int = 1080
  scale: float = 1.0
  openface: bool = True

  def __post_init__(self):
    object.__setattr__(self, 'stimuli', tuple(map(str, self.stimuli)))
    whole = self.subjects, self.seed, self.width, self.height
    require(
      self,
      {
        'subjects, seed and sizes are whole numbers': lambda: all(
          isinstance(value, int) for value in whole
        ),
        f'subjects: 1 to {SUBJECTS}': lambda: 1 <= self.subjects <= SUBJECTS,
        f'stimuli: some of {", ".join(SECONDS)}, each once': lambda: some(
          self.stimuli, SECONDS
        ),
        **common_rules(self),
        'width and height: even, height a multiple of 4, at least 64 pixels': lambda: (
          min(self.width, self.height) >= 64 and self.width % 2 == self.height % 4 == 0
        ),
        'scale: 0.1 to 1': lambda: 0.1 <= self.scale <= 1,
        'scale: at least 0.6 in a coupled twin, for events take time': lambda: (
          self.variant != 'coupled' or self.scale >= 0.6
        ),
      },
    )

  @property
  def trials(self):
    return len(self.stimuli)

  def seconds(self, stimulus):
    """How long a stimulus lasts, in whole samples."""
    return round(SECONDS[stimulus] * self.scale * SIGNAL_RATE) / SIGNAL_RATE

  def watching(self, trial, alone=True):
    """The spec of one trial (from 1) as those who draw it want it."""
    return Watching(
      self.seed,
      self.variant,
      self.trials,
      self.frame_rate,
      self.width if alone else self.height,
      self.height,
      self.seconds(self.stimuli[trial - 1]),
    )

  def has(self, subject, stimulus):
    """Whether a subject watched a stimulus."""
    return stimulus in self.stimuli and not (
      stimulus in LONG and subject in SUBJECTS_WITHOUT_LONG
    )

  @property
  def groups(self):
    """Those of `GROUPS` whose people all exist."""
    return tuple(group for group in GROUPS if max(group) <= self.subjects)


@dataclasses.dataclass(frozen=True)
class Watching:
  """One trial, with the attributes that TwinSpec has for all of its trials."""

  seed: int
  variant: str
  trials: int
  frame_rate: float
  width: int
  height: int
  trial_seconds: float
  baseline_seconds = BASELINE_SECONDS
  pixel_aspect = (1, 1)
  crf = 26

  @property
  def num_frames(self):
    return round((BASELINE_SECONDS + self.trial_seconds) * self.frame_rate)

  @property
  def frame_times(self):
    """Seconds since the onset, float64 [frames]."""
    return np.arange(self.num_frames) / self.frame_rate - BASELINE_SECONDS
