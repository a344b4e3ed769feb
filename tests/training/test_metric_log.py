"""Metrics: JSON lines that parse, TensorBoard events that hold them."""

import json
import struct

import jax
import numpy as np
import pytest

from mvp_jax.training.metric_log import MetricLog


@pytest.fixture
def workdir(tmp_path):
  with MetricLog(tmp_path) as log:
    log.write('fold0/fusion', 'train', 1, {'loss': 0.75, 'grad_norm': float('nan')})
    log.write('fold0/fusion', 'validation', 1, {'loss': float('inf')})
    log.write('encoder', 'train', 10, {'loss': 2})
    # On disk at once, not when the run ends: it may be killed.
    assert len((tmp_path / 'metrics.jsonl').read_text().splitlines()) == 3
  return tmp_path


def _lines(workdir):
  def refuse(constant):
    raise AssertionError(f'{constant} is not JSON')

  return [
    json.loads(line, parse_constant=refuse)
    for line in (workdir / 'metrics.jsonl').read_text().splitlines()
  ]


def test_lines_are_json(workdir):
  lines = _lines(workdir)
  assert all(line.pop('time') > 1.7e9 for line in lines)
  assert lines == [
    {
      'run': 'fold0/fusion',
      'split': 'train',
      'step': 1,
      'loss': 0.75,
      'grad_norm': None,
    },
    {'run': 'fold0/fusion', 'split': 'validation', 'step': 1, 'loss': None},
    {'run': 'encoder', 'split': 'train', 'step': 10, 'loss': 2.0},
  ]


def test_a_resumed_run_appends(workdir):
  with MetricLog(workdir) as log:
    log.write('encoder', 'train', 11, {'loss': 1.5})
  assert [line['step'] for line in _lines(workdir)] == [1, 1, 10, 11]


def test_half_a_line_of_a_killed_run_goes(workdir):
  path = workdir / 'metrics.jsonl'
  path.write_text(path.read_text() + '{"run": "encoder", "spl')
  with MetricLog(workdir) as log:
    log.write('encoder', 'train', 11, {'loss': 1.5})
  assert [line['step'] for line in _lines(workdir)] == [1, 1, 10, 11]


def test_only_the_first_process_writes(tmp_path, monkeypatch):
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  with MetricLog(tmp_path) as log:
    log.write('encoder', 'train', 1, {'loss': 1.5})
  assert not list(tmp_path.iterdir())


def _records(path):
  """The records of a TFRecord file, which TensorBoard's events are."""
  content, records = path.read_bytes(), []
  while content:
    (length,) = struct.unpack('<Q', content[:8])
    records.append(content[12 : 12 + length])
    content = content[16 + length :]
  return records


def test_tensorboard_events_hold_the_scalars(workdir):
  files = sorted(
    p.relative_to(workdir).parent.as_posix()
    for p in workdir.rglob('events.out.tfevents.*')
  )
  assert files == ['tensorboard/encoder', 'tensorboard/fold0/fusion']
  (path,) = (workdir / 'tensorboard/encoder').iterdir()
  (event,) = (r for r in _records(path) if b'train/loss' in r)
  assert struct.pack('<f', 2.0) in event


def test_many_runs_have_a_line_each_and_one_curve_a_fold(tmp_path):
  runs = ['fold0/seed0/x', 'fold0/seed1/x', 'fold1/seed0/x']
  with MetricLog(tmp_path) as log:
    log.write_many(
      'x',
      runs,
      ['fold0/x', 'fold0/x', 'fold1/x'],
      'train',
      4,
      {'loss': np.array([1.0, 2.0, 6.0], np.float32)},
    )
  assert [(line['run'], line['step'], line['loss']) for line in _lines(tmp_path)] == [
    (run, 4, loss) for run, loss in zip(runs, (1.0, 2.0, 6.0), strict=True)
  ]
  shown = {
    'x': {'loss': 3.0, 'loss_lowest': 1.0, 'loss_highest': 6.0},
    'fold0/x': {'loss': 1.5},
    'fold1/x': {'loss': 6.0},
  }
  for run, scalars in shown.items():
    (path,) = (tmp_path / 'tensorboard' / run).glob('events*')
    records = [r for r in _records(path) if b'train/' in r]
    assert len(records) == len(scalars)
    for record, (name, value) in zip(records, scalars.items(), strict=True):
      assert f'train/{name}'.encode() in record
      assert struct.pack('<f', value) in record
