"""Splits: whole subjects, each tested once, nobody on two sides."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvp_jax.data.splits import make_folds, reserve
from mvp_jax.errors import InputError

_SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def _cases(draw):
  """(subjects, folds, validation subjects) that are possible."""
  subjects = draw(st.sets(st.integers(1, 99), min_size=3, max_size=32))
  folds = draw(st.integers(2, len(subjects)))
  largest_test = -(-len(subjects) // folds)
  left = len(subjects) - largest_test
  return subjects, folds, draw(st.integers(0, left - 1))


@given(_cases(), _SEEDS)
@settings(deadline=None)
def test_every_subject_is_tested_once_and_never_on_two_sides(case, seed):
  subjects, folds, validation_subjects = case
  found = make_folds(subjects, folds, validation_subjects, seed)
  assert [f.fold for f in found] == list(range(folds))
  assert sorted(s for f in found for s in f.test_subjects) == sorted(subjects)
  sizes = [len(f.test_subjects) for f in found]
  assert max(sizes) - min(sizes) <= 1
  for fold in found:
    sides = fold.train_subjects, fold.validation_subjects, fold.test_subjects
    assert set().union(*sides) == subjects
    assert sum(map(len, sides)) == len(subjects)
    assert len(fold.validation_subjects) == validation_subjects
    assert fold.train_subjects
    assert all(type(s) is int for side in sides for s in side)


@given(_cases(), _SEEDS)
@settings(deadline=None)
def test_folds_depend_on_nothing_but_subjects_and_seed(case, seed):
  subjects, folds, validation = case
  shuffled = list(reversed(sorted(subjects))) * 2
  assert (make_folds(subjects, folds, validation, seed)
          == make_folds(shuffled, folds, validation, seed))


def test_seeds_give_different_folds():
  assert make_folds(range(1, 33), 5, 1, 0) != make_folds(range(1, 33), 5, 1, 1)


def test_as_many_folds_as_subjects_leaves_one_out():
  assert all(len(f.test_subjects) == 1 for f in make_folds(range(1, 7), 6, 1, 3))


@given(st.sets(st.integers(1, 99), max_size=32), _SEEDS, st.data())
@settings(deadline=None)
def test_reserved_subjects_are_apart_from_the_rest(subjects, seed, data):
  count = data.draw(st.integers(0, len(subjects)))
  reserved, rest = reserve([*subjects, *subjects], count, seed)
  assert len(reserved) == count
  assert not set(reserved) & set(rest)
  assert set(reserved) | set(rest) == subjects
  assert len(reserved) + len(rest) == len(subjects)
  assert reserve(subjects, count, seed) == (reserved, rest)


def test_reserving_nobody_leaves_all():
  assert reserve([3, 1, 2], 0, 0) == ((), (1, 2, 3))


@pytest.mark.parametrize('count', [-1, 4])
def test_only_subjects_that_exist_can_be_reserved(count):
  with pytest.raises(InputError, match=rf'encoder\.subjects: cannot set {count} of 3'):
    reserve([3, 1, 2], count, 0)


@pytest.mark.parametrize('folds', [-1, 0, 1, 5])
def test_impossible_number_of_folds(folds):
  with pytest.raises(InputError, match=rf'evaluation\.folds: {folds} folds of 4'):
    make_folds([1, 2, 3, 4], folds, 0, 0)


def test_validation_must_leave_somebody_to_train_on():
  with pytest.raises(InputError, match=r'evaluation\.validation_subjects: 2 of the 2'):
    make_folds([1, 2, 3, 4], 2, 2, 0)


def test_negative_number_of_validation_subjects():
  with pytest.raises(InputError, match=r'evaluation\.validation_subjects'):
    make_folds([1, 2, 3, 4], 2, -1, 0)
