"""A corpus of noise to look at, and how clips lie in it."""

import numpy as np

from mvp_jax.data.clips import ClipLayout
from tests.data.tiny_trials import make_trial

RATE = 5.0
LAYOUT = ClipLayout(frames=4, stride=1, spacing=1.0, tubelet=2)


class Films:
  """Five trials of different lengths; frames are noise of trial and number."""

  name = 'deap'
  metadata = {
    'fingerprint': 'f00',
    'synthetic': True,
    'people': {str(subject): [f'deap:{subject}'] for subject in range(1, 7)},
  }

  def __init__(self):
    self.read = []  # trials whose frames were read
    self.trials = [
      make_trial(
        f's{subject:02d}_trial01',
        subject,
        1,
        1,
        {},
        np.zeros((0, 0), np.float32),
        np.zeros((0, 0), bool),
        (np.arange(count) / RATE).astype(np.float32),
        np.ones(count, bool),
        frame_rate=RATE,
      )
      for subject, count in enumerate([20, 35, 5, 0, 15, 10], start=1)
    ]

  def frames(self, trial, numbers):
    self.read.append(trial.subject)
    return np.stack(
      [
        np.random.default_rng((trial.subject, int(n))).integers(
          0, 256, (16, 16, 3), np.uint8
        )
        for n in numbers
      ]
    )
