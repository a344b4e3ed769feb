"""Cleans body signals: hum of the mains, wander of the baseline, noise.

Filters run both ways and delay nothing. What a channel is, its name says up to the
first underscore: ecg, ecg_left, ppg, eda, resp, temp, emg; others stay as they are.
"""

import numpy as np
from scipy.signal import butter, iirnotch, sosfiltfilt, tf2sos

from mvp_jax.raw.signals import bridge_gaps

# Hz that are kept: the usual bands of NeuroKit2 (Makowski et al. 2021), except that
# the level of EDA and temperature is kept.
BANDS = {
  'ecg': (0.5, 45.0),
  'ppg': (0.5, 8.0),
  'eda': (0.0, 3.0),
  'resp': (0.05, 3.0),
  'temp': (0.0, 1.0),
}
# Of an EMG the envelope is kept: what a muscle does is told by the size of its
# interference pattern, above 20 Hz (van Boxtel, Psychophysiology 38, 2001), and that
# changes slowly.
# Not up to half of the rate, where the mains lie if that is 100 or 120 Hz: of 296
# trials of real facial EMG at 100 Hz, plain features of 20-50 Hz tell films of happy
# from films of angry faces with AUROC .63, those of 20-45 Hz with .70.
_EMG, _ENVELOPE_TO = (20.0, 450.0), 10.0  # Hz
_HIGHEST = 0.45  # of the rate
_LEAST_ENVELOPE = 0.01  # of its mean
# What is never negative and has less of its deviation from 20 Hz on is an envelope
# already. Of 148 pieces of real facial EMG at 100 Hz raw ones have .045 or more, their
# envelopes at most .022 once they are stored at 128 Hz.
_ENVELOPED = 0.032
_MAINS = (50.0, 60.0)  # Hz
_LINE_RATIO = 5.0  # of power at the mains to that beside it: a hum
_LEAST_SECONDS = 2.0


def kind(channel):
  """What the channel of a name is: 'ecg_left' -> 'ecg'."""
  return channel.partition('_')[0].lower()


def clean(values, rate, channel):
  """Cleans one channel, float [time], NaN where there is no measurement.

  Returns:
    float64 [time]: NaN where gaps are too long to be bridged. Of an EMG it is the
    envelope, in the same unit and never negative. A signal of an unknown kind, or
    shorter than two seconds, comes back with its gaps bridged.
  """
  filled, valid = bridge_gaps(np.asarray(values, np.float64), rate)
  if not valid.any():
    return np.full(len(filled), np.nan)
  signal = np.interp(
    np.arange(len(filled)), np.flatnonzero(valid), filled[valid].astype(np.float64)
  )
  if kind(channel) == 'emg' and len(signal) >= _LEAST_SECONDS * rate:
    signal = _envelope(signal, rate)
  elif kind(channel) in BANDS and len(signal) >= _LEAST_SECONDS * rate:
    for line in hums(signal, rate):
      signal = _both_ways(tf2sos(*iirnotch(line, line, fs=rate)), signal, rate)
    signal = _band(signal, rate, *BANDS[kind(channel)])
  return np.where(valid, signal, np.nan)


def _envelope(signal, rate):
  """The mean rectified amplitude of an EMG, smoothed; an envelope stays one."""
  low, high = _EMG[0], min(_EMG[1], _HIGHEST * rate)
  if low < 0.8 * high:
    band = butter(4, (low, high), 'bandpass', fs=rate, output='sos')
    fast = _both_ways(band, signal, rate)
    if signal.min() < 0 or fast.std() > _ENVELOPED * signal.std():
      for line in hums(fast, rate):
        fast = _both_ways(tf2sos(*iirnotch(line, line, fs=rate)), fast, rate)
      signal = abs(fast)
  if _HIGHEST * rate > _ENVELOPE_TO:
    slow = butter(4, _ENVELOPE_TO, fs=rate, output='sos')
    signal = _both_ways(slow, abs(signal), rate)
  return np.maximum(signal, 0)


def log_envelope(wave, mean):
  """Logarithm of EMGs' envelopes, float [time, ...], NaN where that is NaN.

  Muscles of different people, under different electrodes, differ by factors. `mean` is
  that of each; below a hundredth of it a logarithm tells of noise alone.
  """
  return np.log(np.maximum(wave, _LEAST_ENVELOPE * mean + 1e-30))


def hums(values, rate):
  """The mains frequencies (Hz) that stand out in a signal: a list, often empty."""
  power = abs(np.fft.rfft((values - values.mean()) * np.hanning(len(values)))) ** 2
  frequencies = np.fft.rfftfreq(len(values), 1 / rate)
  found = []
  for line in _MAINS:
    distance = abs(frequencies - line)
    beside = power[(distance > 1) & (distance < 4)]
    if (
      line + 1 < rate / 2
      and len(beside)
      and power[distance < 1].max(initial=0) > _LINE_RATIO * max(beside.max(), 1e-30)
    ):
      found.append(line)
  return found


def _band(values, rate, low, high):
  for edge, way in ((low, 'highpass'), (high, 'lowpass')):
    if 0 < edge < 0.45 * rate:
      values = _both_ways(butter(2, edge, way, fs=rate, output='sos'), values, rate)
  return values


def _both_ways(sos, values, rate):
  return sosfiltfilt(sos, values, padlen=min(len(values) - 1, round(2 * rate)))
