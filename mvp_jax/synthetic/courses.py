"""Twins rated in time: what is felt, how it is rated, and how well it can be told.

Valence and arousal are slow random curves, independent of each other. A rating follows
what is felt by a reaction lag, and has a slow error of its own. In the variant 'null'
what is rated is another curve than what is shown and heard.
"""

import dataclasses

import numpy as np

from mvp_jax.synthetic.spec import wander

RATED = ('valence', 'arousal')
VARIANTS = ('planted', 'null')
_SPREAD = 0.35  # of what is felt; ratings go from -1 to 1
_ERROR = 0.10
_PERIODS = (6.0, 30.0)  # seconds
_EFFECTS = (
  'Valence and arousal are independent slow curves. Valence shows only in the face: '
  'mouth corners, eyes and brows. Arousal is heard only in the voice: louder, higher '
  'and faster. '
)
_DESCRIPTIONS = {
  'planted': 'Ratings follow both by {lag:g} s, with a slow error.',
  'null': 'Ratings are other curves, independent of face and voice.',
}


@dataclasses.dataclass(frozen=True)
class Courses:
  """What one person feels in one video. `felt` and `rated` are functions of seconds.

  Each takes float [n] and gives float64 [n, 2], valence and arousal.
  """

  seed: tuple[int, ...]
  lag: float
  variant: str
  shared: tuple[int, ...] = ()  # the seed of the arousal that two people share

  def felt(self, times):
    valence = _curve((*self.seed, 0), times)
    arousal = _curve((*(self.shared or self.seed), 1), times)
    return np.stack([valence, arousal], axis=-1)

  def rated(self, times):
    if self.variant == 'null':
      shown = np.stack([_curve((*self.seed, i), times) for i in (2, 3)], axis=-1)
    else:
      shown = self.felt(times - self.lag)
    errors = [_ERROR * _curve((*self.seed, i), times) / _SPREAD for i in (4, 5)]
    return np.clip(shown + np.stack(errors, axis=-1), -1, 1)


def _curve(seed, times):
  """Its own mean is part of it: people differ."""
  rng = np.random.default_rng(seed)
  return _SPREAD * (0.3 * rng.normal() + 0.95 * wander(rng, times, _PERIODS)).clip(
    -2.6, 2.6
  )


def told(people, seconds, rate, lag, variant):
  """What the marker of a twin says: the best possible scores, and the effects.

  Args:
    people: list of Courses, of those that are tested.
    seconds: of each.
    rate: of annotations, Hz.
  """
  times = np.arange(round(seconds * rate)) / rate
  rated = np.concatenate([one.rated(times) for one in people])
  known = np.concatenate([one.felt(times - lag) for one in people])
  best = [_ccc(*pair) for pair in zip(known.T, rated.T, strict=True)]
  return {
    'ceiling': {
      name: {'ccc': round(x if variant == 'planted' else 0.0, 4)}
      for name, x in zip(RATED, best, strict=True)
    },
    'effects': _EFFECTS + _DESCRIPTIONS[variant].format(lag=lag),
  }


def _ccc(x, y):
  covariance = np.mean((x - x.mean()) * (y - y.mean()))
  return float(2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))
