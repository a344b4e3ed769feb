"""The work directory of a run: whose it is, and what made it."""

import dataclasses
import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path

from mvp_jax.errors import InputError
from mvp_jax.files import write_json

_PACKAGES = ('jax', 'flax', 'optax', 'orbax-checkpoint', 'grain',
             'tensorflow-datasets', 'numpy')
# What does not change the result, so that a work directory may be gone on with.
_FREE_SETTINGS = {('data', 'workers'), ('data', 'manual_dir'), ('data', 'data_dir')}
FINGERPRINT = 'source_fingerprint'


def claim(workdir, config):
  """Makes the work directory this config's own. Raises InputError if another's.

  Returns:
    What an earlier run of it noted in `run.json`, a dict.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  path, facts = workdir / 'config.json', workdir / 'run.json'
  now = json.loads(json.dumps(dataclasses.asdict(config)))
  if path.exists() and facts.exists():  # else nothing is in it yet
    before = _flat(json.loads(path.read_text()))
    different = [
        f'{".".join(k)} was {before.get(k)!r}, now {v!r}'
        for k, v in _flat(now).items()
        if before.get(k) != v and k not in _FREE_SETTINGS]
    if different:
      raise InputError(f'{workdir}: belongs to another config '
                       f'({"; ".join(different)}); give another --workdir or '
                       'restore the setting')
  write_json(path, now)
  return json.loads(facts.read_text()) if facts.exists() else {}


def check_source(workdir, now):
  """Refuses to go on with results of other data than of the fingerprint `now`."""
  path = workdir / 'run.json'
  before = json.loads(path.read_text())[FINGERPRINT] if path.exists() else now
  if before != now:
    raise InputError(f'{workdir}: holds results of other source files (fingerprint '
                     f'{before}, now {now}); give another --workdir')


def _flat(tree, prefix=()):
  if not isinstance(tree, dict):
    return {prefix: tree}
  return {key: value for name, branch in tree.items()
          for key, value in _flat(branch, (*prefix, name)).items()}


def copy_metrics(encoder_directory, workdir):
  """Puts the encoder's learning curve beside the others, once."""
  lines = (encoder_directory / 'metrics.jsonl').read_text()
  target = workdir / 'metrics.jsonl'
  if not target.exists() or '"run": "encoder"' not in target.read_text():
    with target.open('a') as file:
      file.write(lines)


def provenance():
  """The revision of the code and the versions of what it stands on: a dict."""
  versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
  return {'git': _git_revision(),
          'versions': {'python': platform.python_version(), **versions}}


def _git_revision():
  root = Path(__file__).parent
  try:
    return subprocess.run(
        ['git', 'describe', '--always', '--dirty'], cwd=root, check=True,
        capture_output=True, text=True).stdout.strip()
  except (OSError, subprocess.CalledProcessError):
    return 'unknown'
