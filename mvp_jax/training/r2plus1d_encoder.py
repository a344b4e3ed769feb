"""Settings of R(2+1)D-18 as the video encoder, see `models.backbones.r2plus1d`."""

import dataclasses
from typing import ClassVar

from mvp_jax.errors import InputError
from mvp_jax.models import layers
from mvp_jax.models.backbones.r2plus1d import R2Plus1D
from mvp_jax.training.encoder import EncoderConfig, register


@register
@dataclasses.dataclass(frozen=True)
class R2Plus1DEncoder(EncoderConfig):
  """With torchvision's weights (`checkpoint`), or from random ones."""

  dtype: str = 'float32'  # of the computation

  kind: ClassVar[str] = 'r2plus1d'

  def __post_init__(self):
    super().__post_init__()
    if self.dtype not in layers.DTYPES:
      raise ValueError(
        f'encoder.dtype: one of {", ".join(layers.DTYPES)}; it is {self.dtype!r}'
      )

  def backbone(self, clips, frame_size):
    try:
      return R2Plus1D(clips.frames, frame_size, clips.tubelet, dtype=self.dtype)
    except ValueError as error:
      raise InputError(f'input.clips.{error}') from error
