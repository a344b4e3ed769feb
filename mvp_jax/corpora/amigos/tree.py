"""AMIGOS' official distribution: where its files are, and what is in them.

Miranda-Correa et al., "AMIGOS: A Dataset for Affect, Personality and Mood
Research on Individuals and Groups", IEEE Transactions on Affective Computing
12(2), 2021, and the readme of the distribution.

The traps in it: cells of a `.mat` file are found by their VideoIDs, never by
their position; the self-assessment gives arousal first, the external annotation
valence first; folders of videos have padded numbers, their files have not; a
video of a group shows four people.
"""

import dataclasses
import hashlib
import json
import re
from pathlib import Path

import numpy as np

from mvp_jax.corpora.corpus import MARKER, existing, read_marker
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped
from mvp_jax.raw import matfile
from mvp_jax.raw.action_units import FOLDER, Csvs, find_csvs
from mvp_jax.raw.on_disk import (
  files_below,
  read_bytes,
  require_file,
  require_link,
  require_names,
)
from mvp_jax.raw.signal_files import broken

SUBJECTS = 40
SHORT = (
  *('4', '5', '9', '10', '13', '18', '19', '20', '23', '30', '31', '34', '36', '58'),
  *('80', '138'),
)
# Of the long stimuli with their length in seconds.
LONG = {'N1': 1415, 'P1': 1123, 'B1': 1410, 'U1': 846}
EXPERIMENTS = {'short': SHORT, 'long': tuple(LONG)}
STIMULI = (*SHORT, *LONG)
SUBJECTS_WITHOUT_LONG = frozenset((8, 24, 28))
SUBJECT_WITHOUT_LONG_RATINGS = 32
USUAL_EXCLUSION = (9, 12, 21, 22, 23, 24, 33)  # by studies of the short experiment
ODD_VIDEOS = frozenset(
  (
    (11, '18'),
    (13, '58'),
    (39, '10'),
    *((subject, stimulus) for subject in (13, 23, 25, 26, 30, 31) for stimulus in LONG),
  )
)

SIGNAL_RATE = 128.0
BASELINE_SAMPLES = 640  # 5 s before the onset, in the signals as in the videos
BASELINE_SECONDS = BASELINE_SAMPLES / SIGNAL_RATE
COLUMNS = 17  # of joined_data: 14 EEG, ECG right and left, GSR
ANNOTATIONS = ('self', 'external')

_CELLS = ('VideoIDs', 'joined_data', 'labels_selfassessment', 'labels_ext_annotation')
_MAT = re.compile(r'Data_Preprocessed_P0*(\d+)\.mat', re.IGNORECASE)
_FACE = re.compile(r'P(?:0*(\d+)|\(([\d,_ ]+)\))_0*(\d+|[NPBU]1)_face', re.IGNORECASE)
_VIDEOS = '.mov', '.mp4', '.avi', '.mkv'
_SHEET = re.compile(r'(personality|panas)', re.IGNORECASE)
_SHORT_SECONDS = 51, 150
_LENGTH_TOLERANCE = 0.1  # share; a wrong rate is off by far more


@dataclasses.dataclass(frozen=True)
class FaceVideo:
  """A face video, or its CSV: `path` below the root, `seat` of `seats`, from 0."""

  path: str
  seat: int = 0
  seats: int = 1

  @property
  def region(self):
    """Left and right edge of the person's part, as shares of the width."""
    return self.seat / self.seats, (self.seat + 1) / self.seats


@dataclasses.dataclass(frozen=True)
class Tree:
  """Where an AMIGOS distribution lies.

  `signals` maps subjects to `.mat` files, `videos` (subject, VideoID) to
  FaceVideo (empty where they were not asked for); `sheets` are tables of
  personality and PANAS as CSV, `unread` those of other kinds; `marker` is the
  content of a synthetic corpus' SYNTHETIC.json, or None. Paths are below `root`, but
  those of `openface` (Csvs) and `units`, which maps (subject, VideoID) to FaceVideo:
  what OpenFace wrote, None and empty where it was not asked for. With it `videos`
  are those that are there.
  """

  root: Path
  signals: dict
  videos: dict
  sheets: tuple[str, ...]
  unread: tuple[str, ...]
  marker: dict | None
  openface: Csvs | None = None
  units: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Trial:
  """One trial that should be there; `video_id` names the stimulus."""

  subject: int
  video_id: str

  @property
  def trial_id(self):
    return f'P{self.subject:02d}_{self.video_id}'

  @property
  def stimulus(self):
    """Number of the stimulus in `STIMULI`, from 1."""
    return STIMULI.index(self.video_id) + 1

  # The order of presentation is not in these files.
  trial = stimulus

  @property
  def is_odd(self):
    """Whether the official video is known to make trouble."""
    return (self.subject, self.video_id) in ODD_VIDEOS


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
  """What a `.mat` file holds of one trial, unchecked but for being numbers.

  `joined_data` float [time, channel], `self_assessment` float [12] or [0],
  `external` float [segments, 3] or empty.
  """

  joined_data: np.ndarray
  self_assessment: np.ndarray
  external: np.ndarray


def find_tree(manual_dir, experiment, video, openface_dir=None):
  """Finds the files of AMIGOS under `manual_dir`, however deep they lie: Tree.

  Args:
    manual_dir: the folder with Data_Preprocessed_PXX.mat and the face videos, unpacked.
    experiment: one of `EXPERIMENTS`.
    video: whether the face videos are needed.
    openface_dir: where OpenFace's CSVs are, if needed; '': in `manual_dir`.

  Raises:
    InputError: something is not there, or twice.
  """
  root = existing(manual_dir, 'AMIGOS (Data_Preprocessed_PXX.mat and the face videos)')
  signals, videos, sheets, unread, zips = {}, {}, [], [], []
  csvs = None if openface_dir is None else find_csvs(root, openface_dir)
  for path in _files(root, {root / FOLDER, csvs and csvs.folder}):
    name = path.name
    if match := _MAT.fullmatch(name):
      _put(signals, int(match[1]), path, root)
    elif path.suffix.lower() in _VIDEOS and _FACE.fullmatch(path.stem):
      for key, shown in _shown(path.stem, path):
        _put(videos, key, shown, root)
    elif _SHEET.search(name):
      (sheets if path.suffix.lower() == '.csv' else unread).append(path.as_posix())
    elif path.suffix.lower() == '.zip':
      zips.append(name)
  hint = (
    f'unpack {zips[0]} and the like there'
    if zips
    else 'point manual_dir to the official files'
  )
  if not signals:
    raise InputError(
      f'{root} does not hold AMIGOS: no Data_Preprocessed_PXX.mat in '
      f'it or deeper; {hint}'
    )
  if video and not any(stimulus in EXPERIMENTS[experiment] for _, stimulus in videos):
    raise InputError(
      f'{root} has no face video of the {experiment} experiment, such '
      f'as P1_{EXPERIMENTS[experiment][0]}_face.mov; {hint}'
    )
  return Tree(
    root,
    signals,
    videos if video or csvs else {},
    tuple(sheets),
    tuple(unread),
    read_marker(root),
    csvs,
    _units(csvs, root) if csvs else {},
  )


def _shown(name, path):
  """((subject, VideoID), FaceVideo) of each person in a video of this name."""
  match = _FACE.fullmatch(name)
  people = [int(n) for n in re.findall(r'\d+', match[1] or match[2])]
  return [
    ((subject, match[3].upper()), FaceVideo(path.as_posix(), seat, len(people)))
    for seat, subject in enumerate(people)
  ]


def _units(csvs, root):
  """Who is in which CSV. A CSV of one person goes before that of the group."""
  alone, together = {}, {}
  for name, path in csvs.paths.items():
    for key, csv in _shown(name, path) if _FACE.fullmatch(name) else ():
      _put(alone if csv.seats == 1 else together, key, csv, root)
  return together | alone


def _files(root, apart):
  """Every file below `root`, relative to it, in a fixed order; not those of `apart`,
  where OpenFace may have put videos of the same names."""
  for path in files_below(root, lambda folder: folder not in apart):
    require_link(path)
    yield path.relative_to(root)


def _put(found, key, value, root):
  require_names(root, [Path(getattr(value, 'path', value))])
  if key in found:
    one, other = (getattr(x, 'path', x) for x in (found[key], value))
    raise InputError(
      f'{root}: {one} and {other} are of the same participant and '
      'video; keep one of them'
    )
  found[key] = value


def list_trials(tree, experiment, exclude=(), annotation=('self',)):
  """The trials that should be there: list of Trial in (subject, stimulus) order.

  `exclude` are subjects to leave out, `annotation` the ratings (`ANNOTATIONS`) that a
  trial must have: subject 32, who has no self-assessment of the long stimuli, is not
  expected to. Raises InputError if nobody is left, or a twin's marker is not right.
  """
  subjects, stimuli = SUBJECTS, EXPERIMENTS[experiment]
  if tree.marker is not None:
    try:
      subjects = int(tree.marker['subjects'])
      stimuli = [name for name in stimuli if name in dict(tree.marker['seconds'])]
    except (KeyError, TypeError, ValueError):
      raise InputError(
        f'{tree.root / MARKER}: needs the number "subjects" and the '
        '"seconds" of stimuli; write the twin anew'
      ) from None
    if not stimuli:
      raise InputError(
        f'{tree.root}: this twin has no {experiment} stimuli; name '
        'some as --config.twin.stimuli'
      )
  absent = set(exclude)
  if experiment == 'long':
    absent |= SUBJECTS_WITHOUT_LONG
    if 'self' in annotation:
      absent.add(SUBJECT_WITHOUT_LONG_RATINGS)
  trials = [
    Trial(subject, stimulus)
    for subject in range(1, subjects + 1)
    if subject not in absent
    for stimulus in stimuli
  ]
  if not trials:
    raise InputError(f'exclude: leaves none of the {subjects} participants')
  return trials


def read_mat(path):
  """Reads a `.mat` file: {VideoID: Cell}, whatever the order of its cells.

  Raises:
    Dropped: missing_signals or broken_signals.
  """
  require_file(path, 'signals')
  try:
    content = matfile.read_mat(path, _CELLS)
  except (OSError, ValueError) as error:
    raise broken(path, f'cannot be read ({error})') from None
  missing = [name for name in _CELLS if name not in content]
  if missing:
    raise broken(path, f'no {", ".join(missing)} in it; take the official file')
  columns = [np.ravel(content[name]) for name in _CELLS]
  sizes = {len(column) for column in columns}
  if len(sizes) > 1 or any(column.dtype != object for column in columns):
    shapes = ', '.join(f'{name} {np.shape(content[name])}' for name in _CELLS)
    raise broken(path, f'{shapes}, not cells of one number (officially 1 x 20)')
  cells = {}
  for name, *values in zip(*columns, strict=True):
    name = _text(name)
    if name in cells:
      raise broken(path, f'VideoID {name} comes twice')
    try:
      data, told, seen = map(_numbers, values)
    except (TypeError, ValueError):
      raise broken(path, f'VideoID {name} holds other than numbers') from None
    cells[name] = Cell(data, told.ravel(), seen)
  return cells


def _unwrap(value):
  """The content of cells within cells."""
  while isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
    value = value.flat[0]
  return value


def _numbers(value):
  """An array, from a cell; nothing may be stored as an empty text."""
  value = _unwrap(value)
  empty = isinstance(value, str) and not value
  return np.zeros((1, 0)) if empty else np.asarray(value, np.float64)


def _text(value):
  """A VideoID: 'N1', or '4' also where it is stored as a number or as '04'."""
  value = _unwrap(value)
  if isinstance(value, np.ndarray):
    value = f'{value.flat[0]:g}' if value.size and value.dtype != object else ''
  return value.strip().lstrip('0').upper()


def check_data(path, video_id, data, marker=None):
  """Raises Dropped if `joined_data` is not what it should be: float [time, 17].

  The files do not say their rate, so its length must be that of the stimulus.
  """
  where = f'{path}: VideoID {video_id}'
  if not data.size:
    raise Dropped('missing_signals', f'{where}: joined_data is empty')
  if data.ndim != 2 or data.shape[1] != COLUMNS:
    raise Dropped(
      'broken_signals', f'{where}: joined_data {data.shape}, not (time, {COLUMNS})'
    )
  seconds = len(data) / SIGNAL_RATE - BASELINE_SECONDS
  least = most = LONG.get(video_id)
  if marker is not None:
    least = most = marker['seconds'][video_id]
  elif least is None:
    least, most = _SHORT_SECONDS
  slack = _LENGTH_TOLERANCE * most
  if not least - slack <= seconds <= most + slack:
    known = f'{least:g}' if least == most else f'{least:g} to {most:g}'
    raise Dropped(
      'length_mismatch',
      f'{where}: {len(data)} samples at {SIGNAL_RATE:g} Hz are {seconds:.1f} s from '
      f'the onset on; the stimulus lasts {known} s',
    )


def fingerprint(tree, trials):
  """A short hash of the source: names and sizes of files, dates inside of `.mat`."""
  digest = hashlib.sha256(json.dumps(tree.marker, sort_keys=True).encode())
  for subject in sorted({trial.subject for trial in trials}):
    if path := tree.signals.get(subject):
      _note(digest, tree.root, path)
      if (tree.root / path).is_file():
        with (tree.root / path).open('rb') as file:
          digest.update(file.read(128))  # says when it was written
  for trial in trials:
    if video := tree.videos.get((trial.subject, trial.video_id)):
      _note(digest, tree.root, video.path)
    if csv := tree.units.get((trial.subject, trial.video_id)):
      _note(digest, tree.root, csv.path)
  for path in tree.sheets:
    digest.update(read_bytes(tree.root / path))
  return digest.hexdigest()[:16]


def _note(digest, root, path):
  path = root / path
  size = path.stat().st_size if path.is_file() else 'missing'
  digest.update(f'{path.name} {size}\n'.encode())
