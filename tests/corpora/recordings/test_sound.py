"""The sound of own recordings: read, checked, stored and read back."""

import numpy as np
import pytest

from mvp_jax.corpora.recordings import trials as recordings
from mvp_jax.corpora.recordings.check import check, describe
from mvp_jax.data import sound
from mvp_jax.data.handcrafted import (
  VOICE_RATE,
  channel_features,
  feature_table,
  with_voices,
)
from mvp_jax.data.log_mel import JCA, VGGISH, clip_log_mel, log_mel
from mvp_jax.data.sound import waveform
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.evaluation.account import write_page
from mvp_jax.outcomes import Dropped
from mvp_jax.preparation import prepare
from mvp_jax.preparation.account import read_account
from mvp_jax.raw import voice
from tests.corpora.recordings.test_trials import write_manifest
from tests.raw.sound_files import BURSTS, RATE, bursts, write_sound
from tests.raw.test_audio import at

RATED = {'valence': 5, 'arousal': 5}


def prepared(folder, tmp_path, *streams, **kwargs):
  directory = prepare(
    'recordings', folder, tmp_path / 'data', streams=streams, workers=1, **kwargs
  )
  return PreparedCorpus(directory)


@pytest.fixture
def folder(tmp_path):
  folder = tmp_path / 'study'
  folder.mkdir()
  write_sound(folder / 'a.mkv', start=0.9, picture=3.6)
  write_sound(folder / 'b.mp4', picture=3.6)
  write_sound(folder / 'c.wav')
  write_manifest(
    folder,
    [
      {'subject': '1', 'video': 'a.mkv', **RATED},
      {'subject': '2', 'video': 'b.mp4', 'audio': 'c.wav', 'audio_onset': 0.8, **RATED},
      {'subject': '3', 'audio': 'c.wav', **RATED},
    ],
  )
  return folder


def test_sound_of_the_video_and_of_files_of_its_own(folder, tmp_path):
  corpus = prepared(folder, tmp_path, 'audio')
  assert corpus.metadata['streams']['audio']['rate'] == RATE
  own, other, alone = (t.streams['audio'] for t in corpus.trials)
  assert alone.seconds == pytest.approx(3.5)
  np.testing.assert_allclose(own.recorded[0], [0.9 * RATE, own.count], atol=500)
  shifts = 0.0, -0.8, 0.0
  for trial, shift in zip(corpus.trials, shifts, strict=True):
    values, valid = corpus.samples(trial, 0, trial.streams['audio'].count)
    at(values / 32768, BURSTS, shift)
    begin, end = trial.streams['audio'].recorded[0]
    assert valid.sum() == end - begin
  rows = read_account(corpus.directory / 'account.csv')
  assert [row['audio_flags'] for row in rows] == ['missing', 'good', 'good']
  assert rows[0]['audio_notes'] == 'its sound begins 0.9 s after the trial'
  page = write_page(corpus, tmp_path / 'account.html').read_text()
  assert 'audio: missing; its sound begins 0.9 s after the trial' in page
  assert 'silent: for' in page and '0.00 hours' in page


def test_a_stretch_at_any_rate(folder, tmp_path):
  trial = (corpus := prepared(folder, tmp_path, 'audio')).trials[2]
  for rate in (RATE, 16_000):
    start, count = 0.9004, round(1.3 * rate)
    values, valid = waveform(corpus, trial, start, count, rate)
    assert values.dtype == np.float32 and values.shape == (count,) and valid.all()
    times = round(start * RATE) / RATE + np.arange(count) / rate
    tone = 0.5 * np.sin(2 * np.pi * 1000 * times)
    inside = (times > 1.01) & (times < 1.24)
    np.testing.assert_allclose(values[inside], tone[inside], atol=1e-3)
    assert abs(values[(times > 1.3) & (times < 1.9)]).max() < 1e-4
  # Before the onset and after the end there is nothing.
  values, valid = waveform(corpus, trial, -0.5, 16_000, 16_000)
  assert not valid[:7990].any() and valid[8010:].all() and not values[:7990].any()
  values, valid = waveform(corpus, trial, 3.0, 16_000, 16_000)
  assert valid[:7990].all() and not valid[8010:].any()


@pytest.mark.parametrize('rate', [RATE, 16_000])
def test_long_stretches_are_read_in_blocks(folder, tmp_path, monkeypatch, rate):
  trial = (corpus := prepared(folder, tmp_path, 'audio')).trials[2]
  whole = waveform(corpus, trial, 0.1234, 3 * rate, rate)
  monkeypatch.setattr(sound, '_BLOCK', 7000)
  for part, full in zip(
    waveform(corpus, trial, 0.1234, 3 * rate, rate), whole, strict=True
  ):
    np.testing.assert_allclose(part, full, atol=1e-6)


@pytest.mark.parametrize('preset', [JCA, VGGISH])
def test_pictures_of_clips(folder, tmp_path, preset):
  corpus = prepared(folder, tmp_path, 'audio')
  trial = corpus.trials[2]
  found, share = clip_log_mel(corpus, trial, 2.2, preset)
  tone = bursts(preset.rate)
  first = round((2.2 - preset.seconds) * preset.rate)
  expected = log_mel(tone[first : first + preset.samples], preset)
  band = expected.mean(1).argmax()
  assert found.mean(1).argmax() == band and share == 1
  loud = expected[band] > expected[band].max() - 1
  np.testing.assert_allclose(found[band][loud], expected[band][loud], atol=0.1)
  _, share = clip_log_mel(corpus, trial, preset.seconds / 2, preset)
  assert share == pytest.approx(0.5, abs=0.01)


def test_features_of_the_voice(folder, tmp_path):
  corpus = prepared(folder, tmp_path, 'audio')
  values, names = feature_table(corpus, corpus.trials)
  assert names == channel_features(corpus.metadata)['voice'][: len(names)]
  # The tone lasts .65 s; its level is that of a sine of half the full scale.
  voice = dict(zip(names, values[2], strict=True))
  assert voice['voice_level'] == pytest.approx(-9, abs=2)
  whole = np.isfinite(values[:, names.index('voice_level')])
  assert whole.all()


def test_voices_over_time(folder, tmp_path, monkeypatch):
  write_sound(folder / 'c.wav', bursts(hertz=220.0))
  corpus = prepared(folder, tmp_path, 'audio')
  trials = with_voices(corpus, [corpus.trials[2], corpus.trials[2].stretch(2.0, 3.0)])
  whole, part = (trial.streams['voice in audio'] for trial in trials)
  assert whole.channels == voice.TRACKS and whole.rate == VOICE_RATE
  level, pitch, voiced, slope = whole.values.T
  times = whole.clock + 0.5 / VOICE_RATE
  near, inside = (
    np.any([(times > a - edge) & (times < b + edge) for a, b in BURSTS], 0)
    for edge in (0.06, -0.04)
  )
  np.testing.assert_allclose(level[inside], -9, atol=1)
  assert (level[~near] < -60).all()
  assert voiced[inside].all() and not voiced[~near].any()
  np.testing.assert_allclose(pitch[inside], 24, atol=0.1)  # two octaves over 55 Hz
  assert not whole.valid[~near][:, [1, 3]].any() and whole.valid[:, [0, 2]].all()
  # A stretch is a trial of its own: at its ends nothing is heard of what is around it.
  assert len(part.values) == 25
  inside = whole.stretch(2.0, 3.0).values[1:-1]
  np.testing.assert_allclose(part.values[1:-1], inside, rtol=1e-4, atol=1e-4)

  def heard_again(*_):
    raise AssertionError

  monkeypatch.setattr(voice, 'voice_tracks', heard_again)
  (again,) = with_voices(corpus, corpus.trials[2:])
  np.testing.assert_array_equal(again.streams['voice in audio'].values, whole.values)


def test_losses_are_named(folder, tmp_path, write_video):
  write_video(folder / 'mute.mp4', [np.zeros((32, 32, 3), np.uint8)] * 50, 25)
  write_manifest(
    folder,
    [
      {'subject': 'A', 'video': 'a.mkv', **RATED},
      {'subject': 'B', 'video': 'mute.mp4', **RATED},
      {'subject': 'C', 'audio': 'elsewhere.flac', **RATED},
      {'subject': 'D', 'video': 'b.mp4', 'audio': 'c.wav', 'audio_onset': 9, **RATED},
    ],
  )
  report = check(folder, audio=True, video=False)
  told = describe(report).splitlines()
  assert told[:3] == [
    f'row 3, column audio: {folder / "mute.mp4"}: no sound track in it; name the file '
    'that has the sound',
    f'row 4, column audio: {folder / "elsewhere.flac"}: no such file',
    f'row 5, column audio: {folder / "c.wav"}: no sound in the trial: it is recorded '
    'from -9.0 to -5.5 s after the onset; correct the onsets, or name a file that has '
    'it',
  ]
  (note,) = (line for line in told[3:] if 'column audio' in line)
  assert note.startswith('note: row 2, ') and 'begins 0.9 s after the trial' in note
  with pytest.raises(InputError, match='3 dropped: .*B_trial01 missing_audio .row 3, '):
    prepared(folder, tmp_path, 'audio')
  corpus = prepared(folder, tmp_path, 'audio', allow_dropped=['missing_audio'])
  assert [trial.trial_id for trial in corpus.trials] == ['A_trial01']


def test_no_row_has_any(tmp_path):
  (tmp_path / 'a.csv').write_text('EDA\n1\n')
  row = {'subject': 'A', 'signals': 'a.csv', 'eda': 'EDA', 'rate': 4, **RATED}
  manifest = write_manifest(tmp_path, [row])
  with pytest.raises(InputError, match='no row names a file with sound'):
    prepared(tmp_path, tmp_path, 'audio')
  with pytest.raises(Dropped, match='row 2, column audio: blank, as is video'):
    recordings.sound_of(manifest.recordings[0])


def test_an_onset_without_a_file_is_told(folder):
  row = {'subject': 'A', 'video': 'a.mkv', 'audio_onset': 2, **RATED}
  (problem,) = write_manifest(folder, [row]).problems
  assert problem.column == 'audio' and 'name the sound file, or leave' in problem.text


def test_the_own_track_begins_with_the_video(folder):
  row = {'subject': 'A', 'video': 'b.mp4', 'video_onset': 1.5, **RATED}
  (recording,) = write_manifest(folder, [row]).recordings
  found = recordings.sound_of(recording, 2.0)
  samples = np.concatenate([np.frombuffer(c, '<i2') for c in found['chunks']]) / 32768
  at(samples, BURSTS[1:], -1.5, 0.03)
