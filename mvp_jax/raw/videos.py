"""A plain folder of video files: which there are, and their frames."""

import dataclasses
import hashlib
import os
from pathlib import Path

from mvp_jax.errors import InputError
from mvp_jax.raw.frames import frame_facts, pack_frames, whole_frames
from mvp_jax.raw.losses import Outcome
from mvp_jax.raw.prepare import Task, load_result, run_tasks

# By their endings, for FFmpeg takes many a text or picture for a video.
ENDINGS = frozenset(
  '.' + ending
  for ending in (
    '3g2',
    '3gp',
    'asf',
    'avi',
    'divx',
    'dv',
    'f4v',
    'flv',
    'm2ts',
    'm2v',
    'm4v',
    'mjpeg',
    'mkv',
    'mov',
    'mp4',
    'mpeg',
    'mpg',
    'mts',
    'mxf',
    'ogm',
    'ogv',
    'rm',
    'rmvb',
    'ts',
    'vob',
    'webm',
    'wmv',
  )
)
_MARKER = 'SYNTHETIC.json'


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


@dataclasses.dataclass(frozen=True)
class Folder:
  """A folder of videos. `others`: endings of files that are no videos, counted."""

  root: Path
  videos: tuple[VideoFile, ...]
  others: dict
  synthetic: bool  # it is, or lies in, a twin


def find_videos(root):
  """Finds the video files below a folder, by their endings; hidden ones are not.

  Raises:
    InputError: there is no such folder, or no video in it.
  """
  root = Path(root)
  if not root.is_dir():
    raise InputError(f'{root}: no such folder; give one that holds video files')
  found, others = [], {}
  for folder, names, files in os.walk(root):
    names[:] = [name for name in names if not name.startswith('.')]
    for name in files:
      path = Path(folder, name).relative_to(root)
      if path.suffix.lower() in ENDINGS and not name.startswith('.'):
        found.append(path)
      else:
        others[path.suffix] = others.get(path.suffix, 0) + 1
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
  synthetic = any(
    (folder / _MARKER).exists() for folder in (root.resolve(), *root.resolve().parents)
  )
  return Folder(root, tuple(videos), others, synthetic)


def fingerprint(folder):
  """A short hash of the videos' names and sizes."""
  digest = hashlib.sha256(repr(folder.synthetic).encode())
  for video in folder.videos:
    size = (folder.root / video.path).stat().st_size
    digest.update(f'{video.path} {size}\n'.encode())
  return digest.hexdigest()[:16]


def prepare_videos(folder, rate, short_side, least, directory, workers=None):
  """Decodes every video; results stay in `directory` until all is written.

  Args:
    folder: Folder.
    rate, short_side, least: see `frames.whole_frames`.
    directory: for the results of single videos; a killed run continues there.
    workers: processes, by default as many as there are processors.

  Returns:
    list of losses.Outcome, one per video and in the same order.
  """
  tasks = []
  for video in folder.videos:
    path = folder.root.resolve() / video.path
    tasks.append(Task(task_name(video), (path, rate, short_side, least), (path,)))
  losses = run_tasks(_frames, tasks, directory, 'Videos', 'videos', workers)
  return [
    _outcome(video, loss, directory)
    for video, loss in zip(folder.videos, losses, strict=True)
  ]


def task_name(video):
  """The name of a video's result: stays when other videos come or go."""
  return hashlib.sha256(video.path.encode()).hexdigest()[:24]


def _frames(path, rate, short_side, least):
  return pack_frames(whole_frames(path, rate, short_side, least))


def _outcome(video, loss, directory):
  if loss is not None:
    return Outcome(video, loss.code, loss.reason, {})
  facts = frame_facts(directory, task_name(video))
  with load_result(directory, task_name(video)) as arrays:
    height, width = arrays['size'].tolist()
  return Outcome(
    video, 'ok', '', facts | {'stored_height': height, 'stored_width': width}
  )
