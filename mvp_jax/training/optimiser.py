"""The optimiser: AdamW, its schedule, and which parameters decay."""

import dataclasses

import jax
import optax

from mvp_jax.training import sharding


@dataclasses.dataclass(frozen=True)
class OptimiserConfig:
  """AdamW with linear warm-up and cosine decay to zero."""

  learning_rate: float = 1e-3
  steps: int = 1000
  warmup_steps: int = 50
  weight_decay: float = 0.05
  beta1: float = 0.9
  beta2: float = 0.999
  clip_norm: float = 0.0  # of the global gradient; 0 = no clipping

  def __post_init__(self):
    if self.steps < 1:
      raise ValueError(f'steps is {self.steps}, must be at least 1')


def decayed(params):
  """Which parameters get weight decay: all but biases, norms, mask tokens."""
  return jax.tree_util.tree_map_with_path(
      lambda path, _: sharding.path_string(path).split('/')[-1]
      not in ('bias', 'scale', 'mask_token'), params)


def schedule(config):
  """Learning rate as a function of the step."""
  return optax.warmup_cosine_decay_schedule(
      0.0, config.learning_rate, min(config.warmup_steps, config.steps - 1),
      config.steps)


def optimiser(config):
  clip = ([optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else [])
  return optax.chain(*clip, optax.adamw(
      schedule(config), config.beta1, config.beta2,
      weight_decay=config.weight_decay, mask=decayed))
