import dataclasses

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from mvp_jax.evaluation import results
from mvp_jax.targets.binary_scores import SCORES


def by_hand(predictions, target, model):
  rows = [row for row in predictions if row.target == target and row.model == model]
  labels = [row.label for row in rows]
  said = [int(row.score >= 0.5) for row in rows]
  return rows, labels, said


def test_scores_are_those_of_scikit_learn_whatever_the_row_order(predictions):
  shuffled = [
    predictions[i] for i in np.random.default_rng(0).permutation(len(predictions))
  ]
  for rows in (predictions, shuffled):
    found = {result.target: result for result in results.evaluate(rows, main='fusion')}
    assert set(found) == {'valence', 'arousal'}
    for target, result in found.items():
      assert result.models[0] == 'fusion'
      assert (result.trials, result.subjects, result.seeds) == (160, 8, 1)
      for model in (*result.models, 'majority'):
        source = 'class_prior' if model == 'majority' else model
        _, labels, said = by_hand(predictions, target, source)
        scores = result.scores[model]
        assert scores['macro_f1'].value == pytest.approx(
          f1_score(labels, said, average='macro')
        )
        assert scores['f1'].value == pytest.approx(f1_score(labels, said))
        assert scores['accuracy'].value == pytest.approx(accuracy_score(labels, said))
        accuracy = scores['accuracy']
        assert accuracy.low < accuracy.value < accuracy.high
        assert accuracy.bootstrap_low < accuracy.value < accuracy.bootstrap_high


def test_coin_accuracy_has_its_closed_form(predictions):
  for result in results.evaluate(predictions):
    rows, *_ = by_hand(predictions, result.target, 'class_prior')
    expected = np.mean([row.score if row.label else 1 - row.score for row in rows])
    assert result.scores['coin']['accuracy'].value == pytest.approx(expected)


def test_differences_and_folds(predictions):
  for result in results.evaluate(predictions):
    for (a, b), difference in result.differences.items():
      for name, gain in difference.items():
        assert gain.value == pytest.approx(
          result.scores[a][name].value - result.scores[b][name].value, nan_ok=True
        )
    assert ('fusion', 'video') in result.differences
    assert ('video', 'physio') not in result.differences
    rows, *_ = by_hand(predictions, result.target, 'video')
    for fold in result.folds:
      here = [row for row in rows if row.fold == fold.fold]
      assert fold.trials == len(here) == 40 and fold.subjects == 2
      assert fold.headline['video'] == pytest.approx(
        f1_score(
          [row.label for row in here],
          [int(row.score >= 0.5) for row in here],
          average='macro',
        )
      )


def test_seeds_are_averaged_and_subjects_stay_one_cluster(predictions):
  again = [dataclasses.replace(row, seed=1) for row in predictions]
  for one, two in zip(
    results.evaluate(predictions), results.evaluate(predictions + again), strict=True
  ):
    assert (two.trials, two.seeds, two.subjects) == (one.trials, 2, one.subjects)
    for name in ('macro_f1', 'auroc', 'ece', 'aurc'):
      found = one.scores['fusion'][name], two.scores['fusion'][name]
      assert dataclasses.astuple(found[0]) == pytest.approx(
        dataclasses.astuple(found[1]), nan_ok=True
      )
    assert len(two.folds) == 2 * len(one.folds)


def test_a_score_is_the_mean_of_those_of_the_seeds(predictions):
  rng = np.random.default_rng(5)
  other = [
    dataclasses.replace(row, seed=1, score=float(rng.random()))
    if row.model == 'video'
    else dataclasses.replace(row, seed=1)
    for row in predictions
    if row.subject != 8
  ]  # held out by seed 0 alone
  result = results.evaluate(predictions + other)[0]
  by_seed = []
  for rows in (predictions, other):
    _, labels, said = by_hand(rows, 'valence', 'video')
    by_seed.append(f1_score(labels, said, average='macro'))
  at = list(SCORES).index('macro_f1')
  assert result.by_seed['video'][:, at] == pytest.approx(by_seed)
  assert result.scores['video']['macro_f1'].value == pytest.approx(np.mean(by_seed))
  assert result.subjects == 8
  single = results.evaluate([r for r in predictions if r.subject == 8])[0]
  assert result.by_subject['video'][7, at] == pytest.approx(
    single.scores['video']['macro_f1'].value
  )


def test_subjects_of_one_class_have_no_auroc_and_stop_nothing(predictions):
  rows = [
    dataclasses.replace(row, label=1) if row.subject == 3 else row
    for row in predictions
  ]
  result = results.evaluate(rows)[0]
  assert result.one_sided == (False, False, True, *[False] * 5)
  aurocs = result.by_subject['fusion'][:, list(SCORES).index('auroc')]
  assert np.flatnonzero(np.isnan(aurocs)).tolist() == [2]
  mine = [r for r in rows if (r.subject, r.model, r.target) == (1, 'fusion', 'valence')]
  assert aurocs[0] == pytest.approx(
    roc_auc_score([r.label for r in mine], [r.score for r in mine])
  )
  assert np.isfinite(result.scores['fusion']['auroc'].low)
  one = results.evaluate([dataclasses.replace(row, label=1) for row in rows])[0]
  assert np.isnan(one.scores['fusion']['auroc'].value) and not one.has('auroc')
  assert np.isfinite(one.scores['fusion']['macro_f1'].low)


def test_equal_numbers_of_two_corpora_are_two_subjects(predictions):
  both = predictions + [dataclasses.replace(r, dataset='amigos') for r in predictions]
  assert results.evaluate(both)[0].subjects == 16


def test_predicted_ratings_have_a_concordance(predictions):
  rows = [
    dataclasses.replace(row, predicted_rating=row.rating)
    if row.model == 'fusion'
    else row
    for row in predictions
  ]
  result = results.evaluate(rows)[0]
  assert result.scores['fusion']['ccc'].value == pytest.approx(1)
  assert np.isnan(result.scores['video']['ccc'].value) and result.has('ccc')


def test_models_of_several_runs_are_compared_on_common_trials(predictions):
  rows = [
    row
    for row in predictions
    if row.model == 'video' or (row.model == 'physio' and row.trial > 2)
  ]
  common, dropped = results.common_trials(rows)
  assert dropped == 2 * 8 * 2
  result = results.evaluate(common, main='physio')[0]
  assert result.trials == 8 * 18
  assert list(result.differences) == [('physio', 'video')]
  gain = result.differences['physio', 'video']['macro_f1']
  assert gain.corrected == gain.p
