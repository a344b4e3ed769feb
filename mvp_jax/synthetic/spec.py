"""What a twin holds, and the random streams that twins are drawn from."""

import dataclasses
import math

import numpy as np

from mvp_jax.errors import InputError

VARIANTS = ('planted', 'null', 'leaky', 'coupled')
SIGNAL_RATE = 128  # Hz
BASELINE_SECONDS = 3
TRIAL_SECONDS = 60
_STREAMS = (
  *('latents', 'ratings', 'order', 'sides', 'body', 'trial_body', 'filler', 'identity'),
  *('expression', 'head', 'noise', 'ecg', 'openface', 'moments'),
  *('severity', 'pain'),
)


def require(spec, rules):
  """Raises InputError at the first of {rule: () -> whether it holds} that does not."""
  for rule, holds in rules.items():
    if not holds():
      raise InputError(f'twin: {rule}; given {spec}')


class Filmed:
  """What follows of a spec whose videos all last its `seconds`, at its `frame_rate`."""

  seconds: float
  frame_rate: float

  @property
  def trial_seconds(self):
    return self.seconds

  @property
  def num_frames(self):
    return round(self.seconds * self.frame_rate)

  @property
  def frame_times(self):
    """Seconds since the beginning, float64 [frames]."""
    return np.arange(self.num_frames) / self.frame_rate


def common_rules(spec):
  """Those of all twins, as `require` takes them."""
  return {
    'seed: not negative': lambda: spec.seed >= 0,
    f'variant: one of {", ".join(VARIANTS)}': lambda: spec.variant in VARIANTS,
    'frame_rate: 1 to 120 Hz': lambda: 1 <= spec.frame_rate <= 120,
  }


@dataclasses.dataclass(frozen=True)
class TwinSpec:
  """One twin; equal specs give equal files, whatever the number of workers.

  `pixel_aspect` is width:height of one pixel. `crf` is how much H.264 may lose, 0
  (nothing) to 51; the default makes small files in which the pulse of the face is lost,
  18 larger ones in which it is not. `video_seconds` is shorter than the 60 of a trial
  only to make tests fast. `openface`: whether there is a CSV of action units for every
  video.
  Raises InputError for a value that no twin can have.
  """

  subjects: int = 32
  trials: int = 40
  seed: int = 0
  variant: str = 'planted'
  frame_rate: float = 50.0  # Hz
  width: int = 720  # pixels
  height: int = 576
  pixel_aspect: tuple[int, int] = (16, 15)
  crf: int = 26
  video_seconds: float = 60.0
  openface: bool = True

  def __post_init__(self):
    object.__setattr__(self, 'pixel_aspect', tuple(self.pixel_aspect))
    sizes = self.width, self.height, self.crf, *self.pixel_aspect
    whole = self.subjects, self.trials, self.seed, *sizes
    require(
      self,
      {
        'subjects, trials, seed, sizes and aspect are whole numbers': lambda: all(
          isinstance(value, int) for value in whole
        ),
        'subjects and trials: 1 to 99': lambda: (
          1 <= self.subjects <= 99 and 1 <= self.trials <= 99
        ),
        **common_rules(self),
        'width and height: even, at least 64 pixels': lambda: (
          min(self.width, self.height) >= 64 and self.width % 2 == self.height % 2 == 0
        ),
        'pixel_aspect: two positive whole numbers': lambda: (
          len(self.pixel_aspect) == 2 and min(self.pixel_aspect) > 0
        ),
        'crf: 0 to 51': lambda: 0 <= self.crf <= 51,
        'video_seconds: 1 to 60': lambda: 1 <= self.video_seconds <= TRIAL_SECONDS,
        'video_seconds: 60 in a coupled twin, to show all events': lambda: (
          self.variant != 'coupled' or self.video_seconds == TRIAL_SECONDS
        ),
      },
    )

  baseline_seconds = BASELINE_SECONDS  # of the signals, before the onset
  trial_seconds = TRIAL_SECONDS

  @property
  def num_frames(self):
    return round(self.video_seconds * self.frame_rate)

  @property
  def frame_times(self):
    """Seconds since the onset, float64 [frames]."""
    return np.arange(self.num_frames) / self.frame_rate


def stream(spec, name, subject, trial=0):
  """The random generator of one purpose, subject and trial (0: all trials)."""
  return np.random.default_rng([spec.seed, _STREAMS.index(name), subject, trial])


def wander(rng, times, periods=(4.0, 25.0), waves=5):
  """A smooth random curve of unit variance at `times` (seconds)."""
  low, high = (1 / period for period in reversed(periods))
  rates = rng.uniform(low, high, waves)
  phases = rng.uniform(0, 2 * math.pi, waves)
  curves = np.sin(2 * math.pi * rates * times[:, None] + phases)
  return curves.sum(axis=1) * math.sqrt(2 / waves)
