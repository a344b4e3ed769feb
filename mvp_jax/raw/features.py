"""Handcrafted features of a trial, for the classic baselines.

Beats, breaths and skin conductance responses are found by NeuroKit2 (D. Makowski
et al., "NeuroKit2: A Python toolbox for neurophysiological signal processing",
Behavior Research Methods, 2021); it is imported on the first use, since that takes
two seconds. Heart rate variability is as the Task Force of the ESC and NASPE
defines it (Circulation 93, 1996), over intervals that a heart can have.

Odd signals raise nothing: what they do not define is NaN.
"""

import contextlib
import warnings

import numpy as np

from mvp_jax.raw.cleaning import clean, kind, log_envelope
from mvp_jax.raw.openface import INTENSITIES
from mvp_jax.raw.signals import bridge_gaps

# Beats a minute, mean, and their change per minute; ms; ms; the share of neighbouring
# intervals that differ by over 50 ms.
_HEART = ('heart_rate', 'heart_rate_slope', 'sdnn', 'rmssd', 'pnn50')
# Names of a channel's features by its kind. Level, size and amplitude are in the
# unit of the channel.
FEATURES = {
  'ecg': _HEART,
  'ppg': (*_HEART, 'amplitude', 'amplitude_std'),  # of the pulse wave
  'eda': (
    'level',
    'level_slope',  # of the tonic part; per minute
    'responses',  # a minute
    'response_size',  # mean height of a response, 0 without any
    'response_sum',  # of heights, per minute
    'phasic_std',
  ),
  'resp': ('rate', 'rate_std', 'amplitude'),  # breaths a minute
  'temp': ('level', 'level_slope'),  # per minute
  # Means of the logarithm of the envelope over thirds of the trial. Of real facial EMG
  # (296 trials, 6 folds of people) their changes tell happy from angry with AUROC .73;
  # mean, 90th percentile and mean from 2 to 8 s with .69.
  'emg': ('first', 'middle', 'last'),
}
# Features that are also told as a change since the baseline, before the onset:
# 'eda_level_change'. Between people the levels differ by skin, gel and electrode.
CHANGES = {'eda': ('level',), 'temp': ('level',), 'emg': FEATURES['emg']}
AU_STATISTICS = ('mean', 'std', 'max', 'share')  # `share` of frames at 1 or above

_INTERVALS = (0.3, 2.0)  # seconds, of a heart: 200 to 30 beats a minute
_ODD = 0.3  # An interval so far (share) from the median around it is a wrong beat.
_AROUND = 5  # intervals before and after
_LEAST_INTERVALS = 5
_LEAST_SECONDS = 5.0
_LARGEST = 1e30  # Powers of larger numbers would leave the range of floats.
_LEAST_RESPONSE = 0.01  # microsiemens
_AU_PRESENT = 1.0  # of OpenFace's intensities, 0 to 5: 'A trace'


def feature_names(channels):
  """Names of the features of some channels, in the order of `trial_features`."""
  return [
    f'{channel}_{name}'
    for channel in channels
    for name in (
      *FEATURES.get(kind(channel), ()),
      *(f'{name}_change' for name in CHANGES.get(kind(channel), ())),
    )
  ]


def trial_features(signals, rate, channels, valid=None, before=None):
  """The features of one trial.

  Args:
    signals: float [time, channel], not standardised.
    rate: Hz.
    channels: names, such as 'eda', 'ecg_left'; others than of `FEATURES` have none.
    valid: bool [time, channel], where there was a measurement; NaN is none either.
    before: float [time, channel], the baseline, NaN where there is no measurement.

  Returns:
    dict: each of `feature_names(channels)` -> float, NaN where not defined.
  """
  signals = np.array(signals, np.float64, ndmin=2)
  if valid is not None:
    signals[~np.asarray(valid, bool)] = np.nan
  signals[~(abs(signals) < _LARGEST)] = np.nan
  if before is None:
    before = np.zeros((0, len(channels)))
  before = np.where(abs(before) < _LARGEST, before, np.nan)
  found = dict.fromkeys(feature_names(channels), float('nan'))
  for channel, values, earlier in zip(channels, signals.T, before.T, strict=True):
    if kind(channel) in FEATURES and _usable(values, rate):
      with _quiet():
        features = _OF[kind(channel)](values, rate, channel)
        features |= _changes(features, values, rate, channel, earlier)
      found |= {
        f'{channel}_{name}': float(value)
        for name, value in features.items()
        if np.isfinite(value)
      }
  return found


def au_names(units=INTENSITIES):
  return [f'au{unit:02d}_{name}' for unit in units for name in AU_STATISTICS]


def au_features(intensities, valid=None, units=INTENSITIES):
  """Statistics of action units over a trial.

  Args:
    intensities: float [frames, units], 0 to 5, NaN where there is no measurement.
    valid: bool [frames].

  Returns:
    dict: each of `au_names(units)` -> float, NaN where no frame has it.
  """
  intensities = np.array(intensities, np.float64).reshape(-1, len(units))
  if valid is not None:
    intensities[~np.asarray(valid, bool)] = np.nan
  found = dict.fromkeys(au_names(units), float('nan'))
  for unit, course in zip(units, intensities.T, strict=True):
    course = course[abs(course) < _LARGEST]
    if len(course):
      share = (course >= _AU_PRESENT).mean()
      values = course.mean(), course.std(), course.max(), share
      found |= {
        f'au{unit:02d}_{name}': float(value)
        for name, value in zip(AU_STATISTICS, values, strict=True)
      }
  return found


def beats(values, rate, channel):
  """When the heart beats: seconds since the first sample, float64 [beats].

  R peaks of an ECG, systolic peaks of a PPG; none where NeuroKit2 finds none, or
  the signal is too short or odd for it. Arguments as in `cleaning.clean`.
  """
  return _moments(values, rate, channel)[0]


def intervals(moments, gaps=()):
  """The times between beats without what a wrong or missing beat makes of them.

  `moments` of beats are seconds, rising; an interval that holds one of `gaps`, moments
  without measurement, is none.

  Returns:
    (float64 [n], seconds, bool [n]: whether the one before is its neighbour).
  """
  steps = np.diff(moments)
  good = (_INTERVALS[0] <= steps) & (steps <= _INTERVALS[1])
  good &= np.diff(np.searchsorted(np.sort(gaps), moments)) == 0
  kept = np.flatnonzero(good)
  for i, index in enumerate(kept):
    around = steps[kept[max(0, i - _AROUND) : i + _AROUND + 1]]
    usual = np.median(around)
    good[index] = abs(steps[index] - usual) <= _ODD * usual
  neighbour = np.concatenate([[False], good[:-1]])[good] if len(good) else good
  return steps[good], neighbour


def heart_features(moments, gaps=()):
  """Heart rate and its variability: dict; arguments as of `intervals`."""
  steps, neighbour = intervals(moments, gaps)
  if len(steps) < _LEAST_INTERVALS:
    return {}
  rates = 60 / steps
  changes = 1000 * np.diff(steps)[neighbour[1:]]
  features = {
    'heart_rate': 60 / steps.mean(),
    'sdnn': 1000 * steps.std(ddof=1),
    'heart_rate_slope': _slope(np.cumsum(steps), rates),
  }
  if len(changes):
    features |= {
      'rmssd': np.sqrt((changes**2).mean()),
      'pnn50': (abs(changes) > 50).mean(),
    }
  return features


def _ecg(values, rate, channel):
  return heart_features(*_moments(values, rate, channel)[:2])


def _ppg(values, rate, channel):
  moments, gaps, wave = _moments(values, rate, channel)
  # Each peak over the lowest point since the one before.
  places = np.round(moments * rate).astype(int)
  heights = np.array(
    [
      wave[b] - wave[a:b].min()
      for a, b in zip(places[:-1], places[1:], strict=True)
      if b > a
    ]
  )
  features = heart_features(moments, gaps)
  if len(heights) >= _LEAST_INTERVALS:
    features |= {'amplitude': np.median(heights), 'amplitude_std': heights.std()}
  return features


def _eda(values, rate, channel):
  import neurokit2 as nk

  wave, _ = _filled(clean(values, rate, channel))
  minutes = len(wave) / rate / 60
  with _odd():
    parts = nk.eda_phasic(wave, sampling_rate=rate, method='highpass')
    tonic, phasic = (parts[f'EDA_{name}'].to_numpy() for name in ('Tonic', 'Phasic'))
    times = np.arange(len(tonic)) / rate
    features = {
      'level': tonic.mean(),
      'level_slope': 60 * _slope(times, tonic),
      'phasic_std': phasic.std(),
      'responses': 0.0,
      'response_size': 0.0,
      'response_sum': 0.0,
    }
    # Raises where there is none.
    with _odd():
      _, info = nk.eda_peaks(
        phasic, sampling_rate=rate, method='neurokit', amplitude_min=0.1
      )
      heights = np.asarray(info['SCR_Amplitude'], float)
      heights = heights[heights >= _LEAST_RESPONSE]  # drops NaN too
      if len(heights):
        features |= {
          'responses': len(heights) / minutes,
          'response_size': heights.mean(),
          'response_sum': heights.sum() / minutes,
        }
    return features
  return {}


def _resp(values, rate, channel):
  import neurokit2 as nk

  wave, _ = _filled(clean(values, rate, channel))
  with _odd():
    signals, info = nk.rsp_peaks(wave, sampling_rate=rate)
    peaks = np.asarray(info['RSP_Peaks'], float)
    peaks = peaks[np.isfinite(peaks)]
    breaths = 60 * rate / np.diff(peaks)
    if len(breaths) >= 2:
      depth = nk.rsp_amplitude(wave, signals)
      return {
        'rate': 60 * rate / np.diff(peaks).mean(),
        'rate_std': breaths.std(),
        'amplitude': np.nanmean(depth),
      }
  return {}


def _temp(values, rate, channel):
  wave = clean(values, rate, channel)
  good = np.isfinite(wave)
  times = np.arange(len(wave)) / rate
  return {
    'level': wave[good].mean(),
    'level_slope': 60 * _slope(times[good], wave[good]),
  }


def _emg(values, rate, channel):
  wave = clean(values, rate, channel)
  logs = log_envelope(wave, np.nanmean(wave))
  thirds = np.array_split(logs, len(FEATURES['emg']))
  return dict(zip(FEATURES['emg'], map(np.nanmean, thirds), strict=True))


def _changes(features, values, rate, channel, before):
  """Of `CHANGES`: what is told of the trial, less the level at rest."""
  names = CHANGES.get(kind(channel), ())
  if not names or np.isfinite(before).sum() < max(1, len(before) / 2):
    return {}
  # In one piece, so that no filter has to settle at the onset.
  wave = clean(np.concatenate([before, values]), rate, channel)
  if kind(channel) == 'emg':
    wave = log_envelope(wave, np.nanmean(wave))
  rest = np.nanmean(wave[: len(before)])
  return {f'{name}_change': features[name] - rest for name in names if name in features}


_OF = {'emg': _emg, 'ecg': _ecg, 'ppg': _ppg, 'eda': _eda, 'resp': _resp, 'temp': _temp}


def _moments(values, rate, channel):
  """Beats (s), moments without measurement (s), and the cleaned wave [time]."""
  nothing = np.zeros(0), np.zeros(0), np.zeros(0)
  values = np.asarray(values, np.float64)
  if not _usable(values, rate):
    return nothing
  import neurokit2 as nk

  if float(rate).is_integer():
    rate = int(rate)  # NeuroKit2 finds no pulse at 128.0 Hz
  wave, gaps = _filled(clean(values, rate, channel))
  with _quiet(), _odd():
    if kind(channel) == 'ecg':
      _, info = nk.ecg_peaks(nk.ecg_clean(wave, sampling_rate=rate), sampling_rate=rate)
      peaks = info['ECG_R_Peaks']
    else:
      _, info = nk.ppg_peaks(
        nk.ppg_clean(wave, sampling_rate=rate), sampling_rate=rate, method='charlton'
      )
      peaks = info['PPG_Peaks']
    peaks = np.asarray(peaks, float)
    peaks = np.unique(peaks[np.isfinite(peaks)])
    peaks = peaks[(peaks >= 0) & (peaks < len(wave))]
    return _between_samples(wave, peaks.astype(int)) / rate, gaps / rate, wave
  return nothing


def _between_samples(wave, peaks):
  """Peaks at the top of the parabola through three samples, in samples."""
  inner = (peaks > 0) & (peaks < len(wave) - 1)
  before, at, after = (
    wave[np.clip(peaks + shift, 0, len(wave) - 1)] for shift in (-1, 0, 1)
  )
  bend = before - 2 * at + after
  top = inner & (bend < 0) & (at >= before) & (at >= after)
  return peaks + np.where(top, 0.5 * (before - after) / np.where(top, bend, 1), 0)


def _filled(wave):
  """Without NaN; and the samples that had it."""
  good = np.isfinite(wave)
  everywhere = np.arange(len(wave))
  return np.interp(everywhere, everywhere[good], wave[good]), everywhere[~good]


def _usable(values, rate):
  """Whether enough of it is measured and it moves."""
  good = np.isfinite(values)
  if not good.any() or len(values) < _LEAST_SECONDS * rate:
    return False
  _, valid = bridge_gaps(values, rate)
  return valid.mean() > 0.5 and np.ptp(values[good]) > 0


def _slope(times, values):
  if len(values) < 2 or np.ptp(times) <= 0:
    return np.nan
  return np.polyfit(times - times[0], values, 1)[0]


@contextlib.contextmanager
def _quiet():
  """NeuroKit2 and NumPy warn of all that is odd; NaN says the same."""
  with warnings.catch_warnings(), np.errstate(all='ignore'):
    warnings.simplefilter('ignore')
    yield


def _odd():
  """NeuroKit2 raises errors of many kinds where it finds no peak."""
  return contextlib.suppress(
    ArithmeticError,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    np.linalg.LinAlgError,
  )
