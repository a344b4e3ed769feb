"""Which trials train, validate and test: the protocols.

A fold is three sets of whole trials; windows and clips are cut from them afterwards.
docs/evaluation.md says which protocol answers which question.
"""

import dataclasses
import itertools
from typing import Any

import numpy as np

from mvp_jax.errors import InputError

# config.evaluation.protocol: what is new in a test trial
PROTOCOLS = {
  'subjects': ('subject',),
  'leave_one_subject_out': ('subject',),
  'stimuli': ('stimulus',),
  'subjects_x_stimuli': ('subject', 'stimulus'),
  'official': ('subject',),  # the corpus says who tests
}
_PLURALS = {'subject': 'subjects', 'stimulus': 'stimuli'}
SIDES = ('train', 'validation', 'test')
_DEALS = 200


@dataclasses.dataclass(frozen=True)
class Fold:
  """One fold: ids of trials, and the target as fitted on those it trains on."""

  fold: int
  train: tuple[str, ...]
  validation: tuple[str, ...]  # watched; a grid and a temperature go by them
  test: tuple[str, ...]
  target: Any  # targets.Fitted: its labels

  def describe(self, trials):
    """Subjects and stimuli of each side, as run.json lists them: a dict."""
    of = {trial.trial_id: trial for trial in trials}
    facts = {'fold': self.fold}
    for side in SIDES:
      chosen = [of[name] for name in getattr(self, side)]
      facts |= {
        f'{side}_subjects': sorted({t.subject for t in chosen}),
        f'{side}_stimuli': sorted({t.stimulus for t in chosen} - {None}),
        f'{side}_trials': len(chosen),
      }
    return facts


def select(trials, ids):
  """Those of some trials that have one of the ids."""
  ids = frozenset(ids)
  return [trial for trial in trials if trial.trial_id in ids]


def reserve(subjects, count, seed, setting='config.encoder.subjects'):
  """Sets `count` subjects aside (for pre-training); returns (reserved, rest).

  Raises InputError, naming the `setting` that asks for it, if there are not that many.
  """
  subjects = sorted(set(subjects))
  if not 0 <= count <= len(subjects):
    raise InputError(
      f'{setting}: cannot set {count} of {len(subjects)} subjects aside; lower it'
    )
  order = np.random.default_rng((seed, 0)).permutation(len(subjects))
  parts = order[:count], order[count:]
  return tuple(tuple(sorted(subjects[i] for i in part)) for part in parts)


def make_folds(
  trials,
  protocol='subjects',
  *,
  target,
  folds=5,
  stimulus_folds=2,
  validation=1,
  seed=0,
):
  """Splits trials into folds, a list of Fold; each trial is tested exactly once.

  Under 'official' there is one fold, see `official`.

  Args:
    protocol: one of `PROTOCOLS`. 'subjects' and 'stimuli' deal these into `folds`
      groups with like strata of the target; under 'subjects_x_stimuli' each of `folds`
      groups of subjects meets each of `stimulus_folds` groups of stimuli, and what
      shares either with the test trials is left out of training.
    target: what is predicted; fitted on the training trials of each fold.
    folds: number of groups; as many as there are is leave-one-out.
    stimulus_folds: number of groups of stimuli for 'subjects_x_stimuli'.
    validation: subjects (for 'stimuli': stimuli) taken from those left to train on.
    seed: of the assignment.

  Raises:
    InputError: that is not possible, or nothing could be learnt in a fold.
  """
  if protocol not in PROTOCOLS:
    known = ', '.join(PROTOCOLS)
    raise InputError(f'evaluation.protocol: {protocol!r} is none of {known}')
  _check_trials(trials, PROTOCOLS[protocol], protocol)
  target.check(trials)
  rng = np.random.default_rng((seed, 1))
  if protocol == 'official':
    train, watched, test = official(trials)
    if not watched:
      train, watched = _hold_back(train, 'subject', validation, rng)
    return [_fold(0, (train, watched, test), trials, target)]
  if protocol == 'leave_one_subject_out':
    folds = len({trial.subject for trial in trials})
  new = PROTOCOLS[protocol]
  counts = {'subject': ('folds', folds), 'stimulus': ('folds', folds)}
  if 'subject' in new:
    counts['stimulus'] = 'stimulus_folds', stimulus_folds
  strata = target.strata(trials)
  groups = [_deal(trials, what, *counts[what], strata, rng) for what in new]
  result = []
  for together in itertools.product(*groups):
    tested = dict(zip(new, together, strict=True))
    test = [t for t in trials if all(getattr(t, a) in g for a, g in tested.items())]
    rest = [t for t in trials if not any(getattr(t, a) in g for a, g in tested.items())]
    if test:  # else nobody of this group has seen these stimuli
      train, watched = _hold_back(rest, new[0], validation, rng)
      result.append(_fold(len(result), (train, watched, test), trials, target))
  return result


def official(trials):
  """The official sides: trials to train on, to validate on (maybe none), and to test.

  The test set is tested where the corpus has labels of it, and the validation set
  validated on; else the validation set is tested. Raises InputError if the corpus has
  no such split.
  """
  tested = tested_part(trials)
  watched = 'validation' if tested == 'test' else None
  sides = [[t for t in trials if t.part == x] for x in ('train', watched, tested)]
  if not sides[0] or not sides[2]:
    lacking = 'training' if not sides[0] else 'validation'
    raise InputError(
      f"evaluation.protocol: 'official' needs an official split, and there is no trial "
      f"of the {lacking} set; use 'subjects'"
    )
  return sides


def tested_part(trials):
  """Which part of an official split is tested: 'test' if there are trials of it."""
  return 'test' if any(t.part == 'test' for t in trials) else 'validation'


def deal_trials(trials, folds, validation, seed, *, target):
  """The field's wrong split, for the leak meter alone: a person's trials on all sides.

  Takes and returns what `make_folds` does; `validation` is the number of subjects
  whose share of the trials is validated on.
  """
  rng = np.random.default_rng((seed, 2))
  subjects = len({trial.subject for trial in trials})
  watched = round(validation / subjects * len(trials))
  groups = np.array_split(rng.permutation(len(trials)), folds)
  result = []
  for fold, test in enumerate(groups):
    rest = rng.permutation(np.setdiff1d(np.arange(len(trials)), test))
    sides = rest[watched:], rest[:watched], test
    sides = [[trials[i] for i in sorted(side)] for side in sides]
    result.append(_fold(fold, sides, trials, target))
  return result


def _fold(number, sides, trials, target):
  """The Fold of some trials to train on, to validate on and to test on."""
  fitted = target.fit(sides[0], trials)
  target.check_fold(number, sides[0], fitted)
  return Fold(number, *(tuple(t.trial_id for t in side) for side in sides), fitted)


def _check_trials(trials, new, protocol):
  """Raises InputError if a trial is there twice, or lacks what is split by."""
  if 'stimulus' in new:
    for trial in trials:
      if trial.stimulus is None:
        raise InputError(
          f'evaluation.protocol: {protocol!r} needs the stimulus of each trial, and '
          f'{trial.trial_id} has none; split by subjects'
        )
  ids, places = set(), set()
  for trial in trials:
    place = trial.subject, trial.trial
    if trial.trial_id in ids or place in places:
      raise InputError(
        f'{trial.trial_id}: subject {trial.subject} has trial '
        f'{trial.trial} twice; where two corpora share a subject '
        'number, give one of them other numbers'
      )
    ids.add(trial.trial_id)
    places.add(place)


def _deal(trials, attribute, setting, count, strata, rng):
  """Deals the subjects or stimuli of some trials into `count` groups.

  `setting` names `count` to people. The groups, sets, differ in size by one at most. Of
  many random deals it takes the one over whose groups `strata` [trials, k] are evenest.
  """
  of_trial = [getattr(trial, attribute) for trial in trials]
  names, index = np.unique(of_trial, return_inverse=True)
  if not 2 <= count <= len(names):
    plural = _PLURALS[attribute]
    raise InputError(
      f'evaluation.{setting}: {count} folds of {len(names)} {plural} '
      f'are not possible; use 2 up to the number of {plural}'
    )
  excess = np.zeros((len(names), strata.shape[1]))
  np.add.at(excess, index, strata - strata.mean(0))

  def unevenness(groups):
    return sum(np.square(excess[group].sum(0)).sum() for group in groups)

  deals = (np.array_split(rng.permutation(len(names)), count) for _ in range(_DEALS))
  best = min(deals, key=unevenness)
  return [set(names[group].tolist()) for group in best]


def _hold_back(rest, attribute, count, rng):
  """Splits trials into those to train on and those of `count` subjects or stimuli."""
  names = rng.permutation(sorted({getattr(trial, attribute) for trial in rest}))
  if not 0 <= count < len(names):
    raise InputError(
      f'evaluation.validation_subjects: {count} of the {len(names)} training '
      f'{_PLURALS[attribute]} is not possible; one at least must be left to train on'
    )
  watched = set(names[:count].tolist())
  return (
    [t for t in rest if getattr(t, attribute) not in watched],
    [t for t in rest if getattr(t, attribute) in watched],
  )
