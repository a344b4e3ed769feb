"""What a stream keeps of its sources: faces, samples, sound, action units.

Each has `first` and `latest`, times of the first and the last of it as they came (None
before), `end`, when the last of it ends, and `knows(moment, zero)`: whether all has
come that tells of the stream up to `moment` seconds after its beginning, `zero`.
"""

import collections
import math

import av
import cv2
import numpy as np

from mvp_jax.data.trial import Frames, Series, Sound
from mvp_jax.errors import InputError
from mvp_jax.inference.windows import AFTER_SECONDS
from mvp_jax.outcomes import Dropped
from mvp_jax.raw import units
from mvp_jax.raw.audio import GAP_SECONDS, RATE, RATES, ToRate, as_stored
from mvp_jax.raw.frames import FaceCrops
from mvp_jax.raw.openface import CHANNELS, MIN_CONFIDENCE, measured
from mvp_jax.raw.signal_files import Channel
from mvp_jax.raw.video import info_of
from mvp_jax.raw.video_clock import MAX_JUMP_SECONDS

VIDEO, AUDIO, UNITS = 'video', 'audio', 'action_units'
_EARLY = 1e-3  # seconds


class LiveFaces:
  """Faces that were cut out of the last frames."""

  def __init__(self, spec, pixel_aspect):
    self.first, self.latest, self._cut_until = None, None, -math.inf
    self._spec, self._aspect = spec, pixel_aspect
    self._crops, self._shape = None, None
    self._kept, self._forgotten, self._count = collections.deque(), 0, 0

  @property
  def end(self):
    """When the last frame ends, shown for as long as the others were on average."""
    step = (self.latest - self.first) / max(self._count - 1, 1)
    return self.latest + step

  def add(self, time, image):
    frame = _frame(image)
    shape = frame.width, frame.height
    if self.first is None:
      self.first, self._shape = time, shape
      self._crops = FaceCrops(info_of(frame, self._aspect), self._spec, onset=time)
    elif time <= self.latest:
      raise InputError(
        f'time {time:g} of a frame is not after {self.latest:g}, of the one before'
      )
    elif time - self.latest > MAX_JUMP_SECONDS:
      raise InputError(
        f'frames jump by {time - self.latest:.0f} s at {self.latest:g}; finish this '
        'stream and begin another'
      )
    if shape != self._shape:
      raise InputError(
        f'the picture changes from {self._shape[0]}x{self._shape[1]} to '
        f'{shape[0]}x{shape[1]} pixels; begin another stream'
      )
    self.latest = time
    self._count += 1
    self._keep(self._crops.add(time, frame))

  def finish(self):
    if self._crops is not None:
      self._keep(self._crops.end())

  def _keep(self, crops):
    for crop in crops:
      self._kept.append(crop)
      self._cut_until = crop.time

  def knows(self, moment, zero):
    return self._cut_until > moment - _EARLY

  def forget(self, until):
    """Lets go of what was before `until` seconds of the stream."""
    while self._kept and self._kept[0].time < until:
      self._kept.popleft()
      self._forgotten += 1

  def seconds(self, end):
    """How long the stream of faces lasts that ends at some time, as `Frames` has it."""
    late = sum(crop.time >= end for crop in self._kept)
    return (self._forgotten + len(self._kept) - late) / self._spec.rate

  def frames(self, end=None):
    """A data.trial.Frames of what is kept, before `end` seconds if that is given."""
    kept = [x for x in self._kept if end is None or x.time < end]
    times = np.array([crop.time for crop in kept], np.float32)
    valid = np.array([crop.valid for crop in kept], bool)
    return Frames(times, valid, 0, self._spec.rate, self._forgotten)

  def read(self, number):
    """The JPEG of a frame by its number in the whole stream."""
    return self._kept[number - self._forgotten].jpeg


def _frame(image):
  if isinstance(image, av.VideoFrame):
    return image
  image = np.asarray(image)
  if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
    raise InputError(
      f'a frame is {image.dtype} {list(image.shape)}, must be uint8 [height, width, 3]'
    )
  return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), 'rgb24')


class LiveSamples:
  """The last samples of one channel."""

  def __init__(self, name, unit):
    self.first, self.latest = None, None
    self._name, self._unit = name, unit
    self._times, self._values = [], []
    self._converted([0.0], [1.0])  # raises if it cannot have that unit

  @property
  def end(self):
    """When the last sample ends."""
    times, _ = self._joined()
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    return self.latest + step

  def add(self, times, values):
    if times.ndim != 1 or times.shape != values.shape:
      raise InputError(
        f'{self._name}: {list(values.shape)} values at {list(times.shape)} times'
      )
    if not len(times):
      return
    before = np.concatenate([[-np.inf if self.latest is None else self.latest], times])
    if not (np.isfinite(times).all() and (np.diff(before) > 0).all()):
      raise InputError(
        f'{self._name}: its times do not advance near {times[0]:g} s; give each sample '
        'once, in order'
      )
    self.first = float(times[0]) if self.first is None else self.first
    self.latest = float(times[-1])
    self._times.append(times)
    self._values.append(values)

  def knows(self, moment, zero):
    return (
      self.latest is not None and self.latest - zero > moment + AFTER_SECONDS + _EARLY
    )

  def forget(self, until):
    """Lets go of what was before `until`, on the clock of the sources."""
    if self._times:
      times, values = self._joined()
      first = np.searchsorted(times, until)
      self._times, self._values = [times[first:]], [values[first:]]

  def channel(self, zero):
    """A Channel of what is kept, in seconds since `zero`."""
    times, values = self._joined()
    return self._converted(times - zero, values)

  def _joined(self):
    self._times = [np.concatenate(self._times)]
    self._values = [np.concatenate(self._values)]
    return self._times[0], self._values[0]

  def _converted(self, times, values):
    try:
      return units.convert(
        self._name, Channel(np.asarray(values), np.asarray(times)), self._unit
      )
    except Dropped as dropped:
      raise InputError(dropped.reason) from None


class LiveSound:
  """The last sound, at the rate and in the numbers in which that of files is kept."""

  def __init__(self):
    self.first, self.latest, self._given = None, None, -math.inf
    self._parts, self._rate, self._brought = [], None, None

  @property
  def end(self):
    return self.latest

  def add(self, time, samples, rate):
    mono = _mono(samples)
    if not RATES[0] <= rate <= RATES[1]:
      raise InputError(f'audio: rate is {rate:g} Hz, as no sound has')
    if time <= self._given:
      raise InputError(
        f'audio: time {time:g} is not after {self._given:g}, of the sound before; give '
        'each sample once, in order'
      )
    if not len(mono):
      return
    self.first = time if self.first is None else self.first
    self._given = time
    # As in files: a gap is what is longer, and a sound card's clock may drift by it.
    apart = self.latest is None or abs(time - self.latest) > GAP_SECONDS
    if apart or rate != self._rate:
      self.finish()
      self._brought, self._rate = ToRate(rate), rate
      self._parts.append(_Part(time))
      self.latest = time
    self._parts[-1].add(self._brought.add(mono))
    self.latest += len(mono) / rate

  def finish(self):
    if self._brought is not None:
      self._parts[-1].add(self._brought.end())
      self._brought = None

  def knows(self, moment, zero):
    return bool(self._parts) and self._parts[-1].end >= zero + moment

  def forget(self, until):
    """Lets go of what was before `until`, on the clock of the sources."""
    for part in self._parts:
      part.forget(until)
    self._parts = [x for x in self._parts if x.end > until or x is self._parts[-1]]

  def stretch(self, start, end, zero):
    """Of so many seconds of the stream a data.trial.Sound, and its samples, int16."""
    first, last = round(start * RATE), round(end * RATE)
    values, recorded, done = np.zeros(last - first, np.int16), [], first
    for part in self._parts:
      place = round((part.time - zero) * RATE) + part.gone
      own = part.joined()[max(0, done - place) : max(0, last - place)]
      place = max(place, done)
      if len(own):
        values[place - first : place - first + len(own)] = own
        recorded.append((place - first, place - first + len(own)))
        done = place + len(own)
    recorded = np.array(recorded, np.int64).reshape(-1, 2)
    return Sound(last - first, recorded, 0, RATE), values


class _Part:
  """Sound without a gap, from a time on, of which the beginning may be gone."""

  def __init__(self, time):
    self.time, self.gone, self._size, self._waiting = time, 0, 0, []

  @property
  def end(self):
    return self.time + (self.gone + self._size) / RATE

  def add(self, samples):
    self._waiting.append(as_stored(samples))
    self._size += len(samples)

  def joined(self):
    self._waiting = [np.concatenate([np.zeros(0, np.int16), *self._waiting])]
    return self._waiting[0]

  def forget(self, until):
    count = min(self._size, math.floor((until - self.time) * RATE) - self.gone)
    if count > 0:
      self._waiting = [self.joined()[count:].copy()]
      self.gone, self._size = self.gone + count, self._size - count


def _mono(samples):
  """float32 [n] of sound [n] or [n, channels]: the mean of the channels."""
  given = np.asarray(samples)
  if given.ndim not in (1, 2) or given.dtype not in (np.int16, np.float32, np.float64):
    raise InputError(
      f'audio: samples are {given.dtype} {list(given.shape)}, must be int16, or floats '
      'of full scale 1, [n] or [n, channels]'
    )
  scale = np.float32(32768) if given.dtype == np.int16 else np.float32(1)
  given = np.nan_to_num(given.astype(np.float32)) / scale
  if given.ndim == 2:
    given = given.mean(1, dtype=np.float32)
  return np.ascontiguousarray(given)


class LiveUnits:
  """The last action units, a row for each frame."""

  def __init__(self):
    self.first, self.latest, self._count = None, None, 0
    self._kept = collections.deque()

  @property
  def end(self):
    """When the last row ends, which lasts as long as the others did on average."""
    return self.latest + (self.latest - self.first) / max(self._count - 1, 1)

  def add(self, time, values):
    if isinstance(values, dict):
      values = _of_row(values)
    values = np.asarray(values, np.float64)
    if values.shape != (len(CHANNELS),):
      raise InputError(
        f'action_units: {list(values.shape)} values, must be {len(CHANNELS)}: '
        f'{CHANNELS[0]}, {CHANNELS[1]}, ..., {CHANNELS[-1]}; NaN where there is no face'
      )
    if self.latest is not None and time <= self.latest:
      raise InputError(
        f'action_units: time {time:g} is not after {self.latest:g}, of those before'
      )
    self.first = time if self.first is None else self.first
    self.latest = time
    self._count += 1
    self._kept.append((time, values))

  def knows(self, moment, zero):
    return self.latest is not None and self.latest - zero > moment - _EARLY

  def forget(self, until):
    """Lets go of what was before `until`, on the clock of the sources."""
    while self._kept and self._kept[0][0] < until:
      self._kept.popleft()

  def series(self, zero):
    """A data.trial.Series of what is kept, in seconds since `zero`."""
    times = np.array([time for time, _ in self._kept]) - zero
    values = np.array([x for _, x in self._kept]).reshape(-1, len(CHANNELS))
    with np.errstate(invalid='ignore'):
      valid = measured(values) & (times >= 0)
    values = np.where(valid[:, None], values, 0).astype(np.float32)
    both = np.repeat(valid[:, None], len(CHANNELS), axis=1)
    return Series(values, both, CHANNELS, None, times.astype(np.float32))


def _of_row(row):
  """The values of a row of OpenFace's, {column: number}, NaN where it is not sure."""
  tracked = row.get('success', 1) == 1 and row.get('confidence', 1) >= MIN_CONFIDENCE
  return [row.get(name, np.nan) if tracked else np.nan for name in CHANNELS]


class LiveCorpus:
  """A window of a stream as a prepared corpus.

  Args:
    model: model.Ensemble.
    faces: LiveFaces, or None.
    sound: int16 [n], the window's, as of `LiveSound.stretch`; or None.
  """

  def __init__(self, model, faces, sound=None):
    self.metadata, self.name = model.metadata, 'stream'
    self._faces, self._sound = faces, sound

  def samples(self, trial, first, end, stream=AUDIO):
    """As of `PreparedCorpus`."""
    sound = trial.streams[stream]
    values, valid = (np.zeros(end - first, kind) for kind in (np.int16, bool))
    low, high = max(0, first), max(0, min(end, sound.count))
    values[low - first : max(low, high) - first] = self._sound[low:high]
    for begin, stop in sound.recorded:
      valid[max(0, begin - first) : max(0, stop - first)] = True
    return values, valid

  def frames(self, trial, numbers, flag=cv2.IMREAD_COLOR_RGB, stream=VIDEO):
    """As of `PreparedCorpus`."""
    first = trial.streams[stream].first
    images = {
      number: cv2.imdecode(
        np.frombuffer(self._faces.read(first + number), np.uint8), flag
      )
      for number in {int(n) for n in numbers}
    }
    return np.stack([images[int(n)] for n in numbers])
