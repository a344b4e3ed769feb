"""Opens a media file, chooses its video; sees that no second file follows."""

import collections
from pathlib import Path

import av
from av.stream import Disposition

from mvp_jax.raw.mp4_index import require_index

# Of several files joined byte by byte FFmpeg reads only the first in these containers,
# of Matroska two: where their signature lies, how it begins, and how long it is.
# ISO/IEC 14496-12 (a box's type and brand behind its size), Matroska, FLV, ASF.
_FIRST_ONLY = (
  (4, b'ftyp', 8),
  (0, bytes.fromhex('1a45dfa3'), 4),
  (0, b'FLV\x01', 9),
  (0, bytes.fromhex('3026b2758e66cf11'), 16),
)
# What opens other files, or itself again and again.
_LISTS = {
  *('concat', 'hls', 'dash', 'imf', 'sdp', 'rtp', 'rtsp', 'image2', 'lavfi'),
  *('webm_dash_manifest', 'vobsub'),
}
MOST_PIXELS = 36_000_000  # of a picture; 8K has 33 million
_FULL_SHARE = 0.1  # A cover, or pictures now and then, have fewer of the packets.
# A title in Latin-1 must not cost a video. PyAV 19 reads such by itself.
_METADATA = {'metadata_errors': 'replace'} if int(av.__version__[:2]) < 19 else {}


def open_video(path):
  """Opens a file and chooses the stream that is its video.

  Covers and thumbnails are no video. Of several streams it is the largest of those
  whose packets are about as many as of the fullest.

  Returns:
    (container, stream, how many others it might have been).

  Raises:
    av.FFmpegError: it cannot be opened.
    ValueError: there is no such stream.
  """
  container = open_media(path)
  try:
    streams = _candidates(container)
    for stream in streams:
      if stream.width * stream.height > MOST_PIXELS:
        raise ValueError(
          f'{stream.width} x {stream.height} pixels, over {MOST_PIXELS / 1e6:.0f} '
          'million; make it smaller: ffmpeg -i IN -vf scale=1920:-2 OUT'
        )
    if len(streams) > 1:
      counts = _packets_of(path)
      least = _FULL_SHARE * max(counts[stream.index] for stream in streams)
      streams = [stream for stream in streams if counts[stream.index] >= least]
    largest = max(streams, key=lambda stream: stream.width * stream.height)
    largest.codec_context.options = {'max_pixels': str(MOST_PIXELS)}
    return container, largest, len(streams) - 1
  except BaseException:
    container.close()
    raise


def open_media(path):
  """Opens a file of picture or sound: its container.

  Raises:
    av.FFmpegError: it is none.
    ValueError: its index promises more than it can hold, or it is a list of others.
  """
  require_index(path)
  # Nothing but this file: a playlist must not make anyone open others, or go to the
  # network, and a colon in a name is no protocol.
  options = {
    'protocol_whitelist': 'file',
    'format_whitelist': ','.join(sorted(av.formats_available - _LISTS)),
    'max_pixels': str(MOST_PIXELS),
  }
  try:
    return av.open(str(Path(path).absolute()), options=options, **_METADATA)
  except av.ArgumentError:
    raise ValueError(
      'a list of other files, or of no known kind; name the video or sound itself'
    ) from None


def unopened(path):
  """Why a file cannot be opened as a video and what to do, in a few words, or ''."""
  with Path(path).open('rb') as file:
    head = file.read(64)
  if head[4:8] == b'ftyp':
    return (
      'its index (moov) is missing: it was copied in part, or its recording broke off; '
      'copy it anew, or mend it (untrunc)'
    )
  if head.startswith(b'PK\x03\x04'):
    return 'a zip file; unpack it'
  if head and all(byte in b'\t\n\r' or 32 <= byte < 127 for byte in head):
    return f'text, {head[:20].decode()!r}; get the video itself'
  return ''


def pictures(container):
  """The video streams of a container, without covers and thumbnails."""
  still = Disposition.attached_pic | Disposition.timed_thumbnails
  return [
    stream for stream in container.streams.video if not stream.disposition & still
  ]


def _candidates(container):
  streams = pictures(container)
  if not streams:
    raise ValueError('no video stream')
  streams = [stream for stream in streams if stream.codec_context]
  if not streams:
    raise ValueError('a codec that is not known')
  return streams


def _packets_of(path):
  counts = collections.Counter()
  with open_media(path) as container:
    for packet in container.demux(video=tuple(range(len(container.streams.video)))):
      counts[packet.stream_index] += bool(packet.size)
  return counts


def require_whole(path, end):
  """Sees that no second video follows what was read.

  Files that were joined byte by byte are one video in most containers; of others
  (`_FIRST_ONLY`) FFmpeg leaves the rest out and keeps silent.

  Args:
    path: the file.
    end: where the last packet ends, in bytes; 0 = not known.

  Raises:
    ValueError: there is another.
  """
  if not end:
    return
  with Path(path).open('rb') as file:
    head = file.read(16)
    known = (k for k in _FIRST_ONLY if head[k[0] :].startswith(k[1]))
    skipped, _, length = next(known, (0, b'', 0))
    if not length:
      return
    sign = head[skipped:][:length]
    place, before = max(end, len(head)), b''
    file.seek(place)
    while part := file.read(1 << 20):
      found = (before + part).find(sign)
      if found >= 0:
        begin = place - len(before) + found - skipped
        raise ValueError(
          f'files joined byte by byte, of which what follows byte {begin} cannot be '
          f'read; part them (head -c {begin} IN > A, tail -c +{begin + 1} IN > B) and '
          'join A and B with ffmpeg -f concat'
        )
      place += len(part)
      before = part[-len(sign) :]
