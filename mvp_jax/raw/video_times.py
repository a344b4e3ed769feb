"""When the frames of a video are shown, of its packets alone."""

import av
import numpy as np

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.frames import MAX_LENGTH_DIFFERENCE


def packet_times(path):
  """When each frame of a video is shown, of its packets alone.

  Returns float64 [frames], seconds since the first. Raises Dropped, broken_video.
  """
  try:
    with av.open(str(path)) as container:
      if not container.streams.video:
        raise ValueError('no video stream')
      stream = container.streams.video[0]
      stamps = [
        packet.pts if packet.pts is not None else packet.dts
        for packet in container.demux(stream)
        if packet.size
      ]
      rate, tick = stream.average_rate or stream.guessed_rate, stream.time_base
      promised, counted = stream.frames, container.format.name == 'avi'
    with av.open(str(path)) as container:
      next(container.decode(video=0))
  except StopIteration:
    raise Dropped('broken_video', f'{path}: it holds no frame') from None
  except (av.FFmpegError, ValueError, IndexError) as error:
    raise Dropped(
      'broken_video', f'{path}: not a video that can be read ({error})'
    ) from None
  if len(stamps) < 2 or not rate:
    raise Dropped('broken_video', f'{path}: {len(stamps)} frames, no video')
  if promised - len(stamps) > MAX_LENGTH_DIFFERENCE * rate:
    raise Dropped(
      'broken_video', f'{path}: truncated? It holds {len(stamps)} of {promised} frames'
    )
  if counted or None in stamps:
    return np.arange(len(stamps)) / float(rate)
  stamps = np.sort(np.array(stamps, np.float64)) * float(tick)
  return stamps - stamps[0]
