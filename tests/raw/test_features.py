"""Features of the body: right on good signals, NaN and never an error on odd ones."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from mvp_jax.raw import features
from mvp_jax.raw.cleaning import clean
from mvp_jax.raw.features import au_features, beats, feature_names, trial_features
from mvp_jax.synthetic import signals
from mvp_jax.synthetic.spec import TwinSpec

SPEC = TwinSpec(subjects=6)
RATE, ONSET = 128, 384
CHANNELS = ('eda', 'ppg', 'ecg_right', 'ecg_left', 'resp')


@pytest.fixture(scope='module')
def bodies():
  return [
    signals.simulate_body(SPEC, subject, trial)
    for subject in range(1, 7)
    for trial in (1, 2)
  ]


@pytest.fixture(scope='module')
def found(bodies):
  all_columns = [
    np.column_stack([body.eda, body.ppg, body.ecg, body.respiration]) for body in bodies
  ]
  return [
    trial_features(columns[ONSET:], RATE, CHANNELS, before=columns[:ONSET])
    for columns in all_columns
  ]


def test_names_are_fixed_and_everything_is_found(found):
  for trial in found:
    assert list(trial) == feature_names(CHANNELS)
    assert all(isinstance(value, float) for value in trial.values())
    assert not [name for name, value in trial.items() if math.isnan(value)]


def test_a_rate_may_be_a_float(bodies, found):
  body = bodies[0]
  columns = np.column_stack([body.eda, body.ppg, body.ecg, body.respiration])
  again = trial_features(columns[ONSET:], float(RATE), CHANNELS, before=columns[:ONSET])
  assert again == found[0]


def test_heart_rate_of_ecg_and_ppg_agree(found):
  rates = np.array(
    [
      [trial[f'{channel}_heart_rate'] for trial in found]
      for channel in ('ppg', 'ecg_right', 'ecg_left')
    ]
  )
  assert np.median(abs(rates[0] - rates[1])) < 0.5  # beats a minute
  assert np.median(abs(rates[2] - rates[1])) < 0.2


def test_heart_features_are_those_of_the_true_beats(bodies, found):
  truth = {'heart_rate': [], 'sdnn': [], 'rmssd': [], 'pnn50': []}
  for body in bodies:
    steps = np.diff(body.beats[body.beats > 0])
    truth['heart_rate'].append(60 / steps.mean())
    truth['sdnn'].append(1000 * steps.std(ddof=1))
    truth['rmssd'].append(1000 * np.sqrt((np.diff(steps) ** 2).mean()))
    truth['pnn50'].append((abs(np.diff(steps)) > 0.05).mean())
  for name, most in (('heart_rate', 0.3), ('sdnn', 4), ('rmssd', 6), ('pnn50', 0.05)):
    error = [
      trial[f'ecg_right_{name}'] - true
      for trial, true in zip(found, truth[name], strict=True)
    ]
    assert np.median(np.abs(error)) < most, name


def test_breaths_and_skin(bodies, found):
  for body, trial in zip(bodies, found, strict=True):
    power = abs(np.fft.rfft(body.respiration[ONSET:]))  # of 60 s: breaths a minute
    assert trial['resp_rate'] == pytest.approx(8 + power[8:30].argmax(), abs=1.5)
    assert trial['eda_level'] == pytest.approx(body.eda[ONSET:].mean(), rel=0.02)
  count = [(body.responses > 0).sum() for body in bodies]
  assert np.corrcoef(count, [trial['eda_responses'] for trial in found])[0, 1] > 0.7


def test_variability_is_that_of_neurokit():
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    import neurokit2 as nk

    rng = np.random.default_rng(0)
    steps = 0.8 + 0.05 * np.sin(np.arange(70)) + 0.01 * rng.standard_normal(70)
    peaks = np.round(np.cumsum(steps) * 1000).astype(int)
    theirs = nk.hrv_time(
      {'RRI': np.diff(peaks), 'RRI_Time': peaks[1:] / 1000}, sampling_rate=1000
    )
  kept, neighbour = features.intervals(peaks / 1000)
  assert neighbour[1:].all() and len(kept) == 69
  ours = features.heart_features(peaks / 1000)
  for name in ('SDNN', 'RMSSD'):
    assert ours[name.lower()] == pytest.approx(theirs[f'HRV_{name}'].item(), rel=1e-6)
  # Its share is of intervals, ours of differences.
  assert ours['pnn50'] == pytest.approx(theirs['HRV_pNN50'].item() / 100 * 69 / 68)


def test_wrong_and_missing_beats_are_left_out():
  moments = np.arange(40) * 0.8
  broken = np.delete(np.sort(np.append(moments, 10.1)), 25)
  steps, neighbour = features.intervals(broken)
  np.testing.assert_allclose(steps, 0.8)
  assert len(steps) == 40 - 1 - 1 - 2 and (~neighbour).sum() == 3
  steps, _ = features.intervals(moments, gaps=[8.1, 8.2, 20.3])
  assert len(steps) == 39 - 2


def test_a_gap_is_no_interval(bodies):
  ppg = bodies[0].ppg[ONSET:].copy()
  whole = trial_features(ppg[:, None], RATE, ['ppg'])
  ppg[2000:2400] = np.nan
  gap = trial_features(ppg[:, None], RATE, ['ppg'])
  assert gap['ppg_heart_rate'] == pytest.approx(whole['ppg_heart_rate'], abs=1)
  valid = np.ones((len(ppg), 1), bool)
  valid[2000:2400] = False
  masked = trial_features(np.nan_to_num(ppg, nan=7.0)[:, None], RATE, ['ppg'], valid)
  assert masked == gap


def test_skin_without_a_response():
  times = np.arange(60 * RATE) / RATE
  slow = 5 + 0.01 * times
  found = trial_features(slow[:, None], RATE, ['eda'])
  assert found['eda_responses'] == found['eda_response_sum'] == 0
  assert found['eda_level_slope'] == pytest.approx(0.6, rel=0.05)  # a minute


def _bad(length):
  rng = np.random.default_rng(length)
  return {
    'nothing': np.full(length, np.nan),
    'zero': np.zeros(length),
    'flat': np.full(length, 3.3),
    'noise': rng.standard_normal(length),
    'step': np.r_[np.zeros(length // 2), np.ones(length - length // 2)],
    'spike': np.eye(1, length, length // 2)[0],
    'ramp': np.arange(length) * 1.0,
    'infinite': np.where(rng.random(length) < 0.1, np.inf, 1.0),
    'huge': 1e300 * rng.standard_normal(length),
    'tiny': 1e-300 * rng.random(length),
    'gappy': np.where(rng.random(length) < 0.4, np.nan, rng.random(length)),
    'two values': rng.integers(0, 2, length) * 1.0,
  }


@pytest.mark.parametrize('length', [0, 1, 2, 3, 50, 700, 3000])
def test_odd_signals_give_every_name_and_no_error(length):
  channels = ('eda', 'ppg', 'ecg', 'resp', 'temp', 'emg_left', 'other')
  for name, values in _bad(length).items() if length else {'': np.zeros(0)}.items():
    found = trial_features(np.column_stack([values] * 7), RATE, channels)
    assert list(found) == feature_names(channels), name
    assert not any(math.isinf(value) for value in found.values()), name
  if length < 5 * RATE:
    assert all(math.isnan(value) for value in found.values())


_SAMPLES = st.one_of(
  st.floats(width=64), st.floats(-10, 10), st.sampled_from([0.0, math.nan, 1.0])
)


@given(
  block=st.lists(_SAMPLES, min_size=1, max_size=40),
  times=st.integers(1, 60),
  rate=st.sampled_from([4.0, 25.0, 64.0, 128.3]),
  seed=st.integers(0, 99),
  noise=st.sampled_from([0.0, 1e-9, 0.1, 10.0]),
  channel=st.sampled_from(['eda', 'ppg', 'ecg_left', 'resp', 'temp', 'emg_left']),
)
@settings(max_examples=40, deadline=None)
def test_wild_signals(block, times, rate, seed, noise, channel):
  values = np.tile(np.array(block), times)
  with np.errstate(all='ignore'):
    values = values + noise * np.random.default_rng(seed).standard_normal(len(values))
  found = trial_features(values[:, None], rate, [channel])
  assert list(found) == feature_names([channel])
  assert not any(math.isinf(value) for value in found.values())


def test_beats_of_the_ecg_come_before_those_of_the_pulse(bodies):
  body = bodies[3]
  ecg = beats(body.ecg[:, 1], RATE, 'ecg_left') - 3
  true = body.beats[2:-1] - signals.PULSE_SECONDS
  assert np.median(abs(ecg[:, None] - true).min(axis=0)) < 0.005


def test_action_units():
  course = np.zeros((10, 17))
  course[:, 8] = np.arange(10) / 2  # unit 12
  course[3, 8], course[:, 0] = np.nan, np.nan
  valid = np.ones(10, bool)
  valid[9] = False
  found = au_features(course, valid)
  assert list(found) == features.au_names() and len(found) == 17 * 4
  kept = np.array([0, 0.5, 1, 2, 2.5, 3, 3.5, 4])
  assert found['au12_mean'] == pytest.approx(kept.mean())
  assert found['au12_std'] == pytest.approx(kept.std())
  assert found['au12_max'] == 4 and found['au12_share'] == pytest.approx(6 / 8)
  assert math.isnan(found['au01_mean']) and found['au45_max'] == 0
  assert all(map(math.isnan, au_features(np.zeros((0, 17))).values()))


def test_a_muscle_is_told_by_thirds_and_over_its_baseline():
  rng, times = np.random.default_rng(0), np.arange(20 * RATE) / RATE
  # At rest 2 s, then twice, four times and eight times as strong, 6 s each.
  size = 0.01 * 2.0 ** np.floor(np.maximum(times - 2, -1) / 6 + 1)
  noise = signal.sosfiltfilt(
    signal.butter(4, (20, 50), 'bandpass', fs=RATE, output='sos'),
    rng.standard_normal(len(times)),
  )
  raw, onset = (size * noise)[:, None], 2 * RATE
  found = trial_features(raw[onset:], RATE, ['emg_left'], before=raw[:onset])
  changes = [found[f'emg_left_{name}_change'] for name in ('first', 'middle', 'last')]
  np.testing.assert_allclose(changes, np.log([2, 4, 8]), atol=0.25)
  # The envelope, as it is stored, tells the same as what was recorded.
  stored = clean(raw[:, 0], RATE, 'emg_left')[:, None]
  again = trial_features(stored[onset:], RATE, ['emg_left'], before=stored[:onset])
  for name, value in found.items():
    assert again[name] == pytest.approx(value, abs=0.1), name
  # A gain of the amplifier moves the levels, not what has changed since the baseline.
  louder = trial_features(9 * raw[onset:], RATE, ['emg_left'], before=9 * raw[:onset])
  assert louder['emg_left_last_change'] == pytest.approx(changes[2])
  assert louder['emg_left_last'] == pytest.approx(found['emg_left_last'] + np.log(9))


def test_changes_need_half_of_a_baseline():
  values = 5 + 0.01 * np.arange(20 * RATE)[:, None] / RATE
  before = np.full((2 * RATE, 1), 4.0)
  found = trial_features(values, RATE, ['eda'], before=before)
  assert found['eda_level_change'] == pytest.approx(found['eda_level'] - 4, abs=0.02)
  before[: RATE + 1] = np.nan
  for less in (before, before[:0], None):
    found = trial_features(values, RATE, ['eda'], before=less)
    assert math.isnan(found['eda_level_change']) and found['eda_level'] > 5
