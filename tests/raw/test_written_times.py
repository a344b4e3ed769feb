import pandas
import pytest

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.written_times import seconds_of

UNIX = 1774778400  # `date -u -d '2026-03-29 10:00:00' +%s`


@pytest.mark.parametrize(
  'cells, began',
  [
    (['2026-03-29T10:00:00', '2026-03-29T10:00:00.250'], UNIX),
    (['29/03/2026 10:00:00', '29/03/2026 10:00:00.250'], UNIX),
    (['3/29/2026 10:00:00 AM', '3/29/2026 10:00:00.250 AM'], UNIX),
    (['29.03.2026 10:00:00,000', '29.03.2026 10:00:00,250'], UNIX),
    (['29-Mar-2026 12:00:00.000+0200', '29-Mar-2026 12:00:00.250+0200'], UNIX),
    (['Mar 29, 2026 10:00:00.0', 'Mar 29, 2026 10:00:00.25'], UNIX),
    (['Sun Mar 29 10:00:00 2026', 'Sun Mar 29 10:00:00.25 2026'], UNIX),
    (['2026-03-29_10:00:00.0 UTC', '2026-03-29_10:00:00.25 UTC'], UNIX),
    (['05.04.2026 10:00:00.0', '05.04.2026 10:00:00.25'], UNIX + 7 * 86400),
    (['05/04/2026 10:00:00.0', '05/04/2026 10:00:00.25'], None),  # April or May
    (['11:59:59.900 PM', '12:00:00.150 AM'], None),
    (['23:59:59:900', '00:00:00:150'], None),
    (['59:59.900', '00:00.150'], None),
  ],
)
def test_clocks_as_loggers_write_them(cells, began):
  seconds, found, _ = seconds_of('a.csv', pandas.Series(cells), 'time')
  assert seconds[1] - seconds[0] == pytest.approx(0.25, abs=1e-6)
  assert found == began


def test_dates_that_do_not_say_which_number_is_the_month_follow_each_other():
  cells = pandas.Series(['04/05/2026 23:59:59.9', '05/05/2026 00:00:00.1'])
  seconds, began, note = seconds_of('a.csv', cells, 'time')
  assert seconds[1] - seconds[0] == pytest.approx(0.2, abs=1e-6)
  assert began is None
  assert note == 'time: its dates do not say which number is the month'


@pytest.mark.parametrize('cell', ['soon', '10:00', '29.03.2026 10:00', '10:00:00:12'])
def test_what_is_no_clock_is_refused(cell):
  with pytest.raises(Dropped, match='a.csv: column time is no clock that is read here'):
    seconds_of('a.csv', pandas.Series([cell] * 9), 'time')


def test_times_that_cannot_be_read_are_told():
  cells = ['10:00:00.0', 'lost', '10:00:00.5', '10:00:00.75', '']
  seconds, _, note = seconds_of('a.csv', pandas.Series(cells), 'time')
  assert seconds[2] - seconds[0] == pytest.approx(0.5) and seconds[1] != seconds[1]
  assert note == "1 of its times cannot be read, such as 'lost'"
