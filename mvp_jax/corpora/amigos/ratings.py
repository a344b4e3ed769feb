"""What AMIGOS says of a trial and of a person: ratings, segments, questionnaires."""

import csv
import io
import re

import numpy as np

from mvp_jax.corpora.amigos.tree import BASELINE_SECONDS
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped
from mvp_jax.raw.on_disk import read_text

# The self-assessment, in its order; from 1 to 9, and emotions as 0 or 1.
RATINGS = (
  *('arousal', 'valence', 'dominance', 'liking', 'familiarity', 'neutral'),
  *('disgust', 'happiness', 'surprise', 'anger', 'fear', 'sadness'),
)
SCALES = 5
# The mean over the segments of the external annotation, from -1 to 1.
EXTERNAL = ('external_valence', 'external_arousal')
SEGMENT_SECONDS = 20.0
_LATE_SECONDS = 1.5  # by which signals may be shorter or longer than the stimulus


def self_ratings(path, video_id, values):
  """The self-assessment of a trial: {name: float} by `RATINGS`.

  Arousal and valence must be there, the others may be NaN. Raises Dropped.
  """
  where = f'{path}: VideoID {video_id}'
  if not values.size:
    raise Dropped('missing_rating', f'{where}: labels_selfassessment is empty')
  if len(values) != len(RATINGS):
    raise Dropped(
      'bad_rating',
      f'{where}: labels_selfassessment has {len(values)} numbers, not {len(RATINGS)}',
    )
  ratings = dict(zip(RATINGS, values.tolist(), strict=True))
  for place, (name, value) in enumerate(ratings.items()):
    least, most = (1, 9) if place < SCALES else (0, 1)
    blank_is_fine = place > 1 and np.isnan(value)
    if not (least <= value <= most or blank_is_fine):
      raise Dropped(
        'bad_rating',
        f'{where}: {name} is {value:g}, not a number from {least} to {most}',
      )
  return ratings


def external_ratings(path, video_id, values, seconds):
  """What others saw in the segments of a trial of some seconds.

  Args:
    path, video_id: for messages.
    values: float [segments, 3]: index from 1, valence, arousal.

  Returns:
    times float32 [segments, 2], start and end in seconds since the onset, and
    ratings float32 [segments, 2], valence and arousal in -1..1.

  Raises:
    Dropped: missing_rating or bad_rating.
  """
  where = f'{path}: VideoID {video_id}'
  if not values.size:
    raise Dropped('missing_rating', f'{where}: labels_ext_annotation is empty')
  if values.ndim != 2 or values.shape[1] != 3:
    raise Dropped(
      'bad_rating', f'{where}: labels_ext_annotation {values.shape}, not (segments, 3)'
    )
  values = values[np.argsort(values[:, 0], kind='stable')]
  if not np.array_equal(values[:, 0], np.arange(1, len(values) + 1)):
    raise Dropped(
      'bad_rating',
      f'{where}: the segments of labels_ext_annotation are not '
      f'numbered 1 to {len(values)}',
    )
  if not (np.abs(values[:, 1:]) <= 1).all():
    raise Dropped(
      'bad_rating', f'{where}: labels_ext_annotation has values outside of -1..1'
    )
  times = segment_times(len(values), seconds)
  if times is None:
    raise Dropped(
      'bad_rating',
      f'{where}: labels_ext_annotation has {len(values)} '
      f'segments, {seconds:.1f} s have {int(seconds // SEGMENT_SECONDS) + 2}',
    )
  return times, values[:, 1:].astype(np.float32)


def segment_times(count, seconds):
  """Where the segments of the external annotation lie: float32 [count, 2], seconds.

  The first is the 5 s before the onset and 15 s after it, then come whole blocks of
  20 s from the onset on, and the last is the final 20 s. None if `count` does not fit a
  stimulus of so many seconds.
  """
  fitting = {
    int((seconds + late) // SEGMENT_SECONDS) + 2
    for late in (-_LATE_SECONDS, 0, _LATE_SECONDS)
  }
  if count not in fitting:
    return None
  starts = [
    -BASELINE_SECONDS,
    *(SEGMENT_SECONDS * np.arange(count - 2)),
    seconds - SEGMENT_SECONDS,
  ]
  return np.array([(start, start + SEGMENT_SECONDS) for start in starts], np.float32)


def read_sheets(tree):
  """Tables of personality and PANAS: {subject as text: {column: number}}, {} if none.

  Raises InputError if one can't be read, or no column numbers the participants.
  """
  people = {}
  for name in tree.sheets:
    path = tree.root / name
    try:
      rows = list(csv.reader(io.StringIO(read_text(path))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
      raise InputError(
        f'{path}: cannot be read ({error}); save it as CSV in UTF-8, or take it away'
      ) from None
    header = [title.strip() for title in rows[0]] if rows else []
    key = next(
      (
        i
        for i, title in enumerate(header)
        if re.fullmatch(
          r'((participant|user|subject)\W*(id|number)?s?|id)', title, re.IGNORECASE
        )
      ),
      None,
    )
    if key is None:
      raise InputError(
        f'{path}: no column "Participant" in its first line (it has '
        f'{", ".join(header) or "none"}); name it so, or take it away'
      )
    for row in rows[1:]:
      subject = (
        re.fullmatch(r'\s*P?0*(\d{1,9})\s*', row[key]) if len(row) > key else None
      )
      if subject:
        numbers = {
          title: _number(text)
          for i, (title, text) in enumerate(zip(header, row, strict=False))
          if i != key and title
        }
        people.setdefault(subject[1], {}).update(
          {title: value for title, value in numbers.items() if value is not None}
        )
  return people


def _number(text):
  try:
    value = float(text)
  except ValueError:
    return None
  return value if np.isfinite(value) else None
