"""Writing files that are either whole or not there."""

import contextlib
import json
import os


@contextlib.contextmanager
def whole(path):
  """Gives a temporary path to write to, which becomes `path` on success.

  A reader sees the old file or all of the new one, also if the writer is
  killed. The temporary name keeps the suffix.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_name(f'.{path.stem}.{os.getpid()}.part{path.suffix}')
  try:
    yield part
    part.replace(path)
  finally:
    part.unlink(missing_ok=True)


def write_json(path, value):
  """Writes a JSON file, whole."""
  with whole(path) as part:
    part.write_text(json.dumps(value, indent=2) + '\n')
