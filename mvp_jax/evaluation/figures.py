"""The report's figures: matplotlib Figures, made without pyplot or its state.

Every function takes `synthetic`: if true, the figure says so in its corner.
"""

import io
import itertools
import textwrap
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mvp_jax.evaluation.document import Picture
from mvp_jax.evaluation.predictions import Prediction

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE = '#0072b2', '#d55e00'
_COLOURS = (BLUE, ORANGE, '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#b8a800')
GREY, INK = '#8a93a0', '#27303c'
_WIDTH = 9.0  # inches
STYLE = {
  'font.size': 9.5,
  'axes.titlesize': 10.5,
  'axes.titleweight': 'bold',
  'axes.titlelocation': 'left',
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.edgecolor': '#b6bdc7',
  'axes.labelcolor': INK,
  'text.color': INK,
  'xtick.color': INK,
  'ytick.color': INK,
  'axes.grid': True,
  'grid.color': '#e6e9ee',
  'grid.linewidth': 0.8,
  'axes.axisbelow': True,
  'text.parse_math': False,
  'legend.frameon': False,
  'figure.facecolor': 'white',
  'lines.linewidth': 1.6,
}
DASHED = {'linestyle': '--', 'linewidth': 1}
_MAX_NAME = 20  # characters


def png(figure: Figure) -> bytes:
  """The figure as a PNG file's content."""
  content = io.BytesIO()
  # No metadata, so that the same results give the same bytes.
  figure.savefig(content, format='png', dpi=140, metadata={'Software': None})
  return content.getvalue()


@matplotlib.rc_context(STYLE)
def labels(
  predictions: Sequence[Prediction], threshold: float | None, synthetic: bool
) -> Figure:
  """Ratings by label, and the share of high of each subject, for each target."""
  targets = list(dict.fromkeys(row.target for row in predictions))
  figure = blank(0.4 + 2.3 * len(targets), synthetic)
  panels = figure.subplots(len(targets), 2, squeeze=False)
  for (left, right), target in zip(panels, targets, strict=True):
    trials = {row.place: row for row in predictions if row.target == target}.values()
    ratings = np.array([row.rating for row in trials])
    label = np.array([row.label for row in trials])
    left.hist(
      [ratings[label == 0], ratings[label == 1]],
      stacked=True,
      bins=_edges(ratings, threshold),
      color=[GREY, BLUE],
      label=['low', 'high'],
    )
    if threshold is not None:
      left.axvline(threshold, color=INK, label=f'threshold {threshold:g}', **DASHED)
    left.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    left.set(title=f'{short(target)}: ratings', ylabel='trials', xlabel='rating')
    legend_above(left)

    persons = sorted({row.place[:2] for row in trials})
    share = [
      np.mean([row.label for row in trials if row.place[:2] == person])
      for person in persons
    ]
    right.bar(range(len(persons)), share, color=BLUE, width=0.75)
    mean = label.mean()
    right.axhline(mean, color=INK, label=f'all trials: {mean:.2f}', **DASHED)
    name_ticks(right, [str(x) for _, x in persons], letters=75)
    right.set(ylim=(0, 1), xlabel='subject')
    right.set_title(f'{short(target)}: share of high by subject')
    legend_above(right)
  return figure


def name_ticks(
  axes: Axes, names: Sequence[str], letters: int, rotation: int = 0
) -> None:
  """Names the places 0, 1, ... of an axis: every so many, if not all fit.

  `letters` of 6 points fit side by side; names that are turned are as wide as two.
  """
  wide = 2 if rotation else max(map(len, names)) + 1
  places = range(0, len(names), -(-len(names) * wide // letters))
  size = min(9, 6 * letters / (wide * len(places)))
  shown = [names[i] for i in places]
  axes.set_xticks(places, shown, fontsize=size, rotation=rotation)


@matplotlib.rc_context(STYLE)
def agreement(predictions: Sequence[Prediction], model: str, synthetic: bool) -> Figure:
  """Predicted against given ratings of a model's trials, for each target."""
  targets = list(dict.fromkeys(row.target for row in predictions))
  figure = blank(0.4 + 3.0 * len(targets), synthetic)
  panels = figure.subplots(len(targets), 1, squeeze=False)[:, 0]
  for axes, target in zip(panels, targets, strict=True):
    rows = [r for r in predictions if (r.target, r.model) == (target, model)]
    pairs = [(row.rating, row.predicted_rating) for row in rows]
    rated, said = np.array(pairs, float).reshape(-1, 2).T
    ends = [min(rated.min(), said.min()), max(rated.max(), said.max())]
    axes.plot(ends, ends, color=GREY, label='as rated', **DASHED)
    axes.plot(rated, said, 'o', color=BLUE, markersize=4, alpha=0.5, label=short(model))
    axes.set(xlabel='rating', ylabel='predicted')
    axes.set_title(f'{short(target)}: predicted and given ratings')
    legend_above(axes)
  return figure


@matplotlib.rc_context(STYLE)
def learning_curves(
  curves: dict, synthetic: bool, models: Sequence[str] = ()
) -> Figure:
  """Loss against step: each run thin, the mean and one deviation over runs bold.

  `curves` is what `files.read_curves` gives. Runs of the same last name
  (`fold0/joint`, `fold1/joint`) share a panel. `models` have the colours that they
  have in other figures.
  """
  groups = {}
  for run, splits in curves.items():
    groups.setdefault(run.rsplit('/', 1)[-1], []).append(splits)
  hues, columns = colours([*models, *groups]), min(2, len(groups))
  rows = -(-len(groups) // columns)
  figure = blank(2.5 * rows, synthetic)
  panels = figure.subplots(rows, columns, squeeze=False).ravel()
  for axes in panels[len(groups) :]:
    axes.set_visible(False)
  for axes, (name, runs) in zip(panels, groups.items(), strict=False):
    for split in dict.fromkeys(split for splits in runs for split in splits):
      hue = GREY if split == 'train' else hues[name]
      members = [splits[split] for splits in runs if split in splits]
      steps, mean, deviation = _over_runs(members)
      if len(members) > 1:
        for x, y in members:
          axes.plot(x, y, color=hue, linewidth=0.7, alpha=0.4)
        low, high = mean - deviation, mean + deviation
        axes.fill_between(steps, low, high, color=hue, alpha=0.18, linewidth=0)
      marker = '.' if len(steps) == 1 else None
      axes.plot(steps, mean, color=hue, label=split, marker=marker)
    many = f' ({len(runs)} runs)' if len(runs) > 1 else ''
    axes.set(title=short(name) + many, xlabel='step', ylabel='loss')
    axes.legend(fontsize=8)
  return figure


def legend_above(axes, columns=3):
  axes.legend(
    loc='lower right',
    bbox_to_anchor=(1, 0.98),
    ncols=columns,
    fontsize=8,
    handlelength=1.2,
    columnspacing=1,
  )


def _edges(ratings, threshold):
  """Bins of half a point with the threshold on an edge: no bar holds both labels."""
  low, high = ratings.min(), ratings.max()
  middle = np.floor(low) if threshold is None else threshold
  width = max(0.5, (high - low) / 40)
  first, last = np.floor((low - middle) / width), np.floor((high - middle) / width) + 1
  return middle + width * np.arange(first, last + 1)


def _over_runs(members):
  """Steps that any run reports, and mean and deviation of those that do."""
  steps = np.unique(np.concatenate([steps for steps, _ in members]))
  total, squares, runs = np.zeros((3, len(steps)))
  for x, y in members:
    at = np.searchsorted(steps, x)
    total[at] += y
    squares[at] += np.square(y)
    runs[at] += 1
  mean = total / runs
  return steps, mean, np.sqrt(np.maximum(squares / runs - mean**2, 0))


def short(name):
  """A name from a file at a length that leaves room for the plot."""
  return name if len(name) <= _MAX_NAME else f'{name[: _MAX_NAME - 1]}…'


def in_two_lines(name):
  """A name beside an axis: what `short` would cut goes on below."""
  return '\n'.join(textwrap.wrap(name, _MAX_NAME, max_lines=2, placeholder='…'))


def colours(names) -> dict:
  """A colour for each of some models, the main one first."""
  return dict(zip(dict.fromkeys(names), itertools.cycle(_COLOURS), strict=False))


def picture(name, figure, caption) -> Picture:
  """A figure as a block of a report."""
  return Picture(name, caption, png(figure))


def blank(height, synthetic):
  """An empty figure of the report's width; `height` in inches."""
  figure = Figure(figsize=(_WIDTH, height), layout='constrained')
  FigureCanvasAgg(figure)
  if synthetic:
    margin = 0.22 / height
    figure.get_layout_engine().set(rect=(0, margin, 1, 1 - margin))
    style = {'color': '#a32a00', 'fontsize': 10, 'fontweight': 'bold'}
    figure.text(0.995, 0.05 / height, 'SYNTHETIC', ha='right', va='bottom', **style)
  return figure
