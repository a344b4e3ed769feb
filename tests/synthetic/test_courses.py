"""What a twin that is rated in time plants."""

import numpy as np

from mvp_jax.synthetic.courses import Courses, told
from mvp_jax.synthetic.voice import RATE, voice

_TIMES = np.arange(0, 60, 0.1)


def _concordance(x, y):
  return (
    2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
  )


def test_ratings_follow_what_is_felt_by_the_lag():
  people = [Courses((0, i), 1.0, 'planted') for i in range(30)]
  felt = np.concatenate([one.felt(_TIMES - 1.0) for one in people])
  rated = np.concatenate([one.rated(_TIMES) for one in people])
  early = np.concatenate([one.felt(_TIMES) for one in people])
  stated = told(people, 60.0, 10.0, 1.0, 'planted')['ceiling']
  for i, name in enumerate(('valence', 'arousal')):
    best = _concordance(felt[:, i], rated[:, i])
    np.testing.assert_allclose(stated[name]['ccc'], best, atol=1e-3)
    assert _concordance(early[:, i], rated[:, i]) < best - 0.03
  assert abs(np.corrcoef(rated.T)[0, 1]) < 0.2
  assert abs(rated).max() <= 1


def test_nothing_is_planted_in_null():
  people = [Courses((0, i), 1.0, 'null') for i in range(60)]
  felt = np.concatenate([one.felt(_TIMES - 1.0) for one in people])
  rated = np.concatenate([one.rated(_TIMES) for one in people])
  for i in range(2):
    assert abs(_concordance(felt[:, i], rated[:, i])) < 0.15


def test_the_aroused_are_louder_and_higher():
  calm, aroused = (
    voice((1, 2), lambda t, level=level: np.full(len(t), level), 4.0)
    for level in (-0.6, 0.6)
  )
  assert aroused.std() > 3 * calm.std()

  def pitch(sound):
    spectrum = np.abs(np.fft.rfft(sound))
    return np.argmax(spectrum) * RATE / len(sound)

  assert 1.3 < pitch(aroused) / pitch(calm) < 1.8  # .6 octaves
