"""Are the report's intervals and claims honest? Simulated corpora of known truth.

  python benchmarks/honesty.py [--corpora 100]

Predictions are simulated, nothing is trained: subjects differ in how often they rate
high, in how well a model reads them and in its bias; clips are the same in all corpora.
All go through `evaluation.results.evaluate`, as the report's numbers do.

- Planted: fusion reads the subjects better than video. How often does the 95 % interval
  hold the true score, and the true difference, which simulation of many subjects tells?
  The t interval of the report beside the percentile and BCa bootstrap. To reach: 90 of
  100.
- Null: all models are at chance, or are equally good. How often does the report claim
  any difference? To reach: at most 7 of 100. Beside it, what intervals without a
  correction would have claimed.
"""

import argparse
import json
import pathlib
import sys
import time

import numpy as np
from scipy import stats

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from mvp_jax.evaluation import statistics
from mvp_jax.evaluation.predictions import Prediction
from mvp_jax.evaluation.results import evaluate
from mvp_jax.targets import binary_scores as metrics
from mvp_jax.targets.binary_scores import METRICS

TRIALS, FOLDS = 40, 5
CLIPS = np.random.default_rng(7).normal(0, 0.7, TRIALS)
PLANTED = {'fusion': 0.9, 'video': 0.5}
NULLS = {
  'chance': dict.fromkeys(('fusion', 'video', 'physio'), 0.0),
  'equal': dict.fromkeys(('fusion', 'video', 'physio'), 0.7),
}
RESAMPLES = 1000


def simulate(rng, subjects, skills):
  """Ratings [S, T], and {model: (probabilities, predicted ratings)}, each [S, T]."""
  felt = (
    CLIPS + rng.normal(0, 0.5, (subjects, 1)) + rng.normal(0, 1, (subjects, TRIALS))
  )
  sign = np.where(felt > 0, 1, -1)
  legible = rng.normal(0, 0.5, (subjects, 1))  # some faces tell more, to any model
  noise = rng.normal(0, 1, (subjects, TRIALS))
  said = {}
  for model, skill in skills.items():
    own = rng.normal(0, 0.4, (subjects, 1))  # at skill 0, as often below as above
    logit = (
      (skill + own + (legible if skill else 0)) * sign
      + rng.normal(0, 0.6, (subjects, 1))
      + noise
      + rng.normal(0, 1, (subjects, TRIALS))
    )
    said[model] = 1 / (1 + np.exp(-logit)), 5 + 0.7 * logit
  return 5 + 1.5 * felt, said


def rows(ratings, said):
  """The Predictions of a corpus, with the class prior."""
  subjects = len(ratings)
  high = ratings > 5
  fold = np.arange(subjects) % FOLDS
  prior = [high[fold != f].mean() for f in range(FOLDS)]
  for s, t in np.ndindex(ratings.shape):
    known = ('simulated', s, t, str(t), int(fold[s]), 0)
    truth = ('valence', float(ratings[s, t]), int(high[s, t]))
    yield Prediction(*known, 'class_prior', *truth, float(prior[fold[s]]))
    for model, (scores, predicted) in said.items():
      yield Prediction(
        *known, model, *truth, float(scores[s, t]), float(predicted[s, t])
      )


def true_scores(skills, subjects=20_000):
  """{model: METRICS} of very many subjects."""
  ratings, said = simulate(np.random.default_rng(11), subjects, skills)
  one = np.zeros(ratings.size, int)
  found = {}
  for model, (scores, predicted) in said.items():
    found[model] = metrics.sums(
      ratings.ravel() > 5,
      scores.ravel(),
      one,
      one,
      1,
      ratings=ratings.ravel(),
      predicted_ratings=predicted.ravel(),
    ).cheap(np.ones((1, 1)))[0]
  return found


def bca_interval(ratings, scores, predicted, seed):
  """Bias-corrected and accelerated bootstrap (Efron, 1987) of METRICS."""
  subjects = len(ratings)
  who = np.repeat(np.arange(subjects), TRIALS)
  sums = metrics.sums(
    ratings.ravel() > 5,
    scores.ravel(),
    who,
    who % FOLDS,
    subjects,
    ratings=ratings.ravel(),
    predicted_ratings=predicted.ravel(),
  )
  value = sums.cheap(np.ones((1, subjects)))[0]
  drawn = statistics.bootstrap(sums.cheap, subjects, RESAMPLES, seed)
  without = sums.cheap(1 - np.eye(subjects))
  lost = without.mean(0) - without
  skew = (lost**3).sum(0) / (6 * (lost**2).sum(0) ** 1.5)
  bias = stats.norm.ppf((drawn < value).mean(0) + (drawn == value).mean(0) / 2)
  ends = []
  for z in stats.norm.ppf([0.025, 0.975]):
    level = stats.norm.cdf(bias + (bias + z) / (1 - skew * (bias + z)))
    ends.append([np.quantile(drawn[:, k], level[k]) for k in range(len(METRICS))])
  return np.array(ends)


def planted(subjects, corpora, truth):
  """{way: how often the interval held the truth, for each of METRICS}."""
  gap = truth['fusion'] - truth['video']
  held = {
    way: np.zeros(len(METRICS)) for way in ('t', 'percentile', 'BCa', 't, difference')
  }
  shown = 0
  for corpus in range(corpora):
    ratings, said = simulate(
      np.random.default_rng((1, subjects, corpus)), subjects, PLANTED
    )
    (result,) = evaluate(list(rows(ratings, said)), resamples=RESAMPLES, seed=corpus)
    found = [result.scores['fusion'][name] for name in METRICS]
    gains = result.differences['fusion', 'video']
    low, high = bca_interval(ratings, *said['fusion'], corpus)
    aim = truth['fusion']
    held['t'] += [e.low <= x <= e.high for e, x in zip(found, aim, strict=True)]
    held['percentile'] += [
      e.bootstrap_low <= x <= e.bootstrap_high for e, x in zip(found, aim, strict=True)
    ]
    held['BCa'] += (low <= aim) & (aim <= high)
    held['t, difference'] += [
      gains[name].low <= x <= gains[name].high
      for name, x in zip(METRICS, gap, strict=True)
    ]
    shown += gains['macro_f1'].shown
  return held, shown


def null(skills, subjects, corpora):
  """How many corpora claim a difference: as the report does, and uncorrected.

  Models against each other by macro-F1; at chance, also a model above the coin by
  macro-F1, or above the majority class by accuracy.
  """
  claims, uncorrected = 0, 0
  for corpus in range(corpora):
    ratings, said = simulate(
      np.random.default_rng((2, subjects, corpus)), subjects, skills
    )
    (result,) = evaluate(list(rows(ratings, said)), resamples=2, seed=corpus)
    tests = []
    for (_, b), gain in result.differences.items():
      name = 'accuracy' if b == 'majority' else 'macro_f1'
      if b not in result.baselines:
        tests.append((gain[name], False))
      elif not any(skills.values()):
        tests.append((gain[name], True))
    claims += any(gain.shown and (gain.value > 0 or not above) for gain, above in tests)
    uncorrected += any(
      gain.low > 0 or gain.high < 0 and not above for gain, above in tests
    )
  return claims, uncorrected


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--corpora', type=int, default=100)
  corpora = parser.parse_args().corpora
  start, cpu = time.monotonic(), time.process_time()
  found = {'benchmark': 'honesty', 'corpora': corpora}
  truth = true_scores(PLANTED)
  print(
    'true scores of fusion: '
    + ', '.join(
      f'{name} {x:.3f}' for name, x in zip(METRICS, truth['fusion'], strict=True)
    )
  )
  for subjects in (22, 37):
    held, shown = planted(subjects, corpora, truth)
    print(
      f'\n{subjects} subjects: corpora of {corpora} whose 95 % interval holds the '
      'true score'
    )
    print(f'{"":14}' + ''.join(f'{name[:12]:>13}' for name in METRICS))
    for way, counts in held.items():
      print(f'{way:14}' + ''.join(f'{count:13.0f}' for count in counts))
      found[f'{subjects}/{way}'] = dict(zip(METRICS, map(int, counts), strict=True))
    print(f'corpora that show fusion above video: {shown}')
    found[f'{subjects}/power'] = shown
  print()
  for name, skills in NULLS.items():
    for subjects in (22, 37):
      claims, uncorrected = null(skills, subjects, corpora)
      print(
        f'null ({name}), {subjects} subjects: {claims} of {corpora} claim a '
        f'difference; intervals alone would in {uncorrected}'
      )
      found[f'{subjects}/null {name}'] = {'claims': claims, 'uncorrected': uncorrected}
  found['seconds'] = round(time.monotonic() - start, 1)
  found['cpu_seconds'] = round(time.process_time() - cpu, 1)
  print(json.dumps(found))


if __name__ == '__main__':
  main()
