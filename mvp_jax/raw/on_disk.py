"""What lies on a disk: every file below a folder, and whether one is what it should be.

Nothing is passed over in silence: links that lead nowhere, folders that cannot be
opened, names that are spelt otherwise, and what was saved in place of a file.
"""

import difflib
import errno
import os
import stat
import unicodedata
from pathlib import Path

from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped

_HEAD = 512  # bytes
_MOST = 8 << 20  # bytes of a file of annotations, ratings or settings
# What has no end, or none that is known.
_ENDLESS = (
  (stat.S_ISFIFO, 'a named pipe'),
  (stat.S_ISCHR, 'a device'),
  (stat.S_ISBLK, 'a device'),
  (stat.S_ISSOCK, 'a socket'),
)
_LFS = b'version https://git-lfs.github.com/spec/'
_PAGE = (b'<!doctype html', b'<html')
# How names were written that are not UTF-8.
_OTHER_CODES = ('latin-1', 'cp437', 'mac-roman')


def shown(path):
  """A path as text that can be printed and stored: bytes that are no UTF-8 as \\xe4."""
  return os.fsencode(path).decode('utf-8', 'backslashreplace')


def require_file(path, what):
  """Sees that a file is there and is not something else saved under its name.

  `what` is 'video', 'audio', 'signals' or 'openface'. Raises Dropped, missing_* or
  broken_*.
  """
  try:
    there = path.is_file()
    code, told = 'broken' if there else 'missing', (instead if there else missing)(path)
  except OSError as error:  # no right to look, a drive that went away
    code, told = 'missing', f'cannot be read ({error.strerror})'
  if told:
    raise Dropped(f'{code}_{what}', f'{shown(path)}: {told}')


def require_regular(path):
  """Raises OSError if a path is a pipe, a device or a socket: to read it may hang."""
  if told := _endless(path):
    raise OSError(errno.EINVAL, f'{told}, not a file', str(path))


def _endless(path):
  mode = os.stat(path).st_mode
  return next((told for test, told in _ENDLESS if test(mode)), '')


def read_bytes(path, most=_MOST):
  """The content of a file. Raises OSError, also if it is larger than `most` bytes."""
  require_regular(path)
  with open(path, 'rb') as file:
    if os.fstat(file.fileno()).st_size > most:
      told = f'over {most >> 20} MB, which no such file is'
      raise OSError(errno.EFBIG, told, str(path))
    return file.read()


def read_text(path, most=_MOST):
  """The text of a file in UTF-8, with or without its mark, lines ending in a newline.

  Raises:
    OSError: as `read_bytes`.
    UnicodeDecodeError: it is in another encoding.
  """
  text = read_bytes(path, most).decode('utf-8-sig')
  return text.replace('\r\n', '\n').replace('\r', '\n')


def missing(path):
  """Why there is no file of this name, and what to do, in a few words."""
  path = Path(path)
  if path.is_dir():
    return 'a folder; name a file in it'
  if path.exists() and (told := _endless(path)):
    return f'{told}, not a file; name the file itself'
  for place in (path, *path.parents):
    if place.is_symlink() and not place.exists():
      return (
        f'{"" if place == path else f"{shown(place)} is "}a link to '
        f'{shown(os.readlink(place))}, which is not there; mount that disk, or put the '
        f'{"file" if place == path else "folder"} itself there'
      )
  folder, name = path.parent, path.name
  while not folder.is_dir():
    if folder == folder.parent:
      return 'no such file'
    folder, name = folder.parent, folder.name
  names = os.listdir(folder)
  if alike := next((x for x in names if x != name and _alike(x, name)), None):
    of = 'no such file' if folder == path.parent else f'no such folder {shown(name)}'
    return f'{of}; there is one spelt alike, {_spelling(alike, name)}'
  if folder != path.parent:
    return f'no such file (nor a folder {shown(path.parent)})'
  ending = path.suffix.casefold()
  near = [x for x in names if Path(x).suffix.casefold() == ending]
  near = difflib.get_close_matches(name, near, 1)
  return f'no such file{f", is it {shown(near[0])}?" if near else ""}'


def instead(path):
  """What a file is that is not what its name says, and what to do; or ''."""
  path = Path(path)
  if told := _endless(path):
    return f'{told}, not a file; put the file itself there'
  size = path.stat().st_size
  if not size:
    return 'it is empty (0 bytes) and cannot be read; copy it anew'
  with path.open('rb') as file:
    head = file.read(_HEAD)
  if head.startswith(_LFS):
    return (
      f'a pointer of Git LFS ({size} bytes), not the file; run git lfs pull where it '
      'came from'
    )
  head = head.removeprefix(b'\xef\xbb\xbf').lstrip().lower()
  if head.startswith(b'<') and any(sign in head for sign in _PAGE):
    return (
      'a web page saved under this name, not the file; download it again (is a login '
      'needed?)'
    )
  return ''


def files_below(root, enter=lambda folder: True):
  """Every file below a folder, not hidden: Paths that begin with `root`, in order.

  Linked folders are entered. A link that leads nowhere is a file. `enter`: whether a
  folder (Path) is looked into.

  Raises:
    InputError: a folder can't be opened, or is there twice, by a link.
  """

  def fail(error):
    raise InputError(f'{shown(error.filename)}: cannot be opened ({error.strerror})')

  seen = {}
  for folder, folders, names in os.walk(root, followlinks=True, onerror=fail):
    folders[:] = sorted(
      name for name in folders if not name.startswith('.') and enter(Path(folder, name))
    )
    first = seen.setdefault(os.path.realpath(folder), folder)
    if first != folder:
      raise InputError(
        f'{shown(folder)}: the same folder as {shown(first)}; take the link away'
      )
    for name in sorted(names):
      if not name.startswith('.'):
        yield Path(folder, name)


def require_names(root, paths):
  """Raises InputError if names cannot be stored since they are not UTF-8."""
  wrong = [path for path in paths if shown(path) != str(path)]
  if wrong:
    more = f' and {len(wrong) - 1} more' if len(wrong) > 1 else ''
    raise InputError(
      f'{shown(root)}: {shown(wrong[0])}{more}: the name is not UTF-8; rename it '
      '(convmv -f latin1 -t utf8 -r --notest FOLDER)'
    )


def require_link(path):
  """Raises InputError if a link leads nowhere, of which a folder of files may hang."""
  if not path.suffix and path.is_symlink() and not path.exists():
    raise InputError(f'{shown(path)}: {missing(path)}, or take the link away')


def _alike(one, other):
  return bool(_readings(one) & _readings(other))


def _readings(name):
  """What a name may stand for: without regard to case and to how letters are composed,
  and if it is not UTF-8 in each of some codes."""
  texts = {name}
  if shown(name) != name:
    texts = {os.fsencode(name).decode(code, 'replace') for code in _OTHER_CODES}
  return {unicodedata.normalize('NFC', text).casefold() for text in texts}


def _spelling(found, wanted):
  """A name that lies there, and how it differs from the one wanted."""
  if shown(found) != found:
    return f'{shown(found)}, whose name is not UTF-8; rename it'
  if unicodedata.normalize('NFC', found) == unicodedata.normalize('NFC', wanted):
    forms = [
      'composed' if unicodedata.is_normalized('NFC', x) else 'decomposed'
      for x in (found, wanted)
    ]
    return (
      f'{ascii(found)}: its letters with accents are {forms[0]}, those of the name '
      f'given are {forms[1]}; rename it, or copy its name'
    )
  return f'{found}; name it so'
