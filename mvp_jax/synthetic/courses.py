"""Twins rated in time: what is felt, how it is rated, and how well it can be told.

Valence and arousal are slow random curves, independent of each other. Valence has no
level of its own, since faces differ at rest: nobody could tell it from them. A rating
follows what is felt by a reaction lag, and has a slow error of its own. In the variant
'null' what is rated is another curve than what is shown and heard; in 'leaky' it is
such a curve about a level that people who are together share.

In 'coupled' face and voice are each in one of two states, drawn anew every few seconds
by a fair coin of its own: smiling or frowning, loud or quiet. Valence is high where a
smile comes with a loud voice or a frown with a quiet one, and low where not; arousal
likewise, with the voice of the moment before. Whatever face or voice alone does, either
rating is a fair coin, and no sum of what the two say tells more than chance.
"""

import dataclasses

import numpy as np

from mvp_jax.synthetic.spec import wander

RATED = ('valence', 'arousal')
VARIANTS = ('planted', 'null')
_FOLLOWING = ('planted', 'coupled')  # whose ratings can be told from what is shown
_SPREAD = 0.35  # of what is felt; ratings go from -1 to 1
_ERROR = 0.10
_LITTLE = 0.4  # of another curve, in a leaky twin
_PERIODS = (6.0, 30.0)  # seconds
_MOMENT = 3.0  # seconds between two coins in a coupled twin
_CHANGE = 0.6  # seconds that a change of state takes
_SHOWN, _AGREED = 0.6, 0.45  # how far states and their ratings are from 0
_SHOWING = (
  'Valence and arousal are independent slow curves. Valence shows only in the face: '
  'mouth corners, eyes and brows. Arousal is heard only in the voice: louder, higher '
  'and faster. '
)
_EFFECTS = {
  'planted': _SHOWING + 'Ratings follow both by {lag:g} s, with a slow error.',
  'null': _SHOWING + 'Ratings are other curves, independent of face and voice.',
  'coupled': (
    f'Every {_MOMENT:g} s the face smiles or frowns and the voice is loud or quiet, by '
    'a coin each. Valence is high where a smile comes with a loud voice or a frown '
    'with a quiet one, else low; arousal is so with the voice of the moment before. '
    'Either alone tells nothing. Ratings follow by {lag:g} s, with a slow error.'
  ),
}


@dataclasses.dataclass(frozen=True)
class Courses:
  """What one person feels in one video.

  `felt`, `meant` and `rated` are functions of seconds, float [n] -> float64 [n, 2],
  valence and arousal.

  Attributes:
    seed: of the person's curves.
    lag: of ratings, seconds.
    variant: 'planted', 'null', 'leaky' or 'coupled'.
    shared: the seed of what two people share: the arousal that is heard or, in 'leaky',
      the level of their ratings.
    skin: the share of arousal's variance that the skin shows, and the voice does not.
  """

  seed: tuple[int, ...]
  lag: float
  variant: str
  shared: tuple[int, ...] = ()
  skin: float = 0.0

  def parts(self, times):
    """Valence, the arousal that is heard and that of the skin: float64 [n, 3].

    What they look and sound like: in 'coupled' nobody feels so.
    """
    if self.variant == 'coupled':
      face, voice, _ = _SHOWN * self._states(times)
      return np.stack([face, voice, np.zeros(len(times))], axis=-1)
    own = self.shared if self.shared and self.variant != 'leaky' else self.seed
    return np.stack(
      [
        _curve((*self.seed, 0), times, level=0.0),
        np.sqrt(1 - self.skin) * _curve((*own, 1), times),
        np.sqrt(self.skin) * _curve((*self.seed, 6), times, level=0.0),
      ],
      axis=-1,
    )

  def _states(self, times):
    """Of face, voice, and voice a moment before: -1 to 1, float64 [3, n]."""
    voice = self.shared or self.seed  # who are together hear one voice
    rng = np.random.default_rng((*voice, 8))
    start = rng.uniform(-_MOMENT, 0) - 2 * _MOMENT
    return np.stack(
      [
        _coins(np.random.default_rng((*self.seed, 9)), start, times),
        _coins(np.random.default_rng((*voice, 10)), start, times),
        _coins(np.random.default_rng((*voice, 10)), start + _MOMENT, times),
      ]
    )

  def felt(self, times):
    valence, heard, skin = self.parts(times).T
    return np.stack([valence, heard + skin], axis=-1)

  def meant(self, times):
    """What is rated, without errors."""
    if self.variant == 'planted':
      return self.felt(times - self.lag)
    if self.variant == 'coupled':
      face, voice, before = self._states(times - self.lag)
      return _AGREED * np.stack([face * voice, face * before], axis=-1)
    other = np.stack([_curve((*self.seed, i), times) for i in (2, 3)], axis=-1)
    if self.variant == 'null':
      return other
    levels = np.random.default_rng((*self.shared, 7)).normal(size=2).clip(-2, 2)
    return _SPREAD * levels + _LITTLE * other

  def rated(self, times):
    errors = [_ERROR * _curve((*self.seed, i), times) / _SPREAD for i in (4, 5)]
    return np.clip(self.meant(times) + np.stack(errors, axis=-1), -1, 1)


def _coins(rng, start, times):
  """One of -1 and 1 for each moment from `start` on, with smooth changes."""
  place = (times - start) / _MOMENT
  count = max(int(place.max(initial=0.0)), 0) + 2
  states = 2.0 * rng.integers(0, 2, count) - 1
  number = np.clip(place.astype(int), 1, count - 1)
  since = np.clip((place - number) * _MOMENT / _CHANGE, 0, 1)
  share = since**2 * (3 - 2 * since)
  return states[number] * share + states[number - 1] * (1 - share)


def _curve(seed, times, level=0.3):
  """`level`: how much of it is a mean of its own, by which people differ."""
  rng = np.random.default_rng(seed)
  return _SPREAD * (level * rng.normal() + 0.95 * wander(rng, times, _PERIODS)).clip(
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
  known = np.concatenate([one.meant(seen(times, lag)) for one in people])
  return {
    'ceiling': ceiling(known, rated, variant),
    'effects': _EFFECTS[variant].format(lag=lag),
  }


def seen(times, lag):
  """When a rating would be made of the last that a recording shows, float [n].

  What comes in the first `lag` seconds rates what was before the recording: the first
  moment has to stand for it.
  """
  return np.maximum(times, lag)


def ceiling(known, rated, variant):
  """The best possible scores, as the marker of a twin tells them.

  Args:
    known: float [n, 2], the best that can be said of valence and arousal at moments.
    rated: float [n, 2], the ratings there.
  """
  best = [concordance(*pair) for pair in zip(known.T, rated.T, strict=True)]
  return {
    name: {'ccc': round(x if variant in _FOLLOWING else 0.0, 4)}
    for name, x in zip(RATED, best, strict=True)
  }


def concordance(x, y):
  """Lin's concordance of two float [n]."""
  covariance = np.mean((x - x.mean()) * (y - y.mean()))
  return float(2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))
