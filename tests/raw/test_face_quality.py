import numpy as np
import pytest

from mvp_jax.raw.face_quality import QUALITY, face_quality


def boxes_of(x, y, side=80.0):
  return np.column_stack([x, y, np.full(len(x), side)])


def quality(valid, boxes=None, aspect=1.0, marks=None):
  times = np.arange(len(valid)) / 10
  boxes = boxes_of(times, times) if boxes is None else boxes
  marks = np.zeros((len(valid), 3), bool) if marks is None else marks
  return face_quality(times, np.array(valid, bool), boxes, marks, aspect, 1.6)


def test_gaps_are_counted_and_measured():
  found = quality([1, 1, 0, 0, 0, 1, 1, 1, 0, 0])
  assert found['face_share'] == pytest.approx(0.5)
  assert (found['face_gaps'], found['longest_gap']) == (2, pytest.approx(0.3))
  assert found['face_pixels'] == pytest.approx(50)  # 80 / 1.6
  whole = quality([1] * 10)
  assert (whole['face_share'], whole['face_gaps'], whole['longest_gap']) == (1, 0, 0)
  assert quality([0] * 10)['longest_gap'] == pytest.approx(1.0)
  assert quality([0])['face_gaps'] == 1


def test_an_even_move_is_no_jitter():
  t = np.arange(50)
  found = quality([1] * 50, boxes_of(3.0 * t, 200 - 2.0 * t))
  assert found['face_jitter'] == pytest.approx(0, abs=1e-6)


def test_jitter_of_noise():
  # Second differences of white noise have 1 + 4 + 1 times its variance, in two
  # directions, over a face of 50 pixels.
  noise = np.random.default_rng(0).normal(0, 2, (2, 20_000))
  found = quality([1] * 20_000, boxes_of(noise[0] / 1.25, noise[1]), aspect=1.25)
  assert found['face_jitter'] == pytest.approx(np.sqrt(12) * 2 / 50, rel=0.02)
  # What happens in and around gaps does not count.
  valid = np.arange(20_000) % 2 == 0
  assert quality(valid, boxes_of(*noise))['face_jitter'] == 0


@pytest.mark.parametrize(
  ('column', 'count', 'flags'),
  [
    (0, 29, 'good'),
    (0, 50, 'the picture is frozen for 5 s'),
    (1, 29, 'good'),
    (1, 40, 'as still as a photograph 40%'),
    (2, 20, 'a bigger still face passed by 20%'),
  ],
)
def test_flags_of_pictures_that_do_not_live(column, count, flags):
  marks = np.zeros((100, 3), bool)
  marks[-count:, column] = True
  found = quality([1] * 100, marks=marks)
  assert found['face_flags'] == flags
  numbers = [found[x] for x in ('frozen_seconds', 'still_share', 'passing_share')]
  expected = [0.0] * 3
  expected[column] = count / (10 if column == 0 else 100)
  assert numbers == pytest.approx(expected)


def test_every_fact_has_a_column():
  assert set(quality([1])) | {'broken_packets'} == set(QUALITY)
