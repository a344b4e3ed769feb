"""From ratings to labels: what counts as high."""

import dataclasses
import math

import numpy as np

from mvp_jax.errors import InputError

THRESHOLDS = ('median', 'subject_median')  # or a number


@dataclasses.dataclass(frozen=True)
class Cuts:
  """What a rating must exceed to be high; a rating equal to it is low.

  Attributes:
    targets: names of ratings.
    values: one for each target; None where each subject has its own.
    own: subject -> one for each target, where each has its own.
    subjects: those whose ratings they were taken from; none for a given number.
    trials: the ids of the trials that they were taken from.
  """

  targets: tuple[str, ...]
  values: tuple[float, ...] | None = None
  own: dict = dataclasses.field(default_factory=dict)
  subjects: tuple[int, ...] = ()
  trials: tuple[str, ...] = ()

  def labels(self, trial):
    """float32 [targets]: 1 where high."""
    cuts = self.own[trial.subject] if self.values is None else self.values
    return np.array(
      [
        trial.ratings[target] > cut
        for target, cut in zip(self.targets, cuts, strict=True)
      ],
      np.float32,
    )

  def describe(self):
    """For run.json: the cuts of each target, and from whose ratings."""
    if self.values is not None:
      cuts = dict(zip(self.targets, self.values, strict=True))
    else:
      cuts = {
        target: {str(subject): values[i] for subject, values in self.own.items()}
        for i, target in enumerate(self.targets)
      }
    return {'cuts': cuts, 'subjects': list(self.subjects)}


def check_threshold(threshold):
  """Raises InputError unless it is a finite number or one of THRESHOLDS."""
  if isinstance(threshold, str):
    if threshold not in THRESHOLDS:
      raise InputError(
        f'threshold: {threshold!r} is neither a number nor one of '
        f'{", ".join(THRESHOLDS)}'
      )
  elif not math.isfinite(threshold):
    raise InputError(f'threshold: {threshold} is no number')


def check_ratings(trials, targets):
  """Raises InputError if a trial lacks a rating, or a target has none at all."""
  for target in targets:
    missing = [
      trial
      for trial in trials
      if not math.isfinite(trial.ratings.get(target, math.nan))
    ]
    if len(missing) == len(trials) > 1 and target in trials[0].ratings:
      raise InputError(
        f'input.targets: no trial has a rating {target!r}, all '
        f'{len(trials)} are empty; leave it out or fill the ratings in'
      )
    for trial in missing:
      raise InputError(
        f'input.targets: {trial.trial_id} has no rating {target!r}; '
        f'there are {", ".join(trial.ratings)}'
      )


def fixed_cuts(targets, threshold):
  """The Cuts of a number; None for a threshold that ratings decide on."""
  if isinstance(threshold, str):
    return None
  return Cuts(tuple(targets), values=(float(threshold),) * len(targets))


def fit_cuts(targets, threshold, training, others=()):
  """The Cuts of a fold.

  'median' is that of the training trials. 'subject_median' is each subject's own:
  over its training trials where it has some, so that no rating of a test trial
  decides on a label that is trained on; over all its trials where it has none. A
  test trial's label then rests on other ratings of that subject, its input does not.

  Args:
    targets: names of ratings.
    threshold: a number, 'median' or 'subject_median'.
    training: list of Trial.
    others: list of Trial: all others that need labels.

  Raises:
    InputError: a subject's ratings do not part around their median.
  """
  fixed = fixed_cuts(targets, threshold)
  if fixed is not None:
    return fixed
  if threshold == 'median':
    return Cuts(
      tuple(targets),
      values=_medians(training, targets),
      subjects=_subjects(training),
      trials=_ids(training),
    )
  by_subject = {}
  for trial in training:
    by_subject.setdefault(trial.subject, []).append(trial)
  for subject in sorted({trial.subject for trial in others} - set(by_subject)):
    by_subject[subject] = [t for t in others if t.subject == subject]
  used = [trial for own in by_subject.values() for trial in own]
  own = {subject: _medians(trials, targets) for subject, trials in by_subject.items()}
  for subject, trials in by_subject.items():
    for target, cut in zip(targets, own[subject], strict=True):
      ratings = [trial.ratings[target] for trial in trials]
      if max(ratings) <= cut:
        kind = (
          f'is {cut:g} in all {len(trials)} trials'
          if min(ratings) == cut
          else f'is never above its median {cut:g}'
        )
        raise InputError(
          f"input.threshold: 'subject_median' parts nothing where {target} of "
          f'subject {subject} {kind}; leave the subject out or use a number'
        )
  return Cuts(
    tuple(targets),
    own=dict(sorted(own.items())),
    subjects=_subjects(used),
    trials=_ids(used),
  )


def _medians(trials, targets):
  return tuple(
    float(np.median([trial.ratings[target] for trial in trials])) for target in targets
  )


def _subjects(trials):
  return tuple(sorted({trial.subject for trial in trials}))


def _ids(trials):
  return tuple(trial.trial_id for trial in trials)
