"""The manifest of your own recordings: a CSV with one row per trial.

`docs/recordings.md` says how to write one. Everything wrong is collected as a
`Problem` with its row and column as a spreadsheet shows them (the header is row 1),
so that all of it can be told at once; no file but the manifest is opened here.
"""

import dataclasses
import math
import re
from pathlib import Path

from mvp_jax.corpora.recordings.names import normal, people, stimuli
from mvp_jax.corpora.recordings.ratings import (
  RATINGS,
  REQUIRED,
  SCALE,
  Answers,
  scaled,
)
from mvp_jax.corpora.recordings.repeats import repeats
from mvp_jax.errors import InputError
from mvp_jax.raw.cleaning import kind
from mvp_jax.raw.on_disk import instead, require_names
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
FILE = 'manifest.csv'

_PARTS = ('file', 'rate', 'unit')  # as in eda_file, eda_rate, eda_unit
_COLUMNS = (
  *('subject', 'trial', 'stimulus', 'duration', 'video', 'video_onset'),
  *('audio', 'audio_onset'),
  *('signals', 'signals_onset', 'rate', 'time', 'time_unit'),
  *KINDS,
  *(f'{kind}_{part}' for kind in KINDS for part in _PARTS),
  *RATINGS,
  *(f'{name}_{end}' for name in ('rating', *RATINGS) for end in ('min', 'max')),
  *('openface', 'openface_face'),
)
_ALL_SCALES = 'rating_min', 'rating_max'
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

  `audio` is None where the sound is the video's own, and `audio_onset` where the file
  begins with the trial.

  `subject` and `stimulus` are numbers that stand for their names, which are in the
  spelling that the manifest has first (see `names`); `ratings` are on
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
  audio: Path | None
  audio_onset: float | None
  signals_onset: float | None
  time: str  # the column with the time of each sample, or ''
  time_unit: str  # what it counts in, or '' = as the file says
  channels: dict[str, Source]
  ratings: dict[str, float]
  openface: Path | None
  openface_face: int | None

  @property
  def trial_id(self):
    name = safe(self.subject_name)
    if normal(name) != normal(self.subject_name):  # a sign is lost that tells people
      name += f'-{self.subject}'
    return f'{name}_trial{self.trial:02d}'


@dataclasses.dataclass(frozen=True)
class Manifest:
  """A manifest. `recordings`: of the rows that can be read. `notes`: remarks.
  `answers`: to each question that has any, as they were written.
  """

  path: Path
  rows: int
  recordings: tuple[Recording, ...]
  problems: tuple[Problem, ...]
  notes: tuple[str, ...]
  answers: tuple[Answers, ...] = ()

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


def read_manifest(path, required=REQUIRED):
  """Reads a manifest: the CSV, or the `manifest.csv` of a folder.

  A blank rating is a problem, missing_rating, if it is one of those `required` (of
  which the manifest has a column).

  Raises:
    InputError: the file can't be read as a table, a needed column is missing, or
      one looks misspelt.
  """
  path = Path(path)
  path = path / FILE if path.is_dir() else path
  require_names(path.parent, [path])
  if path.is_file() and path.stat().st_size and (told := instead(path)):
    raise InputError(f'{path}: {told}')
  table = read_table(path, _COLUMNS, lambda name: is_channel(_channel_of(name)))
  if 'subject' not in table.columns:
    raise InputError(
      f'{path}: no column subject (it has '
      f'{", ".join(table.columns)}); say who was recorded'
    )
  if not any(
    column in ('video', 'audio', 'signals', 'openface') or column.endswith('_file')
    for column in table.columns
  ):
    raise InputError(f'{path}: no column video and no column signals; name the files')
  problems, recordings = [], []
  reader = _Reader(path, table.columns, required, problems)
  for number, cells in table.rows:
    before = len(problems)
    fields = reader.read(number, cells)
    if not any(p.code == 'manifest' for p in problems[before:]):
      recordings.append(fields)
  recordings, spellings = _numbered(recordings, problems)
  problems += [
    Problem(row, column, 'manifest', text) for row, column, text in repeats(recordings)
  ]
  bad = {p.row for p in problems if p.code == 'manifest'}
  recordings = sorted(
    (r for r in recordings if r.row not in bad), key=lambda r: (r.subject, r.trial)
  )
  order = {name: i for i, name in enumerate(_COLUMNS)}
  problems.sort(key=lambda p: (p.row, order.get(p.column, 0)))
  return Manifest(
    path,
    len(table.rows),
    tuple(recordings),
    tuple(problems),
    (*table.notes, *spellings),
    reader.answers,
  )


class _Reader:
  """Reads cells of rows into the fields of a Recording; collects problems."""

  def __init__(self, path, columns, required, problems):
    self._folder, self._columns, self._problems = path.parent, columns, problems
    self._channels = in_order(filter(is_channel, columns))
    self._required = required
    self._answers = {name: Answers(name) for name in RATINGS}

  @property
  def answers(self):
    return tuple(found for found in self._answers.values() if found.values)

  def read(self, number, cells):
    self._row, self._cells = number, cells
    if not 0 < len(self._text('subject')) <= _MAX_NAME:
      self._wrong(
        'subject', f'blank, or over {_MAX_NAME} characters; say who was recorded'
      )
    channels = {c: self._source(c) for c in self._channels if self._text(c)}
    self._unused_parts()
    video, audio, openface = map(self._path, ('video', 'audio', 'openface'))
    if audio is None and self._text('audio_onset'):
      self._wrong(
        'audio',
        'blank, but audio_onset is given; name the sound file, or leave both blank: '
        "the video's own sound begins with it (video_onset)",
      )
    if video is None and audio is None and openface is None and not channels:
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
      'audio': audio,
      'audio_onset': self._number('audio_onset', least=0.0),
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
    rate = self._rate(f'{channel}_rate')
    return Source(
      file,
      self._text(channel),
      self._rate('rate') if rate is None else rate,
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
    for name in ratings:
      if name not in self._columns:
        continue
      if self._text(name).lower() in _BLANK:
        if name in self._required:
          self._wrong(
            name, 'blank; rate the trial, or go on without it', 'missing_rating'
          )
        continue
      value, scale = self._number(name, code='bad_rating'), self._scale(name)
      if value is None or scale is None:
        continue
      (low, high), columns = scale, self._scale_columns(name) or _ALL_SCALES
      if not low <= value <= high:
        self._wrong(
          name,
          f'{value:g} is outside of {low:g} to {high:g} (columns '
          f'{columns[0]} and {columns[1]}, 1 and 9 without them)',
          'bad_rating',
        )
        continue
      self._answers[name].add(value, scale, bool(self._scale_columns(name)))
      ratings[name] = scaled(value, scale)
    return ratings

  def _scale_columns(self, name):
    """The two columns that tell a rating's scale in this row; () = there are none."""
    own = f'{name}_min', f'{name}_max'
    if any(map(self._text, own)):
      return own
    return _ALL_SCALES if set(_ALL_SCALES) & set(self._columns) else ()

  def _scale(self, name):
    """The lowest and the highest possible answer; None if that is wrong."""
    columns = self._scale_columns(name)
    if not columns:
      return SCALE
    for column in columns:
      if not self._text(column):
        self._wrong(
          column, 'blank; give the lowest and the highest answer that was possible'
        )
    low, high = (self._number(column) for column in columns)
    if low is None or high is None:
      return None
    if low >= high:
      self._wrong(columns[1], f'{high:g} is not above {columns[0]}, {low:g}')
      return None
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

  def _rate(self, column):
    text = self._text(column)
    if re.fullmatch(r'\d{1,3}[.,]\d{3}', text):  # 1,000 Hz
      whole, part = re.split('[.,]', text)
      self._wrong(
        column,
        f'{text!r} may be {whole}{part} or {float(f"{whole}.{part}"):g}; write '
        f'{whole}{part} or {whole}.{part}0',
      )
      return None
    return self._number(column, least=0.5)

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
  """Recordings with numbers for subjects, stimuli and, if none is given, trials; and
  lines on names that were spelt in several ways."""
  who = people(f['subject_name'] for f in found)
  shown = stimuli(f['stimulus_name'] for f in found if f['stimulus_name'])
  row_of = {f['subject_name']: f['row'] for f in reversed(found)}
  for f in found:
    if other := who.alike.get(f['subject_name']):
      problems.append(
        Problem(
          f['row'],
          'subject',
          'manifest',
          f'{f["subject_name"]!r} looks like {other!r} of row {row_of[other]}; write '
          'one person in one way, or they end up in training and test',
        )
      )
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
    name = who.first.get(fields['subject_name'], fields['subject_name'])
    stimulus = shown.first.get(fields['stimulus_name'], '')
    counts[name] = counts.get(name, 0) + 1
    recordings.append(
      Recording(
        **fields
        | {
          'subject': who.numbers.get(name, 0),
          'subject_name': name,
          'trial': fields['trial'] or counts[name],
          'stimulus': shown.numbers.get(stimulus, 0),
          'stimulus_name': stimulus,
        }
      )
    )
  return recordings, [note for note in (who.note, shown.note) if note]
