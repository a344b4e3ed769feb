"""The manifest of your own recordings: a CSV with one row per trial.

`docs/recordings.md` says how to write one. Everything wrong is collected as a
`Problem` with its row and column as a spreadsheet shows them (the header is row 1),
so that all of it can be told at once; no file but the manifest is opened here.
"""

import dataclasses
import math
import re
import zlib
from pathlib import Path

from mvp_jax.errors import InputError
from mvp_jax.raw.cleaning import kind
from mvp_jax.raw.table import read_table

# Kinds of channels and the unit in which they are stored. A channel is called after its
# kind, or that and more if there are several: emg, emg_corrugator, emg_zygomaticus.
KINDS = {
  'eda': 'microsiemens',
  'ecg': 'millivolt',
  'ppg': 'as recorded',
  'resp': 'as recorded',
  'temp': 'celsius',
  'emg': 'millivolt',
  'other': 'as recorded',
}
RATINGS = ('valence', 'arousal', 'dominance', 'liking', 'familiarity')
SCALE = 1.0, 9.0  # of stored ratings, whatever was asked for
FILE = 'manifest.csv'

_PARTS = ('file', 'rate', 'unit')  # as in eda_file, eda_rate, eda_unit
_COLUMNS = (
  *('subject', 'trial', 'stimulus', 'duration', 'video', 'video_onset'),
  *('signals', 'signals_onset', 'rate', 'time', 'time_unit'),
  *KINDS,
  *(f'{kind}_{part}' for kind in KINDS for part in _PARTS),
  *RATINGS,
  *('rating_min', 'rating_max', 'openface', 'openface_face'),
)
_MAX_NAME, _MAX_FILE_NAME = 60, 255
_BLANK = ('', 'na', 'n/a', 'nan', 'none')


@dataclasses.dataclass(frozen=True)
class Problem:
  """Something wrong. `code` is a drop code, or 'manifest': the row can't be read."""

  row: int
  column: str
  code: str
  text: str

  def __str__(self):
    return f'row {self.row}, column {self.column}: {self.text}'


@dataclasses.dataclass(frozen=True)
class Source:
  """Where a channel is. `rate` in Hz; None where the file knows it, or `time`."""

  file: Path
  column: str  # its name in the file, or its number from 1
  rate: float | None
  unit: str  # '' = as the file says


@dataclasses.dataclass(frozen=True)
class Recording:
  """One trial, a row of the manifest. Onsets are seconds from the file's start, and
  `signals_onset` on the clock of its time column if that is given; None: the start.

  `subject` and `stimulus` are numbers that stand for their names; `ratings` are on
  the scale 1 to 9, NaN for a blank; `duration` None means to the end of the files.
  """

  row: int
  subject: int
  subject_name: str
  trial: int
  stimulus: int
  stimulus_name: str
  duration: float | None
  video: Path | None
  video_onset: float
  signals_onset: float | None
  time: str  # the column with the time of each sample, or ''
  time_unit: str  # what it counts in, or '' = as the file says
  channels: dict[str, Source]
  ratings: dict[str, float]
  openface: Path | None
  openface_face: int | None

  @property
  def trial_id(self):
    return f'{safe(self.subject_name)}_trial{self.trial:02d}'


@dataclasses.dataclass(frozen=True)
class Manifest:
  """A manifest. `recordings`: of the rows that can be read. `notes`: remarks."""

  path: Path
  rows: int
  recordings: tuple[Recording, ...]
  problems: tuple[Problem, ...]
  notes: tuple[str, ...]

  @property
  def channels(self):
    """The channels that any row names, those of a kind together."""
    return in_order(channel for r in self.recordings for channel in r.channels)

  def require(self):
    """Raises InputError if a row can't be read; all others can be prepared."""
    broken = [p for p in self.problems if p.code == 'manifest']
    if broken:
      more = f', and {len(broken) - 1} more' if len(broken) > 1 else ''
      raise InputError(
        f'{self.path}: {broken[0]}{more}; python -m '
        f'mvp_jax.corpora.recordings.check {self.path} tells everything'
      )


def safe(name):
  """A name as part of a file's name."""
  return re.sub(r'[^\w.-]+', '-', name).strip('.-') or 'x'


def is_channel(name):
  """Whether a column of this name would say where a channel is."""
  parts = name.split('_')
  return parts[0] in KINDS and name.isidentifier() and parts[-1] not in ('', *_PARTS)


def in_order(channels):
  """Different names of channels, those of a kind together: a tuple."""
  kinds = list(KINDS)
  return tuple(sorted(dict.fromkeys(channels), key=lambda c: kinds.index(kind(c))))


def read_manifest(path):
  """Reads a manifest: the CSV, or the `manifest.csv` of a folder.

  Raises:
    InputError: the file can't be read as a table, a needed column is missing, or
      one looks misspelt.
  """
  path = Path(path)
  path = path / FILE if path.is_dir() else path
  table = read_table(path, _COLUMNS, lambda name: is_channel(_channel_of(name)))
  if 'subject' not in table.columns:
    raise InputError(
      f'{path}: no column subject (it has '
      f'{", ".join(table.columns)}); say who was recorded'
    )
  if not any(
    column in ('video', 'signals', 'openface') or column.endswith('_file')
    for column in table.columns
  ):
    raise InputError(f'{path}: no column video and no column signals; name the files')
  problems, recordings = [], []
  reader = _Reader(path, table.columns, problems)
  for number, cells in table.rows:
    before = len(problems)
    fields = reader.read(number, cells)
    if not any(p.code == 'manifest' for p in problems[before:]):
      recordings.append(fields)
  recordings = _numbered(recordings, problems)
  _check_repeats(recordings, problems)
  bad = {p.row for p in problems if p.code == 'manifest'}
  recordings = sorted(
    (r for r in recordings if r.row not in bad), key=lambda r: (r.subject, r.trial)
  )
  order = {name: i for i, name in enumerate(_COLUMNS)}
  problems.sort(key=lambda p: (p.row, order.get(p.column, 0)))
  return Manifest(
    path, len(table.rows), tuple(recordings), tuple(problems), tuple(table.notes)
  )


class _Reader:
  """Reads cells of rows into the fields of a Recording; collects problems."""

  def __init__(self, path, columns, problems):
    self._folder, self._columns, self._problems = path.parent, columns, problems
    self._channels = in_order(filter(is_channel, columns))

  def read(self, number, cells):
    self._row, self._cells = number, cells
    if not 0 < len(self._text('subject')) <= _MAX_NAME:
      self._wrong(
        'subject', f'blank, or over {_MAX_NAME} characters; say who was recorded'
      )
    channels = {c: self._source(c) for c in self._channels if self._text(c)}
    self._unused_parts()
    video, openface = self._path('video'), self._path('openface')
    if video is None and openface is None and not channels:
      self._wrong(
        'video' if 'video' in self._columns else 'signals',
        'blank, and no channel (eda, ecg, ...) names a column of a signal '
        'file; a trial needs video or signals',
      )
    return {
      'row': number,
      'subject_name': self._text('subject'),
      'trial': self._whole('trial', least=1),
      'stimulus_name': self._text('stimulus'),
      'duration': self._number('duration', least=1.0),
      'video': video,
      'video_onset': self._number('video_onset', 0.0, least=0.0),
      'signals_onset': self._number('signals_onset'),
      'time': self._text('time'),
      'time_unit': self._text('time_unit').lower(),
      'channels': channels,
      'ratings': self._ratings(),
      'openface': openface,
      'openface_face': self._whole('openface_face', least=0),
    }

  def _source(self, channel):
    where = f'{channel}_file' if self._text(f'{channel}_file') else 'signals'
    file = self._path(where)
    if file is None:
      self._wrong(
        channel, f'names column {self._text(channel)!r}, but signals names no file'
      )
    rate = self._number(f'{channel}_rate', least=0.5)
    return Source(
      file,
      self._text(channel),
      self._number('rate', least=0.5) if rate is None else rate,
      self._text(f'{channel}_unit'),
    )

  def _unused_parts(self):
    for column in self._columns:
      channel = _channel_of(column)
      if channel != column and self._text(column) and not self._text(channel):
        self._wrong(
          channel,
          f'blank, but {column} is given; say which '
          'column of the file it is (name, or number from 1)',
        )

  def _ratings(self):
    ratings = dict.fromkeys(RATINGS, math.nan)
    given = {name: self._text(name) for name in RATINGS if name in self._columns}
    rated = [name for name, text in given.items() if text.lower() not in _BLANK]
    for name in given:
      if name not in rated and name in ('valence', 'arousal'):
        self._wrong(
          name, 'blank; rate the trial, or go on without it', 'missing_rating'
        )
    low, high = self._scale() if rated else SCALE
    for name in rated:
      value = self._number(name, code='bad_rating')
      if value is None or low is None:
        continue
      if not low <= value <= high:
        self._wrong(
          name,
          f'{value:g} is outside of {low:g} to {high:g} (columns '
          'rating_min and rating_max, 1 and 9 without them)',
          'bad_rating',
        )
        continue
      bottom, top = SCALE
      ratings[name] = bottom + (top - bottom) * (value - low) / (high - low)
    return ratings

  def _scale(self):
    """The lowest and the highest possible answer; (None, None) if that is wrong."""
    columns = 'rating_min', 'rating_max'
    if not set(columns) & set(self._columns):
      return SCALE
    for column in columns:
      if not self._text(column):
        self._wrong(
          column, 'blank; give the lowest and the highest answer that was possible'
        )
    low, high = (self._number(column) for column in columns)
    if low is None or high is None:
      return None, None
    if low >= high:
      self._wrong('rating_max', f'{high:g} is not above rating_min, {low:g}')
      return None, None
    return low, high

  def _text(self, column):
    return self._cells.get(column, '')

  def _path(self, column):
    text = self._text(column)
    if not text:
      return None
    # A table written on Windows may have backslashes.
    path = self._folder / text.replace('\\', '/')
    if any(len(part.encode()) > _MAX_FILE_NAME for part in path.parts):
      self._wrong(column, f'{text[:20]!r}... is too long for the name of a file')
    return path

  def _number(self, column, default=None, least=None, code='manifest'):
    text = self._text(column)
    if not text:
      return default
    if re.fullmatch(r'[^.,]*,[^.,]*', text):
      text = text.replace(',', '.')  # a decimal comma
    try:
      value = float(text)
    except ValueError:
      value = math.nan
    if not math.isfinite(value) or (least is not None and value < least):
      bound = '' if least is None else f' of at least {least:g}'
      self._wrong(column, f'{text!r} is not a number{bound}', code)
      return default
    return value

  def _whole(self, column, least):
    value = self._number(column)
    if value is not None and not (value >= least and value == int(value) < 2**31):
      self._wrong(column, f'{value:g} is not a whole number from {least}')
      return None
    return None if value is None else int(value)

  def _wrong(self, column, text, code='manifest'):
    problem = Problem(self._row, column, code, text)
    if problem not in self._problems:
      self._problems.append(problem)


def _channel_of(column):
  """The channel that a column is about: 'emg_left_rate' -> 'emg_left'."""
  channel, _, part = column.rpartition('_')
  return channel if part in _PARTS and is_channel(channel) else column


def _numbered(found, problems):
  """Recordings with numbers for subjects, stimuli and, if none is given, trials."""
  alike = dict(_alike([(f['row'], f['subject_name']) for f in found]))
  problems.extend(
    Problem(row, 'subject', 'manifest', text) for row, text in alike.items()
  )
  subjects = _numbers(
    {f['subject_name'] for f in found if f['row'] not in alike}, 'subject'
  )
  stimuli = _numbers({f['stimulus_name'] for f in found} - {''}, 'stimulus')
  without = [f for f in found if f['trial'] is None]
  if without and len(without) < len(found):
    problems.extend(
      Problem(
        f['row'], 'trial', 'manifest', 'blank; give every trial a number, or none'
      )
      for f in without
    )
  counts = {}
  recordings = []
  for fields in found:
    name = fields['subject_name']
    counts[name] = counts.get(name, 0) + 1
    recordings.append(
      Recording(
        **fields
        | {
          'subject': subjects.get(name, 0),
          'trial': fields['trial'] or counts[name],
          'stimulus': stimuli.get(fields['stimulus_name'], 0),
        }
      )
    )
  return recordings


def _numbers(names, what):
  """{name: number}. Raises InputError if two names have one number."""
  numbers = {name: _number(name) for name in names}
  if len(set(numbers.values())) < len(numbers):
    raise InputError(
      f'column {what}: two of {", ".join(sorted(names))} have one number; rename one'
    )
  return numbers


def _number(name):
  """A name's number, the same in every manifest, for whom an encoder has seen is
  known by number. That of P07 ends in 007."""
  if re.fullmatch(r'[0-9]{1,9}', name):
    return int(name)
  match = re.fullmatch(r'(.*[^0-9])([0-9]{1,3})', name)
  if not match:
    return zlib.crc32(name.encode()) >> 1
  return (zlib.crc32(match[1].encode()) % 2_000_000 + 1) * 1000 + int(match[2])


def _alike(named):
  """Yields (row, text) of subjects that are one person in two spellings."""
  first = {}
  for row, name in named:
    key = re.sub(r'[\W_]+', '', name.casefold())
    key = re.sub(r'0*(\d+)', r'\1', key)
    before = first.setdefault(key, (row, name))
    if before[1] != name:
      yield (
        row,
        (
          f'{name!r} looks like {before[1]!r} of row {before[0]}; write one '
          'person in one way, or they end up in training and test'
        ),
      )


def _check_repeats(recordings, problems):
  seen = {}
  for r in recordings:
    keys = [
      ('trial', f'subject {r.subject_name} has trial {r.trial}', ('trial', r.trial_id))
    ]
    if r.video is not None:
      keys.append(
        (
          'video',
          f'{r.video.name} from {r.video_onset:g} s is',
          ('video', r.video, r.video_onset),
        )
      )
    keys += [
      (
        channel,
        f'{source.file.name}, {source.column}, from {r.signals_onset or 0:g} s is',
        ('signals', source.file, source.column, r.signals_onset),
      )
      for channel, source in r.channels.items()
    ]
    for column, what, key in keys:
      before = seen.setdefault(key, (r.row, column))
      if before != (r.row, column):
        problems.append(
          Problem(
            r.row,
            column,
            'manifest',
            f'{what} also in row {before[0]}; '
            + (
              'number them apart'
              if column == 'trial'
              else 'name the file or the onset of this trial'
            ),
          )
        )
