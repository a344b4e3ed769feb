"""RECOLA from its official layout to prepared trials, by its twin."""

import shutil

import av
import numpy as np
import pytest
from scipy.io import wavfile

from mvp_jax import corpora
from mvp_jax.data.splits import make_folds
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.preparation import prepare
from mvp_jax.preparation.account import read_account
from mvp_jax.targets import Concordance

SPEC = corpora.find('recola').twin.Spec(
  people=5, without=1, seconds=8.0, frame_rate=10.0
)
_SETTINGS = {'frame_rate': 5.0, 'frame_size': 32, 'workers': 1}
_HEARD = {'streams': ('audio',)}  # of which no face has to be found
_BEHAVIOUR = 'RECOLA-Annotation/emotional_behaviour'


@pytest.fixture(scope='module')
def twin(tmp_path_factory):
  root = tmp_path_factory.mktemp('recola') / 'twin'
  corpora.find('recola').twin.write(root, SPEC, 2)
  return root


@pytest.fixture(scope='module')
def corpus(twin, tmp_path_factory):
  data = tmp_path_factory.mktemp('data')
  return PreparedCorpus(prepare('recola', twin, data, **_SETTINGS))


def _table(path):
  return np.loadtxt(path, delimiter=';', skiprows=1)


def _account(corpus):
  rows = read_account(corpus.directory / 'account.csv')
  return {row['trial_id']: row for row in rows}


def test_people_are_trials_and_pairs_are_subjects(corpus):
  assert [t.trial_id for t in corpus.trials] == ['P16', 'P17', 'P19', 'P21', 'P23']
  assert [t.subject for t in corpus.trials] == [1, 1, 2, 2, 3]
  assert [t.trial for t in corpus.trials] == [1, 2, 1, 2, 1]
  assert [t.group for t in corpus.trials] == ['1', '1', '2', '2', '3']
  assert corpus.metadata['people']['1'] == [
    'synthetic:recola:P16',
    'synthetic:recola:P17',
  ]


def test_no_pair_is_on_both_sides_of_a_fold(corpus):
  target = Concordance(rate=5.0)
  for fold in make_folds(corpus.trials, folds=3, target=target):
    sides = [
      {t.group for t in corpus.trials if t.trial_id in side}
      for side in (fold.train, fold.validation, fold.test)
    ]
    assert not any(a & b for i, a in enumerate(sides) for b in sides[:i])


def test_the_gold_standard_is_the_mean_of_six(twin, corpus):
  ratings = corpus.trials[2].streams['ratings']
  assert ratings.channels == ('valence', 'arousal') and len(ratings.values) == 201
  for column, name in enumerate(ratings.channels):
    told = _table(twin / _BEHAVIOUR / name / 'P19.csv')
    assert told.shape == (201, 7)
    np.testing.assert_allclose(ratings.times, told[:, 0], atol=1e-5)
    np.testing.assert_allclose(
      ratings.values[:, column], told[:, 1:].mean(1), atol=1e-6
    )
  assert ratings.valid.all()


def test_signals_are_those_of_the_file_at_another_rate(twin, tmp_path):
  fields = _SETTINGS | {'streams': ('audio', 'signals'), 'clean': False}
  directory = prepare(
    'recola', twin, tmp_path, **fields, allow_dropped=('missing_signals',)
  )
  trials = PreparedCorpus(directory).trials
  assert [t.trial_id for t in trials] == ['P16', 'P19', 'P21', 'P23']
  signals = trials[0].streams['signals']
  assert signals.channels == ('eda', 'ecg') and signals.rate == 128
  told = _table(twin / 'RECOLA-Biosignals-recordings' / 'P16.csv')
  inside = slice(64, 64 * 15)
  for column in (0, 1):
    wanted = np.interp(signals.clock, told[:, 0], told[:, 1 + column])
    errors = signals.values[inside, column] - wanted[inside]
    assert np.abs(errors).max() < 0.1 * np.ptp(wanted)
    assert np.corrcoef(signals.values[inside, column], wanted[inside])[0, 1] > 0.98


def test_who_has_no_biosignals_stays_where_none_are_needed(twin, corpus, tmp_path):
  assert [t.trial_id for t in corpus.trials if 'signals' not in t.streams] == ['P17']
  assert (
    'no RECOLA-Biosignals-recordings/P17.csv'
    in (_account(corpus)['P17']['signal_notes'])
  )
  with pytest.raises(InputError) as raised:
    prepare('recola', twin, tmp_path, **_SETTINGS | {'streams': ('audio', 'signals')})
  told = str(raised.value)
  assert '5 trials in, 4 out' in told and 'P17 missing_signals' in told
  assert '--config.data.allow_dropped=missing_signals' in told


def test_sound_is_that_of_the_wav(twin, corpus):
  rate, wave = wavfile.read(twin / 'RECOLA-Audio-recordings' / 'P16.wav')
  trial = corpus.trials[0]
  samples, valid = corpus.samples(trial, 44_100, 3 * 44_100)
  assert valid.all()
  times = 1 + np.arange(len(samples)) / 44_100
  wanted = np.interp(times, np.arange(len(wave)) / rate, wave)
  assert np.corrcoef(samples, wanted)[0, 1] > 0.98


def test_faces_are_on_the_clock_of_the_video(corpus):
  for trial in corpus.trials:
    video = trial.streams['video']
    np.testing.assert_allclose(video.times, np.arange(40) / 5, atol=1e-3)
    assert video.valid.mean() > 0.9


@pytest.fixture
def copy(twin, tmp_path):
  root = tmp_path / 'copy'
  shutil.copytree(twin, root)
  return root


@pytest.fixture
def lost(copy, tmp_path):
  """A function of fields -> the line of the error."""

  def run(**fields):
    with pytest.raises(InputError) as raised:
      prepare('recola', copy, tmp_path / 'data', **_SETTINGS | _HEARD | fields)
    return str(raised.value)

  return run


def _rows(path, first=0, last=None):
  lines = path.read_text().splitlines()
  path.write_text('\n'.join([lines[0], *lines[1:][first:last]]) + '\n')


@pytest.mark.parametrize('name', ['valence', 'arousal'])
def test_an_annotation_that_is_not_there_is_lost_by_name(copy, lost, name):
  (copy / _BEHAVIOUR / name / 'P19.csv').unlink()
  told = lost()
  assert 'P19 missing_rating' in told and f'{name}/P19.csv' in told


def test_an_annotation_that_is_cut_short_is_lost_by_name(copy, lost):
  for name in ('valence', 'arousal'):
    _rows(copy / _BEHAVIOUR / name / 'P19.csv', last=100)
  told = lost()
  assert 'P19 length_mismatch' in told
  assert 'annotation ends at 4.0 s' in told and 'at 8.0 s' in told


def test_an_annotation_of_a_longer_video_is_lost_by_name(copy, lost):
  for name in ('valence', 'arousal'):
    path = copy / _BEHAVIOUR / name / 'P19.csv'
    lines = path.read_text().splitlines()
    more = [f'{8.04 + i / 25:.2f};0;0;0;0;0;0' for i in range(100)]
    path.write_text('\n'.join([*lines, *more]) + '\n')
  told = lost()
  assert 'P19 length_mismatch' in told and 'annotation ends at 12.0 s' in told


def test_a_rater_who_is_missing_can_be_left_out(copy, lost, tmp_path):
  path = copy / _BEHAVIOUR / 'arousal' / 'P19.csv'
  rows = [line.rsplit(';', 1)[0] for line in path.read_text().splitlines()]
  path.write_text('\n'.join(rows) + '\n')
  told = lost()
  assert 'P19 bad_rating' in told and 'no rater FF3' in told
  raters = ('FM1', 'FM2', 'FM3', 'FF1', 'FF2')
  directory = prepare(
    'recola', copy, tmp_path / 'data', **_SETTINGS, **_HEARD, raters=raters
  )
  corpus = PreparedCorpus(directory)
  assert corpus.metadata['settings'] == {'raters': list(raters)}
  told = _table(copy / _BEHAVIOUR / 'valence' / 'P19.csv')
  ratings = corpus.trials[2].streams['ratings'].values
  np.testing.assert_allclose(ratings[:, 0], told[:, 1:6].mean(1), atol=1e-6)


def test_raters_that_there_are_not(twin, tmp_path):
  with pytest.raises(InputError, match='raters: some of FM1, FM2'):
    prepare('recola', twin, tmp_path, raters=('FM1', 'FM4'))


def test_no_video_and_no_sound_are_lost_by_name(copy, lost):
  for kind, ending in (('Video', 'mp4'), ('Audio', 'wav')):
    (copy / f'RECOLA-{kind}-recordings' / f'P21.{ending}').unlink()
  assert 'P21 missing_audio' in lost()
  assert 'P21 missing_video' in lost(streams=('video',))


def test_sound_that_is_shorter_is_told(copy, tmp_path):
  path = copy / 'RECOLA-Audio-recordings' / 'P16.wav'
  rate, wave = wavfile.read(path)
  wavfile.write(path, rate, wave[: 5 * rate])
  fields = _SETTINGS | _HEARD
  corpus = PreparedCorpus(prepare('recola', copy, tmp_path / 'data', **fields))
  assert 'ends 3.0 s before the trial' in _account(corpus)['P16']['audio_notes']
  _, valid = corpus.samples(corpus.trials[0], 0, 8 * 44_100)
  assert valid.mean() == pytest.approx(5 / 8, abs=0.01)


def test_without_a_wav_the_video_is_heard(copy, tmp_path):
  wav = copy / 'RECOLA-Audio-recordings' / 'P16.wav'
  rate, wave = wavfile.read(wav)
  wav.unlink()
  path = copy / 'RECOLA-Video-recordings' / 'P16.mp4'
  with av.open(str(path.with_suffix('.mov')), 'w') as out, av.open(str(path)) as film:
    shown = out.add_stream_from_template(film.streams.video[0])
    heard = out.add_stream('pcm_s16le', rate=rate, layout='mono')
    for packet in film.demux(film.streams.video[0]):
      if packet.dts is not None:
        packet.stream = shown
        out.mux(packet)
    frame = av.AudioFrame.from_ndarray(wave[None], 's16', 'mono')
    frame.sample_rate = rate
    out.mux(heard.encode(frame))
    out.mux(heard.encode())
  path.unlink()
  fields = _SETTINGS | _HEARD
  corpus = PreparedCorpus(prepare('recola', copy, tmp_path / 'data', **fields))
  assert _account(corpus)['P16']['audio_source'] == 'of the video'
  samples, _ = corpus.samples(corpus.trials[0], 44_100, 3 * 44_100)
  times = 1 + np.arange(len(samples)) / 44_100
  wanted = np.interp(times, np.arange(len(wave)) / rate, wave)
  assert np.corrcoef(samples, wanted)[0, 1] > 0.98


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda path: _rows(path, first=4000), 'goes from 4.0 to 8.0 s'),
    (
      lambda path: path.write_text(path.read_text().replace('EDA', 'GSR')),
      "no column 'EDA'",
    ),
    (
      lambda path: np.savetxt(
        path,
        _table(path) * [1000, 1, 1],
        '%.3f',
        ';',
        header='time;EDA;ECG ',
        comments='',
      ),
      'must count in seconds',
    ),
  ],
)
def test_biosignals_that_cannot_be_used(copy, lost, tmp_path, change, message):
  change(copy / 'RECOLA-Biosignals-recordings' / 'P16.csv')
  (copy / 'RECOLA-Biosignals-recordings' / 'P17.csv').write_bytes(
    (copy / 'RECOLA-Biosignals-recordings' / 'P19.csv').read_bytes()
  )
  told = lost(streams=('audio', 'signals'))
  assert '5 trials in, 4 out' in told and message in told and 'P16' in told
  corpus = PreparedCorpus(
    prepare('recola', copy, tmp_path / 'data', **_SETTINGS | _HEARD)
  )
  assert 'signals' not in corpus.trials[0].streams  # not needed: told, and kept
  assert message in _account(corpus)['P16']['signal_notes']


def test_biosignals_with_decimal_commas_and_other_columns(copy, tmp_path):
  path = copy / 'RECOLA-Biosignals-recordings' / 'P16.csv'
  before = PreparedCorpus(prepare('recola', copy, tmp_path / 'a', **_SETTINGS | _HEARD))
  rows = [line.split(';') for line in path.read_text().splitlines()]
  path.write_text('\n'.join(';'.join(row[::-1]) for row in rows).replace('.', ','))
  after = PreparedCorpus(prepare('recola', copy, tmp_path / 'b', **_SETTINGS | _HEARD))
  one, other = (x.trials[0].streams['signals'].values for x in (before, after))
  np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_broken_video_is_no_loss_where_only_voices_are_wanted(copy, lost, tmp_path):
  path = copy / 'RECOLA-Video-recordings' / 'P16.mp4'
  path.write_bytes(path.read_bytes()[:500])
  corpus = PreparedCorpus(
    prepare('recola', copy, tmp_path / 'heard', **_SETTINGS | _HEARD)
  )
  assert len(corpus.trials) == 5
  assert (
    'the length of the annotation is not checked' in (_account(corpus)['P16']['notes'])
  )
  assert 'P16 broken_video' in lost(streams=('video',))


def test_all_streams_end_with_the_annotation(copy, tmp_path):
  for name in ('valence', 'arousal'):
    for path in (copy / _BEHAVIOUR / name).iterdir():
      _rows(path, last=175)
  corpus = PreparedCorpus(prepare('recola', copy, tmp_path / 'data', **_SETTINGS))
  for trial in corpus.trials:
    assert len(trial.streams['video'].times) == 35
    assert len(corpus.frames(trial, [34])) == 1
    assert trial.streams['audio'].seconds == pytest.approx(7)
    if 'signals' in trial.streams:
      assert trial.streams['signals'].seconds == pytest.approx(7)
