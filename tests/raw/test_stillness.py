import numpy as np
import pytest

from mvp_jax.raw.stillness import Stillness

BOX = 80.0, 60.0, 50.0


def looks(change, noise=1.0, count=8):
  """Pictures [120, 160] whose middle moves by `change` columns from look to look."""
  rng = np.random.default_rng(0)
  columns = np.arange(160)[None] + np.zeros((120, 1))
  for k in range(count):
    wave = 120 + 60 * np.sin((columns + change * k) / 6)
    light = 1 + 0.05 * np.sin(k)
    yield (
      (light * wave + rng.normal(0, noise, wave.shape)).clip(0, 255).astype(np.uint8)
    )


@pytest.mark.parametrize(('change', 'still'), [(0.0, True), (0.6, False)])
def test_what_moves_is_told_from_noise_and_wavering_light(change, still):
  stillness, said = Stillness(1.0), []
  for picture in looks(change):
    stillness.add(picture)
    said.append(stillness.still(BOX))
    assert not stillness.frozen
  assert said == [False] * 3 + [still] * 5  # nothing is said of three looks


def test_repeated_pictures_are_frozen_and_say_nothing_of_faces():
  stillness, frozen = Stillness(1.0), []
  first, second = list(looks(2.0))[:2]
  for picture in [first] * 9 + [second] * 2:
    stillness.add(picture)
    frozen.append(stillness.frozen)
  assert frozen == [False] + [True] * 8 + [False, True]
  assert not stillness.known and not stillness.still(BOX)


def test_boxes_are_of_the_picture_as_shown():
  # In stored pixels twice as wide as high the left half moves, the right does not.
  stillness = Stillness(2.0)
  for still, moving in zip(looks(0.0), looks(0.9), strict=True):
    stillness.add(np.hstack([moving[:, :80], still[:, 80:]]))
  assert stillness.still((240.0, 60.0, 50.0))
  assert not stillness.still((80.0, 60.0, 50.0))
  assert not stillness.still((-500.0, 60.0, 50.0))  # outside
