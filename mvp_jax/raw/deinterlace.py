"""Makes whole pictures of interlaced ones, whose fields are 1/50 s or so apart.

Without it, what moves between the two fields has the teeth of a comb. bwdif of FFmpeg
(after the BBC's filter and yadif) fills in the lines of the second field.
"""

import collections
import fractions

import av


def deinterlaced(frames):
  """Passes frames on, as many as come, in the same order.

  Args:
    frames: iterable of (seconds, av.VideoFrame), all of one size.

  Yields:
    (seconds, av.VideoFrame): progressive frames as they came, as long as no
    interlaced one has come.
  """
  graph, waiting, number = None, collections.deque(), 0
  for time, frame in frames:
    if graph is None and not frame.interlaced_frame:
      yield time, frame
      continue
    graph = graph or _graph(frame)
    waiting.append(time)
    # The filter wants times of its own that advance.
    frame.pts, frame.time_base = number, fractions.Fraction(1, 25)
    number += 1
    graph.push(frame)
    yield from _ready(graph, waiting)
  if graph is not None:
    graph.push(None)
    yield from _ready(graph, waiting)


def _graph(frame):
  graph = av.filter.Graph()
  source = graph.add_buffer(
    width=frame.width,
    height=frame.height,
    format=frame.format,
    time_base=fractions.Fraction(1, 25),
  )
  whole = graph.add('bwdif', 'mode=send_frame:deint=interlaced:threads=1')
  source.link_to(whole)
  whole.link_to(graph.add('buffersink'))
  graph.configure()
  return graph


def _ready(graph, waiting):
  while waiting:
    try:
      frame = graph.pull()
    except (av.BlockingIOError, av.EOFError):
      return
    yield waiting.popleft(), frame
