"""AVEC 2014's (and 2013's) depression corpus: where its files are, and whose.

Valstar et al., "AVEC 2014: 3D Dimensional Affect and Depression Recognition Challenge",
AVEC 2014. In 203_1_Freeform_video.mp4 203 is the person and 1 the session, so that
people come back, also in another official partition; both tasks of a session share its
label. The label of a session is a file of one bare number.
"""

import dataclasses
import hashlib
import re
from pathlib import Path

from mvp_jax.corpora.corpus import existing, read_marker
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped
from mvp_jax.raw.action_units import FOLDER, Csvs, find_csvs
from mvp_jax.raw.on_disk import files_below, instead, read_bytes, read_text, shown

RATING = 'depression'
SCALE = (0, 63)  # of Beck's inventory, BDI-II
# {edition: what people do in a session}
TASKS = {'avec2014': ('Freeform', 'Northwind'), 'avec2013': ('',)}
_PARTS = {'train': 'train', 'dev': 'validation', 'test': 'test'}  # how folders begin
_MEDIA = re.compile(
  r'(\d+)_(\d+)(?:_(freeform|northwind))?(?:_cut)?_(video|audio)', re.IGNORECASE
)
_LABEL = re.compile(r'(\d+)_(\d+)_depression\.csv', re.IGNORECASE)
_ENDINGS = {
  'video': ('.mp4', '.avi', '.mkv', '.mov', '.webm'),
  'audio': ('.wav', '.mp3', '.flac', '.m4a', '.mp4'),
}
_MACOS = '__MACOSX'  # holds a shadow of every file of a zip


@dataclasses.dataclass(frozen=True)
class Recording:
  """One task of one session, as a trial.

  Attributes:
    subject, session: the person's and the session's number.
    task: 'Freeform', 'Northwind', or '' of the edition that has no tasks.
    trial: its place among those that the person can have, from 1.
    part: 'train', 'validation', 'test' or ''.
    video, audio: Paths; None = not there.
    labels: Paths of the label of the session; one, unless something is wrong.
  """

  subject: int
  session: str
  task: str
  trial: int
  part: str
  video: Path | None
  audio: Path | None
  labels: tuple[Path, ...]

  @property
  def trial_id(self):
    return '_'.join(filter(None, (str(self.subject), self.session, self.task)))

  @property
  def stimulus(self):
    """The number of the task, from 1; None where there are no tasks."""
    return TASKS['avec2014'].index(self.task) + 1 if self.task else None


@dataclasses.dataclass(frozen=True)
class Tree:
  """Where the corpus lies.

  `recordings` are those that should be there, `unlabelled` ids of the test set, of
  which no label was given out, `strangers` names of media that are named otherwise.
  `openface` are OpenFace's CSVs, or None. `marker` is what SYNTHETIC.json says.
  """

  root: Path
  recordings: tuple[Recording, ...]
  unlabelled: tuple[str, ...]
  strangers: tuple[str, ...]
  openface: Csvs | None
  marker: dict | None

  @property
  def wanderers(self):
    """{person: the parts, if several, that have a recording of it}."""
    parts = {}
    for recording in self.recordings:
      parts.setdefault(recording.subject, {})[recording.part] = None
    return {subject: tuple(of) for subject, of in parts.items() if len(of) > 1}


def find_tree(manual_dir, edition='avec2014', openface_dir=None):
  """Finds the corpus under `manual_dir`, however deep its folders lie: Tree.

  Args:
    manual_dir: the folder with videos, sound and labels, unpacked.
    edition: one of `TASKS`.
    openface_dir: where OpenFace's CSVs are, if needed; '': in `manual_dir`.

  Raises:
    InputError: there is no recording of this edition, or one is there twice.
  """
  root = existing(manual_dir, 'AVEC (Video, Audio and the labels)')
  csvs = None if openface_dir is None else find_csvs(root, openface_dir)
  apart = {root / FOLDER, csvs and csvs.folder}
  media, labels, parts, strangers, zips = {}, {}, {}, [], []

  def enter(folder):
    return folder not in apart and folder.name != _MACOS

  for path in files_below(root, enter):
    if match := _LABEL.fullmatch(path.name):
      labels.setdefault((int(match[1]), _plain(match[2])), []).append(path)
      continue
    match = _MEDIA.fullmatch(path.stem)
    kind = match[4].lower() if match else ''
    if match and path.suffix.lower() in _ENDINGS[kind]:
      task = (match[3] or '').capitalize()
      if task not in TASKS[edition]:
        strangers.append(path.name)
        continue
      key = int(match[1]), _plain(match[2]), task
      before = media.setdefault((*key, kind), path)
      if before is not path:
        raise InputError(
          f'{shown(path)}: a second {kind} of this session and task, also '
          f'{shown(before)} (unpacked twice?); keep one of them'
        )
      if kind == 'video' or key not in parts:
        parts[key] = _part(path.relative_to(root))
    elif path.suffix.lower() in (*_ENDINGS['video'], *_ENDINGS['audio']):
      strangers.append(path.name)
    elif path.suffix.lower() == '.zip':
      zips.append(path.name)
  if not media:
    tasks = [f'_{task}' if task else '' for task in TASKS[edition]]
    hint = f'; unpack {shown(zips[0])} and the like there' if zips else ''
    seen = f' (but {shown(strangers[0])})' if strangers else ''
    raise InputError(
      f'{root} does not hold {edition}: no 203_1{tasks[0]}_video.mp4 in it or '
      f'deeper{seen}{hint or "; point manual_dir to it, or choose another edition"}'
    )
  recordings = _recordings(edition, media, labels, parts)
  tested = [r for r in recordings if r.part == 'test']
  # The labels of the test set were given out later, and not to all.
  hidden = tested if not any(r.labels for r in tested) else []
  return Tree(
    root,
    tuple(r for r in recordings if r not in hidden),
    tuple(r.trial_id for r in hidden),
    tuple(strangers),
    csvs,
    read_marker(root),
  )


def _recordings(edition, media, labels, parts):
  """Those of all sessions that have any file."""
  sessions = sorted({key[:2] for key in (*media, *labels)}, key=_in_order)
  tasks = TASKS[edition]
  of_session = {}
  for (*session, _), part in parts.items():
    of_session.setdefault(tuple(session), part)
  found = []
  for subject, session in sessions:
    given = tuple(labels.get((subject, session), ()))
    for number, task in enumerate(tasks, start=1):
      key = subject, session, task
      # A task that is not there is of the part of the other one, or of its label.
      part = parts.get(key, of_session.get((subject, session)))
      if part is None:
        part = _part(given[0])
      found.append(
        Recording(
          subject,
          session,
          task,
          len(tasks) * (int(session) - 1) + number if int(session) else number,
          part,
          media.get((*key, 'video')),
          media.get((*key, 'audio')),
          given,
        )
      )
  return found


def _in_order(session):
  return session[0], int(session[1])


def _plain(number):
  """A number as text, without zeros before it."""
  return str(int(number))


def _part(path):
  """The part that a folder of a path names, or ''."""
  for folder in reversed(path.parts[:-1]):
    for start, part in _PARTS.items():
      if folder.lower().startswith(start):
        return part
  return ''


def read_label(recording):
  """The label of a recording: int, 0 to 63.

  Raises:
    Dropped: missing_rating (no file, or nothing in it) or bad_rating (two numbers, a
      comma, another range, or two files that disagree).
  """
  name = f'{recording.subject}_{recording.session}_Depression.csv'
  if not recording.labels:
    raise Dropped(
      'missing_rating',
      f'{recording.trial_id}: no label {name} in any folder; put it there, or leave '
      'the session out',
    )
  values = {path: _number(path) for path in recording.labels}
  (first, value), *others = values.items()
  for path, other in others:
    if other != value:
      raise Dropped(
        'bad_rating',
        f'{shown(path)}: says {other}, but {shown(first)} says {value} of the same '
        'session; keep the one that is right',
      )
  return value


def _number(path):
  where = shown(path)
  if told := instead(path):
    empty = not path.stat().st_size
    raise Dropped('missing_rating' if empty else 'bad_rating', f'{where}: {told}')
  try:
    text = read_text(path).strip()
  except (OSError, UnicodeDecodeError) as error:
    raise Dropped('bad_rating', f'{where}: cannot be read ({error})') from None
  if not text:
    raise Dropped('missing_rating', f'{where}: nothing in it; take the official file')
  least, most = SCALE
  wanted = f'expected one bare number from {least} to {most}; take the official file'
  short = text if len(text) <= 20 else f'{text[:20]}...'
  if len(text.split()) > 1 or ';' in text:
    raise Dropped('bad_rating', f'{where}: {short!r} is more than one number, {wanted}')
  if ',' in text:
    raise Dropped('bad_rating', f'{where}: {short!r} has a comma, {wanted}')
  try:
    value = float(text)
  except ValueError:
    raise Dropped('bad_rating', f'{where}: {short!r} is no number, {wanted}') from None
  if not least <= value <= most:  # NaN, too
    raise Dropped('bad_rating', f'{where}: {short} is out of range, {wanted}')
  if value != int(value):
    raise Dropped('bad_rating', f'{where}: {short} is no whole number, {wanted}')
  return int(value)


def fingerprint(tree):
  """A short hash of the source: labels, names and sizes of media and CSVs, marker."""
  digest = hashlib.sha256(repr(sorted((tree.marker or {}).items())).encode())
  for recording in tree.recordings:
    files = [recording.video, recording.audio]
    if tree.openface is not None and recording.video is not None:
      files.append(tree.openface.of(recording.video.stem))
    sizes = [x.stat().st_size if x and x.exists() else 'missing' for x in files]
    digest.update(f'{recording.trial_id} {recording.part} {sizes}\n'.encode())
    for path in recording.labels:
      digest.update(read_bytes(path))
  return digest.hexdigest()[:16]
