"""RECOLA's official distribution: where its files are, and who belongs to whom.

Ringeval, Sonderegger, Sauer and Lalanne, "Introducing the RECOLA multimodal corpus of
remote collaborative and affective interactions", FG Workshops 2013.

The traps in it: people come in pairs, who solve a task with each other; not all have
biosignals; and headers have spaces behind the names.
"""

import csv
import dataclasses
import hashlib
import io
import json
import re
from pathlib import Path

from mvp_jax.corpora.corpus import existing, folder_below, read_marker
from mvp_jax.errors import InputError
from mvp_jax.raw.on_disk import read_bytes, require_link, shown
from mvp_jax.raw.text_table import layout, read_text

RATINGS = ('valence', 'arousal')
ANNOTATION, METADATA = 'RECOLA-Annotation', 'RECOLA-Metadata'
BEHAVIOUR = 'emotional_behaviour'
VIDEO, AUDIO, BIOSIGNALS = (
  f'RECOLA-{kind}-recordings' for kind in ('Video', 'Audio', 'Biosignals')
)
PAIRS = 'recola_user_info.csv'
WITH_BIOSIGNALS = (
  *(16, 19, 21, 23, 25, 26, 28, 30, 34, 37, 39, 41, 42, 45, 46, 56, 64, 65),
)
_ENDINGS = {
  VIDEO: ('.mp4', '.avi', '.mov', '.mkv'),
  AUDIO: ('.wav', '.flac'),
  BIOSIGNALS: ('.csv',),
}
_NAME = re.compile(r'P0*(\d+)', re.IGNORECASE)
_PERSON = re.compile(r'\s*P?0*(\d{1,9})(?:[.,]0*)?\s*', re.IGNORECASE)
_PEOPLE = ('user', 'participant', 'subject', 'id')  # what the column may be called
_PAIR = 'group_id'


@dataclasses.dataclass(frozen=True)
class Person:
  """One person's five minutes, as a trial.

  Attributes:
    number: of the person; P16 is 16.
    subject: number of the pair, from 1: it lies on one side of a split.
    trial: place of the person in it, from 1.
    group: the pair, as the metadata call it.
    valence, arousal, video, audio, biosignals: Paths, None where there is none.
  """

  number: int
  subject: int
  trial: int
  group: str
  valence: Path | None
  arousal: Path | None
  video: Path | None
  audio: Path | None
  biosignals: Path | None

  @property
  def trial_id(self):
    return f'P{self.number}'

  @property
  def files(self):
    """The Paths that there are, by name: a dict."""
    names = *RATINGS, 'video', 'audio', 'biosignals'
    found = {name: getattr(self, name) for name in names}
    return {name: path for name, path in found.items() if path is not None}


@dataclasses.dataclass(frozen=True)
class Tree:
  """Where RECOLA lies.

  `people` are those of whom there is anything, `pairs` is the file that says who
  belongs to whom, `marker` what SYNTHETIC.json says.
  """

  root: Path
  people: tuple[Person, ...]
  pairs: Path
  marker: dict | None


def find_tree(manual_dir, streams):
  """Finds RECOLA under `manual_dir`, for `streams` that are wanted: Tree.

  Raises:
    InputError: a folder or the metadata are not there, there are two files of one
      person, or the metadata leave a pair open.
  """
  root = existing(manual_dir, f'RECOLA ({ANNOTATION}, {VIDEO}, ...)')
  annotation = folder_below(root, ANNOTATION)
  if annotation is None:
    raise InputError(
      f'{root} does not hold RECOLA: no {ANNOTATION}, nor a few folders deeper; unpack '
      'it there, or point manual_dir to it'
    )
  found = {}
  for name in RATINGS:
    folder = folder_below(annotation, name)
    if folder is None:
      raise InputError(
        f'{annotation}: no {BEHAVIOUR}/{name} in it; unpack the annotation of {name} '
        'there'
      )
    found[name] = _files(folder, ('.csv',))
  for name, stream, place in (
    ('video', 'video', VIDEO),
    ('audio', 'audio', AUDIO),
    ('biosignals', 'signals', BIOSIGNALS),
  ):
    folder = folder_below(root, place)
    # Sound may be that of the videos.
    if folder is None and stream in streams and stream != 'audio':
      raise InputError(
        f'{root}: no folder {place}, and {stream} is wanted; unpack it there, or leave '
        f'out what reads {stream}'
      )
    found[name] = {} if folder is None else _files(folder, _ENDINGS[place])
  numbers = sorted({number for files in found.values() for number in files})
  if not numbers:
    raise InputError(
      f'{annotation}: no annotation in it (P16.csv); take the official files'
    )
  pairs = _pairs_file(root)
  groups = read_pairs(pairs, numbers)
  subjects, people = {}, []
  for number in numbers:
    group = groups[number]
    subject = subjects.setdefault(group, len(subjects) + 1)
    trial = 1 + sum(person.subject == subject for person in people)
    own = {name: files.get(number) for name, files in found.items()}
    people.append(Person(number, subject, trial, group, **own))
  return Tree(root, tuple(people), pairs, read_marker(root))


def _files(folder, endings):
  """{number of a person: Path}. Raises InputError for two of one person."""
  found = {}
  for path in sorted(folder.iterdir()):
    match = _NAME.fullmatch(path.stem)
    if match is None or path.suffix.lower() not in endings:
      continue
    require_link(path)
    before = found.setdefault(int(match[1]), path)
    if before is not path:
      raise InputError(
        f'{shown(path)}: a second file of P{int(match[1])}, also {before.name}; keep '
        'one of them'
      )
  return found


def _pairs_file(root):
  """The Path of the file that says who belongs to whom. Raises InputError."""
  folder = folder_below(root, METADATA)
  places = [] if folder is None else sorted(folder.rglob('*'))
  found = [path for path in places if path.name.lower() == PAIRS]
  if found:
    return found[0]
  sheet = next((x for x in places if x.stem.lower() == Path(PAIRS).stem), None)
  if sheet is not None:
    raise InputError(f'{shown(sheet)}: a spreadsheet; save it as {PAIRS}, beside it')
  raise InputError(
    f'{root}: no {METADATA}/{PAIRS}, so who belongs to a pair is not known, and a pair '
    'must not be on both sides of a split; unpack it there, or write it: a line '
    'User;Group_id, then one for each person, as 16;1'
  )


def read_pairs(path, numbers):
  """{number of a person: name of the pair}, of those asked for.

  Rows of nobody, as at the end of the official file, are passed over.

  Raises:
    InputError: it cannot be read, has no such columns, or leaves a pair open.
  """
  try:
    _, delimiter, first = layout(read_bytes(path))
    lines = read_text(path).splitlines()[first:]
    rows = list(csv.reader(io.StringIO('\n'.join(lines)), delimiter=delimiter))
  except (OSError, ValueError, csv.Error) as error:
    raise InputError(
      f'{shown(path)}: cannot be read ({error}); save it as CSV in UTF-8'
    ) from None
  names = [name.strip().lower() for name in rows[0]] if rows else []
  person = next((names.index(name) for name in _PEOPLE if name in names), None)
  if person is None or _PAIR not in names:
    raise InputError(
      f'{shown(path)}: its first line must name User and Group_id; it has '
      f'{", ".join(filter(None, names)) or "nothing"}'
    )
  pair, found = names.index(_PAIR), {}
  for line, row in enumerate(rows[1:], first + 2):
    match = _PERSON.fullmatch(row[person]) if len(row) > person else None
    if match is None:
      continue
    number, group = int(match[1]), row[pair].strip() if len(row) > pair else ''
    group = re.sub(r'[.,]0*$', '', group)
    if found.setdefault(number, group) != group:
      raise InputError(
        f'{shown(path)}: line {line}: P{number} is in group {group} and, above, in '
        f'{found[number]}; keep one of them'
      )
  open_ones = [f'P{number}' for number in numbers if not found.get(number)]
  if open_ones:
    raise InputError(
      f'{shown(path)}: no Group_id of {", ".join(open_ones)}, so whose pair '
      f'{"they are" if len(open_ones) > 1 else "it is"} is not known; write it there'
    )
  return {number: found[number] for number in numbers}


def fingerprint(tree):
  """A short hash of the source: annotations, pairs, sizes of the rest, marker."""
  digest = hashlib.sha256(json.dumps(tree.marker, sort_keys=True).encode())
  digest.update(read_bytes(tree.pairs))
  for person in tree.people:
    digest.update(f'{person.trial_id} {person.group}\n'.encode())
    for name, path in person.files.items():
      size = path.stat().st_size if path.is_file() else 'missing'
      digest.update(f'{path.name} {size}\n'.encode())
      if name in RATINGS and path.is_file():
        digest.update(read_bytes(path))
  return digest.hexdigest()[:16]
