"""Who trains and who is tested: always whole subjects."""

import dataclasses

import numpy as np

from mvp_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Fold:
  """One fold of a subject-independent evaluation. Tuples of subject numbers."""

  fold: int
  train_subjects: tuple[int, ...]
  validation_subjects: tuple[int, ...]  # watched for curves, never selected on
  test_subjects: tuple[int, ...]


def reserve(subjects, count, seed):
  """Sets `count` subjects aside (for pre-training); returns (reserved, rest).

  Raises InputError if there are not that many.
  """
  subjects = sorted(set(subjects))
  if not 0 <= count <= len(subjects):
    raise InputError(f'encoder.subjects: cannot set {count} of {len(subjects)} '
                     'subjects aside')
  order = np.random.default_rng((seed, 0)).permutation(len(subjects))
  return (tuple(sorted(subjects[i] for i in order[:count])),
          tuple(sorted(subjects[i] for i in order[count:])))


def make_folds(subjects, folds, validation_subjects, seed):
  """Splits subjects into folds, each subject tested exactly once.

  Args:
    subjects: subject numbers.
    folds: number of folds; as many as subjects is leave-one-subject-out.
    validation_subjects: taken from each fold's training subjects.
    seed: of the assignment.

  Raises:
    InputError: too few subjects for that.
  """
  subjects = sorted(set(subjects))
  if not 2 <= folds <= len(subjects):
    raise InputError(f'evaluation.folds: {folds} folds of {len(subjects)} subjects '
                     'are not possible; use 2 up to the number of subjects')
  rng = np.random.default_rng((seed, 1))
  groups = np.array_split(rng.permutation(subjects), folds)
  result = []
  for fold, test in enumerate(groups):
    rest = rng.permutation([s for s in subjects if s not in test])
    if not 0 <= validation_subjects < len(rest):
      raise InputError(f'evaluation.validation_subjects: {validation_subjects} of the '
                       f'{len(rest)} training subjects is not possible; one at least '
                       'must be left to train on')
    validation, train = np.split(rest, [validation_subjects])
    result.append(Fold(fold, *(tuple(sorted(int(s) for s in g))
                               for g in (train, validation, test))))
  return result
