"""What becomes of valid files that are damaged in many ways.

  python benchmarks/mutants.py [--mutants 250] [--only mat wfdb]

Of each kind of file so many mutants are read, on Linux: refused with one line, read, or
`wrong`: any other exception, the end of the process, over 5 s of processor time or over
300 MB. The last line is one JSON object.
"""

import argparse
import collections
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks.hostile_files import alone, judged  # noqa: E402
from tests.raw import hostile_files  # noqa: E402
from tests.raw.mutants import mutated  # noqa: E402
from tests.raw.valid_files import FILES  # noqa: E402


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--mutants', type=int, default=250)
  parser.add_argument('--only', nargs='*', default=FILES)
  args = parser.parse_args()
  total = collections.Counter()
  for kind in args.only:
    counts = collections.Counter()
    for seed in range(args.mutants):
      said, text = tried(kind, seed)
      counts[said] += 1
      if said == 'wrong':
        print(f'{kind}, seed {seed}: {text[:300]}', flush=True)
    print(f'{kind:<20}{dict(counts)}', flush=True)
    total += counts
  print(json.dumps({'benchmark': 'mutants', 'mutants': total.total(), **total}))
  return 1 if total['wrong'] else 0


def tried(kind, seed):
  """What becomes of one mutant: (word, text)."""
  with tempfile.TemporaryDirectory() as folder:
    reader, *args = FILES[kind](Path(folder))
    paths, rng = sorted(Path(folder).iterdir()), np.random.default_rng(seed)
    path = paths[rng.integers(len(paths))]
    path.write_bytes(mutated(path.read_bytes(), rng))
    said, _, _, text = judged(*alone(hostile_files, reader, args))
  return said, text


if __name__ == '__main__':
  sys.exit(main())
