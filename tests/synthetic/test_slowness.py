"""What a twin of depression shows, and what it knows of how well that can be told."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from mvp_jax import corpora
from mvp_jax.synthetic import slowness

SPEC = corpora.find('avec2014').twin.Spec(people=400, seconds=20.0, frame_rate=10.0)


def _sessions(spec):
  sessions = list(spec.sessions)
  shown = np.array([slowness.severity(spec, *one) for one in sessions])
  scores = np.array([slowness.score(spec, *one) for one in sessions])
  return sessions, shown, scores


def test_severity_is_normal_and_people_keep_some_of_it():
  sessions, shown, _ = _sessions(SPEC)
  assert stats.kstest(shown, 'norm').pvalue > 0.01
  of = dict(zip(sessions, shown, strict=True))
  pairs = [(x, of[who, 2]) for (who, n), x in of.items() if n == 1 and (who, 2) in of]
  assert np.corrcoef(np.array(pairs).T)[0, 1] == pytest.approx(0.6, abs=0.1)


def test_the_best_possible_error_is_what_its_oracle_has():
  sessions, shown, scores = _sessions(SPEC)
  told = slowness.told(SPEC, sessions, 'depression')['ceiling']['depression']
  best = np.clip(15 + 12 * slowness.RHO * shown, 0, 63)
  assert told['oracle_mae'] == pytest.approx(np.abs(scores - best).mean(), abs=1e-3)
  assert told['mae'] == pytest.approx(told['oracle_mae'], rel=0.06)
  # No other line is better, and none without the face is near.
  for other in (best + 1, best - 1, 15 + 0.8 * (best - 15), 15 + 1.2 * (best - 15)):
    assert np.abs(scores - other).mean() > told['oracle_mae']
  assert np.abs(scores - np.median(scores)).mean() > 2 * told['mae']


@pytest.mark.parametrize('variant', ['null', 'leaky'])
def test_without_an_effect_the_face_tells_nothing(variant):
  spec = dataclasses.replace(SPEC, variant=variant)
  sessions, shown, scores = _sessions(spec)
  assert abs(np.corrcoef(shown, scores)[0, 1]) < 0.1
  told = slowness.told(spec, sessions, 'depression')['ceiling']['depression']
  assert told['mae'] == pytest.approx(np.abs(scores - 15).mean(), rel=0.06)
  of = dict(zip(sessions, scores, strict=True))
  pairs = [(x, of[who, 2]) for (who, n), x in of.items() if n == 1 and (who, 2) in of]
  same = np.corrcoef(np.array(pairs).T)[0, 1]
  assert same > 0.85 if variant == 'leaky' else abs(same) < 0.75


def test_the_depressed_move_less_and_more_slowly_and_their_faces_hang():
  sessions, shown, _ = _sessions(SPEC)
  order = np.argsort(shown)

  def moved(places):
    """Amount, pace, mouth and lids, means over some sessions."""
    found = []
    for person, session in (sessions[i] for i in places):
      x = slowness.movement(SPEC, person, session, 10 * session + 1)
      path, lean = np.diff(x['x']), x['x'] - x['x'].mean()
      found.append(
        [
          lean.std(),
          np.abs(path).mean() / lean.std(),
          (x['smile'] - x['frown']).mean(),
          np.median(x['eyes']),
        ]
      )
    return np.mean(found, axis=0)

  well, ill = moved(order[:12]), moved(order[-12:])
  assert (ill < well).all()
  assert ill[0] < 0.5 * well[0] and ill[1] < 0.7 * well[1]
  assert well[2] > 0.4 and ill[2] < -0.4 and ill[3] < well[3] - 0.2
