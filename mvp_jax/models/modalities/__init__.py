"""Modalities: each the only place that knows both an input and its network.

A modality is a frozen dataclass of settings (a section of `config.modalities`, by its
name). To add one, write it in a module of its own and register it:

  @register('breath')
  @dataclasses.dataclass(frozen=True)
  class Breath: ...
"""

import dataclasses
import importlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, TypeVar

import numpy as np
from flax import nnx

from mvp_jax.array_types import Shaped
from mvp_jax.data.windows import Window
from mvp_jax.errors import InputError
from mvp_jax.models.backbones import Backbone
from mvp_jax.models.emotion import ModelSizes

if TYPE_CHECKING:  # they import much
  from mvp_jax.data.examples import InputConfig
  from mvp_jax.data.trials import PreparedCorpus

Item: TypeAlias = dict[str, Shaped[np.ndarray, '...']]  # what is read of one trial
Metadata: TypeAlias = dict[str, Any]  # of a PreparedCorpus

MODALITIES: dict[str, type['Modality']] = {}


class Network(Protocol):
  """What makes a modality's part of a model: hashable."""

  def create(self, sizes: ModelSizes, *, rngs: nnx.Rngs) -> nnx.Module:
    """A module (arrays, key) -> Tokens of `sizes.width`.

    `arrays` are those of a batch that the modality's `inputs` gave, by their names;
    `key` is a random key for dropout, or None.
    """


class Modality(Protocol):
  """Settings of a modality, and what it makes of them."""

  @property
  def streams(self) -> tuple[str, ...]:
    """Names of the streams of a corpus that it reads."""

  # Whether it reads frames through the pre-trained encoder, see `Encoding`.
  encoded: ClassVar[bool]
  # Whether it stands for the face: subjects are set aside for an encoder's pre-training
  # whether or not it has one, so that all of these are tested in the same folds.
  face: ClassVar[bool]

  def inputs(
    self,
    corpus: 'PreparedCorpus',
    windows: Sequence[Window],
    options: 'InputConfig',
    encoding: 'Encoding | None' = None,
  ) -> 'Inputs':
    """What the network reads of some trials, worked out once.

    Args:
      windows: the part in use of each trial. Arrays of it are padded to its `padded`
        seconds along their first axis, so that those of windows with the same `padded`
        have one shape.

    Raises:
      InputError: the trials do not hold what it takes.
    """

  def network(self, metadata: Metadata, encoding: 'Encoding | None' = None) -> Network:
    """The network for a corpus with this metadata."""

  # A modality may also have `check(sizes)`, which raises ValueError if it does not fit
  # ModelSizes: a config is checked so before any work; `partial`, whether it goes
  # without some of the channels that it was trained on; and `in_time()`, the same
  # without what would move it in training against labels in time.
  #
  # One that reads clips of its stream through a backbone of its own has that as
  # `reader`, how the clips lie as `layout` (see `training.features`), its
  # settings `checkpoint` and `frozen`, `started(fresh, pretrained)` and
  # `trained(variables)`, which put its variables into those of the network and take
  # them out, and `cached(folder)`: the same on features of the frozen one.


class Inputs:
  """A modality's arrays of some trials.

  Attributes:
    items: those of each trial, or functions that give them.
    scaled: name of the array that is divided by what is fitted on training trials, see
      `scales.pooled_scale`, or None.
    standardised: name of the array whose every number is standardised by what is fitted
      on training trials, see `scales.moments`, or None. NaN where not known.
    pooled: whether what is fitted is the same for all tokens, the first axis of it.
  """

  def __init__(
    self,
    items: Sequence[Item | Callable[[], Item]],
    scaled: str | None = None,
    standardised: str | None = None,
    pooled: bool = False,
  ) -> None:
    self.items, self.scaled, self.standardised = items, scaled, standardised
    self.pooled = pooled

  def __getitem__(self, index: int) -> Item:
    item = self.items[index]
    return item() if callable(item) else item

  def take(self, rows: Iterable[int]) -> 'Inputs':
    return Inputs(
      [self.items[i] for i in rows], self.scaled, self.standardised, self.pooled
    )


@dataclasses.dataclass(frozen=True)
class Encoding:
  """How frames become tokens.

  Attributes:
    features: folder of the frozen backbone's tokens, `<trial_id>.npy`; None: the
      backbone is part of the model, and trained.
  """

  backbone: Backbone
  features: Path | None = None


_Class = TypeVar('_Class', bound=Modality)


def register(name: str) -> Callable[[type[_Class]], type[_Class]]:
  """Class decorator: a modality by the name it has in configs."""

  def add(cls: type[_Class]) -> type[_Class]:
    MODALITIES[name] = cls
    return cls

  return add


def find(name: str) -> type[Modality]:
  """The modality of a name. Raises InputError, listing those there are."""
  if name not in MODALITIES:
    raise InputError(f'modality {name!r} is none of {", ".join(MODALITIES)}')
  return MODALITIES[name]


for _name in ('physio', 'video', 'action_units', 'handcrafted', 'descriptors', 'voice'):
  importlib.import_module(f'{__name__}.{_name}')
