"""Figures of predictions in time: courses, the score of each recording, shifts."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from mvp_jax.evaluation.courses import CourseResult
from mvp_jax.evaluation.figures import (
  DASHED,
  GREY,
  INK,
  STYLE,
  blank,
  colours,
  legend_above,
  short,
)
from mvp_jax.evaluation.predictions import Track

_MARKERS = 'osD^vPX*'
_NAMED = 40  # recordings that have room for their numbers


@matplotlib.rc_context(STYLE)
def courses(
  rows: Sequence[Track], chosen: dict, models: Sequence[str], synthetic: bool
) -> Figure:
  """Ratings and predictions over time of chosen trials, a row of panels per rating.

  `chosen` is {rating: `cases.Extremes`}; `models` are those to draw.
  """
  known, hues = {(r.target, r.model, r.seed, r.place): r for r in rows}, colours(models)
  figure = blank(0.5 + 1.9 * len(chosen), synthetic)
  most = max(len(one.rows) for one in chosen.values())
  panels = figure.subplots(len(chosen), most, squeeze=False)
  for line, (rating, one) in zip(panels, chosen.items(), strict=True):
    for axes in line[len(one.rows) :]:
      axes.set_visible(False)
    for axes, case in zip(line, one.cases, strict=False):
      row = case.row
      rated = {'color': INK, 'label': 'rated', 'zorder': 4}
      axes.plot(*broken(row.times, row.ratings), **rated)
      for i, model in enumerate(models):  # the main one above the others
        said = known[rating, model, row.seed, row.place].predictions
        style = {'color': hues[model], 'linewidth': 1, 'zorder': 3 - i / len(models)}
        axes.plot(*broken(row.times, said), label=short(model), **style)
      word = case.title.split(':')[0]
      axes.set_title(f'{word}: subject {row.subject}, trial {row.trial}')
      axes.set_xlabel('seconds')
    line[0].set_ylabel(short(rating))
  # One for all panels, below them: in a panel it lay over the lines.
  lines = panels[0, 0].get_legend_handles_labels()
  figure.legend(*lines, loc='outside lower left', ncols=len(lines[0]), fontsize=8)
  return figure


def broken(times, values):
  """Times and values of a line that is broken where moments are left out."""
  apart = np.diff(times)
  gaps = np.flatnonzero(apart > 1.5 * np.median(apart)) + 1 if len(apart) else []
  return np.insert(times, gaps, np.nan), np.insert(values, gaps, np.nan)


@matplotlib.rc_context(STYLE)
def recordings(results: Sequence[CourseResult], synthetic: bool) -> Figure:
  """The headline score of each recording by model, worst first for the main model."""
  figure = blank(0.4 + 2.4 * len(results), synthetic)
  panels = figure.subplots(len(results), 1, squeeze=False)[:, 0]
  for axes, result in zip(panels, results, strict=True):
    target, names = result.definition, result.models or tuple(result.scores)[:1]
    at, hues = list(target.scores).index(target.headline), colours(result.models)
    sign = target.gain(target.headline, 1.0)
    order = np.argsort(sign * result.scores[names[0]][:, at], kind='stable')
    size = min(6, max(2, 240 / len(order)))
    for i, name in enumerate(names):
      style = {'linestyle': 'none', 'markersize': size, 'color': hues.get(name, GREY)}
      style |= {'marker': _MARKERS[i % len(_MARKERS)], 'label': short(name)}
      axes.plot(result.scores[name][order, at], **style)
    axes.axhline(0, color=GREY, linewidth=0.8)
    if len(order) <= _NAMED:
      ticks = ['/'.join(map(str, result.recordings[i][1:])) for i in order]
      axes.set_xticks(range(len(order)), ticks, fontsize=7, rotation=90)
      axes.set_xlabel('subject/trial')
    else:
      axes.set_xlabel(f'{len(order)} recordings, the worst first')
    axes.set_ylabel(target.scores[target.headline].name)
    axes.set_title(f'{short(result.target)}: by recording')
    legend_above(axes, columns=len(names))
  return figure


@matplotlib.rc_context(STYLE)
def shifts(results: Sequence[CourseResult], synthetic: bool) -> Figure:
  """The headline score against the shift of predictions; a dot where it is best."""
  figure = blank(0.4 + 2.4 * len(results), synthetic)
  panels = figure.subplots(len(results), 1, squeeze=False)[:, 0]
  for axes, result in zip(panels, results, strict=True):
    hues = colours(result.models)
    for name, found in result.shifts.items():
      axes.plot(found.seconds, found.scores, color=hues[name], label=short(name))
      best = found.seconds[found.best], found.scores[found.best]
      axes.plot(*best, 'o', color=hues[name], markersize=6)
    axes.axvline(0, color=INK, **DASHED)
    axes.set_ylabel(result.definition.scores[result.definition.headline].name)
    axes.set_xlabel('seconds by which predictions are read later')
    axes.set_title(f'{short(result.target)}: shifted predictions')
    legend_above(axes, columns=len(result.shifts))
  return figure
