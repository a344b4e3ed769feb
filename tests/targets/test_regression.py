"""Numbers of trials and of moments: labels, loss, estimates, what rare ones weigh."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mvp_jax.config import Config, parse
from mvp_jax.data.splits import make_folds, select
from mvp_jax.data.trial import Series, Trial
from mvp_jax.errors import InputError
from mvp_jax.evaluation.predictions import told
from mvp_jax.targets import Regression, from_dict

_BDI = Regression(ratings=('depression',), scale=(0.0, 63.0))
_PSPI = Regression(
  ratings=('pspi',), level='frame', rate=5.0, scale=(0.0, 16.0), thresholds=(1, 2, 3)
)


def _trial(subject, number, rating=0.0, course=None):
  streams = {}
  if course is not None:
    values = np.asarray(course, np.float32)[:, None]
    there = np.isfinite(values)
    streams['ratings'] = Series(np.where(there, values, 0), there, ('pspi',), 5.0)
  return Trial(
    trial_id=f's{subject}_t{number}',
    subject=subject,
    trial=number,
    stimulus=None,
    ratings={'depression': float(rating)},
    streams=streams,
  )


def _depressed(subjects=12, seed=0):
  rng = np.random.default_rng(seed)
  levels = rng.gamma(1.2, 12, subjects).clip(0, 63).round()
  return [_trial(s, t, levels[s]) for s in range(subjects) for t in (1, 2)]


def _in_pain(subjects=6, seed=0):
  rng = np.random.default_rng(seed)
  found = []
  for subject in range(subjects):
    course = np.zeros(60)
    start = rng.integers(10, 40)
    course[start : start + 8] = rng.integers(1, 9)
    course[:4] = np.nan
    found.append(_trial(subject, 1, course=course))
  return found


def test_labels_are_standardised_by_the_training_trials():
  trials = _depressed()
  fitted = _BDI.fit(trials[:10])
  given = np.array([t.ratings['depression'] for t in trials[:10]])
  assert fitted.means[0] == pytest.approx(given.mean())
  assert fitted.medians[0] == pytest.approx(np.median(given))
  label, weight = fitted.label(trials[20])
  wanted = (trials[20].ratings['depression'] - given.mean()) / given.std()
  assert label == pytest.approx(wanted, rel=1e-6) and label.dtype == np.float32
  assert weight == 1 and np.ndim(weight) == 0
  back = _BDI.restored(fitted, label)
  assert back == trials[20].ratings['depression']  # to the digit


def test_moments_without_annotation_weigh_nothing():
  trials = _in_pain()
  fitted = _PSPI.fit(trials)
  label, weight = fitted.label(trials[0], 20.0)
  assert label.shape == weight.shape == (100, 1)
  assert weight[:4].sum() == 0 and (weight[4:60] == 1).all() and not weight[60:].any()
  given = trials[0].streams['ratings'].values[4:60]
  np.testing.assert_array_equal(_PSPI.restored(fitted, label)[4:60], given)


@pytest.mark.parametrize('target', [_BDI, dataclasses.replace(_BDI, levels=64)])
def test_what_is_written_is_on_the_scale(target):
  trials = _depressed()
  fold, *_ = make_folds(trials, folds=3, target=target)
  trial = select(trials, fold.test)[0]
  # The network says the label itself, then far too much.
  said, _ = fold.target.label(trial)
  (row,) = told(target, fold, 0, 'toy', trial, 'm', said)
  assert row.predicted_rating == row.rating == trial.ratings['depression']
  assert row.label is None and row.score is None and target.fault(row) == ''
  (row,) = told(target, fold, 0, 'toy', trial, 'm', said + 100)
  assert row.predicted_rating == 63


@pytest.mark.parametrize('target', [_PSPI, dataclasses.replace(_PSPI, levels=17)])
def test_courses_are_written_on_the_scale(target):
  trials = _in_pain()
  fold, *_ = make_folds(trials, folds=3, target=target)
  trial = select(trials, fold.test)[0]
  label, _ = fold.target.label(trial, 20.0)
  (row,) = told(target, fold, 0, 'toy', trial, 'm', label)
  given = trial.streams['ratings'].values[4:60, 0]
  np.testing.assert_array_equal(row.ratings, given)
  np.testing.assert_array_equal(row.predictions, given)
  smooth = dataclasses.replace(target, smooth=(4.0,))
  (row,) = told(smooth, fold, 0, 'toy', trial, 'm', label)
  assert 0 < row.predictions.std() < given.std()


@pytest.mark.parametrize('error', ['squared', 'absolute', 'huber'])
def test_a_loss_is_summed_and_divided_once(error):
  target, rng = dataclasses.replace(_PSPI, error=error), np.random.default_rng(0)
  x, y = rng.normal(0, 1.5, (2, 6, 9, 1)).astype(np.float32)
  weight = (rng.random((6, 9, 1)) < 0.6).astype(np.float32) * 2.5
  gap = np.abs(x - y).astype(float)
  each = {
    'squared': gap**2,
    'absolute': gap,
    'huber': np.where(gap < 1, gap**2 / 2, gap - 0.5),
  }[error]
  whole = target.loss(x, y, weight)['loss'].compute()
  assert float(whole) == pytest.approx((weight * each).sum() / weight.sum(), rel=1e-5)
  parts = [
    target.loss(x[i], y[i], weight[i])['loss'] for i in (slice(0, 1), slice(1, 6))
  ]
  assert float(parts[0].merge(parts[1]).compute()) == pytest.approx(float(whole))
  by_trial = target.loss(x[:, 0], y[:, 0], weight[:, 0, 0])['loss'].compute()
  same = target.loss(x[:, 0], y[:, 0], weight[:, 0])['loss'].compute()
  assert float(by_trial) == float(same)


def test_eight_devices_sum_up_to_one():
  target, rng = dataclasses.replace(_BDI, levels=64), np.random.default_rng(0)
  x = rng.normal(size=(16, 64)).astype(np.float32)
  y = rng.uniform(0, 63, (16, 1)).astype(np.float32)
  weight = rng.uniform(0, 2, (16, 1)).astype(np.float32)
  mesh = jax.make_mesh((8,), ('x',))
  rows = jax.NamedSharding(mesh, jax.P('x'))

  def loss(*given):
    return target.loss(*given)['loss'].compute()

  split = jax.jit(jax.grad(loss))(*(jax.device_put(z, rows) for z in (x, y, weight)))
  alone = jax.grad(loss)(x, y, weight)
  np.testing.assert_allclose(split, alone, rtol=1e-4, atol=1e-7)


def test_a_distribution_is_best_where_its_mean_is_the_rating():
  target = dataclasses.replace(_BDI, levels=64, spread=2.0)
  assert target.outputs == 64
  places = np.linspace(0, 63, 64)
  label = np.array([[21.4], [40.0]], np.float32)
  bell = -0.5 * ((places - label) / 2) ** 2
  outputs = bell.astype(np.float32) + 7  # a softmax knows no offset
  one = np.ones(2, np.float32)
  assert float(target.loss(outputs, label, one)['loss'].compute()) < 1e-6
  np.testing.assert_allclose(target.predict(outputs), label, atol=1e-3)
  worse = target.loss(outputs[::-1], label, one)['loss'].compute()
  # Of two bell curves of one spread: half the square of their distance over it.
  assert float(worse) == pytest.approx((18.6 / 2) ** 2 / 2, rel=1e-3)


@pytest.mark.parametrize('aggregate', ['mean', 'median'])
@pytest.mark.parametrize('levels', [0, 32])
@pytest.mark.parametrize('clips', [4, 5])
def test_many_clips_make_one_estimate(aggregate, levels, clips):
  target = dataclasses.replace(
    _BDI, ratings=('a', 'b'), aggregate=aggregate, levels=levels
  )
  rng = np.random.default_rng(0)
  outputs = rng.normal(0, 2, (clips, 3, target.outputs)).astype(np.float32)
  each = np.stack([target.predict(x) for x in outputs])
  found = target.predict(target.combine(list(outputs)))
  np.testing.assert_allclose(found, getattr(np, aggregate)(each, axis=0), rtol=1e-4)
  present = [np.array([True, i != 1, i == 2]) for i in range(clips)]
  found = target.predict(target.combine(list(outputs), present))
  np.testing.assert_allclose(found[2], each[2, 2], rtol=1e-4)
  others = each[[i != 1 for i in range(clips)], 1]
  np.testing.assert_allclose(found[1], getattr(np, aggregate)(others, 0), rtol=1e-4)


def test_balanced_every_level_counts_the_same():
  trials = _in_pain()
  target = dataclasses.replace(_PSPI, balance='weights', thresholds=(1.0, 4.0))
  fitted = target.fit(trials)
  found = [fitted.label(trial, 12.0) for trial in trials]
  rated = np.concatenate([target.restored(fitted, label) for label, _ in found])
  weight = np.concatenate([weight for _, weight in found])
  assert weight[weight > 0].mean() == pytest.approx(1, rel=1e-5)
  part = np.digitize(rated, target.thresholds)
  share = [weight[part == i].sum() / weight.sum() for i in range(3)]
  np.testing.assert_allclose(share, 1 / 3, rtol=1e-5)
  plain = dataclasses.replace(target, balance='none').fit(trials)
  assert set(np.unique(plain.label(trials[0], 12.0)[1])) == {0, 1}


def test_what_is_rare_is_drawn_more_often():
  trials = [_trial(s, 1, 2 if s < 9 else 40) for s in range(12)]
  target = dataclasses.replace(_BDI, balance='sampling', thresholds=(14.0,))
  fitted = target.fit(trials)
  assert [target.draws(fitted, t) for t in trials] == [1] * 9 + [3] * 3
  assert fitted.label(trials[-1])[1] == 1  # not in the loss as well
  assert _BDI.draws(_BDI.fit(trials), trials[-1]) == 1
  painful = _in_pain()
  calm = _trial(9, 1, course=np.zeros(30))
  target = dataclasses.replace(_PSPI, balance='sampling')
  fitted = target.fit([*painful, calm])
  assert target.draws(fitted, calm) == 1
  assert max(target.draws(fitted, trial) for trial in painful) > 1
  assert target.draws(fitted, _trial(9, 2, course=np.full(9, np.nan))) == 1


def test_a_few_rare_ones_do_not_outweigh_all_others():
  trials = [_trial(s, 1, 2 if s else 40) for s in range(200)]
  target = dataclasses.replace(_BDI, balance='sampling', thresholds=(14.0,))
  assert target.draws(target.fit(trials), trials[0]) == 20


@pytest.mark.parametrize(
  'settings, message',
  [
    ({'level': 'clip'}, "level: 'clip' is none of trial, frame"),
    ({'error': 'rmse'}, "error: 'rmse' is none of squared, absolute, huber"),
    ({'balance': 'yes'}, "balance: 'yes' is none of none, weights, sampling"),
    ({'aggregate': 'max'}, "aggregate: 'max' is none of mean, median"),
    ({'formula': 'pspi'}, "formula: 'pspi' tells one rating of level 'frame'"),
    ({'formula': 'x'}, "formula: 'x' is none of pspi"),
    ({'thresholds': (20.0, 14.0)}, 'thresholds is .* must be rising'),
    ({'levels': 64}, 'levels is 64: a distribution needs at least 2 levels, a scale'),
    ({'scale': (1.0,)}, 'scale is'),
    ({'ratings': ()}, 'ratings: there are none'),
  ],
)
def test_settings_that_cannot_be(settings, message):
  with pytest.raises(InputError, match=message) as error:
    Regression(**settings)
  assert '\n' not in str(error.value)


def test_trials_that_cannot_be_labelled():
  with pytest.raises(InputError, match=r's1_t1 has no rating .depression.; there are'):
    _BDI.check([_trial(1, 1, np.nan)])
  with pytest.raises(InputError, match=r'depression of s1_t1 is 64, which is not from'):
    _BDI.check([_trial(1, 1, 64)])
  with pytest.raises(InputError, match=r's1_t1 has no annotation .ratings., only noth'):
    _PSPI.check([_trial(1, 1)])
  with pytest.raises(InputError, match='pspi of s1_t1 is 17, which is not from 0 to 1'):
    _PSPI.check([_trial(1, 1, course=[0, 17])])
  same = [_trial(s, 1, 7) for s in range(6)]
  with pytest.raises(InputError, match='depression is always 7 in all . training tria'):
    make_folds(same, folds=3, target=_BDI)
  calm = [_trial(s, 1, course=np.zeros(9)) for s in range(6)]
  with pytest.raises(InputError, match='pspi is always 0 in all . training trials'):
    make_folds(calm, folds=3, target=_PSPI)


def test_it_is_chosen_by_its_kind():
  given = {'kind': 'regression', 'level': 'frame', 'thresholds': (1, 2, 3), 'rate': 25}
  found = parse({'dataset': 'deap', 'target': given}, Config).target
  assert found == Regression(level='frame', thresholds=(1.0, 2.0, 3.0), rate=25.0)
  assert found.streams == ('ratings',) and _BDI.streams == ()
  assert from_dict(json.loads(json.dumps(found.describe()))) == found
  assert found.headline == 'icc' and _BDI.headline == 'mae'
  assert list(found.scores)[-2:] == ['auroc_3', 'f1_3']
  assert 'from 0 to 63' in _BDI.meaning() and '25 times a second' in found.meaning()


def test_no_gradient_comes_from_what_is_not_annotated():
  fitted = _PSPI.fit(_in_pain())
  label, weight = fitted.label(_in_pain()[0], 20.0)

  def loss(x):
    return _PSPI.loss(x, label, weight)['loss'].compute()

  slope = jax.grad(loss)(jnp.ones((100, 1)))
  assert (slope[:4] == 0).all() and (slope[60:] == 0).all() and slope[4:60].all()
