"""Reads a channel from a signal file in one of the formats people record in.

Text (CSV and the like, and as loggers write it), recordings of Empatica, MATLAB `.mat`,
NumPy `.npz`, WFDB and EDF/BDF. Nothing that a file holds is executed.
"""

import contextlib
import dataclasses
import difflib
import functools
import unicodedata
import warnings
from pathlib import Path

import numpy as np

from mvp_jax.outcomes import Dropped
from mvp_jax.raw import empatica
from mvp_jax.raw.loggers import read_loggers_text
from mvp_jax.raw.on_disk import missing, require_file, shown
from mvp_jax.raw.recorded import Recorded as _Recorded
from mvp_jax.raw.recorded import SignalFile as _File
from mvp_jax.raw.recorded import broken
from mvp_jax.raw.recorder_files import RECORDER_ENDINGS, read_recorder_file
from mvp_jax.raw.sample_times import in_seconds, own_rows, own_stamps, timed, with_gaps

_TEXT = ('.csv', '.txt', '.tsv', '.asc', '.dat', '.log')
_SPREADSHEETS = ('.xlsx', '.xls', '.xlsm', '.xlsb', '.ods', '.numbers')
_PACKED = ('.gz', '.bz2', '.xz', '.7z', '.rar', '.tar')
_SHOWN = 12  # names in a message
_ROUNDED = 0.05  # seconds by which a clock without gaps may be off its file's rate
_RATES = 1e-3, 1e6  # Hz; outside a number is no rate
_RATE_TOLERANCE = 0.1  # within which a clock and a rate that the manifest says agree


@dataclasses.dataclass(frozen=True)
class Channel:
  """A channel as recorded.

  Attributes:
    values: float64 [time], NaN = no measurement.
    times: float64 [time], seconds, rising: since the file's beginning, or on the
      clock of its time column.
    unit: as the file says, or ''.
    name: of the column, as the file says.
    began: Unix time of the file's beginning if it says so, or None.
    notes: what was found out about the file and should be known.
    span: when the rows of its file begin and end where it is not in all of them, or ().
  """

  values: np.ndarray
  times: np.ndarray
  unit: str = ''
  name: str = ''
  began: float | None = None
  notes: tuple[str, ...] = ()
  span: tuple[float, ...] = ()

  @property
  def begin(self):
    """When its file begins, seconds."""
    return self.span[0] if self.span else float(self.times[0])

  @property
  def rate(self):
    """Samples a second, by the usual step."""
    return 1 / float(np.median(np.diff(self.times)))

  @property
  def end(self):
    return max((float(self.times[-1]) + 1 / self.rate, *self.span))


def read_channel(path, column, rate=None, time='', time_unit=''):
  """Reads one channel: Channel.

  Args:
    path: file or, for an E4, folder. A WFDB record is named by its `.hea`.
    column: its name (case does not count) or its number from 1. A matrix in a
      `.mat` or `.npz` has columns 'name:1', 'name:2', ...
    rate: in Hz; needed where the file does not say and there is no `time`.
    time: name or number of a column with the time of each sample, in case they are
      uneven or there is no rate.
    time_unit: what that column counts in, one of `sample_times.UNITS`; '' = seconds, or
      as the file says.

  Raises:
    Dropped: missing_signals or broken_signals.
  """
  file = _open(path)
  name = _find(path, file, column)
  found = file.channels[name]
  if found.problem:
    raise broken(path, f'column {column}: {found.problem}')
  found = _in_memory(path, found)
  values, own_rate, notes = found.values, found.rate, list(found.notes)
  if not np.isfinite(values).any():
    texts = [] if found.cells is None else [x for x in found.cells if x]
    told = f', but {texts[0][:40]!r}; write numbers alone' if texts else ''
    raise broken(path, f'column {column} holds no number{told}')
  began, span = file.began, ()
  for said, remedy in ((own_rate, 'correct what it says'), (rate, 'correct rate')):
    if said is not None and not _RATES[0] <= said <= _RATES[1]:
      raise broken(path, f'{said:g} Hz, which no recording has; {remedy}')
  if own_rate is not None and rate is not None and abs(own_rate - rate) > 0.01 * rate:
    raise broken(
      path,
      f'it says {own_rate:g} Hz, not {rate:g}; leave rate blank or correct '
      'it, or what the file says',
    )
  if found.times is not None:
    times = found.times
  elif time:
    clock = _find(path, file, time)
    recorded = _in_memory(path, file.channels[clock])
    if len(recorded.values) != len(values):
      raise broken(
        path,
        f'{name} has {len(values)} samples, its times ({clock}) are '
        f"{len(recorded.values)}; name its own clock, or give the channel's rate",
      )
    seconds, began, note = in_seconds(path, recorded, clock, time_unit)
    notes.append(note)
    values, stamps, note = own_stamps(values, seconds)
    notes.append(note)
    if note:  # of a file whose rows are of several rates
      span, rate = (float(np.nanmin(seconds)), float(np.nanmax(seconds))), None
    seconds = stamps
    length = (len(seconds) - 1) / (own_rate or np.inf)
    if own_rate and abs(seconds[-1] - seconds[0] - length) <= _ROUNDED:
      times = seconds[0] + np.arange(len(values)) / own_rate  # finer than the column's
    else:
      values, times, note = timed(path, values, seconds)
      notes.append(note)
  elif file.uncounted:
    raise broken(path, file.uncounted)
  else:
    rate = own_rate or rate
    if not rate:
      raise broken(
        path,
        'it does not say how fast it was sampled; give rate (in Hz), '
        'or time (the column with seconds)',
      )
    rows = np.arange(len(values)) if file.places is None else file.places
    if file.places is not None:
      notes.append(
        f'its counter shows that {rows[-1] + 1 - len(rows)} samples were lost; they '
        'are missing'
      )
    times = found.start + rows / rate
  if len(values) < 2:
    raise broken(path, f'column {column} holds a single sample')
  step = float(np.median(np.diff(times)))
  if not 1 / _RATES[1] <= step <= 1 / _RATES[0]:
    raise broken(
      path,
      f'its samples are {step:g} s apart, as in no recording; correct rate, or the '
      'unit of its clock (time_unit)',
    )
  usual = 1 / step
  if rate is not None and abs(usual - rate) > _RATE_TOLERANCE * rate:
    raise broken(
      path,
      f'by its times it has {usual:.4g} samples a second, not {rate:g}; correct rate '
      'or time_unit, or leave rate blank',
    )
  if len(values) == len(found.values) and _filled(file, found.values):
    span = float(times[0]), float(times[-1])
    values, times, note = own_rows(values, times)
  else:
    note = ''
  notes = tuple(filter(None, (*notes, note)))
  return Channel(values, times, found.unit, name, began, notes, span)


def _filled(file, values):
  """Whether rows without this channel have another one's number."""
  blank = ~np.isfinite(values)
  if not blank.any():
    return False
  others = np.zeros(len(values), bool)
  for column in file.channels.values():
    if len(column.values) == len(values):
      others |= np.isfinite(column.values)
  return others[blank].mean() > 0.5


def without_gaps(path, channel):
  """The Channel with NaN where, by its times, samples are missing."""
  values, times = with_gaps(path, channel.values, channel.times, channel.span)
  return dataclasses.replace(channel, values=values, times=times)


def _open(path):
  path = Path(path)
  if not path.exists():
    record = path.with_name(path.name + '.hea')
    if not record.exists():
      raise Dropped('missing_signals', f'{shown(path)}: {missing(path)}')
    path = record
  folder = path.is_dir()
  files = sorted(path.glob('*.csv')) if folder else [path]
  if path.suffix == '.hea' and path.with_suffix('.dat').is_file():
    files.append(path.with_suffix('.dat'))
  for file in files:
    if not folder or not file.is_file():  # some in a folder may be empty
      require_file(file, 'signals')
  stamp = tuple((f.stat().st_size, f.stat().st_mtime_ns) for f in files)
  return _read(path, stamp)


# A file often holds many trials, each of which asks for several channels.
@functools.lru_cache(maxsize=4)
def _read(path, stamp):
  del stamp  # so that a file that changed is read anew
  suffix = path.suffix.lower()
  if path.is_dir():
    return empatica.read_folder(path, read_loggers_text)
  readers = {
    **dict.fromkeys(RECORDER_ENDINGS, _read_recorder),
    '.zip': lambda path: empatica.read_folder(path, read_loggers_text),
    **dict.fromkeys(_TEXT, read_loggers_text),
  }
  if suffix == '.dat' and path.with_suffix('.hea').exists():
    path, suffix = path.with_suffix('.hea'), '.hea'
  if suffix not in readers:
    advice = (
      {
        '.avro': empatica.AVRO,
        '.npy': 'an array without a name; save it by numpy.savez',
      }
      | dict.fromkeys(_SPREADSHEETS, 'a spreadsheet; save it as CSV')
      | dict.fromkeys(_PACKED, 'it is compressed; unpack it')
    )
    raise broken(
      path,
      advice.get(
        suffix,
        'no format that is read here; export it as one of '
        + ' '.join(readers)
        + ' (folders of Empatica are read, too)',
      ),
    )
  with _guarded(path):
    return readers[suffix](path)


def _in_memory(path, recorded):
  with _guarded(path):
    return recorded._replace(values=np.asarray(recorded.values))


@contextlib.contextmanager
def _guarded(path):
  """Turns whatever a library raises into a Dropped, broken_signals."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # libraries warn of what is checked here
      yield
  except Dropped:
    raise
  except ValueError as error:
    told = ' '.join(str(error).split())[:300]
    raise broken(path, f'cannot be read, damaged? ({told})') from None
  # Libraries raise whatever their insides do on a damaged file.
  except Exception as error:  # noqa: B902
    told = ' '.join(str(error).split())[:150]
    raise broken(
      path, f'cannot be read, damaged? ({type(error).__name__}: {told})'
    ) from None


def _find(path, file, column):
  names = list(file.channels)
  if column in names:
    return column
  for form in (str.casefold, _looks):
    alike = [n for n in names if form(n) == form(column)]
    if len(alike) == 1:
      return alike[0]
  equal = [n for n in names if n.rpartition('#')[0].casefold() == column.casefold()]
  if len(equal) > 1:
    raise broken(
      path, f'{len(equal)} columns are called {column!r}; name one: {", ".join(equal)}'
    )
  parts = file.aliases.get(column.casefold(), ())
  if len(parts) > 1:
    raise broken(path, f'{column!r} is part of {", ".join(parts)}; name one of them')
  if parts:
    return parts[0]
  if column.isdecimal() and len(column) < 10 and 1 <= int(column) <= len(names):
    return names[int(column) - 1]
  near = difflib.get_close_matches(column, names, 1)
  hint = f'is it {near[0]}? ' if near else ''
  if not near and not column.isascii():  # an encoding that is not known, maybe
    hint = 'give its number from 1, or save the file as UTF-8; '
  more = ', ...' if len(names) > _SHOWN else ''
  raise broken(
    path,
    f'no column {column!r}; {hint}there are {len(names)}: '
    f'{", ".join(names[:_SHOWN])}{more}',
  )


def _looks(name):
  """A name as it looks: without the ways to write one letter, and unseen signs."""
  text = unicodedata.normalize('NFKC', name)
  text = ''.join(c for c in text if unicodedata.category(c) != 'Cf')
  return ' '.join(text.split()).casefold()


def _read_recorder(path):
  return _File(
    {
      name: _Recorded(found.values, found.rate, unit=found.unit, problem=found.problem)
      for name, found in read_recorder_file(path).items()
    }
  )
