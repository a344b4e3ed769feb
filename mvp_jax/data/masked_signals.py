"""Whole trials of body signals with hidden spans, to pre-train on."""

import numpy as np

from mvp_jax.data.examples import InputConfig
from mvp_jax.data.scales import pooled_scale
from mvp_jax.data.windows import trial_windows
from mvp_jax.errors import InputError


class MaskedTrials:
  """Trials of one corpus, other spans of which are hidden every time.

  A Grain source of trial numbers, see `read`. Of a trial longer than an example a
  random stretch is read. Channels stand as in the backbone, zero where the corpus has
  none of that name.

  Args:
    corpus: data.trials.PreparedCorpus.
    trials: list of Trial, of those that have signals.
    backbone: models.masked_signals.SignalBackbone.
    hidden: share of a trial that is hidden, in the mean.
    span: seconds of a hidden span; spans may overlap.
  """

  repeats = 1  # examples of an item

  def __init__(self, corpus, trials, backbone, hidden, span):
    self.corpus, self.trials, self.backbone = corpus, trials, backbone
    self._span = max(round(span * backbone.rate), 1)
    self._start = 1 - (1 - hidden) ** (1 / self._span)  # probability of a span's start
    facts, physio = corpus.metadata['streams']['signals'], backbone.physio
    longest = max(trial.streams['signals'].seconds for trial in trials)
    options = InputConfig(max_seconds=longest)
    windows = trial_windows(trials, longest)
    self._items = [_cut(x) for x in physio.inputs(corpus, windows, options).items]
    self._places = [backbone.channels.index(name) for name in facts['channels']]
    self._later = backbone.lead - physio.lead(facts)
    self._scale = _scale(self._items) if physio.levels else None

  @property
  def alike(self):
    """What sources that are mixed must have in common."""
    return self.backbone, self._span, self._start

  @property
  def facts(self):
    """What the record of a pre-training says of its examples."""
    return {'channels': list(self.backbone.channels)}

  def __len__(self):
    return len(self._items)

  def __getitem__(self, index):
    return int(index)

  def read(self, item, rng):
    """Draws the spans.

    Returns:
      dict: values and (if the backbone has them) levels float32 [S, C], valid and
      hidden bool [S], weight.
    """
    own, samples = self._items[item], self.backbone.samples

    length = self._later + len(own['valid'])
    first = int(rng.integers(max(length - samples, 0) + 1))

    def laid(x):
      after = max(samples - length, 0)
      x = np.pad(x, [(self._later, after)] + [(0, 0)] * (x.ndim - 1))
      return x[first : first + samples]

    def spread(x):
      found = np.zeros((samples, len(self.backbone.channels)), np.float32)
      found[:, self._places] = laid(x)
      return found

    starts = np.flatnonzero(rng.random(samples + self._span) < self._start)
    hidden = np.zeros(samples + 2 * self._span, bool)
    for start in starts:
      hidden[start : start + self._span] = True
    example = {
      'values': spread(own['values']),
      'valid': laid(own['valid']),
      'hidden': hidden[self._span : self._span + samples],
      'weight': np.float32(1),
    }
    if self._scale is not None:
      example['levels'] = spread(own['levels'] / self._scale)
    return example


def _cut(item):
  """Without the padding at its end."""
  valid = np.flatnonzero(item['valid'])
  last = valid[-1] + 1 if len(valid) else 0
  return {name: x[:last].copy() for name, x in item.items()}


def _scale(items):
  """Of levels, as a model that is trained on these trials would have it."""
  squares, counts = [], []
  for item in items:
    levels = item['levels'][item['valid']].astype(np.float64)
    squares.append(((levels - levels.mean(0)) ** 2).sum(0) if len(levels) else 0)
    counts.append(len(levels))
  if not sum(counts):
    raise InputError('no trial has any valid signal to pre-train on; see account.csv')
  return pooled_scale(np.array(squares), np.array(counts))
