"""Labelled clips of trials: random ones to train on, laid ones to test on."""

import dataclasses

import numpy as np

from mvp_jax.data.augment import AugmentConfig, augment, three_crops
from mvp_jax.data.clips import ClipLayout, clip_frames
from mvp_jax.targets import Binary


@dataclasses.dataclass(frozen=True)
class ClipInput:
  """How a trial becomes labelled clips."""

  targets: tuple[str, ...] = ('valence', 'arousal')
  threshold: float | str = 5.0  # a rating above it is "high"; see `targets.binary`
  clips: ClipLayout = ClipLayout()  # its spacing plays no part
  clips_per_trial: int = 8  # an epoch
  views: int = 2  # of each clip read in training, each augmented for itself
  test_clips: int = 5  # evenly over the trial, three crops of each
  augment: AugmentConfig = AugmentConfig()

  def __post_init__(self):
    Binary(self.targets, self.threshold)
    for name in ('clips_per_trial', 'views', 'test_clips'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} is {getattr(self, name)}, must be at least 1')


def _labels(trials, options, cuts):
  """float32 [targets] in {0, 1} of each trial; None where there are no cuts.

  Raises InputError for a missing rating.
  """
  target = Binary(options.targets, options.threshold)
  target.check(trials)
  cuts = cuts or target.fixed()
  return [cuts.label(trial)[0] for trial in trials] if cuts else None


class TrainingClips:
  """Augmented clips at random places of some trials: a Grain source.

  An item is a (trial, part) pair: each epoch sees `clips_per_trial` clips of every
  trial, one from each of as many equal parts. `read` draws the rest.

  Args:
    corpus: Corpus with video.
    trials: list of Trial.
    options: ClipInput.
    size: pixels, of the clips.
    cuts: Thresholds; None = of the threshold if it is a number, else no labels.
  """

  def __init__(self, corpus, trials, options, size, cuts=None):
    self.corpus, self.trials, self.options = corpus, trials, options
    self.size, self._label = size, _labels(trials, options, cuts)

  def __len__(self):
    return len(self.trials) * self.options.clips_per_trial

  def __getitem__(self, index):
    return divmod(int(index), self.options.clips_per_trial)

  def read(self, item, rng):
    """An example for `tasks.VideoEmotion`, drawn with a np.random.Generator."""
    index, part = item
    trial, options = self.trials[index], self.options
    count = len(trial.frame_times)
    last = max(count - options.clips.span, 0)
    low, high = (round(last * p / options.clips_per_trial) for p in (part, part + 1))
    start = int(rng.integers(low, high + 1))
    frames = self.corpus.frames(trial, clip_frames(start, count, options.clips))
    views = [
      augment(frames, self.size, rng, options.augment) for _ in range(options.views)
    ]
    return {
      'frames': np.stack(views),
      'label': self._label[index],
      'weight': np.float32(1),
    }


class LaidClips:
  """Whole trials, seen as several clips and three crops of each: a Grain source.

  Takes what `TrainingClips` takes. Example i is trial i: `frames` uint8
  [clips * 3, T, size, size, 3], and `trial`, its number.
  """

  def __init__(self, corpus, trials, options, size, cuts=None):
    self.corpus, self.trials, self.options = corpus, trials, options
    self.size, self._label = size, _labels(trials, options, cuts)

  def __len__(self):
    return len(self.trials)

  def __getitem__(self, index):
    trial, options = self.trials[index], self.options
    count = len(trial.frame_times)
    starts = np.round(
      np.linspace(0, max(count - options.clips.span, 0), options.test_clips)
    ).astype(int)
    views = []
    for start in starts:
      frames = self.corpus.frames(trial, clip_frames(start, count, options.clips))
      views += three_crops(frames, self.size)
    return {
      'frames': np.stack(views),
      'label': self._label[index],
      'weight': np.float32(1),
      'trial': np.int32(index),
    }
