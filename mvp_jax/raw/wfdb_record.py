"""Reads a WFDB record, of PhysioNet and others, once its header is known to be sound.

https://physionet.org/physiotools/wag/header-5.htm. `wfdb` believes whatever a header
says of lengths and of files.
"""

import math
import re

import numpy as np

from mvp_jax.raw.budget import Budget
from mvp_jax.raw.on_disk import read_bytes, require_regular

_HEADER = 1 << 20  # bytes
_RECORD = re.compile(
  r'(?P<name>[^\s/]+)(?P<segments>/\d+)?\s+(?P<count>\d{1,6})'
  r'(?:\s+(?P<rate>[\d.]+)?[^\s]*(?:\s+(?P<length>\d{1,15}))?)?'
)
_SEGMENT = re.compile(r'([^\s/\\]+)\s+(\d{1,15})')
_SIGNAL = re.compile(
  r'(?P<file>\S+)\s+(?P<format>\d+)(?:x(?P<each>\d{1,9}))?(?::(?P<skew>\d{1,15}))?'
  r'(?:\+\d+)?(?:\s|$)'
)
# Bytes of a sample in each format; those of FLAC have no fixed size.
_BYTES = {8: 1, 80: 1, 16: 2, 61: 2, 160: 2, 24: 3, 32: 4, 212: 1.5, 310: 4 / 3}
_BYTES[311] = _BYTES[310]
_LONGER, _PADDING = 1.01, 512  # times what the header promises, and bytes


def read_record(path):
  """The signals of a record: list of (name, float64 [time], Hz, unit).

  One without a description is named as WFDB's own library names it, 'record NAME,
  signal 0'.

  Args:
    path: of its header.

  Raises:
    OSError: the header cannot be read, or a file of signals.
    ValueError: it is not sound. Whatever `wfdb` raises on a damaged file, too.
  """
  name, _ = _check(path)
  head, *lines = _lines(path)
  record = _RECORD.match(head)
  if not record['segments']:
    return _read_one(path, name)
  # The time of a header counts in frames, of one or several samples of a signal.
  parts, at, frames = [], 0, float(record['rate'] or 250)
  for line in lines[: int(record['segments'][1:])]:
    segment, length = _SEGMENT.match(line).groups()
    if segment != '~' and int(length):  # else a pause, or how all are laid out
      own = path.parent / f'{segment}.hea'
      rate = float(_RECORD.match(_lines(own)[0])['rate'] or 250)
      if rate != frames:
        raise ValueError(f'segment {segment} has {rate:g} Hz, the record {frames:g}')
      parts.append((at / frames, segment, _read_one(own, name)))
    at += int(length)
  return _joined(parts, at / frames)


def _read_one(path, name):
  """The signals of a record, or segment, of one part; `name` of the whole record."""
  import wfdb

  # Frames are not averaged, so that every channel keeps its own rate.
  record = wfdb.rdrecord(str(path.resolve().with_suffix('')), smooth_frames=False)
  return [
    (
      title or f'record {name}, signal {i}',
      np.asarray(values, np.float64),
      float(record.fs * samples),
      unit or '',
    )
    for i, (title, values, samples, unit) in enumerate(
      zip(
        record.sig_name,
        record.e_p_signal,
        record.samps_per_frame,
        record.units,
        strict=True,
      )
    )
  ]


def _joined(parts, seconds):
  """The signals of segments, of `seconds` in all, by their names; NaN where none is.

  `parts`: (when it begins, its name, its signals) of each.
  """
  found = {}
  for begin, segment, signals in parts:
    seen = {}
    for title, values, rate, unit in signals:
      key = title, seen.setdefault(title, 0)
      seen[title] += 1
      whole = found.setdefault(
        key, (np.full(round(seconds * rate), np.nan), rate, unit)
      )
      if (rate, unit) != whole[1:]:
        raise ValueError(
          f'{title} of segment {segment} is in {unit or "no unit"} at {rate:g} Hz, '
          f'before in {whole[2] or "no unit"} at {whole[1]:g}; export it anew'
        )
      first = round(begin * rate)
      whole[0][first : first + len(values)] = values
  return [(title, *whole) for (title, _), whole in found.items()]


def _lines(path):
  """The lines of a header that are no remarks."""
  lines = read_bytes(path, _HEADER).decode('latin-1').splitlines()
  lines = [line.strip() for line in lines if line.strip()]
  return [line for line in lines if not line.startswith('#')]


def _check(path, within=''):
  """Sees that a header fits the files it names, which lie beside it.

  Args:
    within: name of the record that this is a segment of.

  Returns:
    (its name, the files of its signals).
  """
  lines = _lines(path)
  record = _RECORD.match(lines[0]) if lines else None
  if record is None:
    raise ValueError('its header has no line of the record, NAME SIGNALS RATE LENGTH')
  count, length = int(record['count']), int(record['length'] or 0)
  if record['segments']:
    if within:
      raise ValueError(f'segment {path.stem} of {within} is of several segments, too')
    return record['name'], _check_segments(path, record['name'], count, lines[1:])
  if not 0 < count <= len(lines) - 1:
    raise ValueError(f'its header promises {count} signals and has {len(lines) - 1}')
  budgets, samples, sizes = {}, {}, {}
  for i, line in enumerate(lines[1 : 1 + count]):
    signal = _SIGNAL.match(line)
    if signal is None:
      raise ValueError(f'its header does not say the format of signal {i}: {line[:40]}')
    if '/' in signal['file'] or '\\' in signal['file']:
      raise ValueError(f'signal {i} lies elsewhere, {signal["file"][:80]}; put it here')
    file = path.parent / signal['file']
    if signal['file'] != '~':
      require_regular(file)
      budgets.setdefault(file, Budget(file))
    own = int(signal['each'] or 1) * (length + int(signal['skew'] or 0))
    samples[file] = samples.get(file, 0) + own
    each = _BYTES.get(int(signal['format']), math.inf)
    sizes[file] = sizes.get(file, 0) + own * each
  for file in budgets if length else ():
    if file.stat().st_size > _LONGER * sizes[file] + _PADDING:
      raise ValueError(
        f'its header promises {length} samples of each signal, {file.name} holds '
        f'{file.stat().st_size / sizes[file]:.3g} times as many; correct the header'
      )
  for file, own in samples.items():
    budgets.get(file, Budget(path)).spend(8 * own, file.name)
  return record['name'], set(budgets)


def _check_segments(path, name, count, lines):
  """The same of a record of several segments; gaps between them take memory, too."""
  files, total = set(), 0
  for line in lines:
    segment = _SEGMENT.match(line)
    if segment is None:
      raise ValueError(f'it is of several segments, and this is none: {line[:40]}')
    total += int(segment[2])
    if segment[1] != '~' and (own := path.parent / f'{segment[1]}.hea') not in files:
      files |= {own, *_check(own, name)[1]}
  Budget(path, *files).spend(8 * count * total, path.name)
  return files
