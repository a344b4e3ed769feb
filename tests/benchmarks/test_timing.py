"""Functions are called in turns; how often goes by a clock of its own."""

import time

import pytest

from benchmarks import timing


class Clock:
  """A clock that goes on by what is called."""

  def __init__(self):
    self.now, self.called = 0.0, []

  def __call__(self):
    return self.now

  def run(self, name, *seconds):
    """A function that takes so long, one call after another; the last repeats."""
    seconds = list(seconds)

    def call():
      self.called.append(name)
      self.now += seconds.pop(0) if len(seconds) > 1 else seconds[0]

    return call


def test_functions_are_called_in_turns_and_the_first_calls_do_not_count():
  clock = Clock()
  runs = [clock.run('a', 100.0, 1.0, 5.0, 2.0), clock.run('b', 50.0, 3.0)]
  assert timing.in_turns(runs, 3, clock) == [2.0, 3.0]
  assert clock.called == ['a', 'b'] * 4


@pytest.mark.parametrize(('seconds', 'calls'), [(0.1, 6), (5.0, 4), (20.0, 3)])
def test_one_is_called_until_time_is_up_but_some_times_at_least(
  monkeypatch, seconds, calls
):
  clock = Clock()
  monkeypatch.setattr(time, 'perf_counter', clock)
  run = clock.run('a', 50.0, 50.0, seconds)
  assert timing.alone(run, most=6, seconds=18.0) == pytest.approx(seconds)
  assert len(clock.called) == 2 + calls
