"""Sound of every kind of file is where it was recorded, on the clock of the picture."""

import wave

import numpy as np
import pytest

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.audio import CHUNK, RATE, SoundTrack, read_sound
from mvp_jax.raw.video_times import video_times
from tests.raw.sound_files import BURSTS, bursts, write_sound

PCM, FLOAT = dict(), dict(kind='fltp')
KINDS = {
  'mono.wav': PCM,
  'stereo.wav': dict(layout='stereo'),
  '5.1.wav': dict(layout='5.1'),
  '8_bit.wav': dict(codec='pcm_u8', kind='u8', rate=11025),
  '24_bit.wav': dict(codec='pcm_s24le', kind='s32', rate=48000),
  'float.wav': dict(codec='pcm_f32le', kind='flt', rate=96000),
  'law.wav': dict(codec='pcm_mulaw', rate=8000),
  'a.flac': dict(codec='flac', rate=48000),
  'a.mp3': dict(codec='libmp3lame', **FLOAT),
  'a.m4a': dict(codec='aac', layout='stereo', **FLOAT),
  'a.opus': dict(codec='libopus', kind='flt', rate=48000),
  'a.ogg': dict(codec='libopus', kind='flt', rate=24000),
  'a.mka': dict(codec='ac3', layout='5.1', rate=48000, **FLOAT),
}
VIDEOS = {
  'aac.mp4': dict(codec='aac', **FLOAT),
  'aac.mov': dict(codec='aac', rate=48000, **FLOAT),
  'pcm.mov': PCM,
  'pcm.avi': PCM,
  'mp3.avi': dict(codec='libmp3lame', **FLOAT),
  'opus.mkv': dict(codec='libopus', kind='flt', rate=48000),
  'flac.mkv': dict(codec='flac'),
  'mp2.mpg': dict(codec='mp2', kind='s16'),
  'aac.ts': dict(codec='aac', **FLOAT),
}


def decoded(found):
  """The samples of what `read_sound` gives: float [time]."""
  chunks = [np.frombuffer(chunk, '<i2') for chunk in found['chunks']]
  assert all(len(chunk) == CHUNK for chunk in chunks[:-1])
  assert sum(map(len, chunks)) == found['count']
  return np.concatenate(chunks) / 32768


def heard(samples):
  """When a tone begins and ends, by its envelope: list of (seconds, seconds)."""
  blocks = np.abs(samples[: len(samples) // 44 * 44]).reshape(-1, 44).max(1)
  loud = (blocks > 0.2).astype(int)
  edges = np.flatnonzero(np.diff(loud, prepend=0, append=0)) * 44 / RATE
  return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def at(samples, spans, shift=0.0, tolerance=0.004):
  np.testing.assert_allclose(heard(samples), np.array(spans) + shift, atol=tolerance)


@pytest.mark.parametrize('name', KINDS)
def test_every_kind_of_sound_file(tmp_path, name):
  path = tmp_path / name
  write_sound(path, **KINDS[name])
  found = read_sound(SoundTrack(path))
  samples = decoded(found)
  # Where no header tells of the codec's running-in it stays, 26 ms at most.
  shift = heard(samples)[0][0] - BURSTS[0][0]
  at(samples, BURSTS, shift)
  assert -0.004 < shift < 0.03
  assert found['facts']['flags'] == 'good'
  tone = samples[round((1.05 + shift) * RATE) : round((1.2 + shift) * RATE)]
  assert abs(tone).max() == pytest.approx(0.5, abs=0.04)
  spectrum = abs(np.fft.rfft(tone * np.hanning(len(tone))))
  assert spectrum.argmax() * RATE / len(tone) == pytest.approx(
    1000, abs=RATE / len(tone)
  )


@pytest.mark.parametrize('rate', [8000, 16000, 22050, 48000, 96000])
def test_resampling_keeps_the_wave(tmp_path, rate):
  path = tmp_path / 'a.wav'
  times = np.arange(2 * rate) / rate
  write_sound(path, 0.5 * np.sin(2 * np.pi * 440 * times), rate)
  samples = decoded(read_sound(SoundTrack(path)))
  assert len(samples) == 2 * RATE
  expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(samples)) / RATE)
  np.testing.assert_allclose(samples[200:-200], expected[200:-200], atol=1e-4)


@pytest.mark.parametrize('name', VIDEOS)
@pytest.mark.parametrize('start', [0.0, 0.9])
def test_sound_is_on_the_clock_of_the_picture(tmp_path, name, start):
  if start and name.endswith('.avi'):
    pytest.skip('AVI tells no time of sound')
  path = tmp_path / name
  write_sound(path, **VIDEOS[name], start=start, picture=3.6)
  seconds = video_times(path).seconds
  assert seconds == pytest.approx(3.6, abs=0.05)
  found = read_sound(SoundTrack(path, 0.0, 3.6))
  samples = decoded(found)
  assert len(samples) == round(3.6 * RATE)
  at(samples, BURSTS, tolerance=0.03)
  begin = found['recorded'][0, 0] / RATE
  assert begin == pytest.approx(start, abs=0.06)
  assert ('its sound begins 0.9 s after' in found['facts']['notes']) == bool(start)
  assert not samples[: max(0, found['recorded'][0, 0])].any()


def test_a_picture_that_begins_later_than_the_sound(tmp_path):
  path = tmp_path / 'a.mkv'
  write_sound(path, picture=3.0, picture_start=0.5)
  at(decoded(read_sound(SoundTrack(path, 0.0, 3.5))), BURSTS)


def test_a_clock_that_does_not_begin_at_zero(tmp_path):
  path = tmp_path / 'a.mkv'
  write_sound(path, start=0.5, picture=3.0, picture_start=0.6)
  # The picture is 0.1 s later than the sound: a codec's running-in, and time zero.
  at(decoded(read_sound(SoundTrack(path, 0.0, 2.9))), BURSTS, -0.6)


def test_gaps_stay_gaps(tmp_path):
  path = tmp_path / 'a.mkv'
  write_sound(path, gap=(1.5, 2.3), picture=3.6)
  found = read_sound(SoundTrack(path, 0.0, 3.5))
  at(decoded(found), [BURSTS[0], BURSTS[2]])
  np.testing.assert_allclose(
    found['recorded'] / RATE, [[0, 1.5], [2.3, 3.5]], atol=0.011
  )
  assert 'gaps in its sound: 0.80 s at 1.5' in found['facts']['notes']
  assert found['facts']['recorded'] == pytest.approx(2.7 / 3.5, abs=0.01)
  assert found['facts']['flags'] == 'missing'


@pytest.mark.parametrize('drift', [0.97, 1.03])
def test_a_clock_that_drifts_away_is_followed(tmp_path, drift):
  path = tmp_path / 'a.mkv'
  write_sound(path, drift=drift, picture=3.6)
  samples = decoded(read_sound(SoundTrack(path, 0.0, 3.6)))
  for span in drift * np.array(BURSTS):
    # The end of a tone may be cut, or a gap lie in it.
    middle = samples[round((span[0] + 0.05) * RATE) : round((span[1] - 0.05) * RATE)]
    assert len(middle) == 0 or abs(middle).max() > 0.4
    before = samples[round((span[0] - 0.2) * RATE) : round((span[0] - 0.05) * RATE)]
    assert abs(before).max() < 0.01


def test_stamps_in_milliseconds_leave_no_gap(tmp_path):
  path = tmp_path / 'a.mkv'
  write_sound(path, rate=48000, picture=3.6)
  found = read_sound(SoundTrack(path, 0.0, 3.5))
  assert found['recorded'].tolist() == [[0, round(3.5 * RATE)]]
  assert found['facts']['notes'] == ''


def test_sound_shorter_than_the_trial(tmp_path):
  path = tmp_path / 'a.mov'
  write_sound(path, stop=1.6, picture=3.5)
  found = read_sound(SoundTrack(path, 0.0, 3.5))
  assert found['count'] == round(3.5 * RATE)
  np.testing.assert_allclose(found['recorded'] / RATE, [[0, 1.6]], atol=0.011)
  assert found['facts']['notes'] == 'its sound ends 1.9 s before the trial'


@pytest.mark.parametrize('rate', [RATE, 16000])
def test_the_trial_is_a_part_of_the_file(tmp_path, rate):
  path = tmp_path / 'a.wav'
  write_sound(path, rate=rate)
  found = read_sound(SoundTrack(path, 1.9, 1.2))
  samples = decoded(found)
  assert len(samples) == round(1.2 * RATE)
  at(samples, BURSTS[1:], -1.9)
  assert found['recorded'].tolist() == [[0, len(samples)]]
  whole = decoded(read_sound(SoundTrack(path)))
  place = round(1.9 * RATE)
  np.testing.assert_array_equal(samples, whole[place : place + len(samples)])


def test_deep_tones_and_opposite_channels(tmp_path):
  path = tmp_path / 'a.wav'
  sound = np.zeros((6, RATE), np.float32)
  sound[2], sound[3] = 0.5 * bursts()[RATE : 2 * RATE], 0.9  # centre, LFE
  write_sound(path, sound, layout='5.1')
  samples = decoded(read_sound(SoundTrack(path)))
  np.testing.assert_allclose(samples, sound[2] / 5, atol=1e-4)


def test_channels_of_no_known_place_are_averaged(tmp_path):
  path = tmp_path / 'a.wav'
  sound = np.zeros((3, RATE), np.float32)
  sound[1] = 0.6
  write_sound(path, sound, layout='3 channels')
  np.testing.assert_allclose(decoded(read_sound(SoundTrack(path))), 0.2, atol=1e-4)


def test_flags(tmp_path):
  def flags(name, sound):
    write_sound(tmp_path / name, sound.astype(np.float32))
    return read_sound(SoundTrack(tmp_path / name))['facts']

  times = np.arange(2 * RATE) / RATE
  tone = np.sin(2 * np.pi * 200 * times)
  assert flags('zero.wav', 0 * tone)['flags'] == 'silent'
  assert flags('constant.wav', 0 * tone + 0.3)['flags'] == 'silent'
  assert flags('hiss.wav', 1e-4 * np.sin(5000 * times))['flags'] == 'silent'
  quiet = flags('quiet.wav', 0.01 * tone)
  assert quiet['flags'] == 'good'
  assert quiet['level'] == pytest.approx(-43, abs=0.5)
  clipped = flags('clipped.wav', np.clip(2 * tone, -1, 1))
  assert clipped['flags'] == 'clipped'
  # A sine that is cut at half its height is there for two thirds of the time.
  assert clipped['clipped'] == pytest.approx(2 / 3, abs=0.01)


def test_floats_that_are_no_sound(tmp_path):
  sound = bursts()
  sound[1000:1003] = np.nan, np.inf, 3e38
  path = tmp_path / 'a.wav'
  write_sound(path, sound, codec='pcm_f32le', kind='flt')
  samples = decoded(read_sound(SoundTrack(path)))
  assert abs(samples).max() <= 1
  at(samples[2000:], BURSTS, -2000 / RATE)


def test_several_tracks(tmp_path):
  path = tmp_path / 'a.mkv'
  write_sound(path, tracks=2, picture=3.5)
  found = read_sound(SoundTrack(path, 0.0, 3.5))
  at(decoded(found), BURSTS)
  assert found['facts']['notes'] == 'track 1 of 2 is used'


def test_joined_recordings_follow_each_other_in_step(tmp_path):
  one, two = tmp_path / 'one.mpg', tmp_path / 'two.mpg'
  for path in (one, two):
    write_sound(path, codec='mp2', picture=3.6)
  joined = tmp_path / 'joined.mpg'
  joined.write_bytes(one.read_bytes() + two.read_bytes())
  shown = video_times(joined)
  samples = decoded(read_sound(SoundTrack(joined, 0.0, 7.2)))
  second = shown.times[len(shown.times) // 2]
  at(samples, [*BURSTS, *(np.array(BURSTS) + second)], tolerance=0.04)


def broken(path, *args):
  with pytest.raises(Dropped) as error:
    read_sound(SoundTrack(path, *args))
  assert str(path) in error.value.reason and '\n' not in error.value.reason
  return error.value.code, error.value.reason.removeprefix(f'{path}: ')


def test_what_has_no_sound_is_told(tmp_path, write_video):
  assert broken(tmp_path / 'a.wav') == ('missing_audio', 'no such file')
  path = tmp_path / 'silent.mp4'
  write_video(path, [np.zeros((32, 32, 3), np.uint8)] * 50, 25)
  assert broken(path) == (
    'missing_audio',
    'no sound track in it; name the file that has the sound',
  )
  path = tmp_path / 'text.wav'
  path.write_text('no sound at all')
  assert broken(path)[0] == 'broken_audio'
  path = tmp_path / 'empty.wav'
  with wave.open(str(path), 'wb') as file:
    file.setparams((1, 2, RATE, 0, 'NONE', ''))
  code, told = broken(path)
  assert code == 'missing_audio' and 'its sound track is empty' in told
  path = tmp_path / 'before.wav'
  write_sound(path)
  code, told = broken(path, 4.0, 2.0)
  assert code == 'missing_audio' and 'from -4.0 to -0.5 s after the onset' in told


def test_a_truncated_file_is_not_taken_for_a_short_one(tmp_path):
  path = tmp_path / 'a.flac'
  noise = np.random.default_rng(0).standard_normal(7 * RATE)
  write_sound(path, 0.1 * noise, codec='flac')
  data = path.read_bytes()
  path.write_bytes(data[: len(data) // 2])
  code, told = broken(path)
  assert code == 'broken_audio' and 'truncated' in told
  assert read_sound(SoundTrack(path, 0.0, 2.0))['facts']['flags'] == 'good'


def test_damaged_packets_are_gaps(tmp_path):
  path = tmp_path / 'a.mka'
  write_sound(path, codec='flac', rate=RATE)
  data = bytearray(path.read_bytes())
  middle = len(data) // 2
  data[middle : middle + 300] = bytes(300)
  path.write_bytes(bytes(data))
  found = read_sound(SoundTrack(path, 0.0, 3.5))
  assert found['count'] == round(3.5 * RATE)
  assert found['facts']['recorded'] > 0.8
