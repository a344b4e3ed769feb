"""Sees that an MP4's index promises no more samples than its file can hold.

FFmpeg makes an entry of each sample that the index tells of, be there a byte of it or
not: a file of 3 KB can fill the memory. ISO/IEC 14496-12; QuickTime's files are alike.
"""

import os
import struct

_CONTAINERS = (
  *(b'moov', b'trak', b'mdia', b'minf', b'stbl', b'edts', b'udta', b'dinf', b'mvex'),
  *(b'moof', b'traf'),
)
_SOUND = 64  # samples in a byte, where QuickTime counts those of compressed sound
_DEEPEST = 16


def require_index(path):
  """Raises ValueError if the index of an MP4 promises more than there is.

  Files of other kinds pass. Raises OSError if it cannot be read.
  """
  with open(path, 'rb') as file:
    size = os.fstat(file.fileno()).st_size
    for samples, most in _promised(file, 0, size, size, 0):
      if samples > most:
        raise ValueError(
          f'its index promises {samples} pictures or sounds, more than a file of '
          f'{size} bytes can hold; get it anew from its source'
        )


def _promised(file, begin, end, size, depth):
  """Yields (samples that the boxes from `begin` to `end` tell of, the most there can
  be)."""
  own, at = {}, begin
  while at + 8 <= end:
    file.seek(at)
    length, kind = struct.unpack('>I4s', file.read(8))
    start = at + 8
    if length == 1 and at + 16 <= end:
      (length,) = struct.unpack('>Q', file.read(8))
      start = at + 16
    length = length or end - at
    if length < start - at:
      break
    at = min(end, at + length)
    if kind in _CONTAINERS and depth < _DEEPEST:
      yield from _promised(file, start, at, size, depth + 1)
    elif kind == b'cmov':
      raise ValueError(
        'its index is compressed; write it anew: ffmpeg -i IN -c copy OUT'
      )
    elif kind == b'elst':
      _require_plain_edits(file, start, at)
    elif kind in _COUNTS:
      own.setdefault(kind, []).append(_COUNTS[kind](file, start, at))
  alike = [each for _, each in own.get(b'stsz', ())]
  most = size * (_SOUND if alike == [1] else 1)
  for kind in (b'stts', b'ctts', b'trun'):
    yield from ((samples, most) for samples in own.get(kind, ()))
  yield from ((samples * max(1, each), most) for samples, each in own.get(b'stsz', ()))
  chunks = sum(own.get(b'stco', []) + own.get(b'co64', []))
  for runs in own.get(b'stsc', ()):
    ends = [first for first, _ in runs[1:]] + [chunks + 1]
    samples = (
      max(0, min(end, chunks + 1) - first) * each
      for (first, each), end in zip(runs, ends, strict=False)
    )
    yield sum(samples), most


def _require_plain_edits(file, start, end):
  """Raises ValueError if an edit list has a pause, or repeats or stretches a part.

  FFmpeg shows other frames then, at other times.
  """
  version, count = _numbers(file, start, end, 0, '>II')
  kind = '>QqI' if version >> 24 else '>IiI'
  size = struct.calcsize(kind)
  data = file.read(min(size * count, max(0, end - start - 8), 1 << 20))
  edits = [
    struct.unpack_from(kind, data, i) for i in range(0, len(data) - size + 1, size)
  ]
  while edits and edits[0][1] == -1:  # it begins later
    edits.pop(0)
  begins = [begin for _, begin, _ in edits]
  paces = {pace / (1 << 16) for _, _, pace in edits} - {0.0, 1.0}
  problem = ''
  if -1 in begins[:-1]:
    problem = 'has a pause between two parts'
  elif len({*begins}) < len(begins):
    problem = 'shows a part twice'
  elif paces:
    problem = f'shows a part at {min(paces):g} times its pace'
  if problem:
    raise ValueError(
      f'its edit list {problem}, which is not read; export each part on its own, or '
      'all of it anew from the program that cut it'
    )


def _sizes(file, start, end):
  """Of stsz: samples, and bytes of each if all are alike, else 0."""
  each, count = _numbers(file, start, end, 4, '>II')
  return count, each


def _entries(file, start, end):
  """Of stts and ctts: the samples of all entries."""
  (count,) = _numbers(file, start, end, 4, '>I')
  data = file.read(min(8 * count, max(0, end - start - 8)))
  return sum(struct.unpack_from('>I', data, i)[0] for i in range(0, len(data) - 7, 8))


def _chunks(file, start, end):
  """Of stsc: (number of the first chunk, samples in each) of runs of chunks."""
  (count,) = _numbers(file, start, end, 4, '>I')
  data = file.read(min(12 * count, max(0, end - start - 8)))
  return [struct.unpack_from('>II', data, i) for i in range(0, len(data) - 11, 12)]


def _places(file, start, end):
  """Of stco and co64: the chunks."""
  (count,) = _numbers(file, start, end, 4, '>I')
  return min(count, max(0, end - start - 8) // 4)


def _run(file, start, end):
  """Of trun: its samples."""
  (count,) = _numbers(file, start, end, 4, '>I')
  return count


def _numbers(file, start, end, skipped, kinds):
  file.seek(start + skipped)
  size = struct.calcsize(kinds)
  data = file.read(min(size, max(0, end - start - skipped)))
  return struct.unpack(kinds, data.ljust(size, b'\0'))


_COUNTS = {
  b'stsz': _sizes,
  b'stts': _entries,
  b'ctts': _entries,
  b'stsc': _chunks,
  b'stco': _places,
  b'co64': _places,
  b'trun': _run,
}
