"""Metrics of a run: JSON lines for programs, TensorBoard events for people."""

import json
import math
import os
import time

from tensorboardX import SummaryWriter

from mvp_jax.training import hosts


def _open_lines(path):
  """Opens for appending, without what a killed run has written of a last line."""
  if path.exists():
    content = path.read_bytes()
    if not content.endswith(b'\n'):
      os.truncate(path, content.rfind(b'\n') + 1)
  return path.open('a')


class MetricLog:
  """Appends to `metrics.jsonl` and to `tensorboard/<run>` of a work directory.

  After a resume the steps since the last checkpoint are written again: for a
  run, split and step the last line counts. Of several processes only the first
  writes.
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
    line = {'run': run, 'split': split, 'step': step, 'time': round(time.time(), 3),
            **{k: v if math.isfinite(v) else None for k, v in metrics.items()}}
    self._lines.write(json.dumps(line) + '\n')
    self._lines.flush()
    for name, value in metrics.items():
      self._writer(run).add_scalar(f'{split}/{name}', value, step)

  def write_image(self, run, name, step, image):
    """Shows a picture in TensorBoard: uint8 [height, width, 3]."""
    if self._lines:
      self._writer(run).add_image(name, image, step, dataformats='HWC')

  def _writer(self, run):
    if run not in self._writers:
      self._writers[run] = SummaryWriter(
          str(self.directory / 'tensorboard' / run), flush_secs=10)
    return self._writers[run]
