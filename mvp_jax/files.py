"""Writing files that are either whole or not there."""

import contextlib
import json
import secrets


@contextlib.contextmanager
def atomic_write(path):
  """Gives a temporary path to write to, which becomes `path` on success.

  A reader sees the old file or all of the new one, also if the writer is
  killed. The temporary name keeps the suffix.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  # Not the process's number: on another host it may be the same.
  part = path.with_name(f'.{path.stem}.{secrets.token_hex(4)}.part{path.suffix}')
  try:
    yield part
    part.replace(path)
  finally:
    part.unlink(missing_ok=True)


def write_json(path, value):
  """Writes a JSON file, whole."""
  with atomic_write(path) as part:
    part.write_text(json.dumps(value, indent=2) + '\n')
