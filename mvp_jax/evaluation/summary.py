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
    lines += [f'{result.target}: {counts_line(result)}', *aligned(rows)]
    lines += [*(f'WARNING, {result.target}: {x}' for x in warnings(result)), '']
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


def opening(results: Sequence[TargetResult], whom: str, synthetic: bool | None) -> str:
  """The first paragraph: what was asked, of whom, what came out, and one caveat.

  Args:
    whom: the corpus, as people call it.
    synthetic: None if that is not known.
  """
  people, trials = (
    max(getattr(x, of) for x in results) for of in ('subjects', 'trials')
  )
  told = [
    f'How well can {_listed([x.target for x in results])} be predicted for trials that '
    f'were not trained on? Tested: {trials} trials of {people} '
    + ('computer-made ' if synthetic else '')
    + ('subject' if people == 1 else 'subjects')
    + f' of {whom}.',
    *map(_in_plain_words, results),
    f'Keep in mind: {_caveat(results, synthetic)}',
  ]
  if warned := [result.target for result in results if warnings(result)]:
    told.append(f'There are WARNINGS, see the results of {_listed(warned)}.')
  return ' '.join(x.strip() for x in told)


def _listed(names):
  *others, last = names
  return f'{", ".join(others)} and {last}' if others else last


def _in_plain_words(result):
  """What the best model reaches, against chance and the simple baselines."""
  target, headline = result.definition, result.definition.headline
  values = {n: result.scores[n][headline].value for n in result.everyone}
  rank = {n: target.gain(headline, values[n]) for n in result.models}
  rank = {n: x for n, x in rank.items() if math.isfinite(x)}
  if not rank:
    return f'Of {result.target} no trained model has a score.'
  best = max(rank, key=rank.__getitem__)
  score, scale = result.scores[best][headline], target.scores[headline]
  perfect = scale.low if scale.lower_is_better else scale.high
  about = [] if math.isnan(score.low) else [f'95 % interval {_span(score)}']
  about += [f'{perfect:g} is perfect'] * math.isfinite(perfect)
  many = len(result.models) > 1
  text = f'{result.target[:1].upper()}{result.target[1:]}: '
  text += f'the best of {len(result.models)} models, {best}, ' if many else f'{best} '
  text += f'reaches {result.headline_name} {number(score.value, 2)}'
  text += f' ({"; ".join(about)})' if about else ''
  if (chance := result.chance) is None:
    text += '; what chance would reach is not known'
  else:
    gain = result.differences[best, chance][headline]
    text += f', where chance (the {target.called(chance)}) has '
    text += f'{number(values[chance], 2)}: {_told(target, gain)}'
  simple = [
    f'{target.called(b)} {number(values[b], 2)}{_known(result, best, b)}'
    for b in result.baselines
    if b not in result.references
  ]
  return f'{text}. ' + (f'Simple baselines: {", ".join(simple)}.' if simple else '')


def _known(result, model, baseline):
  """How a baseline compares, where that was tested: words in brackets."""
  known = result.differences.get((model, baseline))
  if known is None or math.isnan(known[result.definition.headline].low):
    return ''
  words = {'beats': 'beaten', 'is worse than': 'BETTER'}
  verb = _verb(result, known[result.definition.headline])
  return f' ({words.get(verb, "no difference shown")})'


def _told(target, gain):
  if math.isnan(gain.low):
    return 'with one subject nothing can be shown'
  p = f'({p_value(gain.corrected)})'
  if not gain.shown:
    return f'it is not shown to be better than chance {p}'
  better = target.gain(target.headline, gain.value) > 0
  return f'it is {"better" if better else "WORSE"} than chance {p}'


def _span(estimate):
  return f'{number(estimate.low, 2)} to {number(estimate.high, 2)}'


def _caveat(results, synthetic):
  """What matters most when the results are passed on."""
  if synthetic:
    return (
      'the data are computer-made with planted effects, so this tells that the method '
      'works and nothing about people.'
    )
  if few := caution(results):
    return few[:1].lower() + few[1:]
  if synthetic is None:
    return 'whether the data are from people or computer-made is not known.'
  return (
    'intervals tell of other people who do the same; other stimuli, other devices and '
    'models trained anew may differ by more.'
  )


def warnings(result: TargetResult) -> list[str]:
  """What is wrong with models: one answer to all, below chance, behind a rival.

  They rest on single intervals, and are no claims as those of `reading`.
  """
  target = result.definition
  rivals = [b for b in result.baselines if target.known_baselines[b].rival]
  found = []
  for model in result.models:
    said = []
    if model in result.one_answers:
      said.append(result.one_answers[model])
    if result.chance and (how := _behind(result, model, result.chance)):
      said.append(f'lies below chance: {how}')
    behind = [how for b in rivals if (how := _behind(result, model, b))]
    if behind:
      said.append(f'lies behind simpler models: {", ".join(behind)}')
    if said:
      found.append(f'{model} {"; it ".join(said)}.')
  return found


def _behind(result, model, other):
  """How far a model is surely behind another by the headline score, or ''.

  That is so where the interval of their difference is on one side of 0, or, where they
  are not compared, that of the model's own score on one side of the other's.
  """
  target, headline = result.definition, result.definition.headline
  score, its = (result.scores[name][headline] for name in (model, other))
  gain = (result.differences.get((model, other)) or {}).get(headline)
  ends = (
    (gain.low, gain.high) if gain else (score.low - its.value, score.high - its.value)
  )
  if not all(target.gain(headline, end) < 0 for end in ends):
    return ''
  by = f', difference {interval(gain, 2, True)}' if gain else ''
  return (
    f'{result.headline_name} {interval(score, 2)} against {number(its.value, 2)} of '
    f'{target.called(other)}{by}'
  )


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
  chance, first = result.references, result.chance
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
      better = 'be below' if target.scores[score].lower_is_better else 'exceed'
      text += (
        f'. Its {target.scores[score].name} of {mine} is not shown to {better} '
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
