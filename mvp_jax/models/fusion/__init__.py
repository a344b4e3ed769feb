"""Ways to bring any number of modalities together, for EmotionModel and its ablation.

`cross` is MVP's (arXiv 2501.03103); the others are what it is compared with. A new
one is a subclass of `Fusion`, under `@register('its name')`.
"""

from mvp_jax.models.fusion import (  # noqa: F401
  cross,
  near,
  one_sequence,
  pooled,
  segments,
)
from mvp_jax.models.fusion.base import (
  FUSIONS,
  Fused,
  Fusion,
  Sides,
  Tokens,
  find,
  register,
)

__all__ = [
  'FUSIONS',
  'Fused',
  'Fusion',
  'Sides',
  'Tokens',
  'find',
  'register',
]
