"""Splits: each trial tested once, and what is new in it is new."""

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut

from mvp_jax.data import splits
from mvp_jax.data.splits import PROTOCOLS, SIDES, deal_trials, reserve, select
from mvp_jax.errors import InputError
from mvp_jax.targets import Binary
from tests.data.tiny_trials import random_trials, trial

make_folds = functools.partial(splits.make_folds, target=Binary())
_SEEDS = st.integers(0, 2**32 - 1)
_TRIALS = random_trials(subjects=9, stimuli=8, spread=1.5)


def _subjects(trials, ids):
  return {t.subject for t in select(trials, ids)}


def _stimuli(trials, ids):
  return {t.stimulus for t in select(trials, ids)}


@given(
  st.sampled_from(sorted(set(PROTOCOLS) - {'official'})),
  st.integers(2, 6),
  st.integers(2, 4),
  st.integers(0, 2),
  _SEEDS,
)
@settings(deadline=None, max_examples=60)
def test_every_trial_is_tested_once_and_what_is_new_is_new(
  protocol, folds, stimulus_folds, validation, seed
):
  found = make_folds(
    _TRIALS,
    protocol,
    folds=folds,
    stimulus_folds=stimulus_folds,
    validation=validation,
    seed=seed,
  )
  assert [f.fold for f in found] == list(range(len(found)))
  assert len(found) == {
    'leave_one_subject_out': 9,
    'subjects_x_stimuli': folds * stimulus_folds,
  }.get(protocol, folds)
  assert sorted(x for f in found for x in f.test) == sorted(t.trial_id for t in _TRIALS)
  for fold in found:
    sides = [set(getattr(fold, side)) for side in SIDES]
    assert sum(map(len, sides)) == len(set().union(*sides))
    assert fold.train and fold.test
    for attribute, of in (('subject', _subjects), ('stimulus', _stimuli)):
      train, watched, test = (of(_TRIALS, side) for side in sides)
      if attribute in PROTOCOLS[protocol]:
        assert not test & (train | watched)
      if attribute == PROTOCOLS[protocol][0]:
        assert len(watched) == validation and not train & watched
    if protocol != 'subjects_x_stimuli':  # there, some trials are on no side
      assert len(set().union(*sides)) == len(_TRIALS)


def test_leaving_one_subject_out_is_that_of_scikit_learn():
  groups = [t.subject for t in _TRIALS]
  theirs = [
    sorted(_TRIALS[i].trial_id for i in test)
    for _, test in LeaveOneGroupOut().split(groups, groups=groups)
  ]
  ours = make_folds(_TRIALS, 'leave_one_subject_out', validation=0)
  assert sorted(theirs) == sorted(sorted(f.test) for f in ours)


def test_folds_have_more_even_shares_of_high_than_groups_at_random():
  def unevenness(tests):
    shares = [
      np.mean(
        [[t.ratings[x] > 5 for x in ('valence', 'arousal')] for t in test], axis=0
      )
      for test in tests
    ]
    return np.std(shares, axis=0).sum()

  ours, theirs = [], []
  for seed in range(8):
    trials = random_trials(subjects=16, stimuli=6, seed=seed, spread=2)
    groups = [t.subject for t in trials]
    ours.append(
      unevenness(
        [select(trials, f.test) for f in make_folds(trials, folds=4, seed=seed)]
      )
    )
    theirs.append(
      unevenness(
        [
          [trials[i] for i in test]
          for _, test in GroupKFold(4, shuffle=True, random_state=seed).split(
            groups, groups=groups
          )
        ]
      )
    )
  assert np.mean(ours) < 0.5 * np.mean(theirs)


@given(_SEEDS)
@settings(deadline=None, max_examples=20)
def test_sizes_differ_by_one_subject_and_folds_depend_on_the_seed_alone(seed):
  found = make_folds(_TRIALS, folds=4, seed=seed)
  sizes = [len(_subjects(_TRIALS, f.test)) for f in found]
  assert sum(sizes) == 9 and max(sizes) - min(sizes) <= 1
  assert found == make_folds(_TRIALS, folds=4, seed=seed)


def test_seeds_give_different_folds():
  trials = random_trials(subjects=22)
  assert len({tuple(f.test for f in make_folds(trials, seed=s)) for s in range(5)}) == 5


def test_what_a_fold_is_made_of():
  fold = make_folds(_TRIALS, 'subjects_x_stimuli', folds=3, stimulus_folds=2)[0]
  facts = fold.describe(_TRIALS)
  assert facts['test_subjects'] == sorted(_subjects(_TRIALS, fold.test))
  assert facts['train_stimuli'] == sorted(_stimuli(_TRIALS, fold.train))
  assert facts['test_trials'] == len(fold.test) == 3 * 4
  assert all(
    type(x) is int
    for values in facts.values()
    if isinstance(values, list)
    for x in values
  )


def test_groups_that_never_saw_the_stimuli_make_no_fold():
  trials = [t for t in _TRIALS if (t.subject > 4) == (t.stimulus > 4)]
  found = make_folds(trials, 'subjects_x_stimuli', folds=4, stimulus_folds=4)
  assert sorted(x for f in found for x in f.test) == sorted(t.trial_id for t in trials)
  assert [f.fold for f in found] == list(range(len(found))) and all(
    f.test for f in found
  )


def test_each_fold_has_the_median_of_its_own_training_trials():
  for fold in make_folds(_TRIALS, folds=3, target=Binary(threshold='median')):
    train = select(_TRIALS, fold.train)
    assert fold.target.values[0] == np.median([t.ratings['valence'] for t in train])
    assert set(fold.target.trials) == set(fold.train)


def test_dealing_trials_leaks_persons():
  found = deal_trials(_TRIALS, 4, 1, 0, target=Binary())
  assert sorted(x for f in found for x in f.test) == sorted(t.trial_id for t in _TRIALS)
  for fold in found:
    assert not set(fold.test) & set(fold.train + fold.validation)
    assert len(fold.validation) == 8
    assert _subjects(_TRIALS, fold.test) <= _subjects(_TRIALS, fold.train)


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


_ONE_SIDED = [
  trial(s, k, valence=9.0 if s == 1 else 1.0 + k) for s in (1, 2) for k in range(8)
]


@pytest.mark.parametrize(
  ('trials', 'arguments', 'message'),
  [
    (_TRIALS, {'folds': 1}, r'evaluation\.folds: 1 folds of 9 subjects are not'),
    (_TRIALS, {'folds': 10}, r'evaluation\.folds: 10 folds of 9 subjects'),
    (_TRIALS, {'folds': -1}, r'evaluation\.folds: -1 folds'),
    (_TRIALS, {'protocol': 'stimuli', 'folds': 9}, '9 folds of 8 stimuli are not'),
    (
      _TRIALS,
      {'protocol': 'subjects_x_stimuli', 'stimulus_folds': 9},
      r'evaluation\.stimulus_folds: 9 folds of 8 stimuli',
    ),
    (_TRIALS[:8], {'protocol': 'leave_one_subject_out'}, '1 folds of 1 subjects'),
    (
      _TRIALS,
      {'folds': 2, 'validation': 4},
      r'evaluation\.validation_subjects: 4 of the [45] training subjects is not',
    ),
    (_TRIALS, {'validation': -1}, r'evaluation\.validation_subjects: -1 of the'),
    (
      _TRIALS,
      {'protocol': 'official'},
      r"evaluation\.protocol: 'official' needs an official split, and there is no "
      'trial of the training set',
    ),
    (_TRIALS, {'protocol': 'windows'}, r"evaluation\.protocol: 'windows' is none of"),
    (
      _TRIALS,
      {'target': Binary(threshold=9.5)},
      r'target\.threshold: 9\.5 has all 72 trials on one '
      'side, valence is 1 to 9',
    ),
    (
      _ONE_SIDED,
      {'folds': 2, 'validation': 0, 'target': Binary(('valence',))},
      r'fold [01] would train on one class only, valence is high in all 8 trials',
    ),
    (
      [*_TRIALS, dataclasses.replace(_TRIALS[3], stimulus=99)],
      {},
      's01_trial04: subject 1 has trial 4 twice; where two corpora share a subject',
    ),
    (
      [
        dataclasses.replace(t, ratings={'valence': 5.0, 'arousal': float('nan')})
        for t in _TRIALS
      ],
      {},
      "no trial has a rating 'arousal', all 72 are empty",
    ),
  ],
)
def test_folds_that_cannot_be_made(trials, arguments, message):
  with pytest.raises(InputError, match=message) as error:
    make_folds(trials, **{'folds': 3, **arguments})
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('protocol', ['stimuli', 'subjects_x_stimuli'])
def test_trials_without_a_stimulus_are_not_split_by_it(protocol):
  trials = [dataclasses.replace(t, stimulus=None) for t in _TRIALS]
  with pytest.raises(InputError, match='s01_trial01 has none; split by subj') as error:
    make_folds(trials, protocol, folds=3)
  assert '\n' not in str(error.value)
  fold = make_folds(trials, folds=3)[0]
  assert fold.describe(trials)['train_stimuli'] == []


def test_the_official_split_trains_and_tests_on_what_it_says():
  parts = {1: 'train', 2: 'train', 3: 'train', 4: 'validation', 5: 'validation'}
  trials = [
    dataclasses.replace(t, part=parts[t.subject]) for t in _TRIALS if t.subject in parts
  ]
  (fold,) = make_folds(trials, 'official', validation=1)
  assert _subjects(trials, fold.test) == {4, 5}
  assert len(_subjects(trials, fold.validation)) == 1
  assert _subjects(trials, fold.train) | _subjects(trials, fold.validation) == {1, 2, 3}
  with pytest.raises(InputError, match='no trial of the validation set'):
    make_folds([t for t in trials if t.part == 'train'], 'official')


def test_where_the_test_set_has_labels_it_is_tested_and_the_validation_set_watched():
  parts = {1: 'train', 2: 'train', 3: 'train', 4: 'validation', 5: 'test', 6: 'test'}
  trials = [dataclasses.replace(t, part=parts[t.subject]) for t in random_trials(6, 4)]
  (fold,) = make_folds(trials, 'official', validation=1)
  of = {trial.trial_id: trial.part for trial in trials}
  for side, part in (
    ('train', 'train'),
    ('validation', 'validation'),
    ('test', 'test'),
  ):
    assert set(getattr(fold, side)) == {name for name in of if of[name] == part}
