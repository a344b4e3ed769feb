"""Hum and wander go, what the body does stays, and bad channels are flagged."""

import numpy as np
import pytest
import scipy.signal as sps

from mvp_jax.raw.cleaning import clean, hums
from mvp_jax.raw.signal_quality import quality
from mvp_jax.synthetic import signals
from mvp_jax.synthetic.spec import TwinSpec

RATE = 128
TIMES = np.arange(60 * RATE) / RATE


@pytest.fixture(scope='module')
def body():
  return signals.simulate_body(TwinSpec(subjects=2), 2, 3)


def _sine(frequency):
  return np.sin(2 * np.pi * frequency * TIMES)


@pytest.mark.parametrize('mains', [50.0, 60.0])
def test_hum_is_found_and_removed(mains):
  beat = np.exp(-(((TIMES % 0.8 - 0.4) / 0.012) ** 2) / 2)
  noise = 0.005 * np.random.default_rng(0).standard_normal(len(TIMES))
  assert hums(beat + noise, RATE) == []
  assert hums(beat + noise + 0.3 * _sine(mains), RATE) == [mains]
  cleaned = clean(beat + noise + 0.3 * _sine(mains), RATE, 'ecg_left')
  spectrum = abs(np.fft.rfft(cleaned[RATE:-RATE])) / len(TIMES)
  frequencies = np.fft.rfftfreq(len(TIMES) - 2 * RATE, 1 / RATE)
  assert spectrum[abs(frequencies - mains) < 0.3].max() < 0.002
  assert np.corrcoef(cleaned, clean(beat, RATE, 'ecg'))[0, 1] > 0.99


@pytest.mark.parametrize(
  ('channel', 'kept', 'lost'),
  [
    ('ecg', (2, 20), (0.05,)),
    ('ppg', (1, 4), (0.05, 25)),
    ('eda', (0.1, 0.05), (20,)),
    ('resp', (0.2, 0.5), (0.01, 20)),
    ('temp', (0.05,), (10,)),
  ],
)
def test_bands(channel, kept, lost):
  for frequency in kept:
    cleaned = clean(_sine(frequency), RATE, channel)
    assert np.corrcoef(cleaned, _sine(frequency))[0, 1] > 0.99, frequency
    assert cleaned[RATE:-RATE].std() > 0.6, frequency
  for frequency in lost:
    inner = clean(3 + _sine(frequency), RATE, channel)[10 * RATE : -10 * RATE]
    assert inner.std() < 0.25, frequency


def test_levels_are_kept_where_they_mean_something():
  for channel, level in (('eda', 5.0), ('temp', 33.0)):
    assert clean(np.full(1000, level), RATE, channel) == pytest.approx(level)


def test_gaps_and_unknown_channels():
  values = _sine(1.1)
  values[1000:1050] = values[4000:4400] = np.nan
  for channel in ('ppg', 'other_grip'):
    cleaned = clean(values, RATE, channel)
    np.testing.assert_array_equal(
      np.flatnonzero(np.isnan(cleaned)), np.arange(4000, 4400)
    )
  np.testing.assert_allclose(cleaned[:1000], values[:1000], rtol=1e-6)
  assert np.isnan(clean(np.full(500, np.nan), RATE, 'ecg')).all()


@pytest.mark.parametrize(
  ('channel', 'unit', 'signal'),
  [
    ('ecg_right', 'millivolt', 'ecg'),
    ('ppg', '', 'ppg'),
    ('eda', 'microsiemens', 'eda'),
    ('resp', '', 'respiration'),
  ],
)
def test_good_signals_have_no_flag(body, channel, unit, signal):
  values = getattr(body, signal)
  assert (
    quality(values[:, 0] if values.ndim == 2 else values, RATE, channel, unit).flags
    == ()
  )


def test_flags(body):
  ppg, eda = body.ppg, body.eda
  dark = ppg.copy()
  dark[1000:5000] = np.nan
  stuck = ppg.copy()
  stuck[1000:5000] = 3.0
  clipped = np.clip(ppg, *np.quantile(ppg, [0.1, 0.9]))
  noise = np.random.default_rng(0).standard_normal(len(ppg))
  for values, channel, unit, flags in (
    (dark, 'ppg', '', ('missing',)),
    (stuck, 'ppg', '', ('flat',)),
    (clipped, 'ppg', '', ('clipped',)),
    (noise, 'ppg', '', ('no_pulse',)),
    (noise, 'ecg', 'millivolt', ('no_pulse',)),
    (noise, 'eda', '', ()),
    (1000 * eda, 'eda', 'microsiemens', ('out_of_range',)),  # it is nanosiemens
    (np.full(2000, 2.0), 'eda', 'microsiemens', ('flat',)),
    (np.full(2000, np.nan), 'ppg', '', ('missing', 'no_pulse')),
    (np.zeros(2000), 'ecg', 'millivolt', ('flat', 'no_pulse')),
  ):
    found = quality(values, RATE, channel, unit).flags
    if 'flat' in flags or 'missing' in flags:  # there a pulse may be missing too
      found = tuple(flag for flag in found if flag in flags)
    assert found == flags, (channel, flags)


def test_shares():
  values = np.sin(TIMES)
  values[: len(TIMES) // 4] = np.nan
  found = quality(values, RATE, 'resp')
  assert found.missing == pytest.approx(0.25)
  assert found.no_pulse == found.flat == found.out_of_range == 0


@pytest.mark.parametrize(('rate', 'mains'), [(100, 50.0), (128, 60.0), (1000, 50.0)])
def test_of_an_emg_the_envelope_is_kept_whatever_the_mains(rate, mains):
  times = np.arange(30 * rate) / rate
  size = 1 + 0.8 * np.sin(2 * np.pi * 0.3 * times)
  band = sps.butter(4, (22, 0.42 * rate), 'bandpass', fs=rate, output='sos')
  muscle = sps.sosfiltfilt(band, np.random.default_rng(0).standard_normal(len(times)))
  hum = 3 * muscle.std() * np.sin(2 * np.pi * mains * times + 0.4)
  drift = 5 * muscle.std() * np.sin(2 * np.pi * 0.1 * times)
  found = clean(size * muscle + hum + drift + 7, rate, 'emg_left')
  assert (found >= 0).all()
  slow = sps.butter(2, 1.0, fs=rate, output='sos')
  inner = slice(2 * rate, -2 * rate)
  assert np.corrcoef(sps.sosfiltfilt(slow, found)[inner], size[inner])[0, 1] > 0.95
  # An envelope stays one.
  again = clean(found, rate, 'emg_left')
  assert np.corrcoef(again[inner], found[inner])[0, 1] > 0.98
  assert again.mean() == pytest.approx(found.mean(), rel=0.02)
