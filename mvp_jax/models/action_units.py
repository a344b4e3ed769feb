"""A transformer over facial action units: a video backbone without pixels.

Action units (Ekman and Friesen's Facial Action Coding System, as OpenFace estimates
them) come pooled to a few measurements a second. They are interpretable, small, and
say nothing about who somebody is beyond how the face rests.

Shapes: B trials, N tokens, U action units, D width.
"""

import dataclasses

import jax.numpy as jnp
from flax import nnx

from mvp_jax.models import layers
from mvp_jax.models.physio import time_positions

UNITS = 35  # 17 intensities, 18 presences
# Intensities go from 0 to 5 and, at rest, hardly move; this brings a clear expression
# to the size that layers expect.
_FULL = 2.0


@dataclasses.dataclass(frozen=True)
class ActionUnitConfig:
  """Sizes of the transformer; its width is that of the tokens it gives."""

  depth: int = 2
  heads: int = 4
  mlp_width: int = 1024
  dropout: float = 0.1


class ActionUnitTransformer(nnx.Module):
  """Action units in, a token for each measurement out."""

  def __init__(self, config, width, *, rngs, dtype, remat='none'):
    self.embed = layers.linear(UNITS, width, rngs=rngs, dtype=dtype)
    self.stack = layers.Stack(
      lambda rngs: layers.Block(
        width,
        config.heads,
        config.mlp_width,
        rngs=rngs,
        dtype=dtype,
        dropout=config.dropout,
      ),
      config.depth,
      rngs=rngs,
      remat=remat,
    )

  def __call__(self, units_BxNxU, valid_BxN, times_BxN, key=None):
    """Returns tokens [B, N, D], zero where invalid.

    Args:
      units_BxNxU: float32, intensities and then presences, maybe centred.
      valid_BxN: bool, whether there is a measurement.
      times_BxN: float32, seconds.
      key: random key for dropout, or None.
    """
    x = self.embed(jnp.where(valid_BxN[..., None], units_BxNxU, 0) * _FULL)
    x = x + time_positions(times_BxN, x.shape[-1], x.dtype)
    x, _ = self.stack(x, valid=valid_BxN, key=key)
    return jnp.where(valid_BxN[..., None], x, 0)
