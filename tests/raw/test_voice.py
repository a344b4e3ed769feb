import numpy as np
import pytest

from mvp_jax.raw.voice import FEATURES, RATE, voice_features, voice_tracks


def harmonics(pitch, fall=0.0, level=0.1, seconds=2.0):
  """A voice: all overtones up to 7 kHz, `fall` dB an octave, of an RMS `level`."""
  times = np.arange(round(seconds * RATE)) / RATE
  phase = 2 * np.pi * np.cumsum(np.broadcast_to(pitch, times.shape)) / RATE
  top = np.max(pitch)
  sound = sum(
    k ** (fall / 20 / np.log10(2)) * np.sin(k * phase + k * k)
    for k in range(1, int(7000 / top) + 1)
  )
  return level * sound / np.sqrt((sound**2).mean())


@pytest.mark.parametrize('pitch', [70, 110, 157.3, 220, 333, 480])
@pytest.mark.parametrize('fall', [-3, -12])
def test_pitch(pitch, fall):
  tracks = voice_tracks(harmonics(pitch, fall))
  assert np.nanmean(tracks['voiced']) == 1
  cents = 1200 * np.log2(tracks['pitch'] / pitch)
  assert abs(cents).max() < 15 and abs(np.median(cents)) < 5


def test_a_gliding_pitch_is_followed():
  times = np.arange(2 * RATE) / RATE
  tracks = voice_tracks(harmonics(120 * 2 ** (times / 2), -6))
  truth = 120 * 2 ** (tracks['times'] / 2)
  assert np.median(abs(1200 * np.log2(tracks['pitch'] / truth))) < 10


@pytest.mark.parametrize('level', [0.3, 0.01])
def test_level_is_decibels_below_full_scale(level):
  found = voice_features(harmonics(150, -6, level))
  assert found['level'] == pytest.approx(20 * np.log10(level), abs=0.3)
  assert found['level_std'] < 0.5


@pytest.mark.parametrize('pitch', [80, 100, 157.3, 250])
@pytest.mark.parametrize('fall', [0.0, -6.0, -12.0])
def test_slope(pitch, fall):
  found = voice_features(harmonics(pitch, fall))
  assert found['slope'] == pytest.approx(fall, abs=0.5)


def test_noise_and_silence_are_not_voiced():
  rng = np.random.default_rng(0)
  noise = 0.1 * rng.standard_normal(2 * RATE)
  assert voice_features(noise)['voiced'] < 0.02
  silence = voice_features(np.zeros(2 * RATE))
  assert silence['voiced'] == 0 and np.isnan(silence['pitch'])
  assert np.isnan(silence['level'])


def test_voiced_share_and_what_was_not_recorded():
  rng = np.random.default_rng(0)
  sound = np.concatenate([harmonics(150, -6), 0.1 * rng.standard_normal(6 * RATE)])
  found = voice_features(sound)
  assert found['voiced'] == pytest.approx(0.25, abs=0.03)
  assert found['pitch'] == pytest.approx(12 * np.log2(150 / 55), abs=0.1)
  valid = np.arange(len(sound)) < 4 * RATE
  assert voice_features(sound, valid)['voiced'] == pytest.approx(0.5, abs=0.03)
  spoilt = np.where(valid, sound, 1.0)
  assert voice_features(spoilt, valid) == voice_features(sound, valid)
  tracks = voice_tracks(sound, valid)
  assert np.isnan(tracks['level'][tracks['times'] > 4]).all()


@pytest.mark.parametrize('count', [0, 10, 700])
def test_too_little_is_not_known(count):
  found = voice_features(np.ones(count))
  assert set(found) == set(FEATURES) and np.isnan(list(found.values())).all()


def test_octave_errors_are_rare_at_the_ends_of_speech():
  rng = np.random.default_rng(1)
  sound = harmonics(90, -6, 0.1) + 0.01 * rng.standard_normal(2 * RATE)
  pitch = voice_tracks(sound)['pitch']
  pitch = pitch[np.isfinite(pitch)]
  assert np.mean(abs(12 * np.log2(pitch / 90)) > 1) < 0.02
