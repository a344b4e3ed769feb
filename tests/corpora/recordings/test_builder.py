import csv
import shutil
import types

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from mvp_jax.corpora import find
from mvp_jax.corpora.recordings.twin import write_recordings_twin
from mvp_jax.data.examples import InputConfig, TrialExamples
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.models.modalities import Encoding
from mvp_jax.models.modalities.action_units import ActionUnits
from mvp_jax.models.modalities.physio import Physio
from mvp_jax.models.modalities.video import Video
from mvp_jax.preparation import load_builder, prepare
from mvp_jax.preparation.account import read_account
from mvp_jax.preparation.builder import CorpusBuilder
from mvp_jax.raw.openface import read_openface
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.targets import Binary
from mvp_jax.tasks.blobs import Blobs

SPEC = TwinSpec(
  subjects=2,
  trials=2,
  frame_rate=4.0,
  width=96,
  height=96,
  pixel_aspect=(1, 1),
  video_seconds=8.0,
)
FIELDS = dict(frame_rate=4.0, frame_size=32, workers=1, clean=False)


@pytest.fixture(scope='module')
def twin(tmp_path_factory):
  root = tmp_path_factory.mktemp('twin')
  write_recordings_twin(root, SPEC, workers=1)
  return root


@pytest.fixture(scope='module')
def prepared(twin, tmp_path_factory):
  return prepare('recordings', twin, tmp_path_factory.mktemp('data'), **FIELDS)


@pytest.fixture
def folder(twin, tmp_path):
  """A copy of the recordings to be changed."""
  return shutil.copytree(twin, tmp_path / 'own')


def rows_of(folder):
  with (folder / 'manifest.csv').open(newline='') as file:
    return list(csv.DictReader(file))


def rewrite(folder, rows):
  with (folder / 'manifest.csv').open('w', newline='') as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)


def text(value):
  return value.decode() if isinstance(value, bytes) else value


def test_every_trial_has_its_own_signals_and_ratings(prepared, twin):
  trials = tfds.builder_from_directory(prepared).as_data_source('trials')
  rows = rows_of(twin)
  assert len(trials) == len(rows) == 4
  for trial, row in zip(trials, rows, strict=True):
    assert text(trial['subject_name']) == row['subject']
    assert text(trial['trial_id']) == f'{row["subject"]}_trial0{row["trial"]}'
    assert text(trial['stimulus_name']) == row['stimulus']
    for name in ('valence', 'arousal'):
      assert trial['ratings'][name] == pytest.approx(float(row[name]))
    assert np.isnan(trial['ratings']['liking'])
    recorded = np.loadtxt(twin / row['signals'], delimiter=',', skiprows=1)
    # 3 s at 128 Hz lie before the onset.
    np.testing.assert_allclose(
      trial['streams']['signals']['values'], recorded[384:], rtol=1e-5
    )
    assert (
      trial['streams']['signals']['values'].shape == (8 * 128, 2)
      and trial['streams']['signals']['valid'].all()
    )


def test_frames_are_of_the_trial(prepared, twin):
  corpus = PreparedCorpus(prepared)
  assert [t.subject % 1000 for t in corpus.trials] == [1, 1, 2, 2]
  for trial, row in zip(corpus.trials, rows_of(twin), strict=True):
    np.testing.assert_allclose(
      trial.streams['video'].times, np.arange(32) / 4, atol=1e-4
    )
    assert trial.streams['video'].valid.mean() > 0.9
    reader = cv2.VideoCapture(str(twin / row['video']))
    images = [reader.read()[1][:, :, ::-1] for _ in range(32)]
    crops = corpus.frames(trial, [0, 31])
    for number, crop in zip((0, 31), crops, strict=True):
      assert abs(crop[8:24, 8:24].mean() - images[number][30:66, 30:66].mean()) < 30


def test_faces_of_a_film_stay_on_disk(twin, tmp_path):
  """Until they are written a few at a time; what is written is let go."""
  corpus = find('recordings')
  wanted = corpus.want(**{k: x for k, x in FIELDS.items() if k != 'workers'})
  source = corpus.open(twin, wanted)
  outcome = source.prepare(tmp_path, 1)[0]
  jpegs = source.frames(outcome, 'video')['jpegs']
  assert isinstance(jpegs, Blobs) and outcome.facts['bytes'] == jpegs.size
  builder = types.SimpleNamespace(_spec={'trial_id': str, 'chunk': np.int32})
  rows, alive = [], []
  for _, row in CorpusBuilder._frames(builder, source, 'video', [(outcome, 0, 2)]):
    assert row['frames'] == list(jpegs)[16 * len(rows) : 16 * len(rows) + 16]
    rows.append(row)
    alive.append(sum(map(bool, rows)))
  assert alive == [1, 1] and not any(rows)


def test_all_faces_are_told_apart_if_asked_for(twin, tmp_path):
  found = prepare(
    'recordings', twin, tmp_path, streams=('video', 'signals', 'people'), **FIELDS
  )
  corpus = PreparedCorpus(found)
  assert tuple(corpus.metadata['streams']['people']['channels']) == (
    *('person', 'x', 'y', 'side'),
  )
  for trial in corpus.trials:
    looks, (boxes, aspect) = trial.streams['people'], corpus.boxes(trial)
    assert looks.valid.all() and (looks.values[:, 0] == 0).all()
    np.testing.assert_allclose(np.diff(looks.times), 0.5, atol=0.01)
    near = np.searchsorted(trial.streams['video'].times, looks.times - 1e-3)
    x, y, side = boxes[near].T
    off = np.abs(looks.values[:, 1:3] - np.stack([x * aspect, y], 1))
    assert np.median(off) < 0.05 * np.median(side)


def test_facts_of_the_data_set(prepared):
  metadata = tfds.builder_from_directory(prepared).info.metadata
  assert metadata['streams']['signals']['channels'] == ['eda', 'ppg']
  assert metadata['streams']['signals']['units'] == ['microsiemens', 'as recorded']
  assert {name: n % 1000 for name, n in metadata['subjects'].items()} == {
    'P01': 1,
    'P02': 2,
  }
  assert set(metadata['stimuli']) == {'clip01', 'clip02'}
  assert metadata['synthetic'] is True and metadata['ratings']['valence'] == [1, 9]
  assert metadata['streams']['signals']['rate'] == 128
  assert set(metadata['ceiling']) == {'valence', 'arousal'}
  assert metadata['fingerprint'] in prepared.parts


def test_recordings_are_not_taken_for_made_up(folder, tmp_path):
  (folder / 'SYNTHETIC.json').unlink()
  corpus = PreparedCorpus(
    prepare('recordings', folder, tmp_path / 'data', streams=('signals',), workers=1)
  )
  assert corpus.metadata['synthetic'] is False and corpus.metadata['ceiling'] is None
  with pytest.raises(InputError, match='may be real'):
    write_recordings_twin(folder, SPEC, workers=1)


def test_a_twin_stays_what_it_is(twin):
  before = {p: p.stat().st_mtime_ns for p in twin.rglob('*')}
  write_recordings_twin(twin, SPEC, workers=1)
  assert before == {p: p.stat().st_mtime_ns for p in twin.rglob('*')}
  with pytest.raises(InputError, match='another spec'):
    write_recordings_twin(twin, TwinSpec(subjects=3), workers=1)


def test_a_twin_goes_on_where_it_stopped(folder, twin):
  (folder / 'manifest.csv').unlink()
  (folder / 'P02' / 'trial01.csv').unlink()
  kept = (folder / 'P01' / 'trial01.avi').stat().st_mtime_ns
  write_recordings_twin(folder, SPEC, workers=1)
  assert (folder / 'P01' / 'trial01.avi').stat().st_mtime_ns == kept
  for name in ('manifest.csv', 'P02/trial01.csv'):
    assert (folder / name).read_bytes() == (twin / name).read_bytes()


def _examples(corpus, *modalities):
  kinds = {'physio': Physio, 'video': Video, 'action_units': ActionUnits}
  return TrialExamples(
    corpus,
    corpus.trials,
    InputConfig(max_seconds=8.0),
    {name: kinds[name]() for name in modalities},
    Binary(),
    Encoding(None),
  )


def test_signals_alone(folder, tmp_path):
  rows = [{k: v for k, v in row.items() if k != 'video'} for row in rows_of(folder)]
  rewrite(folder, rows)
  with pytest.raises(InputError, match='no row names a video; .*models=physio'):
    prepare('recordings', folder, tmp_path / 'data', **FIELDS)
  directory = prepare(
    'recordings',
    folder,
    tmp_path / 'data',
    streams=('signals',),
    workers=1,
    channels=('ppg',),
    signal_rate=32.0,
  )
  corpus = PreparedCorpus(directory)
  assert not corpus.has('video')
  assert corpus.metadata['streams']['signals']['channels'] == ['ppg']
  assert [t.streams['signals'].values.shape for t in corpus.trials] == [(8 * 32, 1)] * 4
  example = _examples(corpus, 'physio')[0]['physio/values']
  assert example.shape == ((2 + 8) * 32, 1)  # 2 s of baseline


def test_video_alone(folder, tmp_path):
  rows = [
    {k: v for k, v in row.items() if k not in ('signals', 'eda', 'ppg')}
    for row in rows_of(folder)
  ]
  for row in rows:
    row['eda_unit'] = ''
  rewrite(folder, rows)
  corpus = PreparedCorpus(prepare('recordings', folder, tmp_path / 'data', **FIELDS))
  assert corpus.metadata['streams']['signals']['channels'] == []
  assert corpus.has('video')
  assert [len(t.streams['video'].times) for t in corpus.trials] == [32] * 4
  assert not any('signals' in t.streams for t in corpus.trials)
  assert 'video/frames' in _examples(corpus, 'video')[0]
  with pytest.raises(InputError, match='no trial has signals'):
    _examples(corpus, 'physio')


def test_what_a_video_shows_before_the_onset_is_stored(folder, tmp_path):
  rows = rows_of(folder)
  for row, onset in zip(rows, (0, 1.5, 3, 3), strict=True):
    row['video_onset'], row['signals_onset'] = onset, 3 + onset
  rewrite(folder, rows)
  corpus = PreparedCorpus(prepare('recordings', folder, tmp_path / 'data', **FIELDS))
  assert corpus.metadata['streams']['video']['before'] == 2  # as of signals
  for trial, early, count in zip(
    corpus.trials, (0, 6, 8, 8), (32, 26, 20, 20), strict=True
  ):
    video = trial.streams['video']
    np.testing.assert_allclose(video.times, np.arange(count) / 4, atol=1e-4)
    assert (video.before is not None) == bool(early) == video.covers(2)
    if early:
      times = np.arange(-early, 0) / 4
      np.testing.assert_allclose(video.before.times, times, atol=1e-4)
  trial = corpus.trials[2]
  video = cv2.VideoCapture(str(folder / rows[2]['video']))
  images = [video.read()[1][:, :, ::-1] for _ in range(13)]
  for number, crop in zip((-8, 0), corpus.frames(trial, [-8, 0]), strict=True):
    image = images[12 + number]
    assert abs(crop[8:24, 8:24].mean() - image[30:66, 30:66].mean()) < 30
  without = PreparedCorpus(
    prepare('recordings', folder, tmp_path / 'data', baseline_seconds=0.0, **FIELDS)
  )
  assert all(trial.streams['video'].before is None for trial in without.trials)


def test_losses_are_named_and_allowed_only_on_demand(folder, tmp_path):
  rows = rows_of(folder)
  (folder / rows[1]['video']).unlink()
  rows[2]['arousal'] = ''
  rewrite(folder, rows)
  with pytest.raises(InputError) as error:
    prepare('recordings', folder, tmp_path / 'data', **FIELDS)
  told = str(error.value)
  assert '4 trials in, 2 out; 2 dropped' in told and '\n' not in told
  assert 'P01_trial02 missing_video (row 3, column video: ' in told
  assert 'P02_trial01 missing_rating (row 4, column arousal: blank' in told
  directory = prepare(
    'recordings',
    folder,
    tmp_path / 'data',
    **FIELDS,
    allow_dropped=('missing_video', 'missing_rating'),
  )
  account = read_account(directory / 'account.csv')
  assert [(r['row'], r['outcome']) for r in account] == [
    ('2', 'ok'),
    ('3', 'missing_video'),
    ('4', 'missing_rating'),
    ('5', 'ok'),
  ]
  assert [t.trial_id for t in PreparedCorpus(directory).trials] == [
    'P01_trial01',
    'P02_trial02',
  ]


def test_a_blank_rating_that_nobody_trains_on_costs_nothing(folder, tmp_path):
  fields = dict(streams=('signals',), workers=1)
  data = tmp_path / 'data'
  whole = prepare('recordings', folder, data, **fields)
  assert prepare('recordings', folder, data, **fields, ratings=('valence',)) == whole
  rows = rows_of(folder)
  rows[2]['arousal'] = ''
  rewrite(folder, rows)
  for ratings in ((), ('valence',)):
    directory = prepare('recordings', folder, data, **fields, ratings=ratings)
    trials = PreparedCorpus(directory).trials
    assert len(trials) == 4 and np.isnan(trials[2].ratings['arousal'])
  with pytest.raises(InputError, match='1 dropped: P02_trial01 missing_rating'):
    prepare('recordings', folder, data, **fields)


def test_the_account_tells_of_faces_and_of_each_channel(folder, tmp_path):
  rows = rows_of(folder)
  path = folder / rows[1]['signals']
  recorded = np.loadtxt(path, delimiter=',', skiprows=1)
  recorded[:, 1] = 3.25
  np.savetxt(path, recorded, '%.5f', ',', comments='', header='EDA,PPG')
  directory = prepare(
    'recordings', folder, tmp_path / 'data', **FIELDS | {'clean': True}
  )
  account = read_account(directory / 'account.csv')
  for row in account:
    assert 0.9 < float(row['face_share']) <= 1 and float(row['face_jitter']) < 0.1
    assert 0.2 < float(row['face_pixels']) / SPEC.height < 0.7
    assert (row['broken_packets'], row['eda_flags']) == ('0', 'good')
  assert [row['ppg_valid'] for row in account] == ['1.0', '0.0', '1.0', '1.0']
  assert account[1]['ppg_flags'].endswith('masked: flat (always 3.25)')
  first, second = PreparedCorpus(directory).trials[:2]
  assert second.streams['signals'].valid.all(0).tolist() == [True, False]
  assert not second.streams['signals'].values[:, 1].any()
  # Cleaned with what lies around the trial: no step at its ends.
  raw = np.loadtxt(folder / rows[0]['signals'], delimiter=',', skiprows=1)[384:, 1]
  cleaned = first.streams['signals'].values[:, 1]
  assert abs(cleaned.mean()) < 0.1 * raw.std()
  assert np.corrcoef(cleaned, raw)[0, 1] > 0.9


def test_rows_that_cannot_be_read_stop_everything(folder, tmp_path):
  rows = rows_of(folder)
  rows[1]['rate'] = rows[3]['rate'] = 'fast'
  rewrite(folder, rows)
  with pytest.raises(
    InputError,
    match="row 3, column rate: 'fast' .*and 1 more; "
    r'python -m mvp_jax.corpora.recordings.check',
  ) as error:
    prepare('recordings', folder, tmp_path / 'data', **FIELDS)
  assert '\n' not in str(error.value) and not (tmp_path / 'data').exists()


def test_tfds_own_api(twin, tmp_path):
  builder = load_builder('recordings')(
    config='signals', data_dir=tmp_path, file_format='array_record'
  )
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=twin)
  )
  assert len(builder.as_data_source('trials')) == 4


@pytest.mark.parametrize(
  'field, told',
  [
    ({'crop': 'Z'}, 'crop: one of X, Y'),
    ({'channels': ('gsr',)}, 'channels: some of'),
    ({'channels': ('eda', 'eda')}, 'each once'),
    ({'signal_rate': 0}, 'signal_rate'),
    ({'channels': ('ecg',)}, 'no row names a column for ecg .there are eda, ppg'),
  ],
)
def test_wrong_fields(twin, tmp_path, field, told):
  with pytest.raises(InputError, match=told):
    prepare('recordings', twin, tmp_path, **field)


def test_configs_are_told_apart_by_name():
  configure = load_builder('recordings').configure
  variants = [
    {},
    {'crop': 'Y'},
    {'frame_rate': 12.5},
    {'frame_size': 64},
    {'channels': ('ppg', 'eda')},
    {'channels': ('none',)},
    {'streams': ('signals',)},
    {'signal_rate': 64.0},
    {'clean': False},
    {'streams': ('signals', 'video', 'action_units')},
  ]
  assert len({configure(**fields).name for fields in variants}) == len(variants)
  assert configure(workers=3, allow_dropped=('no_face',)).name == configure().name


def test_action_units_instead_of_video(folder, twin, tmp_path):
  rows = [{k: v for k, v in row.items() if k != 'video'} for row in rows_of(folder)]
  rewrite(folder, rows)
  fields = dict(streams=('signals', 'action_units'), workers=1)
  corpus = PreparedCorpus(prepare('recordings', folder, tmp_path / 'data', **fields))
  for trial, row in zip(corpus.trials, rows, strict=True):
    told = read_openface(twin / row['openface'])
    units = trial.streams['action_units']
    assert units.values.shape == (32, 35)
    np.testing.assert_array_equal(
      units.values, np.hstack([told.intensities, told.presences])
    )
    np.testing.assert_allclose(units.times, np.arange(32) / 4, atol=1e-3)
  example = _examples(corpus, 'action_units', 'physio')[0]
  assert example['action_units/units'].shape[1] == 35 and 'physio/values' in example
  rows[0]['openface'] = ''
  lines = (folder / rows[3]['openface']).read_text().splitlines()
  (folder / rows[3]['openface']).write_text('\n'.join(lines[:20]))
  rewrite(folder, rows)
  with pytest.raises(
    InputError,
    match='2 dropped: P01_trial01 missing_openface .row 2, '
    'column openface: blank, .*P02_trial02 length_mismatch',
  ):
    prepare('recordings', folder, tmp_path / 'data', **fields)
  # Where they are not asked for, a row need not name any.
  fields['streams'] = ('signals',)
  found = PreparedCorpus(prepare('recordings', folder, tmp_path / 'data', **fields))
  assert 'action_units' not in found.trials[0].streams
  assert 'action_units' in found.trials[1].streams
  rewrite(folder, [{k: v for k, v in row.items() if k != 'openface'} for row in rows])
  with pytest.raises(InputError, match='no row names a CSV of OpenFace'):
    prepare(
      'recordings',
      folder,
      tmp_path / 'data',
      **fields | {'streams': ('signals', 'action_units')},
    )
