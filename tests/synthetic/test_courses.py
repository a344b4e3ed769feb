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
  # Nobody can tell what was before the recording.
  felt = np.concatenate([one.felt(np.maximum(_TIMES - 1.0, 0)) for one in people])
  rated = np.concatenate([one.rated(_TIMES) for one in people])
  early = np.concatenate([one.felt(_TIMES) for one in people])
  stated = told(people, 60.0, 10.0, 1.0, 'planted')['ceiling']
  for i, name in enumerate(('valence', 'arousal')):
    best = _concordance(felt[:, i], rated[:, i])
    np.testing.assert_allclose(stated[name]['ccc'], best, atol=1e-3)
    assert _concordance(early[:, i], rated[:, i]) < best - 0.03
    all_known = np.concatenate([one.felt(_TIMES - 1.0) for one in people])[:, i]
    assert _concordance(all_known, rated[:, i]) > best + 5e-4
  assert abs(np.corrcoef(rated.T)[0, 1]) < 0.2
  assert abs(rated).max() <= 1


def test_nothing_is_planted_in_null():
  people = [Courses((0, i), 1.0, 'null') for i in range(60)]
  felt = np.concatenate([one.felt(_TIMES - 1.0) for one in people])
  rated = np.concatenate([one.rated(_TIMES) for one in people])
  for i in range(2):
    assert abs(_concordance(felt[:, i], rated[:, i])) < 0.15


def test_only_face_and_voice_together_tell_a_coupled_rating():
  people = [Courses((0, i), 1.0, 'coupled') for i in range(120)]
  shown = np.concatenate([one.felt(_TIMES) for one in people])
  late = np.concatenate([one.felt(_TIMES - 1.0) for one in people])
  before = np.concatenate([one.felt(_TIMES - 4.0) for one in people])
  rated = np.concatenate([one.rated(_TIMES) for one in people])
  stated = told(people, 60.0, 10.0, 1.0, 'coupled')['ceiling']
  together = np.stack([late[:, 0] * late[:, 1], late[:, 0] * before[:, 1]], axis=-1)
  for i, name in enumerate(('valence', 'arousal')):
    product = together[:, i] * rated[:, i].std() / together[:, i].std()
    assert _concordance(product, rated[:, i]) > 0.93
    assert 0.93 < stated[name]['ccc'] < 1
    for x in (*shown.T, *late.T, *before.T, *abs(late.T)):
      assert abs(np.corrcoef(x, rated[:, i])[0, 1]) < 0.06
    # Nor does the best line of all of them tell more than their number alone would.
    design = np.column_stack([np.ones(len(shown)), shown, late, before])
    said = design @ np.linalg.lstsq(design, rated[:, i])[0]
    assert np.corrcoef(said, rated[:, i])[0, 1] < 0.1
  assert abs(np.corrcoef(rated.T)[0, 1]) < 0.1
  assert abs(shown).max() <= 0.6
  assert 0.45 < (shown > 0).mean() < 0.55
  # Each coin lasts for some seconds.
  changes = np.abs(np.diff(np.sign(shown[: len(_TIMES), 0]))).sum() / 2
  assert 4 <= changes <= 20


def test_people_in_one_coupled_video_hear_one_voice():
  one, other = (
    Courses((0, 5, k), 1.0, 'coupled', (0, 5, 0)).felt(_TIMES) for k in (1, 2)
  )
  np.testing.assert_array_equal(one[:, 1], other[:, 1])
  assert not np.array_equal(one[:, 0], other[:, 0])


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


def test_only_arousal_has_a_level_of_its_own():
  times = np.arange(0, 600, 0.5)
  felt = np.stack([Courses((0, i), 1.0, 'planted').felt(times) for i in range(60)])
  levels = felt.mean(1).std(0) / felt.std((0, 1))
  assert levels[0] < 0.05 and levels[1] > 0.2
