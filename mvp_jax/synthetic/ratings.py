"""What the subjects of a twin feel (latents) and what they say (ratings).

Every trial has a latent valence v and a latent arousal a: each standard
normal, independent of one another, and stratified within the subject so that
half of a subject's trials lie on either side. The face shows v, EDA and pulse
show a (see `expression` and `signals`); in the variant 'coupled' only face and EDA
together show either (see `moments`). Variants differ in how the ratings come about:

- planted and coupled: rating = 5 + 1.9 * (RHO * latent + sqrt(1 - RHO**2) * noise);
- null: the same with RHO = 0, so ratings are independent of everything;
- leaky: each subject's ratings lie with probability LEAN on one side of 5, for
  each target the side is random and balanced over subjects. They are
  independent of face and signals of the trial, so that only somebody who has
  seen other trials of this subject can predict them.

Ratings are clipped to 1..9, rounded to two decimals, and never exactly 5.00.

For latent and rating with correlation RHO, sign(latent) is the best possible
prediction of rating > 5, and it is right with probability
1 - arccos(RHO) / pi; by symmetry that is also its macro-F1.
"""

import math
import statistics

import numpy as np

from mvp_jax.synthetic.spec import stream

TARGETS = ('valence', 'arousal')
RATINGS = ('valence', 'arousal', 'dominance', 'liking')
RHO = 0.965
LEAN = 0.85
_SCALE = 1.9
_NO_FAMILIARITY = (2, 15, 23)
_FOLLOWING = 'planted', 'coupled'  # variants whose ratings follow the latents
_RATED = dict.fromkeys(
  _FOLLOWING,
  f'correlated {RHO} with the latent, so that the sign of the '
  'latent predicts rating > 5 with probability 1 - arccos(rho)/pi.',
) | {
  'null': 'independent of latents, faces and signals; best possible is chance.',
  'leaky': f"on one side of 5 in {LEAN:.0%} of a subject's trials, the "
  'side random per subject and target; independent of faces and '
  'signals, so only knowing the subject helps.',
}
_SHOWN = (
  'Valence shows only in the face: smiles (v > 0) or frowns (v < 0), more, longer and '
  'stronger with |v|. Arousal shows only in EDA (rate and size of skin conductance '
  'responses, tonic slope) and pulse (heart rate up, variability and pulse size down).'
)
_SHOWN_TOGETHER = (
  'Smiles, frowns and skin conductance responses are as many in every trial. Responses '
  'come at the smiles if v > 0, at the frowns if a > 0, and else while the face is '
  'still: neither the face alone nor signals alone tell anything.'
)


def effects(variant):
  """What the marker of a twin says of what is planted, and where."""
  return (
    'Latent valence and arousal of a trial are independent standard normals. '
    f'{_SHOWN_TOGETHER if variant == "coupled" else _SHOWN} Both stand on per-subject '
    f'offsets and gains, distractors and noise. Ratings: {_RATED[variant]}'
  )


def latents(spec, subject):
  """Latent valence and arousal, float64 [trials, 2] in presentation order.

  Arousal is high as often where valence is high as where it is low, within each
  subject: else chance would let a model of one score on the other.
  """
  rng = stream(spec, 'latents', subject)
  valence = rng.permutation(spec.trials)
  arousal = np.empty_like(valence)
  low = valence < spec.trials / 2
  arousal[low] = rng.permutation(np.arange(0, spec.trials, 2))
  arousal[~low] = rng.permutation(np.arange(1, spec.trials, 2))
  strata = np.stack([valence, arousal])
  quantiles = (strata + rng.uniform(0.02, 0.98, strata.shape)) / spec.trials
  return np.vectorize(statistics.NormalDist().inv_cdf)(quantiles).T


def stimulus_order(spec, subject):
  """Experiment_id (from 1) of each trial in presentation order, int [trials].

  Participant 1 saw video 5 first.
  """
  order = stream(spec, 'order', subject).permutation(spec.trials) + 1
  if subject == 1 and spec.trials >= 5:
    first = int(np.flatnonzero(order == 5)[0])
    order[[0, first]] = order[[first, 0]]
  return order


def ratings(spec, subject):
  """Valence, arousal, dominance, liking: [trials, 4] in presentation order."""
  rng = stream(spec, 'ratings', subject)
  noise = rng.standard_normal((spec.trials, 4))
  sides = np.where(rng.uniform(size=(spec.trials, 2)) < LEAN, 1, -1)
  if spec.variant == 'leaky':
    felt = sides * _leaning(spec, subject) * abs(noise[:, :2])
  else:
    rho = RHO if spec.variant in _FOLLOWING else 0.0
    felt = rho * latents(spec, subject) + math.sqrt(1 - rho**2) * noise[:, :2]
  dominance = felt @ [0.4, 0.2] + 0.9 * noise[:, 2]
  liking = felt @ [0.7, 0.1] + 0.7 * noise[:, 3]
  exact = 5 + _SCALE * np.column_stack([felt, dominance, liking])
  rounded = np.round(np.clip(exact, 1, 9), 2)
  return np.where(rounded == 5, np.where(exact > 5, 5.01, 4.99), rounded)


def familiarity(spec, subject):
  """Familiarity 1-5 of each trial, or None where the subject gave no answers."""
  if subject in _NO_FAMILIARITY:
    return None
  rng = stream(spec, 'ratings', subject, trial=1)
  return rng.choice([1, 2, 3, 4, 5], size=spec.trials, p=[0.4, 0.2, 0.15, 0.15, 0.1])


def told(spec):
  """What the marker of a twin says of its ratings: the best scores, and the effects."""
  return {
    'ceiling': ceiling(spec),
    'effects': effects(spec.variant),
  }


def ceiling(spec):
  """The best possible scores per target, in closed form and on this corpus.

  `macro_f1` and `accuracy` are expected of the best subject-independent
  predictor; `oracle_*` is what sign(latent) scores on this very corpus.
  """
  best = 1 - math.acos(RHO) / math.pi if spec.variant in _FOLLOWING else 0.5
  subjects = range(1, spec.subjects + 1)
  latent = np.concatenate([latents(spec, subject) for subject in subjects]) > 0
  high = np.concatenate([ratings(spec, subject)[:, :2] for subject in subjects]) > 5
  return {
    target: {
      'macro_f1': round(best, 4),
      'accuracy': round(best, 4),
      'oracle_macro_f1': round(_macro_f1(high[:, i], latent[:, i]), 4),
      'oracle_accuracy': round(float((high[:, i] == latent[:, i]).mean()), 4),
      'share_high': round(float(high[:, i].mean()), 4),
    }
    for i, target in enumerate(TARGETS)
  }


def _leaning(spec, subject):
  """+1 or -1 per target; four subjects in a row have all four combinations."""
  block, place = divmod(subject - 1, 4)
  combination = stream(spec, 'sides', block).permutation(4)[place]
  return np.array([combination % 2, combination // 2]) * 2 - 1


def _macro_f1(labels, predictions):
  scores = [
    2 * (labels & predictions).sum() / (labels.sum() + predictions.sum())
    for labels, predictions in ((labels, predictions), (~labels, ~predictions))
    if labels.any() or predictions.any()
  ]
  return float(np.mean(scores))
