"""Progress: a bar on a terminal, plain lines in a log."""

import io
import re

import pytest

from mvp_jax import progress
from mvp_jax.progress import Progress, duration


class _Terminal(io.StringIO):
  def isatty(self):
    return True


@pytest.fixture
def clock(monkeypatch):
  """A clock that stands still; `clock.now` moves it."""

  class Clock:
    now = 1000.0

    def monotonic(self):
      return self.now

  clock = Clock()
  monkeypatch.setattr(progress, 'time', clock)
  return clock


@pytest.mark.parametrize(
  ('seconds', 'text'),
  [
    (0, '0:00'),
    (59.9, '0:59'),
    (61, '1:01'),
    (3599, '59:59'),
    (3600, '1:00:00'),
    (36123.4, '10:02:03'),
  ],
)
def test_duration(seconds, text):
  assert duration(seconds) == text


def test_lines_in_a_log(clock):
  file = io.StringIO()
  with Progress(100, 'features', 'trial', file=file) as bar:
    for done in range(100):
      clock.now += 1
      bar.update(1, loss=f'{done / 100:.2f}')
  lines = file.getvalue().splitlines()
  assert len(lines) == 7  # one for each 16 of 100 seconds, and the last
  assert '\r' not in file.getvalue()
  assert lines[0] == (
    'features: 16/100 trial, 1 trial/s, 0:16 elapsed, 1:24 left, loss 0.15'
  )
  assert lines[-1] == 'features: 100/100 trial, 1 trial/s, 1:40 elapsed, loss 0.99'


def test_what_an_earlier_run_did_is_no_part_of_the_rate(clock):
  file = io.StringIO()
  with Progress(100, 'features', 'trial', initial=80, file=file) as bar:
    clock.now += 20
    bar.update(10)
  assert (
    file.getvalue().splitlines()
    == ['features: 90/100 trial, 0.5 trial/s, 0:20 elapsed, 0:20 left'] * 2
  )


def test_a_run_that_failed_says_how_far_it_came():
  file = io.StringIO()
  with pytest.raises(KeyError), Progress(5, 'fold0', 'step', file=file) as bar:
    bar.update(2)
    raise KeyError
  assert file.getvalue().startswith('fold0: 2/5 step, ')


def test_a_bar_on_a_terminal():
  file = _Terminal()
  with Progress(4, 'fold0', 'step', initial=1, file=file) as bar:
    for _ in range(3):
      bar.update(1, loss='0.5')
  text = file.getvalue()
  assert re.search(r'fold0: 100%.*4/4.*loss=0\.5', text.replace('\r', '\n'))


def test_goes_to_standard_error(capsys):
  with Progress(1, 'fold0', 'step') as bar:
    bar.update()
  captured = capsys.readouterr()
  assert captured.out == '' and captured.err.startswith('fold0: 1/1 step')
