"""Scores, intervals and paired tests of named models, from their predictions alone."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from mvp_jax.evaluation import statistics
from mvp_jax.evaluation.statistics import Difference, Estimate
from mvp_jax.targets import Binary, Target
from mvp_jax.targets.calibration import Calibration


@dataclasses.dataclass(frozen=True)
class FoldScores:
  """One fold's trials of one rating; the headline score by model and baseline."""

  seed: int
  fold: int
  subjects: int
  trials: int
  composition: tuple[str, float] | None
  headline: dict[str, float]


@dataclasses.dataclass(frozen=True)
class TargetResult:
  """All of one rating of a target.

  `models` are the trained ones, the main one first, `baselines` the others.
  `scores` are by model or baseline, then by one of `definition.scores`.
  `differences` hold, by pair (a, b), a minus b: the main model against each other
  one, the other models against the baselines of chance; p is corrected for these
  pairs. `by_seed` [seeds, scores] and `by_subject` [persons, scores] are by model or
  baseline; `one_sided` tells which persons can't show the headline score in full,
  `one_answers` by model that it says nearly the same of all trials.
  `calibrations` and `confusions` (integer [2, 2], truth by prediction, low first)
  are empty where the target has none.
  """

  definition: Target
  target: str
  trials: int
  persons: tuple[tuple[str, int], ...]  # (dataset, subject)
  one_sided: tuple[bool, ...]
  seed_numbers: tuple[int, ...]
  composition: tuple[str, float] | None
  models: tuple[str, ...]
  baselines: tuple[str, ...]
  scores: dict[str, dict[str, Estimate]]
  differences: dict[tuple[str, str], dict[str, Difference]]
  by_seed: dict[str, np.ndarray]
  by_subject: dict[str, np.ndarray]
  calibrations: dict[str, Calibration]
  confusions: dict[str, np.ndarray]
  one_answers: dict[str, str]
  folds: tuple[FoldScores, ...]

  @property
  def subjects(self) -> int:
    return len(self.persons)

  @property
  def seeds(self) -> int:
    return len(self.seed_numbers)

  @property
  def everyone(self) -> tuple[str, ...]:
    """Models, then baselines."""
    return *self.models, *self.baselines

  @property
  def references(self) -> tuple[str, ...]:
    """The baselines of chance."""
    return tuple(b for b in self.baselines if self.definition.known_baselines[b].chance)

  @property
  def chance(self) -> str | None:
    """The baseline that is chance by the headline score, if there is one."""
    known = self.definition.known_baselines
    own = (b for b in self.references if known[b].chance == self.definition.headline)
    return next(own, None)

  @property
  def headline_name(self) -> str:
    """The headline score as figures and tables name it."""
    return self.definition.scores[self.definition.headline].name

  def place(self, score: str) -> int:
    """The column of a score in `by_seed` and `by_subject`."""
    return list(self.definition.scores).index(score)

  def has(self, score: str) -> bool:
    """Whether any model or baseline has this score."""
    return any(np.isfinite(self.scores[name][score].value) for name in self.scores)


def evaluate(
  predictions: Sequence,
  target: Target | None = None,
  main: str | None = None,
  resamples: int = statistics.RESAMPLES,
  seed: int = 0,
) -> list[TargetResult]:
  """Scores of every rating, in the order of the file.

  A score is that of all held-out trials of a seed, over all folds, averaged over the
  seeds; for intervals and tests the trials of a subject stay together over folds and
  seeds.

  Args:
    predictions: each model has each trial (`predictions.check`, `common_trials`).
    target: what is predicted; None = a Binary one.
    main: whom the others are compared with; None = the first model.
    resamples: of the bootstrap.
    seed: of what is drawn at random.
  """
  target = target or Binary()
  return [
    _Rating([row for row in predictions if row.target == name], target, main).result(
      resamples, seed
    )
    for name in dict.fromkeys(row.target for row in predictions)
  ]


def in_order(models, target, main=None) -> tuple[list[str], list[str]]:
  """Models with the main one first, and baselines, of names in the predictions."""
  names = list(dict.fromkeys(models))
  trained = [name for name in names if name not in target.sources]
  known = [
    key for key, one in target.known_baselines.items() if (one.source or key) in names
  ]
  return sorted(trained, key=lambda name: name != main), known


def common_trials(predictions: Sequence) -> tuple[list, int]:
  """Rows of the trials that every model has, and how many other trials there are.

  For models of several runs, of which some can't use every trial.
  """
  models, found = {row.model for row in predictions}, {}
  for row in predictions:
    found.setdefault(row.trial_key, set()).add(row.model)
  rows = [row for row in predictions if found[row.trial_key] == models]
  return rows, sum(found[key] != models for key in found)


class _Rating:
  """The trials of one rating, and sums by subject of each model and seed."""

  def __init__(self, rows, target, main):
    self.definition, self.target = target, rows[0].target
    by_model = {}
    for row in rows:
      by_model.setdefault(row.model, {})[row.trial_key] = row
    self.trials = list(by_model[rows[0].model].values())
    self.persons = sorted({row.place[:2] for row in self.trials})
    number = {person: i for i, person in enumerate(self.persons)}
    self.subjects = np.array([number[row.place[:2]] for row in self.trials])
    self.folds = np.array([row.fold for row in self.trials])
    self.seed_of = np.array([row.seed for row in self.trials])
    self.seeds = np.unique(self.seed_of)
    self.models, self.baselines = in_order(by_model, target, main)
    self.names = [*self.models, *self.baselines]
    self.rows = {}
    for name in self.names:
      known = target.known_baselines.get(name)
      of = by_model[(known and known.source) or name]
      self.rows[name] = [of[row.trial_key] for row in self.trials]
    parts = [self.seed_of == seed for seed in self.seeds]
    self.sums = {
      name: target.sums(name, self.rows[name], self.subjects, parts, len(self.persons))
      for name in self.names
    }
    nothing = np.zeros(len(target.scores))
    self.offsets = {
      name: np.mean([x.offset + nothing for x in sums], axis=0)
      for name, sums in self.sums.items()
    }

  def everyone(self):
    return np.ones((1, len(self.persons)))

  def of(self, name, weights):
    """Scores of a model for weights of the subjects: the mean over seeds."""
    return self.offsets[name] + np.mean([x.scores(weights) for x in self.sums[name]], 0)

  def result(self, resamples, seed):
    names, target = self.names, self.definition
    main = self.models[0] if self.models else None
    pairs = [
      (a, b)
      for a in self.models
      for b in names
      if a != b
      and (a == main or (b in self.baselines and target.known_baselines[b].chance))
    ]
    contributed = {
      name: statistics.contributions(
        functools.partial(self.of, name), len(self.persons)
      )
      for name in names
    }
    values = {name: self.of(name, self.everyone())[0] for name in names}
    everyone, alone = self.everyone(), np.eye(len(self.persons))
    calibrations = {name: target.calibration(name, self.rows[name]) for name in names}
    confusions = {name: target.confusion(self.rows[name]) for name in self.models}
    one_answers = {name: target.one_answer(self.rows[name]) for name in self.models}
    return TargetResult(
      definition=target,
      target=self.target,
      trials=len({row.place for row in self.trials}),
      persons=tuple(self.persons),
      one_sided=tuple(
        target.one_sided([self.trials[k] for k in np.flatnonzero(self.subjects == i)])
        for i in range(len(self.persons))
      ),
      seed_numbers=tuple(self.seeds.tolist()),
      composition=target.composition(self.trials),
      models=tuple(self.models),
      baselines=tuple(self.baselines),
      scores={
        name: self._estimates(name, values[name], contributed[name], resamples, seed)
        for name in names
      },
      differences=_differences(pairs, values, contributed, list(target.scores), seed),
      by_seed={
        name: np.concatenate([x.scores(everyone) for x in sums])
        for name, sums in self.sums.items()
      },
      by_subject={
        name: _mean_of_finite([x.scores(alone) for x in sums])
        for name, sums in self.sums.items()
      },
      calibrations={k: x for k, x in calibrations.items() if x is not None},
      confusions={k: x for k, x in confusions.items() if x is not None},
      one_answers={k: x for k, x in one_answers.items() if x},
      folds=tuple(self._fold_scores()),
    )

  def _estimates(self, name, values, contributed, resamples, seed):
    scores, cheap = self.definition.scores, self.definition.cheap
    low, high = statistics.t_interval(contributed)
    ends = np.array([(score.low, score.high) for score in scores.values()]).T
    low, high = np.clip(low, *ends), np.clip(high, *ends)
    found = {
      key: Estimate(float(values[i]), float(low[i]), float(high[i]))
      for i, key in enumerate(scores)
    }
    if len(self.persons) > 1:

      def score(weights):
        return np.mean([x.cheap(weights) for x in self.sums[name]], 0)

      drawn = statistics.bootstrap(score, len(self.persons), resamples, seed)
      ends = statistics.percentile_interval(drawn + self.offsets[name][: len(cheap)])
      for key, low, high in zip(cheap, *np.array(ends).tolist(), strict=True):
        bounds = {'bootstrap_low': low, 'bootstrap_high': high}
        found[key] = dataclasses.replace(found[key], **bounds)
    return found

  def _fold_scores(self):
    at = list(self.definition.scores).index(self.definition.headline)
    runs = sorted(set(zip(self.seed_of.tolist(), self.folds.tolist(), strict=True)))
    parts = [(self.seed_of == seed) & (self.folds == fold) for seed, fold in runs]
    alone, everyone = np.zeros(len(self.trials), int), np.ones((1, 1))
    scores = {
      name: [
        float((sums.offset + sums.scores(everyone))[0, at])
        for sums in self.definition.sums(name, self.rows[name], alone, parts, 1)
      ]
      for name in self.names
    }
    for i, ((seed, fold), here) in enumerate(zip(runs, parts, strict=True)):
      yield FoldScores(
        seed,
        fold,
        len(np.unique(self.subjects[here])),
        int(here.sum()),
        self.definition.composition([self.trials[k] for k in np.flatnonzero(here)]),
        {name: of_fold[i] for name, of_fold in scores.items()},
      )


def _differences(pairs, values, contributed, scores, seed):
  if not pairs:
    return {}
  gains = np.stack([contributed[a] - contributed[b] for a, b in pairs], axis=1)
  p = statistics.sign_flip(gains, seed)
  low, high = statistics.t_interval(gains)
  found = np.stack(
    [[values[a] - values[b] for a, b in pairs], low, high, p, statistics.holm(p)],
    axis=-1,
  )
  return {
    pair: {key: Difference(*map(float, found[i, j])) for j, key in enumerate(scores)}
    for i, pair in enumerate(pairs)
  }


def _mean_of_finite(tables):
  """Mean over the seeds in which there is a score; NaN where there is none."""
  known = np.isfinite(tables)
  number, total = known.sum(0), np.where(known, tables, 0).sum(0)
  return np.where(number, total / np.maximum(number, 1), np.nan)
