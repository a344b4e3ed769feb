"""Whole trials as examples: standardised, padded, masked, labelled."""

import dataclasses
import os
import pickle
import types

import numpy as np
import pytest

from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.examples import InputConfig, OneWindowEach, TrialExamples
from mvp_jax.data.lengths import Plan
from mvp_jax.data.scales import pooled_scale, token_squares
from mvp_jax.data.trial import Frames
from mvp_jax.errors import InputError
from mvp_jax.models.modalities import Encoding
from mvp_jax.models.modalities.physio import Physio, pad, standardise
from mvp_jax.models.modalities.video import Video, centred
from mvp_jax.targets.binary import Binary
from tests.data.tiny_trials import make_trial

_RATE, _FRAME_RATE = 8.0, 5.0
_LAYOUT = ClipLayout(frames=4, stride=1, spacing=1.0, tubelet=2)
_OPTIONS = InputConfig(max_seconds=6.0, clips=_LAYOUT)


def _trial(
  number, seconds, frames=None, face=None, ratings=None, subject=None, level=0.0
):
  rng = np.random.default_rng(number)
  samples = round(seconds * _RATE)
  frames = round(seconds * _FRAME_RATE) if frames is None else frames
  return make_trial(
    trial_id=f's01_trial{number:02d}',
    subject=subject or number,
    trial=number,
    stimulus=number,
    ratings=ratings or {'valence': 6.0, 'arousal': 4.0},
    signals=rng.normal(3, 2, (samples, 2)).astype(np.float32) + np.float32(level),
    signals_valid=rng.random((samples, 2)) < 0.8,
    frame_times=(np.arange(frames) / _FRAME_RATE).astype(np.float32),
    frame_valid=np.ones(frames, bool) if face is None else face,
    rate=_RATE,
    frame_rate=_FRAME_RATE,
  )


class _Frames:
  """A corpus whose frames hold their number."""

  def __init__(self, has_video=True, before=0.0):
    self.has_video = has_video
    self.metadata = {
      'frame_size': 2,
      'clean': True,
      'streams': {
        'signals': {'rate': _RATE, 'channels': ('eda', 'ppg'), 'before': before},
        'video': {'rate': _FRAME_RATE},
      },
    }

  def frames(self, trial, numbers):
    return (
      np.zeros((len(numbers), 2, 2, 3), np.uint8)
      + np.asarray(numbers, np.uint8)[:, None, None, None]
    )


def _source(
  trials, options=_OPTIONS, modalities=None, features=None, target=None, corpus=None
):
  modalities = modalities or {'physio': Physio(), 'video': Video()}
  encoding = Encoding(None, features) if 'video' in modalities else None
  return TrialExamples(
    corpus or _Frames(), trials, options, modalities, target or Binary(), encoding
  )


def _scaled(trials, scale, **kwargs):
  source = _source(trials, **kwargs)
  return source.select([t.trial_id for t in trials], scales={'video/tokens': scale})


def _scale(source):
  """The scale of tokens, as training fits it."""
  (name,) = (x for x in source.scaled if x.startswith('video'))
  return pooled_scale(*token_squares(source, name))


def _write_tokens(folder, trials, width=3):
  """Writes random tokens of each trial; returns them by trial number."""
  tokens = {}
  for trial in trials:
    rng = np.random.default_rng(trial.trial + 100)
    count = round(len(trial.streams['video'].times) / _FRAME_RATE / _LAYOUT.spacing)
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
  assert example['physio/values'].shape == (48, 2)
  signals = trial.streams['signals']
  np.testing.assert_array_equal(
    example['physio/values'][:32], standardise(signals.values, signals.valid)
  )
  assert not example['physio/values'][32:].any()
  np.testing.assert_array_equal(
    example['physio/valid'],
    np.concatenate([signals.valid.any(1), np.zeros(16, bool)]),
  )


def test_subjects_are_standardised_over_their_own_trials_alone():
  trials = [
    _trial(number, 5, subject=subject, level=level)
    for number, subject, level in [(1, 1, 0), (2, 1, 8), (3, 2, 100)]
  ]
  physio = {'physio': Physio(standardise='subject')}
  source = _source(trials, modalities=physio)
  signals = [trial.streams['signals'] for trial in trials]
  own = [source[i]['physio/values'][:40][x.valid] for i, x in enumerate(signals)]
  values = [np.where(x.valid, x.values, np.nan) for x in signals[:2]]
  both = np.concatenate(values)
  for i in range(2):
    expected = (values[i] - np.nanmean(both, axis=0)) / np.nanstd(both, axis=0)
    np.testing.assert_allclose(own[i], expected[signals[i].valid], rtol=1e-4, atol=1e-5)
  assert own[0].mean() < -0.7 and own[1].mean() > 0.7  # levels are kept
  # Nothing of one subject is in another: alone it is the same.
  alone = _source(trials[2:], modalities=physio)
  chosen = source.select([trials[2].trial_id])
  for other in (alone, chosen):
    np.testing.assert_array_equal(other[0]['physio/values'], source[2]['physio/values'])


def test_whose_moments_must_be_known():
  with pytest.raises(InputError, match="standardise: 'corpus' is none of"):
    Physio(standardise='corpus')


def test_frames_of_clips_are_padded_and_masked(trials):
  example = _source(trials)[1]
  assert example['video/frames'].shape == (6, 4, 2, 2, 3)
  assert example['video/frames'].dtype == np.uint8
  # 4 s are 4 clips: of 20 frames from 0, 5, 11, 16 (16 / 3 apart, rounded).
  np.testing.assert_array_equal(
    example['video/frames'][..., 0, 0, 0],
    [[0, 1, 2, 3], [5, 6, 7, 8], [11, 12, 13, 14], [16, 17, 18, 19], [0] * 4, [0] * 4],
  )
  np.testing.assert_array_equal(  # no face in 0, 5, 6, 7
    example['video/valid'], [0, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]
  )
  np.testing.assert_allclose(
    example['video/times'][:8], [0.1, 0.5, 1.1, 1.5, 2.3, 2.7, 3.3, 3.7], rtol=1e-5
  )
  assert not example['video/times'][8:].any()


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
  target = Binary(('arousal', 'liking', 'valence'), 6.2)
  assert _source([trial], target=target)[0]['label'].tolist() == [0, 1, 0]


@pytest.mark.parametrize('target', ['joy', 'familiarity'])
def test_every_trial_needs_a_rating_of_every_target(target):
  trial = _trial(1, 6, ratings={'valence': 6.0, 'familiarity': float('nan')})
  with pytest.raises(InputError, match=rf"s01_trial01 has no rating '{target}'"):
    _source([trial], target=Binary(('valence', target)))


@pytest.mark.parametrize(
  ('modality', 'other'),
  [
    ('physio', {'video/frames', 'video/valid', 'video/times', 'video/reference'}),
    ('video', {'physio/values', 'physio/valid'}),
  ],
)
def test_a_modality_left_out_is_not_read(trials, modality, other):
  both = {'physio': Physio(), 'video': Video()}
  assert other < set(_source(trials, modalities=both)[2])
  example = _source(trials, modalities={modality: both[modality]})[2]
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
  options = InputConfig(max_seconds=6.0, clips=ClipLayout(4, 1, 0.45, 2))
  source = _source([_trial(1, 6.5), _trial(2, 6), _trial(3, 2)], options)
  shapes = [{k: v.shape for k, v in source[i].items()} for i in range(3)]
  assert shapes[0] == shapes[1] == shapes[2]
  assert source[0]['video/valid'].all()  # of the longest trial nothing is cut


def test_unscaled_features(trials, features):
  folder, tokens = features
  example = _source(trials, features=folder)[1]
  assert 'video/frames' not in example
  assert (
    example['video/tokens'].shape == (12, 3)
    and example['video/tokens'].dtype == np.float32
  )
  np.testing.assert_array_equal(example['video/tokens'][:8], tokens[2])
  assert not example['video/tokens'][8:].any()


def test_no_file_of_features_stays_open(trials, features):
  """A corpus may have more of them than a process may open."""
  folder, tokens = features
  before = len(os.listdir('/dev/fd'))
  source = _source(trials * 10, features=folder)
  np.testing.assert_array_equal(source[4]['video/tokens'][:8], tokens[2])
  assert len(os.listdir('/dev/fd')) < before + 10


def test_selecting_works_nothing_out_again(trials, features, monkeypatch):
  folder, tokens = features
  source = _source(trials, features=folder)
  monkeypatch.setattr(TrialExamples, '__init__', None)
  (example,) = source.select([trials[1].trial_id])
  np.testing.assert_array_equal(example['video/tokens'][:8], tokens[2])


def test_features_are_scaled(trials, features):
  folder, tokens = features
  scale = np.array([2, 4, 8], np.float32)
  example = _scaled(trials, scale, features=folder)[1]
  np.testing.assert_allclose(example['video/tokens'][:8], tokens[2] / scale, rtol=1e-6)
  assert example['video/tokens'].dtype == np.float32


def test_scale_is_the_deviation_around_each_trial_s_mean(trials, features):
  folder, tokens = features
  source = _source(trials, features=folder)
  scale = _scale(source)
  used = [
    tokens[t.trial][source[i]['video/valid'][: len(tokens[t.trial])]]
    for i, t in enumerate(trials)
  ]
  assert sum(map(len, used)) == 12 + 5 + 10  # those without a face are left out
  used = np.concatenate([x.astype(np.float64) - x.mean(0) for x in used])
  np.testing.assert_allclose(scale, np.sqrt((used**2).mean(0)), rtol=1e-5)
  assert scale.shape == (3,) and scale.dtype == np.float32


def test_scaled_training_tokens_have_unit_variance_within_trials(trials, features):
  folder, _ = features
  scale = _scale(_source(trials, features=folder))
  source = _scaled(trials, scale, features=folder)
  tokens = [
    source[i]['video/tokens'][source[i]['video/valid']] for i in range(len(source))
  ]
  tokens = np.concatenate([x - x.mean(0) for x in tokens])
  np.testing.assert_allclose((tokens**2).mean(0), 1, rtol=1e-4)


def test_a_token_that_never_changes_is_not_divided_by_zero(tmp_path):
  trial = _trial(1, 6)
  np.save(tmp_path / 's01_trial01.npy', np.full((12, 3), 4, np.float32))
  scale = _scale(_source([trial], features=tmp_path))
  found = _scaled([trial], scale, features=tmp_path)[0]['video/tokens']
  assert np.isfinite(found).all()


def test_selected_subjects_are_the_same_examples_scaled(trials, features):
  folder, _ = features
  source = _source(trials, features=folder)
  scale = np.array([2, 4, 8], np.float32)
  ids = [trials[2].trial_id, trials[1].trial_id]
  selected = source.select(ids, scales={'video/tokens': scale})
  assert [t.subject for t in selected.trials] == [2, 3] and len(selected) == 2
  direct = _scaled(trials[1:], scale, features=folder)
  for i in range(2):
    got, expected = selected[i], direct[i]
    assert set(got) == set(expected)
    for name, value in expected.items():
      np.testing.assert_array_equal(got[name], value, err_msg=name)
  assert len(source) == 3 and source.scales == {}  # as it was


def test_no_face_in_any_training_trial(tmp_path):
  trial = _trial(1, 6, face=np.zeros(30, bool))
  _write_tokens(tmp_path, [trial])
  with pytest.raises(
    InputError, match=r'no frame with a face, or no valid signal; look at account\.csv'
  ):
    _scale(_source([trial], features=tmp_path))


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
  del corpus.metadata['streams']['video']
  example = _source([trial], corpus=corpus, modalities={'physio': Physio()})[0]
  own = {'physio/values', 'physio/levels', 'physio/valid'}
  assert set(example) == {*own, 'label', 'weight', 'trial'}


def test_sources_can_go_to_other_processes(trials, features):
  corpus = types.SimpleNamespace(has_video=True, metadata=_Frames().metadata)
  source = _source(trials, corpus=corpus, features=features[0])
  example = pickle.loads(pickle.dumps(source))[1]
  np.testing.assert_array_equal(example['video/tokens'], source[1]['video/tokens'])


def test_labels_and_scales_go_to_other_processes_too(trials, features):
  source = _source(trials, features=features[0], target=Binary(threshold='median'))
  assert 'label' not in source[1]
  source.labels = Binary(threshold=3.0).fixed()
  source.scales = {'video/tokens': np.array([2, 4, 8], np.float32)}
  example = pickle.loads(pickle.dumps(source))[1]
  assert example.keys() == source[1].keys() and example['label'].tolist() == [1, 1]
  np.testing.assert_array_equal(example['video/tokens'], source[1]['video/tokens'])


def test_the_end_of_a_trial_alone(trials, features):
  """As if the signals and faces before it were not there; the clock stays."""
  options = dataclasses.replace(_OPTIONS, last_seconds=2.0)
  folder, tokens = features
  part, whole = (_source(trials, x, features=folder) for x in (options, _OPTIONS))
  for i, trial in enumerate(trials):
    signals = trial.streams['signals']
    begin = len(signals.values) / _RATE - 2
    first = round(begin * _RATE)
    late, full = part[i], whole[i]
    assert not late['physio/valid'][:first].any()
    assert not late['physio/values'][:first].any()
    good = signals.valid[first:]
    np.testing.assert_array_equal(
      late['physio/values'][first : first + len(good)],
      standardise(signals.values[first:], good),
    )
    np.testing.assert_array_equal(
      late['video/valid'], full['video/valid'] & (full['video/times'] >= begin)
    )
    assert 0 < late['video/valid'].sum() < full['video/valid'].sum()
    np.testing.assert_array_equal(late['video/tokens'], full['video/tokens'])
  longer = _source(trials, dataclasses.replace(_OPTIONS, last_seconds=9.0))
  np.testing.assert_array_equal(longer[0]['physio/values'], whole[0]['physio/values'])
  chosen = part.select([trials[2].trial_id])
  np.testing.assert_array_equal(chosen[0]['video/valid'], part[2]['video/valid'])
  with pytest.raises(InputError, match='last_seconds'):
    InputConfig(last_seconds=-1.0)


@pytest.mark.parametrize('centre', ['onset', 'recording', 'nothing'])
@pytest.mark.parametrize('last_seconds', [0.5, 2.0, 4.5])
def test_the_end_of_a_trial_is_centred_as_the_whole(
  trials, features, centre, last_seconds
):
  """The length of what is used changes one thing only: which tokens are valid."""
  video, folder = {'video': Video(centre=centre)}, features[0]
  options = dataclasses.replace(_OPTIONS, last_seconds=last_seconds)
  part, whole = (
    _source(trials, x, modalities=video, features=folder) for x in (options, _OPTIONS)
  )
  batches = [
    {name: np.stack([source[i][name] for i in range(3)]) for name in source[0]}
    for source in (part, whole)
  ]
  for name in ('reference', 'times', 'tokens'):
    np.testing.assert_array_equal(*(batch[f'video/{name}'] for batch in batches))
  used, _ = (batch['video/valid'] for batch in batches)
  found, wanted = (
    np.asarray(centred(batch['video/tokens'], batch['video/reference']))
    for batch in batches
  )
  assert 0 < used.sum() < batches[1]['video/valid'].sum()
  np.testing.assert_array_equal(found[used], wanted[used])


@pytest.mark.parametrize(
  ('centre', 'wanted'),
  [
    ('onset', [0, 1, 0, 0, 0, 0, 0, 0]),
    ('recording', [0, 1, 0, 0, 1, 1, 1, 1]),
    ('nothing', [0] * 8),
  ],
)
def test_what_a_video_is_centred_by(trials, centre, wanted):
  """No face in frames 0, 5, 6, 7 of trial 2; its slots lie at .1, .5, 1.1, 1.5, ..."""
  example = _source(trials, modalities={'video': Video(centre=centre)})[1]
  assert example['video/reference'].tolist() == [bool(x) for x in wanted] + [False] * 4


def test_without_a_face_at_the_onset_the_recording_is_the_reference():
  face = np.ones(30, bool)
  face[:10] = False
  example = _source([_trial(1, 6, face=face)], modalities={'video': Video()})[0]
  np.testing.assert_array_equal(example['video/reference'], example['video/valid'])
  assert 0 < example['video/valid'].sum() < len(example['video/valid'])


def test_a_window_that_is_neither_whole_nor_random():
  with pytest.raises(InputError, match="windows: 'sliding' is none of whole, random"):
    InputConfig(windows='sliding')


@pytest.mark.parametrize('cached', [False, True])
def test_a_stream_that_a_trial_lacks_is_a_mask(trials, features, cached):
  """Of equal shapes, nothing of it valid; and no file of its tokens is looked for."""
  whole, folder = trials[1], features[0] if cached else None
  lacking = [
    dataclasses.replace(
      whole,
      trial_id=f'without_{name}',
      streams={other: x for other, x in whole.streams.items() if other != name},
    )
    for name in ('signals', 'video')
  ]
  encoding = Encoding(types.SimpleNamespace(feature_width=3), folder)
  modalities = {'physio': Physio(), 'video': Video()}
  if cached:
    (folder / 'without_signals.npy').write_bytes(
      (folder / f'{whole.trial_id}.npy').read_bytes()
    )
  source = TrialExamples(
    _Frames(), [whole, *lacking], _OPTIONS, modalities, Binary(), encoding
  )
  full, deaf, blind = (source[i] for i in range(3))
  for example, name, other in ((deaf, 'physio', 'video'), (blind, 'video', 'physio')):
    assert {k: (v.shape, v.dtype) for k, v in example.items()} == {
      k: (v.shape, v.dtype) for k, v in full.items()
    }
    assert full[f'{name}/valid'].any() and not example[f'{name}/valid'].any()
    for array, x in example.items():
      if array.startswith(f'{other}/'):
        np.testing.assert_array_equal(x, full[array], err_msg=array)
  if cached:  # it has no part in the scale
    squares, counts = token_squares(source, 'video/tokens')
    assert counts[2] == 0 < counts[0] and not squares[2].any()
    assert np.isfinite(pooled_scale(squares, counts)).all()


def test_levels_count_from_the_baseline_and_shapes_from_the_trial():
  trial = _trial(1, 5)
  series = trial.streams['signals']
  before = np.array([[3.0, 1.0]] * 6 + [[5.0, 9.0]] * 2, np.float32)
  known = np.ones_like(before, bool)
  known[:, 1] = [False] * 6 + [True] * 2  # a quarter of it: no reference
  own = dataclasses.replace(series, before=before, before_valid=known)
  trial.streams['signals'] = own
  corpus = _Frames(before=8 / _RATE)
  physio = Physio(widths=(8, 64), kernels=(4, 4), strides=(2, 2), depth=1)
  example = _source([trial], corpus=corpus, modalities={'physio': physio})[0]
  levels, valid = example['physio/levels'], series.valid
  np.testing.assert_allclose(levels[:8, 0], before[:, 0] - 3.5)
  after = levels[8 : 8 + len(valid)]
  np.testing.assert_allclose(
    after[valid[:, 0], 0], series.values[valid[:, 0], 0] - 3.5, rtol=1e-5, atol=1e-5
  )
  own = series.values[valid[:, 1], 1]
  np.testing.assert_allclose(
    after[valid[:, 1], 1], own - own.mean(), rtol=1e-4, atol=1e-5
  )
  assert not levels[:6, 1].any() and not after[~valid].any()
  expected = standardise(series.values, valid)
  np.testing.assert_allclose(example['physio/values'][8 : 8 + len(valid)], expected)
  assert example['physio/valid'][:8].all()
  without = dataclasses.replace(physio, baseline=False, levels=False)
  plain = _source([trial], corpus=corpus, modalities={'physio': without})[0]
  assert 'physio/levels' not in plain
  np.testing.assert_array_equal(plain['physio/values'][: len(valid)], expected)


def _with_baseline(trial, seconds, face=True):
  video = trial.streams['video']
  count = round(seconds * _FRAME_RATE)
  times = (np.arange(-count, 0) / _FRAME_RATE).astype(np.float32)
  before = Frames(times, np.full(count, face), 0, _FRAME_RATE)
  streams = trial.streams | {
    'video': dataclasses.replace(video, first=count, before=before)
  }
  return dataclasses.replace(trial, streams=streams)


def test_a_face_counts_from_what_was_before_the_onset(tmp_path):
  trials = [
    _with_baseline(_trial(1, 5), 2),
    _with_baseline(_trial(2, 5), 2, face=False),
  ]
  trials.append(_trial(3, 5))
  corpus, clips = _Frames(), _LAYOUT.baseline_clips(2.0)
  corpus.metadata['streams']['video']['before'] = 2.0
  early = clips * _LAYOUT.slots
  assert early == 4  # of 12 to 16 tokens
  rng = np.random.default_rng(0)
  for trial, laid in zip(trials, (early, early, 0), strict=True):
    tokens = rng.normal(5, 1, (laid + 5 * _LAYOUT.slots, 3)).astype(np.float32)
    np.save(tmp_path / f'{trial.trial_id}.npy', tokens)
  video = Video(onset_seconds=1.0)
  source = _source(
    trials, modalities={'video': video}, features=tmp_path, corpus=corpus
  )
  with_face, without_face, without = source[0], source[1], source[2]
  shapes = {x['video/tokens'].shape for x in (with_face, without_face, without)}
  assert shapes == {(early + 6 * _LAYOUT.slots, 3)}
  # The baseline and the first second, of half a second a token; no face, no baseline.
  first = np.arange(early + 6 * _LAYOUT.slots)
  assert (with_face['video/reference'] == (first < early + 2)).all()
  assert (
    without_face['video/reference'] == ((first >= early) & (first < early + 2))
  ).all()
  assert (without['video/reference'] == (first < 2)).all()
  for example, begin in ((with_face, early), (without_face, early), (without, 0)):
    own = (first >= begin) & (first < begin + 10)
    np.testing.assert_array_equal(example['video/valid'], own)
  times = with_face['video/times'][:6]
  assert (times[:4] < 0).all() and (times[4:] > 0).all()
  # Of the frames themselves, too: they hold their number.
  frames = _source(trials, modalities={'video': video}, corpus=corpus)
  np.testing.assert_array_equal(
    frames[0]['video/frames'][:3, :, 0, 0, 0],
    np.uint8([[246, 247, 248, 249], [252, 253, 254, 255], [0, 1, 2, 3]]),
  )
  # A stretch of the trial that begins later has none.
  later = trials[0].stretch(2.0, 5.0)
  assert later.streams['video'].before is None and later.streams['video'].first == 20
  assert trials[0].stretch(0.0, 3.0).streams['video'].before is not None


_PLAN = Plan((4.0, 6.0), (2, 2))


def _of_lengths(trials, features, **kwargs):
  return TrialExamples(
    _Frames(),
    trials,
    _OPTIONS,
    {'physio': Physio(), 'video': Video()},
    Binary(),
    Encoding(None, features),
    _PLAN,
    **kwargs,
  )


def test_examples_are_padded_to_the_least_length_that_holds_them(trials, features):
  found, whole = _of_lengths(trials, features[0]), _source(trials, features=features[0])
  assert found.lengths.tolist() == [int(t.seconds > 4) for t in trials]
  assert 0 < sum(found.lengths) < len(trials)
  np.testing.assert_array_equal(found.seconds, [t.seconds for t in trials])
  shapes = found.shapes()
  for i, number in enumerate(found.lengths):
    for name, wanted in whole[i].items():
      x = found[i][name]
      if '/' in name:
        assert x.shape == shapes[number][name]
        np.testing.assert_array_equal(x, wanted[: len(x)])
        assert not name.endswith('/valid') or not wanted[len(x) :].any()
      else:
        np.testing.assert_array_equal(x, wanted)
  longest = found.longest()
  assert {k: np.shape(x) for k, x in longest.items()} == {
    k: np.shape(x) for k, x in whole[0].items()
  }
  assert found.bytes < sum(x.nbytes for x in whole[0].values()) * len(trials)
  again = pickle.loads(pickle.dumps(found.take([2, 0])))
  assert again.lengths.tolist() == found.lengths[[2, 0]].tolist()


def test_shapes_are_known_where_a_trial_lacks_what_is_read(trials, features):
  """The shortest one has no valid signal."""
  silent = _trial(9, 1)
  silent.streams['signals'].valid[:] = False
  np.save(features[0] / f'{silent.trial_id}.npy', np.zeros((2, 3), np.float32))
  found = _of_lengths([silent, *trials], features[0]).shapes()
  assert [x['physio/valid'] for x in found] == [(int(s * _RATE),) for s in (4, 6)]


def test_one_window_of_each_trial_is_drawn(trials, features):
  examples = _of_lengths(trials, features[0])
  source = OneWindowEach(examples, (1, (0, 2)))
  assert len(source) == 2
  np.testing.assert_array_equal(source.seconds, examples.seconds[[1, 0]])
  rng = np.random.default_rng(0)
  assert {int(source.read(source[1], rng)['trial']) for _ in range(20)} == {0, 2}
  assert source.read(source[0], rng)['trial'] == 1
