import numpy as np
import pytest

from mvp_jax.raw.counters import find_counter, places

ROWS = np.arange(400.0)


def test_a_column_that_counts_is_found():
  noise = np.random.default_rng(0).standard_normal(400)
  assert find_counter([noise, ROWS // 40, np.delete(ROWS, 9)]) is not None
  assert find_counter([noise, ROWS // 40, 4 * ROWS, ROWS[:50]]) is None


@pytest.mark.parametrize('wrap', [None, 16, 100])
def test_rows_that_were_lost_leave_places(wrap):
  kept = np.delete(ROWS, [*range(50, 55), 301])
  found = places(kept if wrap is None else kept % wrap, wraps=wrap is not None)
  np.testing.assert_array_equal(found, kept)


def test_none_were_lost():
  assert places(ROWS) is None and places(ROWS % 16, wraps=True) is None
  assert places(np.full(400, np.nan)) is None


def test_parts_that_are_counted_on_their_own_tell_nothing():
  assert places(np.concatenate([ROWS, ROWS[:150], ROWS])) is None


def test_rows_that_come_twice_are_refused():
  with pytest.raises(ValueError, match='runs backwards at sample 201; are rows there'):
    places(np.concatenate([ROWS[:200], ROWS[150:]]))


@pytest.mark.parametrize('top, begin', [(256, 0), (65_536, 65_400)])
def test_a_counter_of_some_bits_is_known_to_begin_anew(top, begin):
  kept = np.delete(ROWS, [*range(50, 55), 301])
  np.testing.assert_array_equal(places((kept + begin) % top), kept)
