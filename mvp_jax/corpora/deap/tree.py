"""DEAP's official distribution: where its files are, and what is in them.

Koelstra et al., "DEAP: A Database for Emotion Analysis using Physiological
Signals", IEEE Transactions on Affective Computing 3(1), 2012, and the readme
of the distribution.

The trap in it: row i of a `.dat` file is the trial with Experiment_id i + 1
(the stimulus), while the number in a video's name is Trial, the place in the
order of presentation, which differs from subject to subject. The ratings file
joins the two.
"""

import csv
import dataclasses
import hashlib
import io
import json
import math
from pathlib import Path

import numpy as np

from mvp_jax.corpora.corpus import MARKER, existing, read_marker
from mvp_jax.errors import InputError
from mvp_jax.raw.action_units import Csvs, find_csvs
from mvp_jax.raw.matfile import read_mat
from mvp_jax.raw.on_disk import read_bytes, read_text, require_file, require_link
from mvp_jax.raw.signal_files import broken
from mvp_jax.raw.unpickle import load_arrays

SUBJECTS, TRIALS = 32, 40
SIGNAL_RATE = 128.0
SAMPLES, BASELINE_SAMPLES = 8064, 384  # 63 s, of which 3 s before the onset
TRIAL_SECONDS = (SAMPLES - BASELINE_SAMPLES) / SIGNAL_RATE
RATINGS = ('valence', 'arousal', 'dominance', 'liking')
SUBJECTS_WITH_VIDEO = 22
KNOWN_MISSING_VIDEOS = frozenset(
  [(3, 40), (5, 40), (14, 40), (11, 38), (11, 39), (11, 40)]
)

_RATINGS_FILE = 'participant_ratings.csv'
KEYS = ('Participant_id', 'Trial', 'Experiment_id')
SCALES = {'Valence': 9, 'Arousal': 9, 'Dominance': 9, 'Liking': 9, 'Familiarity': 5}
# The ratings file and the .dat files hold the same ratings to two digits.
_LABEL_TOLERANCE = 0.011


@dataclasses.dataclass(frozen=True)
class Tree:
  """Where a DEAP distribution lies.

  `signals` and `videos` are folders (`videos` is None where it was not asked
  for); signals are Python's (.dat) or, where only those are there, MATLAB's (.mat), as
  `ending` says. `marker` is the content of a synthetic corpus' SYNTHETIC.json, or None.
  `openface` are the CSVs of OpenFace or, where they were not asked for, None; with
  them `videos` may be there or not.
  """

  root: Path
  ratings: Path
  signals: Path
  videos: Path | None
  marker: dict | None
  openface: Csvs | None = None
  ending: str = '.dat'

  def signals_of(self, subject):
    """The file with a subject's signals."""
    return self.signals / f's{subject:02d}{self.ending}'


@dataclasses.dataclass(frozen=True)
class Trial:
  """One trial that should be there.

  `stimulus` is the Experiment_id and None if the ratings have no row for the
  trial. `ratings` holds the five ratings by lower-case name, NaN for a blank
  familiarity. `problem` is None or the (drop code, reason) of its ratings.
  """

  subject: int
  trial: int
  stimulus: int | None
  ratings: dict
  problem: tuple[str, str] | None

  @property
  def trial_id(self):
    return f's{self.subject:02d}_trial{self.trial:02d}'

  @property
  def row(self):
    """The trial's row in its subject's `.dat` file."""
    return self.stimulus - 1

  @property
  def video_name(self):
    return f's{self.subject:02d}/{self.trial_id}.avi'


def find_tree(manual_dir, video, openface_dir=None):
  """Finds DEAP under `manual_dir`, be it that zips were unpacked one deeper: Tree.

  Args:
    manual_dir: the folder with metadata_csv, data_preprocessed_python and face_video.
    video: whether the face videos are needed.
    openface_dir: where OpenFace's CSVs are, if needed; '': in `manual_dir`.

  Raises:
    InputError: something is not there; says where it was looked for.
  """
  root = existing(
    manual_dir, 'DEAP (metadata_csv, data_preprocessed_python, face_video)'
  )
  ratings = _find(root, 'metadata_csv', _RATINGS_FILE)
  python = 'data_preprocessed_python', 's[0-9][0-9].dat'
  signals, ending = _find(root, *python, needed=False), '.dat'
  if signals is None:
    matlab = 'data_preprocessed_matlab', 's[0-9][0-9].mat'
    signals, ending = _find(root, *matlab, needed=False), '.mat'
  signals = signals or _find(root, *python)
  videos, csvs = None, None
  if video or openface_dir is not None:
    videos = _find(root, 'face_video', 's[0-9][0-9]/*.avi', needed=video)
  if openface_dir is not None:
    csvs = find_csvs(root, openface_dir)
  return Tree(
    root, ratings / _RATINGS_FILE, signals, videos, read_marker(root), csvs, ending
  )


def _find(root, name, pattern, needed=True):
  # Directly, in a folder of the same name (an unpacker that makes one per zip),
  # or with everything in one more folder.
  places = [
    root / name,
    root / name / name,
    *sorted(p / name for p in root.iterdir() if p.is_dir() and p.name != name),
  ]
  for place in places:
    require_link(place)
    if place.is_dir() and next(place.glob(pattern), None):
      return place
  if not needed:
    return None
  for place in root.iterdir():
    require_link(place)
  hint = (
    f'unpack {name}.zip there'
    if (root / f'{name}.zip').exists()
    else 'point manual_dir to the official DEAP tree'
  )
  looked = ', '.join(str(place / pattern) for place in places[:2])
  raise InputError(
    f'{root} does not hold DEAP: no {looked}, nor one folder deeper; {hint}'
  )


def read_trials(tree):
  """The trials that should be there: list of Trial in (subject, trial) order.

  With `tree.videos` or `tree.openface` only those that have a face video in the
  official distribution. Raises InputError if a column of the ratings is missing, or the
  keys are not a proper join.
  """
  subjects, trials = SUBJECTS, TRIALS
  if tree.marker is not None:
    try:
      subjects = int(tree.marker['subjects'])
      trials = int(tree.marker['trials'])
    except (KeyError, TypeError, ValueError):
      raise InputError(
        f'{tree.root / MARKER}: needs the numbers "subjects" and '
        '"trials"; write the twin anew'
      ) from None
  rows = _read_ratings(tree.ratings, subjects, trials)
  faces = tree.videos is not None or tree.openface is not None
  expected = []
  for subject in range(1, subjects + 1):
    for trial in range(1, trials + 1):
      if faces and not has_video(subject, trial):
        continue
      if (subject, trial) in rows:
        expected.append(rows[subject, trial])
      else:
        reason = f'{tree.ratings}: no row for participant {subject}, trial {trial}'
        expected.append(Trial(subject, trial, None, {}, ('missing_rating', reason)))
  return expected


def has_video(subject, trial):
  """Whether the official distribution has a face video of this trial."""
  return subject <= SUBJECTS_WITH_VIDEO and (subject, trial) not in KNOWN_MISSING_VIDEOS


def _read_ratings(path, subjects, trials):
  try:
    text = read_text(path)
  except (OSError, UnicodeDecodeError) as error:
    raise InputError(f'{path}: cannot be read ({error})') from None
  reader = csv.DictReader(io.StringIO(text, newline=''), skipinitialspace=True)
  header = [name.strip() for name in reader.fieldnames or ()]
  reader.fieldnames = header
  missing = [name for name in (*KEYS, *SCALES) if name not in header]
  if missing:
    raise InputError(
      f'{path}: no column {", ".join(missing)} (it has '
      f'{", ".join(header) or "none"}); take the official file'
    )

  def numbered():
    try:
      for fields in reader:
        yield reader.line_num, fields
    except csv.Error as error:
      raise InputError(f'{path}, line {reader.line_num}: {error}') from None

  rows, stimuli = {}, {}
  for number, fields in numbered():
    where = f'{path}, line {number}'
    try:
      subject, trial, stimulus = (int(fields[name]) for name in KEYS)
    except (TypeError, ValueError):
      raise InputError(f'{where}: {", ".join(KEYS)} must be whole numbers') from None
    if not (
      1 <= subject <= subjects and 1 <= trial <= trials and 1 <= stimulus <= trials
    ):
      raise InputError(
        f'{where}: participant {subject}, trial {trial}, experiment {stimulus} '
        f'is outside of {subjects} participants and {trials} trials'
      )
    if (subject, trial) in rows or (subject, stimulus) in stimuli:
      raise InputError(
        f'{where}: a second row for participant {subject} with trial {trial} or '
        f'experiment {stimulus}; each may come once'
      )
    stimuli[subject, stimulus] = trial
    rows[subject, trial] = _trial(subject, trial, stimulus, fields, where)
  return rows


def _trial(subject, trial, stimulus, fields, where):
  ratings, problem = {}, None
  for name, top in SCALES.items():
    text = (fields[name] or '').strip()
    try:
      value = float(text or 'nan')
    except ValueError:
      value = math.nan
    ratings[name.lower()] = value
    blank_is_fine = name == 'Familiarity' and not text
    if not (1 <= value <= top or blank_is_fine):
      problem = problem or (
        'bad_rating',
        f'{where}: {name} is {text or "blank"}, not a number from 1 to {top}',
      )
  return Trial(subject, trial, stimulus, ratings, problem)


def read_dat(path):
  """Reads a `.dat` file, or the `.mat` of the same content, in which a row is an
  Experiment_id - 1.

  Returns:
    (float64 [row, 40 channels, 8064 samples], float64 [row, 4] ratings by `RATINGS`).

  Raises:
    InputError: the file tries to run code.
    Dropped: missing_signals or broken_signals.
  """
  require_file(path, 'signals')
  try:
    if path.suffix == '.mat':
      content = read_mat(path, ('data', 'labels'))
    else:
      content = load_arrays(path)
      if isinstance(content, dict):  # Python 3 saved again what it read as bytes
        content = {
          x.decode('latin1') if isinstance(x, bytes) else x: value
          for x, value in content.items()
        }
  except (OSError, ValueError) as error:
    raise broken(
      path, f'cannot be read, truncated? ({error}); take the official file'
    ) from None
  try:
    data, labels = content['data'], content['labels']
    data, labels = np.asarray(data, np.float64), np.asarray(labels, np.float64)
  except (KeyError, TypeError, ValueError, IndexError):
    raise broken(path, 'not a dict with the arrays "data" and "labels"') from None
  if (
    data.ndim != 3 or data.shape[1:] != (40, SAMPLES) or labels.shape != (len(data), 4)
  ):
    raise broken(
      path,
      f'data {data.shape} and labels '
      f'{labels.shape}, not (40, 40, {SAMPLES}) and (40, 4)',
    )
  return data, labels


def contradiction(trial, labels, ending='.dat'):
  """Says how a trial's ratings differ from its labels, float [4], in the file of its
  signals, or ''.

  They are the same numbers in the official distribution, so this catches a wrong join
  and files of different releases.
  """
  told = [trial.ratings[name] for name in RATINGS]
  if np.all(np.abs(np.asarray(told) - labels) <= _LABEL_TOLERANCE):
    return ''
  return (
    f's{trial.subject:02d}{ending}: row {trial.row} is rated '
    f'{", ".join(f"{x:g}" for x in labels)}, the ratings file says '
    f'{", ".join(f"{x:g}" for x in told)} for participant {trial.subject}, '
    f'experiment {trial.stimulus}'
  )


def fingerprint(tree, trials):
  """A short hash of the source: names and sizes of files, ratings, marker."""
  digest = hashlib.sha256()
  digest.update(read_bytes(tree.ratings))
  digest.update(json.dumps(tree.marker, sort_keys=True).encode())
  paths = {tree.signals_of(trial.subject) for trial in trials}
  if tree.videos is not None:
    paths |= {tree.videos / trial.video_name for trial in trials}
  if tree.openface is not None:
    paths |= {tree.openface.of(trial.trial_id) for trial in trials}
  for path in sorted(paths):
    size = path.stat().st_size if path.exists() else 'missing'
    digest.update(f'{path.parent.name}/{path.name} {size}\n'.encode())
  return digest.hexdigest()[:16]
