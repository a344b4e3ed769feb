"""Predictions in time: scores of recordings, shifts, chosen recordings, the report."""

import csv
import dataclasses
import json
from typing import ClassVar

import numpy as np
import pytest

from mvp_jax.data.trial import Series, Sound, Trial
from mvp_jax.evaluation import case_figures, cases, course_figures, courses, report
from mvp_jax.evaluation.predictions import Track, write_predictions
from mvp_jax.targets import Binary, Concordance
from tests.evaluation.conftest import generate_case

_RATE = 10.0  # Hz
_TARGET = Concordance(rate=_RATE)


def _course(seed, count):
  return np.cumsum(np.random.default_rng(seed).normal(0, 0.05, count))


def _row(subject, rated, said, keep=None, rating='valence', first=0.05, **changes):
  keep = np.ones(len(rated), bool) if keep is None else keep
  times = first + np.arange(len(rated)) / changes.pop('rate', _RATE)
  fields = {'trial': 1, 'fold': 0, 'seed': 0, 'model': 'fusion'} | changes
  return Track(
    dataset='toy',
    subject=subject,
    stimulus='none',
    target=rating,
    times=times[keep],
    ratings=np.asarray(rated, float)[keep],
    predictions=np.asarray(said, float)[keep],
    **fields,
  )


def _late(steps, rate=_RATE, count=400, recordings=4):
  """Predictions that are the ratings, later by some labels (below 0: earlier)."""
  rows = []
  for subject in range(1, recordings + 1):
    whole = _course(subject, count + 2 * abs(steps))[abs(steps) :]
    said = np.roll(whole, steps)[:count] if steps >= 0 else whole[-steps:][:count]
    if steps > 0:
      said[:steps] = _course(subject, steps)  # as it went before
    keep = np.ones(count, bool)
    keep[100:130] = subject % 2 == 0  # nobody rated
    start = 0.5 / rate + 0.3 * subject
    rows.append(_row(subject, whole[:count], said, keep, first=start, rate=rate))
  return rows


def _ccc(x, y):
  covariance = ((x - x.mean()) * (y - y.mean())).mean()
  return 2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def _all(rows, name):
  return np.concatenate([getattr(row, name) for row in rows])


@pytest.mark.parametrize('rate, steps', [(10.0, 12), (10.0, -12), (30.0, 36), (4.0, 5)])
def test_late_predictions_are_best_where_they_are_read_later(rate, steps):
  target = dataclasses.replace(_TARGET, rate=rate)
  rows = _late(steps, rate)
  found = courses.shifted(target, 'fusion', rows)
  assert found.seconds[found.best] == pytest.approx(steps / rate)
  assert found.scores[found.best] == pytest.approx(1, abs=1e-9)
  assert (np.delete(found.scores, found.best) < 0.9999).all()
  assert (found.seconds[0], found.seconds[-1]) == pytest.approx((-5, 5))
  wanted = _ccc(_all(rows, 'ratings'), _all(rows, 'predictions'))
  assert found.unshifted == pytest.approx(wanted) and found.unshifted < 0.995


def test_a_shift_compares_what_is_rated_with_what_is_said_so_much_later():
  rows = [
    _row(1, _course(1, 300), _course(2, 300)),
    _row(2, _course(3, 200), _course(4, 200)),
  ]
  found = courses.shifted(_TARGET, 'fusion', rows)
  for k in (-50, -7, 0, 31):
    rated = [row.ratings[max(0, -k) : len(row.times) - max(0, k)] for row in rows]
    said = [row.predictions[max(0, k) : len(row.times) + min(0, k)] for row in rows]
    at = np.argmin(abs(found.seconds - k / _RATE))
    wanted = _ccc(np.concatenate(rated), np.concatenate(said))
    assert found.scores[at] == pytest.approx(wanted), k


def test_a_sine_falls_as_its_cosine():
  """Of a delay by d, over many periods of T seconds: cos(2 pi (s - d) / T)."""
  times = np.arange(20_000) / _RATE
  rows = [_row(1, np.sin(times), np.sin(times - 0.7))]
  found = courses.shifted(_TARGET, 'fusion', rows)
  np.testing.assert_allclose(found.scores, np.cos(found.seconds - 0.7), atol=2e-3)


def test_shifts_leave_half_of_the_moments():
  found = courses.shifted(_TARGET, 'fusion', _late(0, count=60, recordings=2))
  assert max(abs(found.seconds)) <= 3 and found.seconds[found.best] == 0


def test_nothing_to_shift():
  still = courses.shifted(_TARGET, 'fusion', [_row(1, _course(1, 99), np.zeros(99))])
  assert still.seconds[still.best] == 0 and abs(still.scores).max() < 1e-9
  flat = np.full(99, 0.25)
  assert courses.shifted(_TARGET, 'fusion', [_row(1, flat, flat)]) is None


def test_each_recording_has_scores_of_its_own():
  rows = [
    _row(subject, x, x + noise * y, seed=seed, model=model)
    for subject in (1, 2, 3)
    for seed, noise in ((0, 0.3), (1, 0.6))
    for model in ('fusion', 'training_mean')
    for x, y in [(_course(subject, 90), _course((subject, seed), 90))]
  ]
  flat = [
    _row(4, np.ones(90), np.ones(90), seed=seed, model=model)
    for seed in (0, 1)
    for model in ('fusion', 'training_mean')
  ]
  (result,) = courses.evaluate(rows + flat, _TARGET)
  assert result.recordings == tuple(('toy', subject, 1) for subject in (1, 2, 3, 4))
  assert result.moments == (90,) * 4 and list(result.scores) == [
    'fusion',
    'training_mean',
  ]
  assert list(result.shifts) == ['fusion']  # of what is trained alone
  for i in range(3):
    own = [r for r in rows if (r.subject, r.model) == (i + 1, 'fusion')]
    wanted = np.mean([_ccc(r.ratings, r.predictions) for r in own])
    assert result.scores['fusion'][i, 0] == pytest.approx(wanted)
  assert np.isnan(result.scores['fusion'][3, 0])
  seeds = [
    courses.shifted(_TARGET, 'fusion', [r for r in rows if r.seed == seed]).unshifted
    for seed in (0, 1)
  ]
  both = courses.shifted(_TARGET, 'fusion', rows)
  assert both.unshifted == pytest.approx(np.mean(seeds))


def test_targets_of_whole_trials_have_none(predictions):
  assert courses.evaluate(predictions, Binary()) == []


def _graded(errors, folds=1, **changes):
  """Recordings whose CCC falls with an error."""
  return [
    _row(i, x, x + error, fold=i % folds, **changes)
    for i, error in enumerate(errors, 1)
    for x in [np.sin(np.arange(100) / 8)]
  ]


def test_the_best_the_middle_and_the_worst_are_chosen():
  rows = _graded([0.5, 0.1, 0.3, 0.9, 0.2])
  flat = _row(9, np.ones(50), np.ones(50))  # has no CCC
  other = [dataclasses.replace(row, seed=1) for row in _graded([0.1, 0.2, 0.3])]
  chosen = cases.choose([flat, *other, *rows], _TARGET)['valence']
  assert [case.row.subject for case in chosen.cases] == [2, 3, 4]
  assert [case.good for case in chosen.cases] == [True, None, False]
  variance = np.sin(np.arange(100) / 8).var()
  ccc = f'{2 * variance / (2 * variance + 0.3**2):.3f}'.removeprefix('0')
  assert chosen.cases[1].title == f'Middle: CCC of this recording {ccc}'
  # An error for which less is better.
  by_error = type('ByError', (Concordance,), {'headline': 'rmse'})(rate=_RATE)
  assert cases.choose(rows, by_error)['valence'].rows == chosen.rows
  # Of equals the first, whatever the order of the file; of fewer there are fewer.
  equal = _graded([0.2, 0.2])[::-1]
  assert [r.subject for r in cases.choose(equal, _TARGET)['valence'].rows] == [1, 2]
  assert len(cases.choose(equal[:1], _TARGET)['valence'].rows) == 1
  assert cases.choose([flat], _TARGET) == {}
  assert cases.choose(_graded([0.1], model='ridge'), _TARGET) == {}


def test_what_is_chosen_of_all_folds_is_among_that_of_each():
  rng = np.random.default_rng(0)
  for _ in range(20):
    rows = _graded(rng.uniform(0, 1, rng.integers(3, 30)), folds=3)
    each = {
      row.place
      for fold in range(3)
      for row in cases.rows_of(
        cases.choose([r for r in rows if r.fold == fold], _TARGET)
      )
    }
    assert {row.place for row in cases.rows_of(cases.choose(rows, _TARGET))} <= each


class _Corpus:
  """One trial of annotation, a belt, and sound: a tone, a gap, a tone, silence."""

  metadata: ClassVar = {
    'sound_chunk': 4096,
    'streams': {
      'ratings': {'kind': 'series', 'rate': _RATE, 'channels': ['valence']},
      'belt': {'kind': 'series', 'rate': 20.0, 'channels': ['breath']},
      'voice': {'kind': 'sound', 'rate': 8000.0},
    },
  }

  def __init__(self):
    ones = np.ones((400, 1), np.float32)
    series = {
      'ratings': Series(ones, ones > 0, ('valence',), _RATE),
      'belt': Series(2 * ones, ones > 0, ('breath',), 20.0),
    }
    recorded = np.array([[0, 80_000], [160_000, 320_500]])
    sound = Sound(320_500, recorded, 0, 8000.0)
    self.trials = [Trial('t', 1, 1, None, {}, series | {'voice': sound})]

  def samples(self, trial, first, end, stream):
    at = np.arange(first, end)
    loud = np.where(at < 80_000, 16384, 1638) * (at < 240_000)
    values = np.rint(loud * np.sin(2 * np.pi * at / 80)).astype(np.int16)
    valid = ((at < 80_000) | (at >= 160_000)) & (at < 320_500)
    return np.where(valid, values, 0).astype(np.int16), valid


def test_the_level_of_sound_is_kept_and_annotation_is_no_signal(tmp_path):
  row = _row(1, _course(1, 400), _course(1, 400))
  chosen = cases.choose([row], _TARGET)
  cases.write(tmp_path, _Corpus(), chosen, {}, ('ratings',))
  kept = cases.read(cases.path(tmp_path, row))
  assert kept['channels'].tolist() == ['breath']
  times, level = kept['sound_times'], kept['sound_level']
  assert len(times) <= 1000 and (np.diff(times) > 0).all() and times[-1] > 39.9
  half = 20 * np.log10(0.5 / np.sqrt(2))  # of a sine of half the full scale
  inside = [(times > a + 0.1) & (times < b - 0.1) for a, b in ((0, 10), (20, 30))]
  # A span is not of whole periods.
  np.testing.assert_allclose(level[inside[0]], half, atol=0.5)
  np.testing.assert_allclose(level[inside[1]], half - 20, atol=0.5)
  assert np.isnan(level[(times > 10.1) & (times < 19.9)]).all()
  np.testing.assert_allclose(level[times > 30.1], -96)
  figure = case_figures.cases(chosen['valence'], [kept], False)
  assert [axis.get_ylabel() for axis in figure.axes] == [
    'valence',
    'sound\n(dB)',
    'BREATH',
  ]


@pytest.mark.parametrize('kept, rows', [(True, 7), (False, 1)])
def test_courses_are_drawn_over_what_was_seen(kept, rows):
  chosen = cases.choose(_graded([0.1, 0.3, 0.5, 0.7]), _TARGET)['valence']
  sound = {'sound_level': np.zeros(9), 'sound_times': np.arange(9.0)}
  found = [generate_case(i) | sound if kept else None for i in range(3)]
  figure = case_figures.cases(chosen, found, True)
  assert len(figure.axes) == 3 * rows + kept  # and the scale of the attention
  titles = [axis.get_title('left').split(':')[0] for axis in figure.axes]
  assert [title for title in titles if title] == ['Best', 'Middle', 'Worst']
  rated, said = figure.axes[0].lines
  np.testing.assert_array_equal(rated.get_ydata(), chosen.rows[0].ratings)
  np.testing.assert_array_equal(said.get_ydata(), chosen.rows[0].predictions)


def test_lines_are_broken_where_nothing_is_rated():
  x, y = course_figures.broken(np.array([0.0, 1, 2, 7, 8]), np.arange(5.0))
  np.testing.assert_array_equal(x, [0, 1, 2, np.nan, 7, 8])
  np.testing.assert_array_equal(y, [0, 1, 2, np.nan, 3, 4])
  assert len(course_figures.broken(np.array([3.0]), np.array([1.0]))[0]) == 1


def test_the_report_tells_of_recordings_shifts_and_what_is_done_to_predictions(
  tmp_path,
):
  target = dataclasses.replace(_TARGET, ratings=('valence',), smooth=(0.4,))
  rows = _late(12)
  rows += [
    dataclasses.replace(row, model='audio', predictions=row.ratings + 0.1)
    for row in rows
  ]
  write_predictions(tmp_path / 'frames.csv', rows, target)
  run = {'dataset': 'toy', 'target': target.describe(), 'models': ['fusion', 'audio']}
  (tmp_path / 'run.json').write_text(json.dumps(run))
  report.write_report(tmp_path)
  text = (tmp_path / 'report.md').read_text()
  for said in (
    'Predictions are clipped to -1 to 1, and smoothed: means over 0.4 s.',
    'valence, fusion: the best shift is +1.2 s, CCC 1.000 (.',
    'Above 0: predictions are late',
    'valence, audio: no shift is better than none, CCC .',
    'figures/recordings.png',
    'figures/shifts.png',
    'figures/cases_1.png',
    'CCC of every recording',
    'valence, held-out trials of fusion: the one that is best by its own score',
  ):
    assert said in text, said
  with (tmp_path / 'tables' / 'recordings.csv').open(newline='') as file:
    table = list(csv.DictReader(file))
  assert len(table) == 8 and table[0]['moments'] == '370'
  assert float(table[0]['CCC']) == pytest.approx(
    _ccc(rows[0].ratings, rows[0].predictions)
  )
  with (tmp_path / 'tables' / 'shifts.csv').open(newline='') as file:
    table = {(x['model'], x['seconds']): float(x['CCC']) for x in csv.DictReader(file)}
  assert table['fusion', '1.200'] == pytest.approx(1) and len(table) == 2 * 101
  plain = dataclasses.replace(target, scale=(), smooth=())
  assert 'Predictions are not clipped, and not smoothed.' in plain.meaning()
