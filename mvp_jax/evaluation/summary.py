"""The results in words and numbers for people: cells, sentences, terminal table."""

import math
import re
from collections.abc import Sequence

from mvp_jax.evaluation.results import TargetResult
from mvp_jax.evaluation.statistics import LEVEL, Difference, Estimate
from mvp_jax.targets import CEILING

_FEW_SUBJECTS = 10


def number(value: float, digits: int = 3, sign: bool = False) -> str:
  """A score as `.881`, a difference (`sign`) as `+.310`; n/a if not finite."""
  if not math.isfinite(value):
    return 'n/a'
  text = f'{value:{"+" if sign else ""}z.{digits}f}'
  return re.sub(r'^([+-]?)0\.', r'\1.', text)


def interval(estimate, digits: int = 3, sign: bool = False) -> str:
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


def shown(cell) -> str:
  """A cell of a table as people read it: text, a number, Estimate or Difference."""
  match cell:
    case Estimate():
      return interval(cell)
    case Difference():
      p = '' if math.isnan(cell.corrected) else f', {p_value(cell.corrected)}'
      return interval(cell, sign=True) + p
    case float():
      return number(cell)
  return str(cell)


def ceiling_scores(ceiling: dict | None, result: TargetResult) -> dict[str, float]:
  """The best possible scores of a twin, of those that it states."""
  of_target = (ceiling or {}).get(result.target)
  if not isinstance(of_target, dict):
    return {}
  return {
    key: float(of_target[key])
    for key in result.definition.cheap
    if isinstance(of_target.get(key), int | float)
  }


def score_rows(
  result: TargetResult,
  ceiling: dict | None = None,
  columns: Sequence[str] | None = None,
) -> list[list]:
  """A table: name and a cell for each score; models, baselines, ceiling.

  `columns` are scores; None = those for where room is scarce.
  """
  columns = result.definition.short if columns is None else columns
  rows = [
    [result.definition.called(name), *(result.scores[name][key] for key in columns)]
    for name in result.everyone
  ]
  best = ceiling_scores(ceiling, result)
  if any(key in best for key in columns):
    known = [best.get(key, math.nan) for key in columns]
    rows.append([result.definition.called(CEILING), *known])
  return rows


def score_names(result: TargetResult, columns: Sequence[str]) -> list[str]:
  """What the columns of `score_rows` are called."""
  return [result.definition.scores[key].name for key in columns]


def summary_table(results: Sequence[TargetResult], ceiling: dict | None = None) -> str:
  """The main table as plain text for a terminal."""
  lines = []
  for result in results:
    rows = [
      [result.target, *score_names(result, result.definition.short)],
      *([shown(cell) for cell in row] for row in score_rows(result, ceiling)),
    ]
    lines += [f'{result.target}: {counts_line(result)}', *aligned(rows), '']
  return '\n'.join(lines)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
  """Lines of a table of text for a terminal; the first row is its header."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = ['  '.join(map(str.ljust, row, widths)).rstrip() for row in rows]
  return [lines[0], '-' * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]]


def counts_line(result: TargetResult) -> str:
  """How much the scores of a target rest on."""
  seeds = f', {result.seeds} seeds' if result.seeds > 1 else ''
  of = ', {}: {:.0%}'.format(*result.composition) if result.composition else ''
  return f'{result.trials} held-out trials of {result.subjects} subjects{seeds}{of}'


def reading(result: TargetResult, ceiling: dict | None = None) -> list[str]:
  """The result in plain sentences; every claim rests on a corrected paired test."""
  sentences = [_against_chance(result, model) for model in result.models]
  if not result.models:
    return sentences
  main, headline = result.models[0], result.definition.headline
  gains = {b: x[headline] for (a, b), x in result.differences.items() if a == main}
  sentences += [
    _against_model(result, main, b, gains[b]) for b in result.models if b in gains
  ]
  sentences += _against_baselines(result, gains)
  best = ceiling_scores(ceiling, result).get(headline)
  if best is not None:
    sentences.append(_against_ceiling(result, main, best))
  return sentences


def caution(results: Sequence[TargetResult]) -> str | None:
  """A warning where the subjects are too few for more than large differences."""
  subjects = min(result.subjects for result in results)
  if subjects == 1:
    return (
      'There is only one test subject: nothing can be said of others, so there '
      'are no intervals.'
    )
  few = f'There are only {subjects} test subjects:'
  comparisons = max(len(result.differences) for result in results)
  if comparisons and 2 / 2**subjects * comparisons >= 1 - LEVEL:
    return (
      f'{few} with {comparisons} comparisons not even the clearest difference can be '
      'shown. Test more subjects, or compare fewer models.'
    )
  if subjects < _FEW_SUBJECTS:
    return f'{few} only large differences can be shown.'
  return None


def _against_chance(result, model):
  """How a model does against the baselines that know nothing."""
  target = result.definition
  headline, known = target.headline, target.known_baselines
  score = interval(result.scores[model][headline], 2)
  text = f'{model}: {result.headline_name} {score}'
  chance = [b for b in result.references if (model, b) in result.differences]
  first = next((b for b in chance if known[b].chance == headline), None)
  if first is None:
    needed = sorted({b.source or key for key, b in known.items() if b.chance})
    what = ' or '.join(needed).replace('_', ' ') or 'baseline'
    return f'{text}; with no {what} in the predictions, chance is unknown.'
  gain = result.differences[model, first][headline]
  value = number(result.scores[first][headline].value, 2)
  if math.isnan(gain.low):
    text += f'; the {known[first].name} has {value}'
  elif gain.shown:
    side = 'above' if gain.value > 0 else 'below'
    text += f', {side} the {known[first].name} ({value}) by {_by(gain)}'
  else:
    text += f', not shown to differ from the {known[first].name} ({value}; {_by(gain)})'
  for other in (b for b in chance if known[b].chance != headline):
    score = known[other].chance
    more = result.differences[model, other][score]
    if not (more.shown and target.gain(score, more.value) > 0):
      mine, its = (number(result.scores[x][score].value, 2) for x in (model, other))
      text += (
        f'. Its {target.scores[score].name} of {mine} is not shown to exceed '
        f'{known[other].phrase or f"that of the {known[other].name}"} ({its})'
      )
  return f'{text}.'


def _verb(result, gain):
  if not gain.shown:
    return 'is not shown to differ from'
  better = result.definition.gain(result.definition.headline, gain.value) > 0
  return 'beats' if better else 'is worse than'


def _against_model(result, a, b, gain):
  by = ' by' if gain.shown else ':'
  return f'{a} {_verb(result, gain)} {b}{by} {_by(gain)}.'


def _against_baselines(result, gains):
  """One sentence on the main model against the baselines that are no mere chance."""
  groups = {'beats': [], 'is not shown to differ from': [], 'is worse than': []}
  for b in result.baselines:
    if b not in result.references and b in gains:
      value = number(result.scores[b][result.definition.headline].value, 2)
      told = f'{result.headline_name} {value}, difference {interval(gains[b], 2, True)}'
      groups[_verb(result, gains[b])].append(f'{result.definition.called(b)} ({told})')
  said = [f'{verb} {", ".join(names)}' for verb, names in groups.items() if names]
  if not said:
    return []
  return [f'Against baselines, {result.models[0]} {"; it ".join(said)}.']


def _by(gain):
  text = interval(gain, 2, True)
  return text if math.isnan(gain.corrected) else f'{text}, {p_value(gain.corrected)}'


def _against_ceiling(result, model, best):
  headline = result.definition.headline
  score, name = result.scores[model][headline], result.headline_name
  text = f'The best possible {name} on this twin is {number(best, 2)}; {model} '
  lower = result.definition.scores[headline].lower_is_better
  above, below = ('below', 'above') if lower else ('above', 'below')
  beyond, short = score.low > best, score.high < best
  if lower:
    beyond, short = short, beyond
  if beyond:
    return text + f'is {above} it, which honest predictions cannot be: look for a leak.'
  if short:
    return text + f'is {number(abs(best - score.value), 2)} {below} it.'
  return text + 'is within its interval of it.'
