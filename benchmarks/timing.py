"""Times of functions without arguments: in turns, so that all have the same luck."""

import statistics
import time


def in_turns(runs, steps, clock=time.perf_counter):
  """Median seconds of each of some functions without arguments, in their order.

  Each is called `steps` times, after once to warm up; `clock` may be that of the
  processor, `time.process_time`.
  """
  seconds: list = [[] for _ in runs]
  for number in range(steps + 1):
    for run, found in zip(runs, seconds, strict=True):
      start = clock()
      run()
      if number:
        found.append(clock() - start)
  return [statistics.median(found) for found in seconds]


def alone(run, most, seconds, least=3, warm_up=2):
  """Median seconds of one function, called `warm_up` times before.

  It is called `most` times, but once there are `least` no longer than `seconds`.
  """
  for _ in range(warm_up):
    run()
  found: list = []
  while len(found) < least or (len(found) < most and sum(found) < seconds):
    start = time.perf_counter()
    run()
    found.append(time.perf_counter() - start)
  return statistics.median(found)
