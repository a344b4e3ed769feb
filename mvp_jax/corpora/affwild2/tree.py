"""Aff-Wild2's official distribution: where its files are, and what is in them.

Kollias and Zafeiriou, "Expression, Affect, Action Unit Recognition: Aff-Wild2,
Multi-Task Learning and ArcFace", BMVC 2019, and the readmes of the ABAW challenges.

The traps in it: the files of `Test_Set` hold placeholders, so that nothing below it is
ever read; the number of a frame is in the name of its crop, for crops are missing where
no face was found; and `_left` and `_right` are two people of one video.
"""

import csv
import dataclasses
import hashlib
import os
import re
from pathlib import Path

import numpy as np

from mvp_jax.corpora.corpus import existing, folder_below, read_marker
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped
from mvp_jax.raw.numbered import numbered_files
from mvp_jax.raw.on_disk import files_below, read_bytes, read_text, shown

RATINGS = ('valence', 'arousal')
UNRATED = -5.0
# {folder: part}; what lies in `Test_Set` are placeholders.
PARTS = {'Train_Set': 'train', 'Validation_Set': 'validation'}
CROPS = 'cropped_aligned'
VIDEO_ENDINGS = ('.mp4', '.avi')
_SIDE = re.compile(r'_(left|right)$')


@dataclasses.dataclass(frozen=True)
class Clip:
  """One person of one video, as a trial.

  Attributes:
    trial_id: name of its annotation, `<video>[_left|_right]`.
    subject: number of its video; people are not told.
    trial: 1, or 2 of the second person of a video.
    part: 'train' or 'validation'.
    annotation, crops, video: Paths; crops and video may be None, if not there.
  """

  trial_id: str
  subject: int
  trial: int
  part: str
  annotation: Path
  crops: Path | None
  video: Path | None

  @property
  def side(self):
    """'left', 'right' or ''."""
    found = _SIDE.search(self.trial_id)
    return found.group(1) if found else ''


@dataclasses.dataclass(frozen=True)
class Tree:
  """Where Aff-Wild2 lies.

  `clips` are those that should be there, `strangers` names of folders of crops that no
  annotation goes with: of the test set, say. `marker` is what SYNTHETIC.json says.
  """

  root: Path
  clips: tuple[Clip, ...]
  strangers: tuple[str, ...]
  marker: dict | None


def find_tree(manual_dir):
  """Finds Aff-Wild2 under `manual_dir`: Tree.

  Raises:
    InputError: there are no annotations; says where they were looked for.
  """
  root = existing(
    manual_dir, 'Aff-Wild2 (VA_Estimation_Challenge, cropped_aligned, batch1, ...)'
  )
  annotations = {}
  for folder, part in PARTS.items():
    for path in sorted(_folder(root, folder).glob('*.txt')):
      if path.name.startswith('.'):  # what macOS puts into zips
        continue
      if path.stem in annotations:
        raise InputError(
          f'{path}: annotated in both parts, also {annotations[path.stem][1]}; delete '
          'one of them'
        )
      annotations[path.stem] = part, path
  if not annotations:
    raise InputError(
      f'{root}: no annotation (*.txt) in {" or ".join(PARTS)}; unpack the annotations '
      'of the valence and arousal track there'
    )
  crops = _crops(root)
  videos = _videos(root)
  numbers = {}
  clips = []
  for name, (part, path) in sorted(annotations.items()):
    video = name if name in videos else _SIDE.sub('', name)
    subject = numbers.setdefault(video, len(numbers) + 1)
    trial = 1 + sum(clip.subject == subject for clip in clips)
    place = crops.get(name)
    clips.append(Clip(name, subject, trial, part, path, place, videos.get(video)))
  strangers = tuple(sorted(set(crops) - set(annotations)))
  return Tree(root, tuple(clips), strangers, read_marker(root))


def _folder(root, name):
  """The folder of annotations of a name, at any of a few depths."""
  found = folder_below(root, name)
  if found is not None:
    return found
  raise InputError(
    f'{root} does not hold Aff-Wild2: no VA_Estimation_Challenge/{name}, nor a few '
    'folders deeper; unpack the annotations there, or point manual_dir to them'
  )


def _crops(root):
  """{name: folder} of the crops, under cropped_aligned."""
  places = (root / CROPS, root / CROPS / CROPS)
  return {
    folder.name: folder
    for place in places
    if place.is_dir()
    for folder in sorted(place.iterdir())
    if folder.is_dir() and folder.name != CROPS and folder.name[0] != '.'
  }


def _videos(root):
  """{name: path} of the videos, in whichever folder.

  Raises:
    InputError: two have one name.
  """
  found = {}
  for path in files_below(root, lambda folder: folder.name != CROPS):
    if path.suffix.lower() in VIDEO_ENDINGS:
      before = found.setdefault(path.stem, path)
      if before is not path:
        raise InputError(
          f'{path}: a second video of this name, also {before}; keep one of them'
        )
  return found


def read_annotation(path):
  """Reads a file of annotations, one line for each frame.

  Returns:
    (float32 [frames, 2] valence and arousal from -1 to 1, bool [frames]: annotated).

  Raises:
    Dropped: missing_rating (nothing in it, or no frame annotated) or bad_rating.
  """
  where = shown(path)
  try:
    text = read_text(path)
  except (OSError, UnicodeDecodeError) as error:
    raise Dropped('bad_rating', f'{where}: cannot be read ({error})') from None
  lines = text.splitlines()
  while lines and not lines[-1].strip():
    lines.pop()
  if len(lines) < 2:
    raise Dropped('missing_rating', f'{where}: no frame in it; take the official file')
  header = [name.strip().lower() for name in lines[0].split(',')]
  if sorted(header) != sorted(RATINGS):
    raise Dropped(
      'bad_rating',
      f'{where}: its first line is {lines[0].strip()!r}, not valence,arousal; take the '
      'official file',
    )
  columns = [header.index(name) for name in RATINGS]
  values = np.empty((len(lines) - 1, len(RATINGS)), np.float32)
  for i, fields in enumerate(csv.reader(lines[1:])):
    try:
      numbers = [float(field) for field in fields]
      if len(numbers) != len(header):
        raise ValueError
    except ValueError:
      raise Dropped(
        'bad_rating',
        f'{where}, line {i + 2}: {lines[i + 1].strip()!r} is not two numbers with a '
        'comma between; take the official file',
      ) from None
    values[i] = [numbers[column] for column in columns]
  rated = (values != UNRATED).all(1)
  wrong = rated & ~((values >= -1) & (values <= 1)).all(1)
  if wrong.any():
    i = int(wrong.argmax())
    raise Dropped(
      'bad_rating',
      f'{where}, line {i + 2}: {lines[i + 1].strip()} is neither from -1 to 1 nor -5 '
      f'({wrong.sum()} such lines); take the official file',
    )
  if not rated.any():
    raise Dropped(
      'missing_rating', f'{where}: all {len(rated)} frames are unrated (-5)'
    )
  return np.where(rated[:, None], values, 0).astype(np.float32), rated


def crop_files(folder):
  """{number of the frame, from 1: Path} of the crops in a folder."""
  files, _ = numbered_files(folder.glob('*.jpg'))
  return {number: path for number, path in files.items() if number}


def fingerprint(tree):
  """A short hash of the source: annotations, names and sizes of videos, marker."""
  digest = hashlib.sha256(repr(sorted((tree.marker or {}).items())).encode())
  for clip in tree.clips:
    digest.update(read_bytes(clip.annotation))
    size = clip.video.stat().st_size if clip.video else 'missing'
    crops = len(os.listdir(clip.crops)) if clip.crops else 'missing'
    digest.update(f'{clip.trial_id} {clip.part} {size} {crops}\n'.encode())
  return digest.hexdigest()[:16]
