"""AMIGOS from its official layout to prepared trials, and all that may be wrong."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from scipy.io import loadmat, savemat

from mvp_jax.corpora.amigos import tree as amigos
from mvp_jax.corpora.amigos.twin import write_amigos_twin
from mvp_jax.corpora.amigos.twin_spec import AmigosSpec
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.preparation import load_builder, prepare
from mvp_jax.preparation.account import ACCOUNT, read_account
from mvp_jax.raw.openface import read_openface

SPEC = AmigosSpec(
  subjects=4,
  stimuli=('58', '4', 'U1'),
  frame_rate=2.0,
  width=128,
  height=104,
  scale=0.1,
)
FIELDS = dict(frame_rate=2.0, frame_size=32, workers=1, clean=False)
SECONDS = {'58': 5.1015625, '4': 9.6015625, 'U1': 84.6015625}


@pytest.fixture(scope='module')
def twin(tmp_path_factory):
  root = tmp_path_factory.mktemp('twin')
  write_amigos_twin(root, SPEC, workers=1)
  return root


@pytest.fixture(scope='module')
def short(twin, tmp_path_factory):
  return prepare('amigos', twin, tmp_path_factory.mktemp('data'), **FIELDS)


@pytest.fixture(scope='module')
def long(twin, tmp_path_factory):
  return prepare(
    'amigos',
    twin,
    tmp_path_factory.mktemp('data'),
    experiment='long',
    annotation=('self', 'external'),
    **FIELDS,
  )


@pytest.fixture
def corpus(twin, tmp_path):
  """A copy of the twin to be damaged; times of change are kept."""
  return Path(shutil.copytree(twin, tmp_path / 'corpus'))


def mat_path(root, subject):
  name = f'Data_Preprocessed_P{subject:02d}'
  return root / name / f'{name}.mat'


def mat(root, subject):
  """{VideoID: (joined_data, self-assessment, external)} by SciPy."""
  content = loadmat(mat_path(root, subject))
  return {
    str(name[0]): (
      content['joined_data'][0, i],
      content['labels_selfassessment'][0, i],
      content['labels_ext_annotation'][0, i],
    )
    for i, name in enumerate(content['VideoIDs'][0])
  }


def change(root, subject, video_id, key, value):
  """Sets one cell of a subject's file."""
  path = mat_path(root, subject)
  content = {k: v for k, v in loadmat(path).items() if k[0] != '_'}
  place = [str(name[0]) for name in content['VideoIDs'][0]].index(video_id)
  content[key][0, place] = value
  savemat(path, content)


def trials_of(directory):
  found = {}
  for trial in tfds.builder_from_directory(directory).as_data_source('trials'):
    found[text(trial['trial_id'])] = trial
  return found


def text(value):
  return value.decode() if isinstance(value, bytes) else value


def prepare_signals(root, data, **fields):
  return prepare(
    'amigos',
    root,
    data,
    **{'streams': ('signals',), 'workers': 1, 'clean': False} | fields,
  )


@pytest.mark.parametrize('name', ['short', 'long'])
def test_every_trial_has_its_own_ratings_and_signals(name, request, twin):
  trials = trials_of(request.getfixturevalue(name))
  ids = ('4', '58') if name == 'short' else ('U1',)  # in the order of the stimuli
  assert list(trials) == [f'P0{s}_{v}' for s in (1, 2, 3, 4) for v in ids]
  for trial in trials.values():
    video_id = text(trial['video_id'])
    data, told, seen = mat(twin, int(trial['subject']))[video_id]
    ratings, segments = trial['ratings'], trial['segments']
    # Arousal first in the self-assessment, valence first in what others saw.
    np.testing.assert_allclose(
      [
        ratings[key]
        for key in (
          'arousal',
          'valence',
          'dominance',
          'liking',
          'familiarity',
          'neutral',
          'disgust',
          'happiness',
          'surprise',
          'anger',
          'fear',
          'sadness',
        )
      ],
      told[0],
      rtol=1e-6,
    )
    np.testing.assert_allclose(
      [ratings['external_valence'], ratings['external_arousal']],
      seen[:, 1:].mean(0),
      rtol=1e-5,
    )
    np.testing.assert_allclose(segments['ratings'], seen[:, 1:], rtol=1e-6)
    assert segments['times'][0].tolist() == [-5, 15]
    np.testing.assert_allclose(
      segments['times'][-1], [SECONDS[video_id] - 20, SECONDS[video_id]], rtol=1e-6
    )
    samples = round(128 * SECONDS[video_id])
    assert (
      trial['streams']['signals']['values'].shape
      == trial['streams']['signals']['valid'].shape
      == (samples, 2)
    )
    assert trial['streams']['signals']['before'].shape == (640, 2)
    np.testing.assert_allclose(
      trial['streams']['signals']['values'][:, 1], data[640:, 14], rtol=1e-5
    )
    np.testing.assert_allclose(
      trial['streams']['signals']['before'][:, 1], data[:640, 14], rtol=1e-5
    )
    good = np.isfinite(data[:, 16])
    eda = np.concatenate(
      [
        trial['streams']['signals']['before'][:, 0],
        trial['streams']['signals']['values'][:, 0],
      ]
    )
    relative = np.nanmedian(1 / data[:, 16]) ** -1 / data[:, 16]
    np.testing.assert_allclose(eda[good], relative[good], rtol=1e-4)
    assert (
      trial['streams']['signals']['valid'].all() and np.isfinite(eda).all()
    )  # bridged


def test_segments_of_a_long_stimulus(long):
  times = trials_of(long)['P03_U1']['segments']['times']
  np.testing.assert_allclose(
    times,
    [(-5, 15), (0, 20), (20, 40), (40, 60), (60, 80), (64.6015625, 84.6015625)],
    rtol=1e-6,
  )


def shown(twin, trial, k):
  """The crop of stored frame k, by an independent decoder."""
  reader = cv2.VideoCapture(str(twin / text(trial['source']['video'])))
  images = []
  while (image := reader.read()[1]) is not None:
    images.append(image)
  image = images[k]  # all that comes before the onset is stored
  x, y, side = trial['streams']['video']['boxes'][k]
  quarter = image.shape[1] // trial['source']['seats']
  left = trial['source']['seat'] * quarter
  columns = slice(
    max(left, round(x - side / 2)), min(left + quarter, round(x + side / 2))
  )
  part = image[max(0, round(y - side / 2)) : round(y + side / 2), columns]
  return cv2.resize(part, (32, 32), interpolation=cv2.INTER_AREA)[:, :, ::-1]


def frame(directory, trial, k):
  chunks = tfds.builder_from_directory(directory).as_data_source('video')
  chunk = chunks[trial['streams']['video']['first_chunk'] + k // 16]
  return np.asarray(chunk['frames'][k % 16], float)


def test_time_zero_of_the_video_is_the_onset(short, twin):
  trials = trials_of(short)
  for name, seconds in (('P02_58', 5.1), ('P03_4', 9.6)):
    trial = trials[name]
    count = len(trial['streams']['video']['times'])
    assert trial['streams']['video']['before'] == 10  # 5 s at 2 Hz
    np.testing.assert_allclose(
      trial['streams']['video']['times'], np.arange(count) / 2 - 5, atol=1e-6
    )
    assert abs(count / 2 - 5 - seconds) <= 0.5
    for k in (0, 9, 10, count - 1):
      assert np.abs(frame(short, trial, k) - shown(twin, trial, k)).mean() < 14


def test_frames_before_the_onset_are_the_baseline(short, twin):
  corpus, stored = PreparedCorpus(short), trials_of(short)
  assert corpus.metadata['streams']['video']['before'] == 5
  for trial in corpus.trials:
    video = trial.streams['video']
    np.testing.assert_allclose(video.times, np.arange(len(video.times)) / 2, atol=1e-6)
    np.testing.assert_allclose(video.before.times, np.arange(-10, 0) / 2, atol=1e-6)
    assert video.covers(5) == (video.before.valid.sum() >= 5)
  trial = corpus.trials[0]
  own = stored[trial.trial_id]
  for number, image in zip(
    (-10, -1, 0), corpus.frames(trial, [-10, -1, 0]), strict=True
  ):
    assert np.abs(image - shown(twin, own, 10 + number).astype(float)).mean() < 14
  boxes, _ = corpus.boxes(trial)
  np.testing.assert_array_equal(boxes, own['streams']['video']['boxes'][10:])
  # The account tells of the trial.
  row = next(
    x for x in read_account(short / ACCOUNT) if x['trial_id'] == trial.trial_id
  )
  assert int(row['frames']) == len(trial.streams['video'].times)


def test_each_of_a_group_gets_the_face_of_its_seat(long, twin):
  trials = trials_of(long)
  seats = {}
  for name, trial in trials.items():
    assert text(trial['source']['video']).endswith('P(4,1,3,2)_U1_face.mov')
    assert (trial['source']['seats'], trial['streams']['video']['width']) == (
      4,
      4 * 104,
    )
    seats[name[:3]] = int(trial['source']['seat'])
    assert trial['streams']['video']['valid'].mean() > 0.9
    middle = trial['streams']['video']['boxes'][:, 0] / 104
    assert np.abs(middle - trial['source']['seat'] - 0.5).max() < 0.3
  assert seats == {'P04': 0, 'P01': 1, 'P03': 2, 'P02': 3}
  own = frame(long, trials['P01_U1'], 70)
  assert np.abs(own - shown(twin, trials['P01_U1'], 70)).mean() < 14
  for other in ('P02_U1', 'P03_U1', 'P04_U1'):
    assert np.abs(own - shown(twin, trials[other], 70)).mean() > 20


def test_facts_of_the_data_set(short, long):
  metadata = PreparedCorpus(short).metadata
  assert (
    metadata['settings']['experiment'],
    metadata['streams']['signals']['channels'],
  ) == ('short', ['eda', 'ecg'])
  assert 'relative conductance: 1 / GSR' in metadata['streams']['signals']['units'][0]
  assert metadata['synthetic'] is True and set(metadata['ceiling']) == {
    'valence',
    'arousal',
  }
  assert (
    metadata['streams']['signals']['rate'],
    metadata['streams']['video']['rate'],
  ) == (128, 2)
  assert metadata['settings']['exclude'] == [] and metadata['participants'] == {}
  assert PreparedCorpus(long).metadata['settings']['annotation'] == ['self', 'external']
  row = read_account(long / 'account.csv')[0]
  assert row['trial_id'] == 'P01_U1' and row['outcome'] == 'ok'
  assert float(row['seconds']) == pytest.approx(84.602) and row['unrated'] == ''


def test_flat_and_with_names_padded_the_other_way(corpus, short, tmp_path):
  for path in sorted(corpus.rglob('P[1-4]_*_face.mov')):
    subject, video_id = path.name[1:].split('_')[:2]
    path.rename(corpus / f'P0{subject}_{video_id.zfill(3)}_face.mov')
  for subject in (1, 2, 3, 4):
    mat_path(corpus, subject).rename(corpus / f'Data_Preprocessed_P{subject}.mat')
  found = trials_of(prepare('amigos', corpus, tmp_path / 'data', **FIELDS))
  expected = trials_of(short)
  assert list(found) == list(expected)
  for name, trial in expected.items():
    assert found[name]['ratings'] == trial['ratings']
    np.testing.assert_array_equal(
      found[name]['streams']['video']['boxes'], trial['streams']['video']['boxes']
    )


def test_exclusion_by_participant(twin, short, tmp_path):
  directory = prepare_signals(twin, tmp_path, exclude=(3, 1))
  assert {name[:3] for name in trials_of(directory)} == {'P02', 'P04'}
  assert PreparedCorpus(directory).metadata['settings']['exclude'] == [1, 3]
  assert len(read_account(directory / 'account.csv')) == 4


def test_nans_count_only_in_the_channels_in_use(corpus, tmp_path):
  data = mat(corpus, 2)['4'][0].copy()
  data[700:, 14] = np.nan
  change(corpus, 2, '4', 'joined_data', data)
  with pytest.raises(
    InputError,
    match=r'1 dropped: P02_4 bad_signal \(.*P02\.mat: '
    r'VideoID 4, ecg: .* no measurement',
  ):
    prepare_signals(corpus, tmp_path / 'data', channels=('ecg',))
  for channels in (('eda',), ('eda', 'ecg_left')):
    directory = prepare_signals(corpus, tmp_path / 'data', channels=channels)
    trial = trials_of(directory)['P02_4']
    assert trial['streams']['signals']['valid'].all()
  np.testing.assert_allclose(
    trial['streams']['signals']['values'][:, 1], data[640:, 15], rtol=1e-5
  )


def test_a_channel_that_cannot_be_used_is_masked_and_told(corpus, tmp_path):
  data = mat(corpus, 2)['4'][0].copy()
  data[700:, 14] = np.nan
  change(corpus, 2, '4', 'joined_data', data)
  directory = prepare_signals(corpus, tmp_path / 'data', clean=True)
  trials = trials_of(directory)
  assert trials['P02_4']['streams']['signals']['valid'].all(0).tolist() == [True, False]
  assert not trials['P02_4']['streams']['signals']['values'][:, 1].any()
  assert trials['P02_4']['signal_quality'][1, 0] > 0.9
  rows = {row['trial_id']: row for row in read_account(directory / 'account.csv')}
  assert re.fullmatch(
    r'missing 95%; no_pulse \d+%; masked: 95% of its samples are no '
    'measurement',
    rows['P02_4']['ecg_flags'],
  )
  assert rows['P02_4']['ecg_valid'] == '0.0' and rows['P02_4']['eda_valid'] == '1.0'
  # Cleaned: no hum of 50 Hz is left in the ECG, which the twin has.
  own, raw = (
    trials['P03_4']['streams']['signals']['values'][:, 1],
    mat(corpus, 3)['4'][0][640:, 14],
  )
  where = abs(np.fft.rfftfreq(len(own), 1 / 128) - 50) < 0.5
  power = [abs(np.fft.rfft(x * np.hanning(len(x))))[where].max() for x in (own, raw)]
  assert power[0] < 0.2 * power[1]


def test_missing_labels_are_lost_or_not_by_what_is_asked_for(corpus, tmp_path):
  change(corpus, 1, '58', 'labels_selfassessment', np.zeros((1, 0)))
  change(corpus, 4, '4', 'labels_ext_annotation', np.zeros((1, 0)))
  data = tmp_path / 'data'
  with pytest.raises(
    InputError, match='8 trials in, 7 out; 1 dropped: P01_58 missing_ra'
  ):
    prepare_signals(corpus, data)
  with pytest.raises(InputError, match='1 dropped: P04_4 missing_rating'):
    prepare_signals(corpus, data, annotation=['external'])
  with pytest.raises(InputError, match='6 out; 2 dropped: P01_58 missing_rating'):
    prepare_signals(corpus, data, annotation=('self', 'external'))
  directory = prepare_signals(corpus, data, allow_dropped=('missing_rating',))
  trial = trials_of(directory)['P04_4']
  assert np.isnan(trial['ratings']['external_valence'])
  assert len(trial['segments']['times']) == 0 and trial['ratings']['valence'] >= 1
  rows = {row['trial_id']: row for row in read_account(directory / 'account.csv')}
  assert len(rows) == 8 and rows['P01_58']['outcome'] == 'missing_rating'
  assert rows['P04_4']['unrated'] == 'external: missing_rating'


def test_losses_are_named_and_allowed_only_on_demand(corpus, tmp_path):
  content = mat_path(corpus, 1).read_bytes()
  mat_path(corpus, 1).write_bytes(content[: len(content) // 2])
  change(corpus, 2, '58', 'joined_data', np.zeros((1293, 16)))
  change(corpus, 3, '58', 'joined_data', np.zeros((0, 0)))
  next(corpus.rglob('P3_4_face.mov')).unlink()
  video = next(corpus.rglob('P4_4_face.mov'))
  video.write_bytes(video.read_bytes()[:3000])
  lost = {
    'P01_4': 'broken_signals',
    'P01_58': 'broken_signals',
    'P02_58': 'broken_signals',
    'P03_4': 'missing_video',
    'P03_58': 'missing_signals',
    'P04_4': 'broken_video',
  }
  with pytest.raises(InputError) as error:
    prepare('amigos', corpus, tmp_path / 'data', **FIELDS)
  told = str(error.value)
  assert '8 trials in, 2 out; 6 dropped' in told and '\n' not in told
  for words in (
    'joined_data (1293, 16), not (time, 17)',
    'no P3_4_face.mov',
    'P01.mat: cannot be read',
  ):
    assert words in told
  directory = prepare(
    'amigos',
    corpus,
    tmp_path / 'data',
    **FIELDS,
    allow_dropped=sorted(set(lost.values())),
  )
  rows = read_account(directory / 'account.csv')
  assert {r['trial_id']: r['outcome'] for r in rows if r['outcome'] != 'ok'} == lost
  assert list(trials_of(directory)) == ['P02_4', 'P04_58']


def test_people_are_described_where_tables_are_there(corpus, tmp_path):
  (corpus / 'Participants_Personality.csv').write_text('UserID,Openness\n2,5.5\n')
  metadata = PreparedCorpus(prepare_signals(corpus, tmp_path / 'data')).metadata
  assert metadata['participants'] == {'2': {'Openness': 5.5}}


def test_tfds_own_api(twin, tmp_path):
  builder = load_builder('amigos')(
    config='short_signals', data_dir=tmp_path, file_format='array_record'
  )
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=twin)
  )
  assert len(builder.as_data_source('trials')) == 8


@pytest.mark.parametrize(
  'field, told',
  [
    ({'experiment': 'medium'}, 'experiment: one of short, long'),
    ({'channels': ('ppg',)}, 'channels: some of eda, ecg, ecg_left'),
    ({'annotation': ()}, 'annotation: some of self, external'),
    ({'annotation': ('self', 'self')}, 'annotation'),
    ({'exclude': (41,)}, 'exclude'),
    ({'exclude': (1, 2, 3, 4)}, 'exclude: leaves none'),
    ({'crop': 'Z'}, 'crop'),
    ({'frame_rate': 0}, 'frame_rate'),
    ({'trials': 5}, 'no field trials'),
  ],
)
def test_wrong_fields(twin, tmp_path, field, told):
  with pytest.raises(InputError, match=told):
    prepare('amigos', twin, tmp_path, **field)


def test_configs_are_told_apart_by_name():
  configure = load_builder('amigos').configure
  variants = [
    {},
    {'experiment': 'long'},
    {'annotation': ('external',)},
    {'annotation': ('self', 'external')},
    {'exclude': (9, 12)},
    {'channels': ('ecg', 'eda')},
    {'streams': ('signals',)},
    {'frame_size': 64},
    {'clean': False},
    {'streams': ('signals', 'video', 'action_units')},
  ]
  assert len({configure(**fields).name for fields in variants}) == len(variants)
  assert configure(exclude=(9, 12)).name == configure(exclude=(12, 9)).name


def test_action_units_of_the_trial_alone(corpus, tmp_path):
  # What OpenFace draws has the name of the video: no second video of the trial.
  (corpus / 'openface' / 'P1_4_face.avi').touch()
  assert len(amigos.find_tree(corpus, 'short', video=True).videos) == 12
  trials = trials_of(
    prepare_signals(corpus, tmp_path / 'data', streams=('signals', 'action_units'))
  )
  assert list(trials) == [f'P0{s}_{v}' for s in (1, 2, 3, 4) for v in ('4', '58')]
  for name, trial in trials.items():
    subject, video_id = int(name[1:3]), name[4:]
    told = read_openface(corpus / 'openface' / f'P{subject}_{video_id}_face.csv')
    count = len(trial['streams']['action_units']['times'])
    assert abs(count - 2 * SECONDS[video_id]) <= 1
    # 5 s at 2 frames a second lie before the onset.
    np.testing.assert_allclose(
      trial['streams']['action_units']['times'], np.arange(count) / 2, atol=1e-3
    )
    np.testing.assert_allclose(
      trial['streams']['action_units']['before_times'],
      np.arange(-10, 0) / 2,
      atol=1e-3,
    )
    before = trial['streams']['action_units']['before'][:, :17]
    seen = trial['streams']['action_units']['before_valid'][:, :17]
    np.testing.assert_array_equal(before, np.where(seen, told.intensities[:10], 0))
    assert seen.mean() > 0.5
    np.testing.assert_array_equal(
      trial['streams']['action_units']['values'][:, :17],
      told.intensities[10 : 10 + count],
    )


def test_action_units_of_people_side_by_side(corpus, tmp_path):
  """The seat is told by the group's video; one's own CSV goes before that of all."""
  fields = dict(experiment='long', streams=('signals', 'action_units'))
  (group,) = (corpus / 'openface').glob('P(*_U1_face.csv')
  seats = [int(n) for n in group.name[2:].split(')')[0].split(',')]
  trials = trials_of(prepare_signals(corpus, tmp_path / 'data', **fields))
  assert {name[:3] for name in trials} == {f'P0{s}' for s in seats}
  for seat, subject in enumerate(seats):
    told = read_openface(group, between=(104 * seat, 104 * (seat + 1)))
    trial = trials[f'P0{subject}_U1']
    count = len(trial['streams']['action_units']['times'])
    assert abs(count - 2 * SECONDS['U1']) <= 1
    np.testing.assert_array_equal(
      trial['streams']['action_units']['values'][:, :17],
      told.intensities[10 : 10 + count],
    )
  own = group.with_name(f'P{seats[0]}_U1_face.csv')
  own.write_text((corpus / 'openface' / 'P1_4_face.csv').read_text())
  with pytest.raises(InputError, match=f'P0{seats[0]}_U1 length_mismatch'):
    prepare_signals(corpus, tmp_path / 'data', **fields)
  own.unlink()
  next(corpus.rglob('P(*_U1_face.mov')).unlink()
  with pytest.raises(
    InputError, match='4 dropped: P01_U1 missing_video .*the width of'
  ):
    prepare_signals(corpus, tmp_path / 'data', **fields)
