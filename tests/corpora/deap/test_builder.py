import csv
import os
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from mvp_jax.corpora.deap.twin import write_deap_twin
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.preparation import builder as builders
from mvp_jax.preparation import load_builder, prepare
from mvp_jax.preparation.account import read_account
from mvp_jax.raw.face_quality import QUALITY
from mvp_jax.raw.openface import read_openface
from mvp_jax.synthetic.spec import TwinSpec

SPEC = TwinSpec(subjects=2, trials=3, frame_rate=2.0, width=128, height=104)
# Signals as recorded can be compared with what was recorded.
FIELDS = dict(frame_rate=2.0, frame_size=32, workers=1, clean=False)


@pytest.fixture(scope='module')
def twin(tmp_path_factory):
  root = tmp_path_factory.mktemp('twin')
  write_deap_twin(root, SPEC, workers=1)
  return root


@pytest.fixture(scope='module')
def prepared(twin, tmp_path_factory):
  return prepare('deap', twin, tmp_path_factory.mktemp('data'), **FIELDS)


@pytest.fixture
def corpus(twin, tmp_path):
  """A copy of the twin to be damaged; times of change are kept."""
  return Path(shutil.copytree(twin, tmp_path / 'corpus'))


def ratings_of(root):
  with (root / 'metadata_csv' / 'participant_ratings.csv').open() as file:
    return list(csv.DictReader(file))


def raw_dat(root, subject):
  with (root / 'data_preprocessed_python' / f's{subject:02d}.dat').open('rb') as file:
    return pickle.load(file, encoding='latin1')


def rewrite_dat(root, subject, data, labels):
  path = root / 'data_preprocessed_python' / f's{subject:02d}.dat'
  path.write_bytes(pickle.dumps({'data': data, 'labels': labels}, 2))


def text(value):
  return value.decode() if isinstance(value, bytes) else value


def test_every_trial_has_its_own_ratings_and_signals(prepared, twin):
  trials = tfds.builder_from_directory(prepared).as_data_source('trials')
  rows = ratings_of(twin)
  assert len(trials) == len(rows) == 6
  for trial, row in zip(trials, rows, strict=True):
    subject, experiment = int(row['Participant_id']), int(row['Experiment_id'])
    assert text(trial['trial_id']) == f's{subject:02d}_trial{int(row["Trial"]):02d}'
    assert trial['stimulus'] == experiment
    assert trial['source']['row'] == experiment - 1
    for name in ('Valence', 'Arousal', 'Dominance', 'Liking'):
      assert trial['ratings'][name.lower()] == pytest.approx(float(row[name]))
    dat = raw_dat(twin, subject)
    ohm, ppg = dat['data'][experiment - 1, 36], dat['data'][experiment - 1, 38]
    assert (
      trial['streams']['signals']['values'].shape
      == trial['streams']['signals']['valid'].shape
      == (7680, 2)
    )
    assert (
      trial['streams']['signals']['values'].dtype == np.float32
      and trial['streams']['signals']['valid'].all()
    )
    np.testing.assert_allclose(
      trial['streams']['signals']['values'][:, 0], 1e6 / ohm[384:], rtol=1e-5
    )
    np.testing.assert_allclose(
      trial['streams']['signals']['values'][:, 1], ppg[384:], rtol=1e-5
    )
    np.testing.assert_allclose(
      trial['streams']['signals']['before'][:, 0], 1e6 / ohm[:384], rtol=1e-5
    )


def test_the_order_trap(prepared, twin):
  # In the twin as in DEAP the order of presentation is not that of stimuli, so
  # Trial - 1 as the row would give other ratings.
  rows = ratings_of(twin)
  assert any(row['Trial'] != row['Experiment_id'] for row in rows)
  for trial in tfds.builder_from_directory(prepared).as_data_source('trials'):
    labels = raw_dat(twin, int(trial['subject']))['labels']
    np.testing.assert_allclose(
      [trial['ratings'][name] for name in ('valence', 'arousal')],
      labels[trial['stimulus'] - 1, :2],
      atol=0.011,
    )


def test_chunks_are_found_by_their_row(prepared):
  builder = tfds.builder_from_directory(prepared)
  trials, chunks = builder.as_data_source('trials'), builder.as_data_source('video')
  assert len(chunks) == 6 * 8
  for trial in trials:
    count = len(trial['streams']['video']['times'])
    assert (
      count
      == len(trial['streams']['video']['valid'])
      == len(trial['streams']['video']['boxes'])
      == 120
    )
    assert (
      trial['streams']['video']['num_chunks'] == 8
      and trial['streams']['video']['valid'].mean() > 0.9
    )
    for k in range(8):
      chunk = chunks[trial['streams']['video']['first_chunk'] + k]
      assert chunk['trial_id'] == trial['trial_id'] and chunk['chunk'] == k
      frames = np.asarray(chunk['frames'])
      assert frames.shape == (min(16, count - 16 * k), 32, 32, 3)
      assert frames.dtype == np.uint8 and frames.std() > 5


def test_frames_show_the_right_moment(prepared, twin):
  # Against an independent decoder: the same crop of the same frame is alike,
  # that of a moment far away is not.
  builder = tfds.builder_from_directory(prepared)
  trials, chunks = builder.as_data_source('trials'), builder.as_data_source('video')
  trial = trials[4]
  reader = cv2.VideoCapture(str(twin / 'face_video' / text(trial['source']['video'])))
  images = [reader.read()[1] for _ in range(120)]
  aspect = trial['streams']['video']['pixel_aspect']
  assert aspect == pytest.approx(16 / 15)
  for k in (0, 50, 119):
    x, y, side = trial['streams']['video']['boxes'][k]
    half = side / 2
    part = images[k][
      max(0, round(y - half)) : round(y + half),
      max(0, round(x - half / aspect)) : round(x + half / aspect),
    ]
    expected = cv2.resize(part, (32, 32), interpolation=cv2.INTER_AREA)[:, :, ::-1]
    frames = chunks[trial['streams']['video']['first_chunk'] + k // 16]['frames']
    difference = np.abs(np.asarray(frames[k % 16], float) - expected).mean()
    assert difference < 12


def test_several_shards_keep_the_order(twin, tmp_path, monkeypatch):
  monkeypatch.setattr(builders, '_SHARD_BYTES', 100_000)
  monkeypatch.setattr(builders, '_TRIALS_PER_SHARD', 2)
  builder = tfds.builder_from_directory(prepare('deap', twin, tmp_path, **FIELDS))
  assert builder.info.splits['trials'].num_shards == 3
  assert builder.info.splits['video'].num_shards > 1
  chunks = builder.as_data_source('video')
  for trial in builder.as_data_source('trials'):
    for k in range(trial['streams']['video']['num_chunks']):
      chunk = chunks[trial['streams']['video']['first_chunk'] + k]
      assert (chunk['trial_id'], chunk['chunk']) == (trial['trial_id'], k)


def test_facts_of_the_data_set(prepared, twin):
  metadata = tfds.builder_from_directory(prepared).info.metadata
  assert metadata['streams']['signals']['channels'] == ['eda', 'ppg']
  assert metadata['streams']['signals']['units'][0] == 'microsiemens'
  assert (
    metadata['streams']['signals']['rate'],
    metadata['streams']['video']['rate'],
  ) == (128, 2)
  assert (metadata['frame_size'], metadata['crop'], metadata['chunk']) == (32, 'X', 16)
  assert metadata['synthetic'] is True
  assert set(metadata['ceiling']) == {'valence', 'arousal'}
  assert metadata['fingerprint'] in prepared.parts


def test_signals_without_video(twin, tmp_path):
  shutil.copytree(
    twin, tmp_path / 'corpus', ignore=shutil.ignore_patterns('face_video')
  )
  directory = prepare(
    'deap',
    tmp_path / 'corpus',
    tmp_path / 'data',
    streams=('signals',),
    channels=('ppg', 'temp', 'eda'),
    workers=1,
    clean=False,
  )
  builder = tfds.builder_from_directory(directory)
  assert set(builder.info.splits) == {'trials'}
  trial = builder.as_data_source('trials')[3]
  dat = raw_dat(twin, 2)['data'][trial['stimulus'] - 1]
  np.testing.assert_allclose(
    trial['streams']['signals']['values'][:, 1], dat[39, 384:], rtol=1e-5
  )
  np.testing.assert_allclose(
    trial['streams']['signals']['values'][:, 2], 1e6 / dat[36, 384:], rtol=1e-5
  )
  assert set(trial['streams']) == {'signals'}


def test_tfds_own_api(twin, tmp_path):
  builder = load_builder('deap')(
    config='signals', data_dir=tmp_path, file_format='array_record'
  )
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=twin)
  )
  assert len(builder.as_data_source('trials')) == 6
  assert not builder.interim_dir.exists()


def test_nothing_temporary_is_left(twin, tmp_path):
  directory = prepare('deap', twin, tmp_path, streams=('signals',), workers=1)
  files = [path for path in tmp_path.rglob('*') if path.is_file()]
  # Locks stay: one that is removed can be held twice.
  names = {path.name for path in files if path.parent.name != 'locks'}
  assert {name.split('.')[0] for name in names} == {
    'account',
    'checksums',
    'dataset_info',
    'features',
    'metadata',
    'deap-trials',
  }
  assert not list((tmp_path / 'interim').iterdir())
  assert directory.is_relative_to(tmp_path)


def damage(root):
  """Damages four of the six trials, each in another way; returns the codes."""
  rows = ratings_of(root)
  row_of = {
    (int(r['Participant_id']), int(r['Trial'])): int(r['Experiment_id']) - 1
    for r in rows
  }
  dat = raw_dat(root, 1)
  data, labels = dat['data'].copy(), dat['labels']
  data[row_of[1, 1], 36, 384:] = -5.0  # no resistance
  data[row_of[1, 1], 38] = 0.25  # flat
  data[row_of[1, 2], [36, 38]] = np.nan
  rewrite_dat(root, 1, data, labels)
  videos = root / 'face_video'
  (videos / 's02' / 's02_trial01.avi').unlink()
  path = videos / 's02' / 's02_trial02.avi'
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  return {
    's01_trial01': 'bad_signal',
    's01_trial02': 'bad_signal',
    's02_trial01': 'missing_video',
    's02_trial02': 'broken_video',
  }


def test_losses_are_named_and_allowed_only_on_demand(corpus, tmp_path):
  lost = damage(corpus)
  data = tmp_path / 'data'
  with pytest.raises(InputError) as error:
    prepare('deap', corpus, data, allow_dropped=['missing_video'], **FIELDS)
  told = str(error.value)
  assert '6 trials in, 2 out; 4 dropped' in told and '\n' not in told
  assert '--config.data.allow_dropped=bad_signal,broken_video,missing_video' in told
  for name in (
    's02_trial02.avi',
    's01.dat',
    'account.csv',
    'ppg: flat (always 0.25)',
    'eda: 100% of its samples are no measurement; ppg: 100% of',
  ):
    assert name in told
  assert not list(data.rglob('dataset_info.json'))

  fields = FIELDS | {'allow_dropped': ['missing_video', 'broken_video', 'bad_signal']}
  directory = prepare('deap', corpus, data, **fields)
  account = read_account(directory / 'account.csv')
  assert len(account) == 6
  assert {r['trial_id']: r['outcome'] for r in account if r['outcome'] != 'ok'} == lost
  for row in account:
    if row['outcome'] != 'ok':
      assert {row[name] for name in QUALITY} == {''}
      continue
    # The twin's faces are 38 to 45 % of the height of its pictures wide.
    assert float(row['face_share']) == 1 and 0 < float(row['face_jitter']) < 0.1
    assert 0.3 < float(row['face_pixels']) / SPEC.height < 0.6
    assert [row[name] for name in ('face_gaps', 'longest_gap', 'broken_packets')] == [
      '0',
      '0.0',
      '0',
    ]
  builder = tfds.builder_from_directory(directory)
  trials = list(builder.as_data_source('trials'))
  assert [text(t['trial_id']) for t in trials] == ['s01_trial03', 's02_trial03']
  assert [t['streams']['video']['first_chunk'] for t in trials] == [0, 8]
  # What was allowed once is not allowed for ever.
  with pytest.raises(InputError, match='4 dropped'):
    prepare('deap', corpus, data, **FIELDS)


def test_what_cannot_be_used_is_masked_and_told(corpus, tmp_path):
  row = {
    int(r['Trial']): int(r['Experiment_id']) - 1
    for r in ratings_of(corpus)
    if r['Participant_id'] == '1'
  }
  dat = raw_dat(corpus, 1)
  data = dat['data'].copy()
  data[row[1], 38] = 7.0
  data[row[2], 36, 384 + 1000 : 384 + 1100] = np.nan  # 0.8 s: bridged
  data[row[2], 38, 384 + 2000 : 384 + 2600] = np.nan  # 4.7 s
  data[row[2], 38, 384 + 3000 : 384 + 3400] = 1.0  # held for 3.1 s
  rewrite_dat(corpus, 1, data, dat['labels'])
  directory = prepare(
    'deap', corpus, tmp_path / 'data', streams=('signals',), workers=1
  )
  trials = tfds.builder_from_directory(directory).as_data_source('trials')
  first, second, third = (trials[i] for i in range(3))
  assert first['streams']['signals']['valid'].all(axis=0).tolist() == [True, False]
  assert (
    not first['streams']['signals']['valid'][:, 1].any()
    and not first['streams']['signals']['values'][:, 1].any()
  )
  assert second['streams']['signals']['valid'][:, 0].all()
  expected = np.ones(7680, bool)
  expected[2000:2600] = expected[3000:3400] = False
  np.testing.assert_array_equal(second['streams']['signals']['valid'][:, 1], expected)
  assert not second['streams']['signals']['values'][~expected, 1].any()
  metadata = tfds.builder_from_directory(directory).info.metadata
  assert metadata['clean'] is True
  flat, missing = map(metadata['quality_measures'].index, ('flat', 'missing'))
  assert first['signal_quality'].shape == (2, len(metadata['quality_measures']))
  assert first['signal_quality'][1, flat] == 1
  assert second['signal_quality'][1, missing] == pytest.approx(600 / 7680)
  account = {r['trial_id']: r for r in read_account(directory / 'account.csv')}
  assert account['s01_trial01']['ppg_flags'] == (
    'flat 100%; no_pulse 100%; masked: flat (always 7)'
  )
  assert account['s01_trial01']['ppg_valid'] == '0.0'
  assert account['s01_trial02']['eda_flags'] == 'good'
  assert float(account['s01_trial02']['ppg_valid']) == pytest.approx(
    expected.mean(), abs=1e-4
  )
  assert account['s01_trial03']['ppg_flags'] == 'good'
  assert [account['s01_trial03'][name] for name in ('subject', 'trial')] == ['1', '3']
  # Cleaned: the slow wander is gone, the level of the conductance is kept.
  raw = raw_dat(corpus, 1)['data'][row[3]]
  assert (
    abs(third['streams']['signals']['values'][:, 1].mean())
    < 0.02 * third['streams']['signals']['values'][:, 1].std()
  )
  np.testing.assert_allclose(
    third['streams']['signals']['values'][:, 0].mean(),
    (1e6 / raw[36, 384:]).mean(),
    rtol=1e-3,
  )
  assert (
    np.diff(third['streams']['signals']['values'][:, 0]).std()
    < np.diff(1e6 / raw[36, 384:]).std() / 2
  )


def test_a_rerun_after_a_repair_does_only_what_is_missing(
  corpus, twin, tmp_path, monkeypatch
):
  from mvp_jax.corpora.deap import trials as deap_trials

  done = []
  whole = deap_trials.face_frames
  monkeypatch.setattr(
    deap_trials,
    'face_frames',
    lambda path, *rest: (done.append(path.stem), whole(path, *rest))[1],
  )
  broken = corpus / 'face_video' / 's02' / 's02_trial02.avi'
  broken.write_bytes(broken.read_bytes()[:2000])
  with pytest.raises(InputError, match=r'1 dropped: s02_trial02 broken_video'):
    prepare('deap', corpus, tmp_path / 'data', **FIELDS)
  assert len(done) == 6
  done.clear()
  shutil.copy(twin / 'face_video' / 's02' / 's02_trial02.avi', broken)
  directory = prepare('deap', corpus, tmp_path / 'data', **FIELDS)
  assert done == ['s02_trial02']
  assert len(tfds.builder_from_directory(directory).as_data_source('trials')) == 6


def test_video_of_another_length(twin, corpus, tmp_path):
  short = tmp_path / 'short'
  write_deap_twin(
    short,
    TwinSpec(
      subjects=1, trials=1, frame_rate=2.0, width=128, height=104, video_seconds=40.0
    ),
    workers=1,
  )
  shutil.copy(
    short / 'face_video' / 's01' / 's01_trial01.avi',
    corpus / 'face_video' / 's02' / 's02_trial03.avi',
  )
  with pytest.raises(InputError, match='s02_trial03 length_mismatch .*40.0 s of video'):
    prepare('deap', corpus, tmp_path / 'data', **FIELDS)


def test_missing_and_truncated_dat(corpus, tmp_path):
  folder = corpus / 'data_preprocessed_python'
  (folder / 's01.dat').unlink()
  path = folder / 's02.dat'
  path.write_bytes(path.read_bytes()[:-1000])
  with pytest.raises(InputError) as error:
    prepare('deap', corpus, tmp_path / 'data', **FIELDS)
  told = str(error.value)
  assert '6 trials in, 0 out' in told and 'nothing is left' in told
  assert 's01_trial01 missing_signals' in told and 's02_trial01 broken_signals' in told


class Attack:
  def __reduce__(self):
    return os.system, ('touch victim',)


def test_a_dat_that_runs_code_stops_everything(corpus, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  rewrite_dat(corpus, 2, Attack(), 0)
  with pytest.raises(InputError, match=r's02\.dat.*attack'):
    prepare(
      'deap', corpus, tmp_path / 'data', **FIELDS, allow_dropped=['broken_signals']
    )
  assert not (tmp_path / 'victim').exists()


@pytest.mark.parametrize(
  'field, told',
  [
    ({'crop': 'Z'}, 'crop: one of X, Y'),
    ({'channels': ('ecg',)}, 'channels'),
    ({'channels': ()}, 'channels'),
    ({'clean': 'no'}, 'clean'),
    ({'frame_rate': 0}, 'frame_rate'),
    ({'frame_size': 1.5}, 'frame_size'),
    ({'allow_dropped': ('all',)}, 'allow_dropped'),
    ({'frame_hz': 5}, 'no field frame_hz'),
  ],
)
def test_wrong_fields(twin, tmp_path, field, told):
  with pytest.raises(InputError, match=told):
    prepare('deap', twin, tmp_path, **field)


def test_configs_are_told_apart_by_name():
  configure = load_builder('deap').configure
  variants = [
    {},
    {'crop': 'Y'},
    {'frame_rate': 12.5},
    {'frame_size': 64},
    {'channels': ('ppg', 'eda')},
    {'streams': ('signals',)},
    {'clean': False},
    {'streams': ('signals', 'video', 'action_units')},
    {'streams': ('signals', 'action_units')},
  ]
  assert len({configure(**fields).name for fields in variants}) == len(variants)
  assert configure(workers=3, allow_dropped=('no_face',)).name == configure().name


def test_action_units_without_any_video(twin, corpus, tmp_path):
  shutil.rmtree(corpus / 'face_video')
  directory = prepare(
    'deap', corpus, tmp_path / 'data', streams=('signals', 'action_units'), workers=1
  )
  trials = tfds.builder_from_directory(directory).as_data_source('trials')
  assert len(trials) == 6
  for trial in trials:
    told = read_openface(twin / 'openface' / f'{text(trial["trial_id"])}.csv')
    np.testing.assert_allclose(
      trial['streams']['action_units']['times'], np.arange(120) / 2, atol=1e-3
    )
    np.testing.assert_array_equal(
      trial['streams']['action_units']['values'][:, :17], told.intensities
    )
    np.testing.assert_array_equal(
      trial['streams']['action_units']['values'][:, 17:], told.presences
    )
    valid = trial['streams']['action_units']['valid']
    np.testing.assert_array_equal(valid, np.repeat(told.valid[:, None], 35, 1))
    assert set(trial['streams']) == {'signals', 'action_units'}
    assert trial['streams']['signals']['values'].shape == (7680, 2)
  units = PreparedCorpus(directory).trials[3].streams['action_units']
  np.testing.assert_array_equal(
    units.values, trials[3]['streams']['action_units']['values']
  )
  assert units.values.shape == (120, 35) and len(units.times) == 120
  row = read_account(directory / 'account.csv')[0]
  assert row['au_frames'] == '120' and 60 < int(row['au_valid']) <= 120
  # Without them nothing of it is stored, and subjects without video are there.
  plain = prepare('deap', corpus, tmp_path / 'data', streams=('signals',), workers=1)
  assert 'action_units' not in PreparedCorpus(plain).metadata['streams']
  assert 'action_units' not in PreparedCorpus(plain).trials[0].streams


def test_action_units_that_cannot_be_used_are_named(corpus, tmp_path):
  elsewhere = tmp_path / 'csvs' / 'deep'
  shutil.move(corpus / 'openface', elsewhere)
  fields = dict(streams=('signals', 'action_units'), workers=1)
  with pytest.raises(InputError, match=r'openface: there is no such folder; .*docs/'):
    prepare('deap', corpus, tmp_path / 'data', **fields)
  fields['openface_dir'] = str(elsewhere.parent)
  (elsewhere / 's01_trial02.csv').unlink()
  (elsewhere / 's02_trial01.csv').write_text('frame, AU01\n1, 0.5\n')
  lines = (elsewhere / 's02_trial03.csv').read_text().splitlines()
  (elsewhere / 's02_trial03.csv').write_text('\n'.join(lines[:60]))  # was stopped
  with pytest.raises(InputError) as error:
    prepare('deap', corpus, tmp_path / 'data', **fields)
  told = str(error.value)
  assert '6 trials in, 3 out; 3 dropped' in told and '\n' not in told
  lost = {
    's01_trial02': 'missing_openface',
    's02_trial01': 'broken_openface',
    's02_trial03': 'length_mismatch',
  }
  for name, code in lost.items():
    assert f'{name} {code} (' in told
  assert 'of OpenFace 3, Py-Feat' in told
  directory = prepare(
    'deap', corpus, tmp_path / 'data', **fields, allow_dropped=sorted(lost.values())
  )
  rows = read_account(directory / 'account.csv')
  assert {r['trial_id']: r['outcome'] for r in rows if r['outcome'] != 'ok'} == lost
  assert len(PreparedCorpus(directory).trials) == 3
