"""Backbones: networks from clips of frames, or of sound, to features.

A backbone is a frozen dataclass of sizes (hashable, for compiled steps are cached by
it). Which ones a config can name, with their settings, is said in
`training.encoder.ENCODERS`: to add one, subclass its EncoderConfig and register it.
Those of sound (`resnet`, `mel_transformer`) take log-mel spectrograms [B, mel, time] or
[B, mel, time, 1] in place of frames, and have `bands` and `bins` in place of `frames`
and `size`.
"""

from typing import Protocol

import numpy as np
from flax import nnx

from mvp_jax.array_types import Array, Float, Num, PRNGKeyArray


class Network(Protocol):
  """What a backbone makes: an nnx.Module.

  Frames are uint8 or float in [0, 1]; `key` is random, of drop path and the like, or
  None. It may hold state of its own, such as batch statistics (nnx.BatchStat): whatever
  is no nnx.Param is kept, and not decayed.
  """

  def __call__(
    self, frames: Num[Array, 'B T H W 3'], /, *, key: PRNGKeyArray | None = None
  ) -> Float[Array, 'B N width']:
    """Tokens of clips."""

  def features(
    self, frames: Num[Array, 'B T H W 3'], /, key: PRNGKeyArray | None = None
  ) -> Float[Array, 'B slots feature_width']:
    """One vector per temporal slot."""


class Backbone(Protocol):
  """Sizes of a network of clips, and the network."""

  @property
  def frames(self) -> int: ...  # of a clip
  @property
  def size(self) -> int: ...  # pixels, height and width of a frame
  @property
  def width(self) -> int: ...  # of the tokens that the network gives

  @property
  def slots(self) -> int:
    """Temporal positions of a clip."""

  @property
  def feature_width(self) -> int:
    """Numbers in a feature vector of a temporal slot."""

  def create(self, *, rngs: nnx.Rngs, final_norm: bool = True) -> Network:
    """The network."""

  def with_drop_path(self, rate: float) -> 'Backbone':
    """The same with another rate of drop path, where there is any."""

  def layer(self, path: str, shape: tuple[int, ...]) -> int | np.ndarray:
    """Layers after that of a parameter, see `training.optimiser.layer_scales`."""
