"""What the default model finds in real people: network against plain features.

  python benchmarks/real_people.py FOLDER [--ratings valence] [--models physio]
      [--seeds 5] [--null DRAW] [--set NAME=VALUE ...]

FOLDER holds a manifest.csv with labels. Trains and tests the small preset of
configs/recordings_fusion.py on folds of people, and prints how well each model and
baseline does, with 95 % intervals over people. With `--null DRAW`, a number, the
ratings of each person are dealt anew among that person's trials first: then there is
nothing to be found.
Takes minutes; everything goes to a temporary folder, or to `--work`, where a stopped
run goes on.
"""

import argparse
import csv
import json
import os
import pathlib
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from configs import recordings_fusion
from mvp_jax.config import parse, resolve
from mvp_jax.jobs import train

_SHOWN = ('macro-F1', 'AUROC', 'ECE')


def dealt_anew(folder, ratings, target, draw):
  """A copy of the folder, its ratings permuted within persons: its path."""
  target.mkdir(parents=True, exist_ok=True)
  for path in folder.iterdir():
    if path.name != 'manifest.csv' and not (target / path.name).exists():
      os.symlink(path.absolute(), target / path.name)
  with (folder / 'manifest.csv').open(newline='') as file:
    rows = list(csv.DictReader(file))
  rng = np.random.default_rng(draw)
  for subject in dict.fromkeys(row['subject'] for row in rows):
    own = [row for row in rows if row['subject'] == subject]
    given = [[row[name] for name in ratings] for row in own]
    for row, values in zip(own, rng.permutation(given).tolist(), strict=True):
      row |= dict(zip(ratings, values, strict=True))
  with (target / 'manifest.csv').open('w', newline='') as file:
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
  return target


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('folder', type=pathlib.Path)
  parser.add_argument('--ratings', default='valence')
  parser.add_argument('--models', default='physio')
  parser.add_argument('--seeds', type=int, default=5)
  parser.add_argument('--null', type=int)
  parser.add_argument('--work', type=pathlib.Path)
  parser.add_argument('--set', nargs='*', default=[], metavar='NAME=VALUE')
  given = parser.parse_args()
  work = given.work or pathlib.Path(tempfile.mkdtemp())
  ratings, folder = given.ratings.split(','), given.folder
  if given.null is not None:
    folder = dealt_anew(folder, ratings, work / 'null', given.null)
  config = recordings_fusion.get_config('small')
  config.data.manual_dir, config.data.data_dir = str(folder), str(work / 'data')
  config.target.ratings = tuple(ratings)
  config.evaluation.models = tuple(given.models.split(','))
  config.evaluation.seeds = given.seeds
  for word in given.set:
    name, _, value = word.partition('=')
    *path, last = name.split('.')
    section = config
    for part in path:
      section = section[part]
    section[last] = type(section[last])(value)
  train.run(parse(resolve(config)), work / 'run')
  with (work / 'run' / 'tables' / 'scores.csv').open(newline='') as file:
    rows = list(csv.DictReader(file))
  with (work / 'run' / 'run.json').open() as file:
    audit = json.load(file)['audit']
  found = {}
  for row in rows:
    told = {
      name: [round(float(row[key]), 3) for key in (name, f'{name} low', f'{name} high')]
      for name in _SHOWN
      if row.get(name)
    }
    found[f'{row["target"]}/{row["model"]}'] = told
    shown = '  '.join(
      f'{k} {a:.3f} [{b:.3f}, {c:.3f}]' for k, (a, b, c) in told.items()
    )
    print(f'{row["target"]:10}{row["model"]:22}{shown}')
  print(f'audit: {"passed" if audit["passed"] else "failed"}')
  print(json.dumps({'null': given.null, 'audit': audit['passed'], 'scores': found}))


if __name__ == '__main__':
  main()
