"""stub"""

import flax.struct
import jax.numpy as jnp
from clu.metrics import Metric


@flax.struct.dataclass
class Mean(Metric):
  total: jnp.ndarray
  count: jnp.ndarray

  @classmethod
  def of(cls, values, weight):
    return cls(total=jnp.sum(values * weight), count=jnp.sum(weight))

  def merge(self, other):
    return Mean(self.total + other.total, self.count + other.count)

  def compute(self):
    return self.total / jnp.maximum(self.count, 1)
