"""Logs that a power cut ends, and what logs hold."""

import json

import jax
import numpy as np

from mvp_jax.training.metric_log import MetricLog


class PowerCut(Exception):
  pass


class CutLog(MetricLog):
  """Raises when it is to write the training metrics of step `at`."""

  def __init__(self, workdir, at=None):
    super().__init__(workdir)
    self.at = at

  def write(self, run, split, step, metrics):
    self._cut(split, step)
    super().write(run, split, step, metrics)

  def write_many(self, name, runs, curves, split, step, metrics):
    self._cut(split, step)
    super().write_many(name, runs, curves, split, step, metrics)

  def _cut(self, split, step):
    if step == self.at and split == 'train':
      raise PowerCut


def metrics_of(folder):
  """{(run, split, step): metrics} but for speed; the last line counts."""
  found = {}
  for line in (folder / 'metrics.jsonl').read_text().splitlines():
    entry = json.loads(line)
    del entry['time']
    if entry['split'] != 'speed':
      found[entry.pop('run'), entry.pop('split'), entry.pop('step')] = entry
  return found


def assert_close(one, other, rtol=1e-4, atol=1e-5):
  """That trees of arrays are alike."""
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol, atol), one, other)
