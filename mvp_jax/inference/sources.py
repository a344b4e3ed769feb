"""What a stream keeps of its sources: faces, samples, and both as a corpus."""

import collections
import math

import av
import cv2
import numpy as np

from mvp_jax.data.trial import Frames
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped
from mvp_jax.raw import units
from mvp_jax.raw.frames import FaceCrops
from mvp_jax.raw.signal_files import Channel
from mvp_jax.raw.video import info_of
from mvp_jax.raw.video_clock import MAX_JUMP_SECONDS

VIDEO = 'video'


class LiveFaces:
  """Faces that were cut out of the last frames.

  Attributes:
    first, latest: times of the first and the last frame as they came; None before.
    cut_until: seconds since the first frame, before which all faces are cut out.
  """

  def __init__(self, spec, pixel_aspect):
    self.first, self.latest, self.cut_until = None, None, -math.inf
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
      self.cut_until = crop.time

  def forget(self, until):
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
  """The last samples of one channel.

  Attributes:
    first, latest: times of the first and the last sample as they came; None before.
  """

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

  def forget(self, until):
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


class LiveCorpus:
  """What was kept of a stream as a prepared corpus."""

  def __init__(self, model, faces):
    self.metadata, self.name = model.metadata, 'stream'
    self._faces = faces

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
