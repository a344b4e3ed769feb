"""The report's figures: matplotlib Figures, made without pyplot or its state.

Every function takes `synthetic`: if true, the figure says so in its corner.
"""

import io
import zlib
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from mvp_jax.evaluation.names import BASELINES
from mvp_jax.evaluation.predictions import Prediction

# Okabe and Ito's palette, which colour-blind readers can tell apart.
_BLUE, _ORANGE, _GREEN, _PINK = '#0072b2', '#d55e00', '#009e73', '#cc79a7'
_COLOURS = {'fusion': _BLUE, 'video': _ORANGE, 'physio': _GREEN, 'encoder': _PINK}
_OTHERS = (_PINK, '#56b4e9', '#e69f00', '#b8a800')
GREY, INK = '#8a93a0', '#27303c'
_WIDTH = 9.0  # inches
STYLE = {
  'font.size': 9.5, 'axes.titlesize': 10.5, 'axes.titleweight': 'bold',
  'axes.titlelocation': 'left', 'axes.spines.top': False, 'axes.spines.right': False,
  'axes.edgecolor': '#b6bdc7', 'axes.labelcolor': INK, 'text.color': INK,
  'xtick.color': INK, 'ytick.color': INK, 'axes.grid': True,
  'grid.color': '#e6e9ee', 'grid.linewidth': .8, 'axes.axisbelow': True,
  'text.parse_math': False, 'legend.frameon': False, 'figure.facecolor': 'white',
  'lines.linewidth': 1.6,
}
_MAX_THUMBNAILS = 10
_MAX_NAME = 20  # characters


def png(figure: Figure) -> bytes:
  """The figure as a PNG file's content."""
  content = io.BytesIO()
  # No metadata, so that the same results give the same bytes.
  figure.savefig(content, format='png', dpi=140, metadata={'Software': None})
  return content.getvalue()


@matplotlib.rc_context(STYLE)
def labels(predictions: Sequence[Prediction], threshold: float | None,
           synthetic: bool) -> Figure:
  """Ratings by label, and the share of high of each subject, for each target."""
  targets = list(dict.fromkeys(row.target for row in predictions))
  figure = blank(.4 + 2.3 * len(targets), synthetic)
  panels = figure.subplots(len(targets), 2, squeeze=False)
  for (left, right), target in zip(panels, targets, strict=True):
    trials = {(row.dataset, row.subject, row.trial): row
              for row in predictions if row.target == target}.values()
    ratings = np.array([row.rating for row in trials])
    label = np.array([row.label for row in trials])
    left.hist([ratings[label == 0], ratings[label == 1]], stacked=True,
              bins=_edges(ratings, threshold), color=[GREY, _BLUE],
              label=['low', 'high'])
    if threshold is not None:
      left.axvline(threshold, color=INK, linestyle='--', linewidth=1,
                   label=f'threshold {threshold:g}')
    left.set_title(f'{short(target)}: ratings')
    left.set_ylabel('trials')
    left.set_xlabel('rating')
    legend_above(left)

    persons = sorted({(row.dataset, row.subject) for row in trials})
    share = [np.mean([row.label for row in trials
                      if (row.dataset, row.subject) == person]) for person in persons]
    right.bar(range(len(persons)), share, color=_BLUE, width=.75)
    right.axhline(label.mean(), color=INK, linestyle='--', linewidth=1,
                  label=f'all trials: {label.mean():.2f}')
    right.set_xticks(range(len(persons)), [str(subject) for _, subject in persons],
                     fontsize=min(9, max(4, 200 / len(persons))))
    right.set_ylim(0, 1)
    right.set_title(f'{short(target)}: share of high by subject')
    right.set_xlabel('subject')
    legend_above(right)
  return figure


@matplotlib.rc_context(STYLE)
def learning_curves(curves: dict, synthetic: bool) -> Figure:
  """Loss against step: each run thin, the mean and one deviation over runs bold.

  `curves` is what `files.read_curves` gives. Runs of the same last name
  (`fold0/fusion`, `fold1/fusion`) share a panel.
  """
  groups = {}
  for run, splits in curves.items():
    groups.setdefault(run.rsplit('/', 1)[-1], []).append(splits)
  columns = min(2, len(groups))
  rows = -(-len(groups) // columns)
  figure = blank(2.5 * rows, synthetic)
  panels = figure.subplots(rows, columns, squeeze=False).ravel()
  for axes in panels[len(groups):]:
    axes.set_visible(False)
  for axes, (name, runs) in zip(panels, groups.items(), strict=False):
    for split in dict.fromkeys(split for splits in runs for split in splits):
      hue = GREY if split == 'train' else colour(name)
      members = [splits[split] for splits in runs if split in splits]
      steps, mean, deviation = _over_runs(members)
      if len(members) > 1:
        for x, y in members:
          axes.plot(x, y, color=hue, linewidth=.7, alpha=.4)
        axes.fill_between(steps, mean - deviation, mean + deviation, color=hue,
                          alpha=.18, linewidth=0)
      axes.plot(steps, mean, color=hue, label=split,
                marker='.' if len(steps) == 1 else None)
    many = f' ({len(runs)} runs)' if len(runs) > 1 else ''
    axes.set_title(short(name) + many)
    axes.set_xlabel('step')
    axes.set_ylabel('loss')
    axes.legend(fontsize=8)
  return figure


@matplotlib.rc_context(STYLE)
def attention(arrays: dict, synthetic: bool) -> Figure:
  """One trial over time: signals, attention, its marginal over video, faces.

  `arrays` is what `files.read_attention` gives. The weights are averaged over
  layers and heads; the marginal is their mean over valid queries times the number
  of valid keys, so that 1 is even attention.
  """
  weights = arrays['weights'].mean((0, 1))  # [Q, K]
  queries, keys = arrays['query_valid'].astype(bool), arrays['key_valid'].astype(bool)
  marginal = attention_marginal(arrays)
  channels = arrays['channels']
  has_faces = 'thumbnails' in arrays and 'thumbnail_times' in arrays
  heights = [.8] * len(channels) + [2.6, .9] + [.7] * has_faces
  figure = blank(sum(heights) + .9, synthetic)
  grid = figure.add_gridspec(len(heights), 2, height_ratios=heights,
                             width_ratios=[60, 1])
  axes = [figure.add_subplot(grid[0, 0])]
  axes += [figure.add_subplot(grid[i, 0], sharex=axes[0])
           for i in range(1, len(heights))]
  for axis in axes[:-1]:
    axis.tick_params(labelbottom=False)
  axes[-1].set_xlabel('seconds from stimulus onset')

  for axis, name, signal in zip(axes, channels, arrays['signals'].T, strict=False):
    axis.plot(arrays['signal_times'], signal, color=_GREEN, linewidth=.9)
    axis.set_ylabel(short(str(name)))
  axes[0].set_title(short(arrays['trial_id']))

  heat, below = axes[len(channels)], axes[len(channels) + 1]
  shown = np.ma.array(weights, mask=~(queries[:, None] & keys[None, :]))
  heat.set_facecolor('#d7dbe0')
  mesh = heat.pcolormesh(arrays['key_times'], arrays['query_times'], shown,
                         shading='nearest', cmap='viridis', vmin=0, rasterized=True)
  heat.grid(False)
  heat.set_ylabel('physio query (s)')
  bar = figure.colorbar(mesh, cax=figure.add_subplot(grid[len(channels), 1]))
  bar.set_label('attention')
  below.plot(arrays['key_times'], marginal, color=_BLUE, marker='.')
  below.axhline(1, color=INK, linestyle='--', linewidth=1)
  below.set_ylim(bottom=0)
  below.set_ylabel('x even')
  if has_faces:
    _faces(axes[-1], arrays['thumbnails'], arrays['thumbnail_times'])
  times = [arrays['signal_times'], arrays['key_times']]
  axes[0].set_xlim(min(t.min() for t in times if t.size),
                   max(t.max() for t in times if t.size))
  return figure


def attention_marginal(arrays: dict) -> np.ndarray:
  """Attention over video time [K] relative to even attention; invalid keys NaN."""
  queries, keys = arrays['query_valid'].astype(bool), arrays['key_valid'].astype(bool)
  marginal = np.full(keys.shape, np.nan)
  if queries.any() and keys.any():
    weights = arrays['weights'].astype(float).mean((0, 1))[np.ix_(queries, keys)]
    marginal[keys] = weights.mean(0) * keys.sum()
  return marginal


def _faces(axes, thumbnails, times):
  chosen = np.unique(np.linspace(0, len(times) - 1, _MAX_THUMBNAILS).astype(int)
                     if len(times) else [])
  for i in chosen:
    image = OffsetImage(thumbnails[i], zoom=44 / max(thumbnails.shape[1:3]))
    axes.add_artist(AnnotationBbox(image, (times[i], .5), frameon=False, pad=0,
                                   xycoords=('data', 'axes fraction')))
  axes.set_yticks([])
  axes.grid(False)
  axes.set_ylabel('face')


def legend_above(axes, columns=3):
  axes.legend(loc='lower right', bbox_to_anchor=(1, .98), ncols=columns, fontsize=8,
              handlelength=1.2, columnspacing=1)


def _edges(ratings, threshold):
  """Bins of half a point with the threshold on an edge: no bar holds both labels."""
  low, high = ratings.min(), ratings.max()
  middle = np.floor(low) if threshold is None else threshold
  width = max(.5, (high - low) / 40)
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
  return steps, mean, np.sqrt(np.maximum(squares / runs - mean ** 2, 0))


def short(name):
  """A name from a file at a length that leaves room for the plot."""
  return name if len(name) <= _MAX_NAME else f'{name[:_MAX_NAME - 1]}…'


def colour(name):
  """A model's colour; names that have none of their own share out the others."""
  if name in BASELINES:
    return GREY
  return _COLOURS.get(name) or _OTHERS[zlib.crc32(name.encode()) % len(_OTHERS)]


def blank(height, synthetic):
  """An empty figure of the report's width; `height` in inches."""
  figure = Figure(figsize=(_WIDTH, height), layout='constrained')
  FigureCanvasAgg(figure)
  if synthetic:
    margin = .22 / height
    figure.get_layout_engine().set(rect=(0, margin, 1, 1 - margin))
    figure.text(.995, .05 / height, 'SYNTHETIC', color='#a32a00', ha='right',
                va='bottom', fontsize=10, fontweight='bold')
  return figure
