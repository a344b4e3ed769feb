"""Metrics of a run: JSON lines for programs, TensorBoard events for people."""

import json
import math
import os
import time

import numpy as np

from mvp_jax import hosts


def _open_lines(path):
  """Opens for appending, after dropping an incomplete last line of a killed run."""
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.exists():
    content = path.read_bytes()
    if not content.endswith(b'\n'):
      os.truncate(path, content.rfind(b'\n') + 1)
  return path.open('a')


class MetricLog:
  """Appends to `metrics.jsonl` and to `tensorboard/<run>` of a work directory.

  After a resume the steps since the last checkpoint are written again: of several
  lines of a run, split and step the last one counts. Only process 0 writes.
  """

  def __init__(self, workdir):
    self.directory = workdir
    self._lines = _open_lines(workdir / 'metrics.jsonl') if hosts.is_main() else None
    self._writers = {}

  def __enter__(self):
    return self

  def __exit__(self, exc_type, exc, tb):
    if self._lines:
      self._lines.close()
    for writer in self._writers.values():
      writer.close()

  def write(self, run, split, step, metrics):
    """Writes scalars of one step.

    Args:
      run: name of the run, such as 'fold0/fusion'.
      split: 'train', 'validation' or 'speed'.
      step: steps done.
      metrics: dict of finite or non-finite floats.
    """
    if not self._lines or not metrics:
      return
    metrics = {name: float(value) for name, value in metrics.items()}
    self._line(run, split, step, metrics)
    self._lines.flush()
    self._events(run, split, step, metrics)

  def _line(self, run, split, step, metrics):
    line = {
      'run': run,
      'split': split,
      'step': step,
      'time': round(time.time(), 3),
      **{k: v if math.isfinite(v) else None for k, v in metrics.items()},
    }
    self._lines.write(json.dumps(line) + '\n')

  def _events(self, run, split, step, metrics):
    for name, value in metrics.items():
      self._writer(run).add_scalar(f'{split}/{name}', value, step)

  def write_many(self, name, runs, curves, split, step, metrics):
    """Writes scalars of one step of many runs.

    `metrics.jsonl` gets a line per run. TensorBoard shows the mean over all runs, the
    lowest and highest loss, and the mean of each curve.

    Args:
      name: name of the group, such as 'fusion'.
      runs: name of each run, such as 'fold0/seed1/fusion'.
      curves: name of the curve that each run belongs to, such as 'fold0/fusion'.
      split, step: as for `write`.
      metrics: dict of arrays [runs].
    """
    if not self._lines or not metrics:
      return
    metrics = {key: np.asarray(x, np.float64) for key, x in metrics.items()}
    for i, run in enumerate(runs):
      self._line(run, split, step, {key: float(x[i]) for key, x in metrics.items()})
    self._lines.flush()
    shown = {key: x.mean() for key, x in metrics.items()}
    shown |= {
      'loss_lowest': metrics['loss'].min(),
      'loss_highest': metrics['loss'].max(),
    }
    self._events(name, split, step, shown)
    for curve in dict.fromkeys(curves):
      here = [i for i, other in enumerate(curves) if other == curve]
      self._events(
        curve, split, step, {key: x[here].mean() for key, x in metrics.items()}
      )

  def write_image(self, run, name, step, image):
    """Shows a picture in TensorBoard: uint8 [height, width, 3]."""
    if self._lines:
      self._writer(run).add_image(name, image, step, dataformats='HWC')

  def _writer(self, run):
    if run not in self._writers:
      from tensorboardX import SummaryWriter  # takes seconds where there is PyTorch

      self._writers[run] = SummaryWriter(
        str(self.directory / 'tensorboard' / run), flush_secs=10
      )
    return self._writers[run]
