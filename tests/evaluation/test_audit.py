"""The leak audit finds what was leaked on purpose, and stops the run in one line."""

import dataclasses
import functools
import re

import pytest

from mvp_jax.data import splits
from mvp_jax.data.splits import PROTOCOLS, deal_trials
from mvp_jax.errors import InputError
from mvp_jax.evaluation import audit, content
from mvp_jax.targets import Binary
from tests.data.tiny_trials import frames, random_trials
from tests.evaluation.memory import MemoryCorpus

make_folds = functools.partial(splits.make_folds, target=Binary())
_TRIALS = random_trials(subjects=8, stimuli=6)


def _failed(checks):
  return {check.name: check.detail for check in checks if not check.passed}


def _in_parts(trials):
  return [
    dataclasses.replace(t, part='validation' if t.subject > 6 else 'train')
    for t in trials
  ]


def test_a_trial_of_the_official_training_set_is_never_tested():
  trials = _in_parts(_TRIALS)
  (fold,) = make_folds(trials, 'official')
  lost = dataclasses.replace(fold, test=(*fold.test[1:], fold.train[0]))
  lost = dataclasses.replace(lost, train=fold.train[1:])
  told = _failed(audit.check_folds([lost], trials, 'official'))['trials']
  assert f'{fold.test[0]} is tested 0 times' in told
  assert f'{fold.train[0]} is of the training set and tested 1 times' in told


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_honest_folds_pass(protocol):
  trials = _in_parts(_TRIALS) if protocol == 'official' else _TRIALS
  folds = make_folds(trials, protocol, folds=3)
  checks = audit.check_folds(folds, trials, protocol, 'trial')
  assert {check.name for check in checks} == {
    'trials',
    'subjects',
    'stimuli',
    'selection',
    'normalisers',
  }
  assert not _failed(checks)
  audit.stop_if_failed(audit.report(checks))


@pytest.mark.parametrize(
  ('made', 'claimed', 'failing'),
  [
    ('stimuli', 'subjects', 'subjects'),
    ('subjects', 'stimuli', 'stimuli'),
    ('subjects', 'subjects_x_stimuli', 'stimuli'),
    ('stimuli', 'leave_one_subject_out', 'subjects'),
  ],
)
def test_folds_that_are_not_what_they_claim(made, claimed, failing):
  folds = make_folds(_TRIALS, made, folds=3)
  assert set(_failed(audit.check_folds(folds, _TRIALS, claimed))) == {failing}


def test_dealt_trials_are_no_protocol():
  folds = deal_trials(_TRIALS, 3, 1, 0, target=Binary())
  failed = _failed(audit.check_folds(folds, _TRIALS, 'subjects'))
  assert failed.keys() == {'subjects'}
  assert '(s02_trial03, s02_trial05, ' in failed['subjects']


def test_a_trial_on_two_sides_or_not_tested_once():
  first, *rest = make_folds(_TRIALS, folds=3)
  leak = dataclasses.replace(first, train=(*first.train, first.test[0]))
  failed = _failed(audit.check_folds([leak, *rest], _TRIALS, 'subjects'))
  assert failed['trials'] == f'{first.test[0]} is on two sides of fold 0'
  assert 'subjects' in failed
  twice = dataclasses.replace(
    rest[0],
    test=(*rest[0].test, first.test[0]),
    train=tuple(x for x in rest[0].train if x != first.test[0]),
  )
  failed = _failed(audit.check_folds([first, twice, rest[1]], _TRIALS, 'subjects'))
  assert f'{first.test[0]} is tested 2 times' in failed['trials']
  failed = _failed(audit.check_folds([first], _TRIALS, 'subjects'))
  assert 'is tested 0 times' in failed['trials'] and 'more' in failed['trials']


def test_means_over_training_and_test_trials_of_a_subject():
  folds = make_folds(_TRIALS, 'stimuli', folds=3)
  failed = _failed(audit.check_folds(folds, _TRIALS, 'stimuli', 'subject'))
  assert set(failed) == {'normalisers'}
  folds = make_folds(_TRIALS, folds=3)
  assert not _failed(audit.check_folds(folds, _TRIALS, 'subjects', 'subject'))


def _content(monkeypatch, folds, *pairs, trials=_TRIALS, accept=()):
  monkeypatch.setattr(
    content,
    'copies',
    lambda corpus: [content.Copy('video', a, b, 1.5, 0.9) for a, b in pairs],
  )
  seen = [dataclasses.replace(t, streams={'video': frames(9, 5.0)}) for t in _TRIALS]
  corpus = MemoryCorpus(seen, frames={})
  (check,) = audit.check_content(corpus, folds, trials, accept)
  return check


def test_the_same_recording_in_training_and_test(monkeypatch):
  folds = make_folds(_TRIALS, folds=4, validation=0)
  by_fold = [sorted(f.test) for f in folds]
  # Twice in the test of one fold: no leak, if a doubtful corpus.
  assert _content(monkeypatch, folds, by_fold[0][:2]).passed
  leak = by_fold[0][0], by_fold[1][3]
  check = _content(monkeypatch, folds, leak)
  assert not check.passed and check.name == 'content: video'
  assert f'{leak[0]} and {leak[1]} (shifted by 1.5 s)' in check.detail
  assert _content(monkeypatch, folds).passed


def test_a_copy_may_be_accepted_by_name(monkeypatch):
  folds = make_folds(_TRIALS, folds=4, validation=0)
  (a, b, *_), (c, d, *_) = (sorted(f.test) for f in folds[:2])
  check = _content(monkeypatch, folds, (a, c), (b, d))
  both = f'content: video/{a}+{c},content: video/{b}+{d}'
  assert f"--config.evaluation.accept='{both}'" in check.detail
  assert not check.passed and not check.accepted
  for accept in (both.split(','), ['content: video']):
    check = _content(monkeypatch, folds, (a, c), (b, d), accept=accept)
    assert check.passed and check.accepted
    assert f'{a} and {c}' in check.detail
    assert check.detail.endswith('accepted by evaluation.accept')
  # Either order; what is not named still fails, and is named first.
  check = _content(
    monkeypatch, folds, (a, c), (b, d), accept=[f'content: video/{c}+{a}']
  )
  assert not check.passed and f'training and test: {b} and {d}' in check.detail
  assert f"accept='content: video/{b}+{d}'" in check.detail
  check = _content(monkeypatch, folds, accept=['content: video'])
  assert check.passed and not check.accepted


@pytest.mark.parametrize(
  ('accept', 'told'),
  [
    ('content: sound', "no check 'content: sound' to accept; there are content: video"),
    ('video', "no check 'video'"),
    ('content: video/s01_trial01+x', "no trial 'x' in 'content: video/s01_trial01+x'"),
    ('content: video/s01_trial01', 'not two trials in'),
  ],
)
def test_what_is_accepted_must_be_there(monkeypatch, accept, told):
  folds = make_folds(_TRIALS, folds=4, validation=0)
  with pytest.raises(InputError, match=re.escape(told)) as error:
    _content(monkeypatch, folds, accept=(accept,))
  assert '\n' not in str(error.value)


def test_a_test_recording_that_the_encoder_was_pre_trained_on(monkeypatch):
  others = [t for t in _TRIALS if t.subject > 2]
  folds = make_folds(others, folds=3)
  assert not _content(
    monkeypatch, folds, ('s01_trial01', folds[0].test[0]), trials=others
  ).passed
  assert _content(
    monkeypatch, folds, ('s01_trial01', 's02_trial01'), trials=others
  ).passed


def test_who_pre_trained_the_encoder():
  corpus = MemoryCorpus(_TRIALS)
  record = {'people': ['synthetic:deap:1', 'synthetic:deap:2']}
  assert audit.check_encoder(record, corpus, {3, 4}, False).passed
  check = audit.check_encoder(record, corpus, {2, 3}, False)
  assert not check.passed and 'was pre-trained on test subjects 2,' in check.detail
  check = audit.check_encoder(record, corpus, {2, 3}, True)
  assert check.passed and check.accepted and 'accepted by' in check.detail
  labelled = record | {'labels': 'ratings of valence'}
  check = audit.check_encoder(labelled, corpus, {2, 3}, False)
  assert 'test subjects 2, with their ratings of valence; pre-train' in check.detail
  # Imported, then trained here: of those before nothing is known.
  both = labelled | {'imported_from': 'x.pth'}
  assert not audit.check_encoder(both, corpus, {2, 3}, False).passed
  check = audit.check_encoder(both, corpus, {3, 4}, False)
  assert check.passed and 'before that imported: whom' in check.detail
  assert 'not known' in audit.check_encoder({'people': []}, corpus, {2}, False).detail
  imported = {'imported_from': 'x.pth'}
  assert 'not known' in audit.check_encoder(imported, corpus, {2}, False).detail
  assert audit.check_encoder(None, corpus, {2}, False).passed


def test_people_are_told_apart_by_identity_and_not_by_corpus_and_number():
  study = MemoryCorpus(_TRIALS, people={'1': ['a', 'b'], '2': ['c'], '3': []})
  # Another study's first subject, another name of the same corpus' second one.
  check = audit.check_encoder({'people': ['x', 'y']}, study, {1, 2}, False)
  assert check.passed and check.detail == 'pre-trained on no test subject'
  check = audit.check_encoder({'people': ['b', 'x']}, study, {1, 2}, False)
  assert not check.passed and 'test subjects 1,' in check.detail
  check = audit.check_encoder({'people': ['x']}, study, {1, 3}, False)
  assert check.passed and 'whether on 3 is not known' in check.detail


def test_what_is_fitted_is_noted_and_may_see_training_trials_alone():
  folds = make_folds(_TRIALS, folds=3, target=Binary(threshold='median'))
  facts = {'folds': [{} for _ in folds]}
  for fold in folds:
    audit.fitted(facts, fold, 'thresholds', fold.target.trials, fold.target.describe())
  noted = facts['folds'][1]['fitted']['thresholds']
  assert noted['on'] == 'training trials' and noted['trials'] == len(folds[1].train)
  assert noted['thresholds'].keys() == {'valence', 'arousal'}
  with pytest.raises(InputError, match=r'audit: video scale of fold 0 saw s0\d_trial0'):
    audit.fitted(facts, folds[0], 'video scale', _TRIALS)
  audit.fitted(facts, folds[0], 'thresholds', ())
  assert facts['folds'][0]['fitted']['thresholds']['on'] == 'nothing'
  (own,) = make_folds(_TRIALS, folds=3, target=Binary(threshold='subject_median'))[:1]
  audit.fitted(facts, own, 'thresholds', own.target.trials)
  assert facts['folds'][0]['fitted']['thresholds']['on'] == 'each subject for itself'


def test_a_report_adds_up_and_a_failure_is_one_line():
  good, bad = audit.Check('a', True, 'fine'), audit.Check('b', False, 'x and y')
  first = audit.report([good])
  assert first['passed']
  second = audit.report([bad], first)
  assert not second['passed'] and [c['name'] for c in second['checks']] == ['a', 'b']
  with pytest.raises(InputError, match='audit: b: x and y; .*no scores') as error:
    audit.stop_if_failed(second)
  assert '\n' not in str(error.value)
  assert audit.report([audit.Check('b', True, '')], second)['passed']


def test_an_official_split_may_have_people_on_several_sides_if_that_is_accepted():
  trials = [
    dataclasses.replace(t, part='validation' if t.stimulus > 3 else 'train')
    for t in _TRIALS
  ]
  (fold,) = make_folds(trials, 'official', validation=0)
  found = audit.check_folds([fold], trials, 'official')
  told = _failed(found)['subjects']
  assert 'tests subject 1, 2, 3 and 5 more that it also trains' in told
  assert "accept it with --config.evaluation.accept='subjects'" in told
  found = audit.check_folds([fold], trials, 'official', accept=('subjects',))
  assert not _failed(found)
  (check,) = [check for check in found if check.accepted]
  assert check.name == 'subjects' and 'subject 1, 2, 3' in check.detail
  # What is dealt here has no such excuse.
  honest, *_ = make_folds(trials, folds=4)
  leaky = dataclasses.replace(
    honest, train=honest.train[1:], test=(*honest.test, honest.train[0])
  )
  found = audit.check_folds([leaky], trials, 'subjects', accept=('subjects',))
  assert 'subjects' in _failed(found)
