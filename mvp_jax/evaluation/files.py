"""The files of a work directory that the report reads beside the predictions."""

import contextlib
import json
from pathlib import Path

import numpy as np

from mvp_jax.errors import InputError


def read_json(path: Path) -> dict | None:
  """The object in a JSON file, or None if there is no such file.

  Raises InputError if the file is not a JSON object.
  """
  try:
    value = json.loads(path.read_text('utf-8'))
  except FileNotFoundError:
    return None
  except ValueError as error:
    raise InputError(f'{path}: not JSON ({error}); rerun the job') from None
  if not isinstance(value, dict):
    raise InputError(f'{path}: a JSON object is expected; rerun the job')
  return value


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
      steps = sorted(losses)
      splits[split] = (np.array(steps, float),
                       np.array([losses[step] for step in steps], float))
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
