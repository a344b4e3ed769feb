"""Processes of a job find each other, and say who is missing."""

import concurrent.futures
import contextlib
import socket
import time

import pytest

from mvp_jax import roll_call as module
from mvp_jax.errors import InputError
from mvp_jax.roll_call import roll_call


@pytest.fixture
def at():
  with socket.socket() as free:
    free.bind(('localhost', 0))
    return f'localhost:{free.getsockname()[1]}'


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
  monkeypatch.setattr(module, '_TELL_SECONDS', 0.2)
  monkeypatch.setattr(module, '_TRY_SECONDS', 0.05)


@contextlib.contextmanager
def called(at, processes, numbers, seconds=20):
  """The roll call in threads, one for each of some processes: list of Future."""
  with concurrent.futures.ThreadPoolExecutor(len(numbers)) as pool:
    yield [pool.submit(roll_call, at, processes, i, seconds) for i in numbers]


def test_all_of_them_go_on_when_the_last_has_come(at, capsys):
  with called(at, 3, [2, 0]) as early:
    time.sleep(1)
    assert not any(one.done() for one in early)
    roll_call(at, 3, 1, 20)
    assert [one.result(10) for one in early] == [None, None]
  said = capsys.readouterr().err
  for who in (0, 2):
    assert f'process {who} of 3 waits for process 1 to come to {at} (0 of 20 s)' in said
  with socket.socket() as again:  # JAX finds the port free
    again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    again.bind(('localhost', int(at.partition(':')[2])))


def test_all_who_wait_are_told_who_has_not_come(at):
  with called(at, 4, [0, 2], seconds=1) as ended:
    for one in ended:
      with pytest.raises(InputError, match='processes 1, 3 did not come to localhost'):
        one.result(10)


def test_without_process_0_that_one_is_missing(at):
  with pytest.raises(InputError, match='process 1 of 2: process 0 did not come'):
    roll_call(at, 2, 1, 0.3)


def test_one_that_ends_before_all_are_there_is_missing_again(at, capsys):
  with called(at, 3, [0]) as ended:
    with contextlib.suppress(ConnectionRefusedError):
      time.sleep(0.3)
      host, port = at.split(':')
      with socket.create_connection((host, port), 5) as gone:
        gone.sendall(b'{"process": 2}\n')
        time.sleep(0.6)
      time.sleep(0.6)
    with called(at, 3, [1, 2]) as others:
      assert [one.result(10) for one in (*ended, *others)] == [None] * 3
  said = capsys.readouterr().err
  first, last = said.index('waits for process 1 to'), said.rindex('processes 1, 2 to')
  assert first < last


def test_two_of_one_number_and_a_port_that_is_taken(at):
  with called(at, 3, [0, 1], seconds=3) as ended:
    time.sleep(0.5)
    with pytest.raises(InputError, match='another process is 1, too'):
      roll_call(at, 3, 1, 20)
    with pytest.raises(InputError, match='cannot be had .Address already in use'):
      roll_call(at, 3, 0, 20)
    for one in ended:
      with pytest.raises(InputError, match='process 2 did not come'):
        one.result(10)
