"""Floating-point operations that the mathematics of a model requires.

Only matrix products and convolutions count, 2 operations per multiply-add; a training
step counts as three forward passes. Recomputation (remat) does not count.
"""

from mvp_jax.models.videomae import VideoMAEConfig


def transformer_flops(tokens, width, mlp_width, depth):
  """Of one example's forward pass through `depth` self-attention blocks."""
  projections = 2 * tokens * (4 * width**2 + 2 * width * mlp_width)
  attention = 2 * 2 * tokens**2 * width
  return depth * (projections + attention)


def pretraining_flops(config, visible, masked):
  """Of one clip's training step of a VideoMAE.

  Args:
    config: VideoMAEConfig.
    visible: tokens that the encoder sees.
    masked: tokens that the decoder reconstructs.
  """
  width = config.decoder_width
  forward = (
    2 * visible * config.pixels_per_token * config.width
    + transformer_flops(visible, config.width, config.mlp_width, config.depth)
    + 2 * visible * config.width * width
    + transformer_flops(visible + masked, width, 4 * width, config.decoder_depth)
    + 2 * masked * width * config.pixels_per_token
  )
  # The input of the embedding, pixels, needs no gradient.
  return 3 * forward - 2 * visible * config.pixels_per_token * config.width


def forward_macs(config):
  """Multiply-adds of one clip's forward pass of a backbone; None if not known."""
  if isinstance(config, VideoMAEConfig):
    embed = config.tokens * config.pixels_per_token * config.width
    sizes = config.tokens, config.width, config.mlp_width, config.depth
    return embed + transformer_flops(*sizes) // 2
  return getattr(config, 'macs', None)


def classifier_flops(config):
  """Of one clip's training step of a VideoClassifier, without its head."""
  embed = 2 * config.tokens * config.pixels_per_token * config.width
  return 2 * embed + 3 * transformer_flops(
    config.tokens, config.width, config.mlp_width, config.depth
  )


def convolution_flops(config):
  """Of one clip's training step of a backbone that counts its `macs`."""
  return 3 * 2 * config.macs
