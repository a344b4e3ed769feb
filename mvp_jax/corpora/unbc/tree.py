"""The UNBC-McMaster archive: where its files are, and what is in them.

Lucey et al., "Painful data: The UNBC-McMaster shoulder pain expression archive
database", FG 2011.

Each frame of a sequence is a picture and has a file with its pain (PSPI, a number from
0 to 16), and one with the action units that were coded. The number of a frame is in the
names of its files: frames may be missing, and the first need not be number 1.
"""

import dataclasses
import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np

from mvp_jax.corpora.corpus import existing, read_marker
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped
from mvp_jax.raw.action_units import find_csvs
from mvp_jax.raw.numbered import ENDINGS, numbered_files
from mvp_jax.raw.on_disk import read_bytes, read_text, shown

IMAGES, LABELS, FACS = 'Images', 'Frame_Labels/PSPI', 'Frame_Labels/FACS'
LABEL_END = '_facs'
UNITS = (4, 6, 7, 9, 10, 12, 20, 25, 26, 27, 43)  # that were coded
HIGHEST = 16.0
_DEPTH = 4  # folders that unpackers have put around a part
_PERSON = re.compile(r'(\d+)\W*\w*', re.ASCII)
_FEW = 3


@dataclasses.dataclass(frozen=True)
class Sequence:
  """One sequence of pictures of a person, as a trial.

  Attributes:
    trial_id: its name.
    subject: number of the person.
    trial: of the person's sequences, from 1.
    person: name of the person's folder.
    images, labels, facs: Paths of folders; None where there is none.
    openface: Path of the CSV of action units that OpenFace wrote; None: not asked for.
  """

  trial_id: str
  subject: int
  trial: int
  person: str
  images: Path | None
  labels: Path | None
  facs: Path | None
  openface: Path | None = None

  def image_files(self):
    """{number of the frame: Path}, and the list of other files. Raises Dropped."""
    files = _files(self.images)
    pictures = [path for path in files if path.suffix.lower() in ENDINGS]
    found, others = numbered_files(pictures, self.trial_id)
    return found, others

  def label_files(self):
    """The same of the files of PSPI."""
    return numbered_files(
      _texts(self.labels), self.trial_id, LABEL_END, code='bad_rating'
    )

  def facs_files(self):
    """The same of the files of action units."""
    return numbered_files(
      _texts(self.facs), self.trial_id, LABEL_END, code='bad_rating'
    )

  def all_files(self):
    """The Paths of everything that is read."""
    csvs = [] if self.openface is None else [self.openface]
    return [*_files(self.images), *_texts(self.labels), *_texts(self.facs), *csvs]


def _files(folder):
  """The files in a folder that are not hidden; none of None."""
  if folder is None:
    return []
  return sorted(
    Path(entry.path)
    for entry in os.scandir(folder)
    if entry.name[0] != '.' and entry.is_file()
  )


def _texts(folder):
  return [path for path in _files(folder) if path.suffix.lower() == '.txt']


@dataclasses.dataclass(frozen=True)
class Tree:
  """Where the archive lies, and its sequences. `marker`: what SYNTHETIC.json says."""

  root: Path
  sequences: tuple[Sequence, ...]
  marker: dict | None


def find_tree(manual_dir, openface_dir=None):
  """Finds the archive under `manual_dir`, be it nested twice: Tree.

  Args:
    manual_dir: the folder with Images and Frame_Labels.
    openface_dir: where OpenFace's CSVs are, if needed; '': in `manual_dir`.

  Raises:
    InputError: something is not there, says where it was looked for; or a folder is
      none of a person, or two are of one person or sequence.
  """
  root = existing(manual_dir, f'UNBC-McMaster ({IMAGES}, {LABELS})')
  found = {name: _find(root, name) for name in (IMAGES, LABELS, FACS)}
  for name in (IMAGES, LABELS):
    if found[name] is None:
      raise InputError(
        f'{root} does not hold UNBC-McMaster: no {name}, nor a few folders deeper; '
        'unpack the archive there, or point manual_dir to it'
      )
  places = {name: _sequences(folder) for name, folder in found.items()}
  names = sorted(set(places[IMAGES]) | set(places[LABELS]))
  if not names:
    raise InputError(f'{found[IMAGES]}: no folder <person>/<sequence> in it')
  csvs = find_csvs(root, openface_dir) if openface_dir is not None else None
  people, sequences = {}, []
  for person, name in names:
    subject = _number(found[IMAGES], person)
    if people.setdefault(subject, person) != person:
      raise InputError(
        f'{found[IMAGES]}: {people[subject]} and {person} have one number; rename one '
        'of them'
      )
    before = [one for one in sequences if one.trial_id == name]
    if before:
      raise InputError(
        f'{found[IMAGES]}: {name} is a sequence of {before[0].person} and of {person}; '
        'keep one of them'
      )
    trial = 1 + sum(one.subject == subject for one in sequences)
    folders = (places[part].get((person, name)) for part in (IMAGES, LABELS, FACS))
    csv = None if csvs is None else csvs.of(name)
    sequences.append(Sequence(name, subject, trial, person, *folders, csv))
  return Tree(root, tuple(sequences), read_marker(root))


def _find(root, name):
  """The folder of a name at any of a few depths, inside of one that is called alike."""
  first, *rest = name.split('/')
  for depth in range(_DEPTH):
    for path in sorted(root.glob('*/' * depth + first)):
      if not path.is_dir() or '__MACOSX' in path.parts:
        continue
      for part in (None, *rest):
        path = path / part if part else path
        while (path / path.name).is_dir():
          path = path / path.name
      if path.is_dir():
        return path
  return None


def _sequences(folder):
  """{(person, sequence): Path} of the folders two levels deep."""
  found = {}
  for person in _folders(folder):
    inner = person / person.name
    for sequence in _folders(inner if inner.is_dir() else person):
      inside = sequence / sequence.name
      found[person.name, sequence.name] = inside if inside.is_dir() else sequence
  return found


def _folders(folder):
  if folder is None:
    return []
  return sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != '.')


def _number(folder, person):
  told = _PERSON.fullmatch(person)
  if told is None:
    raise InputError(
      f'{folder}: {shown(person)} is no folder of a person, such as 042-ll042; take it '
      'out'
    )
  return int(told[1])


def read_labels(sequence):
  """The pain of each frame that has a label.

  Returns:
    (int [n] numbers, float32 [n] PSPI, notes).

  Raises:
    Dropped: missing_rating or bad_rating.
  """
  if sequence.labels is None:
    raise Dropped(
      'missing_rating',
      f'{sequence.trial_id}: no folder {LABELS}/{sequence.person}/{sequence.trial_id}; '
      'unpack the labels of the archive',
    )
  files, others = sequence.label_files()
  if not files:
    raise Dropped(
      'missing_rating',
      f'{shown(sequence.labels)}: no label in it, such as '
      f'{sequence.trial_id}001{LABEL_END}.txt',
    )
  values = np.array([_label(path) for path in files.values()], np.float32)
  return np.array([*files]), values, _told_others(others, 'files of labels')


def _told_others(others, what):
  if not others:
    return []
  more = ', ...' if len(others) > _FEW else ''
  names = ', '.join(shown(path.name) for path in others[:_FEW])
  return [f'{len(others)} {what} are of no frame and are not read: {names}{more}']


def _label(path):
  text = _text(path)
  fields = text.split()
  if not fields:
    raise Dropped(
      'missing_rating', f'{shown(path)}: it is empty; take the official file'
    )
  try:
    (value,) = map(float, fields)
  except ValueError:
    raise Dropped(
      'bad_rating',
      f'{shown(path)}: {text.strip()[:40]!r} is not one number with a decimal point; '
      'take the official file',
    ) from None
  if not 0 <= value <= HIGHEST:
    raise Dropped(
      'bad_rating',
      f'{shown(path)}: {value:g} is not from 0 to {HIGHEST:g}; take the official file',
    )
  return value


def _text(path):
  try:
    return read_text(path)
  except (OSError, UnicodeDecodeError) as error:
    raise Dropped('bad_rating', f'{shown(path)}: cannot be read ({error})') from None


def read_facs(sequence, numbers):
  """The action units of some frames, float32 [n, UNITS], NaN where there is no file.

  0 is not there; a unit without an intensity, as AU43, is 1. Files may be empty.

  Returns:
    (float32 [n, UNITS], notes).

  Raises:
    Dropped: bad_rating.
  """
  files, others = sequence.facs_files()
  found = np.full((len(numbers), len(UNITS)), np.nan, np.float32)
  unknown = set()
  for i, number in enumerate(numbers):
    if number in files:
      found[i] = 0
      for unit, intensity in _rows(files[number]):
        if unit in UNITS:
          found[i, UNITS.index(unit)] = intensity
        else:
          unknown.add(unit)
  notes = _told_others(others, 'files of action units')
  if unknown:
    told = ', '.join(f'AU{unit}' for unit in sorted(unknown))
    notes.append(f'{told} are coded and not stored')
  return found, notes


def _rows(path):
  """(unit, intensity) of each row of a file. Raises Dropped."""
  for number, line in enumerate(_text(path).splitlines(), start=1):
    if not line.strip():
      continue
    try:
      unit, intensity, *_ = map(float, line.split())
      if unit != int(unit):
        raise ValueError
    except (ValueError, OverflowError):
      raise Dropped(
        'bad_rating',
        f'{shown(path)}, line {number}: {line.strip()[:40]!r} does not begin with the '
        'numbers of a unit and its intensity; take the official file',
      ) from None
    yield int(unit), intensity if intensity > 0 else 1.0


def pspi(units):
  """The pain that follows from action units, float [..., UNITS]: float [...].

  AU4 + the greater of AU6 and AU7 + the greater of AU9 and AU10 + AU43 (0 or 1).
  """
  of = {unit: units[..., i] for i, unit in enumerate(UNITS)}
  return (
    of[4] + np.maximum(of[6], of[7]) + np.maximum(of[9], of[10]) + np.minimum(of[43], 1)
  )


def fingerprint(tree):
  """A short hash of the source: labels, names and sizes of pictures, marker."""
  digest = hashlib.sha256(json.dumps(tree.marker, sort_keys=True).encode())
  for sequence in tree.sequences:
    digest.update(f'{sequence.person} {sequence.trial_id}\n'.encode())
    for path in _files(sequence.images):
      digest.update(f'{path.name} {path.stat().st_size}\n'.encode())
    if sequence.openface is not None and sequence.openface.exists():
      digest.update(f'{sequence.openface.stat().st_size}\n'.encode())
    for path in (*_texts(sequence.labels), *_texts(sequence.facs)):
      digest.update(path.name.encode() + read_bytes(path))
  return digest.hexdigest()[:16]
