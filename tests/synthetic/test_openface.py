"""What the twins say OpenFace wrote: its layout, and the drawn face's expression."""

import csv

import numpy as np
import pytest

from mvp_jax.corpora.amigos.twin_spec import AmigosSpec
from mvp_jax.raw.openface import INTENSITIES, PRESENCES, read_openface
from mvp_jax.synthetic import openface
from mvp_jax.synthetic.expression import expression
from mvp_jax.synthetic.face import face_track
from mvp_jax.synthetic.ratings import latents
from mvp_jax.synthetic.spec import TwinSpec

SPEC = TwinSpec(
  subjects=4, trials=8, frame_rate=5.0, width=160, height=128, pixel_aspect=(1, 1)
)
GROUP = (4, 1, 3, 2)
WATCHING = AmigosSpec(
  subjects=4, stimuli=('U1',), frame_rate=5.0, width=320, height=160, scale=0.1
).watching(1, alone=False)


def rows_of(path):
  with path.open(newline='') as file:
    return list(csv.reader(file))


def unit(values, number):
  return values[:, INTENSITIES.index(number)]


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
  """{(subject, trial): path}."""
  folder = tmp_path_factory.mktemp('alone')
  paths = {
    (s, t): folder / f's{s:02}_trial{t:02}.csv'
    for s in range(1, 5)
    for t in range(1, 9)
  }
  for (subject, trial), path in paths.items():
    openface.write_openface(path, SPEC, subject, trial)
  return paths


@pytest.fixture(scope='module')
def together(tmp_path_factory):
  path = tmp_path_factory.mktemp('together') / 'P(4,1,3,2)_U1_face.csv'
  openface.write_openface_together(path, WATCHING, GROUP, 1)
  return path


def test_layout_is_that_of_feature_extraction(alone):
  header, *rows = rows_of(alone[1, 1])
  assert len(header) == 5 + 17 + 18
  assert header[:6] == [
    'frame',
    ' face_id',
    ' timestamp',
    ' confidence',
    ' success',
    ' AU01_r',
  ]
  assert header[-2:] == [' AU28_c', ' AU45_c']
  assert [int(row[0]) for row in rows] == list(range(1, 301))
  assert rows[3][1:3] == [' 0', ' 0.600'] and {row[4] for row in rows} <= {' 0', ' 1'}
  assert all(len(row[3]) == 5 and len(row[5]) == 5 for row in rows)  # ' 0.98'
  assert {row[-1] for row in rows} <= {' 0.0', ' 1.0'}


def test_layout_is_that_of_several_faces(together):
  header, *rows = rows_of(together)
  assert len(header) == 5 + 2 * 68 + 17 + 18
  assert header[5] == ' x_0' and header[5 + 68] == ' y_0'
  frames = np.array([int(row[0]) for row in rows])
  assert (np.diff(frames) >= 0).all() and np.bincount(frames).max() == 4
  keys = [(row[0], row[1]) for row in rows]
  assert len(set(keys)) == len(keys)


def test_read_back_is_the_truth_within_the_noise(alone):
  errors, lost = [], []
  for (subject, trial), path in alone.items():
    found, truth = read_openface(path), openface.true_units(SPEC, subject, trial)
    np.testing.assert_allclose(found.times, SPEC.frame_times, atol=6e-4)
    assert not found.intensities[~found.valid].any()
    errors.append((found.intensities - truth)[found.valid].mean(0))
    lost.append(1 - found.valid.mean())
    for number in (4, 12, 25, 45):
      course = unit(truth, number)[found.valid]
      if course.std() > 0.4:
        assert (
          np.corrcoef(course, unit(found.intensities, number)[found.valid])[0, 1] > 0.85
        )
  assert 0.005 < np.mean(lost) < 0.1
  # The bias is the person's: about the same in all trials of one, not in others'.
  errors = np.array(errors).reshape(4, 8, 17)
  assert (errors.std(1) < 0.15).all() and errors.mean(1).std(0).mean() > 0.08
  assert 0 < errors.mean() < openface.BIAS + openface.SLOW


def test_units_are_those_of_the_expression_drawn():
  """Signs of the known: AU12 smiles, AU4 and AU15 frown, AU45 shuts the eyes."""
  for trial in range(1, 7):
    shown = expression(SPEC, 1, trial)
    truth = openface.true_units(SPEC, 1, trial)
    assert truth.min() >= 0 and truth.max() <= 5
    for number, course in (
      (12, 'smile'),
      (6, 'smile'),
      (4, 'frown'),
      (15, 'frown'),
      (2, 'brow_raise'),
    ):
      np.testing.assert_array_equal(unit(truth, number) > 0, shown[course] > 0)
    assert (unit(truth, 45) > 2).sum() == (shown['eyes'] < 0.5).sum()


def test_valence_is_in_them_and_arousal_is_not(alone):
  balance, felt = [], []
  for (subject, trial), path in alone.items():
    found = read_openface(path)
    mean = found.intensities[found.valid].mean(0)
    balance.append(mean[INTENSITIES.index(12)] - mean[INTENSITIES.index(4)])
    felt.append(latents(SPEC, subject)[trial - 1])
  valence, arousal = np.corrcoef(balance, np.transpose(felt))[0, 1:]
  assert valence > 0.8 and abs(arousal) < 0.35


def test_presences_go_with_intensities(alone):
  found = read_openface(alone[2, 3])
  shared = [PRESENCES.index(number) for number in INTENSITIES]
  present = found.presences[:, shared] > 0
  assert (found.intensities[present] > 0.5).all()
  assert present[found.intensities > 1.6].all()


def test_people_side_by_side_are_where_they_are_drawn(together):
  numbers = set()
  for seat, subject in enumerate(GROUP):
    found = read_openface(together, between=(160 * seat, 160 * (seat + 1)))
    truth = openface.true_units(WATCHING, subject, 1)[: len(found.valid)]
    assert abs((found.intensities - truth)[found.valid]).mean() < 0.35
    others = [
      openface.true_units(WATCHING, other, 1)[: len(found.valid)]
      for other in GROUP
      if other != subject
    ]
    assert abs((found.intensities - truth)[found.valid]).mean() < min(
      abs((found.intensities - other)[found.valid]).mean() for other in others
    )
    numbers.add(found.face)
  # The jaw's ends are those of the face that is drawn.
  header, *rows = rows_of(together)
  rows = np.array(rows, float)
  first = rows[(rows[:, 0] == 1) & (rows[:, 5] > 160) & (rows[:, 5] < 320)][0]
  x, _, width = face_track(WATCHING, GROUP[1], 1)[0]
  np.testing.assert_allclose(
    [first[5], first[5 + 16]], [160 + x - width / 2, 160 + x + width / 2], atol=0.06
  )


def test_numbers_change_hands(together):
  """So that nobody may be followed by a number alone."""
  _, *rows = rows_of(together)
  rows = np.array(rows, float)
  seats = (rows[:, 5 + 8] // 160).astype(int)  # of the chin
  assert any(len(set(rows[seats == seat, 1])) > 1 for seat in range(4))
