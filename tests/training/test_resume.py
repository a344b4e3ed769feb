"""Runs that are killed, stopped or run out of disk go on bit for bit."""

import json
import random

import numpy as np
import pytest

from mvp_jax.training.checkpoints import damage


def _end(job, timeout=120):
  """Status, standard output, and the lines of error that a run ends with."""
  out, errors = job.communicate(timeout=timeout)
  lines = [x for x in errors.splitlines() if x.startswith(('error: ', 'warning: '))]
  return job.returncode, out, lines


def metrics_of(folder):
  """{step: metrics} of training; the last line of a step counts."""
  found = {}
  for line in (folder / 'metrics.jsonl').read_text().splitlines():
    entry = json.loads(line)
    del entry['time']
    if entry['split'] == 'train':
      found[entry['step']] = entry
  return found


def _assert_same(folder, wanted):
  assert metrics_of(folder) == metrics_of(wanted)
  with np.load(folder / 'params.npz') as one, np.load(wanted / 'params.npz') as other:
    assert one.files == other.files and one.files
    for name in one.files:
      np.testing.assert_array_equal(one[name], other[name])


@pytest.fixture(scope='module')
def wanted(through):
  return through('through')


def test_killed_at_any_moment_of_a_save_it_goes_on_bit_for_bit(
  start_job, jobs_folder, wanted
):
  delays = [0.0, random.uniform(0, 0.1), random.uniform(0, 0.3)]
  kills = list(zip((2, 3, 5), delays, strict=True))
  folder = jobs_folder / 'killed'
  status, out, errors = _end(
    start_job(folder=str(folder), kills=kills, checkpoint_every=1)
  )
  assert status == 0, errors
  runs = [json.loads(line) for line in out.splitlines()]
  assert [run['status'] for run in runs] == [-9, -9, -9, 0], kills
  assert '1' in runs[0]['checkpoints'] and runs[-1]['checkpoints'] == ['5', '6']
  _assert_same(folder, wanted)


def test_sigterm_finishes_the_step_and_saves(start_job, jobs_folder, wanted):
  folder = jobs_folder / 'stopped'
  settings = dict(folder=str(folder), workers=1)
  status, _, errors = _end(
    start_job(signal_at=3, send='SIGTERM', checkpoint_every=100, **settings)
  )
  assert status == 3
  (line,) = errors
  assert 'tiny: stopped by SIGTERM and saved at step 3 of 6; run the same' in line
  status, _, errors = _end(start_job(**settings))
  assert status == 0, errors
  _assert_same(folder, wanted)


def test_ctrl_c_does_so_too_and_a_second_one_stops_at_once(
  start_job, jobs_folder, wanted
):
  folder = jobs_folder / 'interrupted'
  settings = dict(folder=str(folder), workers=2)
  keys = dict(signal_at=3, send='SIGINT', checkpoint_every=100)
  status, _, errors = _end(start_job(**keys, times=2, **settings))
  assert (status, errors) == (5, [])
  assert not [path for path in (folder / 'checkpoints').iterdir()]
  status, _, errors = _end(start_job(**keys, **settings))
  assert status == 3
  (line,) = errors
  assert 'tiny: stopped by Ctrl-C and saved at step 3 of 6; run the same' in line
  status, _, errors = _end(start_job(**settings))
  assert status == 0, errors
  _assert_same(folder, wanted)


def test_a_full_disk_is_one_error_and_leaves_what_was_saved(start_job, jobs_folder):
  folder = jobs_folder / 'full'
  job = start_job(folder=str(folder), full_at=6)
  _, errors = job.communicate(timeout=120)
  assert job.returncode == 3
  # A thread of TensorStore, not we, may print that it came late.
  late = errors.count('RuntimeError: Event loop is closed')
  assert errors.count('Traceback') == late
  (line,) = (x for x in errors.splitlines() if x.startswith('error: '))
  assert 'a checkpoint cannot be written (File too large' in line
  assert 'those before it are whole' in line and 'Make room' in line
  assert damage(folder / 'checkpoints' / '2') is None
