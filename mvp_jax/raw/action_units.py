"""The action units of a corpus' trials: which CSV is whose, and on the trial's clock.

`openface` reads one CSV; `docs/action_units.md` says how to make them.
"""

import contextlib
import dataclasses
from pathlib import Path

import av
import numpy as np

from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped
from mvp_jax.raw.frames import MAX_LENGTH_DIFFERENCE, MIN_FACE_SHARE
from mvp_jax.raw.on_disk import files_below, require_link
from mvp_jax.raw.openface import INTENSITIES, PRESENCES, ActionUnits, read_openface
from mvp_jax.raw.video import Video
from mvp_jax.raw.video_times import video_times
from mvp_jax.tasks import Task, load_result, run_tasks

FOLDER = 'openface'  # in the corpus' own, if none is named
RESULTS = 'action_units'  # folder of what is prepared
_NO_UNITS = ActionUnits(
  np.zeros(0),
  np.zeros((0, len(INTENSITIES)), np.float32),
  np.zeros((0, len(PRESENCES)), np.float32),
  np.zeros(0, bool),
)


@dataclasses.dataclass(frozen=True)
class Csvs:
  """The CSVs of a folder: `paths` by their names without ending."""

  folder: Path
  paths: dict

  def of(self, name):
    """The CSV of a video, or where it should be."""
    return self.paths.get(name, self.folder / f'{name}.csv')


def find_csvs(root, named):
  """Finds the CSVs that OpenFace wrote, however deep in their folder: Csvs.

  The folder is the one named or, with '', `FOLDER` in the corpus' own, `root`. Raises
  InputError if there is none, or two have one name.
  """
  folder = Path(named).resolve() if named else Path(root) / FOLDER
  if not folder.is_dir():
    raise InputError(
      f'{folder}: there is no such folder; put there what OpenFace writes of the '
      'videos (docs/action_units.md), or name another as openface_dir'
    )
  found = {}
  # OpenFace's cut-out faces are a picture each.
  for path in files_below(folder, lambda below: not below.name.endswith('_aligned')):
    require_link(path)
    if path.suffix.lower() != '.csv':
      continue
    if path.stem in found:
      raise InputError(
        f'{folder}: {found[path.stem]} and {path} have one name; keep one of them'
      )
    found[path.stem] = path
  if not found:
    raise InputError(
      f'{folder}: no CSV in it or deeper; run OpenFace on the videos '
      '(docs/action_units.md)'
    )
  return Csvs(folder, found)


def prepare_units(trials, problems, locate, directory, workers=None):
  """Prepares the action units of all trials without a problem.

  `problems` has None or a Dropped for each trial; new ones are put into it. `locate`
  gives the arguments of `trial_units` for a place in the list.
  """
  todo = [i for i, problem in enumerate(problems) if problem is None]
  tasks = []
  for i in todo:
    args = locate(i)
    tasks.append(Task(trials[i].trial_id, args, args[:2]))
  drops = run_tasks(
    trial_units, tasks, directory / RESULTS, 'Action units', 'trials', workers
  )
  for i, dropped in zip(todo, drops, strict=True):
    problems[i] = dropped


def trial_units(csv, video, seconds, onset=0.0, region=None, before=0.0):
  """Reads the action units of one trial.

  Args:
    csv: Path of the CSV.
    video: Path of its video. If that is there, its clock counts, not OpenFace's.
    seconds: of the trial.
    onset: of the stimulus, in seconds since the video's first frame.
    region: of several people the one wanted: left and right edge of the part of the
      picture, as shares of its width. None: the face seen most.
    before: seconds before the onset that are wanted, too.

  Returns:
    dict, see `on_clock`.

  Raises:
    Dropped: missing_openface, broken_openface, length_mismatch, no_face where hardly
      any frame is a measurement, or broken_video where its frames cannot be counted.
  """
  between = None
  if region is not None:
    width = _width(csv, video)
    between = region[0] * width, region[1] * width
  frame_times = None
  if video.is_file():
    with contextlib.suppress(Dropped):  # OpenFace could read it
      frame_times = video_times(video).numbered
  found = read_openface(csv, frame_times, between=between)
  last = found.times[-1] - onset
  if abs(last - seconds) > MAX_LENGTH_DIFFERENCE:
    raise Dropped(
      'length_mismatch',
      f'{csv}: its last frame is {last:.1f} s after the '
      f'onset, the trial lasts {seconds:.1f}; is it of another video, or was '
      'the frame rate not known to OpenFace?',
    )
  arrays = on_clock(found, onset, seconds, before)
  require_faces(csv, arrays)
  return arrays


def picture_units(csv, times, seconds):
  """Reads the action units of a trial that is a folder of pictures.

  Args:
    csv: Path of the CSV. Its frames count the pictures (OpenFace's -fdir), in order.
    times: float [pictures], seconds.
    seconds: of the trial.

  Returns:
    dict, see `on_clock`.

  Raises:
    Dropped: missing_openface, broken_openface, length_mismatch or no_face.
  """
  arrays = on_clock(read_openface(csv, times), 0.0, seconds)
  require_faces(csv, arrays)
  return arrays


def require_faces(csv, arrays):
  """Raises Dropped if hardly any frame is a measurement."""
  valid = arrays['au_valid']
  share = float(valid.mean()) if len(valid) else 0.0
  if share < MIN_FACE_SHARE:
    raise Dropped(
      'no_face',
      f"{csv}: OpenFace is sure of a face in {share:.1%} of the trial's frames",
    )


def on_clock(found, onset, seconds, before=0.0):
  """Cuts ActionUnits to the trial.

  Returns:
    dict: au_times float32 [n] since the onset, from 0 to below `seconds`;
    au_intensities float32 [n, 17], au_presences float32 [n, 18], au_valid bool [n]. If
    so many seconds before the onset are wanted, too, the same of them: before_au_times,
    ... All are empty where `found` is None.
  """
  found = found or _NO_UNITS
  times = (found.times - onset).astype(np.float32)

  def cut(inside):
    return {
      'au_times': times[inside],
      'au_valid': found.valid[inside],
      'au_intensities': found.intensities[inside],
      'au_presences': found.presences[inside],
    }

  arrays = cut((times >= 0) & (times < seconds))
  if before:
    early = cut((times >= -before) & (times < 0))
    arrays |= {f'before_{name}': x for name, x in early.items()}
  return arrays


def load_units(directory, trial_id):
  """What `prepare_units` gave for a trial; see `as_stream`."""
  with load_result(directory / RESULTS, trial_id) as arrays:
    return as_stream(arrays)


def as_stream(arrays):
  """As a series: what `on_clock` gives as values [n, 35], valid [n] and times [n].

  And as before, before_valid and before_times what it gives of the time before the
  onset. The values are those of `openface.CHANNELS`.
  """

  def joined(when):
    names = f'{when}au_intensities', f'{when}au_presences'
    return np.concatenate([arrays[name] for name in names], 1)

  found = {
    'times': arrays['au_times'],
    'values': joined(''),
    'valid': arrays['au_valid'],
  }
  if 'before_au_times' in arrays:
    found |= {
      'before_times': arrays['before_au_times'],
      'before': joined('before_'),
      'before_valid': arrays['before_au_valid'],
    }
  return found


def unit_facts(directory, trial_id):
  """For the account: how many frames there are, and how many measurements."""
  with load_result(directory / RESULTS, trial_id) as arrays:
    valid = arrays['au_valid']
    return {'au_frames': len(valid), 'au_valid': int(valid.sum())}


def _width(csv, video):
  try:
    with Video(video) as opened:
      return opened.info.width
  except (av.FFmpegError, ValueError, OSError):
    raise Dropped(
      'missing_video',
      f'{video}: cannot be read, and {csv} shows several people, who are told apart by '
      'the width of the picture; put the video there',
    ) from None
