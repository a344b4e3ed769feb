"""Twins of depression: how it is scored, how it shows, and how well it can be told.

A session has a severity, a standard normal that people keep in part from one session to
the next. The face shows it as a whole and all the time: the corners of the mouth and
the lids hang, and all that moves (head, brows, talking, blinks, expressions) is smaller
and slower. So a few pictures tell it from detail at rest, and time adds little.
Person by person it stands on another face at rest and another expressivity.

Score = 15 + 12 (RHO * severity + sqrt(1 - RHO²) * error), rounded and cut to 0 to 63.

- planted: as said;
- null: the severity that is scored is not the one that is shown;
- leaky: the same, and nearly all of the score is the person's own: who has seen another
  session of the person knows it, who has not knows nothing.
"""

import math
import types

import numpy as np
from scipy.special import ndtri

from mvp_jax.synthetic.expression import expression
from mvp_jax.synthetic.spec import stream, wander

VARIANTS = ('planted', 'null', 'leaky')
RHO = 0.88
_MIDDLE, _SPREAD, _SCALE = 15, 12, (0, 63)
_KEPT, _LEAKY = 0.6, 0.95  # the person's own share of severity, and of a leaky score
_DROOP, _LIDS = 0.36, 0.18  # of mouth (as a valence) and lids, for a severity of 1
_LESS, _SLOWER = 0.5, 0.35  # logarithms of amount and pace, for a severity of 1
_MOST = 2.3  # deviations of severity beyond which nothing more is shown
_EFFECTS = (
  'Severity shows all over the face and all the time: mouth and lids hang, and head, '
  'brows, lips and lids move less and more slowly. The voice tells nothing. '
)
_DESCRIPTIONS = {
  'planted': f'The score of a session correlates {RHO} with its severity.',
  'null': 'The score of a session is independent of what is shown.',
  'leaky': 'The score is nearly the same in all sessions of a person, and independent '
  'of what is shown: only who knows the person can tell.',
}


def severity(spec, person, session, of='shown'):
  """The severity that a session shows, or another one (`of` = 'hidden')."""
  return _kept(spec, person, session, 10 * (of == 'hidden'), _KEPT)


def _kept(spec, person, session, kind, share):
  """A standard normal of which the person keeps a share of the variance."""
  own = stream(spec, 'severity', person, 1000 + kind).normal()
  new = stream(spec, 'severity', person, 2000 + 100 * session + kind).normal()
  return math.sqrt(share) * own + math.sqrt(1 - share) * new


def score(spec, person, session):
  """The score of a session: int."""
  if spec.variant == 'leaky':
    return int(_scored(_kept(spec, person, session, 20, _LEAKY)))
  shown = 'shown' if spec.variant == 'planted' else 'hidden'
  error = stream(spec, 'severity', person, 3000 + session).normal()
  value = RHO * severity(spec, person, session, shown) + math.sqrt(1 - RHO**2) * error
  return int(_scored(value))


def _scored(value):
  return np.clip(np.round(_MIDDLE + _SPREAD * np.asarray(value)), *_SCALE)


def movement(spec, person, session, number):
  """What the face of a recording does, as `face.face_frames` takes it.

  `number` is that of the recording among the person's.
  """
  severe = float(np.clip(severity(spec, person, session), -_MOST, _MOST))
  amount, pace = math.exp(-_LESS * severe), math.exp(-_SLOWER * severe)
  times = spec.frame_times
  # All random courses run on a slower clock.
  slow = types.SimpleNamespace(
    seed=spec.seed,
    variant=spec.variant,
    frame_times=pace * times,
    trial_seconds=pace * spec.seconds,
  )
  rng = stream(spec, 'severity', person, 5000 + number)
  felt = -_DROOP * severe + 0.15 * amount * wander(rng, pace * times, (2, 12))
  found = expression(slow, person, number, np.clip(felt, -1, 1))
  for name in ('talk', 'brow_raise'):
    found[name] = np.clip(amount * found[name], 0, 1.2)
  for name in ('x', 'y', 'roll'):
    middle = found[name].mean()
    found[name] = middle + min(amount, 1.6) * (found[name] - middle)
  found['eyes'] = np.clip(found['eyes'] * (1 - _LIDS * severe), 0, 1.15)
  return found | {'pulse': np.zeros(len(times))}


def told(spec, sessions, rating):
  """What the marker of a twin says: the best possible error, and the effects.

  `mae` is expected of the best person-blind prediction; `oracle_mae` is what it has on
  the sessions, (person, session), themselves.
  """
  scores = np.array([score(spec, *one) for one in sessions])
  errors = ndtri((np.arange(2000) + 0.5) / 2000)
  if spec.variant == 'planted':
    shown = RHO * np.array([severity(spec, *one) for one in sessions])
    possible = _scored(shown[:, None] + math.sqrt(1 - RHO**2) * errors)
  else:
    shown, possible = np.zeros(len(sessions)), _scored(errors)[None]
  best = np.clip(_MIDDLE + _SPREAD * shown, *_SCALE)
  return {
    'ceiling': {
      rating: {
        'mae': round(float(np.abs(possible - best[:, None]).mean()), 3),
        'oracle_mae': round(float(np.abs(scores - best).mean()), 3),
      }
    },
    'effects': _EFFECTS + _DESCRIPTIONS[spec.variant],
  }
