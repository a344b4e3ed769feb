"""Ratings in time: labels, scores, lag, what is done at test, baselines, the report."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import signal, stats

from mvp_jax.config import Config, parse
from mvp_jax.data.splits import make_folds, select
from mvp_jax.data.trial import Frames, Series, Trial
from mvp_jax.errors import InputError
from mvp_jax.evaluation import report
from mvp_jax.evaluation.predictions import file_name, told, write_predictions
from mvp_jax.evaluation.results import evaluate
from mvp_jax.models.emotion import EmotionConfig, ModelSizes
from mvp_jax.targets import Concordance, from_dict

_RATE, _LAG = 10.0, 2.0  # Hz, seconds by which arousal follows the voice
_TARGET = Concordance(rate=_RATE)


def _slow(rng, count, rate):
  """Something that varies over seconds, about 0, deviation .3: [count]."""
  kernel = np.hanning(round(4 * rate))
  x = signal.fftconvolve(rng.normal(size=count + len(kernel)), kernel, 'valid')
  return 0.3 * x[:count] / x.std()


def _trial(subject, number, seconds=40.0, seed=0, null=False):
  """Valence follows the skin (upside down), arousal the level of the voice, late."""
  rng = np.random.default_rng((seed, subject, number))
  count, fine = round(seconds * _RATE), 20
  skin = _slow(rng, count, _RATE)
  loud = _slow(rng, count, _RATE)
  late = np.concatenate([np.full(round(_LAG * _RATE), loud[0]), loud])[:count]
  valence = 0.1 - 0.8 * skin + rng.normal(0, 0.03, count)
  arousal = 0.2 + late + rng.normal(0, 0.03, count)
  if null:
    valence, arousal = (_slow(rng, count, _RATE) for _ in range(2))
  ratings = np.clip(np.stack([valence, arousal, 0 * arousal], 1), -1, 1)
  valid = np.ones(ratings.shape, bool)
  valid[50:80, 0] = False  # nobody rated valence
  ratings[~valid] = 0
  voice = rng.normal(size=count * fine) * np.exp(2 * np.repeat(loud, fine))

  def series(values, rate, channels, valid=None):
    values = values.astype(np.float32)
    valid = np.ones(values.shape, bool) if valid is None else valid
    return Series(values, valid, channels, rate)

  return Trial(
    trial_id=f's{subject:02d}_t{number:02d}',
    subject=subject,
    trial=number,
    stimulus=None,
    ratings={},
    streams={
      'ratings': series(ratings, _RATE, ('valence', 'arousal', 'liking'), valid),
      'voice': series(voice[:, None], _RATE * fine, ('microphone',)),
      'skin': series(skin[:, None], _RATE, ('eda',)),
    },
  )


def _trials(subjects=8, per_subject=2, **changes):
  return [
    _trial(subject, number, seconds=30.0 + 3 * subject, **changes)
    for subject in range(1, subjects + 1)
    for number in range(1, per_subject + 1)
  ]


def _ccc(x, y):
  x, y = np.asarray(x, float), np.asarray(y, float)
  covariance = ((x - x.mean()) * (y - y.mean())).mean()
  return 2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def test_labels_weigh_nothing_where_nothing_is_rated():
  trial = _trial(1, 1)
  fitted = _TARGET.fit([trial])
  label, weight = fitted.label(trial, 60.0)
  assert label.shape == weight.shape == (600, 2) and label.dtype == np.float32
  wanted = np.zeros((600, 2))
  wanted[:400] = 1
  wanted[50:80, 0] = 0
  np.testing.assert_array_equal(weight, wanted)
  assert not label[weight == 0].any()
  stored = trial.streams['ratings']
  np.testing.assert_allclose(label[:400], stored.values[:, :2] * stored.valid[:, :2])
  rated = stored.values[stored.valid[:, 0], 0]
  assert fitted.means[0] == pytest.approx(rated.mean(), abs=1e-6)
  one = dataclasses.replace(_TARGET, ratings=('arousal',)).fit([trial])
  np.testing.assert_array_equal(one.label(trial, 60.0)[0][:, 0], label[:, 1])


def test_each_rating_has_rows_where_it_was_rated():
  trials = _trials(4)
  fold, *_ = make_folds(trials, folds=2, target=_TARGET)
  trial = select(trials, fold.test)[0]
  said = np.random.default_rng(0).normal(size=(800, 2))
  valence, arousal = told(_TARGET, fold, 0, 'toy', trial, 'm', said)
  count = len(trial.streams['ratings'].values)
  assert (len(valence.times), len(arousal.times)) == (count - 30, count)
  assert not ((valence.times > 5) & (valence.times < 8)).any()
  here = np.round(valence.times * _RATE - 0.5).astype(int)
  np.testing.assert_allclose(valence.predictions, np.clip(said[here, 0], -1, 1))
  late = dataclasses.replace(_TARGET, lag=1.5)  # every rated moment is still there
  again, _ = told(late, _refitted(late, fold, trials), 0, 'toy', trial, 'm', said)
  for name in ('times', 'ratings', 'predictions'):
    np.testing.assert_allclose(getattr(again, name), getattr(valence, name), rtol=1e-12)


def test_predictions_are_clipped_and_smoothed():
  rng = np.random.default_rng(0)
  said = rng.normal(size=(90, 2))
  found = dataclasses.replace(_TARGET, smooth=(0.5, 1.1)).finished(said)
  clipped = np.clip(said, -1, 1)
  for i, size in ((0, 5), (1, 11)):
    padded = np.pad(clipped[:, i], size // 2, mode='edge')
    wanted = np.convolve(padded, np.ones(size) / size, 'valid')
    np.testing.assert_allclose(found[:, i], wanted)
  free = dataclasses.replace(_TARGET, scale=()).finished(said)
  np.testing.assert_array_equal(free, said)
  np.testing.assert_array_equal(
    dataclasses.replace(_TARGET, smooth=(0.5,)).finished(said)[:, 0], found[:, 0]
  )


def test_smoothing_makes_nothing_late():
  """Whether an odd or an even number of moments is averaged."""
  said = np.zeros((61, 2))
  said[30] = 1.0
  for seconds, counts in ((1.1, [1.0] * 11), (0.8, [0.5, *[1.0] * 7, 0.5])):
    target = dataclasses.replace(_TARGET, smooth=(seconds,))
    wanted = np.zeros(61)
    half = len(counts) // 2
    wanted[30 - half : 31 + half] = np.array(counts) / sum(counts)
    np.testing.assert_allclose(target.finished(said)[:, 0], wanted, atol=1e-12)


def test_outputs_count_in_halves_of_the_scale():
  nine = dataclasses.replace(_TARGET, scale=(1.0, 9.0))
  outputs = np.array([[-1.0, 0.0], [0.5, 1.0]], np.float32)
  np.testing.assert_allclose(nine.predict(outputs), [[1, 5], [7, 9]])
  np.testing.assert_array_equal(_TARGET.predict(outputs), outputs)
  rng = np.random.default_rng(0)
  x, y = rng.normal(0, 0.3, (2, 40, 2)).astype(np.float32)
  weight = np.ones(40, np.float32)
  a, b = (
    t.loss(x, label, weight)['loss'].compute()
    for t, label in ((nine, 5 + 4 * y), (_TARGET, y))
  )
  assert float(a) == pytest.approx(float(b), rel=1e-5)
  wanted = 1 - np.mean([_ccc(x[:, i], y[:, i]) for i in range(2)])
  assert float(b) == pytest.approx(wanted, rel=1e-5)


def test_ratings_are_of_what_was_before():
  late = dataclasses.replace(_TARGET, lag=1.5)
  sizes = ModelSizes(width=8, heads=2)
  times, shifted = (
    EmotionConfig(sizes, (), target, (), seconds=4.0).label_times
    for target in (_TARGET, late)
  )
  np.testing.assert_allclose(shifted, times - 1.5, atol=1e-6)
  assert '1.5 s' in late.meaning() and 'follow' not in _TARGET.meaning()


@pytest.fixture(scope='module')
def made():
  trials = _trials()
  folds = make_folds(trials, folds=4, target=_TARGET)
  return trials, folds, _rows(_TARGET, trials, folds)


def _rows(target, trials, folds, models=(('better', 0.1), ('worse', 0.5))):
  rng, found = np.random.default_rng(1), []
  of = {trial.trial_id: trial for trial in trials}
  for fold in folds:
    for trial in select(trials, fold.test):
      label, _ = fold.target.label(trial, 60.0)
      for model, noise in models:
        said = label + rng.normal(0, noise, label.shape)
        found += told(target, fold, 0, 'toy', trial, model, said)
    for said in target.baselines(fold, trials):
      rows = told(target, fold, 0, 'toy', of[said.trial_id], said.model, said.score)
      found += rows
  return found


def test_scores_are_those_of_all_moments_and_of_each_video(made):
  _, _, rows = made
  for result in evaluate(rows, _TARGET, main='better', resamples=50):
    assert result.baselines == ('training_mean', 'lagged_copy', 'ridge')
    for model in result.everyone:
      own = [r for r in rows if (r.model, r.target) == (model, result.target)]
      x, y = (
        np.concatenate([getattr(r, name) for r in own])
        for name in ('ratings', 'predictions')
      )
      scores = result.scores[model]
      assert scores['ccc'].value == pytest.approx(_ccc(x, y), abs=1e-9)
      each = np.mean([_ccc(r.ratings, r.predictions) for r in own])
      assert scores['video_ccc'].value == pytest.approx(each, abs=1e-9)
      assert scores['pearson'].value == pytest.approx(stats.pearsonr(x, y)[0], abs=1e-9)
      rmse = np.sqrt(np.mean((x - y) ** 2))
      assert scores['rmse'].value == pytest.approx(rmse)
      assert scores['ccc'].low <= scores['ccc'].value <= scores['ccc'].high
    gain = result.differences['better', 'worse']['ccc']
    assert gain.value > 0 and gain.shown


def test_videos_without_a_ccc_do_not_count():
  trials = _trials(6, 1)
  flat = trials[0].streams['ratings'].values
  flat[:, :2] = 0.25
  (fold, *_) = make_folds(trials, folds=2, target=_TARGET)
  rows = [
    row
    for trial, noise in zip(trials, (0.0, 0.1), strict=False)
    for row in told(
      _TARGET,
      fold,
      0,
      'x',
      trial,
      'm',
      fold.target.label(trial, 60.0)[0] * (1 - noise),
    )
    if row.target == 'arousal'
  ]
  (sums,) = _TARGET.sums('m', rows, np.arange(2), [np.ones(2, bool)], 2)
  found = sums.scores(np.ones((1, 2)))[0]
  assert found[1] == pytest.approx(_ccc(rows[1].ratings, rows[1].predictions))
  alone = sums.scores(np.array([[1.0, 0.0]]))[0]
  assert np.isnan(alone[:3]).all() and alone[3] == 0
  assert _TARGET.one_sided(rows[:1]) and not _TARGET.one_sided(rows[1:])


def test_baselines_find_what_goes_with_ratings_and_when(made):
  valence, arousal = evaluate(made[2], _TARGET, main='better', resamples=10)

  def ccc(result, model):
    return result.scores[model]['ccc'].value

  for result in (valence, arousal):
    assert abs(ccc(result, 'training_mean')) < 0.1
    assert ccc(result, 'lagged_copy') > 0.85
    assert ccc(result, 'ridge') > 0.85
  trials, folds, _ = made
  # Without the lag, or with another channel alone, there is next to nothing to find.
  near = dataclasses.replace(_TARGET, ratings=('arousal',))
  deaf = [_without(trial, 'voice') for trial in trials]
  rows = _rows(near, deaf, [_refitted(near, fold, deaf) for fold in folds])
  (result,) = evaluate(rows, near, main='better', resamples=10)
  assert ccc(result, 'lagged_copy') < 0.4 and ccc(result, 'ridge') < 0.4


def test_baselines_do_not_mind_how_much_a_channel_moves_in_whom():
  target = dataclasses.replace(_TARGET, ratings=('valence',))
  rng, trials = np.random.default_rng(0), []
  for trial in _trials(12):
    skin = trial.streams['skin']
    values = skin.values * np.exp(rng.normal(0, 1.5)) + rng.normal(0, 3)
    moved = dataclasses.replace(skin, values=values.astype(np.float32))
    trials.append(dataclasses.replace(trial, streams=trial.streams | {'skin': moved}))
  folds = make_folds(trials, folds=4, target=target)
  (result,) = evaluate(
    _rows(target, trials, folds), target, main='better', resamples=10
  )
  assert result.scores['ridge']['ccc'].value > 0.75


def test_baselines_find_nothing_where_nothing_is():
  trials = _trials(10, 2, null=True)
  rows = _rows(_TARGET, trials, make_folds(trials, folds=5, target=_TARGET))
  for result in evaluate(rows, _TARGET, main='better', resamples=10):
    for model in ('lagged_copy', 'ridge'):
      score = result.scores[model]['ccc']
      assert score.low < 0.1 and abs(score.value) < 0.3


def test_with_annotation_alone_the_mean_is_all_there_is():
  trials = [_without(_without(t, 'voice'), 'skin') for t in _trials(4)]
  fold, *_ = make_folds(trials, folds=2, target=_TARGET)
  assert {said.model for said in _TARGET.baselines(fold, trials)} == {'training_mean'}


def _without(trial, stream):
  streams = {name: x for name, x in trial.streams.items() if name != stream}
  return dataclasses.replace(trial, streams=streams)


def _refitted(target, fold, trials):
  return dataclasses.replace(fold, target=target.fit(select(trials, fold.train)))


def test_a_test_trial_may_lack_what_was_trained_on(made):
  trials, folds, _ = made
  lacking = [_without(trial, 'voice') for trial in trials]
  test = set(folds[0].test)
  mixed = [b if a.trial_id in test else a for a, b in zip(trials, lacking, strict=True)]
  for said in _TARGET.baselines(folds[0], mixed):
    assert np.isfinite(said.score).all()


@pytest.mark.parametrize(
  'settings, message',
  [
    ({'stream': 'joystick'}, r"target.stream: s01_t01 has no annotation 'joystick', o"),
    ({'ratings': ('joy',)}, r"no rating 'joy' in its stream 'ratings'; there are vale"),
    ({'scale': (0.0, 0.5)}, r'target.scale: valence of s01_t01 is .* from 0 to 0.5'),
  ],
)
def test_trials_that_cannot_be_labelled(settings, message):
  with pytest.raises(InputError, match=message) as error:
    dataclasses.replace(_TARGET, **settings).check(_trials(1, 1))
  assert '\n' not in str(error.value)


def test_a_stream_of_pictures_is_no_annotation():
  trial = _trial(1, 1)
  trial.streams['video'] = Frames(np.zeros(1, np.float32), np.ones(1, bool), 0, 25.0)
  target = dataclasses.replace(_TARGET, stream='video')
  message = r"target.stream: s01_t01 has no annotation 'video', only ratings, "
  with pytest.raises(InputError, match=message):
    target.check([trial])


def test_a_trial_without_any_annotated_moment():
  trial = _trial(1, 1)
  trial.streams['ratings'].valid[:, 1] = False
  with pytest.raises(InputError, match=r"no annotated moment of 'arousal'; leave"):
    _TARGET.check([trial])
  always = dataclasses.replace(_TARGET, ratings=('liking',))
  with pytest.raises(InputError, match=r'liking is always 0 in all 2 training trials'):
    make_folds(_trials(4), folds=2, target=always)


@pytest.mark.parametrize(
  'settings, message',
  [
    ({'rate': 0.0}, 'rate is 0'),
    ({'lag': -1.0}, 'lag is -1'),
    ({'scale': (1.0, -1.0)}, 'scale is'),
    ({'scale': (1.0,)}, 'scale is'),
    ({'smooth': (1.0, 2.0, 3.0)}, 'smooth has 3 numbers for 2 ratings'),
    ({'smooth': (-1.0,)}, 'smooth is'),
    ({'ratings': ()}, 'ratings: there are none'),
  ],
)
def test_settings_that_cannot_be(settings, message):
  with pytest.raises(InputError, match=message):
    Concordance(**settings)


def test_it_is_chosen_by_its_kind():
  given = {'kind': 'concordance', 'smooth': (0.67, 1.67), 'lag': 0.5, 'scale': ()}
  found = parse({'dataset': 'deap', 'target': given}, Config).target
  assert found == Concordance(smooth=(0.67, 1.67), lag=0.5, scale=())
  assert found.streams == ('ratings',)
  assert from_dict(json.loads(json.dumps(found.describe()))) == found


def test_the_report_says_how_and_with_what(made, tmp_path):
  trials, folds, _ = made
  target = dataclasses.replace(_TARGET, smooth=(0.6, 1.5), lag=0.5)
  rows = _rows(target, trials, folds, (('better', 0.1), ('worse', 0.5)))
  still = [
    dataclasses.replace(row, model='still', predictions=0 * row.predictions)
    for row in rows
    if row.model == 'worse'
  ]
  write_predictions(tmp_path / file_name(target), rows + still, target)
  run = {
    'dataset': 'toy',
    'synthetic': True,
    'target': target.describe(),
    'models': ['better', 'worse', 'still'],
    'folds': [fold.describe(trials) for fold in folds],
    'protocol': 'subjects',
    'ceiling': {'valence': {'ccc': 0.999}},
  }
  (tmp_path / 'run.json').write_text(json.dumps(run))
  (tmp_path / 'metrics.jsonl').write_text('')
  (tmp_path / 'account.csv').write_text(
    'subject,trial,outcome\n' + ''.join(f'{t.subject},{t.trial},ok\n' for t in trials)
  )
  report.write_report(tmp_path)
  text = (tmp_path / 'report.md').read_text()
  for said in (
    'better, reaches CCC .',
    'mean CCC of videos',
    "Pearson's r",
    'training mean',
    'lagged copy',
    'ridge regression',
    'clipped to -1 to 1',
    'means over 0.6 and 1.5 s',
    'follow what they rate by 0.5 s',
    'two scores',
    'still hardly moves',
  ):
    assert said in text, said
