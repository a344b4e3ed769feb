"""Action units that OpenFace 2.x has written as a CSV.

Baltrusaitis et al., "OpenFace 2.0: Facial Behavior Analysis Toolkit", FG 2018. The
file comes from `FeatureExtraction -f VIDEO -aus`, or `FaceLandmarkVidMulti` where
several faces are in the picture; older exports without `face_id` are read too.
"""

import dataclasses
import re
import warnings
from pathlib import Path

import numpy as np

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.on_disk import require_file
from mvp_jax.raw.text_table import PRECISION, layout, numbers, require_lines

# The order of the columns of `ActionUnits`, by FACS number.
INTENSITIES = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
PRESENCES = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 28, 45)
MIN_CONFIDENCE = 0.75  # below it, the authors advise, a row is no measurement

_R = tuple(f'AU{n:02d}_r' for n in INTENSITIES)
_C = tuple(f'AU{n:02d}_c' for n in PRESENCES)
CHANNELS = (*_R, *_C)  # of a row: intensities, then presences
_NEEDED = ('frame', 'timestamp', 'confidence', 'success', *CHANNELS)
# As spreadsheets write them in other languages.
_TRUTHS = dict.fromkeys(
  ('WAHR', 'VRAI', 'VERDADERO', 'VERDADEIRO', 'VERO', 'WAAR', 'SANT', 'SAND', 'PRAWDA'),
  '1',
) | dict.fromkeys(
  ('FALSCH', 'FAUX', 'FALSO', 'ONWAAR', 'FALSKT', 'FALSK', 'FAŁSZ'), '0'
)
_HEAD = 1 << 18  # bytes in which the layout shows
# Numbers of frames may be so many times those of rows, and always so large.
_MOST_FRAMES, _ALWAYS_FRAMES = 10, 100_000
_RATES = 0.2, 1000.0  # frames a second that a video can have
_LATE_FRAMES = 5  # by which OpenFace and our decoder may differ at the end
_MAX_MISSING = 2.0  # seconds at the end without any row


@dataclasses.dataclass(frozen=True)
class ActionUnits:
  """The action units of one face, a row per video frame; 0 where not valid.

  Attributes:
    times: [n], seconds since the video's first frame.
    intensities: float32 [n, 17] from 0 to 5, in the order of `INTENSITIES`.
    presences: [n, 18], 0 or 1, in the order of `PRESENCES`.
    valid: bool [n], a face was tracked there with confidence.
    face: the face_id chosen (by place: of most rows), 0 where the file has none.
  """

  times: np.ndarray
  intensities: np.ndarray
  presences: np.ndarray
  valid: np.ndarray
  face: int = 0


def measured(values):
  """bool [n]: which rows of float [n, 35], as `CHANNELS`, can be a measurement."""
  intensities, presences = np.split(values, [len(INTENSITIES)], axis=1)
  known = np.isfinite(values).all(1) & (values >= 0).all(1)
  return known & (intensities <= 5).all(1) & (presences <= 1).all(1)


def read_openface(path, frame_times=None, face=None, between=None):
  """Reads the action units of one face.

  Args:
    path: the CSV.
    frame_times: float [frames], seconds of all frames of the video; row `frame` k
      belongs to the k-th. Or a function that gives them for the last `frame` of the
      CSV (`video_times.VideoTimes.numbered`). Without it OpenFace's timestamps count,
      which older versions make up.
    face: the face_id wanted; None = that with most valid rows (of equal ones the
      largest).
    between: instead of `face`, for people who sit side by side: left and right pixel
      between which the face's middle lies. OpenFace gives the number of a face that
      it lost to another one, so that a number alone is nobody for sure.

  Returns:
    ActionUnits.

  Raises:
    Dropped: missing_openface, broken_openface or length_mismatch.
  """
  path = Path(path)
  table = _table(path)
  rows = {name: table[name].to_numpy(np.float64) for name in _NEEDED}
  frames = rows['frame']
  if not (
    np.isfinite(frames).all()
    and (frames == np.round(frames)).all()
    and frames.min() >= 1
  ):
    raise _broken(path, 'column frame: not whole numbers from 1')
  if frames.max() > max(_ALWAYS_FRAMES, _MOST_FRAMES * len(frames)):
    raise _broken(
      path, f'column frame: {frames.max():.0f} in {len(frames)} rows; write it anew'
    )
  values = np.stack([rows[name] for name in CHANNELS], 1)
  with np.errstate(invalid='ignore'):
    tracked = (rows['success'] == 1) & (rows['confidence'] >= MIN_CONFIDENCE)
    valid = tracked & measured(values)
  _check_ranges(path, values[tracked])
  last = int(frames.max())
  if callable(frame_times):
    frame_times = frame_times(last)
  if (
    frame_times is not None
    and last < len(frame_times)
    and (frame_times[-1] - frame_times[last - 1] > _MAX_MISSING)
  ):
    raise Dropped(
      'length_mismatch',
      f'{path}: it ends at frame {last}, the video has '
      f'{len(frame_times)}; was OpenFace stopped? Run it again',
    )
  if between is None:
    chosen, face = _choose(path, table, valid, face)
  else:
    chosen, face = _choose_between(path, table, valid, between)
  index, values, valid = frames[chosen].astype(int) - 1, values[chosen], valid[chosen]
  if len(np.unique(index)) < len(index):
    raise _broken(path, 'several rows for one frame and face; write it anew')
  count = index.max() + 1
  if frame_times is None:
    order = np.argsort(index)
    stamps = rows['timestamp'][chosen][order]
    if not np.isfinite(stamps).all() or (np.diff(stamps) <= 0).any():
      raise _broken(path, 'column timestamp: it does not advance with the frames')
    if len(stamps) > 1:
      rate = np.ptp(index) / np.ptp(stamps)
      if not _RATES[0] <= rate <= _RATES[1]:
        raise _broken(
          path, f'column timestamp: {rate:.3g} frames a second; write it anew'
        )
    times = np.interp(np.arange(count), index[order], stamps)
  else:
    if count > len(frame_times) + _LATE_FRAMES:
      raise _broken(
        path,
        f'it has frame {count}, the video only {len(frame_times)}; '
        'is it of another video?',
      )
    times, count = np.asarray(frame_times, np.float64), len(frame_times)
    inside = index < count
    index, values, valid = index[inside], values[inside], valid[inside]
  found = np.zeros((count, values.shape[1]), np.float32)
  good = np.zeros(count, bool)
  good[index] = valid
  found[index[valid]] = values[valid]
  return ActionUnits(times, found[:, :17], found[:, 17:], good, face)


def _table(path):
  import pandas

  require_file(path, 'openface')
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      require_lines(path)
      with path.open('rb') as file:
        encoding, delimiter, line = layout(file.read(_HEAD))
      how = {
        'sep': r'\s+' if delimiter == ' ' else delimiter,
        'encoding': encoding,
        'skipinitialspace': True,
        'compression': None,
      }
      header = pandas.read_csv(path, nrows=0, skiprows=line, **how)
      names = [str(name).strip().lstrip('\ufeff') for name in header.columns]
      _check_layout(path, names)
      wanted = {*_NEEDED, 'face_id', 'x_0', 'x_16'}
      table = pandas.read_csv(
        path,
        skiprows=line + 1,
        header=None,
        names=names,
        index_col=False,
        usecols=[n for n in names if n in wanted],
        decimal='.' if delimiter == ',' else ',',
        float_precision=PRECISION,
        **how,
      )
    table = table.apply(_numbers)
  except Dropped:
    raise
  except Exception as error:  # noqa: B902  pandas raises many kinds
    told = ' '.join(str(error).split())[:150]
    raise _broken(path, f'cannot be read ({told})') from None
  if not len(table):
    raise _broken(path, 'it has no row')
  return table


def _numbers(column):
  import pandas

  if pandas.api.types.is_numeric_dtype(column):
    return column
  if column.name == 'success':
    column = column.map(lambda cell: _TRUTHS.get(cell, cell))
  values, problem = numbers(column.fillna('').astype(str).str.strip())
  if problem:
    raise ValueError(f'{column.name}: {problem}')
  return pandas.Series(values, column.index)


def _check_ranges(path, values):
  """Raises Dropped if every row with a face, float [row, 35], has what can't be."""
  intensities, presences = np.split(values, [len(_R)], axis=1)
  with np.errstate(invalid='ignore'):
    over, other = intensities > 5, presences > 1
  for wrong, found, names, told in (
    (
      over,
      intensities,
      _R,
      ('is above 5', 'intensities of OpenFace 2.x go from 0 to 5'),
    ),
    (other, presences, _C, ('is above 1', 'presences are 0 or 1')),
  ):
    if not len(wrong) or not wrong.any(1).all():
      continue
    worst = int(wrong.sum(0).argmax())
    bad = found[wrong[:, worst], worst]
    raise _broken(
      path,
      f'{names[worst]} {told[0]} in {len(bad)} of {len(wrong)} rows with a face, such '
      f'as {bad[0]:g}; {told[1]}: write it anew with that',
    )


def _check_layout(path, names):
  missing = [name for name in _NEEDED if name not in names]
  if not missing:
    return
  other = [name for name in names if re.fullmatch(r'AU_?\d+', name)]
  if other:
    raise _broken(
      path,
      f'columns such as {other[0]} are not of OpenFace 2.x but of OpenFace 3, Py-Feat '
      'or LibreFace, whose numbers mean something else; write it with OpenFace 2.x',
    )
  raise _broken(
    path,
    f'no column {missing[0]} ({len(missing)} of {len(_NEEDED)} are '
    'missing); write it with OpenFace 2.x: FeatureExtraction -f VIDEO -aus',
  )


def _choose(path, table, valid, face):
  """The rows of one face: bool [rows], and its face_id."""
  if 'face_id' not in table:
    if face not in (None, 0):
      raise _broken(path, f'it has no column face_id to look for face {face} in')
    return np.ones(len(table), bool), 0
  ids = table['face_id'].to_numpy(np.float64)
  if not (np.isfinite(ids).all() and (ids == np.round(ids)).all()):
    raise _broken(path, 'column face_id: not whole numbers')
  known = np.unique(ids).astype(int)
  if face is None:
    face = max(known, key=lambda i: (valid[ids == i].sum(), _size(table, ids == i), -i))
  elif face not in known:
    raise _broken(path, f'no face {face}; there are {", ".join(map(str, known[:12]))}')
  return ids == face, int(face)


def _choose_between(path, table, valid, between):
  """For each frame the row of the surest face whose middle lies there."""
  if 'x_0' not in table or 'x_16' not in table:
    raise _broken(
      path,
      'it has no landmarks (x_0, x_16) to tell several people apart '
      'by; write it with FaceLandmarkVidMulti -aus -2Dfp',
    )
  ends = table[['x_0', 'x_16']].to_numpy(np.float64)
  middle, size = ends.mean(1), np.ptp(ends, axis=1)
  rows = np.flatnonzero((between[0] <= middle) & (middle < between[1]))
  if not len(rows):
    raise _broken(
      path,
      f'no face between pixels {between[0]:.0f} and {between[1]:.0f} '
      'from the left; is it of another video?',
    )
  frames = table['frame'].to_numpy()
  best_last = rows[
    np.lexsort(
      (size[rows], table['confidence'].to_numpy()[rows], valid[rows], frames[rows])
    )
  ]
  _, first_from_behind = np.unique(frames[best_last][::-1], return_index=True)
  chosen = best_last[::-1][first_from_behind]
  ids = table['face_id'].to_numpy()[chosen] if 'face_id' in table else np.zeros(1)
  ids, counts = np.unique(ids[np.isfinite(ids)], return_counts=True)
  return chosen, int(ids[counts.argmax()]) if len(ids) else 0


def _size(table, rows):
  """The mean width of a face in pixels, 0 where landmarks are not in the file."""
  if 'x_0' not in table or 'x_16' not in table:
    return 0.0
  return float((table['x_16'] - table['x_0'])[rows].abs().mean())


def _broken(path, text):
  return Dropped('broken_openface', f'{path}: {text}')
