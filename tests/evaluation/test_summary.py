import dataclasses

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from mvp_jax.evaluation import summary
from mvp_jax.evaluation.metrics import Estimate


def by_hand(predictions, target, model):
  rows = [row for row in predictions if row.target == target and row.model == model]
  labels = [row.label for row in rows]
  said = [int(row.score >= .5) for row in rows]
  return rows, labels, said


def test_scores_are_those_of_scikit_learn_whatever_the_row_order(predictions):
  shuffled = [predictions[i] for i in
              np.random.default_rng(0).permutation(len(predictions))]
  for rows in (predictions, shuffled):
    results = {result.target: result for result in summary.evaluate(rows)}
    assert set(results) == {'valence', 'arousal'}
    for target, result in results.items():
      assert result.models[0] == 'fusion'
      assert (result.trials, result.subjects, result.seeds) == (160, 8, 1)
      for model in (*result.models, 'majority'):
        source = 'class_prior' if model == 'majority' else model
        _, labels, said = by_hand(predictions, target, source)
        found = result.scores[model]
        assert found['macro_f1'].value == pytest.approx(
            f1_score(labels, said, average='macro'))
        assert found['f1'].value == pytest.approx(f1_score(labels, said))
        assert found['accuracy'].value == pytest.approx(accuracy_score(labels, said))
        assert found['accuracy'].low < found['accuracy'].value < found['accuracy'].high


def test_coin_accuracy_has_its_closed_form(predictions):
  for result in summary.evaluate(predictions):
    rows, *_ = by_hand(predictions, result.target, 'class_prior')
    expected = np.mean([row.score if row.label else 1 - row.score for row in rows])
    assert result.scores['coin']['accuracy'].value == pytest.approx(expected)


def test_differences_and_folds(predictions):
  for result in summary.evaluate(predictions):
    for (a, b), difference in result.differences.items():
      for name, gain in difference.items():
        assert gain.value == pytest.approx(
            result.scores[a][name].value - result.scores[b][name].value)
    assert ('fusion', 'video') in result.differences
    assert ('video', 'physio') not in result.differences
    rows, *_ = by_hand(predictions, result.target, 'video')
    for fold in result.folds:
      here = [row for row in rows if row.fold == fold.fold]
      assert fold.trials == len(here) == 40 and fold.subjects == 2
      assert fold.macro_f1['video'] == pytest.approx(f1_score(
          [row.label for row in here], [int(row.score >= .5) for row in here],
          average='macro'))


def test_seeds_are_pooled_and_subjects_stay_one_cluster(predictions):
  again = [dataclasses.replace(row, seed=1) for row in predictions]
  for one, two in zip(summary.evaluate(predictions),
                      summary.evaluate(predictions + again), strict=True):
    assert (two.trials, two.seeds, two.subjects) == (one.trials, 2, one.subjects)
    fusion = one.scores['fusion']['macro_f1'], two.scores['fusion']['macro_f1']
    assert dataclasses.astuple(fusion[0]) == pytest.approx(
        dataclasses.astuple(fusion[1]))
    assert len(two.folds) == 2 * len(one.folds)


def test_reading_says_what_the_intervals_allow(predictions):
  ceiling = {'valence': {'macro_f1': .5}, 'arousal': {'macro_f1': 1.0}}
  valence, arousal = summary.evaluate(predictions)
  said = ' '.join(summary.reading(valence, ceiling))
  assert 'fusion beats physio alone by +.' in said
  assert 'fusion is not shown to differ from video alone' in said
  assert 'physio: macro-F1' in said and 'not above the class-prior coin' in said
  assert 'not shown to exceed that of always saying the majority class' in said
  assert 'look for a leak' in said
  said = ' '.join(summary.reading(arousal, ceiling))
  assert 'fusion beats video alone by' in said and 'below it' in said
  assert 'only 8 test subjects' in summary.caution([valence, arousal])


def test_a_model_that_is_always_wrong_is_said_to_be_below(predictions):
  wrong = [row if row.model == 'class_prior' else
           dataclasses.replace(row, score=1.0 - row.label) for row in predictions]
  wrong = [dataclasses.replace(row, score=float(row.label))
           if row.model == 'video' else row for row in wrong]
  said = ' '.join(summary.reading(summary.evaluate(wrong)[0]))
  assert 'fusion: macro-F1 .00 [.00, .00], below the class-prior coin' in said
  assert 'fusion is worse than video alone by -1.00 [-1.00, -1.00]' in said


def test_one_subject_gets_no_intervals_and_no_claims(predictions):
  alone = [row for row in predictions if row.subject == 1]
  results = summary.evaluate(alone)
  said = ' '.join(summary.reading(results[0]))
  assert '[' not in said and 'above' not in said and 'beats' not in said
  assert 'only one test subject' in summary.caution(results)


def test_without_class_prior_and_fusion(predictions):
  video = [row for row in predictions if row.model == 'video']
  result = summary.evaluate(video)[0]
  assert set(result.scores) == {'video'} and not result.differences
  assert 'chance is unknown' in summary.reading(result)[0]


def test_table_for_the_terminal(predictions):
  table = summary.summary_table(predictions, {'valence': {'macro_f1': .9155}})
  _, labels, said = by_hand(predictions, 'arousal', 'fusion')
  assert summary.number(f1_score(labels, said, average='macro')) in table
  assert 'majority class' in table and 'class-prior coin' in table
  assert table.count('best possible') == 1


@pytest.mark.parametrize('value, digits, sign, text', [
    (.8812, 3, False, '.881'), (.31, 2, True, '+.31'), (-.05, 2, False, '-.05'),
    (1.0, 2, False, '1.00'), (.99996, 3, False, '1.000'), (0.0, 3, False, '.000'),
    (-1.0, 2, True, '-1.00'), (float('nan'), 3, False, 'n/a'),
    (.9996, 3, False, '1.000'), (-.0001, 2, True, '+.00'),
])
def test_number(value, digits, sign, text):
  assert summary.number(value, digits, sign) == text


def test_interval():
  assert summary.interval(Estimate(.31, .26, .36), 2, True) == '+.31 [.26, .36]'
  assert summary.interval(Estimate(.31), 2) == '.31'
