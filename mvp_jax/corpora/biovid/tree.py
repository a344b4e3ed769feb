"""BioVid's official distribution (part A): where its files are, and what is in them.

Walter et al., "The BioVid Heat Pain Database: Data for the Advancement and Systematic
Validation of an Automated Pain Recognition System", CYBCONF 2013.

Its list of samples says of each whose it is and which level of pain was given; signals
and video are found by the names of person and sample. The files of signals are called
`.csv` and parted by tabs.
"""

import dataclasses
import hashlib
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pandas

from mvp_jax.corpora.corpus import existing, read_marker
from mvp_jax.errors import InputError
from mvp_jax.raw.action_units import Csvs, find_csvs
from mvp_jax.raw.on_disk import files_below, read_bytes, require_file, shown
from mvp_jax.raw.signal_files import broken
from mvp_jax.raw.table import read_table
from mvp_jax.raw.text_table import require_lines

RATE = 512.0  # Hz
SECONDS = 5.5
LEVELS = ('BL1', 'PA1', 'PA2', 'PA3', 'PA4')  # by class_id
SIGNALS = ('filtered', 'raw')
SAMPLES = 'samples.csv'
COLUMNS = ('subject_id', 'subject_name', 'class_id', 'sample_name')  # that are used
ALL_COLUMNS = (*COLUMNS[:3], 'class_name', 'sample_id', 'sample_name')
TIME = 'time'
_DEPTH = 4  # folders that unpackers have put around a part
_BIO = '_bio.csv'
_RATE_TOLERANCE = 0.01
_LENGTH_TOLERANCE = 0.25  # seconds
_GAP = 1.5  # samples: a longer step has lost some
_SHOWN = 3
_NAME = re.compile(r'[\w.-]+')


@dataclasses.dataclass(frozen=True)
class Sample:
  """One sample that should be there, as a trial.

  `level` is 0 (no pain) to 4, `problem` None or the (drop code, reason) of its line.
  """

  trial_id: str
  subject: int
  trial: int
  person: str
  level: int | None
  problem: tuple[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Tree:
  """Where BioVid lies.

  `videos` is None where it was not asked for, and so is `openface`, the CSVs of
  OpenFace. `marker` is what SYNTHETIC.json says.
  """

  root: Path
  samples: Path
  signals: Path
  videos: Path | None
  marker: dict | None
  openface: Csvs | None = None

  def signals_of(self, sample):
    """The file of a sample's signals."""
    return self.signals / sample.person / f'{sample.trial_id}{_BIO}'

  def video_of(self, sample):
    """The file of a sample's video."""
    folder = self.videos or self.root / 'video'
    return folder / sample.person / f'{sample.trial_id}.mp4'


def find_tree(manual_dir, signals='filtered', video=True, openface_dir=None):
  """Finds BioVid under `manual_dir`: Tree.

  Args:
    signals: which of `SIGNALS` are read.
    video: whether the videos are needed.
    openface_dir: where OpenFace's CSVs are, if needed; '': in `manual_dir`.

  Raises:
    InputError: something is not there; says where it was looked for.
  """
  kind = f'biosignals_{signals}'
  root = existing(manual_dir, f'BioVid (starting_point, {kind}, video)')
  samples = _find(root, f'starting_point/{SAMPLES}', Path.is_file)
  other = f'biosignals_{next(name for name in SIGNALS if name != signals)}'
  hint = ''
  if not _places(root, kind, Path.is_dir) and _places(root, other, Path.is_dir):
    hint = f'there is {other}: --config.data.corpus.signals={other.split("_")[1]}'
  folder = _find(root, kind, Path.is_dir, hint)
  videos = _find(root, 'video', Path.is_dir) if video else None
  csvs = find_csvs(root, openface_dir) if openface_dir is not None else None
  return Tree(root, samples, folder, videos, read_marker(root), csvs)


def _places(root, name, there):
  return [
    path
    for depth in range(_DEPTH)
    for path in sorted(root.glob('*/' * depth + name))
    if there(path) and '__MACOSX' not in path.parts
  ]


def _find(root, name, there, hint=''):
  found = _places(root, name, there)
  if not found:
    raise InputError(
      f'{root} does not hold BioVid: no {name}, nor a few folders deeper; '
      f'{hint or "unpack part A there, or point manual_dir to it"}'
    )
  inner = found[0] / found[0].name  # unpacked into a folder of its own name
  return inner if found[0].is_dir() and inner.is_dir() else found[0]


def read_samples(tree, classes, exclude=()):
  """The samples of some levels that should be there.

  Args:
    classes: some of 0 to 4.
    exclude: names of people to leave out.

  Returns:
    (list of Sample, names of all that are listed).

  Raises:
    InputError: the list lacks a column, names somebody or a sample twice or in two
      ways, or there is nobody to exclude by a name.
  """
  path = tree.samples
  first = read_bytes(path).partition(b'\n')[0].decode('utf-8', 'replace').strip()
  utf8 = '\0' not in first
  if first and utf8 and not any(name in first.lower() for name in COLUMNS):
    raise InputError(
      f'{path}: row 1: {first[:40]!r} holds none of the names of columns, '
      f'{", ".join(ALL_COLUMNS)}; put them there, or take the official file'
    )
  table = read_table(path, ALL_COLUMNS)
  missing = [name for name in COLUMNS if name not in table.columns]
  if missing:
    known = f'it has {", ".join(table.columns) or "none of them"}'
    raise InputError(
      f'{path}: row 1: no column {", ".join(missing)} ({known}); the names of columns '
      f'are {", ".join(ALL_COLUMNS)}, take the official file'
    )
  rows, people, numbers, counts, found = {}, {}, {}, {}, []
  for number, fields in table.rows:
    where = f'{path}: row {number}'
    subject, person, name = _who(where, fields)
    if name in rows:
      raise InputError(
        f'{where}: {name} is there twice, also in row {rows[name]}; leave one out'
      )
    rows[name] = number
    if people.setdefault(subject, person) != person:
      raise InputError(
        f'{where}: subject_id {subject} is {person}, and {people[subject]} above; '
        'take the official file'
      )
    if numbers.setdefault(person, subject) != subject:
      raise InputError(
        f'{where}: {person} is subject_id {subject}, and {numbers[person]} above; '
        'take the official file'
      )
    counts[subject] = counts.get(subject, 0) + 1
    level, problem = _level(where, name, fields.get('class_id', ''))
    if person not in exclude and (problem or level in classes):
      found.append(Sample(name, subject, counts[subject], person, level, problem))
  strangers = sorted(set(exclude) - set(numbers))
  if strangers:
    raise InputError(
      f'{path}: nobody in it is called {", ".join(strangers)}; correct '
      'config.data.corpus.exclude'
    )
  if not found:
    raise InputError(f'{path}: no sample of the classes {classes} is left')
  return found, frozenset(rows)


def _who(where, fields):
  """subject_id, subject_name and sample_name of a row."""
  person, name = (fields.get(key, '') for key in ('subject_name', 'sample_name'))
  for key, text in (('subject_name', person), ('sample_name', name)):
    if not _NAME.fullmatch(text):
      raise InputError(
        f'{where}, column {key}: {text or "blank"} is no name of a file; take the '
        'official file'
      )
  subject = fields.get('subject_id', '')
  try:
    return int(subject), person, name
  except ValueError:
    raise InputError(
      f'{where}, column subject_id: {subject or "blank"} is no whole '
      'number; take the official file'
    ) from None


def _level(where, name, text):
  """The level of a sample, and None or what is wrong with it."""
  if text not in map(str, range(len(LEVELS))):
    code = 'bad_rating' if text else 'missing_rating'
    return None, (
      code,
      f'{where}, column class_id: {text or "blank"} is none of 0 to '
      f'{len(LEVELS) - 1}; take the official file',
    )
  told = [i for i, level in enumerate(LEVELS) if f'-{level}-' in name]
  if told and told != [int(text)]:
    return None, (
      'bad_rating',
      f'{where}: class_id is {text}, and {name} is of {LEVELS[told[0]]}; correct the '
      'one that is wrong',
    )
  return int(text), None


def strangers(tree, listed):
  """Lines that say which files are of none of the listed samples."""
  lines = []
  for folder, ending in ((tree.signals, _BIO), (tree.videos, '.mp4')):
    if folder is None:
      continue
    names = [
      f'{path.parent.name}/{path.name}'
      for path in files_below(folder)
      if path.name.endswith(ending) and path.name.removesuffix(ending) not in listed
    ]
    if names:
      more = ', ...' if len(names) > _SHOWN else ''
      lines.append(
        f'{shown(folder)}: {len(names)} files are not in {tree.samples.name} and are '
        f'not read: {", ".join(map(shown, names[:_SHOWN]))}{more}'
      )
  return lines


def read_signals(path, channels):
  """Reads the signals of a sample.

  Args:
    path: Path.
    channels: names of columns.

  Returns:
    ({name: float64 [time]} at `RATE`, NaN where there is no measurement, note).

  Raises:
    Dropped: missing_signals or broken_signals.
  """
  require_file(path, 'signals')
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # of tabs at the end of rows
      require_lines(path)
      frame = pandas.read_csv(
        path,
        sep='\t',
        skipinitialspace=True,
        dtype=str,
        keep_default_na=False,
        index_col=False,
        compression=None,
      )
  except (ValueError, OSError) as error:  # also pandas' own, and what is no UTF-8
    raise broken(path, f'cannot be read ({" ".join(str(error).split())})') from None
  frame.columns = [str(name).strip().lower() for name in frame.columns]
  if len(frame.columns) == 1 and re.search('[,;]', frame.columns[0]):
    raise broken(
      path,
      'its first line has no tab; part its cells by tabs, or take the official file',
    )
  missing = [name for name in (TIME, *channels) if name not in frame.columns]
  if missing:
    raise broken(
      path,
      f'no column {", ".join(missing)} (it has {", ".join(frame.columns)}); take the '
      'official file, or leave the channel out of config.data.channels',
    )
  columns = {name: _numbers(path, frame, name) for name in (TIME, *channels)}
  return _on_grid(path, columns)


def _numbers(path, frame, name):
  """A column as float64 [row], NaN where it is blank. Raises Dropped."""
  cells = frame[name].str.strip()
  blank = cells.str.lower().isin(['', 'nan'])
  values = pandas.to_numeric(cells.mask(blank), errors='coerce').to_numpy(np.float64)
  wrong = np.isnan(values) & ~blank.to_numpy()
  if wrong.any():
    row = int(wrong.argmax())
    text = cells.iloc[row]
    advice = 'write decimal points' if ',' in text else 'take the official file'
    raise broken(
      path, f'line {row + 2}, column {name}: {text[:40]!r} is no number; {advice}'
    )
  return values


def _on_grid(path, columns):
  """Columns by their times at `RATE`, and a note. Raises Dropped."""
  micros = columns.pop(TIME)
  if len(micros) < 2 or not np.isfinite(micros).all() or (np.diff(micros) <= 0).any():
    raise broken(
      path,
      f'column {TIME}: its {len(micros)} times do not rise from row to row; take the '
      'official file',
    )
  rate = 1e6 / float(np.median(np.diff(micros)))
  if abs(rate - RATE) > _RATE_TOLERANCE * RATE:
    raise broken(
      path,
      f'by its times, in microseconds, it has {rate:.4g} samples a second, not '
      f'{RATE:g}; take the official file',
    )
  step = np.diff(micros) * RATE / 1e6  # in samples
  place = np.arange(len(micros))
  if step.max() > _GAP:
    place = np.concatenate([[0], np.cumsum(np.maximum(1, np.round(step)))]).astype(int)
  seconds = (place[-1] + 1) / RATE
  if abs(seconds - SECONDS) > _LENGTH_TOLERANCE:
    raise broken(
      path, f'it lasts {seconds:.2f} s, not {SECONDS:g}; take the official file'
    )
  gaps = int(place[-1]) + 1 - len(place)
  found = {}
  for name, values in columns.items():
    found[name] = np.full(place[-1] + 1, np.nan)
    found[name][place] = values
  return found, f'{gaps} samples are missing in its times' if gaps else ''


def fingerprint(tree, samples):
  """A short hash of the source: list of samples, names and sizes of files, marker."""
  digest = hashlib.sha256(read_bytes(tree.samples))
  digest.update(json.dumps(tree.marker, sort_keys=True).encode())
  for sample in samples:
    paths = [tree.signals_of(sample)]
    paths += [tree.video_of(sample)] if tree.videos is not None else []
    paths += [tree.openface.of(sample.trial_id)] if tree.openface is not None else []
    for path in paths:
      size = path.stat().st_size if path.exists() else 'missing'
      digest.update(f'{path.parent.name}/{path.name} {size}\n'.encode())
  return digest.hexdigest()[:16]
