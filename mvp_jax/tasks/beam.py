"""Runs tasks as an Apache Beam pipeline: on a cluster, say.

Beam hands the tasks out. What they make goes the same way as without it, into files
of one folder, which all workers therefore have to see. Beside the results, a hidden
folder of the run holds what else the workers tell: drops, and why to stop. Beam is
imported only when asked for.
"""

import contextlib
import functools
import io
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import threading
import time
import traceback
from pathlib import Path

import cv2

from mvp_jax.errors import InputError
from mvp_jax.files import write_json
from mvp_jax.outcomes import Dropped
from mvp_jax.tasks.task import do, result_path

_STOP = 'stop.json'
_WORKER = 'Beam worker on'  # begins what is wrong with one
_LOOK_SECONDS = 2.0
_LATE_SECONDS = 60.0  # after which NFS shows what another host has written


def parse(options):
  """The PipelineOptions that a text stands for.

  Raises:
    InputError: it makes no sense, or Beam is not installed.
  """
  try:
    from apache_beam import Pipeline
    from apache_beam.options.pipeline_options import PipelineOptions
  except ImportError as error:
    raise InputError(
      f'beam: Apache Beam cannot be imported ({error}); pip install -r '
      'requirements-beam.txt, or leave it empty to prepare on this machine'
    ) from error
  said = io.StringIO()
  try:
    with contextlib.redirect_stderr(said):
      # Else each worker tells of its channels. What the user gives comes later, wins.
      found = PipelineOptions(
        ['--default_sdk_harness_log_level=ERROR', *shlex.split(options)]
      )
      found.get_all_options()  # Only now are they read,
      Pipeline(options=found)  # and the runner's name is looked up.
  except (SystemExit, ValueError, ImportError) as error:
    told = said.getvalue().strip().rpartition('error: ')[2] or error
    raise InputError(
      f'beam: {options!r} are no options of a Beam pipeline: '
      f'{" ".join(str(told).split())}'
    ) from error
  return found


def run(function, numbered, directory, options, tell):
  """Runs tasks that have no valid result yet, and waits for the end; see `run_tasks`.

  Args:
    numbered: list of (number, Task).
    directory: for the results, seen by all workers under this very path.
    options: of the pipeline, as text.
    tell: is called with (number, None or its Dropped) as the tasks end; from a thread.

  Raises:
    InputError: a task raised it, or a worker does not see the files.
    RuntimeError: a task raised anything else, or the pipeline failed.
  """
  import apache_beam as beam

  directory = Path(directory).absolute()
  # Workers of a run that was killed stop when they find theirs gone.
  for leftover in directory.glob('.beam-*'):
    shutil.rmtree(leftover)
  for _, task in numbered:
    result_path(directory, task.name).unlink(missing_ok=True)  # stale
  notes = directory / f'.beam-{secrets.token_hex(8)}'
  notes.mkdir()
  jobs = [(i, task, task.key(), _sizes(task)) for i, task in numbered]
  watch = _Watch(numbered, directory, notes, tell)
  try:
    with _importable(), watch:
      pipeline = beam.Pipeline(options=parse(options))
      _ = (
        pipeline
        | beam.Create(jobs)
        | beam.Reshuffle()
        | 'Prepare' >> beam.Map(functools.partial(_work, function, directory, notes))
      )
      _finish(pipeline)
    watch.end()
  finally:
    shutil.rmtree(notes, ignore_errors=True)


def _finish(pipeline):
  try:
    result = pipeline.run()
    state = result.wait_until_finish()
  except Exception as error:  # each runner has its own
    told = re.search(rf'{_WORKER}[^\n]*?(?=\\n| \[while running|\n|$)', str(error))
    if told:
      raise InputError(told[0]) from error
    raise RuntimeError(_failed('see above')) from error
  if state not in (None, 'DONE'):
    raise RuntimeError(_failed(f'its state is {state}'))


def _failed(why):
  return (
    f'the Beam pipeline failed ({why}); what is done is kept: start again to continue'
  )


def _work(function, directory, notes, job):
  """Does one task, on a worker."""
  number, task, key, sizes = job
  cv2.setNumThreads(1)  # A worker is one of several on its machine.
  here = f'{_WORKER} {socket.gethostname()}'
  if not notes.is_dir():
    raise InputError(
      f'{here}: there is no {notes} that the run has made; give a data_dir that all '
      'workers see under the same path (or the run was stopped)'
    )
  note = notes / f'{number}.json'
  if (
    result_path(directory, task.name).exists()
    or note.exists()  # a second attempt
    or (notes / _STOP).exists()
  ):
    return
  try:
    for path, there, expected in zip(task.inputs, _sizes(task), sizes, strict=True):
      if there != expected:
        raise InputError(
          f'{here}: {path} has {there} bytes, {expected} where the run was started; '
          'give a manual_dir that all workers see under the same path'
        )
    dropped = do(function, task, directory, key)
    if dropped is not None:
      write_json(note, {'code': dropped.code, 'reason': dropped.reason})
  except InputError as error:
    write_json(notes / _STOP, {'input': str(error)})
  except Exception:
    # Raised, it would be tried again and again, and end in words of the runner.
    write_json(notes / _STOP, {'task': task.name, 'trace': traceback.format_exc()})


def _sizes(task):
  return [path.stat().st_size if path.exists() else None for path in task.inputs]


class _Watch:
  """Tells of tasks that have ended, from a thread while the pipeline runs."""

  def __init__(self, numbered, directory, notes, tell):
    self._open = {i: result_path(directory, task.name).name for i, task in numbered}
    self._directory, self._notes, self._tell = directory, notes, tell
    self._over = threading.Event()
    self._thread = threading.Thread(target=self._run, daemon=True)

  def __enter__(self):
    self._thread.start()

  def __exit__(self, *_):
    self._over.set()
    self._thread.join()

  def _run(self):
    while not self._over.wait(_LOOK_SECONDS):
      with contextlib.suppress(OSError):  # of a network: there is a next time
        self._look()

  def _look(self):
    results, notes = set(os.listdir(self._directory)), set(os.listdir(self._notes))
    for i, name in list(self._open.items()):
      note = f'{i}.json'
      if note in notes:
        self._tell(i, Dropped(**json.loads((self._notes / note).read_text())))
      elif name in results:
        self._tell(i, None)
      else:
        continue
      del self._open[i]

  def end(self):
    """Tells of all the rest. Raises what stopped the run."""
    deadline = time.monotonic() + _LATE_SECONDS
    while True:
      self._look()
      stop = self._notes / _STOP
      if stop.exists():
        told = json.loads(stop.read_text())
        if 'input' in told:
          raise InputError(told['input'])
        raise RuntimeError(f'{told["task"]} stopped the run:\n{told["trace"]}')
      if not self._open:
        return
      if time.monotonic() > deadline:
        raise RuntimeError(
          _failed(
            f'{len(self._open)} results are missing, such as '
            f'{next(iter(self._open.values()))}'
          )
        )
      time.sleep(0.2)


@contextlib.contextmanager
def _importable():
  """Lets worker processes that Beam starts here find this package."""
  before = os.environ.get('PYTHONPATH')
  root = str(Path(__file__).parents[2])
  os.environ['PYTHONPATH'] = root + (os.pathsep + before if before else '')
  try:
    yield
  finally:
    if before is None:
      del os.environ['PYTHONPATH']
    else:
      os.environ['PYTHONPATH'] = before
