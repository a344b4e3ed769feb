"""The files of a work directory that the report reads beside the predictions."""

import contextlib
import csv
import itertools
import json
import zipfile
from pathlib import Path

import numpy as np

from mvp_jax.errors import InputError
from mvp_jax.evaluation.predictions import file_name, read_predictions
from mvp_jax.files import read_json
from mvp_jax.preparation.account import read_account
from mvp_jax.targets import Binary, Target


def read_arrays(path: Path, make=dict):
  """What `make` makes of the arrays in an .npz file; None if there is no such file.

  Raises InputError if the file is damaged.
  """
  try:
    with path.open('rb') as file, np.load(file, allow_pickle=False) as arrays:
      return make(arrays)
  except FileNotFoundError:
    return None
  except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
    raise InputError(
      f'{path}: cannot be read ({error}); delete it or rerun the job'
    ) from None


def read_whole_predictions(workdir: Path, target: Target | None = None) -> list:
  """Reads the predictions of a target, and checks that they are all of this run's.

  `read_predictions` sees a trial that some models lack; one that all lack is known
  from account.csv and the folds of run.json, seeds from config.json, ratings from
  the target (None: a Binary one, of whatever ratings there are).
  What is absent, or says nothing of it, is not asked.

  Raises InputError as `read_predictions` does, and naming the first trial that is
  missing, or that this run has not tested.
  """
  account = workdir / 'account.csv'
  path = workdir / file_name(target or Binary())
  predictions = read_predictions(path, target)
  subjects = _test_subjects(read_json(workdir / 'run.json') or {})
  if subjects is None or not account.is_file():
    return predictions
  try:
    tested = {
      (int(row['subject']), int(row['trial']))
      for row in read_account(account)
      if row['outcome'] == 'ok' and int(row['subject']) in subjects
    }
  except (KeyError, ValueError, TypeError, csv.Error) as error:
    raise InputError(
      f'{account}: subject, trial and outcome cannot be read ({error!r})'
      '; delete it or rerun the job'
    ) from None
  config = read_json(workdir / 'config.json') or {}
  seeds = _seeds(config) or sorted({row.seed for row in predictions})
  ratings = target.ratings if target else ()
  ratings = ratings or dict.fromkeys(row.target for row in predictions)
  wanted = [
    (*x, *trial) for *x, trial in itertools.product(seeds, ratings, sorted(tested))
  ]
  there = {(row.seed, row.target, row.subject, row.trial) for row in predictions}
  missing = [key for key in wanted if key not in there]
  untold = 'account.csv and run.json of this run do not say that it was tested'
  lost = 'was tested, as account.csv and run.json say, but has no row of any model'
  more = sorted(there.difference(wanted))
  for keys, what in (missing, lost), (more, f'is there, but {untold}'):
    if keys:
      seed, target, subject, trial = keys[0]
      more = f' ({len(keys)} such)' if len(keys) > 1 else ''
      raise InputError(
        f'{path}: subject {subject} trial {trial} {target} seed {seed} '
        f'{what}{more}; restore the file or rerun the job'
      )
  return predictions


def _test_subjects(run):
  """Numbers of the subjects that the folds of run.json test, or None if not known."""
  folds = run.get('folds')
  try:
    found = {subject for fold in folds for subject in fold['test_subjects']}
  except (KeyError, TypeError):
    return None
  return found if found and all(isinstance(x, int) for x in found) else None


def _seeds(config):
  """The seeds that config.json asks for, or None if it does not say."""
  try:
    return range(config['seed'], config['seed'] + config['evaluation']['seeds'])
  except (KeyError, TypeError):
    return None


def read_curves(path: Path) -> tuple[dict, int] | None:
  """Loss curves of metrics.jsonl, or None if there is no such file.

  Returns `{run: {split: (steps, losses)}}`, both float64 [n] in order of the
  step, and the number of lines that could not be read: a killed run leaves half
  a line, which is no reason to have no report. Where a resumed run repeats a
  step, its last line counts.
  """
  if not path.is_file():
    return None
  curves, unreadable = {}, 0
  for line in path.read_text('utf-8', errors='replace').splitlines():
    try:
      entry = json.loads(line)
      run, split, step = str(entry['run']), str(entry['split']), int(entry['step'])
      if 'loss' in entry:
        loss = float(entry['loss'])
        curves.setdefault(run, {}).setdefault(split, {})[step] = loss
    except (ValueError, KeyError, TypeError, OverflowError):
      unreadable += bool(line.strip())
  for splits in curves.values():
    for split, losses in splits.items():
      splits[split] = tuple(np.array(sorted(losses.items()), float).T)
  return curves, unreadable


def read_speed(path: Path) -> dict:
  """What metrics.jsonl says of a run's speed: {name: list of floats}."""
  found = {}
  if path.is_file():
    for line in path.read_text('utf-8', errors='replace').splitlines():
      with contextlib.suppress(ValueError, KeyError, TypeError):
        entry = json.loads(line)
        if entry['split'] == 'speed':
          for name in entry.keys() - {'run', 'split', 'step', 'time'}:
            found.setdefault(name, []).append(float(entry[name]))
  return found
