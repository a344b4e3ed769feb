"""JSON, CSV, and atomic writes: a file is either complete or absent."""

import contextlib
import csv
import json
import secrets
from pathlib import Path

from mvp_jax.errors import InputError


@contextlib.contextmanager
def atomic_write(path):
  """Yields a temporary path to write to, which is renamed to `path` on success.

  A reader sees either the old file or the complete new one, even if the writer is
  killed. The temporary name keeps the suffix. Missing folders are made.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  # Not the process id, which another host may use, too.
  part = path.with_name(f'.{path.stem}.{secrets.token_hex(4)}.part{path.suffix}')
  try:
    yield part
    part.replace(path)
  except OSError as error:
    if error.errno and error.filename is None:  # a write does not say to what
      error.filename = str(path)
    raise
  finally:
    part.unlink(missing_ok=True)


def read_json(path: Path, remedy: str = 'rerun the job') -> dict | None:
  """The object in a JSON file, or None if there is no such file.

  Raises InputError, which ends with what to do, if the file is not a JSON object.
  """
  try:
    value = json.loads(path.read_text('utf-8'))
  except FileNotFoundError:
    return None
  except (ValueError, RecursionError) as error:
    raise InputError(f'{path}: not JSON ({error}); {remedy}') from None
  if not isinstance(value, dict):
    raise InputError(f'{path}: a JSON object is expected; {remedy}')
  return value


def write_table(path, rows):
  """Writes dicts as a CSV file, atomically; what a row lacks stays empty."""
  columns = dict.fromkeys(name for row in rows for name in row)
  with (
    atomic_write(path) as part,
    part.open('w', newline='', encoding='utf-8', errors='backslashreplace') as file,
  ):
    writer = csv.DictWriter(file, columns, restval='', lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)


def write_json(path, value):
  """Writes a JSON file atomically."""
  with atomic_write(path) as part:
    part.write_text(json.dumps(value, indent=2) + '\n')
