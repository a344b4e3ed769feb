"""Labels from ratings: numbers, medians, and ratings that give none."""

import json
import math
import pickle
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_sample_weight

from mvp_jax.errors import InputError
from mvp_jax.evaluation.predictions import Prediction
from mvp_jax.targets import Binary, find, from_dict
from mvp_jax.targets.binary import Thresholds
from tests.data.tiny_trials import random_trials, trial

_TARGETS = ('valence', 'arousal')


def test_a_rating_at_the_threshold_is_low():
  thresholds = Binary(('valence',), 5).fit([])
  labels = [thresholds.label(trial(1, 1, valence=v))[0] for v in (4.9, 5.0, 5.01)]
  np.testing.assert_array_equal(labels, [[0], [0], [1]])
  assert labels[0].dtype == np.float32
  assert thresholds.subjects == () and thresholds.trials == ()
  assert Binary(_TARGETS, 4.5).fixed().values == (4.5, 4.5)
  assert Binary(_TARGETS, 'median').fixed() is None


def test_the_median_is_that_of_the_training_trials_alone():
  training = [trial(1, k, valence=v, arousal=-v) for k, v in enumerate([1, 2, 8, 9])]
  tested = [trial(2, k, valence=100, arousal=100) for k in range(9)]
  thresholds = Binary(_TARGETS, 'median').fit(training, [*training, *tested])
  assert thresholds.values == (5, -5)
  assert thresholds.subjects == (1,) and thresholds.trials == tuple(
    t.trial_id for t in training
  )
  np.testing.assert_array_equal(thresholds.label(tested[0])[0], [1, 1])
  assert pickle.loads(pickle.dumps(thresholds)) == thresholds


def test_each_subject_has_its_own_median():
  trials = random_trials(subjects=5, stimuli=7)
  thresholds = Binary(_TARGETS, 'subject_median').fit(trials[:14], trials)
  for subject in range(1, 6):
    own = [t for t in trials if t.subject == subject]
    high = sum(thresholds.label(t)[0] for t in own)
    np.testing.assert_array_equal(high, 3)  # of seven, the fourth is the median
  assert thresholds.describe()['thresholds']['valence']['3'] == np.median(
    [t.ratings['valence'] for t in trials if t.subject == 3]
  )


def test_no_rating_of_a_test_trial_decides_what_is_trained_on():
  training = [trial(1, k, valence=v) for k, v in enumerate([1.0, 2, 3])]
  tested = [trial(1, 10 + k, valence=9.0) for k in range(9)]
  thresholds = Binary(('valence',), 'subject_median').fit(
    training, [*training, *tested]
  )
  assert thresholds.own == {1: (2,)}


@pytest.mark.parametrize(
  ('ratings', 'message'),
  [
    (
      [5, 5, 5],
      "'subject_median' parts nothing where valence of subject 2 is 5 in all 3 trials",
    ),
    ([1, 9, 9], 'valence of subject 2 is never above its median 9'),
  ],
)
def test_a_subject_whose_ratings_do_not_part(ratings, message):
  trials = [trial(1, k, valence=v) for k, v in enumerate([1, 2, 3])]
  trials += [trial(2, k, valence=v) for k, v in enumerate(ratings)]
  with pytest.raises(InputError, match=message) as error:
    Binary(('valence',), 'subject_median').fit(trials, trials)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('threshold', ['mean', '5', math.nan, math.inf])
def test_thresholds_that_are_none(threshold):
  with pytest.raises(InputError, match='^threshold: '):
    Binary(threshold=threshold)


def test_ratings_that_are_missing():
  good = trial(1, 1)
  with pytest.raises(InputError, match=r"s01_trial02 has no rating 'valence'"):
    Binary(_TARGETS).check([good, trial(1, 2, valence=math.nan)])
  with pytest.raises(InputError, match=r"no trial has a rating 'arousal', all 2 are"):
    Binary(_TARGETS).check([trial(1, k, arousal=math.nan) for k in (1, 2)])
  with pytest.raises(InputError, match=r"has no rating 'joy'; there are valence, aro"):
    Binary(('joy',)).check([good])


def test_thresholds_say_what_they_are():
  assert Thresholds(_TARGETS, (5.0, 4.0), subjects=(1, 2)).describe() == {
    'thresholds': {'valence': 5.0, 'arousal': 4.0},
    'subjects': [1, 2],
  }


def test_the_loss_is_a_sum_that_is_divided_once():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(6, 2)).astype(np.float32)
  label = (rng.random((6, 2)) < 0.5).astype(np.float32)
  weight = np.array([1, 1, 0.5, 0, 1, 1], np.float32)
  target = Binary()

  def by_hand(smoothing):
    soft = label * (1 - smoothing) + smoothing / 2
    p = 1 / (1 + np.exp(-logits))
    each = -(soft * np.log(p) + (1 - soft) * np.log(1 - p)).mean(-1)
    return (each * weight).sum() / weight.sum()

  for smoothing in (0.0, 0.1):
    found = target.loss(logits, target.smoothed(label, smoothing), weight)
    assert found.keys() == {'loss', 'accuracy_valence', 'accuracy_arousal'}
    np.testing.assert_allclose(found['loss'].compute(), by_hand(smoothing), rtol=1e-5)
    parts = [
      target.loss(logits[i], target.smoothed(label[i], smoothing), weight[i])
      for i in (slice(0, 2), slice(2, 6))
    ]
    for name, whole in found.items():
      merged = parts[0][name].merge(parts[1][name]).merge(type(whole).empty())
      np.testing.assert_allclose(merged.compute(), whole.compute(), rtol=1e-6)
  right = ((logits > 0) == (label > 0.5))[:, 0]
  np.testing.assert_allclose(
    found['accuracy_valence'].compute(), (right * weight).sum() / 4.5, rtol=1e-6
  )
  nothing = target.loss(logits, label, 0 * weight)['loss'].compute()
  assert nothing == 0


def test_a_tie_is_high_in_training_and_in_the_report():
  target, one = Binary(('valence',)), np.ones(1, np.float32)
  logit = np.zeros((1, 1), np.float32)
  score = float(target.predict(logit)[0, 0])
  assert score == 0.5
  for label in (0, 1):
    row = Prediction('x', 1, 1, '1', 0, 0, 'm', 'valence', 3.0, label, score)
    accuracy = target.loss(logit, np.full((1, 1), label, np.float32), one)
    right = accuracy['accuracy_valence'].compute()
    assert bool(right) == target.is_right(row) == bool(label)


def test_targets_are_found_by_kind_and_told_in_run_json():
  assert find('binary') is Binary
  with pytest.raises(InputError, match=r"target.kind: 'ternary' is none of .*binary"):
    find('ternary')
  target = Binary(('joy',), 'median')
  assert from_dict(json.loads(json.dumps(target.describe()))) == target
  with pytest.raises(InputError, match=r'target.cut: no such setting of binary'):
    from_dict({'kind': 'binary', 'cut': 3})


def test_heads_and_views_are_combined_by_their_mean_probability():
  target, rng = Binary(), np.random.default_rng(0)
  outputs = list(rng.normal(0, 2, (3, 4, 2)).astype(np.float32))
  each = np.stack([target.predict(x) for x in outputs])
  np.testing.assert_allclose(
    target.predict(target.combine(outputs)), each.mean(0), rtol=1e-5
  )
  present = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 0]], bool)
  shares = present / present.sum(0)
  np.testing.assert_allclose(
    target.predict(target.combine(outputs, list(present))),
    (each * shares[..., None]).sum(0),
    rtol=1e-5,
  )


def _said(labels, high, fold=None):
  """Rows with labels [n] of a model that says high [n], in folds [n]."""
  fold = np.zeros(len(labels), int) if fold is None else fold
  return [
    SimpleNamespace(seed=0, fold=int(f), label=int(label), score=0.7 if x else 0.2)
    for label, x, f in zip(labels, high, fold, strict=True)
  ]


def test_one_answer_to_nearly_all_trials_is_told():
  target, labels = Binary(), np.arange(100) % 2
  assert target.one_answer(_said(labels, labels)) == ''
  few = np.arange(100) < 5
  assert target.one_answer(_said(labels, ~few)) == (
    'says high to 95% of the trials, of which 50% are high'
  )
  assert target.one_answer(_said(labels, few)).startswith('says low to 95% of the tri')
  assert target.one_answer(_said(labels, np.arange(100) < 6)) == ''
  assert target.one_answer(_said(few, few)) == ''  # the labels are so themselves


def test_one_answer_to_all_trials_of_each_fold_is_told():
  target, labels, fold = Binary(), np.arange(100) % 2, np.arange(100) // 25
  said = fold % 2 == 1
  said[0] = True
  assert target.one_answer(_said(labels, said, fold)) == (
    'says one class to 99% of the trials of a fold, not the same in all folds; '
    '52% are of the one that is more frequent in theirs'
  )
  # Where each fold has one class, that is right; where a fold is one trial, nothing.
  assert target.one_answer(_said(fold % 2, said, fold)) == ''
  assert target.one_answer(_said(labels, said, np.arange(100))) == ''


def test_both_classes_weigh_the_same_in_training():
  trials = [
    SimpleNamespace(subject=1, ratings={'valence': valence, 'arousal': arousal})
    for valence, arousal in ((8, 1), (8, 7), (8, 7), (2, 7))
  ]
  fitted = Binary().fit(trials)
  assert fitted.shares == (0.75, 0.75)
  labels, weights = map(np.array, zip(*(fitted.label(t) for t in trials), strict=True))
  for label, weight in zip(labels.T, weights.T, strict=True):
    assert weight[label == 1].sum() == pytest.approx(weight[label == 0].sum())
    assert weight.sum() == pytest.approx(len(trials))
  # The loss is that of scikit-learn with balanced classes.
  logits = np.array([[0.3, -1.0], [2.0, 0.1], [-0.4, 0.5], [1.5, 0.2]], np.float32)
  found = Binary().loss(jnp.array(logits), jnp.array(labels), jnp.array(weights))
  expected = [
    log_loss(
      label,
      1 / (1 + np.exp(-column.astype(float))),
      sample_weight=compute_sample_weight('balanced', label),
    )
    for label, column in zip(labels.T, logits.T, strict=True)
  ]
  np.testing.assert_allclose(found['loss'].compute(), np.mean(expected), rtol=1e-5)
  plain = Binary(balanced=False).fit(trials)
  assert plain.shares is None and plain.label(trials[0])[1] == 1
  assert fitted.describe()['shares_of_high'] == [0.75, 0.75]
