"""Ablations: each variant is scored against the labels and folds of its own run."""

import dataclasses
import json

import numpy as np
import pytest

from mvp_jax.errors import InputError
from mvp_jax.evaluation import ablation
from mvp_jax.evaluation.predictions import write_predictions
from mvp_jax.files import read_json
from mvp_jax.targets import Binary

_TARGET = Binary(('valence',))


def _write(workdir, name, rows, target=_TARGET, **facts):
  folder = workdir / 'runs' / name
  folder.mkdir(parents=True)
  write_predictions(folder / 'predictions.csv', rows, target)
  run = {'dataset': 'toy', 'synthetic': True, 'target': target.describe(), **facts}
  (folder / 'run.json').write_text(json.dumps(run))


def _tables(workdir, *runs):
  variants = [ablation.Variant(name, 'video', name) for name in runs]
  ablation.write_ablation(workdir, {'threshold': variants})
  text = (workdir / 'tables' / 'threshold.csv').read_text().splitlines()
  header = text[0].split(',')
  return {
    row.split(',')[0]: dict(zip(header, row.split(','), strict=True))
    for row in text[1:]
  }, (workdir / 'report.md').read_text()


def _some(predictions, model='video'):
  return [row for row in predictions if row.target == 'valence' and row.model == model]


def _labelled(rows, threshold):
  return [dataclasses.replace(row, label=int(row.rating > threshold)) for row in rows]


def _perfect(rows):
  return [dataclasses.replace(row, score=float(row.label)) for row in rows]


def test_each_variant_is_scored_against_its_own_labels(tmp_path, predictions):
  for threshold in (5.0, 3.0):
    rows = _labelled(_some(predictions), threshold)
    prior = _labelled(_some(predictions, 'class_prior'), threshold)
    target = dataclasses.replace(_TARGET, threshold=threshold)
    _write(tmp_path, f'above {threshold:g}', [*_perfect(rows), *prior], target)
  rows, text = _tables(tmp_path, 'above 5', 'above 3')
  for name in ('above 5', 'above 3'):
    assert float(rows[name]['valence']) == 1.0
  assert float(rows['above 3']['valence: difference']) == 0.0
  assert 'The variants differ in labels or folds: each is scored against its' in text


def test_a_variant_is_ranked_within_its_own_folds(predictions):
  rows = _some(predictions)
  # What is constant in the folds of its own run tells nothing, whatever the constants,
  # though they follow the labels in the folds of another.
  other = [
    dataclasses.replace(
      row, model='other', fold=row.label, score=0.9 if row.label else 0.1
    )
    for row in rows
  ]
  constant = [
    dataclasses.replace(
      row, model='constant', fold=row.trial % 3, score=(row.trial % 3) / 3
    )
    for row in rows
  ]
  (result,) = ablation.evaluate([*rows, *other, *constant], _TARGET, resamples=2)
  assert result.scores['constant']['auroc'].value == pytest.approx(0.5)
  assert np.isnan(result.scores['other']['auroc'].value)  # one class in each fold
  (alone,) = ablation.evaluate(rows, _TARGET, resamples=2)
  assert result.scores['video']['auroc'].value == alone.scores['video']['auroc'].value


def test_variants_that_share_only_some_trials_are_compared_on_these(
  tmp_path, predictions
):
  rows = _some(predictions)
  _write(tmp_path, 'all', rows)
  _write(tmp_path, 'some', [row for row in rows if row.subject > 3])
  _, text = _tables(tmp_path, 'all', 'some')
  assert '100 held-out trials of 5 subjects. 60 trials that not every variant' in text


def test_variants_that_cannot_be_compared(tmp_path, predictions):
  rows = _some(predictions)
  _write(tmp_path, 'odd', [row for row in rows if row.subject % 2])
  _write(tmp_path, 'even', [row for row in rows if not row.subject % 2])
  with pytest.raises(
    InputError, match='no held-out trial is in all of odd, ev'
  ) as error:
    _tables(tmp_path, 'odd', 'even')
  assert '\n' not in str(error.value)


def test_what_a_paper_reports_is_told_beside_it(tmp_path, predictions):
  published = {'MVP (F1)': {'valence': '.61'}, 'JCA': {'arousal': '.58'}}
  _write(tmp_path, 'one', _some(predictions), published=published)
  _, text = _tables(tmp_path, 'one')
  assert '## What papers report' in text
  assert '| MVP (F1) | .61 | n/a |' in text and '| JCA | n/a | .58 |' in text
  assert read_json(tmp_path / 'runs' / 'one' / 'run.json')['published']


def test_what_encoders_cost_stands_beside_their_scores(tmp_path, predictions):
  rows = _some(predictions)
  _write(tmp_path, 'large', rows, parameters={'video': 77_000_000})
  _write(tmp_path, 'small', rows, parameters={'video': 20_500_000})
  _write(tmp_path, 'units', rows)
  _, text = _tables(tmp_path, 'large', 'small', 'units')
  assert 'clips/s' not in text  # not measured
  costs = {
    'large': {'parameters': 76_864_832, 'macs': 100_509_351_936},
    'small': {'parameters': 20_000_000, 'macs': None},
  }
  for number, of in enumerate(costs.values()):
    of |= {'clips_per_second': 1.25 + number, 'device': 'a machine'}
  (tmp_path / ablation.COSTS).write_text(json.dumps(costs))
  _, text = _tables(tmp_path, 'large', 'small', 'units')
  assert '| large | 76.865 | 100.509 | 1.2 | 77.000 |' in text
  assert '| small | 20.000 | - | 2.2 | 20.500 |' in text
  assert '| units | - | - | - | - |' in text and 'another on a machine' in text
  table = (tmp_path / 'tables' / 'threshold_costs.csv').read_text()
  assert table.startswith(',"encoder: parameters, M"')
