"""The archive's sequences as trials: faces, and the pain of every frame."""

import numpy as np

from mvp_jax.corpora.rated_in_time import FRAMES, OPENFACE, RATED, RatedInTime, Step
from mvp_jax.corpora.unbc.tree import (
  UNITS,
  Sequence,
  find_tree,
  fingerprint,
  pspi,
  read_facs,
  read_labels,
)
from mvp_jax.outcomes import Dropped
from mvp_jax.raw.action_units import picture_units
from mvp_jax.raw.frames import MIN_FACE_SHARE, pack_frames
from mvp_jax.raw.numbered import picture_faces
from mvp_jax.raw.on_disk import shown
from mvp_jax.tasks import load_result


def frame_numbers(sequence: Sequence):
  """The numbers of all frames, from the first picture or label to the last: range.

  Raises:
    Dropped: missing_video or missing_rating, if there is no picture or no label;
      no_face, if most pictures are missing.
  """
  if sequence.images is None:
    raise Dropped(
      'missing_video',
      f'{sequence.trial_id}: no folder Images/{sequence.person}/{sequence.trial_id}; '
      'unpack the pictures of the archive',
    )
  images, _ = sequence.image_files()
  if not images:
    raise Dropped(
      'missing_video',
      f'{shown(sequence.images)}: no picture in it ({sequence.trial_id}001.png)',
    )
  numbers, _, _ = read_labels(sequence)
  both = {*images, *numbers.tolist()}
  found = range(min(both), max(both) + 1)
  if len(images) < MIN_FACE_SHARE * len(found):
    raise Dropped(
      'no_face',
      f'{shown(sequence.images)}: {len(images)} pictures for {len(found)} frames, '
      f'number {found[0]} to {found[-1]}; name those rightly that are not, or take the '
      'official ones',
    )
  return found


def rated_sequence(sequence: Sequence, video_rate):
  """The pain of each frame and when it is shown, as arrays; and action units.

  Raises:
    Dropped: there is none, or it cannot be read.
  """
  labelled, values, notes = read_labels(sequence)
  numbers = frame_numbers(sequence)
  images, others = sequence.image_files()
  places = labelled - numbers[0]
  course = np.zeros((len(numbers), 1), np.float32)
  rated = np.zeros(len(numbers), bool)
  course[places, 0], rated[places] = values, True
  if others:
    notes.append(f'{len(others)} pictures are of no frame, such as {others[0].name}')
  for what, count in (
    ('pictures have no label', len(set(images) - set(labelled.tolist()))),
    ('labels have no picture', len(set(labelled.tolist()) - set(images))),
  ):
    if count:
      notes.append(f'{count} {what}')
  units, told = read_facs(sequence, numbers)
  there = rated & np.isfinite(units).all(1)
  differing = int((pspi(units[there]) != course[there, 0]).sum())
  if differing:
    notes.append(f'{differing} labels are not what their action units give')
  return {
    'values': course,
    'rated': rated,
    'times': (np.arange(len(numbers)) / video_rate).astype(np.float32),
    'units': units if np.isfinite(units).any() else units[:0],
    'notes': np.array('; '.join([*notes, *told])),
  }


def found_faces(sequence: Sequence, spec, video_rate):
  """The person's face, cut out of the pictures. Raises Dropped."""
  numbers = frame_numbers(sequence)
  images, _ = sequence.image_files()
  where = shown(sequence.images)
  return pack_frames(picture_faces(images, numbers, video_rate, spec, where))


def openface_units(sequence: Sequence, video_rate):
  """What OpenFace says of the pictures, on their clock. Raises Dropped."""
  numbers = frame_numbers(sequence)
  images, _ = sequence.image_files()
  times = (np.array([*images]) - numbers[0]) / video_rate
  return picture_units(sequence.openface, times, len(numbers) / video_rate)


class UnbcTrials(RatedInTime):
  """The sequences of the archive. Raises InputError."""

  unit = 'sequences'

  def __init__(self, manual_dir, wanted):
    csvs = wanted.settings.openface_dir if 'action_units' in wanted.streams else None
    self.tree, self.wanted = find_tree(manual_dir, csvs), wanted
    self.trials = list(self.tree.sequences)
    self.marker = self.tree.marker

  @property
  def fingerprint(self):
    return fingerprint(self.tree)

  def about(self, trial):
    return {'person': trial.person}

  def steps(self):
    rate, spec = self.wanted.settings.video_rate, self.wanted.faces
    steps = [Step('Ratings', RATED, rated_sequence, (rate,))]
    if spec is not None:
      steps.append(Step('Faces', FRAMES, found_faces, (spec, rate)))
    if 'action_units' in self.wanted.streams:
      steps.append(Step('Action units', OPENFACE, openface_units, (rate,)))
    return steps

  def files(self, trial):
    return tuple(trial.all_files())

  def example(self, outcome):
    trial = outcome.trial
    with load_result(self.directory / RATED, trial.trial_id) as arrays:
      units = arrays['units']
    return super().example(outcome) | {'person': trial.person, 'facs': units}

  def metadata(self, outcomes):
    return {'facs_units': list(UNITS)}
