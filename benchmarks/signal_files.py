"""How many signal files, as loggers write them and broken, are read right or refused.

  python benchmarks/signal_files.py [--seeds 2] [--manifest RECORDINGS/manifest.csv]

Writes each file for bodies that are known, checks and prepares it as a trial of own
recordings, and compares level, beats and times. `right`: all samples that count are the
body's; `refused`: both the check and the preparation name it; `wrong` is all else. Of
real recordings whose signals are .npz files it counts the samples that are masked since
they cannot be: false alarms. The last line is one JSON object.
"""

import argparse
import collections
import contextlib
import csv
import io
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from mvp_jax.raw.cleaning import kind
from mvp_jax.raw.guard import impossible, rate_problem
from tests.corpora.recordings.broken_files import BROKEN
from tests.corpora.recordings.export_files import EXPORTS, UNTOLD
from tests.corpora.recordings.logger_files import LAYOUTS, Body, verdict
from tests.corpora.recordings.program_files import PROGRAMS, UNSURE

UNITS = {'eda': 'microsiemens', 'emg': 'millivolt', 'ecg': 'millivolt'}


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--seeds', type=int, default=1)
  parser.add_argument('--manifest', type=Path, nargs='*', default=[])
  args = parser.parse_args()
  summary = {'benchmark': 'signal_files'}
  for title, cases in (
    ('layouts', LAYOUTS | PROGRAMS | EXPORTS),
    ('broken', BROKEN | UNSURE | {k: v[:2] for k, v in UNTOLD.items()}),
  ):
    counts, began = collections.Counter(), time.perf_counter()
    for seed in range(args.seeds):
      for i, (name, (write, how)) in enumerate(cases.items()):
        said, text = tried(write, how, seed * len(cases) + i)
        counts[said] += 1
        if said != 'right':
          print(f'{title:<9}{said:<9}{name:<36}{text[:120]}')
    seconds = (time.perf_counter() - began) / sum(counts.values())
    print(f'{title}: {dict(counts)}, {seconds:.2f} s each')
    summary[title] = dict(counts)
  for path in args.manifest:
    masked = real(path)
    print(f'{path}: {masked}')
    summary.setdefault('real', []).append(masked)
  print(json.dumps(summary))


def tried(write, how, seed):
  body = Body(np.random.default_rng(seed))
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    with contextlib.redirect_stderr(io.StringIO()):
      said, text = verdict(folder, write(folder, body, **how), body)
  return said, text.replace(name, '')


def real(path):
  """Of the trials of a manifest: channels, samples and those that are masked."""
  counts = collections.Counter()
  with path.open(newline='') as file:
    rows = list(csv.DictReader(file))
  for row in rows:
    with np.load(path.parent / row['signals']) as arrays:
      rate = float(row['rate'])
      first = round(float(row['signals_onset']) * rate)
      end = first + round(float(row['duration']) * rate)
      for name in (x for x in row if kind(x) in UNITS and row[x]):
        values = arrays[row[name]][first:end].astype(np.float64)
        masked = impossible(values, rate, name, UNITS[kind(name)])
        counts['channels'] += 1
        counts['samples'] += len(values)
        counts['masked'] += int(masked.sum())
        counts['rates refused'] += bool(rate_problem(name, rate))
  return dict(counts)


if __name__ == '__main__':
  main()
