import os
import subprocess
import sys
import time

import numpy as np
import pytest

from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped
from mvp_jax.tasks import (
  Task,
  load_result,
  run_tasks,
)


def square(path, number):
  """A task: reads a number, notes that it ran, returns its square."""
  with (path.parent / 'log').open('a') as log:
    log.write(f'{number}\n')
  if number == 13:
    raise Dropped('broken_video', 'unlucky')
  if number == 99:
    raise InputError('stop')
  return {'square': np.array(int(path.read_text()) ** 2)}


def tasks_for(folder, numbers):
  tasks = []
  for number in numbers:
    path = folder / f'{number}.txt'
    if not path.exists():
      path.write_text(str(number))
    tasks.append(Task(f'n{number}', (path, number), (path,)))
  return tasks


def ran(folder):
  numbers = [int(line) for line in (folder / 'log').read_text().split()]
  (folder / 'log').unlink()
  return sorted(numbers)


@pytest.mark.parametrize('workers', [1, 2])
def test_results_losses_and_rerun(tmp_path, workers):
  out = tmp_path / 'out'
  tasks = tasks_for(tmp_path, [3, 13, 4, 5])
  drops = run_tasks(square, tasks, out, 'Squares', 'n', workers)
  assert [dropped and dropped.code for dropped in drops] == [
    None,
    'broken_video',
    None,
    None,
  ]
  assert drops[1].reason == 'unlucky'
  with load_result(out, 'n4') as arrays:
    assert arrays['square'] == 16
  assert ran(tmp_path) == [3, 4, 5, 13]
  # Only the dropped one is tried again, and what changed.
  (tmp_path / '5.txt').write_text('50')
  run_tasks(square, tasks, out, 'Squares', 'n', workers)
  assert ran(tmp_path) == [5, 13]
  with load_result(out, 'n5') as arrays:
    assert arrays['square'] == 2500


def test_damaged_and_half_written_results_are_made_anew(tmp_path):
  out = tmp_path / 'out'
  tasks = tasks_for(tmp_path, [3, 4])
  run_tasks(square, tasks, out, 'Squares', 'n', 1)
  (out / 'n3.npz').write_bytes((out / 'n3.npz').read_bytes()[:-30])
  (out / '.n4.npz.123.part.npz').write_bytes(b'half')
  run_tasks(square, tasks, out, 'Squares', 'n', 1)
  assert ran(tmp_path) == [3, 3, 4]
  assert sorted(p.name for p in out.iterdir()) == ['n3.npz', 'n4.npz']


@pytest.mark.parametrize('workers', [1, 2])
def test_wrong_input_stops_the_run_and_keeps_what_is_done(tmp_path, workers):
  tasks = tasks_for(tmp_path, [3, 4, 99, 5, 6])
  with pytest.raises(InputError, match='stop'):
    run_tasks(square, tasks, tmp_path / 'out', 'Squares', 'n', workers)
  assert (tmp_path / 'out' / 'n3.npz').exists()


_SLOW = """
import sys, time, pathlib, numpy as np
from mvp_jax.tasks import Task, run_tasks

def slow(number):
  time.sleep(0 if number < 3 else 300)
  return {'x': np.array(number)}

run_tasks(slow, [Task(f'n{i}', (i,), ()) for i in range(6)],
          pathlib.Path(sys.argv[1]), 'Slow', 'n', 1)
"""


def test_killed_run_continues(tmp_path):
  done = tmp_path / 'n2.npz'
  with subprocess.Popen(
    [sys.executable, '-c', _SLOW, str(tmp_path)],
    env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)},
    stderr=subprocess.DEVNULL,
  ) as process:
    deadline = time.monotonic() + 120
    while not done.exists() and time.monotonic() < deadline:
      time.sleep(0.02)
    process.kill()
  calls = []

  def quick(number):
    calls.append(number)
    return {'x': np.array(number)}

  tasks = [Task(f'n{i}', (i,), ()) for i in range(6)]
  assert run_tasks(quick, tasks, tmp_path, 'Quick', 'n', 1) == [None] * 6
  assert calls == [3, 4, 5]


def test_a_result_that_was_damaged_since_is_done_again(tmp_path):
  out, tasks = tmp_path / 'out', tasks_for(tmp_path, [3, 4])
  run_tasks(square, tasks, out, 'Squares', 'n', 1)
  ran(tmp_path)
  path = out / 'n4.npz'
  content = bytearray(path.read_bytes())
  content[content.rindex(np.int64(16).tobytes())] ^= 1
  path.write_bytes(content)
  run_tasks(square, tasks, out, 'Squares', 'n', 1)
  assert ran(tmp_path) == [4]
  with load_result(out, 'n4') as arrays:
    assert arrays['square'] == 16
