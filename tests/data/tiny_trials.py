"""Trials made by hand, for tests of splits and of what stands on them."""

import numpy as np

from mvp_jax.data.trial import Frames, Series, Trial
from mvp_jax.raw.openface import CHANNELS


def make_trial(
  trial_id,
  subject,
  trial,
  stimulus,
  ratings,
  signals,
  signals_valid,
  frame_times=(),
  frame_valid=(),
  first_chunk=0,
  action_units=None,
  rate=128.0,
  frame_rate=5.0,
):
  """A Trial with those streams of which there is something."""
  streams = {}
  if signals.size:
    names = ('eda', 'ppg')[: signals.shape[1]]
    streams['signals'] = Series(signals, signals_valid, names, rate)
  if len(frame_times):
    streams['video'] = Frames(
      np.asarray(frame_times, np.float32),
      np.asarray(frame_valid, bool),
      first_chunk,
      frame_rate,
    )
  if action_units is not None:
    values = np.concatenate([action_units.intensities, action_units.presences], 1)
    valid = np.repeat(action_units.valid[:, None], len(CHANNELS), 1)
    streams['action_units'] = Series(
      values.astype(np.float32), valid, CHANNELS, None, action_units.times
    )
  return Trial(trial_id, subject, trial, stimulus, ratings, streams)


def trial(subject, stimulus, number=None, signals=None, **ratings):
  number = stimulus if number is None else number
  signals = np.zeros((0, 0), np.float32) if signals is None else signals
  return make_trial(
    trial_id=f's{subject:02d}_trial{number:02d}',
    subject=subject,
    trial=number,
    stimulus=stimulus,
    ratings={'valence': 6.0, 'arousal': 4.0} | ratings,
    signals=signals,
    signals_valid=np.ones(signals.shape, bool),
  )


def series(values, rate=128.0, channels=('eda', 'ppg')):
  return Series(values, np.ones(values.shape, bool), tuple(channels), rate)


def frames(count, rate):
  times = np.arange(count, dtype=np.float32) / rate
  return Frames(times, np.ones(count, bool), 0, rate)


def random_trials(subjects=8, stimuli=6, seed=0, spread=0.0):
  """Every subject sees every stimulus; `spread` is how subjects differ in ratings."""
  rng = np.random.default_rng(seed)
  return [
    trial(
      int(s),
      k,
      **dict(
        zip(
          ('valence', 'arousal'),
          np.clip(rng.normal(5 + level, 2), 1, 9).tolist(),
          strict=True,
        )
      ),
    )
    for s in range(1, subjects + 1)
    for level in [rng.normal(0, spread + 1e-9, 2)]
    for k in range(1, stimuli + 1)
  ]
