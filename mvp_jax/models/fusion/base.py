"""What a fusion takes and gives, and the registry of fusions.

Shapes: B examples, N tokens, D width.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mvp_jax.array_types import Array, Bool, Float, Key
from mvp_jax.models import layers

DType: TypeAlias = jnp.dtype
RandomKey = Key[Array, '']
MakeBlock = Callable[..., layers.Block]  # (rngs, cross=False)


class Tokens(NamedTuple):
  """The sequence of one modality, which an example lacks if no token is valid."""

  x: Float[Array, 'B N D']
  valid: Bool[Array, 'B N']
  # Seconds.
  times: Float[Array, 'B N'] | Float[Array, ' N'] | Float[np.ndarray, ' N']

  @property
  def present(self) -> Bool[Array, ' B']:
    return self.valid.any(1)


class Fused(NamedTuple):
  """What a fusion gives."""

  pooled: list[Float[Array, 'B _']]  # one vector per head, as wide as `widths` says
  # In time, always D wide and not necessarily sorted; without a valid token where
  # every modality is absent.
  sequence: Tokens
  seen: dict[str, Any]  # what can be looked at
  present: list[Bool[Array, ' B']] | None = None  # which heads count; None = all


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Sides:
  """Who asks whom in a cross-attention."""

  query: str
  keys: tuple[str, ...]
  lengths: tuple[int, ...]  # how many keys each of them has, in this order


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Names:
  """Of modalities, in order: what rows of an array in `Fused.seen` are of."""

  names: tuple[str, ...]


class Sizes(Protocol):
  """What a fusion reads of the model's configuration."""

  @property
  def width(self) -> int: ...
  @property
  def fusion(self) -> str: ...  # the name of the fusion
  @property
  def depth(self) -> int: ...
  @property
  def segments(self) -> int: ...
  @property
  def segment_seconds(self) -> float: ...
  @property
  def segment_shifts(self) -> int: ...
  @property
  def seconds(self) -> float: ...  # that examples are padded to
  @property
  def remat(self) -> str: ...  # one of layers.REMAT


class Fusion(nnx.Module):
  """Brings the tokens of named modalities together.

  A new one makes its parameters in `build` and fuses in `fuse`. Each example may lack
  any of the modalities. What tokens hold where they are not valid never changes the
  result, not even NaN; neither does how many of these there are, beyond rounding. All
  is finite also where every modality is absent.

  Args:
    names: of the modalities, in their order.
    block: function (rngs, cross=False) that makes a transformer block.
  """

  widths: tuple[int, ...]  # of the pooled vectors: one head each

  def __init__(
    self,
    sizes: Sizes,
    names: Sequence[str],
    block: MakeBlock,
    *,
    rngs: nnx.Rngs,
    dtype: DType,
  ) -> None:
    self.names, self.widths = tuple(names), (sizes.width,)
    self.build(sizes, block, rngs, dtype)

  def build(self, sizes: Sizes, block: MakeBlock, rngs: nnx.Rngs, dtype: DType) -> None:
    """Makes what is learnt, if anything, and sets `widths` where there are others."""

  def __call__(
    self,
    tokens: Mapping[str, Tokens],
    key: RandomKey | None = None,
    want_attention: bool = False,
  ) -> Fused:
    """Fuses the tokens of all of `names`.

    Args:
      tokens: of each modality.
      key: random key for dropout, or None for none.
      want_attention: add to `seen` what of the attention can be looked at.
    """
    clean = [
      Tokens(
        jnp.where(t.valid[..., None], t.x, 0),
        t.valid,
        jnp.broadcast_to(t.times, t.valid.shape),
      )
      for t in (tokens[name] for name in self.names)
    ]
    return self.fuse(clean, key, want_attention)

  def fuse(self, taken: list[Tokens], key: RandomKey | None, look: bool) -> Fused:
    """As the call, of tokens in order, zero where invalid, with times [B, N]."""
    raise NotImplementedError


def kinds(rngs: nnx.Rngs, count: int, width: int) -> nnx.Param:
  """A learnt vector per modality, which tells its tokens from others."""
  return nnx.Param(0.02 * jax.random.normal(rngs.params(), (count, width)))


def add_kinds(sequences: Sequence[Tokens], kinds: nnx.Param) -> list[Tokens]:
  """Each modality's tokens with its vector added."""
  return [
    t._replace(x=t.x + kind[None, None].astype(t.x.dtype))
    for t, kind in zip(sequences, kinds[...], strict=True)
  ]


def one_after_another(sequences: Sequence[Tokens]) -> Tokens:
  """One sequence [B, sum of all N, D]."""
  return Tokens(
    *(jnp.concatenate(parts, axis=1) for parts in zip(*sequences, strict=True))
  )


_Class = TypeVar('_Class', bound=Fusion)
FUSIONS: dict[str, type[Fusion]] = {}


def register(name: str) -> Callable[[type[_Class]], type[_Class]]:
  """A class decorator: the fusion can be chosen under this name from now on."""

  def add(cls: type[_Class]) -> type[_Class]:
    FUSIONS[name] = cls
    return cls

  return add


def find(name: str) -> type[Fusion]:
  """The class of a fusion; ValueError, which lists those there are, if unknown."""
  if name not in FUSIONS:
    raise ValueError(f'fusion {name!r} is none of {", ".join(FUSIONS)}')
  return FUSIONS[name]
