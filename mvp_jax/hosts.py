"""Several processes, possibly on several hosts, that run one job together.

Every process runs the same program and takes the same steps. Each reads its own rows
of every batch; only process 0 prepares data and writes results; all of them write
checkpoints. In a single process, none of this does anything.
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

from mvp_jax import errors
from mvp_jax.errors import InputError
from mvp_jax.roll_call import roll_call

AGAIN = f'{errors.AGAIN} from the last checkpoint'
_CONNECT_SECONDS = 300  # how long to wait for the others to start
_SILENCE_SECONDS = 60  # after which a process counts as dead
_TELL_SECONDS = 15
_LEAVE_SECONDS = 5  # for the others to report what is wrong
_last_words = []  # of this process, once it has joined others
_NO_CLUSTER = 'coordinator_address should be defined'


def connect(coordinator=None, processes=None, process=None, silence=_SILENCE_SECONDS):
  """Joins the processes of this job. Must come before any other use of JAX.

  Without arguments JAX detects a TPU pod, SLURM, Open MPI or Kubernetes; elsewhere
  this process is alone.

  Args:
    coordinator: 'host:port' of process 0; the port must be free there.
    processes: number of processes.
    process: index of this one, from 0.
    silence: seconds without a sign of life after which a process counts as dead,
      and the others end.

  Raises:
    InputError: invalid arguments, or the others cannot be reached.
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
    roll_call(coordinator, processes, process, _CONNECT_SECONDS)
  last_words = _LastWords()
  last_words.will_be(
    'error: cannot join the other processes of the job; are all of '
    f'them started within {_CONNECT_SECONDS} s, with the same flags?'
  )
  try:
    with _waiting_told():
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
  except RuntimeError as error:  # also JaxRuntimeError, a subclass
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


@contextlib.contextmanager
def _waiting_told():
  """Says every so often that this process waits: a cluster has no roll call."""
  over = threading.Event()

  def tell():
    late = 0
    while not over.wait(_TELL_SECONDS):
      late += _TELL_SECONDS
      print(
        'waiting for the other processes of the job to join '
        f'({late} of {_CONNECT_SECONDS} s)',
        file=sys.stderr,
        flush=True,
      )

  teller = threading.Thread(target=tell, daemon=True)
  teller.start()
  try:
    yield
  finally:
    over.set()
    teller.join()


def lost(error):
  """What this process says where an error tells that it has lost another one."""
  reason = ' '.join(str(error).split())
  return (
    f'process {jax.process_index()} of {jax.process_count()} has lost another one '
    f'({reason[:200]}); {AGAIN}'
  )


class _LastWords:
  """Prints a line on stderr if this process ends without a chance to do so itself.

  JAX aborts a process, with a stack trace, when it cannot reach the others or has
  lost one. So a second process watches this one.
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
    atexit.register(self.forget)  # a normal exit has reported already

  def will_be(self, line):
    self._watcher.stdin.write(line + '\n')
    self._watcher.stdin.flush()

  def forget(self):
    atexit.unregister(self.forget)
    with contextlib.suppress(OSError):
      self._watcher.communicate('\n')


def leave(status):
  """Ends this process with a status. Does nothing in a job of one process.

  After success it waits for the others. After an error it does not: either all have
  the same error and end, too, or they would wait for this one in vain.
  """
  if not jax.distributed.is_initialized():
    return
  if status == 0:
    jax.distributed.shutdown()
    return
  sys.stdout.flush()
  sys.stderr.flush()
  if is_main():  # it connects the others: let them report first
    time.sleep(_LEAVE_SECONDS)
  for words in _last_words:
    words.forget()
  os._exit(status)


def is_main():
  """Whether this is process 0, which writes."""
  return jax.process_index() == 0


def console():
  """The stream for progress: stderr in process 0, elsewhere nothing is shown."""
  return sys.stderr if is_main() else open(os.devnull, 'w')  # noqa: SIM115


def gather(value):
  """All-gather of a JSON-serialisable value: a list, in the order of processes."""
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

  The result must be JSON-serialisable. An InputError is raised in all processes.
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
    what: subject of the facts, for the message.
    facts: flat JSON-serialisable dict.
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


class StopRequest:
  """Catches SIGTERM and Ctrl-C so that a step can be finished and saved.

  A context manager. Any of several processes may get the signal: all stop after the
  same step. A second Ctrl-C is a KeyboardInterrupt at once.
  """

  _asked = itertools.count()  # JAX requires numbers that grow over the whole job

  def __init__(self):
    self._noted = None  # the signal
    self._before = {}

  def __enter__(self):
    if threading.current_thread() is threading.main_thread():
      caught = [signal.SIGINT]
      # With several processes JAX catches it, in all threads.
      caught += [signal.SIGTERM] if jax.process_count() == 1 else []
      for number in caught:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and `&` have it
          self._before[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, exc_type, exc, tb):
    for number, before in self._before.items():
      signal.signal(number, before)
    # It came after the last step was asked for: then what follows is to stop.
    if exc_type is None and self._noted and jax.process_count() == 1:
      signal.raise_signal(self._noted)

  def _note(self, number, _):
    self._noted = number
    if number == signal.SIGINT:
      signal.signal(number, self._before[number])
      if jax.process_count() > 1:  # by which all processes are told
        os.kill(os.getpid(), signal.SIGTERM)

  def reached(self):
    """Whether to stop now; called once after every step, by all processes."""
    if jax.process_count() == 1:
      return self._noted is not None
    return multihost_utils.reached_preemption_sync_point(next(StopRequest._asked))

  @property
  def signal(self):
    """Its number; that of SIGTERM if another process got it."""
    return self._noted or signal.SIGTERM

  @property
  def by(self):
    """What the user knows it as."""
    return 'Ctrl-C' if self.signal == signal.SIGINT else 'SIGTERM'
