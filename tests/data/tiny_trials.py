"""Trials without video, for tests of splits and of what stands on them."""

import numpy as np

from mvp_jax.data.trials import Frames, Series, Trial


def trial(subject, stimulus, number=None, signals=None, **ratings):
  number = stimulus if number is None else number
  return Trial(
    trial_id=f's{subject:02d}_trial{number:02d}',
    subject=subject,
    trial=number,
    stimulus=stimulus,
    ratings={'valence': 6.0, 'arousal': 4.0} | ratings,
    streams={} if signals is None else {'signals': series(signals)},
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
