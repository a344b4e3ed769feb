"""Several processes on this machine train as one does, and end together."""

import pathlib
import signal
import socket
import time

import jax
import numpy as np
import pytest

from mvp_jax import hosts
from mvp_jax.errors import InputError
from mvp_jax.training import sharding
from mvp_jax.training.checkpoints import Checkpoints
from mvp_jax.training.sharding import MeshConfig, make_mesh
from tests.training.test_resume import metrics_of


def _end_all(jobs, timeout=180):
  """[(status, lines of error)] of processes that end by themselves."""
  found = []
  for job in jobs:
    _, errors = job.communicate(timeout=timeout)
    found.append(
      (
        job.returncode,
        [line for line in errors.splitlines() if line.startswith('error: ')],
      )
    )
  return found


@pytest.fixture
def start_all(start_job):
  """Function of a number of processes, of settings of all and of the last one."""
  jobs = []

  def start(processes, last=None, **settings):
    with socket.socket() as free:
      free.bind(('localhost', 0))
      port = free.getsockname()[1]
    started = [
      start_job(
        coordinator=f'localhost:{port}',
        processes=processes,
        process=process,
        **settings,
        **(last or {} if process == processes - 1 else {}),
      )
      for process in range(processes)
    ]
    jobs.extend(started)
    return started

  yield start
  for job in jobs:
    job.kill()


def test_four_stopped_two_killed_and_one_that_finishes_are_one_run(
  start_all, start_job, jobs_folder, through
):
  wanted = through('through_video', video=True)
  folder = jobs_folder / 'together'
  settings = dict(folder=str(folder), video=True)
  found = _end_all(start_all(4, **settings, last={'signal_at': 3, 'send': 'SIGTERM'}))
  saved = max(metrics_of(folder))
  assert 3 <= saved < 6
  for status, errors in found:  # one gets the signal, all stop after the same step
    assert status == 3
    assert errors == [
      f'error: tiny: stopped by SIGTERM and saved at step {saved} of 6; {hosts.AGAIN}'
    ]

  (status, errors), (killed, _) = _end_all(
    start_all(2, **settings, checkpoint_every=1, last={'signal_at': 6})
  )
  assert killed == -9 and status not in (0, None)
  assert 'lost' in errors[-1] and len(errors[-1]) < 500
  assert max(metrics_of(folder)) == 5

  ((status, errors),) = _end_all([start_job(**settings, devices=2, fsdp=2)])
  assert status == 0, errors
  one, other = metrics_of(folder), metrics_of(wanted)
  assert one.keys() == other.keys()
  for step, metrics in other.items():
    np.testing.assert_allclose(one[step]['loss'], metrics['loss'], rtol=1e-5)
    np.testing.assert_allclose(one[step]['grad_norm'], metrics['grad_norm'], rtol=1e-4)
  with np.load(folder / 'params.npz') as a, np.load(wanted / 'params.npz') as b:
    for name in b.files:
      np.testing.assert_allclose(a[name], b[name], rtol=1e-3, atol=2e-4)


def test_ctrl_c_in_one_process_stops_all_of_them(monkeypatch):
  sent = []
  monkeypatch.setattr(hosts.jax, 'process_count', lambda: 2)
  monkeypatch.setattr(hosts.os, 'kill', lambda process, number: sent.append(number))
  before = signal.default_int_handler
  signal.signal(signal.SIGINT, before)
  with hosts.StopRequest() as stop:
    signal.raise_signal(signal.SIGINT)
    assert sent == [signal.SIGTERM] and stop.by == 'Ctrl-C'
    assert signal.getsignal(signal.SIGINT) is before  # a second one is as ever
  assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_after_the_last_step_is_not_lost():
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    with pytest.raises(KeyboardInterrupt), hosts.StopRequest():
      signal.raise_signal(signal.SIGINT)
    with pytest.raises(InputError), hosts.StopRequest() as stop:
      signal.raise_signal(signal.SIGINT)
      assert stop.reached()
      raise InputError('what stops it then says so')
  finally:
    signal.signal(signal.SIGINT, before)


def test_processes_that_disagree_are_told_where(start_all, jobs_folder):
  found = _end_all(start_all(2, folder=str(jobs_folder / 'apart'), last={'seed': 4}))
  for status, errors in found:
    assert status == 3
    (line,) = errors
    assert 'config: process 1 (on ' in line and 'has seed 4, not 3 as process 0' in line
  assert not (jobs_folder / 'apart').exists()


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    (('localhost:1', None, None), 'go together; give all three or none'),
    ((None, 2, 0), 'go together'),
    (('localhost', 2, 0), r"--coordinator: 'localhost' is not HOST:PORT"),
    (('localhost:1', 2, 2), '--process: 2 is none of the 2 processes, 0 to 1'),
  ],
)
def test_flags_that_make_no_sense(given, message):
  with pytest.raises(InputError, match=message):
    hosts.connect(*given)


def test_on_a_plain_machine_a_process_is_alone(monkeypatch):
  def initialize(*args, **kwargs):  # not possible once JAX is in use, as it is here
    raise ValueError('coordinator_address should be defined.')

  monkeypatch.setattr(jax.distributed, 'initialize', initialize)
  hosts.connect()
  assert hosts.is_main() and hosts.gather({'a': 1}) == [{'a': 1}]
  assert hosts.on_main(lambda: 'x') == 'x'
  hosts.check_same('config', {'a': 1})
  hosts.leave(1)  # and we are still here


def test_a_cluster_that_is_broken_is_said(monkeypatch):
  def initialize(*args, **kwargs):
    raise RuntimeError('DEADLINE_EXCEEDED')

  monkeypatch.setattr(hosts, 'roll_call', lambda *given: None)  # all have come
  monkeypatch.setattr(jax.distributed, 'initialize', initialize)
  with pytest.raises(InputError, match='cannot join the other processes.*DEADLINE'):
    hosts.connect('localhost:1', 2, 0)


def test_whoever_waits_for_a_cluster_says_so(monkeypatch, capsys):
  def initialize(*args, **kwargs):
    time.sleep(0.5)
    raise ValueError('coordinator_address should be defined.')

  monkeypatch.setattr(hosts, '_TELL_SECONDS', 0.2)
  monkeypatch.setattr(jax.distributed, 'initialize', initialize)
  hosts.connect()
  said = 'waiting for the other processes of the job to join (0.2 of 300 s)\n'
  assert said in capsys.readouterr().err


def test_a_process_that_is_lost_in_a_save_is_not_taken_for_a_full_disk(
  monkeypatch, tmp_path
):
  checkpoints = Checkpoints(tmp_path / 'checkpoints')
  gone = RuntimeError('UNAVAILABLE: Barrier failed, task 1 has died\nRPC: x')
  full = OSError('[Errno 28] No space left on device')
  with checkpoints:
    assert 'Is the disk full?' in str(checkpoints._unsaved(gone))
    monkeypatch.setattr(hosts.jax, 'process_count', lambda: 2)
    line = str(checkpoints._unsaved(gone))
    assert 'process 0 of 2 has lost another one (UNAVAILABLE: Barrier failed' in line
    assert 'disk' not in line and '\n' not in line and hosts.AGAIN in line
    assert 'Is the disk full?' in str(checkpoints._unsaved(full))
    monkeypatch.undo()


def test_a_folder_that_is_not_shared(monkeypatch):
  monkeypatch.setattr(hosts, 'gather', lambda value: [True, False, value])
  with pytest.raises(InputError, match=r'processes \[1, 2\] do not see'):
    hosts.check_shared(pathlib.Path('not here'))


@pytest.mark.parametrize('sizes', [(8, 1, 1), (2, 2, 2), (1, 1, 8)])
def test_alone_all_rows_are_ours(sizes):
  mesh = make_mesh(MeshConfig(*sizes))
  assert sharding.batch_rows(16, mesh) == list(range(16))
  if sizes[0] == 8:
    with pytest.raises(InputError, match='batch of 12 cannot be divided'):
      sharding.batch_rows(12, mesh)
