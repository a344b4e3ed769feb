"""Mixup and CutMix of a batch of clips, inside the training step.

Like timm's `Mixup` in mode 'batch', which VideoMAE's fine-tuning uses: one draw for the
whole batch, and clip i is mixed with clip B - 1 - i.

Shapes: B clips of the global batch, T frames of H x W pixels.
"""

import jax
import jax.numpy as jnp


def mix(frames, label, key, options):
  """Mixes clips and their labels by Mixup, by CutMix, or not at all.

  Args:
    frames: float32 [B, T, H, W, 3].
    label: float32 [B, targets], smoothed or not.
    key: random key.
    options: tasks.Regularisation; `mixup` and `cutmix` are parameters of symmetric
      Beta distributions; 0 turns it off.

  Returns:
    frames and label, mixed.
  """
  if not options.mixup and not options.cutmix:
    return frames, label
  keys = jax.random.split(key, 5)
  share = (
    options.cutmix_share
    if options.mixup and options.cutmix
    else float(bool(options.cutmix))
  )
  cut = jax.random.bernoulli(keys[0], share)
  kept = jnp.where(cut, _beta(keys[1], options.cutmix), _beta(keys[2], options.mixup))
  kept = jnp.where(jax.random.bernoulli(keys[3], options.mix_probability), kept, 1.0)
  hole = box(keys[4], kept, *frames.shape[2:4])
  kept = jnp.where(cut, 1 - hole.mean(), kept)
  # The share of the clip itself in each pixel: [1, 1, H, W, 1].
  own = jnp.where(cut, 1 - hole, kept)[None, None, :, :, None]
  return (
    frames * own + frames[::-1] * (1 - own),
    label * kept + label[::-1] * (1 - kept),
  )


def _beta(key, alpha):
  return jax.random.beta(key, alpha, alpha) if alpha else 1.0


def box(key, kept, height, width):
  """A random box of about 1 - `kept` of the image, clipped at its edges.

  Returns:
    float32 [height, width], 1 inside.
  """
  across = []
  keys = jax.random.split(key)
  for one, length in zip(keys, (height, width), strict=True):
    half = jnp.floor(length * jnp.sqrt(1 - kept)) // 2
    centre = jax.random.randint(one, (), 0, length).astype(jnp.float32)
    places = jnp.arange(length, dtype=jnp.float32)
    across.append((places >= centre - half) & (places < centre + half))
  return (across[0][:, None] & across[1][None]).astype(jnp.float32)
