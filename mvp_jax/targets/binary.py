"""stub"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mvp_jax.errors import InputError
from mvp_jax.targets import Mean


@dataclasses.dataclass(frozen=True)
class Thresholds:
  ratings: tuple
  values: tuple

  def label(self, trial, seconds=None):
    high = [
      trial.ratings[name] > value
      for name, value in zip(self.ratings, self.values, strict=True)
    ]
    return np.array(high, np.float32), np.float32(1)


@dataclasses.dataclass(frozen=True)
class Binary:
  ratings: tuple[str, ...] = ('valence', 'arousal')
  threshold: float | str = 5.0
  kind: ClassVar[str] = 'binary'
  level: ClassVar[str] = 'trial'

  @property
  def outputs(self):
    return len(self.ratings)

  def check(self, trials):
    for name in self.ratings:
      for trial in trials:
        if not np.isfinite(trial.ratings.get(name, np.nan)):
          raise InputError(f'target.ratings: {trial.trial_id} has no rating {name!r}')

  def fixed(self):
    if isinstance(self.threshold, str):
      return None
    return Thresholds(self.ratings, (float(self.threshold),) * self.outputs)

  def smoothed(self, label, smoothing):
    return label * (1 - smoothing) + smoothing / 2

  def loss(self, outputs, label, weight):
    loss = optax.sigmoid_binary_cross_entropy(outputs, label).mean(-1)
    right = ((outputs > 0) == (label > 0.5)).astype(jnp.float32)
    return {
      'loss': Mean.of(loss, weight),
      **{
        f'accuracy_{t}': Mean.of(right[:, i], weight)
        for i, t in enumerate(self.ratings)
      },
    }

  def predict(self, outputs):
    return jax.nn.sigmoid(outputs)

  def combine(self, outputs, present=None):
    if len(outputs) == 1:
      return outputs[0]
    high, low = (
      jax.nn.logsumexp(jnp.stack([jax.nn.log_sigmoid(s * x) for x in outputs]), axis=0)
      for s in (1, -1)
    )
    return high - low
