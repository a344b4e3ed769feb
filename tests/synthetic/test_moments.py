"""A coupled twin: neither face nor body tells the label, and both together do."""

import collections
import itertools
import math

import numpy as np
import pytest
from scipy.signal import find_peaks
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from mvp_jax.corpora.amigos.twin_spec import AmigosSpec
from mvp_jax.errors import InputError
from mvp_jax.raw.openface import INTENSITIES, read_openface
from mvp_jax.synthetic import expression, moments, openface, ratings, signals
from mvp_jax.synthetic.spec import TwinSpec

SPEC = TwinSpec(
  subjects=6, variant='coupled', frame_rate=5.0, width=160, height=128, seed=6
)
RATE, BEFORE = 128, 3  # Hz, seconds


def test_neither_modality_alone_is_distributed_otherwise_under_another_label():
  # All orders are as likely: counting them gives the exact distributions.
  faces, bodies = {}, {}
  for label in itertools.product((False, True), repeat=2):
    drawn = [
      [tuple(map(int, part)) for part in moments.chosen(np.array(order), *label)]
      for order in itertools.permutations(range(8))
    ]
    faces[label] = collections.Counter((smiles, frowns) for smiles, frowns, _ in drawn)
    bodies[label] = collections.Counter(responses for _, _, responses in drawn)
    for smiles, frowns, responses in drawn:
      assert not set(smiles) & set(frowns)
      assert (set(smiles) <= set(responses)) == label[0]
      assert (set(frowns) <= set(responses)) == label[1]
      if not label[0]:
        assert not set(smiles) & set(responses)
  for counts in (faces, bodies):
    assert all(found == counts[True, True] for found in counts.values())
  assert len(bodies[True, True]) == math.comb(8, 4)


@pytest.mark.parametrize('seconds, most', [(60, 2), (30, 1), (150, 5)])
def test_moments_lie_apart_within_the_trial(seconds, most):
  class Spec:
    seed, trials, trial_seconds = 0, 4, seconds

  for trial in (1, 2, 3, 4):
    smiles, frowns, responses = moments.moments(Spec, 1, trial)
    assert len(smiles) == len(frowns) == most and len(responses) == 2 * most
    both = np.sort(np.concatenate([smiles, frowns]))
    assert np.diff(both).min(initial=9) > 4.5 and np.diff(responses).min() > 4.5
    assert both[0] > 2 and both[-1] < seconds - 3
    at = (responses - moments.LAG_SECONDS).round(6)
    valence, arousal = ratings.latents(Spec, 1)[trial - 1] > 0
    assert np.isin(smiles.round(6), at).tolist() == [valence] * most
    assert np.isin(frowns.round(6), at).tolist() == [arousal] * most


def _with_labels(monkeypatch, valence, arousal):
  """Courses of a face and of a body under a label."""
  monkeypatch.setattr(
    moments,
    'latents',
    lambda spec, subject: np.tile([valence, arousal], (spec.trials, 1)),
  )
  return expression.expression(SPEC, 1, 1), signals.simulate_body(SPEC, 1, 1)


def test_the_label_moves_nothing_but_the_responses(monkeypatch):
  face, body = _with_labels(monkeypatch, 2, 2)
  other_face, other_body = _with_labels(monkeypatch, -0.1, -2)
  for name, course in face.items():
    np.testing.assert_array_equal(course, other_face[name])
  for name in ('ppg', 'ecg', 'respiration', 'beats'):
    np.testing.assert_array_equal(getattr(body, name), getattr(other_body, name))
  assert len(body.responses) == len(other_body.responses) == 4
  assert not np.isin(body.responses, other_body.responses).any()


@pytest.fixture(scope='module')
def courses(tmp_path_factory):
  """Of all trials, one row each 0.2 s: smile, frown and rise of EDA; and the labels."""
  path, found, high = tmp_path_factory.mktemp('twin') / 'units.csv', [], []
  for subject in range(1, SPEC.subjects + 1):
    for trial in range(1, SPEC.trials + 1):
      openface.write_openface(path, SPEC, subject, trial)
      units = read_openface(path)
      smile, frown = (
        np.interp(
          SPEC.frame_times,
          units.times[units.valid],
          units.intensities[units.valid][:, [INTENSITIES.index(n) for n in own]].sum(1),
        )
        for own in ((6, 12), (4, 15))
      )
      eda = np.log(signals.simulate_body(SPEC, subject, trial).eda)
      seconds = np.arange(len(eda)) / RATE - BEFORE
      after, before = (
        np.interp(SPEC.frame_times + shift, seconds, eda) for shift in (1.5, 0)
      )
      found.append([smile, frown, after - before])
    high.append(ratings.ratings(SPEC, subject)[:, :2] > 5)
  return np.array(found), np.concatenate(high)


def _largest(course, count):
  """Seconds of the highest peaks of a course that is smoothed over 3 s."""
  smooth = np.convolve(course, np.full(15, 1 / 15), 'same')
  peaks, _ = find_peaks(np.pad(smooth, 1), distance=20)
  return 0.2 * (peaks[np.argsort(smooth[peaks - 1])[-count:]] - 1)


def test_who_knows_both_tells_the_label(courses):
  found, high = courses
  stated, scores = ratings.ceiling(SPEC), []
  for target, name in enumerate(ratings.TARGETS):
    together = []
    for trial in found:
      shown, responses = _largest(trial[target], 2), _largest(trial[2], 4)
      together.append(abs(shown[:, None] - responses).min() < 2)
    scores.append(f1_score(high[:, target], together, average='macro'))
    assert scores[-1] > stated[name]['oracle_macro_f1'] - 0.03
  assert np.mean(scores) >= 0.9


@pytest.mark.parametrize('known', [[0], [1], [0, 1], [2]])
def test_who_knows_one_does_not(courses, known):
  # Statistics and the course in time, of people that were not learnt from.
  found, high = courses
  course = found[:, known]
  parts = course.reshape(*course.shape[:2], 20, 15).mean(-1)
  inputs = np.concatenate(
    [course.mean(-1), course.std(-1), course.max(-1), *np.moveaxis(parts, 1, 0)], 1
  )
  inputs = (inputs - inputs.mean(0)) / inputs.std(0)
  learnt = np.arange(len(high)) < len(high) / 2
  for target in (0, 1):
    model = LogisticRegression(C=0.1).fit(inputs[learnt], high[learnt, target])
    right = model.predict(inputs[~learnt]) == high[~learnt, target]
    assert abs(right.mean() - 0.5) < 3 * 0.5 / math.sqrt(len(right))


@pytest.mark.parametrize(
  'kind, shorter', [(TwinSpec, {'video_seconds': 30.0}), (AmigosSpec, {'scale': 0.5})]
)
def test_trials_too_short_for_the_events_are_refused(kind, shorter):
  kind(**shorter)
  with pytest.raises(InputError, match=f'{next(iter(shorter))}: .* in a coupled twin'):
    kind(variant='coupled', **shorter)
