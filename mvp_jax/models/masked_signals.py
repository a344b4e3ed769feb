"""Pre-training of the physio transformer: hidden spans of signals are filled in.

Spans of all channels are zeroed, and the mean squared error of the standardised signal
is taken over what was hidden (after Vazquez-Rodriguez et al. 2022, arXiv 2204.05103).
It takes no labels and any mixture of corpora: a channel that one lacks is zero there.

Shapes: B trials, S samples, C channels, N tokens.
"""

import dataclasses

import jax.numpy as jnp
from flax import nnx

from mvp_jax.array_types import Array, Bool, Float, PRNGKeyArray
from mvp_jax.models import layers
from mvp_jax.models.emotion import ModelSizes
from mvp_jax.models.modalities.physio import Physio, PhysioNetwork, Signals
from mvp_jax.targets.base import Mean


@dataclasses.dataclass(frozen=True)
class SignalBackbone:
  """What is pre-trained, and on which channels.

  Attributes:
    physio: sizes of the transformer.
    channels: names, all those of the sources.
    rate: Hz.
    lead: samples before the onset, of whole tokens.
    samples: of an example, with the lead.
    dtype: of the computation.
  """

  physio: Physio
  channels: tuple[str, ...]
  rate: float
  lead: int
  samples: int
  dtype: str = 'float32'

  def create(self, *, rngs: nnx.Rngs) -> Signals:
    """The network that a model has for the modality 'physio'."""
    network = PhysioNetwork(self.physio, len(self.channels), self.rate, self.lead)
    sizes = ModelSizes(width=self.physio.widths[-1], heads=1, dtype=self.dtype)
    return network.create(sizes, rngs=rngs)


class MaskedSignals(nnx.Module):
  """The transformer as `encoder`; a linear layer makes samples of its tokens."""

  def __init__(self, backbone: SignalBackbone, *, rngs: nnx.Rngs):
    self.encoder = backbone.create(rngs=rngs)
    self.head = layers.linear(
      backbone.physio.widths[-1],
      backbone.physio.stride * len(backbone.channels),
      rngs=rngs,
      dtype=jnp.dtype(backbone.dtype),
    )

  def __call__(
    self, batch: dict[str, Array], key: PRNGKeyArray | None = None
  ) -> Float[Array, 'B S C']:
    """The signal as the network believes it to be.

    `batch` holds `values` and `levels` (or none) [B, S, C], `valid` and `hidden`, both
    bool [B, S]. What is hidden is not looked at.
    """
    seen = ~batch['hidden'][..., None]
    values = jnp.where(seen, batch['values'], 0)
    levels = jnp.where(seen, batch['levels'], 0) if 'levels' in batch else None
    x, _ = self.encoder.read(values, levels, batch['valid'], key)
    found = self.head(x).astype(jnp.float32)
    rows, samples, channels = values.shape
    return found.reshape(rows, -1, channels)[:, :samples]

  def loss(self, batch: dict[str, Array], key: PRNGKeyArray | None = None) -> Mean:
    """The mean squared error over the hidden samples that are known."""
    values = batch['values']
    counts = hidden_and_known(values, batch['hidden'])
    weight = counts * batch['weight'][:, None, None]
    return Mean.of((self(batch, key) - values) ** 2, weight)


def hidden_and_known(
  values: Float[Array, 'B S C'], hidden: Bool[Array, 'B S']
) -> Float[Array, 'B S C']:
  """1 where something is to be filled in, 0 elsewhere.

  A sample that is not known, and a channel that never moves, is exactly zero.
  """
  return (hidden[..., None] & (values != 0)).astype(jnp.float32)
