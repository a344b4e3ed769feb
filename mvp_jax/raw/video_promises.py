"""What a video's own header says of its length, which a damaged file may lack.

FFmpeg gives a duration for every file, be it the header's or its own guess. What is a
guess is no promise.
"""

import os
import struct

_HEAD = 1 << 16  # bytes in which a header stands
_SEGMENT = bytes.fromhex('18538067')  # of Matroska; all that follows is in it
# ASF's File Properties Object: its GUID, then sizes, and flags after 88 bytes.
_ASF = bytes.fromhex('a1dcab8c47a9cf118ee400c00c205365')
_LIVE = 1  # a flag: nothing of it is known
_FLV = b'\x00\x08filesize\x00'  # and a number, as FFmpeg and others write


def promised_seconds(stream):
  """When a video (stream of PyAV) ends on the file's own clock; 0 = it does not say."""
  name = stream.container.format.name
  if 'mov' in name and stream.duration:
    return float((stream.duration + (stream.start_time or 0)) * stream.time_base)
  if name == 'avi':
    return float(stream.frames * stream.time_base)  # some of the slots may be empty
  # Matroska says it in a tag. What FFmpeg gives for others can be its own guess.
  tag = stream.metadata.get('DURATION', '')
  try:
    hours, minutes, seconds = map(float, tag.split(':'))
  except ValueError:
    return 0.0
  return 3600 * hours + 60 * minutes + seconds


def missing_share(path):
  """How many bytes a file lacks of those it promises, as a share of those it has.

  0 where its format promises none. Raises OSError if it cannot be read.
  """
  with open(path, 'rb') as file:
    size, head = os.fstat(file.fileno()).st_size, file.read(_HEAD)
  promised = 0.0
  if head.startswith(bytes.fromhex('1a45dfa3')):
    promised = _of_matroska(head)
  elif head.startswith(b'FLV'):
    at = head.find(_FLV) + len(_FLV)
    if at >= len(_FLV) and at + 8 <= len(head):
      (promised,) = struct.unpack_from('>d', head, at)
  elif (at := head.find(_ASF)) >= 0 and at + 92 <= len(head):
    (promised,), (flags,) = (
      struct.unpack_from(kind, head, at + place)
      for kind, place in (('<Q', 40), ('<I', 88))
    )
    promised = 0 if flags & _LIVE else promised
  return max(0.0, promised / size - 1) if size else 0.0


def _of_matroska(head):
  """Where the segment ends by its size, or 0."""
  at = head.find(_SEGMENT) + len(_SEGMENT)
  if at < len(_SEGMENT) or at >= len(head) or not head[at]:
    return 0
  length = 9 - head[at].bit_length()  # of the number, in bytes
  bits = 7 * length
  size = int.from_bytes(head[at : at + length], 'big') & ((1 << bits) - 1)
  return 0 if size == (1 << bits) - 1 else at + length + size  # all ones: unknown
