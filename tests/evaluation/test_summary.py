import dataclasses

import numpy as np
import pytest
from sklearn.metrics import f1_score

from mvp_jax.evaluation import summary
from mvp_jax.evaluation.results import evaluate
from mvp_jax.evaluation.statistics import Estimate
from tests.evaluation.conftest import generate_predictions


@pytest.fixture
def predictions():
  return generate_predictions(subjects=12)


def by_hand(predictions, target, model):
  rows = [row for row in predictions if row.target == target and row.model == model]
  return [row.label for row in rows], [int(row.score >= 0.5) for row in rows]


def test_reading_says_what_the_intervals_allow(predictions):
  ceiling = {'valence': {'macro_f1': 0.5}, 'arousal': {'macro_f1': 1.0}}
  valence, arousal = evaluate(predictions)
  said = ' '.join(summary.reading(valence, ceiling))
  assert 'fusion beats physio by +.' in said
  assert 'fusion is not shown to differ from video' in said
  assert 'physio: macro-F1' in said
  assert 'not shown to differ from the class-prior coin' in said
  assert 'not shown to exceed that of always saying the majority class' in said
  assert 'look for a leak' in said
  said = ' '.join(summary.reading(arousal, ceiling))
  assert 'fusion beats video by' in said and 'below it' in said
  assert summary.caution([valence, arousal]) is None


def test_a_model_that_is_always_wrong_is_said_to_be_below(predictions):
  wrong = [
    row
    if row.model == 'class_prior'
    else dataclasses.replace(row, score=1.0 - row.label)
    for row in predictions
  ]
  wrong = [
    dataclasses.replace(row, score=float(row.label)) if row.model == 'video' else row
    for row in wrong
  ]
  said = ' '.join(summary.reading(evaluate(wrong)[0]))
  assert 'fusion: macro-F1 .00 [.00, .00], below the class-prior coin' in said
  assert 'fusion is worse than video by -1.00 [-1.00, -1.00], p' in said


def changed(predictions, model, score, target='valence'):
  """Predictions of which those of a model have a score of their own: score(row)."""
  return [
    dataclasses.replace(row, score=score(row))
    if (row.model, row.target) == (model, target)
    else row
    for row in predictions
  ]


def added(predictions, model, score):
  """Predictions and those of another model or baseline."""
  prior = [row for row in predictions if row.model == 'class_prior']
  return predictions + [
    dataclasses.replace(row, model=model, score=score(row)) for row in prior
  ]


def test_good_models_give_no_cause_for_a_warning(predictions):
  classic = added(predictions, 'svm', lambda row: 0.6)
  for result in evaluate(added(classic, 'stimulus_mean', lambda row: float(row.label))):
    if result.target == 'arousal':  # and a clip may tell more than a face
      good = [x for x in summary.warnings(result) if not x.startswith('video')]
      assert good == []
  assert 'WARNING' not in summary.summary_table(
    evaluate([row for row in predictions if row.model in ('class_prior', 'fusion')])
  )


def test_a_model_that_says_one_class_to_all_is_warned_of(predictions):
  def nearly_all(row):
    return 0.3 if (row.subject, row.trial) in ((1, 1), (2, 2)) else 0.7

  valence, arousal = evaluate(changed(predictions, 'fusion', nearly_all))
  (warned,) = [x for x in summary.warnings(valence) if x.startswith('fusion')]
  high = valence.composition[1]
  assert warned.startswith(
    f'fusion says high to 99% of the trials, of which {high:.0%} are high'
  )
  assert not [x for x in summary.warnings(arousal) if x.startswith('fusion')]
  table = summary.summary_table([valence, arousal])
  assert 'WARNING, valence: fusion says high to 99%' in table


def test_a_model_below_chance_is_warned_of(predictions):
  wrong = changed(predictions, 'physio', lambda row: 0.9 - 0.8 * row.label)
  valence, _ = evaluate(wrong)
  (warned,) = [x for x in summary.warnings(valence) if x.startswith('physio')]
  assert 'physio lies below chance: macro-F1 .00 [.00, .00] against .' in warned
  assert 'of class-prior coin, difference -.' in warned
  # With one subject there is no interval, and none is given.
  alone = [row for row in wrong if row.subject == 1]
  assert not [x for x in summary.warnings(evaluate(alone)[0]) if 'below' in x]


def test_a_model_behind_a_simpler_one_is_warned_of(predictions):
  many = added(predictions, 'svm', lambda row: 0.9 if row.label else 0.1)
  valence, _ = evaluate(many)
  warned = summary.warnings(valence)
  assert len(warned) == 3
  assert 'fusion lies behind simpler models: macro-F1 .' in warned[0]
  assert 'against 1.00 of SVM, difference -' in warned[0]
  # The others are not compared with it, so their own intervals count.
  assert warned[1].endswith('against 1.00 of SVM.')


def test_the_opening(predictions):
  some = added(predictions, 'svm', lambda row: 0.9 if row.label else 0.1)
  some = added(some, 'stimulus_mean', lambda row: 0.6)
  results = evaluate(some)
  said = summary.opening(results, 'DEAP', False)
  score, coin = (results[1].scores[name]['macro_f1'] for name in ('physio', 'coin'))
  for words in (
    'How well can valence and arousal be predicted for trials that were not trained on',
    'Tested: 240 trials of 12 subjects of DEAP. Valence: the best of 3 models, ',
    'Arousal: the best of 3 models, physio, reaches macro-F1 '
    f'{summary.number(score.value, 2)} (95 % interval {summary.number(score.low, 2)} '
    f'to {summary.number(score.high, 2)}; 1 is perfect), where chance (the class-prior '
    f'coin) has {summary.number(coin.value, 2)}: it is better than chance (p',
    'Simple baselines: stimulus mean .3',
    '(beaten), SVM 1.00 (',
    'Keep in mind: intervals tell of other people',
    'There are WARNINGS, see the results of valence and arousal.',
  ):
    assert words in said, (words, said)
  assert 'of 12 computer-made subjects of DEAP' in summary.opening(
    results, 'DEAP', True
  )
  assert 'nothing about people' in summary.opening(results, 'DEAP', True)
  assert 'is not known' in summary.opening(results, 'DEAP', None)


def test_the_opening_where_little_is_known(predictions):
  few = evaluate([row for row in predictions if row.subject <= 2])
  assert 'not shown to be better than chance (p' in summary.opening(few, 'X', False)
  assert 'Keep in mind: there are only 2 test' in summary.opening(few, 'X', False)
  alone = evaluate([row for row in predictions if row.subject == 1])
  said = summary.opening(alone, 'X', False)
  assert 'of 1 subject of X' in said and 'with one subject nothing can be shown' in said
  video = evaluate([row for row in predictions if row.model == 'video'])
  said = summary.opening(video, 'X', False)
  assert 'Valence: video reaches macro-F1' in said
  assert 'what chance would reach is not known' in said
  prior = evaluate([row for row in predictions if row.model == 'class_prior'])
  assert 'Of valence no trained model has a score.' in summary.opening(
    prior, 'X', False
  )


def test_too_few_subjects_are_said_to_show_nothing(predictions):
  for subjects, message in (
    (9, 'only large differences'),
    (8, 'with 8 comparisons not even the clearest'),
  ):
    results = evaluate([row for row in predictions if row.subject <= subjects])
    assert f'only {subjects} test subjects' in summary.caution(results)
    assert message in summary.caution(results)
  assert 'beats' not in ' '.join(summary.reading(results[0]))


def test_baselines_are_read_too(predictions):
  rng = np.random.default_rng(9)
  prior = [row for row in predictions if row.model == 'class_prior']
  good = [
    dataclasses.replace(row, model='svm', score=0.95 if row.label else 0.05)
    for row in prior
  ]
  poor = [
    dataclasses.replace(row, model='stimulus_mean', score=float(rng.random()))
    for row in prior
  ]
  result = {r.target: r for r in evaluate(good + predictions + poor, main='fusion')}[
    'arousal'
  ]
  assert result.models == ('fusion', 'video', 'physio')
  assert result.baselines == ('majority', 'coin', 'stimulus_mean', 'svm')
  said = summary.reading(result)[-1]
  assert said.startswith('Against baselines, fusion beats stimulus mean (macro-F1 .')
  assert '; it is worse than SVM (macro-F1 1.00, difference -' in said


def test_one_subject_gets_no_intervals_and_no_claims(predictions):
  alone = [row for row in predictions if row.subject == 1]
  results = evaluate(alone)
  said = ' '.join(summary.reading(results[0]))
  assert '[' not in said and 'above' not in said and 'beats' not in said
  assert 'only one test subject' in summary.caution(results)


def test_without_class_prior_and_fusion(predictions):
  video = [row for row in predictions if row.model == 'video']
  result = evaluate(video)[0]
  assert set(result.scores) == {'video'} and not result.differences
  assert 'chance is unknown' in summary.reading(result)[0]


def test_table_for_the_terminal(predictions):
  table = summary.summary_table(
    evaluate(predictions), {'valence': {'macro_f1': 0.9155}}
  )
  labels, said = by_hand(predictions, 'arousal', 'fusion')
  assert summary.number(f1_score(labels, said, average='macro')) in table
  assert 'majority class' in table and 'class-prior coin' in table
  assert table.count('best possible') == 1


@pytest.mark.parametrize(
  'value, digits, sign, text',
  [
    (0.8812, 3, False, '.881'),
    (0.31, 2, True, '+.31'),
    (-0.05, 2, False, '-.05'),
    (1.0, 2, False, '1.00'),
    (0.99996, 3, False, '1.000'),
    (0.0, 3, False, '.000'),
    (-1.0, 2, True, '-1.00'),
    (float('nan'), 3, False, 'n/a'),
    (0.9996, 3, False, '1.000'),
    (-0.0001, 2, True, '+.00'),
  ],
)
def test_number(value, digits, sign, text):
  assert summary.number(value, digits, sign) == text


@pytest.mark.parametrize(
  'p, text',
  [
    (0.0123, 'p = .012'),
    (0.0004, 'p < .001'),
    (1.0, 'p = 1.000'),
    (float('nan'), 'p n/a'),
  ],
)
def test_p_value(p, text):
  assert summary.p_value(p).replace('\u00a0', ' ') == text


def test_interval():
  assert summary.interval(Estimate(0.31, 0.26, 0.36), 2, True) == '+.31 [.26, .36]'
  assert summary.interval(Estimate(0.31), 2) == '.31'
