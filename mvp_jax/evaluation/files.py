"""The files of a work directory that the report reads beside the predictions."""

import contextlib
import json
import math
import zipfile
from pathlib import Path

import numpy as np

from mvp_jax.errors import InputError

_ATTENTION_AXES = {
    'weights': ('layers', 'heads', 'Q', 'K'),
    'query_times': ('Q',),
    'key_times': ('K',),
    'query_valid': ('Q',),
    'key_valid': ('K',),
    'signals': ('S', 'C'),
    'signal_times': ('S',),
    'channels': ('C',),
    'thumbnails': ('n', 'height', 'width', 'rgb'),
    'thumbnail_times': ('n',),
}
_ATTENTION_OPTIONAL = ('thumbnails', 'thumbnail_times')


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


def read_attention(path: Path) -> dict | None:
  """The arrays of attention.npz, or None if there is no such file.

  `weights` [layers, heads, Q, K] of physio queries over video keys, their times
  in seconds and validity, `signals` [S, C], `trial_id`, `subject`, `trial`, and where
  present `thumbnails` uint8 [n, height, width, 3].

  Raises InputError if an array is missing or its shape disagrees with the rest.
  """
  if not path.is_file():
    return None
  try:
    with path.open('rb') as file, np.load(file, allow_pickle=False) as archive:
      arrays = dict(archive)
  except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
    raise InputError(f'{path}: cannot be read ({error}); delete it or rerun the '
                     'job') from None
  sizes = {}
  for name, axes in _ATTENTION_AXES.items():
    if name not in arrays:
      if name in _ATTENTION_OPTIONAL:
        continue
      raise InputError(f'{path}: no array {name}; delete it or rerun the job')
    shape = arrays[name].shape
    if len(shape) != len(axes) or any(
        sizes.setdefault(axis, size) != size
        for axis, size in zip(axes, shape, strict=True)):
      raise InputError(f'{path}: {name} has shape {shape}, which disagrees with '
                       f'[{", ".join(axes)}]; delete it or rerun the job')
  if not math.prod(arrays['weights'].shape):
    raise InputError(f'{path}: weights are empty; delete it or rerun the job')
  arrays['trial_id'] = str(arrays.get('trial_id', 'unknown trial'))
  return arrays
