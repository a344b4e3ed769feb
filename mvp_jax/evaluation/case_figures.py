"""The figure of success and failure: what is shown of trials, over their time."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.ticker import MaxNLocator

from mvp_jax.evaluation.course_figures import broken
from mvp_jax.evaluation.figures import (
  BLUE,
  GREY,
  INK,
  ORANGE,
  STYLE,
  blank,
  colours,
  legend_above,
  short,
)
from mvp_jax.evaluation.predictions import Track

_NOT_VALID = '#e3e6ea'
_MAX_CHANNELS = 4  # drawn
# Inches; of a signal: below.
_HEIGHTS = {
  'course': 1.1,
  'face': 0.5,
  'sound': 0.45,
  'attention': 0.95,
  'marginal': 0.5,
  'share': 0.6,
}
_SIGNAL = 0.55
_GAP = 0.1  # below a case
_FACE_INCHES = 0.44
_UNITS = {'microsiemens': 'µS', 'millivolt': 'mV', 'celsius': '°C'}
SHARES = (
  'Through attention: how much of each modality came by the attention of the fusion '
  '(0: none of it, 1: all), in each segment of time.'
)
_STYLE = STYLE | {'font.size': 8, 'axes.titlesize': 9, 'lines.linewidth': 1.2}


@matplotlib.rc_context(_STYLE)
def cases(chosen, found, synthetic) -> Figure:
  """The columns of what is chosen, each case over the time of its trial.

  Rating and prediction where they are in time, faces, the level of sound, signals,
  attention, and the attention of each moment of the video. Where there is nothing valid
  it is grey. `chosen` are `cases.Cases` or `cases.Extremes`; `found` has what
  `cases.read` gives, or None, for each of its `rows`.
  """
  left = iter(found)
  columns = [[(case, next(left)) for case in column] for column in chosen.columns]
  one = chosen.rows[0]
  kinds = _kinds(found, isinstance(one, Track))
  rows = max(map(len, columns))
  heights = [_HEIGHTS.get(kind, _SIGNAL) for kind in kinds]
  heights.append(_GAP)
  figure = blank(rows * (sum(heights) + 0.77) + 0.35, synthetic)
  figure.get_layout_engine().set(h_pad=0.02, hspace=0.01)
  title = f'{short(one.target)}, {short(one.model)}'
  figure.suptitle(title, x=0.005, ha='left', fontsize=10.5, fontweight='bold')
  grid = figure.add_gridspec(
    rows * len(heights),
    len(columns) + 1,
    height_ratios=heights * rows,
    width_ratios=[*[60 / len(columns)] * len(columns), 0.6],
  )
  top, bar = _most(found), None
  for column, of_column in enumerate(columns):
    for place, (case, arrays) in enumerate(of_column):
      axes = []
      for i in range(len(kinds)):
        where = grid[place * len(heights) + i, column]
        axes.append(figure.add_subplot(where, sharex=axes[0] if axes else None))
      mesh = _case(axes, kinds, case.row, arrays or {}, top)
      _title(axes[0], case, arrays)
      if column:
        for axis in axes:
          axis.set_ylabel('')
      if place == len(of_column) - 1:
        axes[-1].set_xlabel('seconds from stimulus onset')
      if mesh is not None and bar is None:
        where = place * len(heights) + kinds.index('attention')
        bar = figure.colorbar(mesh, cax=figure.add_subplot(grid[where, -1]))
        bar.set_label('x even')
  return figure


@matplotlib.rc_context(_STYLE)
def recording(courses, ends, arrays, synthetic) -> Figure:
  """What models say over the time of a recording, above what they were shown of it.

  Args:
    courses: {rating: (seconds [n], mean [n], spread [n])}, NaN where nothing is said.
    ends: of the scale, or None.
    arrays: as `cases.shown` gives them.
  """
  kinds = [kind for kind in _kinds([arrays], False) if kind != 'nothing']
  heights = [_HEIGHTS['course']] * len(courses)
  heights += [_HEIGHTS.get(kind, _SIGNAL) for kind in kinds]
  figure = blank(sum(heights) + 0.6, synthetic)
  figure.get_layout_engine().set(h_pad=0.02, hspace=0.01)
  axes = figure.subplots(
    len(heights), 1, sharex=True, squeeze=False, height_ratios=heights
  )[:, 0]
  for axis, (rating, (times, mean, spread)) in zip(axes, courses.items(), strict=False):
    band = {'color': BLUE, 'alpha': 0.2, 'linewidth': 0, 'label': 'spread over models'}
    axis.fill_between(times, mean - spread, mean + spread, **band)
    axis.plot(times, mean, color=BLUE, label='estimate')
    if ends:
      axis.set_ylim(*ends)
      axis.axhline(sum(ends) / 2, color=GREY, linewidth=0.7)
    axis.set_ylabel(short(rating))
    axis.tick_params(length=2)
  legend_above(axes[0])
  last = max([x[0][-1] for x in courses.values() if len(x[0])], default=0.0)
  own = axes[len(courses) :]
  if len(own):
    _case(own, kinds, None, arrays, _most([arrays]))
  axes[0].set_xlim(0, max(_end(arrays), last))
  axes[-1].set_xlabel('seconds')
  return figure


def marginal(arrays) -> np.ndarray:
  """Attention of each key [K], mean over valid queries, relative to even attention.

  NaN where a key is not valid.
  """
  queries, keys = arrays['query_valid'].astype(bool), arrays['key_valid'].astype(bool)
  found = np.full(keys.shape, np.nan)
  if queries.any() and keys.any():
    weights = arrays['weights'].astype(float)[np.ix_(queries, keys)]
    found[keys] = weights.mean(0) * keys.sum()
  return found


def _kinds(found, in_time):
  """What is drawn of each trial, from the top: what any of them has."""
  known = [arrays for arrays in found if arrays]
  channels = dict.fromkeys(f'signal {name}' for x in known for name in x['channels'])
  faces, sound, weights, shares = (
    any(name in x for x in known)
    for name in ('faces', 'sound_level', 'weights', 'shares')
  )
  kinds = ['course'] * in_time + ['face'] * faces + ['sound'] * sound
  kinds += list(channels)[:_MAX_CHANNELS]
  kinds += ['attention', 'marginal'] * weights + ['share'] * shares
  return kinds or ['nothing']


def _most(found):
  """The highest attention of all valid moments, relative to even attention."""
  known = [_relative(arrays) for arrays in found if arrays and 'weights' in arrays]
  return max((float(x.max()) for x in known if x.size), default=1.0)


def _relative(arrays):
  """Attention [valid queries, valid keys], relative to even attention."""
  queries, keys = arrays['query_valid'].astype(bool), arrays['key_valid'].astype(bool)
  return arrays['weights'][np.ix_(queries, keys)].astype(float) * keys.sum()


def _title(axis, case, arrays):
  row = case.row
  about = f'subject {row.subject}, trial {row.trial}'
  if row.stimulus != 'none':
    about += f', stimulus {short(row.stimulus)}'
  if arrays:
    about = f'{short(arrays["trial_id"])}: {about}'
  hue = {True: BLUE, False: ORANGE, None: INK}[case.good]
  axis.set_title(case.title, color=hue, pad=16)
  axis.annotate(
    about,
    (0, 1),
    xycoords='axes fraction',
    xytext=(0, 5),
    textcoords='offset points',
    fontsize=7.5,
  )


def _case(axes, kinds, row, arrays, top):
  """Draws a case into axes, one for each kind; returns the mesh of the attention."""
  mesh = None
  channels = [str(name) for name in arrays.get('channels', ())]
  for axis, kind in zip(axes, kinds, strict=True):
    axis.tick_params(labelbottom=axis is axes[-1], length=2)
    name = kind.removeprefix('signal ')
    if kind == 'course':
      _course(axis, row)
    elif kind == 'face' and 'faces' in arrays:
      _faces(axis, arrays)
    elif kind == 'sound' and 'sound_level' in arrays:
      _sound(axis, arrays)
    elif kind == 'attention' and 'weights' in arrays:
      mesh = _attention(axis, arrays, top)
    elif kind == 'marginal' and 'weights' in arrays:
      _marginal(axis, arrays)
    elif kind == 'share' and 'shares' in arrays:
      _shares(axis, arrays)
    elif name != kind and name in channels:
      _signal(axis, arrays, channels.index(name))
    else:
      axis.set_yticks([])
      axis.grid(False)
      text, style = 'none' if arrays else 'not kept', {'ha': 'center', 'va': 'center'}
      axis.text(0.5, 0.5, text, color=GREY, transform=axis.transAxes, **style)
  axes[0].set_xlim(0, max(_end(arrays), getattr(row, 'times', [0])[-1]))
  return mesh


def _end(arrays):
  """Seconds that a trial lasts, as far as anything is drawn."""
  known = ('face_times', 'sound_times', 'key_times')  # the last one may be padded
  times = [arrays[name] for name in known if name in arrays]
  if 'key_valid' in arrays:
    times[-1] = times[-1][arrays['key_valid'].astype(bool)]
  seconds = [float(x.max()) for x in times if x.size]
  if 'signals' in arrays:
    seconds.append(len(arrays['signals']) / float(arrays['signal_rate']))
  return max([*seconds, 1e-3])


def _course(axis, row):
  for values, style in (
    (row.ratings, {'color': INK, 'label': 'rated'}),
    (row.predictions, {'color': BLUE, 'label': 'predicted'}),
  ):
    axis.plot(*broken(row.times, values), **style)
  axis.yaxis.set_major_locator(MaxNLocator(3))
  axis.set_ylabel(short(row.target))
  legend_above(axis)


def _sound(axis, arrays):
  times, level = (arrays[f'sound_{name}'].astype(float) for name in ('times', 'level'))
  axis.plot(times, level, color=INK, linewidth=0.6)
  axis.fill_between(times, 0, 1, where=np.isnan(level), **_not_valid(axis))
  axis.yaxis.set_major_locator(MaxNLocator(2))
  axis.set_ylabel('sound\n(dB)')


def _not_valid(axis):
  """How what is not valid is shaded, over the whole height."""
  return {'color': _NOT_VALID, 'linewidth': 0, 'transform': axis.get_xaxis_transform()}


def _faces(axis, arrays):
  for image, time in zip(arrays['faces'], arrays['face_times'], strict=True):
    box = OffsetImage(image, zoom=72 * _FACE_INCHES / max(image.shape[:2]))
    style = {'frameon': False, 'pad': 0, 'xycoords': ('data', 'axes fraction')}
    axis.add_artist(AnnotationBbox(box, (float(time), 0.5), **style))
  axis.set_yticks([])
  axis.grid(False)
  axis.spines[:].set_visible(False)
  axis.tick_params(bottom=False)
  axis.set_ylabel('face')


def _signal(axis, arrays, channel):
  values = arrays['signals'][:, channel].astype(float)
  valid = arrays['signals_valid'][:, channel].astype(bool)
  times = np.arange(len(values)) / float(arrays['signal_rate'])
  axis.plot(times, np.where(valid, values, np.nan), color=INK, linewidth=0.6)
  axis.fill_between(times, 0, 1, where=~valid, **_not_valid(axis))
  if valid.any():
    low, high = np.quantile(values[valid], [0.002, 0.998])
    margin = 0.08 * (high - low) or 1.0
    axis.set_ylim(low - margin, high + margin)
  axis.yaxis.set_major_locator(MaxNLocator(2))
  unit = _UNITS.get(str(arrays['units'][channel]))
  name = short(str(arrays['channels'][channel])).upper()
  axis.set_ylabel(f'{name}\n({unit})' if unit else name)


def _attention(axis, arrays, top):
  axis.set_facecolor(_NOT_VALID)
  axis.grid(False)
  axis.set_ylabel('asked\nat (s)')
  axis.yaxis.set_major_locator(MaxNLocator(3))
  relative = _relative(arrays)
  if not relative.size:
    return None
  (x, keys), (y, queries) = (
    _cells(arrays[f'{side}_times'][arrays[f'{side}_valid'].astype(bool)])
    for side in ('key', 'query')
  )
  shown = np.ma.array(np.zeros((len(y) - 1, len(x) - 1)), mask=True)
  shown[::2, ::2] = relative[np.ix_(queries, keys)]
  style = {'shading': 'flat', 'cmap': 'viridis', 'rasterized': True}
  return axis.pcolormesh(x, y, shown, vmin=0, vmax=top, **style)


def _cells(times):
  """Cells around moments [n], at any times, of which padding is none.

  Returns:
    (edges of cells [2 n], the moments in the order of time [n]). The first cell is of
    the first moment, the second the gap after it, which has no width if the next one
    follows at the usual distance, and so on.
  """
  order = np.argsort(times, kind='stable')
  times = times[order].astype(float)
  apart = np.diff(times)
  half = np.median(apart[apart > 0]) / 2 if apart.any() else 0.5
  ends = np.stack([times - half, times + half], 1)
  middle = (times[1:] + times[:-1]) / 2
  ends[1:, 0] = np.maximum(ends[1:, 0], middle)
  ends[:-1, 1] = np.minimum(ends[:-1, 1], middle)
  return ends.ravel(), order


def _shares(axis, arrays):
  hues = colours([str(name) for name in arrays['share_names']])
  for (name, hue), share in zip(hues.items(), arrays['shares'], strict=True):
    style = {'color': hue, 'marker': '.', 'markersize': 3, 'linewidth': 0.8}
    axis.plot(arrays['share_times'], share.astype(float), label=name, **style)
  axis.set(ylim=(0, 1), ylabel='through\nattention')
  axis.legend(loc='upper right', fontsize=6, ncols=len(hues))


def _marginal(axis, arrays):
  order = np.argsort(arrays['key_times'], kind='stable')
  style = {'color': INK, 'marker': '.', 'markersize': 3, 'linewidth': 0.8}
  axis.plot(arrays['key_times'][order], marginal(arrays)[order], **style)
  axis.axhline(1, color=INK, linestyle='--', linewidth=0.7)
  axis.set(ylim=(0, None), ylabel='mean\n(x even)')
