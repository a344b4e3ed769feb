"""Copies of sound are found; other people's voices are none."""

import numpy as np
import pytest
import scipy.signal

from mvp_jax.data.trial import Sound, Trial
from mvp_jax.evaluation.content import copies, same_sounds
from mvp_jax.evaluation.sound_course import RATE, band_levels, sound_course
from mvp_jax.synthetic.voice import voice

_HZ = 8000


def _speech(seed, seconds=14):
  sound = voice(seed, lambda t: np.sin(t * (0.3 + 0.1 * seed)), seconds)
  return scipy.signal.resample_poly(sound, 1, 2).astype(np.float32)


def _course(sound):
  hop = round(_HZ / RATE)
  return band_levels(np.pad(sound, (0, hop)), hop)


def test_voices_of_different_people_are_no_copies():
  assert same_sounds([_course(_speech(seed)) for seed in range(6)]) == []


@pytest.mark.parametrize(
  'change, late',
  [
    (lambda x: x, 0.0),
    (lambda x: x * 0.1, 0.0),
    (lambda x: np.clip(4 * x, -0.3, 0.3), 0.0),
    (lambda x: np.round(x * 64) / 64, 0.0),  # of 7 bits
    (lambda x: x[round(3.03 * _HZ) :], -3.03),
    (lambda x: scipy.signal.resample_poly(x[::2], 2, 1).astype('f'), 0.0),
  ],
)
def test_a_changed_and_shifted_copy_is_found(change, late):
  first, second = _speech(0), _speech(1)
  courses = [_course(x) for x in (first, second, change(first))]
  ((i, j, shift, _),) = same_sounds(courses)
  assert (i, j) == (0, 2)
  assert shift == pytest.approx(late, abs=0.11)


def test_silence_is_no_copy_of_silence():
  noise = np.random.default_rng(0).standard_normal((2, 14 * _HZ)).astype('f')
  assert same_sounds([_course(x) for x in (0 * noise[0], 0 * noise[1])]) == []
  assert same_sounds([_course(1e-5 * x) for x in noise]) == []


def test_a_tone_is_in_its_band_and_twice_as_loud_is_a_neper_fraction_more():
  tone = 0.2 * np.sin(2 * np.pi * 1000 * np.arange(4 * _HZ) / _HZ).astype('f')
  one, two = (band_levels(x, 800) for x in (tone, 2 * tone))
  edges = np.geomspace(200, 3600, 9)
  assert (one.argmax(1) == np.searchsorted(edges, 1000) - 1).all()
  np.testing.assert_allclose((two - one).max(1), np.log(2), atol=0.01)


class _Sounding:
  """Of 8 kHz sounds, by trial id."""

  name = 'talks'
  metadata = {'streams': {'audio': {'kind': 'sound', 'rate': _HZ}}}

  def __init__(self, sounds, directory):
    self.sounds, self.directory = sounds, directory
    self.trials = [
      Trial(name, 1, 1, None, {}, {'audio': _stored(x)} if len(x) else {})
      for name, x in sounds.items()
    ]

  def samples(self, trial, first, stop, stream):
    known = self.sounds[trial.trial_id]
    places = np.arange(first, stop)
    valid = (places >= 0) & (places < len(known))
    values = np.where(valid, known[places.clip(0, len(known) - 1)], 0)
    return np.round(values * 32767).astype(np.int16), valid


def _stored(sound):
  return Sound(len(sound), np.array([[0, len(sound)]]), 0, float(_HZ))


def test_copies_among_the_sounds_of_a_corpus(tmp_path):
  a, b = _speech(0, 70), _speech(1, 12)
  sounds = {'a': a, 'b': b, 'late': 0.5 * a[_HZ * 5 :], 'mute': b[:0]}
  corpus = _Sounding(sounds, tmp_path / 'x/1.0.0')
  assert sound_course(corpus, corpus.trials[0], 'audio').shape == (700, 8)
  assert sound_course(corpus, corpus.trials[3], 'audio').shape == (0, 8)
  (copy,) = copies(corpus)
  assert (copy.stream, copy.first, copy.second) == ('audio', 'a', 'late')
  assert copy.shift == pytest.approx(-5, abs=0.11)
