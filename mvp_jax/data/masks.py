"""Masks for masked pre-training, drawn on the host."""

import dataclasses
import functools

import numpy as np

from mvp_jax.errors import InputError

KINDS = ('tube', 'random', 'frame')


@dataclasses.dataclass(frozen=True)
class MaskConfig:
  """What is hidden from the encoder, and what of it the decoder restores.

  `kind`: tube hides the same places in every temporal slot, random any tokens,
  frame whole slots (VideoMAE, arXiv 2203.12602, section 3.3 and table 2).
  `ratio`: the share hidden, rounded down to whole places, tokens or slots.
  `reconstruct`: the share of tokens that the decoder restores, chosen by running
  cell: a quarter, half (VideoMAE V2), three quarters, or all (VideoMAE).
  """

  kind: str = 'tube'
  ratio: float = 0.9
  reconstruct: float = 1.0

  def __post_init__(self):
    if self.kind not in KINDS:
      raise ValueError(f'kind {self.kind!r} is none of {", ".join(KINDS)}')
    if not 0 < self.ratio < 1:
      raise ValueError(f'ratio is {self.ratio}, must be above 0 and below 1')
    if self.reconstruct not in (0.25, 0.5, 0.75, 1):
      raise ValueError(
        f'reconstruct is {self.reconstruct}, must be 0.25, 0.5, 0.75 '
        'or 1: cells have four places'
      )


@functools.lru_cache
def mask_sizes(slots, height, width, config):
  """How many tokens of each clip are visible and masked: (V, M).

  Raises InputError if the ratio hides nothing or everything, or restores nothing.
  """
  units = np.prod(_units(slots, height * width, config.kind))
  hidden = int(config.ratio * units)
  if not 0 < hidden < units:
    name = {'tube': 'places of a slot', 'random': 'tokens', 'frame': 'slots'}
    raise InputError(
      f'masks.ratio: {config.ratio} hides {hidden} of {units} '
      f'{name[config.kind]}; at least one must be hidden and one '
      'visible'
    )
  tokens = slots * height * width
  visible = tokens // units * (units - hidden)
  masked = tokens - visible
  if config.reconstruct < 1:
    masked = _least_restored(slots, height, width, config)
    if not masked:
      raise InputError(
        f'masks.reconstruct: {config.reconstruct} of {tokens} tokens '
        'may leave nothing hidden to restore; raise it or the ratio'
      )
  return int(visible), int(masked)


def draw_masks(rng, slots, height, width, config):
  """Draws what the encoder sees and what the decoder restores.

  Decoder masking is that of VideoMAE V2 (arXiv 2303.16727, section 3.2): cells of
  2 x 2 places, tiled over the slot, of which a share is restored; from slot to
  slot the choice moves on by one place, from one of four random starts. V2 counts
  the loss over the restored tokens that are hidden from the encoder. Here `masked`
  holds just these, so the loss is the mean over all of `masked`; V2's mask tokens
  for visible places, which it decodes without counting them, are not made. With
  tube masks and a multiple of four slots their number is the same for any draw
  (hidden places * slots * share); otherwise it is the least that any draw gives,
  and what a draw has beyond that is dropped at random.

  Returns:
    int32 [V] visible and int32 [M] masked token numbers, both ascending; their
    lengths are `mask_sizes`.
  """
  places = height * width
  visible, masked = mask_sizes(slots, height, width, config)
  shape = _units(slots, places, config.kind)
  units = np.zeros(np.prod(shape), bool)
  units[rng.permutation(units.size)[: int(config.ratio * units.size)]] = True
  hidden = np.broadcast_to(units.reshape(shape), (slots, places))
  visible = np.flatnonzero(~hidden)
  if config.reconstruct < 1:
    cells = _running_cells(slots, height, width, config.reconstruct)
    restored = np.flatnonzero(hidden & cells[rng.integers(len(cells))])
    if len(restored) > masked:
      restored = np.sort(rng.choice(restored, masked, replace=False))
  else:
    restored = np.flatnonzero(hidden)
  return visible.astype(np.int32), restored.astype(np.int32)


def _units(slots, places, kind):
  """What is hidden as one: the shape that broadcasts to [slots, places]."""
  return {'tube': (1, places), 'random': (slots, places), 'frame': (slots, 1)}[kind]


@functools.lru_cache
def _running_cells(slots, height, width, share):
  """Which tokens are restored, for each start: bool [4, slots, height * width].

  A cell's places are numbered by rows. As in VideoMAE V2's code, which counts its
  decoder's mask: the first places of the queue are left out, and the first slot
  has moved on by one already.
  """
  place = (np.arange(height)[:, None] % 2 * 2 + np.arange(width) % 2).ravel()
  turn = place + np.arange(slots)[:, None] + np.arange(1, 5)[:, None, None]
  return turn % 4 >= 4 - round(4 * share)


@functools.lru_cache
def _least_restored(slots, height, width, config):
  """The fewest tokens that are both hidden and restored, over all draws."""
  shape = _units(slots, height * width, config.kind)
  cells = _running_cells(slots, height, width, config.reconstruct)
  # In each unit: summed over the axes along which it is hidden as one.
  axes = tuple(i + 1 for i, size in enumerate(shape) if size == 1)
  counts = np.sort(cells.sum(axes, keepdims=True).reshape(len(cells), -1))
  return counts[:, : int(config.ratio * counts.shape[1])].sum(1).min()
