"""Handcrafted features of a voice: level, pitch, voicing and slope of the spectrum.

Pitch is by YIN (A. de Cheveigne and H. Kawahara, "YIN, a fundamental frequency
estimator for speech and music", JASA 2002).
"""

import numpy as np

RATE = 16_000  # Hz, of the sound that is looked at
TRACKS = ('level', 'pitch', 'voiced', 'slope')
FEATURES = (
  'level',  # decibels below full scale, mean over what is louder than `_QUIET`
  'level_std',
  'pitch',  # semitones over 55 Hz, median over what is voiced
  'pitch_std',
  'voiced',  # share of the time
  'slope',  # decibels an octave, mean over what is voiced
  'slope_std',
)
_HOP = 0.01  # seconds from one measurement to the next
_WINDOW = 0.04  # seconds that one is of, two periods of the lowest pitch
_PITCH = (60.0, 500.0)  # Hz
_APERIODIC = 0.15  # YIN's threshold
_QUIET = -60.0  # decibels; no voice is told from noise below
_HARMONICS = 10  # whose slope is told
_FINE = 4096  # of the spectrum: a bin each 4 Hz
_REFERENCE = 55.0  # Hz
_LEAST = 10  # measurements
_BATCH = 3000  # measurements at a time: half a minute


def voice_tracks(sound, valid=None):
  """Measures a voice every 10 ms.

  Args:
    sound: float [time] at `RATE`, full scale 1.
    valid: bool [time], where something was recorded; None: everywhere.

  Returns:
    dict: times float64 [n], seconds of the middles, and float64 [n] each, NaN where not
    known: level (dB below full scale), pitch (Hz; where voiced), voiced (0 or 1), slope
    (dB an octave; where voiced).
  """
  sound = np.asarray(sound, np.float64)
  size, hop = round(_WINDOW * RATE), round(_HOP * RATE)
  count = max(0, (len(sound) - size) // hop + 1)
  found = {name: np.full(count, np.nan) for name in TRACKS}
  found['times'] = (np.arange(count) * hop + size / 2) / RATE
  if not count:
    return found
  views = np.lib.stride_tricks.sliding_window_view(sound, size)[::hop]
  known = np.ones(count, bool)
  if valid is not None:
    known = np.lib.stride_tricks.sliding_window_view(valid, size)[::hop].all(1)
  for first in range(0, count, _BATCH):
    part = slice(first, first + _BATCH)
    windows = views[part] - views[part].mean(1, keepdims=True)
    level = 10 * np.log10(np.maximum((windows**2).mean(1), 1e-12))
    pitch = np.where(level > _QUIET, _yin(windows), np.nan)
    voiced = np.isfinite(pitch).astype(float)
    measured = level, pitch, voiced, _slope(windows, pitch)
    for name, values in zip(TRACKS, measured, strict=True):
      found[name][part] = np.where(known[part], values, np.nan)
  return found


def voice_features(sound, valid=None):
  """Features of a voice over a trial: dict, each of `FEATURES` -> float, NaN if none.

  Arguments as of `voice_tracks`.
  """
  found = dict.fromkeys(FEATURES, float('nan'))
  tracks = voice_tracks(sound, valid)
  level, voiced = tracks['level'], tracks['voiced']
  if np.isfinite(voiced).sum() < _LEAST:
    return found
  found['voiced'] = float(np.nanmean(voiced))
  with np.errstate(invalid='ignore'):
    loud = level[level > _QUIET]
  pitches, slopes = semitones(tracks['pitch']), tracks['slope']
  pitches, slopes = (x[np.isfinite(x)] for x in (pitches, slopes))
  for name, values, middle in (
    ('level', loud, np.mean),
    ('pitch', pitches, np.median),
    ('slope', slopes, np.mean),
  ):
    if len(values) >= _LEAST:
      found |= {name: float(middle(values)), f'{name}_std': float(values.std())}
  return found


def semitones(pitch):
  """Of Hz: semitones over 55 Hz, NaN where there is none."""
  with np.errstate(invalid='ignore', divide='ignore'):
    return 12 * np.log2(pitch / _REFERENCE)


def _yin(windows):
  """Pitch of each window [n, time] in Hz, NaN where it has none: float64 [n]."""
  size = windows.shape[1]
  least, most = (round(RATE / hertz) for hertz in reversed(_PITCH))
  half = size - most - 1
  # d(lag) = sum over j < half of (x[j] - x[j + lag])^2, from energies and products.
  padded = 2 ** int(np.ceil(np.log2(size + half)))
  products = np.fft.irfft(
    np.fft.rfft(windows, padded) * np.conj(np.fft.rfft(windows[:, :half], padded)),
    padded,
  )[:, : most + 2]
  squares = np.pad(np.cumsum(windows**2, 1), ((0, 0), (1, 0)))
  lags = np.arange(most + 2)
  energies = squares[:, lags + half] - squares[:, lags]
  difference = np.maximum(energies[:, :1] + energies - 2 * products, 0)
  sums = np.cumsum(difference[:, 1:], 1)
  normal = np.ones_like(difference)
  normal[:, 1:] = difference[:, 1:] * lags[1:] / np.maximum(sums, 1e-20)
  # The first dip below the threshold, at its bottom.
  inner = normal[:, least : most + 1]
  bottom = (inner <= normal[:, least - 1 : most]) & (inner < normal[:, least + 1 :])
  dips = bottom & (inner < _APERIODIC)
  lag = least + dips.argmax(1)
  rows = np.arange(len(windows))
  # The parabola through the differences themselves, as those of a lag of 0 tilt less.
  before, at, after = (difference[rows, lag + shift] for shift in (-1, 0, 1))
  bend = before - 2 * at + after
  shift = np.where(bend > 0, 0.5 * (before - after) / np.where(bend > 0, bend, 1), 0)
  return np.where(dips.any(1), RATE / (lag + np.clip(shift, -1, 1)), np.nan)


def _slope(windows, pitch):
  """Fall of the harmonics: dB an octave by least squares, float64 [n].

  NaN where there is no pitch.
  """
  size = windows.shape[1]
  window = np.hanning(size + 1)[:-1]
  powers = np.abs(np.fft.rfft(windows * window, _FINE)) ** 2
  numbers = np.arange(1, _HARMONICS + 1)
  places = np.rint(
    np.nan_to_num(pitch, nan=_PITCH[0])[:, None] * numbers * _FINE / RATE
  )
  found = np.take_along_axis(powers, places.astype(int), 1)
  decibels = 10 * np.log10(np.maximum(found, 1e-12))
  octaves = np.log2(numbers) - np.log2(numbers).mean()
  return np.where(np.isfinite(pitch), decibels @ octaves / (octaves @ octaves), np.nan)
