"""Runs that are killed, stopped or run out of disk go on bit for bit."""

import json
import random
import signal
import time

import numpy as np
import pytest


def _end(job, timeout=120):
  """Status, standard output, and the lines of error that a run ends with."""
  out, errors = job.communicate(timeout=timeout)
  lines = [x for x in errors.splitlines() if x.startswith(('error: ', 'warning: '))]
  return job.returncode, out, lines


def metrics_of(folder):
  """{step: metrics}; the last line of a step counts."""
  found = {}
  for line in (folder / 'metrics.jsonl').read_text().splitlines():
    entry = json.loads(line)
    del entry['time']
    found[entry['step']] = entry
  return found


def _assert_same(folder, wanted):
  assert metrics_of(folder) == metrics_of(wanted)
  with np.load(folder / 'params.npz') as one, np.load(wanted / 'params.npz') as other:
    assert one.files == other.files and len(one.files) > 10
    for name in one.files:
      np.testing.assert_array_equal(one[name], other[name])


def test_killed_at_any_moment_of_a_save_it_goes_on_bit_for_bit(
    start_job, jobs_folder, through):
  delays = [0.0, random.uniform(0, 0.1), random.uniform(0, 0.3)]
  kills = list(zip((2, 3, 5), delays, strict=True))
  folder = jobs_folder / 'killed'
  status, out, errors = _end(start_job(
      folder=str(folder), kills=kills, checkpoint_every=1))
  assert status == 0, errors
  runs = [json.loads(line) for line in out.splitlines()]
  assert [run['status'] for run in runs] == [-9, -9, -9, 0], kills
  assert '1' in runs[0]['checkpoints'] and runs[-1]['checkpoints'] == ['5', '6']
  _assert_same(folder, through)


@pytest.mark.parametrize('workers', [0, 1])
def test_sigterm_finishes_the_step_and_saves(start_job, jobs_folder, through, workers):
  folder = jobs_folder / f'stopped{workers}'
  settings = dict(folder=str(folder), workers=workers)
  status, _, errors = _end(start_job(
      signal_at=3, send='SIGTERM', checkpoint_every=100, **settings))
  assert status == 3
  line, = errors
  assert 'tiny: stopped by SIGTERM and saved at step 3 of 6; run the same' in line
  status, _, errors = _end(start_job(**settings))
  assert status == 0, errors
  _assert_same(folder, through)


def test_a_full_disk_is_one_error_and_leaves_what_was_saved(
    start_job, jobs_folder, through):
  folder = jobs_folder / 'full'
  status, _, errors = _end(start_job(folder=str(folder), full_at=6))
  assert status == 3
  line, = errors
  assert 'a checkpoint cannot be written (File too large' in line
  assert 'those before it are whole' in line and 'Make room' in line
  assert (folder / 'checkpoints' / '2').is_dir()
  status, _, errors = _end(start_job(folder=str(folder)))
  assert status == 0 and not errors
  _assert_same(folder, through)


def test_a_folder_is_used_by_one_run_at_a_time(start_job, jobs_folder):
  folder = jobs_folder / 'used'
  first = start_job(folder=str(folder), signal_at=1, send='SIGSTOP')
  try:
    deadline = time.monotonic() + 60
    while not (folder / '.lock').exists() or not (folder / '.lock').read_text():
      assert time.monotonic() < deadline and first.poll() is None
      time.sleep(0.05)
    status, _, errors = _end(start_job(folder=str(folder)))
    assert status == 3
    line, = errors
    assert f'used: is in use by another run (process {first.pid} on ' in line
  finally:
    first.send_signal(signal.SIGKILL)
    first.communicate()
