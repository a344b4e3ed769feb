"""Work spread over processes."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from mvp_jax.errors import TrainingError
from mvp_jax.processes import parallel_map, starting


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


_SCRIPT = """
import os, sys
from mvp_jax.processes import parallel_map

class Own:
  def __init__(self, x):
    self.x = x

def double(own):
  return 2 * own.x

def work():
  print(sorted(dict(parallel_map(double, [(Own(i),) for i in range(4)], 2)).values()))

open(os.path.join(sys.argv[1], str(os.getpid())), 'w').close()
{call}
open(os.path.join(sys.argv[1], 'end'), 'a').write('once')
"""


def _run(script, folder):
  return subprocess.run(
    [sys.executable, script, folder],
    env=os.environ | {'PYTHONPATH': str(pathlib.Path(__file__).parents[1])},
    capture_output=True,
    text=True,
    timeout=120,
  )


@pytest.mark.parametrize('call', ['work()', "if __name__ == '__main__': work()"])
def test_a_script_needs_no_guard(tmp_path, call):
  script, folder = tmp_path / 'script.py', tmp_path / 'seen'
  script.write_text(_SCRIPT.format(call=call))
  folder.mkdir()
  done = _run(script, folder)
  assert (done.returncode, done.stdout, done.stderr) == (0, '[0, 2, 4, 6]\n', '')
  # All of them know what it defines, and the first one alone goes on.
  assert len(list(folder.iterdir())) == 1 + 3
  assert (folder / 'end').read_text() == ('once' if call == 'work()' else 'once' * 3)


def test_what_a_script_cannot_do_twice_stops_nothing(tmp_path):
  script, folder = tmp_path / 'script.py', tmp_path / 'seen'
  folder.mkdir()
  once = "os.mkdir(os.path.join(sys.argv[1], 'made'))\nwork()"
  script.write_text(_SCRIPT.format(call=once))
  done = _run(script, folder)
  assert (done.returncode, done.stdout) == (0, '[0, 2, 4, 6]\n')
  told = done.stderr.splitlines()
  assert len(told) == 2 and all('FileExistsError' in line for line in told)
  assert all("under if __name__ == '__main__':" in line for line in told)


@pytest.mark.parametrize('times', (1, 2))
def test_ctrl_c_ends_when_what_has_begun_is_done_and_a_second_one_at_once(
  tmp_path, times
):
  code = (
    'import signal; from mvp_jax.processes import parallel_map; '
    'from tests.test_processes import interrupted; '
    # The tests may run in the background, where it is ignored.
    'signal.signal(signal.SIGINT, signal.default_int_handler); '
    f'items = [({str(tmp_path)!r}, i, {times}) for i in range(2)]; '
    'list(parallel_map(interrupted, items, 2))'
  )
  done = subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    timeout=120,
    start_new_session=True,
  )
  assert done.returncode in (1, 130, -signal.SIGINT)
  assert done.stderr.rstrip().endswith('KeyboardInterrupt')  # of the first alone
  assert done.stderr.count('\nKeyboardInterrupt') == times
  assert len(list(tmp_path.glob('* ended'))) == (2 if times == 1 else 0)


def interrupted(folder, number, times):
  open(os.path.join(folder, f'{number} began'), 'w').close()
  while len(os.listdir(folder)) < 2:
    time.sleep(0.05)
  if number == 0:
    for _ in range(times):
      os.killpg(0, signal.SIGINT)
      time.sleep(0.5)
  time.sleep(1 if times == 1 else 60)
  open(os.path.join(folder, f'{number} ended'), 'w').close()


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


def test_one_that_is_killed_while_it_hands_over_leaves_nobody_waiting():
  with pytest.raises(TrainingError, match='process died .SIGKILL: killed, or out of'):
    dict(parallel_map(hand_over, [(i,) for i in range(4)], 2))


def hand_over(number):
  """Kills this process while the pipe, full of this, is not yet read to its end."""
  if number == 1:
    threading.Thread(target=_kill_soon).start()
  return bytes(200_000_000 if number == 1 else 10)


def _kill_soon():
  time.sleep(0.2)
  os.kill(os.getpid(), signal.SIGKILL)


def test_ctrl_c_while_they_start_comes_when_they_have(capfd):
  handler = signal.signal(signal.SIGINT, signal.default_int_handler)
  started = []
  try:
    with pytest.raises(KeyboardInterrupt), starting():
      signal.raise_signal(signal.SIGINT)
      started.append(sys.modules['__main__'].__dict__.get('__file__'))
  finally:
    assert signal.signal(signal.SIGINT, handler) is signal.default_int_handler
  assert started == [None]
  assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
