"""Reads signal files that are not text: MATLAB, NumPy, WFDB, EDF and BDF."""

import re
from typing import NamedTuple

import numpy as np

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.matfile import read_mat

_ONSET = re.compile(rb'([+-]\d+(?:\.\d*)?)(?:\x15[\d.]*)?\x14')  # of a record of EDF+
_EARLY = 1e-3  # seconds by which a record may begin before the one before it ends
_MOST_PAUSES = 10  # times what was recorded


class Signal(NamedTuple):
  """A channel of a file: float64 [time], Hz or None, unit or ''."""

  values: np.ndarray
  rate: float | None = None
  unit: str = ''


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
    content = read_mat(path)
  except ValueError as error:
    raise _broken(path, f'cannot be read: {error}') from None
  return _arrays(path, content)


def _read_npz(path):
  # Opened here since np.load leaves a broken archive open.
  with path.open('rb') as file, np.load(file, allow_pickle=False) as content:
    return _arrays(path, dict(content))


def _arrays(path, content):
  found = {}
  for name, value in content.items():
    if not name.startswith('__'):
      found |= _channels(name, value)
  if not found:
    raise _broken(path, 'it holds no array of numbers')
  return found


def _channels(name, value):
  """The channels in a variable: {name: Signal}; none in texts and the like."""
  found = {}
  if isinstance(value, dict):
    for field, inner in value.items():
      found |= _channels(f'{name}.{field}', inner)
    return found
  value = np.squeeze(np.asarray(value))
  if value.dtype == object:
    cells = list(value.flat) if value.ndim else [value.item()]
    left, right = '()' if all(isinstance(inner, dict) for inner in cells) else '{}'
    for i, inner in enumerate(cells, start=1):
      found |= _channels(f'{name}{left}{i}{right}', inner)
    return found
  if value.dtype.kind not in 'fiub' or value.ndim not in (1, 2):
    return found
  value = value.astype(np.float64)
  if value.ndim == 1:
    return {name: Signal(value)}
  value = value if value.shape[0] >= value.shape[1] else value.T
  return {f'{name}:{i}': Signal(column) for i, column in enumerate(value.T, start=1)}


def _read_wfdb(path):
  import wfdb

  # Frames are not averaged, so that every channel keeps its own rate.
  record = wfdb.rdrecord(str(path.resolve().with_suffix('')), smooth_frames=False)
  signals = [
    Signal(np.asarray(values, np.float64), float(record.fs * samples), unit or '')
    for values, samples, unit in zip(
      record.e_p_signal, record.samps_per_frame, record.units, strict=True
    )
  ]
  return _distinct(record.sig_name, signals)


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
    )
    for signal in record.signals
  ]
  return _distinct([signal.label for signal in record.signals], signals)


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


def _distinct(names, signals):
  """{name: Signal}, with numbers where several have one name."""
  found, seen = {}, {}
  for name, signal in zip(names, signals, strict=True):
    seen[name] = seen.get(name, 0) + 1
    found[f'{name}#{seen[name]}' if names.count(name) > 1 else name] = signal
  return found


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
