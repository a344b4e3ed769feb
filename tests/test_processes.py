"""Work spread over processes."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mvp_jax.processes import parallel_map


@pytest.mark.parametrize('workers', (1, 2))
def test_each_result_comes_with_the_number_of_its_item(workers):
  items = [(2, i) for i in range(7)]
  assert dict(parallel_map(pow, items, workers)) == {i: 2**i for i in range(7)}


@pytest.mark.parametrize('workers', (1, 2))
def test_what_the_function_raises_is_raised(workers):
  with pytest.raises(ZeroDivisionError):
    dict(parallel_map(divmod, [(1, 1), (1, 0)], workers))


def test_a_process_that_dies_is_told_of():
  with pytest.raises(RuntimeError, match='a worker process died'):
    dict(parallel_map(os._exit, [(1,), (1,)], 2))


def test_nothing_is_left_when_the_one_that_started_it_is_killed(tmp_path):
  folder = str(tmp_path)
  code = (
    'from mvp_jax.processes import parallel_map; '
    'from tests.test_processes import wait; '
    f'list(parallel_map(wait, [({folder!r},)] * 2, 2))'
  )
  with subprocess.Popen([sys.executable, '-c', code]) as process:
    while len(pids := [int(path.name) for path in tmp_path.iterdir()]) < 2:
      assert process.poll() is None
      time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
  deadline = time.monotonic() + 60  # so that it fails, and does not hang
  while (left := [pid for pid in pids if _runs(pid)]) and time.monotonic() < deadline:
    time.sleep(0.05)
  for pid in left:
    os.kill(pid, signal.SIGKILL)
  assert not left


def wait(folder):
  open(os.path.join(folder, str(os.getpid())), 'w').close()
  time.sleep(300)


def _runs(pid):
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return False
  with open(f'/proc/{pid}/stat') as file:  # A zombie, if nobody takes it away.
    return file.read().rpartition(')')[2].split()[0] != 'Z'
