"""A window of a recording as a trial of its own.

Its signals are judged, brought to one rate and cleaned by what was measured from a few
seconds before it to `AFTER_SECONDS` after it, and by nothing else: a window is the same
whether its recording lies in a file or still goes on.
"""

import dataclasses

import numpy as np

from mvp_jax.data.trial import Series
from mvp_jax.outcomes import Dropped
from mvp_jax.raw import channels as raw_channels
from mvp_jax.raw.frames import MIN_FACE_SHARE, WAITING_SECONDS
from mvp_jax.raw.signal_files import without_gaps
from mvp_jax.raw.units import implausible

AFTER_SECONDS = WAITING_SECONDS  # the signals are not waited for any longer than faces
_EARLY = 1e-3  # seconds


def before_seconds(facts):
  """How much before a window counts for its signals.

  `facts` are those of the stream that was trained on.
  """
  return facts['before'] + raw_channels.MARGIN_SECONDS


def window_signals(channels, start, end, facts, cleaned):
  """The signals of a window.

  Args:
    channels: {name: signal_files.Channel}, times in seconds of the recording. Those of
      the model that are not among them are there, but never valid.
    start, end: of the window, seconds of the recording.
    facts: of the stream that was trained on: channels, rate, before.
    cleaned: whether they are cleaned.

  Returns:
    (Series, notes: what is wrong with a channel, {name: text}). Only a window that
    begins with the recording has a baseline.
  """
  rate = facts['rate']
  lead = 0.0 if start > 0 else facts['before']
  near, judged, notes = {}, {}, {}
  for name, channel in channels.items():
    try:
      part = _part(name, channel, start - before_seconds(facts), end + AFTER_SECONDS)
    except Dropped as dropped:
      notes[name] = dropped.reason
      continue
    inside = slice(*np.searchsorted(part.times, (start - _EARLY, end - _EARLY)))
    found = raw_channels.judge(part.values, part.rate, name, part.unit, inside)
    measured = found.values[inside]
    measured = measured[np.isfinite(measured)]
    odd = implausible(name, part.unit, measured) if len(measured) else ''
    judged[name] = dataclasses.replace(found, problem=found.problem or odd)
    near[name] = part
    if judged[name].problem:
      notes[name] = judged[name].problem
  before, length = round(lead * rate), round((end - start) * rate)
  if near:
    begins = dict.fromkeys(near, start)
    found = raw_channels.at_rate(near, begins, judged, end - start, lead, rate, cleaned)
  else:
    found = raw_channels.none(before + length)
  values, valid = found['values'], found['valid']
  series = Series(
    values[before:],
    valid[before:],
    tuple(near),
    rate,
    before=values[:before],
    before_valid=valid[:before],
  )
  return with_channels(series, tuple(facts['channels'])), notes


def _part(name, channel, first, last):
  """A Channel from `first` to `last` seconds, gaps filled with NaN. Raises Dropped."""
  inside = slice(*np.searchsorted(channel.times, (first - _EARLY, last + _EARLY)))
  times = channel.times[inside]
  if len(times) < 2:
    raise Dropped('bad_signal', 'nothing was measured')
  part = dataclasses.replace(channel, values=channel.values[inside], times=times)
  return without_gaps(name, part)


def with_channels(series, channels):
  """A Series with these channels; what it lacks is not valid."""
  if series.channels == channels:
    return series

  def laid(x):
    if x is None:
      return None
    found = np.zeros((len(x), len(channels)), x.dtype)
    for place, name in enumerate(channels):
      if name in series.channels:
        found[:, place] = x[:, series.channels.index(name)]
    return found

  return dataclasses.replace(
    series,
    channels=channels,
    **{
      name: laid(getattr(series, name))
      for name in ('values', 'valid', 'before', 'before_valid')
    },
  )


def face_share(window):
  """The share of a window's stored frames that show a face; NaN without any."""
  video = window.streams.get('video')
  return np.nan if video is None else float(np.mean(video.valid))


def lacking(model, window, streams):
  """Why a model can say nothing of a window, in a few words, or ''.

  Args:
    model: model.Ensemble.
    window: data.trial.Trial.
    streams: names of those that its recording has.
  """
  without = model.folder.record['without']
  for name, modality in model.modalities.items():
    if without.get(name):
      continue  # it was trained on trials that lack it
    if modality.face and 'video' in streams:
      share = face_share(window)
      if not share >= MIN_FACE_SHARE:
        return 'hardly any face'
    reads = set(model.reads(name)) & set(streams)
    if 'signals' in reads and not (reads - {'signals'}) & set(window.streams):
      signals = window.streams.get('signals')
      if signals is None or not signals.valid.any():
        return 'no usable signal'
  return ''
