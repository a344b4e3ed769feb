"""Checksums: a file that is not what was written is found before it is believed."""

import hashlib
import json

from mvp_jax.errors import InputError
from mvp_jax.files import write_json

FILE = 'checksums.json'
ANEW = 'delete the folder and prepare anew'


def seal(folder, counts=lambda name: True):
  """Writes the checksums of files of a folder into it.

  Args:
    folder: pathlib.Path.
    counts: function of a name below the folder; False for files that are never read.
  """
  write_json(folder / FILE, _sums(folder, counts))


def damage(folder, counts=lambda name: True):
  """What is wrong with the files of a folder that `seal` has sealed.

  Files that came later are not looked at.

  Returns:
    {name of a file below the folder: what is wrong}, with `FILE` itself if it is
    missing or cannot be read.
  """
  try:
    wanted = dict(json.loads((folder / FILE).read_text()))
    found = _sums(folder, counts)
  except FileNotFoundError:
    return {FILE: 'is missing'}
  except (OSError, ValueError, TypeError) as error:
    return {FILE: f'or another file cannot be read: {error}'}
  return {
    name: 'is not what was written' if name in found else 'is missing'
    for name in sorted(wanted)
    if wanted[name] != found.get(name)
  }


def is_text(name):
  """Whether a file of prepared data is one without checksums of its own."""
  return name.endswith(('.json', '.csv'))


def require_texts(folder):
  """Raises InputError if a text file of prepared data is not what was written."""
  for name, what in damage(folder, is_text).items():
    if name != FILE:  # what TFDS alone has prepared is not sealed
      raise InputError(f'{folder / name}: {what}; {ANEW}')


def _sums(folder, counts):
  """{path below the folder: SHA-256}, but for `FILE`."""
  found = {}
  for path in sorted(folder.rglob('*')):
    name = path.relative_to(folder).as_posix()
    if path.is_file() and path.name != FILE and counts(name):
      with path.open('rb') as file:
        found[name] = hashlib.file_digest(file, 'sha256').hexdigest()
  return found
