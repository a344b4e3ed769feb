"""Tube masks: the same places hidden in all temporal slots."""

import numpy as np
import pytest

from mvp_jax.data.masks import tube_mask
from mvp_jax.errors import InputError


@pytest.mark.parametrize(('slots', 'places', 'ratio', 'hidden'), [
    (8, 196, 0.9, 176),  # VideoMAE: 20 of 196 places are seen
    (8, 196, 0.75, 147),
    (4, 16, 0.75, 12),
    (1, 2, 0.5, 1),
])
def test_same_places_are_hidden_in_every_slot(slots, places, ratio, hidden):
  visible, masked = tube_mask(np.random.default_rng(0), slots, places, ratio)
  assert visible.dtype == masked.dtype == np.int32
  assert masked.shape == (slots * hidden,)
  assert visible.shape == (slots * (places - hidden),)
  assert np.all(np.diff(visible) > 0) and np.all(np.diff(masked) > 0)
  np.testing.assert_array_equal(np.sort(np.concatenate([visible, masked])),
                                np.arange(slots * places))
  for tokens in (visible, masked):
    by_slot = tokens.reshape(slots, -1)
    np.testing.assert_array_equal(by_slot, by_slot[0] + places
                                  * np.arange(slots)[:, None])


def test_masks_are_uniform_over_places_and_follow_the_generator():
  draws = [tube_mask(np.random.default_rng(seed), 1, 10, 0.3)[1]
           for seed in range(2000)]
  share = np.bincount(np.concatenate(draws), minlength=10) / len(draws)
  # Binomial deviation sqrt(.3 * .7 / 2000) = .01; five of them.
  np.testing.assert_allclose(share, 0.3, atol=0.05)
  again = tube_mask(np.random.default_rng(7), 1, 10, 0.3)[1]
  np.testing.assert_array_equal(again, draws[7])


@pytest.mark.parametrize('ratio', [-0.5, 0.0, 0.05, 1.0, 1.5])
def test_a_mask_must_hide_some_and_leave_some(ratio):
  with pytest.raises(InputError, match=rf'mask_ratio: {ratio} hides'):
    tube_mask(np.random.default_rng(0), 2, 16, ratio)
