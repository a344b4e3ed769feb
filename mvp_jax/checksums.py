"""Checksums: a file that is not what was written is found before it is believed."""

import hashlib
import json
import sys

from mvp_jax.errors import InputError
from mvp_jax.files import write_json
from mvp_jax.locks import waited_for

FILE = 'checksums.json'
ANEW = 'delete the folder and prepare anew'
_CHANGED, _MISSING = 'is not what was written', 'is missing'


def seal(folder, counts=lambda name: True, known=None):
  """Writes the checksums of files of a folder into it.

  Args:
    folder: pathlib.Path.
    counts: function of a name below the folder; False for files that are never read.
    known: what `seal` has returned for files that are as they were then.

  Returns:
    {name: checksum}.
  """
  sums = _sums(folder, counts, known or {})
  write_json(folder / FILE, sums)
  return sums


def damage(folder, counts=lambda name: True):
  """What is wrong with the files of a folder that `seal` has sealed.

  Files that came later are not looked at.

  Returns:
    {name of a file below the folder: what is wrong}, with `FILE` itself if it is
    missing or cannot be read.
  """
  try:
    wanted = _wanted(folder)
    found = _sums(folder, counts)
  except FileNotFoundError:
    return {FILE: _MISSING}
  except (OSError, ValueError, TypeError) as error:
    return {FILE: f'cannot be read ({error})'}
  return {
    name: _CHANGED if name in found else _MISSING
    for name in sorted(wanted)
    if wanted[name] != found.get(name) and counts(name)
  }


def whole(folder, counts, remedy='it is made anew'):
  """Keeps of the files of a folder those that are as they were sealed.

  The others are deleted, and those that are damaged are named on stderr. What no
  checksum is known of is deleted, too: it came just before a run was killed. A folder
  without any, of an earlier version, is believed and sealed.

  Returns:
    {name: checksum} of those that are left, for `seal`.
  """
  try:
    wanted = _wanted(folder)
  except FileNotFoundError:
    there = _sums(folder, counts)
    return seal(folder, counts, there) if there else {}
  except (OSError, ValueError, TypeError) as error:
    print(f'{folder / FILE}: cannot be read ({error}); {remedy}', file=sys.stderr)
    wanted = {}
  found = _sums(folder, counts)
  for name in sorted(found):
    if name in wanted and found[name] != wanted[name]:
      print(f'{folder / name}: {_CHANGED}; {remedy}', file=sys.stderr, flush=True)
    if found[name] != wanted.get(name):
      (folder / name).unlink()
  return {name: found[name] for name in found if found[name] == wanted.get(name)}


def require(folder, name, remedy):
  """Raises InputError if a file of a sealed folder is not what was written.

  A folder that is not sealed is believed.
  """
  if not (folder / FILE).exists():
    return
  for wrong, what in damage(folder, lambda other: other == name).items():
    raise InputError(f'{folder / wrong}: {what}; {remedy}')


def made_once(path, doing, make):
  """Makes a file unless it is there and whole. Others of its folder stay sealed.

  Args:
    path: pathlib.Path.
    doing: what another run does that is at it, and is waited for.
    make: function that writes the file.
  """

  def counts(name):
    return name == path.name

  with waited_for(path.parent / '.lock', doing):
    if not whole(path.parent, counts):
      make()
      others = _others(path)
      seal(path.parent, lambda name: counts(name) or name in others, others)


def _others(path):
  """The checksums of what is sealed in the folder of a file, but for the file."""
  try:
    sums = _wanted(path.parent)
  except (OSError, ValueError, TypeError):
    return {}
  return {name: one for name, one in sums.items() if name != path.name}


def is_text(name):
  """Whether a file of prepared data is one without checksums of its own."""
  return name.endswith(('.json', '.csv'))


def require_texts(folder):
  """Raises InputError if a text file of prepared data is not what was written."""
  if not (folder / FILE).exists():
    return  # what TFDS alone has prepared is not sealed
  for name, what in damage(folder, is_text).items():
    raise InputError(f'{folder / name}: {what}; {ANEW}')


def _wanted(folder):
  return dict(json.loads((folder / FILE).read_text()))


def _sums(folder, counts, known=None):
  """{path below the folder: SHA-256}, but for `FILE` and hidden files."""
  found: dict[str, str] = {}
  for path in sorted(folder.rglob('*')):
    name = path.relative_to(folder).as_posix()
    if path.name.startswith('.') or path.name == FILE or not counts(name):
      continue
    if known and name in known:
      found[name] = known[name]
    elif path.is_file():
      with path.open('rb') as file:
        found[name] = hashlib.file_digest(file, 'sha256').hexdigest()
  return found
