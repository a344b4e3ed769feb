"""How errors are told: a line with the right path, a status."""

import errno
import os
import signal
import subprocess
import sys
import types

import pytest

from mvp_jax import __main__ as commands
from mvp_jax import errors
from mvp_jax.errors import InputError, Stopped, TrainingError, ending
from mvp_jax.files import write_json


@pytest.mark.parametrize(
  ('error', 'status'),
  [
    (InputError('a'), 2),
    (TrainingError('a'), 1),
    (Stopped('a'), 143),
    (Stopped('a', signal.SIGINT), 130),
    (KeyboardInterrupt(), 130),
    (OSError('a'), 1),
  ],
)
def test_statuses(error, status):
  line, found = ending(error)
  assert found == status and line and '\n' not in line


def test_a_defect_is_none_of_these():
  assert ending(ValueError('a')) is None


def test_a_full_disk_is_that_of_the_file(tmp_path):
  def fails():
    raise OSError(errno.ENOSPC, 'No space left on device')  # as a write does

  with pytest.raises(OSError) as error:
    write_json(tmp_path / 'data' / 'x.json', _Raising(fails))
  line, status = ending(error.value, [tmp_path / 'runs'])
  assert status == 1
  assert line == (
    f'{tmp_path / "data" / "x.json"}: the disk is full; make room and run the same '
    'command again to go on'
  )


class _Raising(dict):
  """A value that cannot be written."""

  def __init__(self, fails):
    super().__init__(a=1)
    self._fails = fails

  def items(self):
    self._fails()


def test_of_a_write_without_a_name_the_full_folder_is_told(tmp_path, monkeypatch):
  usage = errors.shutil.disk_usage(tmp_path)

  def disk_usage(path):
    return usage._replace(free=0 if path == tmp_path / 'data' else 10**9)

  monkeypatch.setattr(errors.shutil, 'disk_usage', disk_usage)
  (tmp_path / 'data').mkdir()
  full = OSError(errno.ENOSPC, 'No space left on device')
  line, _ = ending(full, [tmp_path / 'runs', tmp_path / 'data'])
  assert line.startswith(f'{tmp_path / "data"}: the disk is full; make room')
  line, _ = ending(full, [tmp_path / 'runs'])  # then it is not known better
  assert line.startswith(f'{tmp_path / "runs"}: the disk is full')


def test_what_a_library_says_in_words_is_understood(tmp_path):
  said = 'write() failed: No space left on device; writing /data/x/a.record; at byte 7'
  line, status = ending(RuntimeError(said))
  assert status == 1 and line.startswith('/data/x/a.record: the disk is full; make')
  assert ending(RuntimeError('another')) is None


@pytest.mark.parametrize(
  ('number', 'words'),
  [
    (errno.EACCES, 'x/y: Permission denied; give yourself the right, or another path'),
    (errno.EROFS, 'x/y: Read-only file system; give yourself'),
    (errno.ENOTDIR, 'x/y: Not a directory; a file stands where a folder is needed'),
    (errno.EEXIST, 'x/y: File exists; a file stands where a folder is needed'),
    (errno.EISDIR, 'x/y: Is a directory; a folder stands where a file is needed'),
    (errno.EMFILE, 'x/y: Too many open files; raise the limit (ulimit -n)'),
  ],
)
def test_any_error_of_the_system_names_its_path(number, words):
  line, _ = ending(OSError(number, os.strerror(number), 'x/y'))
  assert line.startswith(words)


def test_a_command_tells_of_it_in_a_line(capsys, monkeypatch):
  def fails(arguments):
    raise PermissionError(errno.EACCES, 'Permission denied', arguments[0])

  monkeypatch.setattr(
    commands.importlib, 'import_module', lambda name: types.SimpleNamespace(main=fails)
  )
  assert commands.main(['weights', 'x/y']) == 1
  assert capsys.readouterr().err.startswith('error: x/y: Permission denied; give')


@pytest.mark.parametrize(
  ('name', 'status', 'called'), [('SIGINT', 130, 'Ctrl-C'), ('SIGTERM', 143, 'SIGTERM')]
)
def test_a_signal_before_the_job_is_a_line(tmp_path, name, status, called):
  config = tmp_path / 'config.py'
  config.write_text(
    'import os, signal\n'
    'signal.signal(signal.SIGINT, signal.default_int_handler)\n'
    f'os.kill(os.getpid(), signal.{name})\n'
  )
  done = subprocess.run(
    [sys.executable, '-m', 'mvp_jax', 'run', f'--config={config}'],
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == status
  assert done.stderr.startswith(f'error: stopped by {called}; what is done is kept')
  assert done.stderr.count('\n') == 1
