"""When face and body act in a coupled twin: only their coincidence tells the label.

A trial has eight moments a minute. At a quarter of them the face smiles, at a quarter
it frowns, at the others it is still. At half of them the skin responds: at the smiles
if valence is high and at as many others if it is low, at the frowns if arousal is high
and at as many others if it is low.

Which moment is of which kind is drawn evenly, whatever the label. So the face alone
(two smiles, two frowns) and the body alone (four responses) are distributed alike under
every label, and so is what is computed of either alone: only who knows both can tell.
"""

from typing import NamedTuple

import numpy as np

from mvp_jax.synthetic.ratings import latents
from mvp_jax.synthetic.spec import stream

LAG_SECONDS = 1.0  # from an expression to the start of the response of the skin
FIRST_SECONDS = 3.0  # when the first moment may come
_GROUP_SECONDS = 28  # four moments, of which one is a smile and one a frown


class Moments(NamedTuple):
  """Seconds since the onset, sorted float64 [events]."""

  smiles: np.ndarray
  frowns: np.ndarray
  responses: np.ndarray  # starts, of the skin


def moments(spec, subject, trial):
  """Those of one trial (from 1); returns `Moments`."""
  groups = max(1, int(spec.trial_seconds / _GROUP_SECONDS))
  count = 4 * groups
  rng = stream(spec, 'moments', subject, trial)
  spacing = (spec.trial_seconds - FIRST_SECONDS) / count
  seconds = FIRST_SECONDS + spacing * (np.arange(count) + rng.uniform(0, 0.3, count))
  valence, arousal = latents(spec, subject)[trial - 1]
  smiles, frowns, responses = chosen(rng.permutation(count), valence > 0, arousal > 0)
  return Moments(seconds[smiles], seconds[frowns], seconds[responses] + LAG_SECONDS)


def chosen(order, valence, arousal):
  """Numbers of the moments of smiles, frowns and responses, each sorted.

  `order` is a permutation of all moments, 4 n; `valence` and `arousal`: whether high.
  """
  smiles, frowns, still, quiet = np.split(order, 4)
  responses = smiles if valence else still, frowns if arousal else quiet
  return np.sort(smiles), np.sort(frowns), np.sort(np.concatenate(responses))
