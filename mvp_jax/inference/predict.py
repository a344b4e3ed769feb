"""From files to predictions: what the models of a run say of each recording.

A recording is cut into windows no longer than the trials that were trained on; what is
said of a moment is the mean over the windows that hold it. The models of all folds and
seeds are one ensemble: their mean is the estimate, their deviation its spread.
"""

import dataclasses
import re
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from mvp_jax.corpora.recordings.manifest import read_manifest
from mvp_jax.corpora.recordings.trials import channel_of, onset
from mvp_jax.data.spans import span_count
from mvp_jax.data.windows import joined
from mvp_jax.errors import InputError
from mvp_jax.inference import recordings
from mvp_jax.inference.faces import EARLY, seen
from mvp_jax.inference.recordings import Found
from mvp_jax.inference.windows import face_share, lacking, window_signals
from mvp_jax.outcomes import Dropped

_AT_ONCE = 4096  # moments


@dataclasses.dataclass(frozen=True, eq=False)
class Estimates:
  """What the models say of one recording.

  M members, W windows, K ratings, N frames of the video.

  Attributes:
    found: recordings.Found.
    seconds: of the recording.
    starts, ends: float [W], of the windows, in seconds.
    windows: float [W, M, K], NaN where nothing can be said.
    course: float [L, M, K] of a target in time, or None.
    face_shares: float [W], of the windows' stored frames in which there is a face; NaN
      without video.
    times: float64 [N], when each frame of the video is shown, on its clock; or None.
    onset: of the recording in the video, in seconds.
    faces: bool [N], whether the face that is predicted is there; None: it was not
      looked for.
    boxes: float [N, 4], left, top, width and height of the face from brows to chin, in
      pixels of the upright picture, NaN where there is no face; or None.
    who: int [N], whose face is predicted: 0 is whose it is most of the time.
    others: list of float [N, 4], the boxes of persons 0, 1, ... where they are seen and
      not predicted, NaN elsewhere.
    timing: {stage: seconds}.
    features: pathlib.Path of its frames', there until the next recording is asked for.
    notes: why nothing is said of each window, or '': list [W] of texts.
  """

  found: Found
  seconds: float
  starts: np.ndarray
  ends: np.ndarray
  windows: np.ndarray
  course: np.ndarray | None
  face_shares: np.ndarray
  times: np.ndarray | None
  onset: float
  faces: np.ndarray | None
  boxes: np.ndarray | None
  timing: dict
  who: np.ndarray | None = None
  others: list = dataclasses.field(default_factory=list)
  features: Path | None = None
  notes: list = dataclasses.field(default_factory=list)

  def at(self, moments, rate=0.0):
    """What is said of some moments: float [n, M, K], NaN where nothing is.

    Args:
      moments: float [n], seconds of the recording.
      rate: Hz, of the labels of a target in time.
    """
    inside = (moments > -EARLY) & (moments < self.seconds - EARLY)
    if self.course is not None:
      place = np.floor(moments * rate + EARLY).astype(int)
      place = np.clip(place, 0, len(self.course) - 1)
      return np.where(inside[:, None, None], self.course[place], np.nan)
    moments = np.clip(moments, 0, None)
    known = np.isfinite(self.windows[:, 0, 0])
    flat = np.where(known[:, None], self.windows.reshape(len(known), -1), 0)
    found = np.empty((len(moments), flat.shape[1]))
    for first in range(0, len(moments), _AT_ONCE):
      here = slice(first, first + _AT_ONCE)
      some = moments[here, None]
      holds = (some >= self.starts - EARLY) & (some < self.ends + EARLY) & known
      number = holds.sum(1, keepdims=True)
      mean = holds @ flat / np.maximum(number, 1)
      found[here] = np.where((number > 0) & inside[here, None], mean, np.nan)
    return found.reshape(-1, *self.windows.shape[1:])


@dataclasses.dataclass(frozen=True)
class Asked:
  """Recordings that are to be predicted, and what is to be said of all of them."""

  manifest: object
  streams: tuple[str, ...]
  channels: tuple[str, ...]
  notes: tuple[str, ...]
  own: bool  # whether the manifest was written here, so that its rows say nothing


def ask(model, videos, given, folder):
  """Finds what is to be predicted, and whether the model can read it: Asked.

  Args:
    model: model.Ensemble.
    videos: paths: of videos, of folders of videos, or one of a manifest or its folder.
    given: {column: text}, as `recordings.rows_of` takes it.
    folder: pathlib.Path, where a manifest may be written.

  Raises:
    InputError: there is nothing, or what the model cannot do without is missing.
  """
  tables = [path for path in videos if recordings.is_manifest(path)]
  if tables and (len(videos) > 1 or given):
    raise InputError(f'{tables[0]}: a manifest says it all; give it alone')
  if tables:
    manifest = read_manifest(tables[0], ())
  else:
    recordings.write_manifest(folder, recordings.rows_of(videos, given))
    manifest = read_manifest(folder, ())
  try:
    manifest.require()
  except InputError as error:
    if tables:
      raise
    told = str(error).removeprefix(f'{manifest.path}: ').partition('; python -m')[0]
    raise InputError(_plain(told)) from None
  return Asked(manifest, *_readable(model, manifest), not tables)


def _readable(model, manifest):
  """Streams and channels of a manifest that a model reads, and notes."""
  known = model.metadata['streams']
  has = {
    'video': any(r.video for r in manifest.recordings),
    'audio': any(r.audio or r.video for r in manifest.recordings),
    'action_units': any(r.openface for r in manifest.recordings),
  }
  trained = tuple(known.get('signals', {}).get('channels') or ())
  channels = tuple(name for name in trained if name in manifest.channels)
  has['signals'] = bool(channels)
  wanted, notes = [], []
  for name, modality in model.modalities.items():
    reads = model.reads(name)
    there = [stream for stream in reads if has.get(stream)]
    wanted += there
    lacking = [x for x in trained if x not in channels] if 'signals' in there else []
    if lacking and not getattr(modality, 'partial', False):
      raise InputError(
        f'{model.name} reads {", ".join(trained)}, and there is no '
        f'{", ".join(lacking)}; give --{lacking[0]} COLUMN' + _other_models(model, has)
      )
    if lacking:
      notes.append(
        f'there is no {", ".join(lacking)}; {model.name} was trained with channels '
        'left out now and then and goes without'
      )
    if there:
      continue
    if not model.folder.record['without'].get(name):
      raise InputError(
        f'{model.name} reads {name}, of which nothing is given; '
        + _remedy(reads, trained)
        + _other_models(model, has)
      )
    notes.append(
      f'there is nothing of {name}; {model.name} was trained on recordings without it, '
      'too, and goes without'
    )
  more = sorted(set(manifest.channels) - set(trained))
  if not wanted:
    has_not = f', but {", ".join(more)}' if more else ''
    reads = [x for name in model.modalities for x in model.reads(name)]
    raise InputError(
      f'{model.name} reads {", ".join(model.modalities)}, of which nothing is given'
      f'{has_not}; {_remedy(reads, trained)}'
    )
  if more:
    notes.append(f'not read, for {model.name} does not know it: {", ".join(more)}')
  return tuple(dict.fromkeys(wanted)), channels, tuple(notes)


def _remedy(reads, trained):
  if 'signals' in reads:
    own = ' '.join(f'--{name} COLUMN' for name in trained)
    return f'give --signals FILE {own}'
  if 'action_units' in reads:
    return 'give --openface FILE, the CSV that OpenFace wrote (docs/action_units.md)'
  if 'video' in reads:
    return 'give a video'
  if 'audio' in reads:
    return 'give a video with sound, or --audio FILE'
  return f'recordings have no {" or ".join(reads)}'


def _other_models(model, has):
  """A hint at models of the run that what is there is enough for, or nothing."""
  modalities, found = model.config.modalities, []
  for name, own in model.folder.record['models'].items():
    reads = [modalities[x].streams for x in own['modalities']]
    if name != model.name and all(x and all(map(has.get, x)) for x in reads):
      found.append(name)
  return f', or take another model: --model={found[0]}' if found else ''


def estimates(model, asked, directory, *, hop=None, workers=1):
  """Yields the Estimates of each recording; of one that cannot be predicted, its Found.

  Args:
    model: model.Ensemble.
    asked: Asked.
    directory: pathlib.Path for what is prepared on the way.
    hop: seconds, see `Ensemble.windows`.
    workers: processes that prepare.

  Yields:
    (Estimates or Found, Recordings or None).
  """
  began = time.monotonic()
  corpus, rows = recordings.prepared(
    asked.manifest, model, directory, asked.channels, asked.streams, workers
  )
  rows = {row['trial_id']: row for row in rows}
  trials = {trial.trial_id: trial for trial in corpus.trials} if corpus else {}
  preparing = (time.monotonic() - began) / max(len(rows), 1)
  names = _names(asked)
  for recording, name in zip(asked.manifest.recordings, names, strict=True):
    row = rows[recording.trial_id]
    found = Found(name, recording.video, '', trials.get(recording.trial_id), row)
    if row['outcome'] != 'ok':
      reason = _plain(row['reason']) if asked.own else row['reason']
      yield dataclasses.replace(found, problem=reason), None
      continue
    features = directory / 'features'
    try:
      yield (
        _estimates(model, corpus, recording, found, hop, features, preparing),
        corpus,
      )
    except Dropped as dropped:
      yield dataclasses.replace(found, problem=dropped.reason), None
    finally:
      shutil.rmtree(features, ignore_errors=True)


def _plain(reason):
  """A reason without the row of a manifest that nobody wrote."""
  return re.sub(r'^row \d+, column ', '', reason)


def _names(asked):
  """What the recordings' folders are called: after their videos, or their trials."""
  if not asked.own:
    return [recording.trial_id for recording in asked.manifest.recordings]
  found: list = []
  for recording in asked.manifest.recordings:
    stem = recording.video.stem if recording.video else 'signals'
    known, name = {x.casefold() for x in found}, stem
    number = 2
    while name.casefold() in known:
      name, number = f'{stem}-{number}', number + 1
    found.append(name)
  return found


def _estimates(model, corpus, recording, found, hop, features, preparing):
  trial, timing = found.trial, {'prepare': preparing}
  began = time.monotonic()
  spans, windows = model.spans(trial, hop), model.windows(trial, hop)
  if len(windows) > 1 and 'signals' in trial.streams:
    windows = _with_signals(model, corpus, recording, windows, spans)
  notes = [lacking(model, window, trial.streams) for window in windows]
  scores = scores_of(model, corpus, windows, notes, features)
  timing['models'] = time.monotonic() - began
  starts, ends = np.array(spans).T
  course = None
  if model.target.level == 'frame':
    of_windows = [finished(model, x) for x in scores]
    course = course_of(model, trial, windows, scores)
    if hop is not None and len(windows) > 1:
      course = mean_course(starts, of_windows, len(course), model.target.rate)
    edges = np.round(np.stack([starts, ends], 1) * model.target.rate).astype(int)
    said = [x[: b - a].mean(0) for x, (a, b) in zip(of_windows, edges, strict=True)]
    for text, (first, last) in zip(notes, edges, strict=True):
      if text:
        course[first:last] = np.nan
  else:
    said = np.array(model.target.finished(scores), float)
  said = np.where(np.array(notes, bool)[:, None, None], np.nan, np.stack(said))
  began = time.monotonic()
  times, faces, boxes, who, others = seen(corpus, recording, found)
  timing['frames'] = time.monotonic() - began
  return Estimates(
    found=found,
    seconds=trial.seconds,
    starts=starts,
    ends=np.minimum(ends, trial.seconds),
    windows=said,
    course=course,
    face_shares=np.array([face_share(window) for window in windows]),
    times=times,
    onset=recording.video_onset,
    faces=faces,
    boxes=boxes,
    timing=timing,
    who=who,
    others=others,
    features=features,
    notes=notes,
  )


def _with_signals(model, corpus, recording, windows, spans):
  """Windows with signals that are prepared for each alone."""
  facts, channels = model.metadata['streams']['signals'], {}
  for name in facts['channels']:
    if name in recording.channels and name in corpus.units:
      channel = channel_of(recording, name)
      times = channel.times - onset(recording, channel)
      channels[name] = dataclasses.replace(channel, times=times)
  found = []
  for window, span in zip(windows, spans, strict=True):
    series, _ = window_signals(channels, *span, facts, model.config.data.clean)
    streams = window.streams | {'signals': series}
    found.append(dataclasses.replace(window, streams=streams))
  return found


def scores_of(model, corpus, windows, notes, directory):
  """What `Ensemble.predict` says of windows; 0 of those with a note, not read at all.

  Args:
    notes: of each window, why nothing can be said of it, or ''.
    directory: pathlib.Path, as of `Ensemble.predict`.
  """
  kept = [place for place, text in enumerate(notes) if not text]
  target = model.target
  shape = len(windows), len(model.members), len(target.ratings)
  if target.level == 'frame':
    labels = round(model.seconds * target.rate)
    shape = (*shape[:2], labels, shape[2])
  scores = np.zeros(shape)
  if kept:
    scores[kept] = model.predict(corpus, [windows[i] for i in kept], directory)
  return scores


def finished(model, scores):
  """What is said of one window of a target in time: float [L, M, K] of [M, L, K]."""
  return np.stack([model.target.finished(x) for x in scores], axis=1)


def course_of(model, trial, windows, scores):
  """Predictions in time of a whole recording: float [L, M, K]."""
  target = model.target
  _, (whole,) = joined(windows, np.moveaxis(scores, 2, 1), target)
  course = finished(model, np.moveaxis(whole, 1, 0))
  count = max(span_count(x, target.rate) for x in trial.streams.values())
  return course[:count]


def mean_course(starts, windows, count, rate):
  """The mean over the windows that hold a label: float [count, M, K]."""
  total, number = np.zeros((count, *windows[0].shape[1:])), np.zeros((count, 1, 1))
  for start, own in zip(np.round(starts * rate).astype(int), windows, strict=True):
    own = own[: count - start]
    total[start : start + len(own)] += own
    number[start : start + len(own)] += 1
  return total / np.maximum(number, 1)


def temporary():
  """A folder for what is prepared on the way."""
  return tempfile.TemporaryDirectory(prefix='mvp_jax-', ignore_cleanup_errors=True)


def several(paths):
  """A path, or several, as a list of pathlib.Path."""
  if isinstance(paths, str | Path):
    return [Path(paths)]
  return [Path(path) for path in paths or ()]
