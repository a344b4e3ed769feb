"""Whole trials as examples: standardised, padded, masked, labelled."""

import dataclasses
import pickle
import types

import numpy as np
import pytest
from mvp_jax.data.emotion import (
  EmotionInput,
  EmotionTrials,
  pad,
  pooled_scale,
  standardise,
  token_squares,
)

from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.trials import Trial
from mvp_jax.errors import InputError

_RATE, _FRAME_RATE = 8.0, 5.0
_LAYOUT = ClipLayout(frames=4, stride=1, spacing=1.0, tubelet=2)
_OPTIONS = EmotionInput(max_seconds=6.0, clips=_LAYOUT)


def _trial(number, seconds, frames=None, face=None, ratings=None):
  rng = np.random.default_rng(number)
  samples = round(seconds * _RATE)
  frames = round(seconds * _FRAME_RATE) if frames is None else frames
  return Trial(
    trial_id=f's01_trial{number:02d}',
    subject=number,
    trial=number,
    stimulus=number,
    ratings=ratings or {'valence': 6.0, 'arousal': 4.0},
    signals=rng.normal(3, 2, (samples, 2)).astype(np.float32),
    signals_valid=rng.random((samples, 2)) < 0.8,
    frame_times=(np.arange(frames) / _FRAME_RATE).astype(np.float32),
    frame_valid=np.ones(frames, bool) if face is None else face,
    first_chunk=0,
  )


class _Frames:
  """A corpus whose frames hold their number."""

  def __init__(self, has_video=True):
    self.has_video = has_video
    self.metadata = {'signal_rate': _RATE, 'frame_rate': _FRAME_RATE}

  def frames(self, trial, numbers):
    return (
      np.zeros((len(numbers), 2, 2, 3), np.uint8)
      + np.asarray(numbers, np.uint8)[:, None, None, None]
    )


def _source(trials, options=_OPTIONS, **kwargs):
  return EmotionTrials(_Frames(), trials, options, **kwargs)


def _write_tokens(folder, trials, width=3):
  """Writes random tokens of each trial; returns them by trial number."""
  tokens = {}
  for trial in trials:
    rng = np.random.default_rng(trial.trial + 100)
    count = round(len(trial.frame_times) / _FRAME_RATE / _LAYOUT.spacing)
    tokens[trial.trial] = rng.normal(
      trial.trial, [1, 2, 5][:width], (count * _LAYOUT.slots, width)
    ).astype(np.float32)
    np.save(folder / f'{trial.trial_id}.npy', tokens[trial.trial])
  return tokens


@pytest.fixture(scope='module')
def trials():
  face = np.ones(20, bool)
  face[[0, 5, 6, 7]] = False
  return [_trial(1, 6), _trial(2, 4, face=face), _trial(3, 5)]


@pytest.fixture(scope='module')
def features(tmp_path_factory, trials):
  folder = tmp_path_factory.mktemp('features')
  return folder, _write_tokens(folder, trials)


def test_standardise_is_the_masked_z_score():
  rng = np.random.default_rng(0)
  x = rng.normal([1e4, -3], [5, 0.01], (200, 2)).astype(np.float32)
  valid = rng.random((200, 2)) < 0.7
  got = standardise(x, valid)
  assert got.dtype == np.float32
  masked = np.ma.array(x.astype(np.float64), mask=~valid)
  expected = ((masked - masked.mean(0)) / masked.std(0)).filled(0)
  np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_standardise_ignores_what_stands_in_invalid_places():
  x = np.array([[1.0], [3.0], [np.nan], [np.inf]], np.float32)
  got = standardise(x, np.array([[True], [True], [False], [False]]))
  np.testing.assert_array_equal(got, [[-1], [1], [0], [0]])


@pytest.mark.parametrize('valid', [False, True])
def test_standardise_of_a_flat_or_missing_channel_is_zero(valid):
  got = standardise(np.full((9, 1), 7, np.float32), np.full((9, 1), valid))
  np.testing.assert_array_equal(got, np.zeros((9, 1)))


def test_pad_adds_zeros_at_the_end():
  np.testing.assert_array_equal(
    pad(np.ones((2, 3)), 4), [[1] * 3, [1] * 3, [0] * 3, [0] * 3]
  )
  assert pad(np.ones(2, bool), 3).tolist() == [True, True, False]


def test_signals_are_standardised_and_padded_to_the_longest(trials):
  example = _source(trials)[1]
  trial = trials[1]  # 4 of 6 seconds
  assert example['signals'].shape == (48, 2)
  np.testing.assert_array_equal(
    example['signals'][:32], standardise(trial.signals, trial.signals_valid)
  )
  assert not example['signals'][32:].any()
  np.testing.assert_array_equal(
    example['signals_valid'],
    np.concatenate([trial.signals_valid.any(1), np.zeros(16, bool)]),
  )


def test_subjects_are_standardised_over_their_own_trials_alone():
  def trial(number, subject, level):
    made = _trial(number, 5)
    return dataclasses.replace(made, subject=subject, signals=made.signals + level)

  options = dataclasses.replace(_OPTIONS, standardise='subject')
  trials = [trial(1, 1, 0), trial(2, 1, 8), trial(3, 2, 100)]
  source = _source(trials, options, modalities=('physio',))
  own = [
    source[i]['signals'][:40][trial.signals_valid] for i, trial in enumerate(trials)
  ]
  values = [np.where(t.signals_valid, t.signals, np.nan) for t in trials[:2]]
  both = np.concatenate(values)
  for i in range(2):
    expected = (values[i] - np.nanmean(both, axis=0)) / np.nanstd(both, axis=0)
    np.testing.assert_allclose(
      own[i], expected[trials[i].signals_valid], rtol=1e-4, atol=1e-5
    )
  assert own[0].mean() < -0.7 and own[1].mean() > 0.7  # levels are kept
  # Nothing of one subject is in another: alone it is the same.
  alone = _source(trials[2:], options, modalities=('physio',))
  np.testing.assert_array_equal(alone[0]['signals'], source[2]['signals'])
  np.testing.assert_array_equal(
    source.select([trials[2].trial_id])[0]['signals'], source[2]['signals']
  )


def test_whose_moments_must_be_known():
  with pytest.raises(InputError, match="standardise: 'corpus' is none of"):
    EmotionInput(standardise='corpus')


def test_frames_of_clips_are_padded_and_masked(trials):
  example = _source(trials)[1]
  assert example['frames'].shape == (6, 4, 2, 2, 3)
  assert example['frames'].dtype == np.uint8
  # 4 s are 4 clips: of 20 frames from 0, 5, 11, 16 (16 / 3 apart, rounded).
  np.testing.assert_array_equal(
    example['frames'][..., 0, 0, 0],
    [[0, 1, 2, 3], [5, 6, 7, 8], [11, 12, 13, 14], [16, 17, 18, 19], [0] * 4, [0] * 4],
  )
  np.testing.assert_array_equal(  # no face in 0, 5, 6, 7
    example['video_valid'], [0, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]
  )
  np.testing.assert_allclose(
    example['video_times'][:8], [0.1, 0.5, 1.1, 1.5, 2.3, 2.7, 3.3, 3.7], rtol=1e-5
  )
  assert not example['video_times'][8:].any()


@pytest.mark.parametrize(
  ('rating', 'label'), [(5.0, 0), (5.01, 1), (4.99, 0), (9.0, 1), (1.0, 0)]
)
def test_high_is_above_the_threshold(rating, label):
  trial = _trial(1, 6, ratings={'valence': rating, 'arousal': 10 - rating})
  example = _source([trial])[0]
  assert example['label'].dtype == np.float32
  assert example['label'].tolist() == [label, int(10 - rating > 5)]


def test_targets_come_in_the_order_of_the_config():
  trial = _trial(1, 6, ratings={'valence': 6.0, 'arousal': 2.0, 'liking': 6.5})
  options = EmotionInput(
    max_seconds=6.0,
    clips=_LAYOUT,
    threshold=6.2,
    targets=('arousal', 'liking', 'valence'),
  )
  assert _source([trial], options)[0]['label'].tolist() == [0, 1, 0]


@pytest.mark.parametrize('target', ['joy', 'familiarity'])
def test_every_trial_needs_a_rating_of_every_target(target):
  trial = _trial(1, 6, ratings={'valence': 6.0, 'familiarity': float('nan')})
  with pytest.raises(InputError, match=rf"s01_trial01 has no rating '{target}'"):
    _source([trial], EmotionInput(max_seconds=6.0, targets=('valence', target)))


@pytest.mark.parametrize(
  ('modality', 'other'),
  [
    ('physio', {'frames', 'video_valid', 'video_times'}),
    ('video', {'signals', 'signals_valid'}),
  ],
)
def test_a_modality_left_out_is_not_read(trials, modality, other):
  example = _source(trials, modalities=(modality,))[2]
  assert not other & set(example)
  assert example['trial'] == 2 and example['weight'] == 1


def test_too_long_a_trial():
  with pytest.raises(
    InputError,
    match=r's01_trial04 lasts 7\.0 s, input\.max_seconds '
    r'is 6',
  ):
    _source([_trial(4, 7)])
  with pytest.raises(InputError, match=r's01_trial04 lasts 8\.0 s'):
    _source([_trial(4, 6, frames=40)])


def test_examples_of_all_allowed_lengths_have_equal_shapes():
  options = EmotionInput(max_seconds=6.0, clips=ClipLayout(4, 1, 0.45, 2))
  source = _source([_trial(1, 6.5), _trial(2, 6), _trial(3, 2)], options)
  shapes = [{k: v.shape for k, v in source[i].items()} for i in range(3)]
  assert shapes[0] == shapes[1] == shapes[2]
  assert source[0]['video_valid'].all()  # of the longest trial nothing is cut


def test_unscaled_features(trials, features):
  folder, tokens = features
  example = _source(trials, features=folder)[1]
  assert 'frames' not in example
  assert example['video'].shape == (12, 3) and example['video'].dtype == np.float32
  np.testing.assert_array_equal(example['video'][:8], tokens[2])
  assert not example['video'][8:].any()


def test_features_are_scaled(trials, features):
  folder, tokens = features
  scale = np.array([2, 4, 8], np.float32)
  example = _source(trials, features=folder, scale=scale)[1]
  np.testing.assert_allclose(example['video'][:8], tokens[2] / scale, rtol=1e-6)
  assert example['video'].dtype == np.float32


def test_scale_is_the_deviation_around_each_trial_s_mean(trials, features):
  folder, tokens = features
  source = _source(trials, features=folder)
  scale = pooled_scale(*token_squares(source))
  used = [
    tokens[t.trial][source[i]['video_valid'][: len(tokens[t.trial])]]
    for i, t in enumerate(trials)
  ]
  assert sum(map(len, used)) == 12 + 5 + 10  # those without a face are left out
  used = np.concatenate([x.astype(np.float64) - x.mean(0) for x in used])
  np.testing.assert_allclose(scale, np.sqrt((used**2).mean(0)), rtol=1e-5)
  assert scale.shape == (3,) and scale.dtype == np.float32


def test_scaled_training_tokens_have_unit_variance_within_trials(trials, features):
  folder, _ = features
  scale = pooled_scale(*token_squares(_source(trials, features=folder)))
  source = _source(trials, features=folder, scale=scale)
  tokens = [source[i]['video'][source[i]['video_valid']] for i in range(len(source))]
  tokens = np.concatenate([x - x.mean(0) for x in tokens])
  np.testing.assert_allclose((tokens**2).mean(0), 1, rtol=1e-4)


def test_a_token_that_never_changes_is_not_divided_by_zero(tmp_path):
  trial = _trial(1, 6)
  np.save(tmp_path / 's01_trial01.npy', np.full((12, 3), 4, np.float32))
  scale = pooled_scale(*token_squares(_source([trial], features=tmp_path)))
  assert np.isfinite(_source([trial], features=tmp_path, scale=scale)[0]['video']).all()


def test_selected_subjects_are_the_same_examples_scaled(trials, features):
  folder, _ = features
  source = _source(trials, features=folder)
  scale = np.array([2, 4, 8], np.float32)
  selected = source.select([trials[2].trial_id, trials[1].trial_id], scale=scale)
  assert [t.subject for t in selected.trials] == [2, 3] and len(selected) == 2
  direct = _source(trials[1:], features=folder, scale=scale)
  for i in range(2):
    got, expected = selected[i], direct[i]
    assert set(got) == set(expected)
    for name, value in expected.items():
      np.testing.assert_array_equal(got[name], value, err_msg=name)
  assert len(source) == 3 and source.scale is None  # as it was


def test_no_face_in_any_training_trial(tmp_path):
  trial = _trial(1, 6, face=np.zeros(30, bool))
  _write_tokens(tmp_path, [trial])
  with pytest.raises(InputError, match=r'no frame with a face; look at account\.csv'):
    pooled_scale(*token_squares(_source([trial], features=tmp_path)))


def test_features_that_are_missing_or_do_not_fit(tmp_path):
  trials, path = [_trial(1, 6)], tmp_path / 's01_trial01.npy'
  with pytest.raises(InputError, match=r's01_trial01 cannot be read.*delete the'):
    _source(trials, features=tmp_path)
  np.save(path, np.zeros((10, 3), np.float32))
  with pytest.raises(InputError, match=r's01_trial01 has 10 tokens, not 12'):
    _source(trials, features=tmp_path)[0]
  for size in (60, 0):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match=r's01_trial01 cannot be read.*delete the'):
      _source(trials, features=tmp_path)


def test_a_corpus_without_video():
  trial = _trial(1, 6, frames=0)
  corpus = _Frames(has_video=False)
  corpus.metadata['frame_rate'] = None
  example = EmotionTrials(corpus, [trial], _OPTIONS, ('physio',))[0]
  assert set(example) == {'signals', 'signals_valid', 'label', 'weight', 'trial'}


def test_sources_can_go_to_other_processes(trials, features):
  source = EmotionTrials(
    types.SimpleNamespace(has_video=True, metadata=_Frames().metadata),
    trials,
    _OPTIONS,
    features=features[0],
  )
  example = pickle.loads(pickle.dumps(source))[1]
  np.testing.assert_array_equal(example['video'], source[1]['video'])


def test_the_end_of_a_trial_alone(trials, features):
  """As if the signals and faces before it were not there; the clock stays."""
  options = dataclasses.replace(_OPTIONS, last_seconds=2.0)
  folder, tokens = features
  part, whole = (_source(trials, x, features=folder) for x in (options, _OPTIONS))
  for i, trial in enumerate(trials):
    begin = len(trial.signals) / _RATE - 2
    first = round(begin * _RATE)
    late, full = part[i], whole[i]
    assert not late['signals_valid'][:first].any() and not late['signals'][:first].any()
    good = trial.signals_valid[first:]
    np.testing.assert_array_equal(
      late['signals'][first : first + len(good)],
      standardise(trial.signals[first:], good),
    )
    np.testing.assert_array_equal(
      late['video_valid'], full['video_valid'] & (full['video_times'] >= begin)
    )
    assert 0 < late['video_valid'].sum() < full['video_valid'].sum()
    np.testing.assert_array_equal(late['video'], full['video'])
  longer = _source(trials, dataclasses.replace(_OPTIONS, last_seconds=9.0))
  np.testing.assert_array_equal(longer[0]['signals'], whole[0]['signals'])
  chosen = part.select([trials[2].trial_id])
  np.testing.assert_array_equal(chosen[0]['video_valid'], part[2]['video_valid'])
  with pytest.raises(InputError, match='last_seconds'):
    EmotionInput(last_seconds=-1.0)
