"""The report of a pre-training run: loss, speed, reconstructions, how it was made."""

import json
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from mvp_jax.evaluation import figures
from mvp_jax.evaluation.document import (
  Banner,
  Folded,
  Heading,
  Link,
  Paragraph,
  Table,
)
from mvp_jax.evaluation.figures import picture
from mvp_jax.evaluation.files import read_curves, read_speed
from mvp_jax.evaluation.report import save
from mvp_jax.evaluation.run_sections import key_table, text
from mvp_jax.files import read_json
from mvp_jax.workdir import require_whole

_STRETCH = 20.0  # seconds of a signal in a figure


def write_report(workdir: Path) -> Path:
  """Writes report.html, report.md and figures/ of a pre-training work directory."""
  require_whole(workdir)
  run = read_json(workdir / 'run.json') or {}
  config = read_json(workdir / 'config.json')
  curves = read_curves(workdir / 'metrics.jsonl')
  synthetic = bool(run.get('synthetic'))
  signals = ((config or {}).get('encoder') or {}).get('kind') == 'physio'
  blocks = [
    *_origin(synthetic),
    *_data(run, workdir),
    Heading('Learning curve'),
    _curve(curves, synthetic, signals),
    *_reconstructions(workdir / 'reconstructions', synthetic),
    *_speed(read_speed(workdir / 'metrics.jsonl')),
    *_how(run, config),
  ]
  return save(workdir, f'{"Signal" if signals else "VideoMAE"} pre-training', blocks)


def _curve(curves, synthetic, signals):
  if not curves or not curves[0]:
    return Paragraph('Absent: no losses were logged.')
  return picture(
    'learning_curves',
    figures.learning_curves(curves[0], synthetic),
    f'Mean squared error of {"standardised signals" if signals else "the pixels"} that '
    f'{"were hidden" if signals else "hidden tokens have, normalised"}; a network that '
    'knows nothing but their mean scores 1.',
  )


def _origin(synthetic):
  if synthetic:
    yield Banner(
      'SYNTHETIC',
      'At least one source is a computer-made twin of a '
      'corpus. What the encoder has learnt here is made up.',
    )


def _data(run, workdir):
  sources = run.get('sources') or []
  yield Heading('Data')
  yield Table(
    ['source', 'subjects', 'trials', 'examples an epoch', 'fingerprint'],
    [
      [
        str(s['dataset']),
        *(text(s[key]) for key in ('subjects', 'trials', 'examples_an_epoch')),
        str(s['fingerprint']),
      ]
      for s in sources
    ],
  )
  for path in sorted(workdir.glob('account-*.html')):
    yield Link(f'Every video, and what was dropped and why: {path.name}', path.name)


def _reconstructions(folder, synthetic):
  yield Heading('Reconstructions')
  paths = sorted(folder.glob('step_*.npz'), key=lambda p: int(p.stem.split('_')[1]))
  if not paths:
    yield Paragraph('Absent: none were drawn (config.encoder.train.inspect_every).')
    return
  with np.load(paths[-1]) as file:
    arrays = dict(file)
  step = int(arrays['step'])
  if 'clips' not in arrays:
    yield picture(
      'reconstructions',
      restored_signals(arrays, synthetic),
      f'After step {step}: a stretch of an example of each channel, standardised. What '
      'was hidden is shaded; the line in colour is what the network made of it.',
    )
    return
  clips = arrays['clips']
  yield picture(
    'reconstructions',
    reconstructions(clips, synthetic),
    f'After step {step}. The network predicts pixels minus the mean of their '
    'token over its deviation. All hidden tokens of a clip are drawn with the mean '
    'and deviation of its visible ones: nothing of the hidden pixels is in the '
    'picture.',
  )


@matplotlib.rc_context(figures.STYLE)
def reconstructions(clips, synthetic) -> Figure:
  """Clips as rows; their frames as they are, as the encoder sees them, restored.

  `clips` are uint8 [clips, 3, frames, H, W, 3].
  """
  count, ways, frames = clips.shape[:3]
  figure = figures.blank(1.15 * count + 0.4, synthetic)
  panels = figure.subplots(count, ways, squeeze=False)
  for number, (row, clip) in enumerate(zip(panels, clips, strict=True)):
    names = ('frames', 'visible', 'restored')
    for axes, way, name in zip(row, clip, names, strict=True):
      axes.imshow(np.concatenate(list(way), axis=1), interpolation='nearest')
      axes.set_axis_off()
      if number == 0:
        axes.set_title(name)
  return figure


@matplotlib.rc_context(figures.STYLE)
def restored_signals(arrays, synthetic) -> Figure:
  """Each channel of an example: what was there, what was hidden, what was filled in.

  `arrays` are of `MaskedBodySignals.drawn`.
  """
  names, rate = [str(name) for name in arrays['channels']], float(arrays['rate'])
  seconds = np.arange(arrays['values'].shape[1]) / rate - int(arrays['lead']) / rate
  shown = slice(0, max(round(_STRETCH * rate), 1))
  figure = figures.blank(1.1 * len(names) + 0.5, synthetic)
  panels = figure.subplots(len(names), 1, squeeze=False, sharex=True)[:, 0]
  for number, (name, axes) in enumerate(zip(names, panels, strict=True)):
    # The first example that has the channel.
    there = np.any(arrays['values'][..., number] != 0, axis=1)
    example = int(np.argmax(there))
    hidden = arrays['hidden'][example][shown]
    known = arrays['values'][example, shown, number]
    filled = np.where(hidden, arrays['restored'][example, shown, number], np.nan)
    x = seconds[shown]
    axes.fill_between(
      x, 0, 1, where=hidden, transform=axes.get_xaxis_transform(), color='0.9'
    )
    axes.plot(x, known, color=figures.GREY, linewidth=0.8)
    axes.plot(x, filled, color='#2166ac', linewidth=1.2)
    axes.set_ylabel(name)
  panels[-1].set_xlabel('seconds since the onset')
  return figure


def _speed(speed):
  yield Heading('Speed')
  if not speed:
    yield Paragraph('Absent: no speed was logged.')
    return
  units = {
    'steps_per_second': ('steps a second', 1),
    'examples_per_second': ('clips a second', 1),
    'input_wait': ('% of the time waiting for input', 100),
    'utilisation': ('% model FLOP utilisation', 100),
  }
  yield Table(
    ['', 'median', 'least', 'most'],
    [
      [name, *(f'{factor * of(speed[key]):.3g}' for of in (np.median, min, max))]
      for key, (name, factor) in units.items()
      if key in speed
    ],
  )
  yield Paragraph(
    'Over the intervals between log lines, checkpoints and pictures '
    'included. Utilisation: FLOP that the mathematics needs over what '
    'the devices state for bfloat16, or, on CPU, over what a large '
    'matrix product reached there.'
  )


def _how(run, config):
  yield Heading('How it was made')
  yield Table(
    ['run', ''],
    [[key, str(run.get(key, 'absent'))] for key in ('git', 'device')],
    text_columns=2,
  )
  for name in ('parameters', 'seconds', 'versions'):
    yield key_table(name, run.get(name, {}))
  if config is not None:
    yield Folded('Config', json.dumps(config, indent=2))
