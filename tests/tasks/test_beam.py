"""The tasks of `prepare` in a Beam pipeline, on Beam's own local runner."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

from mvp_jax.corpora.deap.twin import write_deap_twin
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped
from mvp_jax.preparation import load_builder, prepare
from mvp_jax.preparation.account import read_account
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.tasks import Task, load_result, run_tasks

# `DirectRunner` would first try to download another program.
HERE = '--runner=FnApiRunner'
TWO = f'{HERE} --direct_num_workers=2 --direct_running_mode=multi_processing'


def square(path, number):
  """A task: reads a number, notes that it ran and where, returns its square."""
  with (path.parent / 'log').open('a') as log:
    log.write(f'{number} {os.getpid()}\n')
  if number == 13:
    raise Dropped('broken_video', 'unlucky')
  if number == 98:
    raise KeyError('odd')
  if number == 99:
    raise InputError('stop')
  return {'square': np.array(int(path.read_text()) ** 2)}


def spoil(folder, number):
  """A task that changes what another is going to read, whichever comes first."""
  (folder / f'{1 - number}.txt').write_text('changed')
  return {'x': np.array(number)}


def forget(folder, number):
  """A task that takes away what the run has made for its workers."""
  for notes in folder.glob('.beam-*'):
    shutil.rmtree(notes)
  return {'x': np.array(number)}


def tasks_for(folder, numbers):
  for number in numbers:
    (folder / f'{number}.txt').write_text(str(number))
  return [
    Task(f'n{number}', (folder / f'{number}.txt', number), (folder / f'{number}.txt',))
    for number in numbers
  ]


def ran(folder):
  """Which tasks ran, ascending, and in which processes."""
  lines = [map(int, line.split()) for line in (folder / 'log').read_text().splitlines()]
  (folder / 'log').unlink()
  numbers, processes = zip(*lines, strict=True)
  return sorted(numbers), set(processes)


def test_two_workers_results_losses_and_rerun(tmp_path):
  out = tmp_path / 'out'
  tasks = tasks_for(tmp_path, [3, 13, 4, 5, 6, 7])
  drops = run_tasks(square, tasks, out, 'Squares', 'n', TWO)
  assert [dropped and dropped.code for dropped in drops] == [
    None,
    'broken_video',
    None,
    None,
    None,
    None,
  ]
  assert drops[1].reason == 'unlucky'
  numbers, processes = ran(tmp_path)
  assert numbers == [3, 4, 5, 6, 7, 13]
  assert len(processes) == 2 and os.getpid() not in processes
  with load_result(out, 'n4') as arrays:
    assert arrays['square'] == 16
  # Only the dropped one is tried again, what changed, and what is damaged.
  (tmp_path / '5.txt').write_text('50')
  (out / 'n6.npz').write_bytes(b'PK')
  run_tasks(square, tasks, out, 'Squares', 'n', HERE)
  assert ran(tmp_path)[0] == [5, 6, 13]
  with load_result(out, 'n5') as arrays:
    assert arrays['square'] == 2500
  # What a pipeline has made is good for a run without it.
  run_tasks(square, tasks, out, 'Squares', 'n', 1)
  assert ran(tmp_path)[0] == [13]
  assert sorted(os.listdir(out)) == [f'n{i}.npz' for i in (3, 4, 5, 6, 7)]


@pytest.mark.parametrize(
  ('number', 'error', 'told'),
  [(99, InputError, '^stop$'), (98, RuntimeError, r'(?s)n98 stopped the run.*odd')],
)
def test_an_error_stops_the_run_and_is_told(tmp_path, number, error, told):
  out = tmp_path / 'out'
  tasks = tasks_for(tmp_path, [3, 4, number, 5, 6])
  with pytest.raises(error, match=told):
    run_tasks(square, tasks, out, 'Squares', 'n', HERE)
  numbers, _ = ran(tmp_path)
  assert numbers.count(number) == 1  # no second attempt
  assert sorted(os.listdir(out)) == [f'n{i}.npz' for i in numbers if i != number]


def test_workers_that_see_other_files_are_told_apart(tmp_path):
  inputs = [tmp_path / f'{i}.txt' for i in range(2)]
  for path in inputs:
    path.write_text('0')
  tasks = [Task(f'n{i}', (tmp_path, i), (inputs[i],)) for i in range(2)]
  with pytest.raises(
    InputError,
    match=r'(?s)Beam worker on .*\.txt has 7 bytes, 1 '
    '.*manual_dir that all workers see',
  ):
    run_tasks(spoil, tasks, tmp_path / 'out', 'Spoil', 'n', HERE)


def test_workers_that_do_not_see_the_folder_are_told_of(tmp_path):
  tasks = [Task(f'n{i}', (tmp_path, i), ()) for i in range(2)]
  with pytest.raises(
    InputError,
    match=r'^Beam worker on \S+: there is no .*beam-.*'
    r'data_dir that all workers see under the same path[^\n]*$',
  ):
    run_tasks(forget, tasks, tmp_path, 'Forget', 'n', HERE)


_SLOW = """
import sys, time, pathlib, numpy as np
from mvp_jax.tasks import Task, run_tasks

def slow(folder, number):
  (folder / f'began{number}').touch()
  if len(list(folder.glob('began*'))) > 3:
    time.sleep(300)
  return {'x': np.array(number)}

folder = pathlib.Path(sys.argv[1])
run_tasks(slow, [Task(f'n{i}', (folder, i), ()) for i in range(6)], folder / 'out',
          'Slow', 'n', sys.argv[2])
"""


def test_killed_run_continues(tmp_path):
  with subprocess.Popen(
    [sys.executable, '-c', _SLOW, str(tmp_path), HERE],
    env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)},
    stderr=subprocess.DEVNULL,
  ) as process:
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob('began*'))) < 4 and time.monotonic() < deadline:
      time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
  done = {path.name for path in (tmp_path / 'out').glob('*.npz')}
  assert len(done) == 3
  calls = []

  def quick(folder, number):
    calls.append(f'n{number}.npz')
    return {'x': np.array(number)}

  tasks = [Task(f'n{i}', (tmp_path, i), ()) for i in range(6)]
  assert run_tasks(quick, tasks, tmp_path / 'out', 'Quick', 'n', 1) == [None] * 6
  assert set(calls) == {f'n{i}.npz' for i in range(6)} - done and len(calls) == 3


def files(folder):
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in folder.rglob('*')
    if path.is_file()
  }


def test_the_corpus_is_that_of_a_local_run(tmp_path):
  twin = tmp_path / 'twin'
  write_deap_twin(
    twin,
    TwinSpec(subjects=2, trials=3, frame_rate=2.0, width=128, height=104),
    workers=1,
  )
  broken = next(iter(sorted(twin.rglob('*.avi'))))
  broken.write_bytes(broken.read_bytes()[:1000])
  fields = dict(
    frame_rate=2.0,
    frame_size=32,
    streams=('signals', 'video', 'action_units'),
    allow_dropped=['broken_video'],
  )
  here = prepare('deap', twin, tmp_path / 'here', workers=1, **fields)
  there = prepare('deap', twin, tmp_path / 'there', beam=TWO, **fields)
  assert there.relative_to(tmp_path / 'there') == here.relative_to(tmp_path / 'here')
  assert not list((tmp_path / 'there').rglob('*.npz'))
  made, expected = files(there), files(here)
  assert made.keys() == expected.keys()
  for name, content in made.items():
    # Protocol buffers write their maps in any order, so examples are compared.
    if 'array_record' not in name:
      assert content == expected[name]
  assert [row['outcome'] for row in read_account(there / 'account.csv')] == [
    'broken_video',
    *['ok'] * 5,
  ]
  for split, raw in (
    ('trials', None),
    ('video', tfds.decode.DeserializeMethod.RAW_BYTES),
  ):
    pair = [
      tfds.builder_from_directory(path).as_data_source(
        split, **({'deserialize_method': raw} if raw else {})
      )
      for path in (there, here)
    ]
    assert len(pair[0]) == len(pair[1]) > 0
    for one, other in zip(*pair, strict=True):
      np.testing.assert_equal(one, other)


@pytest.mark.parametrize(
  ('options', 'told'),
  [
    ('--runner=Nowhere', 'Nowhere'),
    ('--direct_num_workers=two', "'two'"),
    ('--runner="', 'No closing quotation'),
  ],
)
def test_options_that_make_no_sense(options, told):
  with pytest.raises(InputError, match=told) as error:
    load_builder('videos').configure(beam=options)
  assert str(error.value).startswith('beam: ') and '\n' not in str(error.value)


def test_a_missing_beam_is_one_line(monkeypatch):
  monkeypatch.setitem(sys.modules, 'apache_beam', None)
  with pytest.raises(InputError, match='pip install -r requirements-beam.txt') as error:
    load_builder('deap').configure(beam=HERE)
  assert '\n' not in str(error.value)
  assert load_builder('deap').configure().name  # asked for by nobody
