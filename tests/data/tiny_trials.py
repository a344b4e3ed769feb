"""Trials made by hand, for tests of splits, examples and models."""

import dataclasses
import types

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
  values: np.ndarray
  valid: np.ndarray
  channels: tuple
  rate: float | None = None
  times: np.ndarray | None = None

  @property
  def clock(self):
    return np.arange(len(self.values)) / self.rate if self.rate else self.times

  @property
  def seconds(self):
    return len(self.values) / self.rate if self.rate else float(self.times[-1])


@dataclasses.dataclass(frozen=True, eq=False)
class Frames:
  times: np.ndarray
  valid: np.ndarray
  first_chunk: int
  rate: float

  @property
  def seconds(self):
    return len(self.times) / self.rate


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
  """A trial with those streams of which there is something."""
  streams = {}
  if signals.size:
    streams['signals'] = Series(signals, signals_valid, ('eda', 'ppg'), rate)
  if len(frame_times):
    streams['video'] = Frames(frame_times, frame_valid, first_chunk, frame_rate)
  if action_units is not None:
    values = np.concatenate([action_units.intensities, action_units.presences], 1)
    valid = np.repeat(action_units.valid[:, None], values.shape[1], 1)
    streams['action_units'] = Series(
      values.astype(np.float32), valid, (), None, action_units.times
    )
  return types.SimpleNamespace(
    trial_id=trial_id,
    subject=subject,
    trial=trial,
    stimulus=stimulus,
    ratings=ratings,
    streams=streams,
    signals=signals,
    signals_valid=signals_valid,
    frame_times=np.asarray(frame_times, np.float32),
    frame_valid=np.asarray(frame_valid, bool),
    first_chunk=first_chunk,
    action_units=action_units,
  )


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
