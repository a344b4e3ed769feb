import numpy as np
import pytest

from mvp_jax.data.log_mel import JCA, PRESETS, VGGISH, log_mel

audio_utils = pytest.importorskip('transformers.audio_utils')


def speech(preset, seconds, seed=0):
  """A gliding tone with overtones, in noise: float32 [time]."""
  rng = np.random.default_rng(seed)
  times = np.arange(round(seconds * preset.rate)) / preset.rate
  phase = 2 * np.pi * (120 * times + 40 * times**2)
  tone = sum(np.sin(k * phase) / k for k in range(1, 12))
  return (0.1 * tone + 0.003 * rng.standard_normal(len(times))).astype(np.float32)


def reference(sound, preset):
  """The same by the audio code of Hugging Face's transformers."""
  hann = np.hanning(preset.window + 1)[:-1]
  length = preset.fft if preset.centred else preset.window
  before = (length - preset.window) // 2
  window = np.pad(hann, (before, length - preset.window - before))
  filters = audio_utils.mel_filter_bank(
    num_frequency_bins=preset.fft // 2 + 1,
    num_mel_filters=preset.mels,
    min_frequency=preset.low,
    max_frequency=preset.high,
    sampling_rate=preset.rate,
    norm=None,
    mel_scale='htk',
    triangularize_in_mel_space=preset is VGGISH,
  )
  found = audio_utils.spectrogram(
    sound.astype(np.float64),
    window,
    length,
    preset.hop,
    fft_length=preset.fft,
    power=float(preset.power),
    center=preset.centred,
    mel_filters=filters,
    log_mel='dB' if preset is JCA else None,
    db_range=80.0 if preset is JCA else None,
    mel_floor=1e-10 if preset is JCA else 0.0,
    dtype=np.float64,
  )
  return (found + 14.8) / 19.895 if preset is JCA else np.log(found + 0.01)


@pytest.mark.parametrize('preset', PRESETS.values(), ids=PRESETS)
def test_both_presets_are_as_published(preset):
  sound = speech(preset, preset.seconds)
  assert len(sound) == preset.samples
  found = log_mel(sound, preset)
  assert found.shape == {JCA: (64, 107), VGGISH: (64, 96)}[preset]
  assert found.dtype == np.float32 and np.ptp(found) > 2
  np.testing.assert_allclose(found, reference(sound, preset), atol=1e-4)


def test_the_clip_of_the_paper_has_107_times():
  clip = speech(JCA, 32 / 30)
  found = log_mel(clip, JCA)
  np.testing.assert_allclose(found, reference(clip, JCA), atol=1e-4)


@pytest.mark.parametrize('preset', PRESETS.values(), ids=PRESETS)
def test_the_last_times_of_longer_sound_are_kept(preset):
  sound = speech(preset, preset.seconds + 0.5)
  full = reference(sound, preset)
  found = log_mel(sound, preset)
  assert full.shape[1] > preset.frames
  if preset is VGGISH:  # of the other the loudest moment may be cut off
    np.testing.assert_allclose(found, full[:, -preset.frames :], atol=1e-4)
  else:
    energies = full[:, -preset.frames :]
    loud = energies > energies.max() - 70 / 19.895
    np.testing.assert_allclose(found[loud], energies[loud], atol=1e-4)


def test_before_shorter_sound_there_is_silence():
  sound = speech(VGGISH, 0.5)
  found = log_mel(sound, VGGISH)
  count = 1 + (len(sound) - 400) // 160
  np.testing.assert_allclose(found[:, :-count], np.log(0.01), rtol=1e-6)
  np.testing.assert_allclose(found[:, -count:], reference(sound, VGGISH), atol=1e-4)


@pytest.mark.parametrize('preset', PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize('count', [0, 1, 300])
def test_hardly_any_sound_is_silence(preset, count):
  found = log_mel(np.zeros(count, np.float32), preset)
  assert np.isfinite(found).all() and np.ptp(found) == 0


def test_a_tone_lies_in_its_band():
  times = np.arange(VGGISH.samples) / VGGISH.rate
  mel = 2595 * np.log10(1 + np.array([125, 1000, 7500]) / 700)
  band = (mel[1] - mel[0]) / (mel[2] - mel[0]) * 65 - 1
  found = log_mel(np.sin(2 * np.pi * 1000 * times), VGGISH)
  assert found.mean(1).argmax() == round(band)
