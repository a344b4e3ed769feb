"""When each frame of a video is shown, as its decoder tells or its packets alone."""

import collections

import numpy as np

MAX_JUMP_SECONDS = 60.0
REWIND_SECONDS = 1.0
# A picture that stands for longer is worth a word, unless there are few a second.
_PAUSE_SECONDS, _PAUSE_STEPS = 1.0, 3.0
# Of the time that pictures stand so long: times what is else, and always so much.
_MOST_PAUSES, _ALWAYS_SECONDS = 10, 600.0
_RATES = 0.2, 1000.0  # Hz that a video can have
_LATE_FRAMES = 5  # So many timestamps that do not advance are not worth a word.
_DIGITS = 9  # Of seconds, lest 0.7 - 0.2 be a little less than 0.5.
_LATE_STEP = 0.1  # Of a frame's time: what a frame gets that comes too late.
_LATE_SECONDS = 0.1  # Of sound before the picture; less is a codec's running-in.
# FFmpeg makes up the presentation times of these, and wrongly where the codec
# reorders frames. Their packets lie in slots of equal length, some of them empty.
_SLOTTED = ('avi', 'mxf')
_NO_TIMES = 0x80  # AVFMT_NOTIMESTAMPS: an elementary stream, without any clock.
_MOST_REORDERED = 32  # Packets by which a codec can hold a frame back.
_MISTAKEN = 2.5  # A header's rate is not believed if it is so many times off.


class Timeline:
  """From the timestamps of frames, in the order of showing, to times that advance.

  Frames without a timestamp follow their predecessor at the video's rate, and time
  never runs backwards. Where the timestamps begin anew, another recording was joined
  on, and follows at once.

  Args:
    step: seconds from one frame to the next where nothing else is known.

  Attributes:
    joined: when another recording begins, a list of seconds.
    late: how many frames came later than their timestamp says.
    pauses: (begin, end) in seconds of each that is longer than `_PAUSE_SECONDS`.
    starts: of each recording, the first one too, the timestamp of time zero, seconds.
  """

  def __init__(self, step):
    self.joined, self.late, self.pauses, self.starts = [], 0, [], [0.0]
    self._step, self._start, self._last, self._standing = step, 0.0, None, 0.0
    self._first = None  # timestamp of this recording

  def place(self, stamp, begin=0.0, key=False):
    """The time of the next frame.

    Args:
      stamp: its timestamp in seconds, or None.
      begin: the time of the first frame; of others it does not count.
      key: whether it is a key frame, with which a recording can begin.

    Raises:
      ValueError: it jumps by more than `MAX_JUMP_SECONDS`, or pictures stand for nearly
        all of the time.
    """
    if self._last is None:
      self._last = begin
      self._start = -begin if stamp is None else stamp - begin
      self.starts = [self._start]
      self._first = stamp
      return begin
    time = self._last + self._step
    if stamp is not None:
      own = round(stamp - self._start, _DIGITS)
      if own > self._last:
        time = own
      elif begins_anew(stamp, key, self._first, self._last + self._start, self._step):
        self._start, self._first = stamp - time, stamp
        self.joined.append(time)
        self.starts.append(self._start)
      else:
        # A little later than the last, and those to come can catch up.
        self.late += 1
        time = self._last + _LATE_STEP * self._step
    if time - self._last > MAX_JUMP_SECONDS:
      raise ValueError(
        f'its timestamps jump by {time - self._last:.0f} s at {self._last:.1f} s; make '
        'a file of each part'
      )
    if time - self._last > max(_PAUSE_SECONDS, _PAUSE_STEPS * self._step):
      self.pauses.append((self._last, time))
      self._standing += time - self._last
      if self._standing > max(_ALWAYS_SECONDS, _MOST_PAUSES * (time - self._standing)):
        raise ValueError(
          f'no new picture for {self._standing:.0f} s of its {time:.0f} s; make a file '
          'of each part'
        )
    self._last = time
    return time


def begins_anew(stamp, key, first, latest, step):
  """Whether a frame that comes too late begins another recording.

  A key frame does if it is far too late, or as early as the first frame; another one,
  which a decoder may hand out late behind lost packets, only if it is both.
  Timestamps `stamp`, of the `first` and of the `latest` frame so far, and the `step`
  from one to the next, in seconds.
  """
  late = latest - stamp > REWIND_SECONDS
  early = first is not None and stamp < first + step / 2
  return (late and early) or (key and (late or early))


class Clock:
  """The times of a video's frames, in seconds.

  Time zero is the first frame that can be decoded; where a damaged key frame, or the
  sound, comes before it, that is, as players count.

  The decoder tells the clock of every packet that it takes (`feed`) or finds damaged
  (`miss`), and of the first frame (`begin`). Then it asks for the time of each frame
  (`of_frame`); who does not decode asks for those of all that lie in the packets
  (`of_packets`). They are the same.

  Args:
    stream: of PyAV.
    packets: some of the first, which tell the rate if the header does not.

  Attributes:
    rate: frames per second.

  Raises:
    ValueError: there is no rate, or one that no video has, or timestamps jump by more
      than
      `MAX_JUMP_SECONDS`.
  """

  def __init__(self, stream, packets):
    container = stream.container
    self._codec, self._unit = stream.codec_context, float(stream.time_base)
    self._bare = bool(container.format.flags & _NO_TIMES)
    self._slotted = container.format.name in _SLOTTED
    self.rate = _counted_rate(stream) if self._bare else _rate(stream, packets)
    if not _RATES[0] <= self.rate <= _RATES[1]:
      raise ValueError(
        f'{self.rate:.4g} pictures a second, as no video has; give it its own rate: '
        'ffmpeg -r RATE -i IN OUT.mp4'
      )
    self._timeline = Timeline(1 / self.rate)
    self._sound = min(
      (
        float(sound.start_time * sound.time_base)
        for sound in container.streams.audio
        if sound.start_time is not None
      ),
      default=None,
    )
    self._opening = []  # of `_stamp`, for the packets that the first frame takes
    self._missed = None  # when the first damaged key frame is shown, seconds
    self._slots = collections.deque(maxlen=_MOST_REORDERED)
    self._first, self._depth, self._flushed, self._late = None, None, 0, None

  @property
  def starts(self):
    """What the file's own clock shows at time zero, seconds, of each recording in it.

    There are several where files were joined and the clock begins anew.
    """
    return self._timeline.starts

  @property
  def notes(self):
    """What a person should know of the times, a list of texts."""
    notes = []
    if self._bare:
      notes.append(
        f'no clock in it: frames are counted, {self.rate:g} a second as its header says'
      )
    if self._late:
      notes.append(f'the picture begins {self._late:.1f} s after the sound')
    if self._timeline.joined:
      told = ', '.join(f'{time:.1f}' for time in self._timeline.joined[:5])
      notes.append(f'joined files: its timestamps begin anew at {told} s')
    if self._timeline.pauses:
      longest = max(self._timeline.pauses, key=lambda pause: pause[1] - pause[0])
      notes.append(
        f'no new picture for {longest[1] - longest[0]:.1f} s from {longest[0]:.1f} s on'
        + f', and {len(self._timeline.pauses) - 1} shorter'
        * (len(self._timeline.pauses) > 1)
      )
    if self._timeline.late > _LATE_FRAMES:
      notes.append(f'the timestamps of {self._timeline.late} frames do not advance')
    return notes

  def feed(self, packet):
    """Takes a packet that was not found damaged, in the order of the file."""
    stamp = self._stamp(packet)
    if stamp and self._depth is None:
      self._opening.append(stamp)

  def miss(self, packet):
    """Takes a packet that is damaged."""
    if self._depth is None and packet.is_keyframe and self._missed is None:
      stamp = packet.dts if self._slotted else packet.pts
      self._missed = None if stamp is None else stamp * self._unit

  def begin(self, frame):
    """Takes the first frame, before any is asked for."""
    self._first, self._depth = frame.pts, self._codec.reorder_depth

  def flush(self):
    """All packets were taken; another of the frames held back comes out."""
    self._flushed += 1

  def of_frame(self, frame):
    """When a frame is shown; asked in the order in which the decoder gives them."""
    stamp, key = None, False
    if self._slotted:
      # The codec holds frames back: one comes with the packet in whose slot it is
      # shown, or later if the codec has found out that it must hold back more.
      place = self._flushed - 1 - (self._codec.reorder_depth - self._depth)
      stamp = self._slots[place] if -len(self._slots) <= place < 0 else None
    elif not self._bare:
      stamp, key = frame.pts, frame.key_frame
    return self._place(stamp, key)

  def of_packets(self, packets):
    """When each frame is shown: float64 [frames].

    `packets`: all that follow the first frame. Those that come before the first frame
    that can be decoded show nothing.
    """
    stamps = self._opening + [x for x in map(self._stamp, packets) if x]
    if self._bare:
      shown = [(None, False)] * len(stamps)
    elif self._slotted:
      taken = len(self._opening) - 1
      held = min(taken, self._depth)
      shown = [(slot, False) for slot, _ in stamps[taken:]] + [(None, False)] * held
    else:
      shown = self._in_order(stamps)
    return np.array([self._place(*stamp) for stamp in shown])

  def _stamp(self, packet):
    """(when it is shown, in the stream's unit, whether it is a key frame), or None."""
    if not packet.size or packet.is_discard:
      return None
    if not self._slotted:
      return packet.pts, packet.is_keyframe
    slot, before = packet.dts, self._slots[-1] if self._slots else None
    if before is not None and (slot is None or slot <= before):
      slot = before + 1 / (self.rate * self._unit)
    self._slots.append(slot or 0)
    return self._slots[-1], packet.is_keyframe

  def _in_order(self, stamps):
    """What `_stamp` gives for packets, in the order of showing."""
    parts, first, latest = [[]], None, -np.inf
    for pts, key in stamps:
      if pts is not None:
        seconds = pts * self._unit
        if key and begins_anew(seconds, key, first, latest, 1 / self.rate):
          parts.append([])
          first, latest = None, -np.inf
        first, latest = seconds if first is None else first, max(latest, seconds)
      # One without a time is shown after the one before it.
      order = latest if pts is None else seconds
      parts[-1].append((order, pts, key))
    shown = [
      (pts, key) for part in parts for _, pts, key in sorted(part, key=lambda x: x[0])
    ]
    if self._first is None:
      return shown
    known = (
      k for k, (pts, _) in enumerate(shown) if pts is not None and pts >= self._first
    )
    return shown[next(known, 0) :]

  def _place(self, stamp, key):
    if stamp is None:
      return self._timeline.place(None)
    stamp *= self._unit
    if self._late is None:
      first = stamp - (self._depth / self.rate if self._slotted else 0.0)
      missing = 0.0 if self._missed is None else first - self._missed
      late = 0.0 if self._sound is None else first - self._sound
      if late > MAX_JUMP_SECONDS:
        raise ValueError(
          f'the picture begins {late:.0f} s after the sound, so they have no clock in '
          'common; leave the sound out (ffmpeg -i IN -an -c copy OUT)'
        )
      self._late = late if late > _LATE_SECONDS else 0.0
      return self._timeline.place(stamp, max(0.0, missing, self._late))
    return self._timeline.place(stamp, key=key)


def _counted_rate(stream):
  rate = stream.codec_context.framerate
  if not rate:
    raise ValueError(
      'an elementary stream, which has no clock, and this one states no frame rate; '
      'give it both: ffmpeg -framerate RATE -i IN OUT.mp4'
    )
  return float(rate)


def _rate(stream, packets):
  """Frames per second: of the header, unless the first packets say otherwise."""
  stated = float(stream.average_rate or stream.guessed_rate or 0)
  stamps = sorted({p.pts for p in packets if p.size and p.pts is not None})
  if len(stamps) > 2:
    seen = 1 / float(np.median(np.diff(stamps)) * stream.time_base)
    if not seen / _MISTAKEN < stated < seen * _MISTAKEN:
      return seen
  if not stated:
    raise ValueError('no frame rate in the video stream')
  return stated
