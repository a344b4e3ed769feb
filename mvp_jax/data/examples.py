"""Trials as examples for models: arrays of each modality, and the target's labels."""

import contextlib
import dataclasses
import math

import numpy as np

from mvp_jax.data.augment import AugmentConfig
from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.lengths import MOST, Plan, drawn, grown
from mvp_jax.data.scales import rescaled
from mvp_jax.data.spans import span_count
from mvp_jax.data.windows import trial_windows
from mvp_jax.errors import InputError

WINDOWS = ('whole', 'random')


@dataclasses.dataclass(frozen=True)
class InputConfig:
  """Which part of a trial an example is."""

  # 'whole': a trial is an example, with any modalities. 'random': random clips of its
  # video are, to fine-tune a video encoder by itself.
  windows: str = 'whole'
  # A trial that lasts longer is read in windows of so many seconds: one at random each
  # time it is trained on, all of them, whose mean counts, where it is tested.
  max_seconds: float = 60.0
  hop_seconds: float = 0.0  # from one window to the next; 0 = half a window
  first_seconds: float = 0.0  # of each trial are used, the beginning of it; 0 = all
  last_seconds: float = 0.0  # of each trial (of its beginning) are used; 0 = all
  # Examples are padded to so many lengths at most; 1 = all to the longest.
  lengths: int = MOST
  # 16 frames, every fourth: 2.56 s a clip, end to end over the whole trial.
  clips: ClipLayout = ClipLayout()
  # Of random windows alone:
  clips_per_trial: int = 8  # an epoch
  views: int = 2  # of each clip read in training, each augmented for itself
  test_clips: int = 5  # evenly over the trial, three crops of each
  augment: AugmentConfig = AugmentConfig()

  def __post_init__(self):
    if self.windows not in WINDOWS:
      raise InputError(f'windows: {self.windows!r} is none of {", ".join(WINDOWS)}')
    for name in ('hop_seconds', 'first_seconds', 'last_seconds'):
      if not 0 <= getattr(self, name) < math.inf:
        raise InputError(f'{name} is {getattr(self, name)}, must be at least 0')
    for name in ('lengths', 'clips_per_trial', 'views', 'test_clips'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} is {getattr(self, name)}, must be at least 1')


class TrialExamples:
  """A Grain source: example i is trial i, as `models.emotion.EmotionModel` takes it.

  Args:
    corpus: PreparedCorpus.
    trials: list of Trial.
    options: InputConfig.
    modalities: {name: Modality}, what an example holds.
    encoding: modalities.Encoding, for those that need it.
    target: targets.Target; checked against the trials. None: examples have no labels.
    plan: lengths.Plan, the lengths that examples are padded to; None = `max_seconds`.

  Attributes:
    labels: targets.Fitted, or None: examples then have no labels.
    scales: {array: what `rescaled` takes}, of arrays that are scaled or standardised.
    seconds: float [trials], how long each example lasts.
    lengths: int [trials], which of the plan's lengths it is padded to.
  """

  def __init__(
    self, corpus, trials, options, modalities, target, encoding=None, plan=None
  ):
    self._given = corpus, options, modalities, target, encoding, plan
    self.trials, self.options, self.target = trials, options, target
    self.modalities, self.plan = modalities, plan or Plan((options.max_seconds,))
    if target is not None:
      target.check([trial for trial in trials if not trial.cut])
    self.labels, self.scales = target and target.fixed(), {}
    self.seconds = np.array([lasting(trial, target) for trial in trials])
    self.lengths = np.array([self.plan.number(x) for x in self.seconds], int)
    windows = [
      dataclasses.replace(window, padded=self.plan.lengths[number])
      for window, number in zip(
        trial_windows(trials, options.max_seconds, options.last_seconds),
        self.lengths,
        strict=True,
      )
    ]
    # Worked out once: an example is read many times.
    self._inputs = {
      name: modality.inputs(corpus, windows, options, encoding)
      for name, modality in modalities.items()
    }

  def shapes(self):
    """For each length of the plan, the shape of every array of an example."""
    found = [{} for _ in self.plan.lengths]
    for name, modality in self.modalities.items():
      window = self._readable(modality)
      for shapes, seconds in zip(found, self.plan.lengths, strict=True):
        item = self._inputs_of(modality, window, seconds)[0]
        shapes |= {f'{name}/{array}': np.shape(x) for array, x in item.items()}
    if self.labels:
      for shapes, seconds in zip(found, self.plan.lengths, strict=True):
        label = labelled(self.labels, self.trials[0], seconds)
        shapes |= {name: np.shape(x) for name, x in label.items()}
    return found

  def _inputs_of(self, modality, window, seconds):
    corpus, options, _, _, encoding, _ = self._given
    window = dataclasses.replace(window, padded=seconds)
    return modality.inputs(corpus, [window], options, encoding)

  def _readable(self, modality):
    """The window of a trial, a short one, that holds what a modality reads."""
    for i in np.argsort(self.seconds, kind='stable'):
      (window,) = trial_windows([self.trials[i]], self.options.max_seconds)
      with contextlib.suppress(InputError):  # it may hold nothing of the kind
        self._inputs_of(modality, window, self.plan.lengths[0])
        return window
    raise AssertionError('no trial can be read, and all were')

  def __reduce__(self):  # reader processes open the files themselves
    return _again, (self._given, self.trials, self.labels, self.scales)

  @property
  def scaled(self):
    """Names of the arrays that are divided by what is fitted on training trials."""
    inputs = self._inputs.items()
    return tuple(f'{name}/{own.scaled}' for name, own in inputs if own.scaled)

  @property
  def standardised(self):
    """Names of those of which each number is standardised by it."""
    inputs = self._inputs.items()
    return tuple(f'{name}/{x.standardised}' for name, x in inputs if x.standardised)

  def pools(self, name):
    """Whether all tokens of an array are standardised alike."""
    return self._inputs[name.partition('/')[0]].pooled

  def stacked(self, name):
    """An array of all trials, [trials, ...], as it is before scaling."""
    modality, _, array = name.partition('/')
    return np.stack([self.part(modality, i)[array] for i in range(len(self))])

  def part(self, modality, index):
    """What an example has of a modality: {array: values}, as before scaling."""
    return self._inputs[modality][index]

  def rows(self, ids):
    """Which examples are of trials of some ids: a tuple of their numbers."""
    ids = frozenset(ids)
    return tuple(i for i, trial in enumerate(self.trials) if trial.trial_id in ids)

  def select(self, ids, labels=None, scales=None):
    """The trials of some ids, with labels and scales; shares what is worked out."""
    return self.take(self.rows(ids), labels, scales)

  def take(self, chosen, labels=None, scales=None):
    """Like `select`, of numbers of examples, each as often as it is there."""
    selected = object.__new__(type(self))  # `copy` would work all out again
    vars(selected).update(vars(self))
    selected.labels, selected.scales = labels or self.labels, scales or {}
    chosen = list(chosen)
    selected.trials = [self.trials[i] for i in chosen]
    selected.seconds, selected.lengths = self.seconds[chosen], self.lengths[chosen]
    selected._inputs = {
      name: inputs.take(chosen) for name, inputs in self._inputs.items()
    }
    return selected

  def __len__(self):
    return len(self.trials)

  def __getitem__(self, index):
    example = {'weight': np.float32(1), 'trial': np.int32(index)}
    if self.labels:
      example |= self.label(index, self.labels)
    for name, inputs in self._inputs.items():
      for array, x in inputs[index].items():
        example[f'{name}/{array}'] = x
    for name, scale in self.scales.items():
      example[name] = rescaled(example[name], scale)
    return example

  def label(self, index, fitted):
    """A trial's label by a Fitted: `label`, and `label_weight` if it is an array."""
    seconds = self.plan.lengths[self.lengths[index]]
    return labelled(fitted, self.trials[index], seconds)

  def labels_of(self, fitted, ids, rows=None, seconds=None):
    """Labels, stacked; zero for trials that are not of these ids.

    Of some rows (None = all), and of so many seconds where they are in time.
    """
    known, seconds = frozenset(self.rows(ids)), seconds or self.options.max_seconds
    first = labelled(fitted, self.trials[min(known)], seconds)
    nothing = {name: np.zeros_like(x) for name, x in first.items()}
    found = [
      labelled(fitted, self.trials[i], seconds) if i in known else nothing
      for i in (range(len(self)) if rows is None else rows)
    ]
    return {name: np.stack([x[name] for x in found]) for name in nothing}

  def longest(self):
    """An example of the plan's last length."""
    example = self[int(np.argmax(self.lengths))]
    several = len(self.plan.lengths) > 1
    return grown(example, self.shapes()[-1]) if several else example

  @property
  def bytes(self):
    """How much memory the arrays of all examples take."""
    firsts = (np.flatnonzero(self.lengths == x) for x in np.unique(self.lengths))
    return sum(len(x) * sum(a.nbytes for a in self[x[0]].values()) for x in firsts)


class OneWindowEach:
  """A Grain source of trials, of each of which one window is drawn every time.

  An item is what `batches.drawn` takes; `read` draws and gives the example.

  Args:
    examples: TrialExamples of windows.
    items: for each trial the number of its only window, or a tuple of those of all.
  """

  def __init__(self, examples, items):
    self.examples, self.items = examples, items
    firsts = [np.atleast_1d(item)[0] for item in items]
    self.seconds = examples.seconds[firsts]

  def shapes(self):
    return self.examples.shapes()

  def __len__(self):
    return len(self.items)

  def __getitem__(self, index):
    return self.items[index]

  def read(self, item, rng):
    return self.examples[drawn(item, rng)]


def lasting(trial, target=None):
  """How many seconds of an example hold all of a trial, and of its labels in time."""
  if target is None or target.level != 'frame':
    return trial.seconds
  counts = (span_count(stream, target.rate) for stream in trial.streams.values())
  return max(counts, default=0) / target.rate


def labelled(fitted, trial, seconds=None):
  """The label of a trial by a Fitted, see `TrialExamples.label`."""
  label, weight = fitted.label(trial, seconds)
  return {'label': label} | ({'label_weight': weight} if np.ndim(weight) else {})


def _again(given, trials, labels, scales):
  examples = TrialExamples(given[0], trials, *given[1:])
  examples.labels, examples.scales = labels, scales
  return examples
