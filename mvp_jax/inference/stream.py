"""Estimates of frames and signals as they come: the same as those of a file.

A window is predicted when all that it needs has come, by the code that predicts files:
the same face track, the same preparation of signals, the same models. What no window
needs any more is forgotten.
"""

import dataclasses
import math
import tempfile
from pathlib import Path

import numpy as np

from mvp_jax.data.trial import Trial
from mvp_jax.errors import InputError
from mvp_jax.inference.predict import finished, scores_of
from mvp_jax.inference.result import answer_of, least_seconds
from mvp_jax.inference.sources import (
  AUDIO,
  UNITS,
  VIDEO,
  LiveCorpus,
  LiveFaces,
  LiveSamples,
  LiveSound,
  LiveUnits,
)
from mvp_jax.inference.windows import (
  AFTER_SECONDS,
  before_seconds,
  face_share,
  lacking,
  window_signals,
)
from mvp_jax.raw.frames import WAITING_SECONDS, FrameSpec

STALLED_SECONDS = 10.0  # a source so far behind the others is not waited for
_LEAST_SECONDS = 1.0  # of a stream, as of a recording
_EARLY = 1e-3  # seconds


@dataclasses.dataclass(frozen=True, eq=False)
class StreamEstimate:
  """What the models say of one window of a stream.

  Attributes:
    start, end: of the window, in seconds since the stream's first frame.
    values: {rating: the mean over models}; None where nothing can be said.
    spread: {rating: its deviation over models}; None of a single model.
    answers: {rating: 'high' or 'low', of numbers (low, high)}; None where the models
      abstain. Of a target in time there are none, for a window is no trial of it.
    face_share: of the window's stored frames, NaN without video.
    note: why nothing can be said, and what is wrong with a signal; or ''.
    models: float [M, K], what each model says of each rating.
    course: float [L, M, K] of a target in time, or None.
  """

  start: float
  end: float
  values: dict
  spread: dict
  answers: dict
  face_share: float
  note: str
  models: np.ndarray
  course: np.ndarray | None = None


class Stream:
  """Takes frames and samples with their times, gives estimates. See `Model.stream`.

  Attributes:
    seconds: the length of a window.
    hop: seconds from one window to the next.
    latency: how many seconds after its end a window can be predicted at the earliest,
      for faces are smoothed and signals filtered with what follows; computing comes
      on top. A camera slower than what was trained on adds two of its frames.
  """

  def __init__(self, model, *, hop=None, sources=None, unit=None, pixel_aspect=1.0):
    self._model = model
    if hop is not None and not 0 < hop < np.inf:
      raise InputError(f'hop is {hop}, must be above 0 seconds')
    self._facts = model.metadata['streams'].get('signals')
    sources, self._lacking = _sources(model, sources)
    in_time = model.target.level == 'frame'
    self.seconds, self.hop = model.lengths(
      model.seconds if in_time and not hop else hop
    )
    rate = model.config.data.frame_rate
    self._faces = None
    if VIDEO in sources:
      data = model.config.data
      size = model.metadata['frame_size'] or data.frame_size
      spec = FrameSpec(rate, size, model.metadata.get('crop') or data.crop)
      self._faces = LiveFaces(spec, pixel_aspect)
    unit = unit or {}
    self._sound = LiveSound() if AUDIO in sources else None
    self._units = LiveUnits() if UNITS in sources else None
    names = [name for name in sources if name not in (VIDEO, AUDIO, UNITS)]
    if wrong := sorted(set(unit) - set(names)):
      raise InputError(
        f'unit: of {", ".join(wrong)}, which is no source of this stream'
      )
    self._signals = {name: LiveSamples(name, unit.get(name, '')) for name in names}
    others = {VIDEO: self._faces, AUDIO: self._sound, UNITS: self._units}
    self._sources = self._signals | {k: x for k, x in others.items() if x is not None}
    self.latency = AFTER_SECONDS
    if self._faces is not None:
      self.latency = max(self.latency, WAITING_SECONDS + 2 / rate)
    self._zero = None  # when the stream begins, on the clock of its sources
    self._said = 0  # windows so far
    self._last = -math.inf  # when the last of them began
    self._over = False

  def frame(self, time, image):
    """Takes a frame; returns the estimates that are due, a list of StreamEstimate.

    Args:
      time: seconds, later than of the last frame, on a clock that all sources share.
      image: uint8 [height, width, 3], RGB, upright; or an av.VideoFrame.

    Raises:
      InputError: the model takes no frames, the time does not advance or jumps by more
        than a minute, or the picture's size changes.
    """
    self._require_open()
    if self._faces is None:
      raise self._takes_no(VIDEO, 'frame')
    self._faces.add(_number('time', time), image)
    return self._due()

  def audio(self, time, samples, rate):
    """Takes some sound; returns as `frame`.

    Args:
      time: seconds, of the first sample, on a clock that all sources share. Sound that
        begins within 40 ms of the end of the last goes on from there.
      samples: [n] or [n, channels], int16, or floats of full scale 1.
      rate: Hz.

    Raises:
      InputError: the model takes no sound, the time does not advance, or these are no
        samples of sound.
    """
    self._require_open()
    if self._sound is None:
      raise self._takes_no(AUDIO, 'audio')
    self._sound.add(_number('time', time), samples, rate)
    return self._due()

  def action_units(self, time, values):
    """Takes the action units of one frame; returns as `frame`.

    Args:
      time: seconds, later than of the last, on a clock that all sources share.
      values: a row as OpenFace writes it, {column: number} (AU01_r, ..., AU45_c; and
        success, confidence), or the 35 numbers in order, NaN where there is no face.

    Raises:
      InputError: the model takes none, the time does not advance, or they are not 35.
    """
    self._require_open()
    if self._units is None:
      raise self._takes_no(UNITS, 'action_units')
    self._units.add(_number('time', time), values)
    return self._due()

  def _takes_no(self, source, method):
    return InputError(
      f'{method}: this stream takes no {source}, only {", ".join(self._sources)}'
    )

  def signals(self, times, **values):
    """Takes samples of one channel or several; returns as `frame`.

    Args:
      times: seconds, float or [n], rising, later than those of the channel so far, on
        a clock that all sources share.
      **values: of each channel, such as eda=..., float or [n]; NaN: no measurement.

    Raises:
      InputError: there is no such channel, or the times do not advance.
    """
    self._require_open()
    times = np.atleast_1d(np.asarray(times, np.float64))
    for name, given in values.items():
      if name not in self._signals:
        known = ', '.join(self._signals) or 'no channels'
        raise InputError(f'signals: no channel {name!r}; this stream takes {known}')
      self._signals[name].add(times, np.atleast_1d(np.asarray(given, np.float64)))
    return self._due()

  def finish(self):
    """Ends the stream; returns the estimates of what is left, as `frame`.

    A last window ends with the stream, and a shorter stream is one window.

    Raises:
      InputError: it lasted less than a second.
    """
    self._require_open()
    self._over = True
    for source in (self._faces, self._sound):
      if source is not None:
        source.finish()
    self._begin(True)
    ends = {name: one.end - self._zero for name, one in self._live()}
    # As of files: what lacks sound at its end goes on in silence, and action units are
    # of the frames.
    telling = ends.keys() - {AUDIO, UNITS} or ends.keys() - {AUDIO} or ends.keys()
    end = min((ends[name] for name in telling), default=0.0)
    if end < _LEAST_SECONDS:
      raise InputError(
        f'the stream lasted {end:.1f} s, which is too short to say anything'
      )
    lasting = []
    if self._faces is not None:
      lasting.append(self._faces.seconds(end))
    if self._signals:
      lasting.append(round(end * self._facts['rate']) / self._facts['rate'])
    if self._sound is not None or not lasting:
      lasting.append(end)
    spans = self._model.spans_of(max(lasting), self.hop)
    return [
      self._say(start, min(stop, end), end)
      for start, stop in spans
      if start > self._last + _EARLY
    ]

  def _require_open(self):
    if self._over:
      raise InputError('this stream is finished; begin another')

  def _all(self):
    return {k: one for k, one in self._sources.items() if one.latest is not None}

  def _live(self):
    """Those that are not far behind the others: items of {name: source}."""
    there = self._all()
    newest = max((one.latest for one in there.values()), default=0.0)
    return [
      (name, one)
      for name, one in there.items()
      if one.latest > newest - STALLED_SECONDS - self.latency
    ]

  def _begin(self, final=False):
    """Sets time zero: the first frame, or the first sample if no frame comes."""
    if self._zero is not None:
      return True
    if self._faces is not None and self._faces.first is not None:
      self._zero = self._faces.first
      return True
    there = self._all().values()
    first = min((one.first for one in there), default=None)
    if first is None:
      self._zero = 0.0 if final else None
      return final
    waited = max(one.latest for one in there) - first > STALLED_SECONDS
    if final or self._faces is None or waited:
      self._zero = first
    return self._zero is not None

  def _due(self):
    found = []
    if not self._begin():
      return found
    while self._is_due():
      start = self._said * self.hop
      found.append(self._say(start, start + self.seconds))
      self._said, self._last = self._said + 1, start
      self._forget()
    return found

  def _is_due(self):
    end = self._said * self.hop + self.seconds
    there = self._all()
    newest = max(one.latest for one in there.values()) - self._zero
    if newest < end + AFTER_SECONDS:
      return False
    if newest > end + self.latency + STALLED_SECONDS:
      return True
    return all(one.knows(end, self._zero) for one in self._sources.values())

  def _forget(self):
    """Lets go of what neither the next window nor a last one can hold."""
    latest = min(one.latest for _, one in self._live()) - self._zero
    first = max(0.0, min(self._said * self.hop, latest - self.seconds))
    if self._faces is not None:
      self._faces.forget(first - _EARLY)
    if self._signals:
      margin = before_seconds(self._facts) + 1
      for one in self._signals.values():
        one.forget(self._zero + first - margin)
    for source in (self._sound, self._units):
      if source is not None:
        source.forget(self._zero + first - _EARLY)

  def _say(self, start, end, last=None):
    """The StreamEstimate of a window; `last`: when the stream ends, if it does."""
    model, streams, notes = self._model, {}, {}
    if self._faces is not None:
      until = (start, end) if last is None or end < last else (start, last + 1)
      frames = self._faces.frames(last).stretch(*until)
      if len(frames.times):
        streams[VIDEO] = frames
    if self._signals:
      channels = {
        name: one.channel(self._zero)
        for name, one in self._signals.items()
        if one.latest is not None
      }
      streams['signals'], notes = window_signals(
        channels, start, end, self._facts, model.config.data.clean
      )
    sound = None
    if self._sound is not None:
      streams[AUDIO], sound = self._sound.stretch(start, end, self._zero)
    if self._units is not None:
      until = end if last is None or end < last else last + 1
      series = self._units.series(self._zero).stretch(start, until)
      if len(series.times):
        streams[UNITS] = series
    window = Trial('stream', 1, 1, None, {}, streams, start=start, cut=True)
    asked = {VIDEO} if self._faces is not None else set()
    why = lacking(model, window, asked | ({'signals'} if self._signals else set()))
    with tempfile.TemporaryDirectory(prefix='mvp_jax-') as folder:
      corpus = LiveCorpus(model, self._faces, sound)
      scores = scores_of(model, corpus, [window], [why], Path(folder))
    course = None
    if model.target.level == 'frame':
      count = max(1, round((end - start) * model.target.rate))
      course = finished(model, scores[0])[:count]
      each = course.mean(0)
    else:
      each = np.array(model.target.finished(scores), float)[0]
    if why:
      each = np.full_like(each, np.nan)
      course = None if course is None else np.full_like(course, np.nan)
    values, answers = self._named(each.mean(0)), {}
    for name, value in values.items():
      if model.target.level == 'trial':
        long = end - start >= least_seconds(model)
        sayable = long and value is not None
        answers[name] = answer_of(model, name, value)[0] if sayable else None
    told = [f'nothing is said: {why}'] * bool(why)
    told += [f'{name}: {text}; it is masked' for name, text in notes.items()]
    return StreamEstimate(
      start=start,
      end=end,
      values=values,
      spread=self._named(
        each.std(0) if len(each) > 1 else np.full(each.shape[1], np.nan)
      ),
      answers=answers,
      face_share=face_share(window),
      note='; '.join([*told, *self._lacking]),
      models=each,
      course=course,
    )

  def _named(self, values):
    names = self._model.target.ratings
    return {
      name: float(x) if np.isfinite(x) else None
      for name, x in zip(names, values, strict=True)
    }


def _sources(model, given):
  """What a stream takes, VIDEO, channels, ...; and notes on what is missing."""
  streams = model.metadata['streams']
  channels = streams.get('signals', {}).get('channels') or ()
  known, needed, notes = [], [], []
  for name, modality in model.modalities.items():
    optional = bool(model.folder.record['without'].get(name))
    if getattr(modality, 'standardise', 'trial') != 'trial':
      raise InputError(
        f'{model.name} standardises signals by all that a person has, which a stream '
        f'cannot know (modalities.{name}.standardise); predict a file instead'
      )
    reads = model.reads(name)
    taken = [x for x in reads if x in ('signals', VIDEO, AUDIO, UNITS)]
    if not taken and not optional:
      raise InputError(
        f'{model.name} reads {", ".join(reads)}, which a stream does not take; predict '
        'a file instead'
      )
    if not taken:
      notes.append(f'there is nothing of {name}')
    own = []
    for stream in taken:
      own += channels if stream == 'signals' else [stream]
    known += own
    if given is None or optional:
      continue
    missing = [x for x in own if x not in given]
    if missing and not (getattr(modality, 'partial', False) and set(own) & set(given)):
      needed += missing
    elif missing:
      notes.append(f'there is no {", ".join(missing)}')
  known = list(dict.fromkeys(known))
  given = known if given is None else list(given)
  if wrong := [x for x in given if x not in known]:
    raise InputError(
      f'sources: {model.name} does not read {", ".join(wrong)}; it reads '
      f'{", ".join(known)}'
    )
  if needed or not given:
    raise InputError(
      f'sources: {model.name} cannot do without {", ".join(needed or known)}'
    )
  return given, notes


def _number(name, value):
  value = float(value)
  if not math.isfinite(value):
    raise InputError(f'{name} is {value}; give seconds')
  return value
