"""The processes of a job find each other, and who is missing is said meanwhile.

JAX alone waits in silence, does not know for whom, and aborts at last.
"""

import contextlib
import json
import selectors
import socket
import sys
import time

from mvp_jax.errors import InputError

_TELL_SECONDS = 15.0
_TRY_SECONDS = 0.5  # between two tries to reach process 0


def roll_call(coordinator, processes, process, seconds):
  """Returns when all processes of a job are there, at the port that JAX uses then.

  While some are not, each process says every 15 s on stderr which. One that ends
  meanwhile is missing again.

  Args:
    coordinator: 'host:port' of process 0.
    processes: how many there are.
    process: which one this is.
    seconds: after which to give up.

  Raises:
    InputError: some have not come in time, which is said in all that have; two are the
      same one; or process 0 cannot have the port.
  """
  if processes == 1:
    return
  host, _, port = coordinator.rpartition(':')
  told = _Told(processes, process, coordinator, seconds)
  if process == 0:
    _call(int(port), processes, told)
  else:
    _answer((host.strip('[]'), int(port)), process, told)


class _Told:
  """Says who is missing, every so often, until it is too late."""

  def __init__(self, processes, process, coordinator, seconds):
    self._who = f'process {process} of {processes}'
    self._at, self._seconds = coordinator, seconds
    self._begun = self._last = time.monotonic()

  def waits(self, missing, over=False):
    """Called again and again; raises InputError when time is up, here or elsewhere."""
    now = time.monotonic()
    late = now - self._begun
    names = 'process' if len(missing) == 1 else 'processes'
    names = f'{names} {", ".join(map(str, sorted(missing)))}'
    if over or late > self._seconds:
      raise InputError(
        f'hosts: {self._who}: {names} did not come to {self._at} within '
        f'{self._seconds:.0f} s; start all of them, with the same flags'
      )
    if now - self._last > _TELL_SECONDS:
      self._last = now
      print(
        f'{self._who} waits for {names} to come to {self._at} '
        f'({late:.0f} of {self._seconds:.0f} s)',
        file=sys.stderr,
        flush=True,
      )


def _call(port, processes, told):
  """Process 0: takes the others' connections until all are there."""
  dual = socket.has_dualstack_ipv6()
  family = socket.AF_INET6 if dual else socket.AF_INET
  try:
    server = socket.create_server(('', port), family=family, dualstack_ipv6=dual)
  except OSError as error:
    raise InputError(
      f'--coordinator: port {port} cannot be had ({error.strerror}); give another one'
    ) from None
  with contextlib.ExitStack() as stack:
    stack.enter_context(server)
    chosen = stack.enter_context(selectors.DefaultSelector())
    chosen.register(server, selectors.EVENT_READ)
    here = {}  # connection: number of the process
    while len(here) < processes - 1:
      missing = set(range(1, processes)) - set(here.values())
      over = True
      try:
        told.waits(missing)
        over = False
      finally:
        for other in here:
          _send(other, {'missing': sorted(missing), 'over': over})
      for key, _ in chosen.select(_TRY_SECONDS):
        if key.fileobj is server:
          other = stack.enter_context(server.accept()[0])
          other.settimeout(_TRY_SECONDS)
          chosen.register(other, selectors.EVENT_READ)
          continue
        other, number = key.fileobj, _received(key.fileobj).get('process')
        if number is None or number in here.values():  # it has ended, or is no process
          _send(other, {'twice': number in here.values()})
          chosen.unregister(other)
          here.pop(other, None)
          other.close()
        else:
          here[other] = number
    for other in here:
      _send(other, {'missing': []})


def _answer(address, process, told):
  """Another process: tells process 0 that it is here, and waits for the rest."""
  missing = [0]
  while True:
    told.waits(missing)
    try:
      with socket.create_connection(address, _TRY_SECONDS) as server:
        server.settimeout(None)
        _send(server, {'process': process})
        while said := _received(server):
          if said.get('twice'):
            raise InputError(
              f'--process: another process is {process}, too; number them from 0'
            )
          missing = said.get('missing', missing)
          if not missing:
            return
          told.waits(missing, said.get('over', False))
    except OSError:
      pass
    missing = [0]
    time.sleep(_TRY_SECONDS)


def _send(connection, value):
  with contextlib.suppress(OSError):  # whoever has gone is seen when read from
    connection.sendall(json.dumps(value).encode() + b'\n')


def _received(connection):
  """The next line of a connection: a dict, empty if it has ended or says nothing."""
  line = b''
  try:
    while not line.endswith(b'\n') and len(line) < 10_000:
      if not (byte := connection.recv(1)):
        return {}
      line += byte
    value = json.loads(line)
  except (OSError, ValueError):
    return {}
  return value if isinstance(value, dict) else {}
