"""Scores, intervals and paired tests of named models, from their predictions alone."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mvp_jax.evaluation import metrics, statistics
from mvp_jax.evaluation.calibration import Calibration, calibrate, equal_bins
from mvp_jax.evaluation.metrics import METRICS, RANGES, SCORES
from mvp_jax.evaluation.names import REFERENCES, in_order
from mvp_jax.evaluation.predictions import CLASS_PRIOR, Prediction
from mvp_jax.evaluation.statistics import Difference, Estimate


@dataclasses.dataclass(frozen=True)
class FoldScores:
  """One fold's trials of one target; `macro_f1` by model and baseline."""

  seed: int
  fold: int
  subjects: int
  trials: int
  share_high: float
  macro_f1: dict[str, float]


@dataclasses.dataclass(frozen=True)
class TargetResult:
  """All of one target.

  `models` are the trained ones, the main one first, `baselines` the others.
  `scores` are by model or baseline, then by one of `metrics.SCORES`. `differences`
  hold, by pair (a, b), a minus b: the main model against each other one, the other
  models against the references; p is corrected for these pairs. `by_seed`
  [seeds, SCORES] and `by_subject` [persons, SCORES] are by model or baseline;
  `both_classes` tells which persons have trials of both labels.
  `confusions` are integer [2, 2], truth by prediction, low first.
  """

  target: str
  trials: int
  persons: tuple[tuple[str, int], ...]  # (dataset, subject)
  both_classes: tuple[bool, ...]
  seed_numbers: tuple[int, ...]
  share_high: float
  models: tuple[str, ...]
  baselines: tuple[str, ...]
  scores: dict[str, dict[str, Estimate]]
  differences: dict[tuple[str, str], dict[str, Difference]]
  by_seed: dict[str, np.ndarray]
  by_subject: dict[str, np.ndarray]
  calibrations: dict[str, Calibration]
  confusions: dict[str, np.ndarray]
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

  def has(self, metric: str) -> bool:
    """Whether any model or baseline has this score."""
    return any(np.isfinite(self.scores[name][metric].value) for name in self.scores)


def evaluate(
  predictions: Sequence[Prediction],
  main: str | None = None,
  resamples: int = statistics.RESAMPLES,
  seed: int = 0,
) -> list[TargetResult]:
  """Scores of every target, in the order of the file.

  A score is that of all held-out trials of a seed, over all folds, averaged over the
  seeds; for intervals and tests the trials of a subject stay together over folds and
  seeds. The coin says high with the class prior of each trial's training fold; its
  scores are exact expectations.

  Args:
    predictions: each model has each trial (`predictions.check`, `common_trials`).
    main: whom the others are compared with; if None, fusion or the first model.
    resamples: of the bootstrap.
    seed: of what is drawn at random.
  """
  targets = dict.fromkeys(row.target for row in predictions)
  return [
    _Target([row for row in predictions if row.target == target], main).result(
      resamples, seed
    )
    for target in targets
  ]


def common_trials(predictions: Sequence[Prediction]) -> tuple[list[Prediction], int]:
  """Rows of the trials that every model has, and how many other trials there are.

  For models of several runs, of which some can't use every trial.
  """
  models, found = {row.model for row in predictions}, {}
  for row in predictions:
    found.setdefault(row.trial_key, set()).add(row.model)
  rows = [row for row in predictions if found[row.trial_key] == models]
  return rows, sum(found[key] != models for key in found)


class _Target:
  """The trials of one target, and sums by subject of each model and seed."""

  def __init__(self, rows, main):
    by_model = {}
    for row in rows:
      by_model.setdefault(row.model, {})[row.trial_key] = row
    self.trials = list(by_model[rows[0].model].values())
    self.target = rows[0].target
    self.labels = np.array([row.label for row in self.trials])
    self.persons = sorted({(row.dataset, row.subject) for row in self.trials})
    number = {person: i for i, person in enumerate(self.persons)}
    self.subjects = np.array([number[r.dataset, r.subject] for r in self.trials])
    self.folds = np.array([row.fold for row in self.trials])
    self.seed_of = np.array([row.seed for row in self.trials])
    self.seeds = np.unique(self.seed_of)
    ordered = {
      model: [of[row.trial_key] for row in self.trials]
      for model, of in by_model.items()
    }
    if CLASS_PRIOR in ordered:
      prior = ordered.pop(CLASS_PRIOR)
      ordered |= dict.fromkeys(REFERENCES, prior)
    models, self.baselines = in_order(ordered)
    self.models = sorted(models, key=lambda model: model != main)
    self.scores = {
      name: np.array([row.score for row in ordered[name]])
      for name in (*self.models, *self.baselines)
    }
    self.said = {
      name: scores if name == 'coin' else metrics.decide(scores)
      for name, scores in self.scores.items()
    }
    self.sums = {name: self._sums(name, ordered[name]) for name in self.scores}
    self.offsets = {name: np.zeros(len(SCORES)) for name in self.scores}
    if 'coin' in self.scores:
      self.offsets['coin'] = self._exact_coin() - self.of('coin', self.everyone())[0]

  def everyone(self):
    return np.ones((1, len(self.persons)))

  def of(self, name, weights):
    """SCORES of a model for weights of the subjects: the mean over seeds."""
    return self.offsets[name] + np.mean([x.scores(weights) for x in self.sums[name]], 0)

  def _sums(self, name, rows):
    bins = equal_bins(self.scores[name])
    ratings = np.array([row.rating for row in rows])
    rated = rows[0].predicted_rating is not None
    predicted = np.array([row.predicted_rating for row in rows]) if rated else None
    return [
      metrics.sums(
        self.labels[here],
        self.scores[name][here],
        self.subjects[here],
        self.folds[here],
        len(self.persons),
        predicted=self.said[name][here],
        ratings=ratings[here],
        bins=bins[here],
        predicted_ratings=predicted[here] if rated else None,
      )
      for here in (self.seed_of == seed for seed in self.seeds)
    ]

  def _exact_coin(self):
    exact = self.of('coin', self.everyone())[0]
    known = [
      metrics.coin_scores(self.labels[here], self.scores['coin'][here])
      for here in (self.seed_of == seed for seed in self.seeds)
    ]
    for i, metric in enumerate(SCORES):
      if metric in known[0]:
        exact[i] = np.mean([of_seed[metric] for of_seed in known])
    return exact

  def result(self, resamples, seed):
    names = [*self.models, *self.baselines]
    main = self.models[0] if self.models else None
    pairs = [
      (a, b)
      for a in self.models
      for b in names
      if a != b and (a == main or b in REFERENCES)
    ]
    contributed = {
      name: statistics.contributions(
        lambda weights, name=name: self.of(name, weights), len(self.persons)
      )
      for name in names
    }
    values = {name: self.of(name, self.everyone())[0] for name in names}
    return TargetResult(
      target=self.target,
      trials=len({(r.dataset, r.subject, r.trial) for r in self.trials}),
      persons=tuple(self.persons),
      both_classes=tuple(
        len(set(self.labels[self.subjects == i])) > 1 for i in range(len(self.persons))
      ),
      seed_numbers=tuple(self.seeds.tolist()),
      share_high=float(self.labels.mean()),
      models=tuple(self.models),
      baselines=tuple(self.baselines),
      scores={
        name: self._estimates(name, values[name], contributed[name], resamples, seed)
        for name in names
      },
      differences=_differences(pairs, values, contributed, seed),
      by_seed={
        name: np.concatenate([x.scores(self.everyone()) for x in self.sums[name]])
        for name in names
      },
      by_subject={
        name: _mean_of_finite(
          [x.scores(np.eye(len(self.persons))) for x in self.sums[name]]
        )
        for name in names
      },
      calibrations={
        name: calibrate(
          self.labels, self.scores[name], np.abs(self.labels - self.said[name])
        )
        for name in names
        if name != 'majority'
      },
      confusions={
        model: metrics.confusion(self.labels, self.said[model])
        .reshape(2, 2)
        .astype(int)
        for model in self.models
      },
      folds=tuple(self._fold_scores()),
    )

  def _estimates(self, name, values, contributed, resamples, seed):
    low, high = statistics.t_interval(contributed)
    ends = np.array([RANGES[metric] for metric in SCORES]).T
    low, high = np.clip(low, *ends), np.clip(high, *ends)
    found = {
      metric: Estimate(float(values[i]), float(low[i]), float(high[i]))
      for i, metric in enumerate(SCORES)
    }
    if len(self.persons) > 1:
      drawn = (
        statistics.bootstrap(
          lambda weights: np.mean([x.metrics(weights) for x in self.sums[name]], 0),
          len(self.persons),
          resamples,
          seed,
        )
        + self.offsets[name][: len(METRICS)]
      )
      for metric, low, high in zip(
        METRICS, *statistics.percentile_interval(drawn), strict=True
      ):
        found[metric] = dataclasses.replace(
          found[metric], bootstrap_low=float(low), bootstrap_high=float(high)
        )
    return found

  def _fold_scores(self):
    for seed, fold in sorted(set(zip(self.seed_of, self.folds, strict=True))):
      here = (self.seed_of == seed) & (self.folds == fold)
      macro_f1 = {
        name: float(
          metrics.count_scores(metrics.confusion(self.labels[here], said[here]))[
            'macro_f1'
          ]
        )
        for name, said in self.said.items()
        if name != 'coin'
      }
      if 'coin' in self.said:
        macro_f1['coin'] = metrics.coin_scores(
          self.labels[here], self.said['coin'][here]
        )['macro_f1']
      yield FoldScores(
        int(seed),
        int(fold),
        len(np.unique(self.subjects[here])),
        int(here.sum()),
        float(self.labels[here].mean()),
        macro_f1,
      )


def _differences(pairs, values, contributed, seed):
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
    pair: {
      metric: Difference(*map(float, found[i, j])) for j, metric in enumerate(SCORES)
    }
    for i, pair in enumerate(pairs)
  }


def _mean_of_finite(tables):
  """Mean over the seeds in which there is a score; NaN where there is none."""
  tables = np.stack(tables)
  known = np.isfinite(tables)
  number = known.sum(0)
  return np.where(
    number, np.where(known, tables, 0).sum(0) / np.maximum(number, 1), np.nan
  )
