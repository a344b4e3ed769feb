"""Twins in memory: body signals and ratings without files or video."""

import dataclasses
from pathlib import Path

import numpy as np

from mvp_jax.data.trial import Trial
from mvp_jax.synthetic import ratings
from mvp_jax.synthetic.signals import simulate_body
from mvp_jax.synthetic.spec import BASELINE_SECONDS, SIGNAL_RATE, TwinSpec
from tests.data.tiny_trials import series


@dataclasses.dataclass
class MemoryCorpus:
  """What baselines, audit and leak meter take of a data.trials.Corpus."""

  trials: list
  directory: Path = Path('corpus/1.0.0')
  frames: dict | None = None  # trial_id -> uint8 [frames, height, width]
  name: str = 'deap'
  people: dict | None = None  # None: everybody is one person

  @property
  def metadata(self):
    return {
      'streams': {
        'signals': {
          'kind': 'series',
          'rate': float(SIGNAL_RATE),
          'channels': ['eda', 'ppg'],
        },
        **(
          {'video': {'kind': 'frames', 'rate': 5.0}} if self.frames is not None else {}
        ),
      },
      'synthetic': True,
      'people': (
        {str(t.subject): [f'synthetic:{self.name}:{t.subject}'] for t in self.trials}
        if self.people is None
        else self.people
      ),
    }

  def small_frames(self, trial, numbers, stream='video'):
    return [self.frames[trial.trial_id][n] for n in numbers]


def twin(subjects=4, trials=4, variant='planted', seed=0, seconds=60.0):
  """list of Trial of a TwinSpec, each of `seconds`."""
  spec = TwinSpec(subjects=subjects, trials=trials, variant=variant, seed=seed)
  found = []
  first = BASELINE_SECONDS * SIGNAL_RATE
  for subject in range(1, subjects + 1):
    order = ratings.stimulus_order(spec, subject)
    for number, rated in enumerate(ratings.ratings(spec, subject), start=1):
      body = simulate_body(spec, subject, number)
      signals = np.stack([body.eda, body.ppg], 1)[first:].astype(np.float32)
      signals = signals[: round(seconds * SIGNAL_RATE)]
      found.append(
        Trial(
          trial_id=f's{subject:02d}_trial{number:02d}',
          subject=subject,
          trial=number,
          stimulus=int(order[number - 1]),
          ratings=dict(zip(ratings.RATINGS, rated.tolist(), strict=True)),
          streams={'signals': series(signals, SIGNAL_RATE)},
        )
      )
  return found
