"""A plain folder of video files: which there are, and their frames."""

import dataclasses
import hashlib
import sys
from pathlib import Path

from mvp_jax.corpora.corpus import MARKER, Source, identity
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Outcome
from mvp_jax.raw.frames import frame_facts, load_frames, pack_frames, whole_frames
from mvp_jax.raw.on_disk import files_below, require_link, require_names, shown
from mvp_jax.tasks import Task, load_result, run_tasks

# By their endings, for FFmpeg takes many a text or picture for a video.
ENDINGS = frozenset(
  (
    *('.3g2', '.3gp', '.asf', '.avi', '.divx', '.dv', '.f4v', '.flv', '.m2ts', '.m2v'),
    *('.m4v', '.mjpeg', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.mts', '.mxf'),
    *('.ogm', '.ogv', '.rm', '.rmvb', '.ts', '.vob', '.webm', '.wmv'),
  )
)


@dataclasses.dataclass(frozen=True)
class VideoFile:
  """A video file as a trial. `path` is relative to the folder, with slashes.

  `subject`: one for all files of a folder of the first level, and for each file
  that lies in none; numbers from 1 in the order of names.
  """

  trial_id: str
  subject: int
  trial: int
  path: str


def _find(root):
  """The video files below a folder, not hidden: (VideoFiles, {other ending: count}).

  Raises:
    InputError: there is none, or a link or a name that can't be followed.
  """
  found, others = [], {}
  for path in files_below(root):
    require_link(path)
    if path.suffix.lower() in ENDINGS:
      found.append(path.relative_to(root))
    else:
      ending = shown(path.suffix)
      others[ending] = others.get(ending, 0) + 1
  require_names(root, found)
  if not found:
    seen = (
      ', '.join(
        f'{n} {ending or "without ending"}' for ending, n in sorted(others.items())
      )
      or 'nothing'
    )
    raise InputError(
      f'{root}: no video file (found: {seen}); endings that are read: '
      f'{" ".join(sorted(ENDINGS))}'
    )
  videos, first, subject, trial = [], None, 0, 0
  for path in sorted(found, key=lambda path: path.parts):
    if path.parts[0] != first or len(path.parts) == 1:
      first, subject, trial = path.parts[0], subject + 1, 0
    trial += 1
    videos.append(
      VideoFile(f's{subject:04d}_video{trial:04d}', subject, trial, path.as_posix())
    )
  return tuple(videos), others


def task_name(video):
  """The name of a video's result: stays when other videos come or go."""
  return hashlib.sha256(video.path.encode()).hexdigest()[:24]


def _frames(path, rate, short_side, least):
  return pack_frames(whole_frames(path, rate, short_side, least))


class Videos(Source):
  """The videos of a folder, each a trial.

  Raises:
    InputError: there is no such folder, or no video in it.
  """

  def __init__(self, manual_dir, wanted):
    self.root, self.wanted = Path(manual_dir), wanted
    if not self.root.is_dir():
      raise InputError(f'{self.root}: no such folder; give one that holds video files')
    self.trials, self.others = _find(self.root)
    above = self.root.resolve()
    twin = any((folder / MARKER).exists() for folder in (above, *above.parents))
    self.marker = {} if twin else None

  @property
  def fingerprint(self):
    digest = hashlib.sha256(repr(self.marker is not None).encode())
    for video in self.trials:
      path = self.root / video.path
      size = path.stat().st_size if path.is_file() else 'missing'
      digest.update(f'{video.path} {size}\n'.encode())
    return digest.hexdigest()[:16]

  def people(self):
    """Of each subject, a name for each video."""
    names = {}
    for video in self.trials:
      path = self.root / video.path
      found = names.setdefault(video.subject, [])
      if path.is_file():
        found.append(identity(path))
    return names

  def about(self, trial):
    return {'video': trial.path}

  def prepare(self, directory, engine):
    self.directory, wanted = directory, self.wanted
    if self.others:
      others = ', '.join(
        f'{n} {ending or "without"}' for ending, n in sorted(self.others.items())
      )
      print(
        f'{self.root}: {len(self.trials)} videos; not read, for their '
        f'endings: {others}',
        file=sys.stderr,
      )
    options = wanted.frame_rate, wanted.frame_size, wanted.settings.min_frames
    tasks = []
    for video in self.trials:
      path = self.root.resolve() / video.path
      tasks.append(Task(task_name(video), (path, *options), (path,)))
    drops = run_tasks(_frames, tasks, directory, 'Videos', 'videos', engine)
    return [self._outcome(*one) for one in zip(self.trials, drops, strict=True)]

  def _outcome(self, video, dropped):
    if dropped is not None:
      return Outcome(video, dropped.code, dropped.reason, {})
    facts = frame_facts(self.directory, task_name(video))
    with load_result(self.directory, task_name(video)) as arrays:
      height, width = arrays['size'].tolist()
    return Outcome(
      video, 'ok', '', facts | {'stored_height': height, 'stored_width': width}
    )

  def example(self, outcome):
    return {'source': {'video': outcome.trial.path}}

  def frames(self, outcome, stream):
    return load_frames(self.directory, task_name(outcome.trial))
