"""Copies of recordings are found, however shifted; other recordings are none."""

import dataclasses

import cv2
import numpy as np
import pytest
import scipy.signal

from mvp_jax.evaluation.content import (
  copies,
  frame_patterns,
  same_films,
  same_signals,
  untold,
)
from mvp_jax.evaluation.fingerprints import equal_pairs, fingerprint
from mvp_jax.raw.resample import resample
from mvp_jax.synthetic.signals import SIGNAL_RATE
from tests.data.tiny_trials import frames, series
from tests.evaluation.memory import MemoryCorpus, twin

_RATE, _BAND = float(SIGNAL_RATE), (0.2, 4.0)


@pytest.fixture(scope='module')
def trials():
  return twin(subjects=3, trials=4)


def test_no_two_trials_of_a_twin_are_one(trials):
  found, plain = same_signals([t.streams['signals'].values for t in trials], _RATE)
  assert found == [] and plain == []


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
    ((_, _, shift, _),), _ = same_signals(
      [trial.streams['signals'].values, late], _RATE
    )
    assert shift == pytest.approx(-650 / _RATE, abs=0.07)


def _coarse(seconds, step, drift, noise, seed):
  """A sensor of 4 Hz that rounds to `step`, at the rate of a model's input."""
  rng = np.random.default_rng(seed)
  walk = np.cumsum(rng.normal(drift, noise, seconds * 4)) + rng.normal(0, 1)
  return _at_128(np.round(walk / step) * step, seconds)


def _at_128(values, seconds):
  times = np.arange(len(values)) * seconds / len(values)
  even, _ = resample(values, times, _RATE, round((seconds - 0.25) * _RATE))
  return even[:, None].astype(float)


def test_coarse_signals_of_different_people_are_no_copies():
  # 13 or so values in 30 s: more than half of their fingerprints' bits are equal.
  drifts = [_coarse(30, 0.02, 0.002 + 0.0002 * k, 0.0005, k) for k in range(24)]
  prints = [fingerprint(x, _RATE, _BAND) for x in drifts]
  assert max(agreement for *_, agreement in equal_pairs(prints, 16.0, -1)) > 0.6
  found, plain = same_signals(drifts, _RATE)
  assert found == [] and len(plain) > 12
  walks = [_coarse(30, 0.001, 0.0, 0.004, k) for k in range(24)]
  found, plain = same_signals(walks, _RATE)
  assert found == [] and plain == []


@pytest.mark.parametrize('seed', range(4))
def test_copies_of_a_coarse_signal_are_found_however_changed(seed):
  rng = np.random.default_rng(seed)
  walks = [_coarse(30, 0.001, 0.0, 0.004, 100 * seed + k) for k in range(12)]
  x, start = walks[3], rng.uniform(0, 12)
  changed = {
    'scaled': -rng.uniform(0.2, 5) * x + 3,
    'between samples': np.interp(
      np.arange(start, 29, 1 / _RATE), np.arange(len(x)) / _RATE, x[:, 0]
    )[:, None],
    'cropped': x[300:-400],
    'noisy': x + rng.normal(0, 0.01 * x.std(), x.shape),
    'rounded': np.round(x / (0.02 * x.std())) * (0.02 * x.std()),
    'at another rate': _at_128(x[::10, 0], 29.75),
  }
  for name, copy in changed.items():
    found, _ = same_signals([*walks, copy], _RATE)
    assert [pair[:2] for pair in found] == [(3, 12)], name


def test_a_heart_that_fits_a_beat_later_is_no_copy():
  beat = np.exp(-(((np.arange(128) - 40) / 6.0) ** 2))
  rng = np.random.default_rng(0)
  hearts = [
    np.tile(beat, 30)[:, None] + rng.normal(0, 0.02, (30 * 128, 1)) for _ in range(4)
  ]
  assert same_signals(hearts, _RATE)[0] == []


def test_one_telling_channel_among_coarse_ones_is_enough():
  plain = [_coarse(30, 0.02, 0.002, 0.0005, k) for k in range(8)]
  fine = [_coarse(30, 0.001, 0.0, 0.004, 50 + k) for k in range(8)]
  both = [np.concatenate(pair, axis=1) for pair in zip(plain, fine, strict=True)]
  both.append(2 * both[5][256:])
  found, mute = same_signals(both, _RATE)
  assert [pair[:2] for pair in found] == [(5, 8)] and mute == []


def test_signals_that_stand_still_are_told_from_nothing_and_gaps_are_no_signal(
  tmp_path,
):
  trials = twin(4, 1, seconds=20)
  still = np.full((20 * 128, 2), 33.4, np.float32)
  for k in (0, 1):
    trials[k] = dataclasses.replace(
      trials[k], streams={'signals': series(still, SIGNAL_RATE)}
    )
  gap = np.ones(still.shape, bool)
  gap[512:1024] = False
  for k in (2, 3):
    stream = dataclasses.replace(trials[k].streams['signals'], valid=gap)
    trials[k] = dataclasses.replace(trials[k], streams={'signals': stream})
  corpus = MemoryCorpus(trials, tmp_path / 'x/1.0.0')
  assert copies(corpus) == []
  assert untold(corpus) == {'signals': [trials[0].trial_id, trials[1].trial_id]}


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


def _moved(rng, seconds, rate):
  """What a picture that is shifted and turned about looks like: float32 [time, 8]."""
  path = scipy.signal.lfilter([1], [1, -0.9], rng.normal(size=(seconds * rate, 3)), 0)
  looks = np.random.default_rng(7).normal(size=(3, 8))
  return (path @ looks + rng.normal(0, 0.1, (len(path), 8))).astype(np.float32)


@pytest.mark.parametrize(('seconds', 'rate'), [(16, 2), (60, 2), (16, 5), (90, 1)])
def test_few_frames_agree_by_chance(seconds, rate):
  rng = np.random.default_rng(0)
  films = [_moved(rng, seconds, rate) for _ in range(60)]
  films += [films[3] + rng.normal(0, 0.1, films[3].shape)]
  assert [x[:2] for x in same_films(films, rate)] == [(3, 60)]


def test_films_too_slow_for_any_band_are_not_compared():
  rng = np.random.default_rng(0)
  assert same_films([_moved(rng, 300, 1) for _ in range(3)], 0.5) == []


def test_brightness_is_no_look():
  image = np.random.default_rng(0).integers(0, 100, (8, 8)).astype(np.uint8)
  assert frame_patterns(image).shape == (8,)
  np.testing.assert_allclose(
    frame_patterns(image), frame_patterns(image + 50), atol=1e-3
  )
