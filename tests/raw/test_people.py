"""Faces of several people keep their numbers."""

import numpy as np
import pytest

from mvp_jax.raw.people import People, people_of
from mvp_jax.raw.video import Video

RATE, SECONDS = 5, 24


def people_in(video):
  people, times = People(video.info), []
  for time, frame in video:
    people.add(time, frame)
    times.append(time)
  return np.array(times), people_of(*people.rows)


def scene(draw_face, number, swapped=False):
  """One person sways all the time; a smaller one is away from 6 to 14 s."""
  time = number / RATE
  image = np.full((120, 320, 3), 90, np.uint8)
  image[:, :160] = draw_face(120, 160, 80 + 6 * np.sin(time), 60, 56)
  if not 6 <= time < 14:
    # Comes back in another place, with skin and hair of other colours.
    x = 60 if time < 6 else 110
    other = draw_face(120, 160, x, 62, 46)[..., [1, 0, 2]]
    image[:, 160:] = other
  return np.hstack([image[:, 160:], image[:, :160]]) if swapped else image


@pytest.mark.parametrize('cut', [None, 18.0])
def test_a_face_that_comes_back_is_who_it_was(tmp_path, draw_face, write_video, cut):
  images = [
    scene(draw_face, k, cut is not None and k / RATE >= cut)
    for k in range(SECONDS * RATE)
  ]
  write_video(tmp_path / 'two.mp4', images, RATE)
  with Video(tmp_path / 'two.mp4') as video:
    times, people = people_in(video)
  np.testing.assert_allclose(times, np.arange(SECONDS * RATE) / RATE, atol=1e-6)
  assert len(people) == 2
  boxes = {one.at(times)[0, 0] > 160: one.at(times) for one in people}
  first, second = boxes[False], boxes[True]
  assert np.isfinite(first).all()
  there = np.isfinite(second[:, 0])
  # New faces are looked for every two seconds.
  away = (times >= 6.3) & (times < 14)
  assert not there[away].any() and there[(times < 5.7) | (times > 16.2)].all()
  late = times > (16.2 if cut is None else cut + 0.5)
  where = [80, 270] if cut is None else [240, 110]
  if cut is not None:
    late &= times > 20.5
  for own, x in zip((first, second), where, strict=True):
    assert own[late, 0].mean() == pytest.approx(x, abs=8)


def test_nobody_is_made_up(tmp_path, write_video):
  noise = np.random.default_rng(0).integers(0, 255, (30, 60, 80, 3), np.uint8)
  write_video(tmp_path / 'noise.mp4', list(noise), RATE)
  with Video(tmp_path / 'noise.mp4') as video:
    times, people = people_in(video)
  assert len(times) == 30 and people == []
