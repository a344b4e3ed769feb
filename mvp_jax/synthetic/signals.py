"""Body signals of a twin: EDA, pulse wave, respiration and ECG.

Arousal a of the trial shows here and nowhere else, growing in over the first
seconds after the onset:

- EDA: more and larger skin conductance responses, a tonic level that rises
  (a > 0) or falls (a < 0) over the trial;
- pulse: the heart is faster by a few beats a minute, varies less, and the
  pulse wave is smaller.

These stand on what is each subject's own (tonic level, rate and size of
spontaneous responses, heart rate, its variability, strength of the reaction)
and on drift between trials, noise and motion artefacts; between subjects the
levels differ far more than any effect. The ECG shows the same beats as the
pulse. Respiration is believable filler. Nothing here depends on valence.

In a coupled twin arousal changes none of these; skin conductance responses come at the
moments that `moments` gives, and at no others. An arousal that changes in time is shown
by the tonic level of the EDA alone, which follows it by a second.
"""

import dataclasses
import math

import numpy as np

from mvp_jax.synthetic.moments import moments
from mvp_jax.synthetic.ratings import latents
from mvp_jax.synthetic.spec import (
  BASELINE_SECONDS,
  SIGNAL_RATE,
  TRIAL_SECONDS,
  stream,
  wander,
)

NUM_SAMPLES = (BASELINE_SECONDS + TRIAL_SECONDS) * SIGNAL_RATE
_RUN_IN_SECONDS = 10  # simulated before the baseline, so that it starts settled
# Always as many random numbers, so that arousal changes nothing but its effect.
_RESPONSES_A_SECOND = 2.5
_GIVEN_SIZE = 2.5  # of responses to events, over that of spontaneous ones
# Share of the level by which an arousal of 1 raises it, if that changes in time.
_FOLLOWING, _FOLLOWING_SECONDS = 0.8, 1.0
_BANK = 2**18  # samples of filler noise per subject and kind
# From the R peak to the start of the pulse wave in the finger, and in the face.
PULSE_SECONDS, FACE_PULSE_SECONDS = 0.20, 0.15
# Of each wave of a beat: centre (s from the R peak) and deviation (s) at one beat
# a second, and height (mV) in the leads from the right and the left arm to the
# left leg (II and III).
_WAVES = np.array(
  [
    (-0.170, 0.022, 0.13, 0.06),  # P
    (-0.028, 0.010, -0.11, -0.07),  # Q
    (0.000, 0.011, 1.10, 0.65),  # R
    (0.028, 0.011, -0.24, -0.16),  # S
    (0.270, 0.050, 0.30, 0.16),  # T
  ]
)


@dataclasses.dataclass(frozen=True)
class Body:
  """One trial, from `spec.baseline_seconds` before the onset to its end.

  The signals are float64 [time], the ECG [time, 2]: the leads from the right and
  the left arm. `beats` and `responses` are seconds since the onset, of the starts
  of pulse waves and skin conductance responses; R peaks come `PULSE_SECONDS`
  before the former.
  """

  eda: np.ndarray  # microsiemens
  ppg: np.ndarray  # arbitrary units
  ecg: np.ndarray  # millivolt
  respiration: np.ndarray
  beats: np.ndarray
  responses: np.ndarray


def simulate_body(spec, subject, trial, felt=None):
  """EDA, pulse, ECG and respiration of one trial (from 1); returns a `Body`.

  `felt` is an arousal that changes in time, to be shown in place of the trial's own: a
  function of seconds, float [n] -> float [n] from -1 to 1.
  """
  times = (
    np.arange(
      -(spec.baseline_seconds + _RUN_IN_SECONDS) * SIGNAL_RATE,
      round(spec.trial_seconds * SIGNAL_RATE),
    )
    / SIGNAL_RATE
  )
  arousal, given = 0.0, None
  if spec.variant == 'coupled':
    given = moments(spec, subject, trial).responses
  elif felt is None:
    arousal = float(np.clip(latents(spec, subject)[trial - 1, 1], -2.3, 2.3))
  person = _person(spec, subject)
  rng = stream(spec, 'trial_body', subject, trial)
  eda, responses = _eda(person, arousal, times, spec, rng, given, felt)
  breath = (
    2
    * math.pi
    * np.cumsum(person['breaths'] / 60 * (1 + 0.1 * wander(rng, times)))
    / SIGNAL_RATE
  )
  ppg, beats = _ppg(person, arousal, times, breath, spec.trial_seconds, rng)
  respiration = person['breath_size'] * (
    np.sin(breath)
    + 0.25 * np.sin(2 * breath + 0.5)
    + 0.2 * wander(rng, times, (10, 40))
    + 0.02 * rng.standard_normal(len(times))
  )
  ecg = electrocardiogram(
    stream(spec, 'ecg', subject, trial), times, beats - PULSE_SECONDS, breath
  )
  keep = slice(_RUN_IN_SECONDS * SIGNAL_RATE, None)
  return Body(
    eda[keep],
    ppg[keep],
    ecg[keep],
    respiration[keep],
    beats[beats >= -spec.baseline_seconds],
    responses[responses >= -spec.baseline_seconds],
  )


def face_pulse(spec, subject, trial):
  """The pulse in the skin of the face at `spec.frame_times`: float64, 0 to 1.

  It has the beats of the other signals, and comes before the one in the finger.
  """
  beats = simulate_body(spec, subject, trial).beats
  phase = np.interp(
    spec.frame_times + PULSE_SECONDS - FACE_PULSE_SECONDS, beats, np.arange(len(beats))
  )
  shape, wave = _pulse(_person(spec, subject)['reflection'])
  return np.interp(phase % 1, shape, (wave - wave.min()) / np.ptp(wave))


def _person(spec, subject):
  """What is a subject's own, the same in all trials."""
  rng = stream(spec, 'body', subject)

  def around(median, spread):
    return median * math.exp(spread * float(np.clip(rng.normal(), -2, 2)))

  return {
    'level': around(5.0, 0.5),  # microsiemens
    'responses': around(5.0, 0.15),  # a minute
    'response_size': around(0.045, 0.25),  # share of the level
    'eda_gain': around(1.0, 0.15),
    'heart_rate': 72 + 9 * float(np.clip(rng.normal(), -2, 2)),  # a minute
    'variability': around(1.6, 0.25),  # beats a minute
    'pulse_gain': around(1.0, 0.15),
    'pulse_size': around(1500.0, 0.5),
    'reflection': rng.uniform(0.25, 0.5),  # diastolic over systolic wave
    'breaths': rng.uniform(12, 18),  # a minute
    'breath_size': around(2000.0, 0.4),
  }


def _onset(times, delay, rise):
  """0 up to `delay` s after the onset, then towards 1 within about `rise` s."""
  return 1 - np.exp(-np.maximum(0, times - delay) / rise)


def _eda(person, arousal, times, spec, rng, given=None, felt=None):
  """Skin conductance [time] and the starts of its responses (seconds).

  These are `given`; None: drawn.
  """
  effect = person['eda_gain'] * arousal
  rate = person['responses'] / 60 * np.exp(0.65 * effect * _onset(times, 1.5, 3))
  most = round(_RESPONSES_A_SECOND * spec.trial_seconds)
  starts = _renewals(rng, rate, times, most) if given is None else given
  variety = 0.3 * rng.standard_normal(most)[: len(starts)]
  sizes = person['response_size'] * np.exp(
    0.35 * effect * _onset(starts, 1.5, 3) + variety
  )
  if given is not None:
    sizes = _GIVEN_SIZE * sizes
  phasic = np.zeros(len(times))
  np.add.at(phasic, np.searchsorted(times, starts), sizes)
  size = 2 * len(times)
  phasic = np.fft.irfft(
    np.fft.rfft(phasic, size) * np.fft.rfft(bateman(times - times[0]), size), size
  )[: len(times)]
  tonic = (
    0.15 * rng.normal()
    + 0.13 * effect * _onset(times, 2, 25)
    - 0.0003 * times
    + 0.03 * wander(rng, times, (15, 60))
  )
  if felt is not None:
    tonic += _FOLLOWING * person['eda_gain'] * felt(times - _FOLLOWING_SECONDS)
  eda = person['level'] * (np.exp(tonic) + phasic)
  for _ in range(rng.poisson(0.5)):  # the electrode is pulled
    moment = rng.uniform(-spec.baseline_seconds, spec.trial_seconds)
    size = rng.normal() * 0.1 * person['level']
    eda += size * np.exp(-np.maximum(0, times - moment) / 0.7) * (times > moment)
  eda += 0.004 * rng.standard_normal(len(times))
  return np.maximum(eda, 0.2), starts


def bateman(times, rise=0.75, decay=3.0):
  """One skin conductance response of height 1 (Bateman function)."""
  curve = np.exp(-times / decay) - np.exp(-times / rise)
  return curve / curve.max()


def _renewals(rng, rate, times, most):
  """At most `most` moments with `rate` (Hz, [time]), more regular than Poisson."""
  expected = np.cumsum(rate) / SIGNAL_RATE
  steps = rng.gamma(4, 1 / 4, size=most)
  marks = np.cumsum(steps) - rng.uniform() * steps[0]
  return np.interp(marks[marks < expected[-1]], expected, times)


def _ppg(person, arousal, times, breath, seconds, rng):
  """Pulse wave [time] and the starts of its beats (seconds)."""
  effect = person['pulse_gain'] * arousal * _onset(times, 1.5, 4)
  calm = np.exp(-0.3 * effect)
  slow = wander(rng, times, (8, 14))  # the 0.1 Hz rhythm of blood pressure
  heart_rate = (
    person['heart_rate']
    + 2 * rng.normal()
    + 3.5 * effect
    + person['variability'] * calm * (0.7 * slow + 1.2 * np.sin(breath))
    + 0.7 * wander(rng, times, (20, 80))
  )
  phase = np.cumsum(heart_rate / 60) / SIGNAL_RATE + rng.uniform()
  beats = np.interp(
    np.arange(math.ceil(phase[0]), math.floor(phase[-1]) + 1), phase, times
  )
  size = np.exp(
    -0.18 * effect
    + 0.08 * wander(rng, times)
    + 0.05 * np.sin(breath + 1)
    + 0.15 * rng.normal()
  )
  wave = size * np.interp(phase % 1, *_pulse(person['reflection']))
  wave += 0.12 * np.sin(breath) + 0.1 * wander(rng, times, (3, 20))
  wave += 0.01 * rng.standard_normal(len(times))
  for _ in range(rng.poisson(0.5)):  # the finger moves
    moment, width = rng.uniform(0, seconds), rng.uniform(0.3, 0.8)
    wave += (
      0.8 * np.exp(-(((times - moment) / width) ** 2)) * wander(rng, times, (0.3, 1))
    )
  return person['pulse_size'] * wave, beats


def _pulse(reflection):
  """Phase and height of one pulse: systolic peak, notch, diastolic wave."""
  phase = np.linspace(0, 1, 257)
  rise = np.where(phase < 0.2, 0.07, 0.12)
  wave = (
    np.exp(-(((phase - 0.2) / rise) ** 2))
    + reflection * np.exp(-(((phase - 0.52) / 0.13) ** 2))
    + 0.2 * np.minimum(phase / 0.2, (1 - phase) / 0.8)
  )  # run-off
  return phase, wave - wave.mean()


def electrocardiogram(rng, times, peaks, breath):
  """An ECG with R peaks at given moments; without any the line is flat.

  Args:
    times: float [time], seconds, evenly spaced.
    peaks: float [beats], seconds, rising.
    breath: float [time], phase of breathing in radians.

  Returns:
    float64 [time, 2], mV: leads from the right and the left arm to the left leg,
    with breathing, drift, muscle noise, hum of 50 Hz and a pulled electrode.
  """
  after = np.searchsorted(peaks, times)
  around = np.concatenate([[-np.inf], peaks, [np.inf]])
  gaps = np.concatenate([[1.0], np.diff(peaks), [1.0]])
  wave = np.zeros((len(times), 2))
  for beat in (after, after + 1):  # the one before and the one after
    since = times - around[beat]
    # P and T draw nearer to the R peak as the heart beats faster (Bazett).
    stretch = np.sqrt(np.clip(gaps[np.minimum(beat, len(gaps) - 1)], 0.4, 1.6))
    for centre, width, *heights in _WAVES:
      slow = stretch if abs(centre) > 0.1 else 1.0
      wave += np.exp(-(((since / slow - centre) / width) ** 2) / 2)[:, None] * heights
  wave *= rng.uniform(0.7, 1.3) * (1 + 0.05 * np.sin(breath))[:, None]
  hum = rng.uniform(0.005, 0.02) * np.sin(2 * math.pi * (50 * times + rng.uniform()))
  drift = 0.08 * np.sin(breath + 0.5) + 0.08 * wander(rng, times, (3, 20)) + hum
  for _ in range(rng.poisson(0.5)):  # the electrode is pulled
    moment, size = rng.uniform(times[0], times[-1]), rng.normal()
    drift += size * np.exp(-np.maximum(0, times - moment) / 0.5) * (times > moment)
  return wave + drift[:, None] + 0.01 * rng.standard_normal(wave.shape)


def noise_bank(rng, low, high, slope, bump=None):
  """Long noise of unit variance, amplitude 1/f**slope in `low`..`high` Hz."""
  frequencies = np.fft.rfftfreq(_BANK, 1 / SIGNAL_RATE)
  shape = np.zeros_like(frequencies)
  band = (low <= frequencies) & (frequencies <= high)
  shape[band] = frequencies[band] ** -slope
  if bump is not None:
    shape *= 1 + 2 * np.exp(-(((frequencies - bump) / 1.5) ** 2))
  spectrum = rng.standard_normal((len(shape), 2)) @ [1, 1j]
  noise = np.fft.irfft(shape * spectrum, _BANK)
  return noise / noise.std()


def cut_noise(rng, bank, samples=NUM_SAMPLES):
  """A piece of a bank of noise from a random place, float64 [samples]."""
  start = rng.integers(len(bank) - samples)
  return bank[start : start + samples]
