"""Latents, ratings and the best possible scores."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score

from mvp_jax.synthetic import ratings
from mvp_jax.synthetic.spec import VARIANTS, TwinSpec

SUBJECTS = range(1, 97)


def _all(variant, function=ratings.ratings):
  spec = TwinSpec(subjects=len(SUBJECTS), variant=variant)
  return np.stack([function(spec, subject) for subject in SUBJECTS])


def test_latents_are_balanced_standard_normals():
  latents = _all('planted', ratings.latents)
  assert ((latents > 0).sum(axis=1) == 20).all()
  for target in (0, 1):
    assert stats.kstest(latents[..., target].ravel(), 'norm').pvalue > 0.01
  assert abs(np.corrcoef(latents.reshape(-1, 2).T)[0, 1]) < 4 / math.sqrt(96 * 40)


@pytest.mark.parametrize('variant', VARIANTS)
def test_ratings_are_on_the_scale_and_clear_of_the_threshold(variant):
  values = _all(variant)
  assert values.min() >= 1 and values.max() <= 9
  assert (values == values.round(2)).all() and (values != 5).all()
  assert abs((values > 5).mean(axis=(0, 1))[:2] - 0.5).max() < 0.03


def test_order_is_a_permutation_that_starts_like_deap():
  orders = _all('planted', ratings.stimulus_order)
  assert (np.sort(orders) == np.arange(1, 41)).all()
  assert orders[0, 0] == 5
  assert len(set(map(tuple, orders))) == len(SUBJECTS)


@pytest.mark.parametrize('variant', ['planted', 'coupled'])
def test_ratings_reach_the_stated_ceiling(variant):
  high = _all(variant)[..., :2] > 5
  oracle = _all(variant, ratings.latents) > 0
  expected = 1 - math.acos(ratings.RHO) / math.pi
  assert 0.85 < expected < 0.95
  spec = TwinSpec(subjects=len(SUBJECTS), variant=variant)
  for i, target in enumerate(('valence', 'arousal')):
    stated = ratings.ceiling(spec)[target]
    labels, predicted = high[..., i].ravel(), oracle[..., i].ravel()
    right = accuracy_score(labels, predicted)
    error = math.sqrt(expected * (1 - expected) / labels.size)
    assert abs(right - expected) < 4 * error
    assert stated['macro_f1'] == pytest.approx(expected, abs=1e-4)
    assert stated['oracle_accuracy'] == pytest.approx(right, abs=1e-4)
    assert stated['oracle_macro_f1'] == pytest.approx(
      f1_score(labels, predicted, average='macro'), abs=1e-4
    )
    other = oracle[..., 1 - i].ravel()
    assert abs(accuracy_score(labels, other) - 0.5) < 4 * 0.5 / math.sqrt(labels.size)


@pytest.mark.parametrize('variant', ['null', 'leaky'])
def test_other_variants_ignore_the_latents(variant):
  high = _all(variant)[..., :2] > 5
  oracle = _all(variant, ratings.latents) > 0
  noise = 0.5 / math.sqrt(96 * 40)
  assert abs((high == oracle).mean(axis=(0, 1)) - 0.5).max() < 4 * noise
  spec = TwinSpec(subjects=4, variant=variant)
  assert ratings.ceiling(spec)['valence']['macro_f1'] == 0.5


def test_leaky_subjects_lean_and_the_sides_are_balanced():
  share = (_all('leaky')[..., :2] > 5).mean(axis=1)
  leaning = np.where(share > 0.5, share, 1 - share)
  error = math.sqrt(ratings.LEAN * (1 - ratings.LEAN) / (96 * 40))
  assert abs(leaning.mean(axis=0) - ratings.LEAN).max() < 4 * error
  sides = (share > 0.5).reshape(-1, 4, 2)
  assert all(len(set(map(tuple, block))) == 4 for block in sides)
  null = (_all('null')[..., :2] > 5).mean(axis=1)
  assert null.std() < 0.1 < share.std()


def test_high_arousal_is_no_likelier_with_high_valence():
  for subject in range(1, 6):
    valence, arousal = ratings.latents(TwinSpec(subjects=5), subject).T > 0
    assert (valence & arousal).sum() == (valence & ~arousal).sum() == 10
