"""Masked views of random clips for pre-training, and several corpora mixed."""

import grain
import numpy as np

from mvp_jax.data.batches import endless
from mvp_jax.data.clips import clip_frames
from mvp_jax.data.masks import draw_masks, mask_sizes
from mvp_jax.data.views import draw_view
from mvp_jax.data.windows import random_start
from mvp_jax.errors import InputError


class RandomClips:
  """Masked views of clips at random places of some trials, for pre-training.

  A Grain source of (trial, part) pairs: each epoch sees `per_trial` clips of
  every trial, one from each of as many equal parts, so that all of it is seen.

  The spacing of the layout plays no part; `size` of the model's input and `patch` of a
  token are in pixels. Raises InputError if a trial has too few frames, or the masks do
  not fit the tokens.
  """

  def __init__(self, corpus, trials, layout, *, size, patch, masks, views, per_trial):
    self.corpus, self.trials, self.layout = corpus, trials, layout
    self.size, self.masks, self.views = size, masks, views
    self.per_trial = per_trial
    self.grid = layout.slots, size // patch, size // patch
    mask_sizes(*self.grid, masks)
    counts = [(t.trial_id, len(t.streams['video'].times)) for t in trials]
    short = [x for x in counts if x[1] < layout.least_frames]
    if short:
      first = f'{short[0][0]} has {short[0][1]} frames'
      more = f' ({len(short)} such trials)' if len(short) > 1 else ''
      raise InputError(
        f'{corpus.name}: {first}{more}, a clip of {layout.frames} frames '
        f'{layout.stride} apart needs {layout.least_frames}; leave it out, lower '
        'the stride, or prepare with a higher frame_rate'
      )

  @property
  def repeats(self):
    """Views of a clip."""
    return self.views.repeats

  @property
  def alike(self):
    """What sources that are mixed must have in common."""
    return self.layout.frames, self.size, self.grid, self.masks, self.repeats

  @property
  def facts(self):
    """What the record of a pre-training says of its examples."""
    return {'stride': self.layout.stride}

  def __len__(self):
    return len(self.trials) * self.per_trial

  def __getitem__(self, index):
    return divmod(int(index), self.per_trial)

  def read(self, item, rng):
    """Draws the place, the views and their masks.

    Returns:
      dict: frames uint8 [frames, size, size, 3], visible int32 [V], masked int32
      [M] and weight. With several views of a clip, all have these as first axis.
    """
    index, part = item
    trial = self.trials[index]
    count = len(trial.streams['video'].times)
    start = random_start(rng, count, self.layout.span, part, self.per_trial)
    frames = self.corpus.frames(trial, clip_frames(start, count, self.layout))
    views = []
    for _ in range(self.views.repeats):
      visible, masked = draw_masks(rng, *self.grid, self.masks)
      view = draw_view(rng, frames, self.size, self.views)
      views.append(
        {'frames': view, 'visible': visible, 'masked': masked, 'weight': np.float32(1)}
      )
    if len(views) == 1:
      return views[0]
    return {name: np.stack([view[name] for view in views]) for name in views[0]}


def mix(sources, weights, seed):
  """Mixes several sources of examples, each in its own random order without end.

  Whatever their lengths, the first n examples hold each source's share of n, give
  or take one for each source; a small source comes round more often. Grain rounds
  weights, which are positive numbers of any sum, down to hundredths of the smallest.

  Returns:
    grain.MapDataset of examples, as `RandomClips.read` gives them; endless, and to
    be sliced but not shuffled. Example n depends on nothing but n.

  Raises:
    InputError: the weights are no shares of these sources, one is empty, or their
      examples do not stack.
  """
  if len(weights) != len(sources) or not all(np.isfinite(w) and w > 0 for w in weights):
    raise InputError(
      f'weights: {tuple(weights)} are not one positive number for each '
      f'of {len(sources)} sources'
    )
  if len({source.alike for source in sources}) != 1:
    raise InputError(
      'sources to be mixed need the same frames a clip, size, patch, masks and repeats'
    )
  for source in sources:
    if not len(source):
      raise InputError(f'{source.corpus.name}: no trials to mix in')
  seeds, parts = np.random.SeedSequence(seed).generate_state(len(sources)), []
  for source, own in zip(sources, seeds, strict=True):
    parts.append(endless(source, int(own)).random_map(source.read))
  return grain.MapDataset.mix(parts, [float(w) for w in weights])
