"""stub"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax

from mvp_jax.targets import Mean


@dataclasses.dataclass(frozen=True)
class Binary:
  ratings: tuple[str, ...] = ('valence', 'arousal')
  threshold: float | str = 5.0
  kind: ClassVar[str] = 'binary'
  level: ClassVar[str] = 'trial'

  @property
  def outputs(self):
    return len(self.ratings)

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
