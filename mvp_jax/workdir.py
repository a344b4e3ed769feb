"""The work directory of a run: which config owns it, and its provenance."""

import contextlib
import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from mvp_jax import checksums, hosts
from mvp_jax.config import to_tree
from mvp_jax.errors import InputError
from mvp_jax.files import read_json, write_json
from mvp_jax.locks import held_by, waited_for

_PACKAGES = (
  'jax',
  'flax',
  'optax',
  'orbax-checkpoint',
  'grain',
  'tensorflow-datasets',
  'numpy',
)
# Settings that do not change results: a work directory may be resumed with others.
_FREE_SETTINGS = {('data', name) for name in ('manual_dir', 'data_dir', 'beam')} | {
  ('data', 'corpus', 'openface_dir'),
  ('evaluation', 'risk'),  # learnt anew from what is predicted
  ('ablation',),  # each variant has a folder and a config of its own
  # These change results by rounding only, the first also what dropout draws.
  ('train', 'accumulate'),
  ('evaluation', 'batch_size'),
}
_FREE_SECTION = 'mesh'  # by rounding only, too
# In any section:
_FREE_NAMES = (
  *('workers', 'keep_checkpoints', 'keep_every', 'profile', 'together'),
  'feature_batch',
)
FINGERPRINT = 'source_fingerprint'
_LOCK = '.lock'
_GONE_ON_FROM = 'config.json', 'run.json', 'metrics.jsonl'
_RESTORE = 'restore it from a copy'
_OTHER = 'delete it to begin anew, or give another --workdir'


@contextlib.contextmanager
def in_use(folder, doing=''):
  """Locks a folder, creating it if needed, against other runs.

  The operating system releases the lock when the process ends, however it ends.

  Args:
    folder: pathlib.Path.
    doing: what another run that uses it does; it is waited for then. Empty: it is not.

  Raises:
    InputError: another run uses it, or some processes of this job do not see it.
  """
  with contextlib.ExitStack() as stack:
    hosts.on_main(lambda: _lock(folder / _LOCK, doing, stack))
    hosts.check_shared(folder / _LOCK)
    yield


def _lock(path, doing, stack):
  if doing:
    stack.enter_context(waited_for(path, doing))
  elif holder := held_by(path, stack):
    raise InputError(
      f'{path.parent}: is in use by another run ({holder}); '
      'wait until it ends, or use another folder'
    )


def claim(workdir, config):
  """Claims the work directory for this config.

  Returns:
    dict: `run.json` of an earlier run of it, or empty.

  Raises:
    InputError: it belongs to another config.
  """
  return hosts.on_main(lambda: _claim(workdir, config))


def _claim(workdir, config):
  workdir.mkdir(parents=True, exist_ok=True)
  _look_over(workdir)
  path, facts = workdir / 'config.json', workdir / 'run.json'
  now = json.loads(json.dumps(to_tree(config)))
  if path.exists() and facts.exists():  # otherwise it is still empty
    before = read_json(path, _OTHER) or {}
    if before.keys() != now.keys():
      raise InputError(
        f'{workdir}: was made by another version of this program; give another '
        '--workdir, or use that version to go on'
      )
    before = _flat(before)
    different = [
      f'{".".join(k)} was {before.get(k)!r}, now {v!r}'
      for k, v in _flat(now).items()
      if before.get(k) != v and not _is_free(k)
    ]
    if (
      different
      and FINGERPRINT in (read_json(facts, _OTHER) or {})
      and not _has_results(workdir)
    ):
      print(
        f'{workdir}: its run ended before it had saved anything; it begins anew with '
        f'other settings ({"; ".join(different)})',
        flush=True,
      )
      for name in ('run.json', 'metrics.jsonl'):
        (workdir / name).unlink(missing_ok=True)
      shutil.rmtree(workdir / 'tensorboard', ignore_errors=True)
    elif different:
      raise InputError(
        f'{workdir}: belongs to another config '
        f'({"; ".join(different)}); give another --workdir or '
        'restore the setting'
      )
  (workdir / checksums.FILE).unlink(missing_ok=True)  # what it seals may change
  write_json(path, now)
  return read_json(facts, _OTHER) or {}


def seal(workdir):
  """Notes the checksums of what a finished run tells: its JSON and CSV files."""
  checksums.seal(workdir, _is_told)


def require_whole(workdir):
  """Raises InputError if files of a finished run are not what was written."""
  if (workdir / checksums.FILE).exists():
    for name, what in checksums.damage(workdir, _is_told).items():
      raise InputError(f'{workdir / name}: {what}; {_RESTORE} or rerun the job')


def _look_over(workdir):
  """Looks at what a finished run has left, before it is run again."""
  found = checksums.damage(workdir, _is_told)
  changed = {name: what for name, what in found.items() if (workdir / name).exists()}
  for name, what in changed.items():
    if name in _GONE_ON_FROM:
      raise InputError(
        f'{workdir / name}: {what}; {_RESTORE}, or delete it to go on without it'
      )
    print(f'{workdir / name}: {what}; it is made anew', file=sys.stderr, flush=True)


def _is_told(name):
  return '/' not in name and name.endswith(('.json', '.jsonl', '.csv'))


def _has_results(workdir):
  """Whether a run has saved a checkpoint or more in its work directory."""
  steps = (x for x in (workdir / 'checkpoints').rglob('*') if x.name.isdigit())
  return (workdir / 'report.html').exists() or any(steps)


def _is_free(key):
  return key in _FREE_SETTINGS or key[0] == _FREE_SECTION or key[-1] in _FREE_NAMES


def check_source(workdir, now):
  """Raises InputError if the results in `workdir` are of other data.

  Also if the processes do not all see the same data.

  Args:
    now: fingerprint of the data.
  """
  hosts.check_same('data', {FINGERPRINT: now})
  path = workdir / 'run.json'
  before = (read_json(path, _OTHER) or {}).get(FINGERPRINT, now)
  if before != now:
    raise InputError(
      f'{workdir}: holds results of other source files (fingerprint '
      f'{before}, now {now}); give another --workdir'
    )


def check_hosts(config):
  """Raises InputError unless all processes run the same program and config."""
  hosts.check_same('program', {'git': _git_revision(), **_versions()})
  hosts.check_same(
    'config',
    {
      '.'.join(key): value
      for key, value in _flat(json.loads(json.dumps(to_tree(config)))).items()
    },
  )


def _flat(tree, prefix=()):
  if not isinstance(tree, dict):
    return {prefix: tree}
  return {
    key: value
    for name, branch in tree.items()
    for key, value in _flat(branch, (*prefix, name)).items()
  }


def copy_metrics(encoder_directory, workdir):
  """Appends the encoder's learning curve to `metrics.jsonl`, once."""
  lines = (encoder_directory / 'metrics.jsonl').read_text()
  target = workdir / 'metrics.jsonl'
  if not target.exists() or '"run": "encoder"' not in target.read_text():
    with target.open('a') as file:
      file.write(lines)


def provenance():
  """The git revision and the versions of dependencies: a dict."""
  return {'git': _git_revision(), 'versions': _versions()}


def _versions():
  return {
    'python': platform.python_version(),
    **{name: importlib.metadata.version(name) for name in _PACKAGES},
  }


def _git_revision():
  root = Path(__file__).parent
  try:
    return subprocess.run(
      ['git', 'describe', '--always', '--dirty'],
      cwd=root,
      check=True,
      capture_output=True,
      text=True,
    ).stdout.strip()
  except (OSError, subprocess.CalledProcessError):
    return 'unknown'
