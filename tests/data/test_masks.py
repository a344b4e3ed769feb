"""Masks: static sizes, hidden as one, restored by running cell as in VideoMAE V2."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvp_jax.config import parse
from mvp_jax.data.masks import KINDS, MaskConfig, draw_masks, mask_sizes
from mvp_jax.errors import InputError


def _draw(seed=0, slots=8, height=14, width=14, **config):
  return draw_masks(
    np.random.default_rng(seed), slots, height, width, MaskConfig(**config)
  )


@pytest.mark.parametrize(
  ('slots', 'side', 'ratio', 'hidden'),
  [
    (8, 14, 0.9, 176),  # VideoMAE: 20 of 196 places are seen
    (8, 14, 0.75, 147),
    (4, 4, 0.75, 12),
  ],
)
def test_tubes_hide_the_same_places_in_every_slot(slots, side, ratio, hidden):
  places = side * side
  visible, masked = _draw(0, slots, side, side, ratio=ratio)
  assert masked.shape == (slots * hidden,)
  for tokens in (visible, masked):
    by_slot = tokens.reshape(slots, -1)
    np.testing.assert_array_equal(
      by_slot, by_slot[0] + places * np.arange(slots)[:, None]
    )


def test_frames_hide_whole_slots():
  visible, masked = _draw(3, kind='frame', ratio=0.9)
  assert len(visible) == 196  # 7.2 slots, rounded down
  assert np.ptp(visible // 196) == 0
  np.testing.assert_array_equal(np.bincount(masked // 196, minlength=8) % 196, 0)


def test_random_masks_hide_any_tokens():
  visible, masked = _draw(3, kind='random', ratio=0.9)
  assert len(masked) == 1411  # of 1568
  assert len(np.unique(np.bincount(masked // 196))) > 1  # not the same in each slot


_GRIDS = st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(1, 7))


@given(
  st.sampled_from(KINDS),
  st.floats(0.01, 0.99),
  _GRIDS,
  st.sampled_from([0.25, 0.5, 0.75, 1.0]),
  st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=200)
def test_any_mask(kind, ratio, grid, reconstruct, seed):
  config = MaskConfig(kind, ratio, reconstruct)
  try:
    sizes = mask_sizes(*grid, config)
  except InputError as error:
    assert 'masks.' in str(error)
    return
  rng = np.random.default_rng(seed)
  for _ in range(3):
    visible, masked = draw_masks(rng, *grid, config)
    assert visible.dtype == masked.dtype == np.int32
    assert (len(visible), len(masked)) == sizes
    assert np.all(np.diff(visible) > 0) and np.all(np.diff(masked) > 0)
    assert not set(visible) & set(masked)
    tokens = np.prod(grid)
    assert min(*visible, *masked) >= 0 and max(*visible, *masked) < tokens
    if reconstruct == 1:
      assert len(visible) + len(masked) == tokens


def test_masks_are_uniform_and_follow_the_generator():
  draws = [_draw(seed, 1, 2, 5, ratio=0.3)[1] for seed in range(2000)]
  share = np.bincount(np.concatenate(draws), minlength=10) / len(draws)
  # Binomial deviation sqrt(.3 * .7 / 2000) = .01; five of them.
  np.testing.assert_allclose(share, 0.3, atol=0.05)
  np.testing.assert_array_equal(_draw(7, 1, 2, 5, ratio=0.3)[1], draws[7])


def _reference_cells(frames, height, width, mask_ratio):
  """VideoMAE V2's decoder masks as its paper and code define them; 1 = left out."""
  left_out = int(4 * mask_ratio)
  maps = []
  for start in range(4):
    queue = [1] * left_out + [0] * (4 - left_out)
    queue = queue[start:] + queue[:start]
    slots = []
    for _ in range(frames):
      queue = queue[1:] + queue[:1]
      slots.append(np.tile(np.reshape(queue, (2, 2)), (height // 2, width // 2)))
    maps.append(np.stack(slots).ravel())
  return maps


@pytest.mark.parametrize('reconstruct', [0.25, 0.5, 0.75])
def test_running_cells_are_those_of_videomae_v2(reconstruct):
  maps = _reference_cells(8, 14, 14, 1 - reconstruct)
  used = set()
  for seed in range(30):
    visible, masked = _draw(seed, reconstruct=reconstruct)
    hidden = np.setdiff1d(np.arange(1568), visible)
    # 176 places are hidden in 8 slots, of which each is restored in its share.
    assert len(masked) == 176 * 8 * reconstruct
    used.add(
      next(
        i
        for i, left_out in enumerate(maps)
        if np.array_equal(hidden[left_out[hidden] == 0], masked)
      )
    )
  assert used == {0, 1, 2, 3}


@pytest.mark.parametrize(
  ('kind', 'masked'),
  [
    ('random', 1411 + 784 - 1568),  # at least so many of the hidden are restored
    ('frame', 7 * 98),
    ('tube', 176 * 4),
  ],
)
def test_what_is_restored_is_hidden_and_in_the_cells(kind, masked):
  maps = _reference_cells(8, 14, 14, 0.5)
  for seed in range(10):
    visible, restored = _draw(seed, kind=kind, reconstruct=0.5)
    assert len(restored) == masked
    assert not np.isin(restored, visible).any()
    assert any(not left_out[restored].any() for left_out in maps)


@pytest.mark.parametrize(
  ('kind', 'grid', 'ratio', 'message'),
  [
    ('tube', (2, 4, 4), 0.05, 'hides 0 of 16 places of a slot'),
    ('frame', (1, 14, 14), 0.9, 'hides 0 of 1 slots'),
    ('frame', (8, 14, 14), 0.1, 'hides 0 of 8 slots'),
    ('random', (1, 1, 2), 0.3, 'hides 0 of 2 tokens'),
  ],
)
def test_a_mask_must_hide_some(kind, grid, ratio, message):
  with pytest.raises(InputError, match=f'masks.ratio: {ratio} {message}'):
    draw_masks(np.random.default_rng(0), *grid, MaskConfig(kind, ratio))


def test_something_must_be_left_to_restore():
  with pytest.raises(InputError, match='masks.reconstruct: 0.25'):
    mask_sizes(1, 2, 2, MaskConfig('random', 0.5, 0.25))


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'kind': 'tubes'}, "kind 'tubes' is none of tube, random, frame"),
    ({'ratio': 1.0}, 'ratio is 1.0, must be above 0 and below 1'),
    ({'ratio': -0.5}, 'ratio is -0.5'),
    ({'ratio': float('nan')}, 'ratio is nan'),
    ({'reconstruct': 0.0}, 'reconstruct is 0.0, must be 0.25'),
    ({'reconstruct': 0.6}, 'reconstruct is 0.6'),
  ],
)
def test_impossible_settings_are_named(settings, message):
  with pytest.raises(InputError, match=f'^masks: {message}'):
    parse(settings, MaskConfig, 'masks')
