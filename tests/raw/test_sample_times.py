import numpy as np
import pandas
import pytest

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.recorded import Recorded
from mvp_jax.raw.sample_times import in_seconds, own_rows, timed, with_gaps

T = np.arange(400) / 64


def clock(values, unit=''):
  return Recorded(np.asarray(values, np.float64), unit=unit)


def text(cells):
  cells = pandas.Series(cells)
  return Recorded(np.full(len(cells), np.nan), cells=cells)


@pytest.mark.parametrize(
  'values, name, unit, said, began',
  [
    (T, 'time', '', '', None),
    (T * 1e3, 'time_ms', '', '', None),
    (T * 1e3, 't', 'mSecs', '', None),
    (T * 1e3, 't', '', 'ms', None),
    (T * 1e6, 'Time [µs]', '', '', None),
    (T * 1e4, 'time (0.1 ms)', '', '', None),
    (T * 256, 'time [s/256]', '', '', None),
    (T / 60, 'Zeit (Minuten)', '', '', None),
    (T * 1e3, 'Temps [millisecondes]', '', '', None),
    (T / 3600, 'horas', '', '', None),
    (T / 86400, 't', '', 'days', None),
    (T, 'TimeOfDay', '', '', None),
    (T / 60, 'min', '', '', None),
    (T * 1e9, 'timestampNs', '', '', None),
    (1.6e9 + T, 'time', '', '', 1.6e9),
    (1.6e12 + T * 1e3, 'time', '', '', 1.6e9),
    (1.6e12 + T * 1e3, 'Timestamp_Unix_CAL', 'ms', '', 1.6e9),
    (1.6e15 + T * 1e6, 'unix_timestamp', '', 'unix', 1.6e9),
  ],
)
def test_units_of_clocks(values, name, unit, said, began):
  seconds, found, _ = in_seconds('a.csv', clock(values, unit), name, said)
  np.testing.assert_allclose(seconds, T, atol=1e-6)
  assert found == began


@pytest.mark.parametrize(
  'form',
  [
    '2026-03-29T00:59:{:09.6f}',
    '2026-03-29 00:59:{:09.6f}+00:00',
    '2026/03/29 00:59:{:09.6f}',
    '2026-03-29T02:59:{:09.6f}+02:00',
  ],
)
def test_iso_8601(form):
  recorded = text([form.format(50 + t) for t in T])
  seconds, began, _ = in_seconds('a.csv', recorded, 'time')
  np.testing.assert_allclose(seconds, T, atol=1e-6)
  assert began == 1774745990  # `date -u -d '2026-03-29 00:59:50' +%s`


def test_the_time_of_day_passes_midnight():
  cells = ['23:59:59,50', '23:59:59,75', '0:00:00,00', '0:00:00,25']
  seconds, began, _ = in_seconds('a.csv', text(cells), 'clock')
  np.testing.assert_allclose(seconds, 86399.5 + np.arange(4) / 4)
  assert began is None


@pytest.mark.parametrize(
  'recorded, said, told',
  [
    (
      clock(T * 1e3),
      '',
      'advances by 15.625 a sample; it must be in seconds, or time_',
    ),
    (clock(np.arange(400.0)), '', 'advances by 1 a sample'),  # ms at 1000 Hz?
    (clock(T), 'fortnight', "time_unit 'fortnight' is none of s, ms"),
    (clock(T), 'unix', 'no such time'),
    (clock(T), 'iso', 'holds numbers'),
    (clock(np.ones(9)), '', 'does not advance'),
    (text(['29.03.2026 0:59'] * 9), '', 'no clock that is read here'),
    (text(['soon'] * 9), 'ms', 'is no number'),
  ],
)
def test_clocks_of_no_known_unit_are_refused(recorded, said, told):
  with pytest.raises(Dropped, match=told):
    in_seconds('a.csv', recorded, 'time', said)


VALUES = np.random.default_rng(0).standard_normal(400)


@pytest.mark.parametrize('size', [2, 8, 73])
def test_stamps_shared_by_packets_are_spread(size):
  values, times, note = timed('a.csv', VALUES, T[np.arange(400) // size * size])
  np.testing.assert_allclose(times, T, atol=1e-9)
  np.testing.assert_array_equal(values, VALUES)
  assert '64 Hz' in note and f'a stamp for {size} samples' in note


@pytest.mark.parametrize('place', ['first', 'last'])
def test_packets_of_one_stamped_row(place):
  stamped = np.arange(400) % 8 == (0 if place == 'first' else 7)
  _, times, _ = timed('a.csv', VALUES, np.where(stamped, T, np.nan))
  np.testing.assert_allclose(times, T, atol=1e-9)


def test_a_packet_that_is_lost_is_a_gap():
  kept = (np.arange(400) < 96) | (np.arange(400) >= 120)
  stamps = T[np.arange(400) // 8 * 8]
  _, times, _ = timed('a.csv', VALUES[kept], stamps[kept])
  np.testing.assert_allclose(times, T[kept], atol=1e-9)


def test_rounded_stamps_are_of_the_rate_that_they_tell():
  rate = 128.0
  exact = np.arange(1280) / rate
  values = np.random.default_rng(0).standard_normal(1280)
  _, times, note = timed('a.csv', values, np.floor(exact * 100) / 100)
  assert 1 / np.median(np.diff(times)) == pytest.approx(rate, rel=1e-3)
  np.testing.assert_allclose(times, exact, atol=0.011)


def test_rows_that_come_twice_are_told():
  twice = np.sort(np.r_[np.arange(400), np.arange(50, 90)])
  values, times, note = timed('a.csv', VALUES[twice], T[twice])
  np.testing.assert_array_equal(values, VALUES)
  np.testing.assert_array_equal(times, T)
  assert '40 rows with the time of the row before' in note


def test_packets_that_make_no_even_rate_are_refused():
  rng = np.random.default_rng(0)
  stamps = np.repeat(np.cumsum(rng.uniform(0.5, 1.3, 40)), 10)
  with pytest.raises(Dropped, match='give rate instead of time'):
    timed('a.csv', VALUES, stamps)


def test_missing_rows_are_as_the_same_gap_of_no_numbers():
  kept = (T < 2) | (T >= 5)
  values, times = with_gaps('a.csv', VALUES[kept], T[kept])
  np.testing.assert_allclose(times, T)
  np.testing.assert_array_equal(values, np.where(kept, VALUES, np.nan))


def test_uneven_clocks_have_no_gap_between_each_two():
  times = np.cumsum(np.random.default_rng(0).uniform(0.5, 1.9, 400)) / 64
  values, _ = with_gaps('a.csv', VALUES, times)
  assert np.isnan(values).sum() < 0.02 * len(values)


def test_a_pause_of_days_is_refused():
  times = np.r_[T, T + 86_400 * 10]
  with pytest.raises(Dropped, match='pause of 8639.. s'):
    with_gaps('a.csv', np.r_[VALUES, VALUES], times)


def test_a_slow_channel_among_fast_ones_has_its_own_rate():
  slow = np.where(np.arange(400) % 16 == 3, VALUES, np.nan)
  values, times, note = own_rows(slow, T)
  np.testing.assert_array_equal(values, VALUES[3::16])
  np.testing.assert_array_equal(times, T[3::16])
  assert '4 Hz' in note
  lost = np.where(np.random.default_rng(1).random(400) < 0.3, VALUES, np.nan)
  assert own_rows(lost, T)[0] is lost  # at random: no rate of its own
