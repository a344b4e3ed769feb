"""Labelled clips of trials: random ones to train on, laid ones to test on."""

import numpy as np

from mvp_jax.data.augment import augment, three_crops
from mvp_jax.data.clips import clip_frames
from mvp_jax.data.examples import labelled
from mvp_jax.data.windows import even_starts, random_start
from mvp_jax.errors import InputError


class _Clips:
  """What both share.

  Args:
    corpus: PreparedCorpus with video.
    options: examples.InputConfig; the spacing of its clips plays no part.
    size: pixels, of the clips.
    target: targets.Target of whole trials; None: examples have no labels.
    labels: targets.Fitted; None = what `target` needs no data for, if anything.
  """

  def __init__(self, corpus, trials, options, size, target, labels=None):
    if target is not None:
      target.check(trials)
    blind = [trial.trial_id for trial in trials if 'video' not in trial.streams]
    if blind:
      more = f' ({len(blind)} such trials)' if len(blind) > 1 else ''
      raise InputError(
        f"input.windows: 'random' needs video, {blind[0]} has no video{more}; leave it "
        "out or use 'whole'"
      )
    labels = labels or (target and target.fixed())
    self.corpus, self.trials, self.options, self.size = corpus, trials, options, size
    self._labels = [labelled(labels, trial) for trial in trials] if labels else None

  def _example(self, index, views):
    label = self._labels[index] if self._labels else {}
    return {'frames': np.stack(views), **label, 'weight': np.float32(1)}

  def _frames(self, trial, start):
    count = len(trial.streams['video'].times)
    return self.corpus.frames(trial, clip_frames(start, count, self.options.clips))


class TrainingClips(_Clips):
  """Augmented clips at random places of some trials: a Grain source.

  An item is a (trial, part) pair: each epoch sees `clips_per_trial` clips of every
  trial, one from each of as many equal parts. `read` draws the rest.
  """

  def __len__(self):
    return len(self.trials) * self.options.clips_per_trial

  def __getitem__(self, index):
    return divmod(int(index), self.options.clips_per_trial)

  def read(self, item, rng):
    """An example for `tasks.VideoEmotion`, drawn with a np.random.Generator."""
    index, part = item
    trial, options = self.trials[index], self.options
    count = len(trial.streams['video'].times)
    start = random_start(rng, count, options.clips.span, part, options.clips_per_trial)
    frames = self._frames(trial, start)
    return self._example(
      index,
      [augment(frames, self.size, rng, options.augment) for _ in range(options.views)],
    )


class LaidClips(_Clips):
  """Whole trials, seen as several clips and three crops of each: a Grain source.

  Example i is trial i: `frames` uint8 [clips * 3, T, size, size, 3], and `trial`, its
  number.
  """

  def __len__(self):
    return len(self.trials)

  def __getitem__(self, index):
    trial, options = self.trials[index], self.options
    count = len(trial.streams['video'].times)
    starts = even_starts(count, options.clips.span, options.test_clips)
    views = [
      crop
      for start in starts
      for crop in three_crops(self._frames(trial, start), self.size)
    ]
    return self._example(index, views) | {'trial': np.int32(index)}
