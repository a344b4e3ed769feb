"""The results in words and numbers for people: cells, sentences, terminal table."""

import math
import re
from collections.abc import Sequence

from mvp_jax.evaluation.metrics import METRICS
from mvp_jax.evaluation.names import METRIC_NAMES, REFERENCES, model_name
from mvp_jax.evaluation.predictions import Prediction
from mvp_jax.evaluation.results import TargetResult, evaluate
from mvp_jax.evaluation.statistics import LEVEL, Difference, Estimate

SHORT = ('macro_f1', 'balanced_accuracy', 'auroc', 'accuracy')  # where room is scarce
_FEW_SUBJECTS = 10
_MODALITIES = ('video', 'physio')


def number(value: float, digits: int = 3, sign: bool = False) -> str:
  """A score as `.881`, a difference (`sign`) as `+.310`; n/a if not finite."""
  if not math.isfinite(value):
    return 'n/a'
  text = f'{value:{"+" if sign else ""}z.{digits}f}'
  return re.sub(r'^([+-]?)0\.', r'\1.', text)


def interval(
  estimate: Estimate | Difference, digits: int = 3, sign: bool = False
) -> str:
  """A score with its interval: `.881 [.853, .905]`, or without where none is.

  `sign` marks a difference by a plus, `+.310 [.262, .355]`.
  """
  text = number(estimate.value, digits, sign)
  if math.isnan(estimate.low):
    return text
  return f'{text} [{number(estimate.low, digits)}, {number(estimate.high, digits)}]'


def p_value(p: float) -> str:
  """`p = .012`, `p < .001`, or `p n/a`."""
  if not math.isfinite(p):
    return 'p\u00a0n/a'
  # Unbreakable spaces: a line must not end in `p =`.
  return 'p\u00a0<\u00a0.001' if p < 0.001 else f'p\u00a0=\u00a0{number(p)}'


def ceiling_scores(ceiling: dict | None, target: str) -> dict[str, float]:
  """The best possible scores of a twin, of those metrics that it states."""
  of_target = (ceiling or {}).get(target)
  if not isinstance(of_target, dict):
    return {}
  return {
    name: float(of_target[name])
    for name in METRICS
    if isinstance(of_target.get(name), int | float)
  }


def score_rows(
  result: TargetResult, ceiling: dict | None = None, columns: Sequence[str] = SHORT
) -> list[list[str]]:
  """A table: name and one cell a score; models, baselines, ceiling."""
  rows = [
    [model_name(name), *(interval(result.scores[name][metric]) for metric in columns)]
    for name in result.everyone
  ]
  best = ceiling_scores(ceiling, result.target)
  if any(name in best for name in columns):
    rows.append(
      [
        model_name('ceiling'),
        *(number(best.get(metric, math.nan)) for metric in columns),
      ]
    )
  return rows


def summary_table(
  predictions: Sequence[Prediction], ceiling: dict | None = None
) -> str:
  """The main table as plain text for a terminal."""
  lines = []
  for result in evaluate(predictions):
    rows = [
      [result.target, *(METRIC_NAMES[name] for name in SHORT)],
      *score_rows(result, ceiling),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines.append(f'{result.target}: {counts_line(result)}')
    for i, row in enumerate(rows):
      lines.append(
        '  '.join(
          cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
      )
      if i == 0:
        lines.append('-' * (sum(widths) + 2 * (len(widths) - 1)))
    lines.append('')
  return '\n'.join(lines)


def counts_line(result: TargetResult) -> str:
  """How much the scores of a target rest on."""
  seeds = f', {result.seeds} seeds' if result.seeds > 1 else ''
  return (
    f'{result.trials} held-out trials of {result.subjects} subjects{seeds}, '
    f'{100 * result.share_high:.0f} % high'
  )


def reading(result: TargetResult, ceiling: dict | None = None) -> list[str]:
  """The result in plain sentences; every claim rests on a corrected paired test."""
  sentences = [_against_chance(result, model) for model in result.models]
  gains = {
    b: difference['macro_f1']
    for (a, b), difference in result.differences.items()
    if a == result.models[0]
  }
  sentences += [
    _against_model(result.models[0], b, gains[b]) for b in result.models if b in gains
  ]
  sentences += _against_baselines(result, gains)
  best = ceiling_scores(ceiling, result.target).get('macro_f1')
  if best is not None and result.models:
    sentences.append(
      _against_ceiling(
        result.models[0], result.scores[result.models[0]]['macro_f1'], best
      )
    )
  return sentences


def caution(results: Sequence[TargetResult]) -> str | None:
  """A warning where the subjects are too few for more than large differences."""
  subjects = min(result.subjects for result in results)
  if subjects == 1:
    return (
      'There is only one test subject: nothing can be said of others, so there '
      'are no intervals.'
    )
  comparisons = max(len(result.differences) for result in results)
  if comparisons and 2 / 2**subjects * comparisons >= 1 - LEVEL:
    return (
      f'There are only {subjects} test subjects: with {comparisons} comparisons '
      'not even the clearest difference can be shown. Test more subjects, or '
      'compare fewer models.'
    )
  if subjects < _FEW_SUBJECTS:
    return (
      f'There are only {subjects} test subjects: only large differences can be shown.'
    )
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
  elif gain.shown:
    side = 'above' if gain.value > 0 else 'below'
    text += f', {side} the class-prior coin ({coin}) by {_by(gain)}'
  else:
    text += f', not shown to differ from the class-prior coin ({coin}; {_by(gain)})'
  accuracy = result.scores[model]['accuracy'].value
  majority = result.scores['majority']['accuracy'].value
  more = result.differences[model, 'majority']['accuracy']
  if not (more.shown and more.value > 0):
    text += (
      f'. Its accuracy of {number(accuracy, 2)} is not shown to exceed that '
      f'of always saying the majority class ({number(majority, 2)})'
    )
  return f'{text}.'


def _against_model(a, b, gain):
  b = f'{b} alone' if b in _MODALITIES else b
  if not gain.shown:
    return f'{a} is not shown to differ from {b}: {_by(gain)}.'
  return f'{a} {"beats" if gain.value > 0 else "is worse than"} {b} by {_by(gain)}.'


def _against_baselines(result, gains):
  """One sentence on the main model against the baselines that are no mere chance."""
  rivals = [b for b in result.baselines if b not in REFERENCES and b in gains]
  groups = {'beats': [], 'is not shown to differ from': [], 'is worse than': []}
  for b in rivals:
    verb = (
      'is not shown to differ from'
      if not gains[b].shown
      else 'beats'
      if gains[b].value > 0
      else 'is worse than'
    )
    groups[verb].append(
      f'{model_name(b)} (macro-F1 '
      f'{number(result.scores[b]["macro_f1"].value, 2)}, '
      f'difference {interval(gains[b], 2, True)})'
    )
  said = [f'{verb} {", ".join(names)}' for verb, names in groups.items() if names]
  if not said:
    return []
  return [f'Against baselines, {result.models[0]} {"; it ".join(said)}.']


def _by(gain):
  text = interval(gain, 2, True)
  return text if math.isnan(gain.corrected) else f'{text}, {p_value(gain.corrected)}'


def _against_ceiling(model, score, best):
  text = f'The best possible macro-F1 on this twin is {number(best, 2)}; {model} '
  if score.low > best:
    return text + ('is above it, which honest predictions cannot be: look for a leak.')
  if score.high < best:
    return text + f'is {number(best - score.value, 2)} below it.'
  return text + 'is within its interval of it.'
