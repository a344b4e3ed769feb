"""Modalities: each the only place that knows both an input and its network.

A modality is a frozen dataclass of settings (a section of `config.modalities`, by its
name). To add one, write it in a module of its own and register it:

  @register('breath')
  @dataclasses.dataclass(frozen=True)
  class Breath: ...
"""

import dataclasses
import importlib
from pathlib import Path
from typing import Any, ClassVar, Protocol

from flax import nnx

from mvp_jax.errors import InputError

MODALITIES: dict[str, type['Modality']] = {}


class Network(Protocol):
  """What makes a modality's part of a model: hashable."""

  def create(self, sizes: Any, *, rngs: nnx.Rngs) -> nnx.Module:
    """A module (arrays, key) -> Tokens of `sizes.width`; `sizes` are ModelSizes.

    `arrays` are those of a batch that the modality's `inputs` gave, by their names;
    `key` is a random key for dropout, or None.
    """


class Modality(Protocol):
  """Settings of a modality, and what it makes of them."""

  # Names of the streams of a corpus that it reads.
  streams: ClassVar[tuple[str, ...]]
  # Whether it reads frames through the pre-trained encoder, see `Encoding`.
  encoded: ClassVar[bool]
  # Whether it stands for the face: subjects are set aside for an encoder's pre-training
  # whether or not it has one, so that all of these are tested in the same folds.
  face: ClassVar[bool]

  def inputs(self, corpus: Any, windows: list, options: Any, encoding: Any) -> 'Inputs':
    """What the network reads of some trials, worked out once.

    Args:
      corpus: data.trials.PreparedCorpus.
      windows: list of data.windows.Window, the part in use of each trial. Arrays of it
        are padded to its `padded` seconds along their first axis, so that those of
        windows with the same `padded` have one shape.
      options: data.examples.InputConfig.
      encoding: Encoding, or None.

    Raises:
      InputError: the trials do not hold what it takes.
    """

  def network(self, metadata: dict, encoding: Any) -> Network:
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
  """A modality's arrays of some trials: item i is a dict of NumPy arrays.

  Attributes:
    items: list of dicts, or of functions without arguments that give them.
    scaled: name of the array that is divided by what is fitted on training trials, see
      `scales.pooled_scale`, or None.
    standardised: name of the array whose every number is standardised by what is fitted
      on training trials, see `scales.moments`, or None. NaN where not known.
  """

  def __init__(
    self, items: list, scaled: str | None = None, standardised: str | None = None
  ):
    self.items, self.scaled, self.standardised = items, scaled, standardised

  def __getitem__(self, index: int) -> dict[str, Any]:
    item = self.items[index]
    return item() if callable(item) else item

  def take(self, rows) -> 'Inputs':
    return Inputs([self.items[i] for i in rows], self.scaled, self.standardised)


@dataclasses.dataclass(frozen=True)
class Encoding:
  """How frames become tokens.

  Attributes:
    backbone: of `models.backbones`.
    features: folder of the frozen backbone's tokens, `<trial_id>.npy`; None: the
      backbone is part of the model, and trained.
  """

  backbone: Any
  features: Path | None = None


def register(name: str):
  """Class decorator: a modality by the name it has in configs."""

  def add(cls):
    MODALITIES[name] = cls
    return cls

  return add


def find(name: str) -> type[Modality]:
  """The modality of a name. Raises InputError, listing those there are."""
  if name not in MODALITIES:
    raise InputError(f'modality {name!r} is none of {", ".join(MODALITIES)}')
  return MODALITIES[name]


for _name in ('physio', 'video', 'action_units', 'handcrafted', 'voice'):
  importlib.import_module(f'{__name__}.{_name}')
