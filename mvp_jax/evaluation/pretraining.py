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
from mvp_jax.evaluation.files import read_curves, read_json, read_speed
from mvp_jax.evaluation.report import save
from mvp_jax.evaluation.run_sections import key_table, text


def write_report(workdir: Path) -> Path:
  """Writes report.html, report.md and figures/ of a pre-training work directory."""
  run = read_json(workdir / 'run.json') or {}
  config = read_json(workdir / 'config.json')
  curves = read_curves(workdir / 'metrics.jsonl')
  synthetic = bool(run.get('synthetic'))
  blocks = [
    *_origin(synthetic),
    *_data(run, workdir),
    Heading('Learning curve'),
    _curve(curves, synthetic),
    *_reconstructions(workdir / 'reconstructions', synthetic),
    *_speed(read_speed(workdir / 'metrics.jsonl')),
    *_how(run, config),
  ]
  return save(workdir, 'VideoMAE pre-training', blocks)


def _curve(curves, synthetic):
  if not curves or not curves[0]:
    return Paragraph('Absent: no losses were logged.')
  return picture(
    'learning_curves',
    figures.learning_curves(curves[0], synthetic),
    'Mean squared error of the normalised pixels of hidden tokens; a '
    'network that knows nothing but their mean scores 1.',
  )


def _origin(synthetic):
  if synthetic:
    yield Banner(
      'SYNTHETIC',
      'At least one source is a computer-made twin of a '
      'corpus. What the encoder has learnt here are drawn faces.',
    )


def _data(run, workdir):
  sources = run.get('sources') or []
  yield Heading('Data')
  yield Table(
    ['source', 'subjects', 'trials', 'clips an epoch', 'fingerprint'],
    [
      [
        str(s['dataset']),
        *(text(s[key]) for key in ('subjects', 'trials', 'clips_an_epoch')),
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
    yield Paragraph('Absent: none were drawn (train.inspect_every).')
    return
  with np.load(paths[-1]) as arrays:
    clips, step = arrays['clips'], int(arrays['step'])
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
