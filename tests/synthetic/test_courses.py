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


def test_the_skin_has_its_share_of_arousal():
  people = [Courses((0, i), 1.0, 'planted', skin=0.4) for i in range(30)]
  parts = np.concatenate([one.parts(_TIMES) for one in people])
  felt = np.concatenate([one.felt(_TIMES) for one in people])
  np.testing.assert_allclose(felt[:, 1], parts[:, 1] + parts[:, 2])
  assert 0.3 < parts[:, 2].var() / felt[:, 1].var() < 0.5
  assert abs(np.corrcoef(parts.T)[np.triu_indices(3, 1)]).max() < 0.2
  whole = [Courses((0, i), 1.0, 'planted') for i in range(30)]
  assert not any(one.parts(_TIMES)[:, 2].any() for one in whole)


def test_in_leaky_people_who_are_together_share_a_level_alone():
  pairs = [
    [Courses((0, i, k), 1.0, 'leaky', (1, i)) for k in range(2)] for i in range(30)
  ]
  one, other = (
    np.array([pair[k].rated(_TIMES).mean(0) for pair in pairs]) for k in range(2)
  )
  felt = np.concatenate([pair[0].felt(_TIMES - 1.0) for pair in pairs])
  rated = np.concatenate([pair[0].rated(_TIMES) for pair in pairs])
  for i in range(2):
    assert np.corrcoef(one[:, i], other[:, i])[0, 1] > 0.8
    assert abs(_concordance(felt[:, i], rated[:, i])) < 0.2
  shown = [[one.felt(_TIMES).mean(0)[1] for one in pair] for pair in pairs]
  assert abs(np.corrcoef(np.transpose(shown))[0, 1]) < 0.4


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
