"""Settings of MSN-69 and DMSN as encoders, see `models.backbones.multiscale`."""

import dataclasses
from typing import Any, ClassVar

from mvp_jax.errors import InputError
from mvp_jax.models.backbones.multiscale import DMSN, MSN69
from mvp_jax.training.encoder import EncoderConfig, register


@dataclasses.dataclass(frozen=True)
class _Multiscale(EncoderConfig):
  """From random weights, or from an encoder that another run has trained."""

  stem: int = 64  # channels after the first convolution
  widths: tuple[int, ...] = MSN69.widths  # of the four stages
  blocks: tuple[int, ...] = MSN69.blocks  # of each stage
  dtype: str = 'float32'  # of the computation

  sizes: ClassVar[Any] = MSN69  # the backbone

  def __post_init__(self):
    super().__post_init__()
    try:
      self._network()
    except ValueError as error:
      raise ValueError(f'encoder.{error}') from error

  def _network(self, **of_input):
    """The backbone; fields of its own are settings of the same name here."""
    names = {field.name for field in dataclasses.fields(self.sizes)}
    own = {
      field.name: getattr(self, field.name)
      for field in dataclasses.fields(self)
      if field.name in names
    }
    return self.sizes(**own, **of_input)

  def backbone(self, clips, frame_size):
    try:
      return self._network(frames=clips.frames, size=frame_size, tubelet=clips.tubelet)
    except ValueError as error:
      where = 'data.frame_' if str(error).startswith('size') else 'input.clips.'
      raise InputError(f'{where}{error}') from error


@register
@dataclasses.dataclass(frozen=True)
class MSN69Encoder(_Multiscale):
  """MSN-69, as published."""

  kind: ClassVar[str] = 'msn69'


@register
@dataclasses.dataclass(frozen=True)
class DMSNEncoder(_Multiscale):
  """DMSN in our reading."""

  variant: str = DMSN.variant  # A: ranges of time; B: of both; C: sizes in space

  kind: ClassVar[str] = 'dmsn'
  sizes: ClassVar[Any] = DMSN
