"""Time, memory and finds of the search for copies as the trials become more.

  python benchmarks/copies_scale.py [--sizes 239x44 478x44 956x44 1912x44 10000x60]
      [--kinds signals films sounds] [--planted 96] [--against CHECKOUT ...]

A size is trials x seconds. Trials are simulated: a wristband's skin conductance and
pulse, or courses of films or sounds. The last of them are copies of others, later by up
to .4 of a trial and a fraction of a sample, and changed. Told are the processor seconds
of the search, whatever else runs, without those that simulating takes; the most memory
of the process, in which no trial is kept; copies found, of those that carry enough to
be told, of those planted; and false alarms. CHECKOUT is a folder with another version
of this repository, measured in the same run up to `--most` trials. Each measurement is
a process of its own. The last line is one JSON object.
"""

import argparse
import collections.abc
import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import scipy.signal

_HERE = Path(__file__).resolve()
RATES = {'signals': 128.0, 'films': 5.0, 'sounds': 10.0}
_NOISES = (0.0, 0.1, 0.2, 0.4)  # of copies of films and sounds, of their deviation
_HEAD = (
  f'{"version":<12}{"kind":<9}{"trials":>7}{"s":>5}{"CPU s":>8}{"MB":>7}{"false":>7}'
)


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  sizes = ['239x44', '478x44', '956x44', '1912x44', '10000x60']
  parser.add_argument('--sizes', nargs='+', default=sizes)
  parser.add_argument('--kinds', nargs='+', default=list(RATES), choices=list(RATES))
  parser.add_argument('--planted', type=int, default=96)
  parser.add_argument('--against', nargs='*', type=Path, default=[])
  parser.add_argument('--most', type=int, default=956)
  parser.add_argument('--one', action='store_true', help=argparse.SUPPRESS)
  args = parser.parse_args()
  sizes = [tuple(map(int, size.split('x'))) for size in args.sizes]
  if args.one:
    checkout = (args.against or [_HERE.parent.parent])[0]
    sys.path[:0] = [str(checkout.resolve()), str(_HERE.parent)]
    print(json.dumps(measure(args.kinds[0], *sizes[0], args.planted)))
    return
  print(f'{_HEAD}  found/enough/planted')
  table = []
  for kind in args.kinds:
    for version in [None, *args.against]:
      for trials, seconds in sizes:
        if version is None or trials <= args.most:
          words = ['--kinds', kind, '--sizes', f'{trials}x{seconds}']
          words += ['--planted', str(args.planted), '--one']
          words += ['--against', str(version)] if version else []
          row = json.loads(_output([sys.executable, str(_HERE), *words]))
          name = version.resolve().name if version else 'this'
          table.append({'version': name, 'kind': kind, **row})
          show(table[-1])
      _tell_exponent([row for row in table if row['kind'] == kind], sizes)
  print(json.dumps({'benchmark': 'copies_scale', 'table': table}))


def _output(words):
  done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
  return done.stdout.splitlines()[-1]


def show(row):
  found = ', '.join(f'{k} {"/".join(map(str, n))}' for k, n in row['found'].items())
  print(
    f'{row["version"]:<12}{row["kind"]:<9}{row["trials"]:>7}{row["seconds"]:>5}'
    f'{row["cpu"]:>8.1f}{row["megabytes"]:>7.0f}{row["false"]:>7}  {found}',
    flush=True,
  )


def _tell_exponent(rows, sizes):
  """How the time grew between the last two sizes that were measured at one length."""
  rows = [r for r in rows if r['version'] == rows[-1]['version']]
  rows = [r for r in rows if r['seconds'] == sizes[0][1]][-2:]
  if len(rows) == 2:
    a, b = rows
    power = math.log(b['cpu'] / a['cpu']) / math.log(b['trials'] / a['trials'])
    print(f'  from {a["trials"]} to {b["trials"]}: trials to the power of {power:.2f}')


def measure(kind, trials, seconds, planted):
  """A row of the table, of one search."""
  from mvp_jax.evaluation import content

  courses = _Trials(kind, trials, seconds, planted)
  search = {
    'signals': lambda: content.same_signals(courses, RATES[kind])[0],
    'films': lambda: content.same_films(courses, RATES[kind]),
    'sounds': lambda: content.same_sounds(courses),
  }[kind]
  start = time.process_time()
  pairs = {pair[:2] for pair in search()}
  cpu = time.process_time() - start - courses.cpu
  most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
  found = {}
  for n, (source, change, _) in enumerate(courses.copies):
    own = found.setdefault(change, [0, 0, 0])
    hit = (source, courses.first + n) in pairs
    enough = hit or courses.enough(n)
    found[change] = [own[0] + hit, own[1] + enough, own[2] + 1]
    pairs.discard((source, courses.first + n))
  return {
    'trials': trials,
    'seconds': seconds,
    'cpu': round(cpu, 2),
    'megabytes': round(most),
    'false': len(pairs),
    'found': found,
  }


class _Trials(collections.abc.Sequence):
  """Simulated courses, each made anew when it is asked for.

  Attributes:
    first: number of the first copy.
    copies: of each copy, what of, how it is changed, and samples that it is later.
    cpu: processor seconds that making them has taken.
  """

  def __init__(self, kind, trials, seconds, planted):
    import copies

    self.kind, self.cpu, self.first = kind, 0.0, trials - planted
    self._module, self._trials = copies, trials
    self._size = round(seconds * RATES[kind])
    rng = np.random.default_rng(0)
    changes = (
      list(copies.changes(rng))
      if kind == 'signals'
      else [f'noise {100 * share:.0f} %' for share in _NOISES]
    )
    sources = rng.permutation(self.first)[:planted].tolist()
    room = min(0.4 * seconds, 0.9 * seconds - 8.1) * RATES[kind]
    late = rng.uniform(0, room, planted)
    self.copies = [
      (source, changes[n % len(changes)], float(begin))
      for n, (source, begin) in enumerate(zip(sources, late, strict=True))
    ]

  def __len__(self):
    return self._trials

  def __getitem__(self, number):
    number = int(number)
    if not 0 <= number < self._trials:
      raise IndexError(number)
    start = time.process_time()
    course = self._make(number)
    self.cpu += time.process_time() - start
    return course

  def enough(self, number):
    """Whether a copy carries enough to be told, as `copies.enough` has it."""
    if self.kind != 'signals':
      return True
    source, _, begin = self.copies[number]
    return self._module.enough(self[source], self[self.first + number], begin)

  def _make(self, number):
    if number < self.first:
      return self._simulate(number)
    source, change, begin = self.copies[number - self.first]
    whole = self._module.late(self._simulate(source), begin)
    rng = np.random.default_rng((number, 1))
    if self.kind == 'signals':
      return self._module.changes(rng)[change](whole).astype(np.float32)
    share = float(change.split()[1]) / 100
    noise = share * whole.std(0) * rng.normal(size=whole.shape)
    return (whole + noise).astype(np.float32)

  def _simulate(self, number):
    rng, size = np.random.default_rng((number, 0)), self._size
    if self.kind != 'signals':
      steps = rng.normal(size=(size, 8))
      return scipy.signal.lfilter([1], [1, -0.9], steps, axis=0).astype(np.float32)
    # Thirty trials of a person share the pulse; the skin is of 4 Hz, in steps.
    rate, person = RATES['signals'], np.random.default_rng((number // 30, 2))
    times = np.arange(size) / rate
    skin = np.cumsum(
      scipy.signal.lfilter([1], [1, -0.8], rng.normal(0, 0.004, size // 32 + 2))
    )
    skin = np.interp(times, np.arange(len(skin)) / 4, np.round(skin, 3))
    drift = np.interp(
      times, np.arange(size // 128 + 2), rng.normal(size=size // 128 + 2)
    )
    beats = np.cumsum(person.uniform(0.9, 1.5) * (1 + 0.06 * drift)) / rate
    pulse = sum(
      level * np.sin(2 * np.pi * (k * beats + turn))
      for k, (level, turn) in enumerate(person.uniform(0.2, 1, (3, 2)), 1)
    )
    pulse = pulse + rng.normal(0, 0.02, size)
    return np.stack([skin, pulse], 1).astype(np.float32)


if __name__ == '__main__':
  main()
