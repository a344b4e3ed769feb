"""Pain in a twin's body: EDA, ECG and three EMGs of a short sample.

Who reacts is startled: a muscle burst in trapezius, corrugator and zygomaticus, then a
skin conductance response, and a heart that beats faster. When it begins, how strong it
is and how long the muscles stay tense is the person's own, on levels, noise and drift
of its own, among small spontaneous responses and a muscle that moves by itself.
"""

import math

import numpy as np

from mvp_jax.synthetic.expression import event
from mvp_jax.synthetic.signals import bateman, electrocardiogram
from mvp_jax.synthetic.spec import stream, wander

MUSCLES = ('emg_trapezius', 'emg_corrugator', 'emg_zygomaticus')
_BURST = dict(zip(MUSCLES, (2.0, 1.6, 1.2), strict=True))  # over the muscle at rest
_FASTER = 9.0  # beats a minute
_RESPONSE = 0.12  # of the level
_SPONTANEOUS = 4.0  # responses of the skin and of a muscle, a minute
_BEFORE = 4.0  # seconds that are simulated before the sample


def pain_body(spec, subject, trial, rate, start=None):
  """The signals of one sample.

  Args:
    spec: with seed and trial_seconds.
    rate: Hz.
    start: when the body reacts, seconds; None: it does not.

  Returns:
    {name: float64 [time]}: 'eda' in microsiemens, 'ecg' and EMGs in microvolt.
  """
  rng = stream(spec, 'trial_body', subject, trial)
  times = np.arange(round(-_BEFORE * rate), round(spec.trial_seconds * rate)) / rate
  own = _person(spec, subject)
  beside = rng.random()  # as many random numbers whether there is a reaction or not
  strength = own['gain'] * rng.uniform(0.8, 1.2) * (start is not None)
  start = rng.uniform(0.3, 2.0) if start is None else start
  signals = {
    'eda': _skin(rng, own, times, start, strength),
    'ecg': _heart(rng, own, times, start, strength),
  }
  for name in MUSCLES:
    signals[name] = _muscle(rng, own, name, times, start, strength, beside)
  inside = times >= 0
  return {name: values[inside] for name, values in signals.items()}


def _person(spec, subject):
  rng = stream(spec, 'body', subject)

  def around(median, spread):
    return median * math.exp(spread * float(np.clip(rng.normal(), -2, 2)))

  return {
    'gain': around(1.0, 0.2),
    'level': around(5.0, 0.5),  # microsiemens
    'heart_rate': 72 + 8 * float(np.clip(rng.normal(), -2, 2)),
    'delay': rng.uniform(0.6, 1.2),  # of the skin, seconds
    'tense': around(1.0, 0.4),  # seconds
    **{name: around(4.0, 0.4) for name in MUSCLES},  # microvolt at rest
  }


def _skin(rng, own, times, start, strength):
  tonic = 0.1 * rng.normal() + 0.01 * wander(rng, times, (8, 30)) - 0.002 * times
  sizes = [_RESPONSE * strength]
  starts = [start + own['delay']]
  for _ in range(rng.poisson(_SPONTANEOUS * (times[-1] - times[0]) / 60)):
    starts.append(rng.uniform(times[0], times[-1]))
    sizes.append(0.2 * _RESPONSE * rng.uniform(0.5, 1.5))
  phasic = sum(
    size * bateman(np.maximum(times - moment, 0)) * (times > moment)
    for size, moment in zip(sizes, starts, strict=True)
    if (times > moment).any()
  )
  return own['level'] * (np.exp(tonic) + phasic) + 0.003 * rng.standard_normal(
    len(times)
  )


def _heart(rng, own, times, start, strength):
  step = times[1] - times[0]
  breath = 2 * math.pi * (rng.uniform(0.2, 0.3) * times + rng.uniform())
  reaction = 1 - np.exp(-np.maximum(times - start, 0) / 0.8)
  rate = (
    own['heart_rate']
    + 1.5 * rng.normal()
    + 1.5 * np.sin(breath)
    + _FASTER * strength * reaction
  )
  phase = np.cumsum(rate / 60) * step + rng.uniform()
  peaks = np.interp(
    np.arange(math.ceil(phase[0]), math.floor(phase[-1]) + 1), phase, times
  )
  return 1000 * electrocardiogram(rng, times, peaks, breath)[:, 0]


def _muscle(rng, own, name, times, start, strength, beside):
  """Noise of 20 to 200 Hz whose size is that of the muscle's tension."""
  tension = 1 + _BURST[name] * strength * event(times, start, own['tense'], 0.15)
  for _ in range(rng.poisson(_SPONTANEOUS * (times[-1] - times[0]) / 60)):
    moment, length = rng.uniform(times[0], times[-1]), rng.uniform(0.2, 0.8)
    tension = tension + rng.uniform(0.2, 0.8) * event(times, moment, length, 0.15)
  tension = tension * math.exp(0.1 * (beside - 0.5)) * (1 + 0.05 * wander(rng, times))
  frequencies = np.fft.rfftfreq(len(times), times[1] - times[0])
  band = (frequencies > 20) & (frequencies < 200)
  noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(len(times))) * band, len(times))
  return own[name] * tension * noise / noise.std()
