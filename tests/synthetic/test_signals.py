"""The planted effects and the shape of the body signals."""

import numpy as np
import pytest
from scipy.signal import butter, find_peaks, sosfiltfilt, welch

from mvp_jax.corpora.deap import twin as deap
from mvp_jax.synthetic import signals
from mvp_jax.synthetic.ratings import latents
from mvp_jax.synthetic.spec import TwinSpec

SPEC = TwinSpec(subjects=3)
RATE, ONSET = 128, 384
_BAND = butter(2, [0.5, 8], 'bandpass', fs=RATE, output='sos')


@pytest.fixture(scope='module')
def bodies():
  return [
    [signals.simulate_body(SPEC, subject, trial) for trial in range(1, 41)]
    for subject in (1, 2, 3)
  ]


def _pulse_peaks(ppg):
  """Seconds since the onset of systolic peaks, by SciPy alone."""
  clean = sosfiltfilt(_BAND, ppg)
  peaks, _ = find_peaks(clean, distance=0.45 * RATE, prominence=0.8 * clean.std())
  return peaks / RATE - 3


def _within_subject_correlation(values, target):
  """Of [subjects, trials] `values` with a latent, without subjects' levels."""
  latent = np.stack([latents(SPEC, subject)[:, target] for subject in (1, 2, 3)])
  values = np.asarray(values) - np.mean(values, axis=1, keepdims=True)
  return np.corrcoef(values.ravel(), latent.ravel())[0, 1]


def _each(bodies, feature):
  return [[feature(body) for body in trials] for trials in bodies]


def test_peaks_of_the_pulse_are_the_beats(bodies):
  missed = []
  for body in bodies[0][:10]:
    peaks = _pulse_peaks(body.ppg)
    beats = body.beats[(body.beats > -2) & (body.beats < 59)]
    delay = np.array([np.min(abs(peaks - beat - 0.17)) for beat in beats])
    missed.append((delay > 0.12).mean())
    assert np.median(delay) < 0.04
    assert np.median(np.diff(peaks)) == pytest.approx(
      np.median(np.diff(beats)), rel=0.03
    )
  assert np.mean(missed) < 0.05


def test_peaks_of_the_ecg_are_the_beats(bodies):
  band = butter(2, [8, 25], 'bandpass', fs=RATE, output='sos')
  for body in bodies[0][:10] + bodies[2][:10]:
    true = body.beats - signals.PULSE_SECONDS
    for lead in body.ecg.T:
      clean = sosfiltfilt(band, lead)
      peaks, _ = find_peaks(clean, distance=0.3 * RATE, height=4 * clean.std())
      distance = abs((peaks / RATE - 3)[:, None] - true)
      extra, missed = (distance.min(axis=axis) > 0.05 for axis in (1, 0))
      assert extra.sum() + missed.sum() <= 3  # at the ends or by the electrode
      assert np.median(distance.min(axis=0)) < 0.01


def test_beats_of_the_ecg_have_a_p_and_a_t_wave(bodies):
  lead, times = bodies[1][0].ecg[:, 0], np.arange(8064) / RATE - 3
  around = np.arange(-0.3, 0.5, 1 / RATE)
  peaks = bodies[1][0].beats[1:-1] - signals.PULSE_SECONDS
  mean = np.median([np.interp(peak + around, times, lead) for peak in peaks], axis=0)
  waves, _ = find_peaks(mean, prominence=0.03)
  p, r, t = around[waves]
  assert -0.25 < p < -0.1 < -0.02 < r < 0.02 < 0.15 < t < 0.4
  assert np.ptp(mean) == pytest.approx(1.3, rel=0.4)  # mV


def test_pulse_wave_has_a_systolic_peak_a_notch_and_a_diastolic_wave(bodies):
  body = bodies[1][0]
  grid = np.linspace(0, 1, 100, endpoint=False)
  waves = [
    np.interp(start + grid * (stop - start), np.arange(8064) / RATE - 3, body.ppg)
    for start, stop in zip(body.beats[:-1], body.beats[1:], strict=True)
  ]
  mean = np.median(waves, axis=0)
  peaks, _ = find_peaks(mean, prominence=0.02 * np.ptp(mean))
  assert len(peaks) == 2
  assert 0.12 < grid[peaks[0]] < 0.28 < 0.4 < grid[peaks[1]] < 0.65
  assert mean[peaks[0]] == mean.max()


def test_heart_rate_varies_with_breathing_and_at_a_tenth_of_a_hertz(bodies):
  heart = [60 / np.diff(body.beats) for body in bodies[0]]
  assert 1 < np.median([rate.std() for rate in heart]) < 8
  grid = np.arange(0, 58, 0.25)
  power = 0
  for body in bodies[0]:
    tachogram = np.interp(grid, body.beats[1:], 60 / np.diff(body.beats))
    rates, density = welch(tachogram, 4, nperseg=len(grid), detrend='linear')
    power = power + density
  low = power[(rates > 0.06) & (rates < 0.14)].max()
  high = power[(rates > 0.18) & (rates < 0.35)].max()
  between = np.median(power[(rates > 0.4) & (rates < 1)])
  assert min(low, high) > 5 * between


def test_arousal_shows_and_valence_does_not(bodies):
  def conductance_peaks(body):
    smooth = np.convolve(np.log(body.eda), np.full(64, 1 / 64), 'valid')
    return len(find_peaks(smooth[ONSET:], prominence=0.008)[0])

  def heart_rise(body):
    peaks = _pulse_peaks(body.ppg)
    rate = 60 / np.diff(peaks)
    return np.median(rate[peaks[1:] > 8]) - np.median(rate[peaks[1:] < 4])

  def pulse_change(body):
    return np.log(body.ppg[15 * RATE :].std() / body.ppg[: 5 * RATE].std())

  def tonic_change(body):
    return np.log(body.eda[-20 * RATE :].mean() / body.eda[:ONSET].mean())

  features = {
    'responses': (_each(bodies, lambda body: (body.responses > 2).sum()), 0.6),
    'conductance peaks': (_each(bodies, conductance_peaks), 0.5),
    'tonic': (_each(bodies, tonic_change), 0.7),
    'heart rate': (_each(bodies, heart_rise), 0.7),
    'pulse size': (_each(bodies, pulse_change), -0.5),
  }
  for name, (values, least) in features.items():
    correlation = _within_subject_correlation(values, target=1)
    assert correlation / np.sign(least) > abs(least), name
    assert abs(_within_subject_correlation(values, target=0)) < 0.33, name


def test_levels_differ_more_between_subjects_than_by_arousal():
  levels = []
  for subject in range(1, 13):
    bodies = [signals.simulate_body(SPEC, subject, trial) for trial in (1, 2, 3, 4)]
    levels.append([np.log(body.eda[ONSET:].mean()) for body in bodies])
  levels = np.array(levels)
  assert levels.mean(axis=1).std() > 1.3 * levels.std(axis=1).mean()


def test_only_arousal_and_only_after_the_onset(monkeypatch):
  def body(valence, arousal):
    monkeypatch.setattr(
      signals,
      'latents',
      lambda spec, subject: np.tile([valence, arousal], (spec.trials, 1)),
    )
    return signals.simulate_body(SPEC, 1, 1)

  calm, aroused, pleased = body(0, -1.5), body(0, 1.5), body(2, -1.5)
  for name in ('eda', 'ppg', 'ecg', 'respiration'):
    np.testing.assert_array_equal(getattr(pleased, name), getattr(calm, name))
  np.testing.assert_array_equal(aroused.respiration, calm.respiration)
  for name in ('eda', 'ppg', 'ecg'):
    before, after = getattr(calm, name), getattr(aroused, name)
    np.testing.assert_allclose(before[:ONSET], after[:ONSET], rtol=1e-6, atol=1e-6)
    assert abs(before[ONSET + 640 :] - after[ONSET + 640 :]).max() > 0.1
  assert len(aroused.beats) > len(calm.beats) + 3
  assert len(aroused.responses) > len(calm.responses)


def test_filler_is_believable():
  data = deap.channels(TwinSpec(trials=2), 1)
  assert data.shape == (2, 40, 8064) and np.isfinite(data).all()
  rates, power = welch(data[:, :32], RATE, nperseg=512)
  power = power.mean(axis=(0, 1))
  band = (rates >= 4) & (rates <= 45)
  assert power[band].sum() > 0.95 * power.sum()
  assert (
    power[(rates > 5) & (rates < 8)].mean()
    > 2 * power[(rates > 30) & (rates < 40)].mean()
  )
  assert len(np.unique(data[0, :32, 0])) == 32
  assert (data[:, 36] > 2e4).all() and (data[:, 36] < 5e6).all()  # ohm
  assert (data[:, 39] > 30).all() and (data[:, 39] < 36).all()  # Celsius


def test_conductance_follows_an_arousal_that_changes_by_a_second():
  def felt(times):
    return 0.5 * np.sin(2 * np.pi * times / 20)

  slow = butter(2, 0.3, fs=RATE, output='sos')
  found = []
  for subject in (1, 2, 3):
    own = signals.simulate_body(SPEC, subject, 1, felt)
    times = np.arange(len(own.eda)) / RATE - 3
    level = sosfiltfilt(slow, np.log(own.eda))
    found.append(
      [np.corrcoef(level, felt(times - late))[0, 1] for late in (0.0, 1.0, 4.0)]
    )
  early, right, late = np.mean(found, axis=0)
  assert right > 0.9 and right > early and right > late + 0.2


def test_an_arousal_that_changes_shows_in_nothing_but_eda():
  changing, still = (
    signals.simulate_body(SPEC, 1, 1, lambda times, a=a: a * np.sin(times))
    for a in (0.5, 0.0)
  )
  np.testing.assert_array_equal(changing.beats, still.beats)
  np.testing.assert_array_equal(changing.ecg, still.ecg)
  assert np.abs(changing.eda - still.eda).max() > 0.5
