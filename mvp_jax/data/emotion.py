"""Whole trials as examples for the emotion model."""

import copy
import dataclasses
import math

import numpy as np

from mvp_jax.data.clips import ClipLayout, lay_clips
from mvp_jax.errors import InputError
from mvp_jax.targets import Binary

_TOLERANCE = 0.5  # seconds; a recording may end a little late
_STANDARDISE = ('trial', 'subject')


@dataclasses.dataclass(frozen=True)
class EmotionInput:
  """How a trial becomes an example."""

  targets: tuple[str, ...] = ('valence', 'arousal')
  # A rating above it is "high": a number, 'median' or 'subject_median'
  threshold: float | str = 5.0
  max_seconds: float = 60.0  # sequences are padded to it
  last_seconds: float = 0.0  # of each trial are used, the end of it; 0 = all
  clips: ClipLayout = ClipLayout()
  # Whose mean and deviation each channel is standardised by. 'subject' keeps the
  # level of a trial against the subject's others. No statistic is shared between
  # subjects, so none goes from those tested to those trained on.
  standardise: str = 'trial'
  au_rate: float = 4.0  # tokens a second of action units

  def __post_init__(self):
    Binary(self.targets, self.threshold)
    if not self.last_seconds >= 0:
      raise InputError(f'last_seconds is {self.last_seconds}, must be at least 0')
    if not 0 < self.au_rate <= 60:
      raise InputError(f'au_rate: above 0, at most 60 Hz; it is {self.au_rate:g}')
    if self.standardise not in _STANDARDISE:
      raise InputError(
        f'standardise: {self.standardise!r} is none of {", ".join(_STANDARDISE)}'
      )


def standardise(x, valid, moments=None):
  """Each channel minus its mean over its deviation, over its valid samples.

  Args:
    x: float32 [samples, channels].
    valid: bool [samples, channels].
    moments: mean and deviation, each float64 [channels]; None = its own.

  Returns:
    float32 [samples, channels], zero where invalid.
  """
  mean, std = signal_moments([x], [valid]) if moments is None else moments
  centred = np.where(valid, x - mean, 0)
  return (centred / np.maximum(std, 1e-8)).astype(np.float32)


def signal_moments(signals, valid):
  """Mean and deviation of each channel over the valid samples of some trials.

  Args:
    signals: list of float32 [samples, channels].
    valid: list of bool [samples, channels].

  Returns:
    (float64 [channels], float64 [channels]).
  """
  pairs = list(zip(signals, valid, strict=True))
  count = np.maximum(sum(good.sum(0) for _, good in pairs), 1)
  mean = sum(np.where(good, x, 0).sum(0, dtype=np.float64) for x, good in pairs) / count
  squares = sum((np.where(good, x - mean, 0) ** 2).sum(0) for x, good in pairs)
  return mean, np.sqrt(squares / count)


def unit_tokens(units, rate, count):
  """Means of action units over equal stretches of time: a few tokens a second.

  Args:
    units: ActionUnits of a trial, times since its onset.
    rate: tokens a second.
    count: how many; the k-th is of k / rate to (k + 1) / rate.

  Returns:
    dict: video float32 [count, 35], the 17 intensities (0 to 5) and then the share of
    measurements with each of the 18 presences; video_valid bool [count], whether there
    is a measurement; video_times float32 [count], seconds, the middles.
  """
  values = np.concatenate([units.intensities, units.presences], 1)[units.valid]
  # Times are kept in single precision: that of a token's first frame may lie below.
  place = np.floor(units.times[units.valid] * rate + 1e-3).astype(int)
  values, place = values[place < count], place[place < count]
  total, number = np.zeros((count, values.shape[1])), np.bincount(place, None, count)
  np.add.at(total, place, values)
  return {
    'video': (total / np.maximum(number, 1)[:, None]).astype(np.float32),
    'video_valid': number > 0,
    'video_times': ((np.arange(count) + 0.5) / rate).astype(np.float32),
  }


def pad(x, length):
  """Pads the first axis with zeros to `length`."""
  return np.pad(x, [(0, length - len(x))] + [(0, 0)] * (x.ndim - 1))


class EmotionTrials:
  """A Grain source: example i is trial i, as `models.EmotionModel` takes it.

  Args:
    corpus: Corpus.
    trials: list of Trial.
    options: EmotionInput.
    modalities: of 'physio' and 'video', what an example holds.
    video_backbone: what 'video' is: 'videomae' = frames, or their cached tokens;
      'au' = action units.
    features: folder of cached video tokens, `<trial_id>.npy`; None = read frames.
    scale: float32 [D], by which they are divided (`pooled_scale`); None = as they are.
    cuts: Thresholds; None = of the threshold if it is a number, else no labels.
  """

  def __init__(
    self,
    corpus,
    trials,
    options,
    modalities=('physio', 'video'),
    features=None,
    scale=None,
    cuts=None,
    video_backbone='videomae',
  ):
    self.corpus, self.trials, self.options = corpus, trials, options
    self.video_backbone = video_backbone
    self.modalities, self.features, self.scale = modalities, features, scale
    target = Binary(options.targets, options.threshold)
    self.cuts = cuts or target.fixed()
    # Opened once, here: NumPy parses the headers with Python's `ast`, which in
    # Python 3.11 may fail when several threads do so.
    self._tokens = (
      [_open_tokens(features, trial) for trial in trials] if features else None
    )
    if (
      'physio' in modalities
      and trials
      and not any(trial.signals_valid.any() for trial in trials)
    ):
      raise InputError(
        'evaluation.models: no trial has signals; leave out fusion and physio'
      )
    target.check(trials)
    self._begins = []  # seconds at which the part in use begins
    for trial in trials:
      units = trial.action_units
      if units is None and 'video' in modalities and video_backbone == 'au':
        raise InputError(
          f'video_backbone: {trial.trial_id} has no action units; '
          'prepare them from the CSVs of OpenFace, '
          'see docs/action_units.md'
        )
      seconds = max(
        len(trial.signals) / corpus.metadata['signal_rate'],
        len(trial.frame_times) / corpus.metadata['frame_rate']
        if corpus.has_video
        else 0,
        0 if units is None else units.times[-1],
      )
      if seconds > options.max_seconds + _TOLERANCE:
        raise InputError(
          f'{trial.trial_id} lasts {seconds:.1f} s, input.max_seconds '
          f'is {options.max_seconds:g}; raise it'
        )
      self._begins.append(
        max(0, seconds - options.last_seconds) if options.last_seconds else 0
      )
    # Worked out once: an example is read many times.
    self._signals = self._prepare_signals() if 'physio' in modalities else None
    self._clips, self._units = None, None
    if 'video' in modalities and video_backbone == 'au':
      count = math.ceil(options.max_seconds * options.au_rate)
      self._units = [
        unit_tokens(trial.action_units, options.au_rate, count) for trial in trials
      ]
    elif 'video' in modalities:
      self._clips = [
        lay_clips(trial, corpus.metadata['frame_rate'], options.clips)
        for trial in trials
      ]

  def __reduce__(self):  # reader processes open the files themselves
    return EmotionTrials, (
      self.corpus,
      self.trials,
      self.options,
      self.modalities,
      self.features,
      self.scale,
      self.cuts,
      self.video_backbone,
    )

  def rows(self, ids):
    """Which examples are of trials of some ids: a tuple of their numbers."""
    ids = frozenset(ids)
    return tuple(i for i, trial in enumerate(self.trials) if trial.trial_id in ids)

  def select(self, ids, cuts=None, scale=None):
    """The trials of some ids, with cuts and a scale; shares what is worked out."""
    chosen = self.rows(ids)
    selected = copy.copy(self)
    selected.cuts, selected.scale = cuts or self.cuts, scale
    for name in ('trials', '_begins', '_tokens', '_signals', '_clips', '_units'):
      if getattr(self, name) is not None:
        setattr(selected, name, [getattr(self, name)[i] for i in chosen])
    return selected

  def __len__(self):
    return len(self.trials)

  def __getitem__(self, index):
    trial = self.trials[index]
    example = {'weight': np.float32(1), 'trial': np.int32(index)}
    if self.cuts:
      example['label'] = self.cuts.label(trial)[0]
    if 'physio' in self.modalities:
      example |= self._signals[index]
    if self._units is not None:
      example |= self._units[index]
    elif 'video' in self.modalities:
      example |= self._video(trial, index)
    if 'video' in self.modalities:
      example['video_valid'] = example['video_valid'] & (
        example['video_times'] >= self._begins[index]
      )
    return example

  def _prepare_signals(self):
    length = round(self.options.max_seconds * self.corpus.metadata['signal_rate'])
    moments = {}
    if self.options.standardise == 'subject':
      for subject in {trial.subject for trial in self.trials}:
        own = [trial for trial in self.trials if trial.subject == subject]
        moments[subject] = signal_moments(
          [trial.signals for trial in own], [trial.signals_valid for trial in own]
        )
    prepared = []
    for trial, begin in zip(self.trials, self._begins, strict=True):
      good = trial.signals_valid.copy()
      good[: round(begin * self.corpus.metadata['signal_rate'])] = False
      signals = standardise(trial.signals, good, moments.get(trial.subject))[:length]
      valid = good.any(1)[:length]
      prepared.append(
        {'signals': pad(signals, length), 'signals_valid': pad(valid, length)}
      )
    return prepared

  def _video(self, trial, index):
    options = self.options
    numbers, times, valid = self._clips[index]
    clips = options.clips.max_clips(options.max_seconds + _TOLERANCE)
    length = clips * options.clips.slots
    example = {'video_valid': pad(valid, length), 'video_times': pad(times, length)}
    if self.features is None:
      frames = self.corpus.frames(trial, numbers.ravel())
      frames = frames.reshape(*numbers.shape, *frames.shape[1:])
      return example | {'frames': pad(frames, clips)}
    tokens = self._tokens[index]
    if len(tokens) != len(valid):
      raise InputError(
        f'{self.features}: {trial.trial_id} has {len(tokens)} tokens, '
        f'not {len(valid)}; delete the folder to make them anew'
      )
    if self.scale is not None:
      tokens = tokens / self.scale
    return example | {'video': pad(tokens.astype(np.float32), length)}


def _open_tokens(folder, trial):
  try:
    return np.load(folder / f'{trial.trial_id}.npy', mmap_mode='r')
  except (OSError, EOFError, ValueError) as error:
    raise InputError(
      f'{folder}: {trial.trial_id} cannot be read ({error}); delete '
      'the folder to make it anew'
    ) from error


def token_squares(source):
  """What each trial adds to `pooled_scale`, which takes any choice of them.

  Args:
    source: EmotionTrials without a scale.

  Returns:
    Squares of its video tokens around their mean, float64 [trials, D], and the
    number of its valid tokens [trials].
  """
  squares, counts = [], []
  for index in range(len(source)):
    example = source[index]
    tokens = example['video'][example['video_valid']].astype(np.float64)
    mean = tokens.mean(0) if len(tokens) else 0
    squares.append(((tokens - mean) ** 2).sum(0))
    counts.append(len(tokens))
  return np.array(squares), np.array(counts)


def pooled_scale(squares, counts):
  """The deviation of video tokens around their trial's mean: float32 [D].

  Args:
    squares, counts: of `token_squares`, of training trials only.
  """
  if not counts.sum():
    raise InputError(
      'the training trials have no frame with a face; look at account.csv'
    )
  return np.maximum(np.sqrt(squares.sum(0) / counts.sum()), 1e-6).astype(np.float32)
