"""Masks for masked pre-training, drawn on the host."""

import numpy as np

from mvp_jax.errors import InputError


def tube_mask(rng, slots, places, ratio):
  """Draws a tube mask: one set of places hidden in every temporal slot.

  VideoMAE (arXiv 2203.12602), section 3.3.

  Args:
    rng: np.random.Generator.
    slots: temporal positions of a clip.
    places: spatial positions of a slot.
    ratio: share of hidden places; 0.9 in the paper.

  Returns:
    int32 [V] visible and int32 [M] masked token numbers, both ascending; V and M
    depend on the sizes and the ratio only.

  Raises:
    InputError: the ratio hides nothing or everything.
  """
  hidden = int(ratio * places)
  if not 0 < hidden < places:
    raise InputError(f'mask_ratio: {ratio} hides {hidden} of {places} places; at least '
                     'one must be hidden and one visible')
  mask = np.zeros(places, bool)
  mask[rng.permutation(places)[:hidden]] = True
  mask = np.tile(mask, slots)
  return (np.flatnonzero(~mask).astype(np.int32),
          np.flatnonzero(mask).astype(np.int32))
