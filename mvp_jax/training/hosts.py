"""Several processes, maybe on several hosts, that run one job together.

Every process runs the same program and takes the same steps. Each reads its own
rows of every batch; process 0 alone prepares data and writes results, and all of
them write checkpoints. Alone, all of this does nothing.
"""

import atexit
import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import jax
import numpy as np
from jax.experimental import multihost_utils

from mvp_jax.errors import InputError
from mvp_jax.training import sharding

AGAIN = 'run the same command again to go on from the last checkpoint'
_CONNECT_SECONDS = 300  # to wait for the others to start
_SILENCE_SECONDS = 60  # after which a process counts as dead
_LEAVE_SECONDS = 5  # for the others to say what is wrong
_last_words = []  # of this process, once it has joined others
_NO_CLUSTER = 'coordinator_address should be defined'


def connect(coordinator=None, processes=None, process=None, silence=_SILENCE_SECONDS):
  """Joins the processes of this job; before anything else is asked of JAX.

  Without arguments JAX looks whether it runs in a TPU pod, or under SLURM, Open MPI
  or Kubernetes; where it does not, this process is alone.

  Args:
    coordinator: 'host:port' of process 0, a port that is free there.
    processes: how many there are.
    process: which one this is, from 0.
    silence: seconds without a sign of life after which a process counts as dead,
      and the others end.

  Raises:
    InputError: the arguments make no sense, or the others cannot be reached.
  """
  given = (coordinator, processes, process)
  if None in given and given != (None, None, None):
    raise InputError(
      '--coordinator, --processes and --process go together; give all three or none'
    )
  if coordinator is not None:
    if not re.fullmatch(r'.+:\d+', coordinator):
      raise InputError(f'--coordinator: {coordinator!r} is not HOST:PORT')
    if not 0 <= process < processes:
      raise InputError(
        f'--process: {process} is none of the {processes} processes, '
        f'0 to {processes - 1}'
      )
  last_words = _LastWords()
  last_words.will_be(
    'error: cannot join the other processes of the job; are all of '
    f'them started within {_CONNECT_SECONDS} s, with the same flags?'
  )
  try:
    jax.distributed.initialize(
      coordinator,
      processes,
      process,
      initialization_timeout=_CONNECT_SECONDS,
      heartbeat_timeout_seconds=silence,
    )
  except ValueError as error:
    last_words.forget()
    if coordinator is None and _NO_CLUSTER in str(error):
      return
    raise InputError(f'hosts: {error}') from error
  except RuntimeError as error:  # and JAX's own, which is one
    last_words.forget()
    raise InputError(
      f'hosts: cannot join the other processes of the job: {error}; '
      'are all started, with the same flags?'
    ) from error
  _last_words.append(last_words)
  last_words.will_be(
    f'error: process {jax.process_index()} of {jax.process_count()} ended abruptly: '
    f'it was killed, or has lost another process; {AGAIN}'
  )


class _LastWords:
  """Says a line on stderr about an end that leaves this process no time to say it.

  JAX ends a process from within, with a stack trace, when it cannot reach the others
  or has lost one. So another process watches this one.
  """

  _watch = (
    'import sys; lines = sys.stdin.read().splitlines(); '
    'lines[-1] and print(lines[-1], file=sys.stderr)'
  )

  def __init__(self):
    self._watcher = subprocess.Popen(
      [sys.executable, '-S', '-c', self._watch],
      stdin=subprocess.PIPE,
      stdout=subprocess.DEVNULL,
      text=True,
      start_new_session=True,
    )
    atexit.register(self.forget)  # whoever ends by itself has spoken

  def will_be(self, line):
    self._watcher.stdin.write(line + '\n')
    self._watcher.stdin.flush()

  def forget(self):
    atexit.unregister(self.forget)
    with contextlib.suppress(OSError):
      self._watcher.communicate('\n')


def leave(status):
  """Ends this process with a status. Alone: does nothing.

  After success it waits for the others. After an error it does not: what was wrong
  is the same for all, and they end too, or they are in vain waiting for this one.
  """
  if not jax.distributed.is_initialized():
    return
  if status == 0:
    jax.distributed.shutdown()
    return
  sys.stdout.flush()
  sys.stderr.flush()
  if is_main():  # with it goes what connects the others; let them say what is wrong
    time.sleep(_LEAVE_SECONDS)
  for words in _last_words:
    words.forget()
  os._exit(status)


def is_main():
  """Whether this is process 0, which writes."""
  return jax.process_index() == 0


def console():
  """Where progress is shown: by process 0."""
  return sys.stderr if is_main() else open(os.devnull, 'w')  # noqa: SIM115


def gather(value):
  """The values of all processes, in their order, on all of them. JSON-able."""
  if jax.process_count() == 1:
    return [value]
  text = np.frombuffer(json.dumps(value).encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.int32(text.size))
  padded = np.zeros(int(sizes.max()), np.uint8)
  padded[: text.size] = text
  texts = multihost_utils.process_allgather(padded)
  return [
    json.loads(bytes(row[:size]))
    for row, size in zip(np.asarray(texts), sizes, strict=True)
  ]


def on_main(do):
  """Calls `do` in process 0 while the others wait; all get what it returns.

  It must be JSON-able. An InputError is raised in all of them.
  """
  if jax.process_count() == 1:
    return do()
  outcome = None
  if is_main():
    try:
      outcome = {'value': do()}
    except InputError as error:
      outcome = {'error': str(error)}
  outcome = gather(outcome)[0]
  if 'error' in outcome:
    raise InputError(outcome['error'])
  return outcome['value']


def check_same(what, facts):
  """Raises InputError, in all processes, unless they all have the same facts.

  Args:
    what: what they are of, for the message.
    facts: flat dict, JSON-able.
  """
  found = gather([socket.gethostname(), facts])
  main = found[0][1]
  for process, (host, other) in enumerate(found):
    different = [
      f'{key} {other.get(key)!r}, not {main.get(key)!r}'
      for key in sorted(main.keys() | other.keys())
      if other.get(key) != main.get(key)
    ]
    if different:
      raise InputError(
        f'{what}: process {process} (on {host}) has '
        f'{"; ".join(different)} as process 0 (on {found[0][0]}); '
        'start all processes with the same'
      )


def check_shared(folder):
  """Raises InputError, in all processes, unless they all see an existing folder."""
  blind = [i for i, seen in enumerate(gather(folder.exists())) if not seen]
  if blind:
    raise InputError(
      f'{folder}: processes {blind} do not see what process 0 wrote '
      'there; give a folder that all hosts share'
    )


def batch_rows(batch_size, mesh):
  """The rows of a batch that this process's devices hold, ascending."""
  sharding.check_batch(batch_size, mesh, 'batch_size')
  where = sharding.batch_sharding(mesh).addressable_devices_indices_map((batch_size,))
  return sorted(
    {row for (index,) in where.values() for row in range(*index.indices(batch_size))}
  )


class StopRequest:
  """Notes SIGTERM, so that a step can be finished and saved. A context manager.

  Of several processes any may get it: all are told to stop after the same step.
  """

  _asked = itertools.count()  # JAX wants numbers that grow over the whole job

  def __init__(self):
    self._noted = False
    self._before = None

  def __enter__(self):
    # Of several processes JAX catches it, in all threads.
    alone = jax.process_count() == 1
    if alone and threading.current_thread() is threading.main_thread():
      self._before = signal.signal(signal.SIGTERM, self._note)
    return self

  def __exit__(self, exc_type, exc, tb):
    if self._before is not None:
      signal.signal(signal.SIGTERM, self._before)

  def _note(self, *_):
    self._noted = True

  def reached(self):
    """Whether to stop now; asked once after every step, by all processes."""
    if jax.process_count() == 1:
      return self._noted
    return multihost_utils.reached_preemption_sync_point(next(StopRequest._asked))
