"""What the predictions amount to: scores, differences, and a reading in words."""

import dataclasses
import math
import re
from collections.abc import Sequence

import numpy as np

from mvp_jax.evaluation import metrics
from mvp_jax.evaluation.metrics import Estimate
from mvp_jax.evaluation.predictions import CLASS_PRIOR, Prediction

MAIN_MODEL = 'fusion'
REFERENCES = ('majority', 'coin')
METRIC_NAMES = {'macro_f1': 'macro-F1', 'f1': 'F1 of high', 'accuracy': 'accuracy'}
MODEL_NAMES = {'majority': 'majority class', 'coin': 'class-prior coin',
               'ceiling': 'best possible'}
_FEW_SUBJECTS = 10


@dataclasses.dataclass(frozen=True)
class FoldScores:
  """One fold's trials of one target; `macro_f1` by model and for the coin."""
  seed: int
  fold: int
  subjects: int
  trials: int
  share_high: float
  macro_f1: dict[str, float]


@dataclasses.dataclass(frozen=True)
class TargetResult:
  """All of one target. `models` has fusion first and no references.

  `scores` are by model or reference, then by metric. `differences` hold, by pair
  (a, b), the scores of a minus those of b on the same resampled subjects: fusion
  against each modality, every model against the references. `confusions` are
  integer [2, 2], truth by prediction, low first.
  """
  target: str
  trials: int
  subjects: int
  seeds: int
  share_high: float
  models: tuple[str, ...]
  scores: dict[str, dict[str, Estimate]]
  differences: dict[tuple[str, str], dict[str, Estimate]]
  confusions: dict[str, np.ndarray]
  folds: tuple[FoldScores, ...]


def model_name(model: str) -> str:
  """How a model or reference is called in tables."""
  return MODEL_NAMES.get(model, model)


def evaluate(predictions: Sequence[Prediction],
             resamples: int = metrics.RESAMPLES, seed: int = 0
             ) -> list[TargetResult]:
  """Scores of every target, in the order of the file.

  The trials of all folds and seeds are pooled, and subjects are what is
  resampled: the intervals tell of other subjects, with the trained models as they
  are. The coin says high with the class prior of each trial's training fold; its
  scores are exact expectations and its intervals come from expected counts.
  """
  targets = dict.fromkeys(row.target for row in predictions)
  return [_evaluate_target([row for row in predictions if row.target == target],
                           resamples, seed) for target in targets]


def _evaluate_target(rows, resamples, seed):
  by_model = {}
  for row in rows:
    by_model.setdefault(row.model, {})[row.trial_key] = row
  trials = list(by_model[rows[0].model].values())
  labels = np.array([row.label for row in trials])
  persons = sorted({(row.dataset, row.subject) for row in trials})
  number = {person: i for i, person in enumerate(persons)}
  subjects = np.array([number[row.dataset, row.subject] for row in trials])
  probabilities = {
      model: np.array([of_trial[row.trial_key].score for row in trials])
      for model, of_trial in by_model.items()}
  models = sorted((model for model in by_model if model != CLASS_PRIOR),
                  key=lambda model: model != MAIN_MODEL)
  said = {model: metrics.decide(probabilities[model]) for model in models}
  if CLASS_PRIOR in by_model:
    said['majority'] = metrics.decide(probabilities[CLASS_PRIOR])
    said['coin'] = probabilities[CLASS_PRIOR]

  weights = metrics.resample_weights(len(persons), resamples, seed)
  counts = {name: metrics.subject_counts(labels, predicted, subjects)
            for name, predicted in said.items()}
  scores = {name: metrics.estimate(of_name, weights)
            for name, of_name in counts.items()}
  pairs = [(a, b) for a in models for b in said
           if b in REFERENCES or a == MAIN_MODEL != b]
  differences = {(a, b): metrics.difference(counts[a], counts[b], weights)
                 for a, b in pairs}
  if 'coin' in said:
    exact = metrics.coin_scores(labels, said['coin'])
    scores['coin'] = {name: dataclasses.replace(old, value=exact[name])
                      for name, old in scores['coin'].items()}
    for a in models:
      differences[a, 'coin'] = {
          name: dataclasses.replace(old, value=scores[a][name].value - exact[name])
          for name, old in differences[a, 'coin'].items()}

  return TargetResult(
      target=rows[0].target,
      trials=len({(row.dataset, row.subject, row.trial) for row in trials}),
      subjects=len(persons), seeds=len({row.seed for row in trials}),
      share_high=float(labels.mean()), models=tuple(models),
      scores=scores, differences=differences,
      confusions={model: metrics.confusion(labels, said[model]).reshape(2, 2)
                  .astype(int) for model in models},
      folds=_fold_scores(trials, labels, subjects, said))


def _fold_scores(trials, labels, subjects, said):
  keys = np.array([(row.seed, row.fold) for row in trials])
  folds = []
  for seed, fold in np.unique(keys, axis=0):
    here = (keys == (seed, fold)).all(1)
    macro_f1 = {
        name: float(metrics.scores_of(
            metrics.confusion(labels[here], predicted[here]))['macro_f1'])
        for name, predicted in said.items() if name not in REFERENCES}
    if 'coin' in said:
      macro_f1['coin'] = metrics.coin_scores(
          labels[here], said['coin'][here])['macro_f1']
    folds.append(FoldScores(int(seed), int(fold), len(np.unique(subjects[here])),
                            int(here.sum()), float(labels[here].mean()), macro_f1))
  return tuple(folds)


def number(value: float, digits: int = 3, sign: bool = False) -> str:
  """A score as `.881`, a difference (`sign`) as `+.310`; n/a if not finite."""
  if not math.isfinite(value):
    return 'n/a'
  text = f'{value:{"+" if sign else ""}z.{digits}f}'
  return re.sub(r'^([+-]?)0\.', r'\1.', text)


def interval(estimate: Estimate, digits: int = 3, sign: bool = False) -> str:
  """A score with its interval: `.881 [.853, .905]`, or without where none is.

  `sign` marks a difference by a plus, `+.310 [.262, .355]`.
  """
  text = number(estimate.value, digits, sign)
  if math.isnan(estimate.low):
    return text
  return f'{text} [{number(estimate.low, digits)}, {number(estimate.high, digits)}]'


def ceiling_scores(ceiling: dict | None, target: str) -> dict[str, float]:
  """The best possible scores of a twin, of those metrics that it states."""
  of_target = (ceiling or {}).get(target)
  if not isinstance(of_target, dict):
    return {}
  return {name: float(of_target[name]) for name in metrics.METRICS
          if isinstance(of_target.get(name), int | float)}


def score_rows(result: TargetResult, ceiling: dict | None = None) -> list[list[str]]:
  """The main table: name and one cell a metric; models, references, ceiling."""
  rows = [[model_name(name), *(interval(result.scores[name][metric])
                               for metric in metrics.METRICS)]
          for name in (*result.models, *REFERENCES) if name in result.scores]
  best = ceiling_scores(ceiling, result.target)
  if best:
    rows.append([model_name('ceiling'), *(number(best.get(metric, math.nan))
                                          for metric in metrics.METRICS)])
  return rows


def summary_table(predictions: Sequence[Prediction],
                  ceiling: dict | None = None) -> str:
  """The main table as plain text for a terminal."""
  lines = []
  for result in evaluate(predictions):
    rows = [[result.target, *METRIC_NAMES.values()], *score_rows(result, ceiling)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines.append(f'{result.target}: {counts_line(result)}')
    for i, row in enumerate(rows):
      lines.append('  '.join(cell.ljust(width) for cell, width
                             in zip(row, widths, strict=True)).rstrip())
      if i == 0:
        lines.append('-' * (sum(widths) + 2 * (len(widths) - 1)))
    lines.append('')
  return '\n'.join(lines)


def counts_line(result: TargetResult) -> str:
  """How much the scores of a target rest on."""
  seeds = f', {result.seeds} seeds' if result.seeds > 1 else ''
  return (f'{result.trials} held-out trials of {result.subjects} subjects{seeds}, '
          f'{100 * result.share_high:.0f} % high')


def reading(result: TargetResult, ceiling: dict | None = None) -> list[str]:
  """The result in plain sentences: every claim rests on a 95 % interval."""
  sentences = []
  for model in result.models:
    sentences.append(_against_chance(result, model))
  for (a, b), difference in result.differences.items():
    if b not in REFERENCES:
      sentences.append(_against_modality(a, b, difference['macro_f1']))
  best = ceiling_scores(ceiling, result.target).get('macro_f1')
  if best is not None and result.models:
    sentences.append(_against_ceiling(
        result.models[0], result.scores[result.models[0]]['macro_f1'], best))
  return sentences


def caution(results: Sequence[TargetResult]) -> str | None:
  """A warning where the subjects are too few for the intervals to be sound."""
  subjects = min(result.subjects for result in results)
  if subjects == 1:
    return ('There is only one test subject: nothing can be said of others, so there '
            'are no intervals.')
  if subjects < _FEW_SUBJECTS:
    return (f'There are only {subjects} test subjects: intervals from so few are too '
            'narrow, so read them with care.')
  return None


def _against_chance(result, model):
  score = interval(result.scores[model]['macro_f1'], 2)
  text = f'{model}: macro-F1 {score}'
  if (model, 'coin') not in result.differences:
    return f'{text}; with no class prior in the predictions, chance is unknown.'
  gain = result.differences[model, 'coin']['macro_f1']
  coin = number(result.scores['coin']['macro_f1'].value, 2)
  if math.isnan(gain.low):
    text += f'; the class-prior coin has {coin}'
  elif gain.low > 0:
    text += f', above the class-prior coin ({coin}) by {interval(gain, 2, True)}'
  elif gain.high < 0:
    text += f', below the class-prior coin ({coin}) by {interval(gain, 2, True)}'
  else:
    text += (f', not above the class-prior coin ({coin}; difference '
             f'{interval(gain, 2, True)})')
  accuracy = result.scores[model]['accuracy'].value
  majority = result.scores['majority']['accuracy'].value
  more = result.differences[model, 'majority']['accuracy']
  if not more.low > 0:
    text += (f'. Its accuracy of {number(accuracy, 2)} is not shown to exceed that '
             f'of always saying the majority class ({number(majority, 2)})')
  return f'{text}.'


def _against_modality(a, b, gain):
  by = interval(gain, 2, True)
  if gain.low > 0:
    return f'{a} beats {b} alone by {by}.'
  if gain.high < 0:
    return f'{a} is worse than {b} alone by {by}.'
  return f'{a} is not shown to differ from {b} alone: {by}.'


def _against_ceiling(model, score, best):
  text = f'The best possible macro-F1 on this twin is {number(best, 2)}; {model} '
  if score.low > best:
    return text + ('is above it, which honest predictions cannot be: look for a '
                   'leak.')
  if score.high < best:
    return text + f'is {number(best - score.value, 2)} below it.'
  return text + 'is within its interval of it.'
