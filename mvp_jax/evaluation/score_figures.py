"""Figures of scores: models beside baselines, subjects, calibration, confusions."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from mvp_jax.evaluation.figures import (
  DASHED,
  GREY,
  INK,
  STYLE,
  blank,
  colours,
  in_two_lines,
  legend_above,
  name_ticks,
  short,
)
from mvp_jax.evaluation.results import TargetResult
from mvp_jax.evaluation.summary import ceiling_scores, number

_MARKERS = 'osD^vPX*'


def _limits(result):
  """The scale of the headline score, as far as it has ends or is used."""
  score = result.definition.scores[result.definition.headline]
  shown = [of[result.definition.headline] for of in result.scores.values()]
  drawn = [x for one in shown for x in (one.value, one.low, one.high) if np.isfinite(x)]
  low, high = min([*drawn, 0.0]), max([*drawn, 1e-6])
  low = max(low, score.low) if score.low < 0 else score.low
  high = score.high if np.isfinite(score.high) else 1.05 * high
  return low, high


def _wider(low, high):
  """Room for the half of a marker that lies at an end."""
  margin = 0.04 * (high - low)
  return low - margin, high + margin


@matplotlib.rc_context(STYLE)
def scores(
  results: Sequence[TargetResult], ceiling: dict | None, synthetic: bool
) -> Figure:
  """The headline score of each model, its interval beside baselines and ceiling."""
  rows = max(len(result.scores) for result in results)
  figure = blank(1.3 + 0.34 * rows, synthetic)
  panels = figure.subplots(1, len(results), squeeze=False, sharex=True)[0]
  lows, highs = zip(*map(_limits, results), strict=True)
  limits = _wider(min(lows), max(highs))
  for axes, result in zip(panels, results, strict=True):
    headline, hues = result.definition.headline, colours(result.models)
    for y, name in enumerate(result.everyone):
      score, hue = result.scores[name][headline], hues.get(name, GREY)
      bar = {'linewidth': 3, 'alpha': 0.45, 'solid_capstyle': 'round'}
      axes.plot([score.low, score.high], [y, y], color=hue, **bar)
      inside = 'white' if name in result.baselines else hue
      axes.plot(score.value, y, 'o', color=hue, markersize=7, markerfacecolor=inside)
      if result.seeds > 1:
        x = result.by_seed[name][:, result.place(headline)]
        axes.plot(x, np.full(len(x), y + 0.28), '|', color=hue, markersize=6)
    best = ceiling_scores(ceiling, result).get(headline)
    if best is not None:
      axes.axvline(best, color=INK, **DASHED)
      axes.annotate(
        'best possible',
        (best, 1),
        xycoords=('data', 'axes fraction'),
        xytext=(0, 3),
        textcoords='offset points',
        fontsize=8,
        ha='center',
        va='bottom',
      )
    names = [in_two_lines(result.definition.called(name)) for name in result.everyone]
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlim=limits)
    axes.set_xlabel(f'{result.headline_name}, 95 % interval over subjects')
    axes.set_title(short(result.target))
  return figure


@matplotlib.rc_context(STYLE)
def subjects(results: Sequence[TargetResult], synthetic: bool) -> Figure:
  """The headline score of each subject by model, worst first for the main model."""
  figure = blank(0.4 + 2.4 * len(results), synthetic)
  panels = figure.subplots(len(results), 1, squeeze=False)[:, 0]
  for axes, result in zip(panels, results, strict=True):
    names, target = result.models or result.baselines[:1], result.definition
    at, hues = result.place(target.headline), colours(result.models)
    sign = target.gain(target.headline, 1.0)
    order = np.argsort(sign * result.by_subject[names[0]][:, at], kind='stable')
    x = np.arange(len(order))
    both = ~np.array(result.one_sided)[order]
    for i, name in enumerate(names):
      y = result.by_subject[name][order, at]
      size = 6 if len(order) <= 100 else 3
      style = {'linestyle': 'none', 'markersize': size, 'color': hues.get(name, GREY)}
      style['marker'] = _MARKERS[i % len(_MARKERS)]
      axes.plot(x[both], y[both], label=short(target.called(name)), **style)
      axes.plot(x[~both], y[~both], markerfacecolor='white', **style)
    for b in result.references:
      if target.known_baselines[b].chance == target.headline:
        value = result.scores[b][target.headline].value
        axes.axhline(value, color=GREY, label=f'{target.called(b)}, all', **DASHED)
    several = len({dataset for dataset, _ in result.persons}) > 1
    # With several corpora their names too.
    ticks = [' '.join(map(str, result.persons[i][not several :])) for i in order]
    name_ticks(axes, ticks, letters=150, rotation=90 * several)
    known = np.concatenate([result.by_subject[name][:, at] for name in names])
    low, high = _limits(result)
    axes.set_ylim(*_wider(np.nanmin([low, *known]), np.nanmax([high, *known])))
    axes.set(ylabel=result.headline_name, xlabel='subject')
    axes.set_title(f'{short(result.target)}: by subject')
    legend_above(axes, columns=len(names) + 1)
  return figure


@matplotlib.rc_context(STYLE)
def calibration(
  results: Sequence[TargetResult], synthetic: bool, promised: Mapping | None = None
) -> Figure:
  """Reliability and risk against coverage, for each target.

  `promised` are promises.Abstention by (model, target).
  """
  figure = blank(0.4 + 3.0 * len(results), synthetic)
  panels = figure.subplots(len(results), 2, squeeze=False)
  for (left, right), result in zip(panels, results, strict=True):
    left.plot([0, 1], [0, 1], color=GREY, **DASHED)
    hues = colours(result.models)
    for i, name in enumerate(result.models or list(result.calibrations)[:1]):
      curve = result.calibrations[name]
      marker = {'marker': _MARKERS[i % len(_MARKERS)], 'markersize': 5}
      for axes, key, x, y, style in (
        (left, 'ece', curve.probability, curve.share, marker),
        (right, 'aurc', curve.coverage, curve.risk, {}),
      ):
        value = number(result.scores[name][key].value, 2)
        label = short(f'{result.definition.called(name)} {value}')
        axes.plot(x, y, color=hues.get(name, GREY), label=label, **style)
      learnt = (promised or {}).get((name, result.target))
      if learnt is not None and learnt.threshold is not None:
        star = {'marker': '*', 'markersize': 12, 'zorder': 5}
        right.plot(learnt.share, learnt.wrong, color=hues.get(name, GREY), **star)
    left.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    left.set(xlabel='probability of high', ylabel='share of high')
    left.set_title(f'{short(result.target)}: reliability (ECE)')
    left.legend(fontsize=8, loc='upper left')
    right.set(xlim=(0, 1.02), ylim=(0, None), ylabel='share of them wrong')
    right.set_xlabel('share of trials answered, the surest first')
    right.set_title(f'{short(result.target)}: abstention (area)')
    right.legend(fontsize=8)
  return figure


@matplotlib.rc_context(STYLE)
def confusions(results: Sequence[TargetResult], synthetic: bool) -> Figure:
  """Counts of truth by prediction for each target and model, rows as shares."""
  columns = max(1, max(len(result.confusions) for result in results))
  figure = blank(2.1 * len(results), synthetic)
  panels = figure.subplots(len(results), columns, squeeze=False)
  for row, result in zip(panels, results, strict=True):
    for axes in row[len(result.confusions) :]:
      axes.set_visible(False)
    for axes, (model, counts) in zip(row, result.confusions.items(), strict=False):
      share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
      axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
      for i, j in np.ndindex(2, 2):
        text = f'{counts[i, j]}\n{100 * share[i, j]:.0f} %'
        hue = 'white' if share[i, j] > 0.6 else INK
        axes.text(j, i, text, ha='center', va='center', color=hue)
      axes.set_xticks([0, 1], ['low', 'high'])
      axes.set_yticks([0, 1], ['low', 'high'])
      axes.grid(False)
      axes.spines[:].set_visible(False)
      axes.tick_params(length=0)
      axes.set_title(f'{short(result.target)}: {short(model)}', loc='center')
      axes.set(xlabel='predicted', ylabel='rated')
  return figure
