"""Progress of long work: a bar on a terminal, plain lines in a log."""

import sys
import time

from tqdm import tqdm

_LOG_EVERY_SECONDS = 15.0


def duration(seconds):
  """Formats seconds as `1:02:03` or `2:03`."""
  hours, rest = divmod(int(seconds), 3600)
  minutes, seconds = divmod(rest, 60)
  return f'{hours}:{minutes:02d}:{seconds:02d}' if hours else f'{minutes}:{seconds:02d}'


class Progress:
  """Counts towards `total` and shows rate and time left.

  Use as a context manager and call `update(n, **facts)`; `facts` (say, the
  loss) stand beside the bar. `initial` is what an earlier run has done: it
  counts towards the total but not towards the rate. Without a terminal one
  line is printed at the start, about every 15 seconds, and at the end.
  """

  def __init__(self, total, what, unit='it', initial=0, file=None):
    self._file = file or sys.stderr
    self._total, self._what, self._unit = total, what, unit
    self._initial = self._done = initial
    self._facts = {}
    self._start = self._last_line = time.monotonic()
    self._bar = None
    if self._file.isatty():
      self._bar = tqdm(
        total=total,
        desc=what,
        unit=unit,
        initial=initial,
        file=self._file,
        dynamic_ncols=True,
      )

  def __enter__(self):
    return self

  def __exit__(self, exc_type, exc, tb):
    if self._bar is not None:
      self._bar.close()
    else:
      self._line()

  def update(self, n=1, **facts):
    """Adds `n` units of work done."""
    self._done += n
    self._facts.update(facts)
    if self._bar is not None:
      if facts:
        self._bar.set_postfix(self._facts, refresh=False)
      self._bar.update(n)
    elif time.monotonic() - self._last_line > _LOG_EVERY_SECONDS:
      self._line()

  def _line(self):
    now = self._last_line = time.monotonic()
    elapsed = now - self._start
    rate = (self._done - self._initial) / max(elapsed, 1e-9)
    left = (
      f', {duration((self._total - self._done) / rate)} left'
      if rate > 0 and self._done < self._total
      else ''
    )
    facts = ''.join(f', {k} {v}' for k, v in self._facts.items())
    print(
      f'{self._what}: {self._done}/{self._total} {self._unit}, '
      f'{rate:.3g} {self._unit}/s, {duration(elapsed)} elapsed{left}{facts}',
      file=self._file,
      flush=True,
    )
