"""Figures of scores: models beside baselines, subjects, calibration, confusions."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from mvp_jax.evaluation.figures import (
  GREY,
  INK,
  STYLE,
  blank,
  colour,
  in_two_lines,
  legend_above,
  short,
)
from mvp_jax.evaluation.metrics import SCORES
from mvp_jax.evaluation.names import BASELINES, model_name
from mvp_jax.evaluation.results import TargetResult
from mvp_jax.evaluation.summary import ceiling_scores, number

_MACRO_F1 = SCORES.index('macro_f1')
_MARKERS = 'osD^vPX*'


@matplotlib.rc_context(STYLE)
def scores(
  results: Sequence[TargetResult], ceiling: dict | None, synthetic: bool
) -> Figure:
  """Macro-F1 of each model with its interval beside baselines and ceiling."""
  rows = max(len(result.scores) for result in results)
  figure = blank(1.3 + 0.34 * rows, synthetic)
  panels = figure.subplots(1, len(results), squeeze=False, sharex=True)[0]
  for axes, result in zip(panels, results, strict=True):
    for y, name in enumerate(result.everyone):
      score = result.scores[name]['macro_f1']
      axes.plot(
        [score.low, score.high],
        [y, y],
        color=colour(name),
        linewidth=3,
        alpha=0.45,
        solid_capstyle='round',
      )
      axes.plot(
        score.value,
        y,
        'o',
        color=colour(name),
        markersize=7,
        markerfacecolor='white' if name in BASELINES else colour(name),
      )
      if result.seeds > 1:
        of_seeds = result.by_seed[name][:, _MACRO_F1]
        axes.plot(
          of_seeds,
          np.full(len(of_seeds), y + 0.28),
          '|',
          color=colour(name),
          markersize=6,
        )
    best = ceiling_scores(ceiling, result.target).get('macro_f1')
    if best is not None:
      axes.axvline(best, color=INK, linestyle='--', linewidth=1)
      axes.annotate(
        'best possible',
        (best, 1),
        xycoords=('data', 'axes fraction'),
        xytext=(0, 3),
        textcoords='offset points',
        ha='center',
        va='bottom',
        fontsize=8,
      )
    names = [in_two_lines(model_name(name)) for name in result.everyone]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel('macro-F1, 95 % interval over subjects')
    axes.set_title(short(result.target))
  return figure


@matplotlib.rc_context(STYLE)
def subjects(results: Sequence[TargetResult], synthetic: bool) -> Figure:
  """Macro-F1 of each subject by model, in the order of the main model's."""
  figure = blank(0.4 + 2.4 * len(results), synthetic)
  panels = figure.subplots(len(results), 1, squeeze=False)[:, 0]
  for axes, result in zip(panels, results, strict=True):
    names = result.models or result.baselines[:1]
    order = np.argsort(result.by_subject[names[0]][:, _MACRO_F1], kind='stable')
    x = np.arange(len(order))
    both = np.array(result.both_classes)[order]
    for i, name in enumerate(names):
      y = result.by_subject[name][order, _MACRO_F1]
      style = {
        'linestyle': 'none',
        'marker': _MARKERS[i % len(_MARKERS)],
        'color': colour(name),
        'markersize': 6,
      }
      axes.plot(x[both], y[both], label=short(model_name(name)), **style)
      axes.plot(x[~both], y[~both], markerfacecolor='white', **style)
    if 'coin' in result.scores:
      axes.axhline(
        result.scores['coin']['macro_f1'].value,
        color=GREY,
        linestyle='--',
        linewidth=1,
        label='class-prior coin, all',
      )
    several = len({dataset for dataset, _ in result.persons}) > 1
    axes.set_xticks(
      x,
      [
        f'{result.persons[i][0]} {result.persons[i][1]}'
        if several
        else str(result.persons[i][1])
        for i in order
      ],
      fontsize=min(9, max(4, 300 / len(order))),
      rotation=90 * several,
    )
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel('macro-F1')
    axes.set_xlabel('subject')
    axes.set_title(f'{short(result.target)}: by subject')
    legend_above(axes, columns=len(names) + 1)
  return figure


@matplotlib.rc_context(STYLE)
def calibration(results: Sequence[TargetResult], synthetic: bool) -> Figure:
  """Reliability and risk against coverage, for each target."""
  figure = blank(0.4 + 3.0 * len(results), synthetic)
  panels = figure.subplots(len(results), 2, squeeze=False)
  for (left, right), result in zip(panels, results, strict=True):
    left.plot([0, 1], [0, 1], color=GREY, linestyle='--', linewidth=1)
    for i, name in enumerate(result.models or list(result.calibrations)[:1]):
      curve = result.calibrations[name]
      score = result.scores[name]
      left.plot(
        curve.probability,
        curve.share,
        color=colour(name),
        marker=_MARKERS[i % len(_MARKERS)],
        markersize=5,
        label=short(f'{model_name(name)} {number(score["ece"].value, 2)}'),
      )
      right.plot(
        curve.coverage,
        curve.risk,
        color=colour(name),
        label=short(f'{model_name(name)} {number(score["aurc"].value, 2)}'),
      )
    left.set_xlim(-0.02, 1.02)
    left.set_ylim(-0.02, 1.02)
    left.set_xlabel('probability of high')
    left.set_ylabel('share of high')
    left.set_title(f'{short(result.target)}: reliability (ECE)')
    left.legend(fontsize=8, loc='upper left')
    right.set_xlim(0, 1.02)
    right.set_ylim(bottom=0)
    right.set_xlabel('share of trials answered, the surest first')
    right.set_ylabel('share of them wrong')
    right.set_title(f'{short(result.target)}: abstention (area)')
    right.legend(fontsize=8)
  return figure


@matplotlib.rc_context(STYLE)
def confusions(results: Sequence[TargetResult], synthetic: bool) -> Figure:
  """Counts of truth by prediction for each target and model, rows as shares."""
  columns = max(1, max(len(result.models) for result in results))
  figure = blank(2.1 * len(results), synthetic)
  panels = figure.subplots(len(results), columns, squeeze=False)
  for row, result in zip(panels, results, strict=True):
    for axes in row[len(result.models) :]:
      axes.set_visible(False)
    for axes, model in zip(row, result.models, strict=False):
      counts = result.confusions[model]
      share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
      axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
      for i, j in np.ndindex(2, 2):
        axes.text(
          j,
          i,
          f'{counts[i, j]}\n{100 * share[i, j]:.0f} %',
          ha='center',
          va='center',
          color='white' if share[i, j] > 0.6 else INK,
        )
      axes.set_xticks([0, 1], ['low', 'high'])
      axes.set_yticks([0, 1], ['low', 'high'])
      axes.grid(False)
      axes.spines[:].set_visible(False)
      axes.tick_params(length=0)
      axes.set_title(f'{short(result.target)}: {short(model)}', loc='center')
      axes.set_xlabel('predicted')
      axes.set_ylabel('rated')
  return figure
