"""Reads signal files that are not text: MATLAB, NumPy, WFDB, EDF and BDF."""

import contextlib
import functools
import math
import re
import zipfile
from typing import Any, NamedTuple

import numpy as np

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.budget import Budget, opened
from mvp_jax.raw.matfile import OtherKindError, variables
from mvp_jax.raw.program_matfiles import program_channels
from mvp_jax.raw.recorded import OnDemand, distinct
from mvp_jax.raw.wfdb_record import read_record

_ONSET = re.compile(rb'([+-]\d+(?:\.\d*)?)(?:\x15[\d.]*)?\x14')  # of a record of EDF+
_RATE = re.compile(r'(?:^|[._])(?:fs|srate|sfreq|sampl\w*_?(?:rate|freq\w*))$', re.I)
_EARLY = 1e-3  # seconds by which a record may begin before the one before it ends
_MOST_PAUSES = 10  # times what was recorded
_MOST_CHANNELS = 10_000


class Signal(NamedTuple):
  """A channel of a file: float64 [time] or OnDemand, Hz or None, unit or ''.

  `problem` says why it cannot be used, or is ''.
  """

  values: Any
  rate: float | None = None
  unit: str = ''
  problem: str = ''


def read_recorder_file(path):
  """The channels of a file by name: {name: Signal}.

  Of several with one name these are 'ECG#1', 'ECG#2', in their order. What a struct or
  a cell holds is named as in MATLAB: 'session(2).eda', 'signals{3}', and the columns of
  a matrix 'name:1', 'name:2'.

  Raises:
    Dropped: broken_signals. Whatever libraries raise on a damaged file, too.
  """
  return _READERS[path.suffix.lower()](path)


def _read_mat(path):
  try:
    there = variables(path)
    own = program_channels(there)
    if own is not None:
      titles, *parts = zip(*own, strict=True) if own else ((),)
      found = distinct(list(titles), list(map(Signal, *parts)))
      columns = {f'data:{i + 1}': x for i, x in enumerate(found.values())}
      return _some(path, (columns | found) if 'isi' in there else found)
    found, rates = {}, set()
    for name, variable in there.items():
      if name.startswith('__') or not name:
        continue
      if variable.shape is not None:
        found |= _columns(name, variable.shape, variable.read)
        rates |= _rates(name, variable.shape, variable.read)
        continue
      with contextlib.suppress(OtherKindError):
        found |= _channels(name, variable.read(), rates)
  except ValueError as error:
    raise _broken(path, f'cannot be read: {error}') from None
  return _some(path, _at_rate(found, rates))


def _read_npz(path):
  found, rates, budget = {}, set(), Budget(path)
  with zipfile.ZipFile(path) as archive:
    members = archive.infolist()
    if len(members) > _MOST_CHANNELS:
      raise _broken(path, f'it holds {len(members)} arrays; leave out what is not used')
    for info in members:
      name = info.filename.removesuffix('.npy')
      if name == info.filename or name.startswith('__'):
        continue
      with opened(archive, info) as file:
        shape, dtype = _npy_head(file)
      if dtype.kind in 'fiubM':
        read = functools.partial(_member, path, info, dtype, shape, budget)
        found |= _columns(name, shape, read)
        rates |= _rates(name, shape, read)
  return _some(path, _at_rate(found, rates))


def _npy_head(file):
  """The shape and dtype of an array in NumPy's format."""
  version = np.lib.format.read_magic(file)
  read = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
  }.get(version)
  if read is None:  # of names that are not Latin
    return (), np.dtype('V1')
  shape, _, dtype = read(file)
  return shape, dtype


def _member(path, info, dtype, shape, budget):
  """An array in an archive. Raises ValueError where it is not as it says."""
  size = math.prod(shape)
  if not size * dtype.itemsize <= info.file_size:
    raise ValueError(f'{info.filename} is shorter than its shape {shape}')
  budget.spend(size * max(8, dtype.itemsize), info.filename)
  with zipfile.ZipFile(path) as archive, opened(archive, info) as file:
    return np.lib.format.read_array(file, allow_pickle=False)


def _some(path, found):
  if not found:
    raise _broken(path, 'cannot be read: it holds no array of numbers')
  if len(found) > _MOST_CHANNELS:
    raise _broken(path, f'it holds {len(found)} channels; leave out what is not used')
  return found


def _columns(name, shape, read):
  """The channels in an array of numbers, which `read` gives: {name: Signal}."""
  sides = [side for side in shape if side != 1]
  if not 1 <= len(sides) <= 2 or len(sides) == 2 and min(sides) > _MOST_CHANNELS:
    return {}

  @functools.cache
  def whole():
    value = np.asarray(read())
    if value.dtype.kind == 'M':  # dates become Unix times
      none = np.isnat(value)
      value = value.astype('datetime64[ns]').astype(np.int64) / 1e9
      value = np.where(none, np.nan, value)
    value = value.astype(np.float64).reshape(sides)
    return value.T if len(sides) == 2 and sides[0] >= sides[1] else value

  if len(sides) == 1:
    return {name: Signal(OnDemand(sides[0], whole))}
  return {
    f'{name}:{i + 1}': Signal(OnDemand(max(sides), lambda i=i: whole()[i]))
    for i in range(min(sides))
  }


def _rates(name, shape, read):
  """The rate (Hz) that a number called `fs` or the like tells: a set of one, or {}."""
  if math.prod(shape) != 1 or not _RATE.search(name):
    return set()
  value = float(np.ravel(read())[0])
  return {value} if value > 0 else set()


def _at_rate(found, rates):
  """Channels, {name: Signal}, at the rate that their file tells of all of them.

  Of arrays of several lengths nobody knows which it is of.
  """
  lengths = {len(signal.values) for signal in found.values()}
  if len(rates) != 1 or len(lengths) != 1:
    return found
  (rate,) = rates
  return {name: signal._replace(rate=rate) for name, signal in found.items()}


def _channels(name, value, rates):
  """The channels in a variable: {name: Signal}; none in texts and the like.

  `rates` collects the rates that it tells.
  """
  found = {}
  if isinstance(value, dict):
    for field, inner in value.items():
      found |= _channels(f'{name}.{field}', inner, rates)
    return found
  value = np.asarray(value)
  if value.dtype == object:
    cells = list(value.flat)
    left, right = '()' if all(isinstance(inner, dict) for inner in cells) else '{}'
    for i, inner in enumerate(cells, start=1):
      found |= _channels(f'{name}{left}{i}{right}', inner, rates)
    return found
  if value.dtype.kind not in 'fiub':
    return found
  rates |= _rates(name, value.shape, lambda: value)
  return _columns(name, value.shape, lambda: value)


def _read_wfdb(path):
  names, *parts = zip(*read_record(path), strict=True)
  return distinct(list(names), list(map(Signal, *parts)))


def _read_edf(path):
  import edfio

  read = edfio.read_bdf if path.suffix.lower() == '.bdf' else edfio.read_edf
  record = read(path, header_encoding='latin-1')
  with path.open('rb') as file:
    promised = int(file.read(256)[236:244])
  if promised > record.num_data_records:
    raise _broken(
      path, f'truncated? It holds {record.num_data_records} of {promised} records'
    )
  onsets = None
  if record.reserved[3:5] == '+D':
    onsets = _onsets(path, record)
  signals = [
    Signal(
      _placed(np.asarray(signal.data, np.float64), onsets, signal.sampling_frequency),
      float(signal.sampling_frequency),
      signal.physical_dimension,
      _uncalibrated(signal),
    )
    for signal in record.signals
  ]
  return distinct([signal.label for signal in record.signals], signals)


def _uncalibrated(signal):
  """Why the numbers of a signal of EDF are no physical ones, or ''."""
  try:
    good = np.ptp(signal.physical_range) > 0 and np.ptp(signal.digital_range) > 0
  except ValueError:  # a decimal comma, say
    good = False
  return '' if good else 'its header tells no range of its numbers; export it anew'


def _onsets(path, record):
  """When each data record of an EDF+D begins: float64 [records], seconds, from 0; None
  if there is no pause between them."""
  count, length = record.num_data_records, record.data_record_duration
  keeper = next(iter(record._annotation_signals), None)
  if keeper is None:
    raise _broken(
      path,
      'its recording may have pauses (EDF+D) and does not say when; export it anew',
    )
  text = keeper.digital.tobytes()
  size = len(text) // count
  onsets = [_ONSET.match(text[i * size : (i + 1) * size]) for i in range(count)]
  if None in onsets:
    raise _broken(
      path,
      f'EDF+D with pauses: data record {onsets.index(None) + 1} does not say when it '
      'begins; export it anew',
    )
  onsets = np.array([float(onset[1]) for onset in onsets])
  onsets -= onsets[0]
  gaps = np.diff(onsets) - length
  if (gaps < -_EARLY).any():
    where = int(np.flatnonzero(gaps < -_EARLY)[0]) + 1
    raise _broken(
      path,
      f'EDF+D: data record {where + 1} begins at {onsets[where]:g} s, before the one '
      'before it ends; export it anew',
    )
  if gaps.sum() > _MOST_PAUSES * count * length:
    raise _broken(
      path,
      f'EDF+D: pauses of {gaps.sum():.0f} s in all, for {count * length:g} s that were '
      'recorded; export each part on its own',
    )
  return onsets if (gaps > _EARLY).any() else None


def _placed(values, onsets, rate):
  """Samples at their times: NaN in pauses between data records."""
  if onsets is None:
    return values
  records = values.reshape(len(onsets), -1)
  starts = np.round(onsets * rate).astype(int)
  placed = np.full(starts[-1] + records.shape[1], np.nan)
  for start, own in zip(starts, records, strict=True):
    placed[start : start + len(own)] = own
  return placed


def _broken(path, text):
  return Dropped('broken_signals', f'{path}: {text}')


_READERS = {
  '.mat': _read_mat,
  '.npz': _read_npz,
  '.hea': _read_wfdb,
  '.edf': _read_edf,
  '.bdf': _read_edf,
}
RECORDER_ENDINGS = tuple(_READERS)
