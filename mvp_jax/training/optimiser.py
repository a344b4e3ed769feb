"""The optimiser: AdamW, its schedule, weight decay and layer-wise learning rates."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mvp_jax.training import sharding


@dataclasses.dataclass(frozen=True)
class OptimiserConfig:
  """AdamW with linear warm-up and cosine decay."""

  learning_rate: float = 1e-3
  min_learning_rate: float = 0.0  # where the cosine ends
  steps: int = 1000
  warmup_steps: int = 50
  weight_decay: float = 0.05
  beta1: float = 0.9
  beta2: float = 0.999
  clip_norm: float = 0.0  # of the global gradient; 0 = no clipping
  layer_decay: float = (
    1.0  # of the learning rate, from each encoder layer to the one below
  )
  ema: float = 0.0  # decay of the moving average of the parameters; 0 = none

  def __post_init__(self):
    if self.steps < 1:
      raise ValueError(f'steps is {self.steps}, must be at least 1')
    if not 0 < self.layer_decay <= 1:
      raise ValueError(
        f'layer_decay is {self.layer_decay}, must be above 0 and at most 1'
      )
    if not 0 <= self.ema < 1:
      raise ValueError(f'ema is {self.ema}, must be at least 0 and below 1')
    if not 0 <= self.min_learning_rate <= self.learning_rate:
      raise ValueError(
        f'min_learning_rate is {self.min_learning_rate}, must be from 0 '
        'to learning_rate'
      )


def decayed(params):
  """Which parameters have weight decay: all but biases, norms and mask tokens."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: (
      sharding.path_string(path).split('/')[-1] not in ('bias', 'scale', 'mask_token')
    ),
    params,
  )


def layer_scales(params, decay, layer):
  """The factor of each parameter's learning rate.

  decay^(L + 1 - i) for layer i, as in BEiT (arXiv 2106.08254) and VideoMAE: the
  encoder's embedding is layer 0, its blocks are 1 to L, everything after is L + 1.

  Args:
    params: nested dict of arrays.
    decay: above 0, at most 1.
    layer: function (path, shape) -> L + 1 - i, the number of layers above the
      parameter's own: an int, or int [n] for n layers stacked along the first axis.

  Returns:
    A tree like `params` of float32 arrays that broadcast over them.
  """

  def scale(path, x):
    after = np.asarray(layer(sharding.path_string(path), x.shape))
    if after.ndim:
      after = after.reshape(-1, *(1,) * (x.ndim - 1))
    return np.float32(decay**after)

  return jax.tree_util.tree_map_with_path(scale, params)


def _scale_by_layer(decay, layer):
  """Multiplies updates by `layer_scales`; last, so that weight decay is scaled, too,
  as the reference's parameter groups do."""
  return optax.stateless(
    lambda updates, _: jax.tree.map(
      lambda u, scale: u * scale, updates, layer_scales(updates, decay, layer)
    )
  )


def schedule(config, learning_rate=None):
  """Learning rate as a function of the step."""
  top = config.learning_rate if learning_rate is None else learning_rate
  warmup, end = min(config.warmup_steps, config.steps - 1), config.min_learning_rate
  shape = optax.warmup_cosine_decay_schedule(0.0, 1.0, warmup, config.steps)
  return lambda step: jnp.where(
    step < warmup, top * shape(step), end + (top - end) * shape(step)
  )


def optimiser(config, learning_rate=None, weight_decay=None, layer=None):
  """The optimiser of `config`.

  Args:
    config: OptimiserConfig.
    learning_rate, weight_decay: override those of `config`; may be traced.
    layer: see `layer_scales`; without it there is no layer-wise decay.
  """
  before = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
  decays = config.layer_decay < 1 and layer is not None
  after = [_scale_by_layer(config.layer_decay, layer)] if decays else []
  return optax.chain(
    *before,
    optax.adamw(
      schedule(config, learning_rate),
      config.beta1,
      config.beta2,
      weight_decay=config.weight_decay if weight_decay is None else weight_decay,
      mask=decayed,
    ),
    *after,
  )
