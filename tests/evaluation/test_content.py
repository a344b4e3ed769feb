"""Copies of recordings are found, however shifted; other recordings are none."""

import dataclasses

import cv2
import numpy as np
import pytest
import scipy.signal

from mvp_jax.evaluation.content import (
  AGREEMENT,
  copies,
  equal_pairs,
  fingerprint,
  frame_patterns,
)
from mvp_jax.synthetic.signals import SIGNAL_RATE
from tests.data.tiny_trials import frames
from tests.evaluation.memory import MemoryCorpus, twin

_RATE, _BAND = float(SIGNAL_RATE), (0.2, 4.0)


@pytest.fixture(scope='module')
def trials():
  return twin(subjects=3, trials=4)


def _agreement(a, b, rate=_RATE):
  ((_, _, shift, agreement),) = equal_pairs(
    [fingerprint(x, rate, _BAND) for x in (a, b)], 16.0, -1
  )
  return shift, agreement


def test_no_two_trials_of_a_twin_are_one(trials):
  prints = [fingerprint(t.streams['signals'].values, _RATE, _BAND) for t in trials]
  pairs = equal_pairs(prints, 16.0, -1)
  assert len(pairs) == 12 * 11 / 2
  assert max(agreement for *_, agreement in pairs) < AGREEMENT['signals']


@pytest.mark.parametrize(
  'change',
  [
    lambda x: x,
    lambda x: x * 3 + 7,
    lambda x: -x,
    lambda x: np.round(x, 2),
    lambda x: scipy.signal.resample_poly(scipy.signal.resample_poly(x, 1, 2), 2, 1),
  ],
)
def test_a_changed_and_shifted_copy_is_found(trials, change):
  for trial in trials[:3]:
    late = change(trial.streams['signals'].values[650:].astype(float))
    shift, agreement = _agreement(trial.streams['signals'].values, late)
    assert shift == pytest.approx(-650 / _RATE, abs=0.07)
    assert agreement > AGREEMENT['signals']


def test_agreement_is_of_the_samples_that_overlap():
  rng = np.random.default_rng(0)
  a = np.where(rng.random((400, 2)) < 0.5, 1, -1).astype(np.int8)
  b = np.concatenate([a[150:], np.where(rng.random((150, 2)) < 0.5, 1, -1)])
  b[:250:10] *= -1  # one in ten of 250
  ((i, j, shift, agreement),) = equal_pairs([a, b.astype(np.int8)], 10.0, 0.5)
  assert (i, j, shift) == (0, 1, -15.0)
  assert agreement == pytest.approx(0.8, abs=1e-3)
  ((*_, shift, _),) = equal_pairs([b.astype(np.int8), a], 10.0, 0.5)
  assert shift == 15.0


def test_what_does_not_move_or_is_too_short_agrees_with_nothing():
  still, short = np.ones((60 * 128, 2)), np.random.default_rng(0).normal(size=(900, 2))
  prints = [fingerprint(x, _RATE, _BAND) for x in (still, still, short, short)]
  assert not any(x.any() for x in prints)
  assert equal_pairs(prints, 16.0, -1) == []
  assert equal_pairs([], 16.0, -1) == []


def _faces(seed, person, seconds=30):
  """A face before a background, both the person's own, moving as nobody else does."""
  looks, rng = np.random.default_rng(person), np.random.default_rng(seed)
  scene = cv2.resize(looks.integers(0, 255, (6, 6)).astype(np.uint8), (64, 64))
  path = scipy.signal.lfilter([1], [1, -0.96], rng.normal(0, 0.7, (seconds * 25, 3)), 0)
  frames = []
  for dx, dy, smile in path:
    image = scene.copy()
    centre = (round(8 * (32 + dx)), round(8 * (32 + dy)))
    cv2.ellipse(image, centre, (130, 170), 0, 0, 360, 180, -1, shift=3)
    cv2.ellipse(
      image,
      (centre[0], centre[1] + 80),
      (60, max(8, round(20 + 6 * smile))),
      0,
      0,
      360,
      60,
      -1,
      shift=3,
    )
    frames.append(image)
  return np.array(frames)


def _stored(frames, quality=95, gain=1.0, size=64):
  """As they are read back from JPEGs, five a second, an eighth as large."""
  read = []
  for frame in frames[::5]:
    image = np.clip(cv2.resize(frame, (size, size)) * gain, 0, 255).astype(np.uint8)
    jpeg = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    read.append(cv2.imdecode(jpeg, cv2.IMREAD_REDUCED_GRAYSCALE_8))
  return np.array(read)


def test_copies_among_faces(tmp_path):
  faces = {'a': _faces(1, 1), 'b': _faces(2, 1), 'c': _faces(3, 2)}
  stored = {name: _stored(x) for name, x in faces.items()}
  stored['late'] = _stored(faces['a'][52:])  # not on the grid of frames looked at
  stored['coarse'] = _stored(faces['b'][100:], 40, 0.8, 224)
  stored['photo'] = stored['photo2'] = np.repeat(stored['c'][:1], 150, 0)
  trials = [
    dataclasses.replace(
      t,
      trial_id=name,
      streams={'video': frames(len(stored[name]), 5.0)},
    )
    for name, t in zip(stored, twin(7, 1), strict=True)
  ]
  corpus = MemoryCorpus(trials, tmp_path / 'x/1.0.0', stored)
  found = copies(corpus)
  assert {(c.stream, c.first, c.second) for c in found} == {
    ('video', 'a', 'late'),
    ('video', 'b', 'coarse'),
    ('video', 'photo', 'photo2'),
  }
  shifts = {c.second: c.shift for c in found}
  assert shifts['late'] == pytest.approx(-52 / 25, abs=0.25)
  assert shifts['coarse'] == pytest.approx(-4, abs=0.25)
  # Kept: not looked at again.
  assert copies(dataclasses.replace(corpus, frames={})) == found


def test_brightness_is_no_look():
  image = np.random.default_rng(0).integers(0, 100, (8, 8)).astype(np.uint8)
  assert frame_patterns(image).shape == (8,)
  np.testing.assert_allclose(
    frame_patterns(image), frame_patterns(image + 50), atol=1e-3
  )
