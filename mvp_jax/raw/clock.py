"""Do video and signals of a trial tell the same time? Their pulses say so.

The pulse seen in the face (`pulse`) and the one recorded from the body are the same
heart beats. One is shifted against the other until they agree best. Beats being
much alike, a shift by a whole beat agrees nearly as well; but their distances vary,
and over a whole trial only the right shift fits every one of them. How much better
it fits than all others, given the noise, is the confidence.
"""

import dataclasses

import numpy as np
from scipy.signal import butter, sosfiltfilt

from mvp_jax.raw.cleaning import clean, kind
from mvp_jax.raw.features import beats
from mvp_jax.raw.pulse import pos

# Kinds of channel that show the heart; the wave of a PPG is more like the face's.
CHANNELS = ('ppg', 'ecg')
MAX_OFFSET = 4.0  # seconds
_STEP = 0.02  # seconds between the shifts tried
# When the pulse comes to the face: seconds after the R peak, and after the finger.
# They differ between people by some 0.05 s.
DELAYS = {'ecg': 0.22, 'ppg': -0.05}
# The wave that stands for a beat of the ECG: how fast (s) it rises and falls.
_RISE, _FALL = 0.08, 0.25
_RATE = 32.0  # Hz, of the waves when compared
_LEAST_FRAME_RATE = 12.0  # Hz
_LEAST_SECONDS = 20.0  # of face
_BRIDGED_SECONDS = 0.5  # without a face
_SETTLING = 0.5  # seconds at either end
_HEART = (0.7, 3.0)  # Hz
# Of the heart rate: from below it, to hold its changes, to the first overtone.
_BAND = (0.5, 2.6)
_CLIP = 3.0  # deviations; beyond it is movement
# Noise near a pulse is no white noise: neighbouring samples tell the same.
_INDEPENDENT = 0.5
_NEAR = 0.15  # seconds: shifts so near each other are the same answer


@dataclasses.dataclass(frozen=True)
class Clock:
  """What the pulses say of a trial.

  Attributes:
    offset: seconds that the video is late: what to take from the times of its
      frames. NaN where nothing can be said.
    confidence: probability, 0 to 1, that `offset` is right within 0.15 s.
    agreement: correlation of the two pulses at that offset.
    support: float [shifts], log-likelihood of each shift tried, or None.
    reason: why nothing can be said, or ''.
  """

  offset: float = float('nan')
  confidence: float = 0.0
  agreement: float = float('nan')
  support: np.ndarray | None = None
  reason: str = ''


def compare(colours, frame_times, values, rate, channel):
  """Estimates by how much the video of a trial is late: Clock.

  Args:
    colours: float [frames, 3], `pulse.skin_colour` of each frame, NaN without one.
    frame_times: float [frames], seconds, rising; 0 is the first sample of `values`.
    values: float [time], ECG or PPG, NaN where there is no measurement.
    rate: of the values, Hz.
    channel: their name: 'ppg', 'ecg', 'ecg_left'.
  """
  face, start, reason = _face_wave(colours, frame_times)
  if reason:
    return Clock(reason=reason)
  body = _body_wave(values, rate, channel)
  if body is None:
    return Clock(reason=f'no pulse in {channel}')
  heart = _heart_rate(body)
  body = _band(body, heart)
  seen = np.isfinite(face)
  face = _band(np.where(seen, face, 0), heart)
  times = start + np.arange(len(face)) / _RATE
  # Filters need some samples to settle.
  part = seen & (times >= times[0] + _SETTLING) & (times <= times[-1] - _SETTLING)
  seconds = part.sum() / _RATE
  if seconds < _LEAST_SECONDS:
    return Clock(reason=f'only {seconds:.0f} s of face; it takes {_LEAST_SECONDS:g}')
  face, times = face[part], times[part]
  if face.std() == 0:
    return Clock(reason='the colour of the face never changes')
  body, recorded = _continued(body, heart)
  agreement = np.array(
    [
      _correlation(
        face, np.interp(times - shift - DELAYS[kind(channel)], recorded, body)
      )
      for shift in _shifts()
    ]
  )
  # Log-likelihood of a known wave of unknown size in Gaussian noise.
  terms = _INDEPENDENT * seconds * heart * (_BAND[1] - _BAND[0])
  support = -terms * np.log1p(-(np.clip(agreement, 0, 0.999) ** 2))
  return _decide(support, agreement)


def pool(clocks):
  """One Clock from those of trials that have the offset in common.

  A camera that starts late by the same time in all of a subject's trials shows
  with far more confidence in all of them together than in one.
  """
  told = [clock for clock in clocks if clock.support is not None]
  if not told:
    return Clock(reason='nothing is known of any trial')
  return _decide(sum(clock.support for clock in told), None)


def _decide(support, agreement):
  likely = np.exp(support - support.max())
  likely /= likely.sum()
  best = int(np.argmax(support))
  shifts = _shifts()
  near = abs(shifts - shifts[best]) <= _NEAR
  return Clock(
    float(shifts[best]),
    float(likely[near].sum()),
    float('nan') if agreement is None else float(agreement[best]),
    support,
  )


def _shifts():
  steps = round(MAX_OFFSET / _STEP)
  return _STEP * np.arange(-steps, steps + 1)


def _face_wave(colours, frame_times):
  """(POS wave float64 [time] at `_RATE`, NaN without a face; its start; '') or
  (None, None, reason)."""
  colours = np.asarray(colours, np.float64)
  times = np.asarray(frame_times, np.float64)
  good = np.isfinite(colours).all(axis=1)
  if good.sum() < 2:
    return None, None, 'no face'
  step = np.median(np.diff(times))
  if step > 1 / _LEAST_FRAME_RATE:
    return (
      None,
      None,
      (
        f'{1 / step:.3g} frames a second; a pulse takes '
        f'{_LEAST_FRAME_RATE:g}, better 25'
      ),
    )
  even = np.arange(times[0], times[-1], 1 / _RATE)
  tracks = np.stack(
    [np.interp(even, times[good], colour[good]) for colour in colours.T], axis=1
  )
  after = np.clip(np.searchsorted(times[good], even), 1, good.sum() - 1)
  gaps = np.diff(times[good])[after - 1]
  inside = (even >= times[good][0]) & (even <= times[good][-1])
  tracks[~inside | (gaps > _BRIDGED_SECONDS)] = np.nan
  return pos(tracks, _RATE), times[0], ''


def _body_wave(values, rate, channel):
  """The recorded pulse, float64 [time] at `_RATE`, or None where there is none."""
  if len(values) < _LEAST_SECONDS * rate:
    return None
  wave = clean(values, rate, channel)
  good = np.isfinite(wave)
  if good.mean() < 0.5 or np.ptp(wave[good]) == 0:
    return None
  times = np.arange(len(wave)) / rate
  even = np.arange(0, times[-1], 1 / _RATE)
  if kind(channel) == 'ecg':
    peaks = beats(values, rate, channel)
    if len(peaks) < 10:
      return None
    since = np.maximum(even[:, None] - peaks, 0)
    return (np.exp(-since / _FALL) * -np.expm1(-since / _RISE)).sum(axis=1)
  wave = np.interp(even, times[good], wave[good])
  # A pulse rises faster than it falls, unless it was recorded upside down.
  slope = np.diff(wave)
  return wave * (np.sign((slope**3).mean()) or 1)


def _heart_rate(wave):
  """Hz where the spectrum of a pulse is highest."""
  size = 8 * len(wave)
  power = abs(np.fft.rfft((wave - wave.mean()) * np.hanning(len(wave)), size)) ** 2
  frequencies = np.fft.rfftfreq(size, 1 / _RATE)
  inside = (frequencies >= _HEART[0]) & (frequencies <= _HEART[1])
  return frequencies[inside][np.argmax(power[inside])]


def _band(wave, heart):
  band = heart * np.array(_BAND)
  wave = sosfiltfilt(butter(2, band, 'bandpass', fs=_RATE, output='sos'), wave)
  limit = _CLIP * 1.4826 * np.median(abs(wave))
  return np.clip(wave, -limit, limit) if limit > 0 else wave


def _continued(body, heart):
  """The wave gone on at both ends as it was there, and its times in seconds.

  Without it a shift would have no partner for some of the face, and those that
  leave out most would be favoured, or those that leave out least.
  """
  beat = round(_RATE / heart)
  count = int(np.ceil((MAX_OFFSET + 1) * heart))
  longer = np.concatenate(
    [np.tile(body[:beat], count), body, np.tile(body[-beat:], count)]
  )
  return longer, (np.arange(len(longer)) - count * beat) / _RATE


def _correlation(one, other):
  size = np.sqrt((one @ one) * (other @ other))
  return one @ other / size if size > 0 else 0.0
