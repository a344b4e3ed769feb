"""Writes the files of a twin: in parallel, each whole, with a marker last of all."""

import dataclasses
import json

from mvp_jax import checksums
from mvp_jax.errors import AGAIN, InputError
from mvp_jax.files import atomic_write, read_json, write_json
from mvp_jax.processes import parallel_map
from mvp_jax.progress import Progress

MARKER = 'SYNTHETIC.json'  # lies in the folder of a twin

_ANEW = 'delete the folder, and the twin is written anew'
_ANEW_ALONE = f'{AGAIN}: it is written anew'


def write_twin(root, spec, corpus, list_jobs, told, workers=None):
  """Writes a twin under `root`; interrupted, it continues where it stopped.

  Args:
    root: Path; a folder of its own.
    spec: dataclass, what the twin holds.
    corpus: its name, for the marker and the display.
    list_jobs: (root, spec) -> list of (function, path, arguments); `function(path,
      spec, *arguments)`, importable by name, writes the file `path`.
    told: dict, what the marker says beside: `ceiling`, the best possible scores by
      target, `effects`, what is planted, and what the corpus itself needs.
    workers: see `processes.parallel_map`.

  Raises:
    InputError: `root` holds another twin, or data that are no twin.
  """
  complete = _already_there(root, spec)
  jobs = list_jobs(root, spec)
  missing = [job for job in jobs if not job[1].is_file()]
  if complete and not missing:
    return
  with Progress(
    len(jobs), f'writing the {corpus} twin', 'files', initial=len(jobs) - len(missing)
  ) as progress:
    for _ in parallel_map(_do, [(job, spec) for job in missing], workers):
      progress.update()
  marker = {
    'corpus': corpus,
    'spec': dataclasses.asdict(spec),
    'subjects': spec.subjects,
    **told,
  }
  write_json(root / MARKER, marker)
  checksums.seal(root, lambda name: name != _begun(root).name)
  _begun(root).unlink(missing_ok=True)


def require_whole(root):
  """Raises InputError if a file of a twin is not what was written.

  It says nothing of a folder that is no twin. For twins that a run has written for
  itself: those that are given may have been changed on purpose.
  """
  if (root / MARKER).exists() and (root / checksums.FILE).exists():
    for name, what in checksums.damage(root).items():
      remedy = f'delete it and {_ANEW_ALONE}' if (root / name).exists() else _ANEW_ALONE
      if name in (MARKER, checksums.FILE):
        remedy = _ANEW
      raise InputError(f'{root / name}: {what}; {remedy}')


def _already_there(root, spec):
  """Whether the twin stands complete; else marks it as begun under `root`."""
  for path in (root / MARKER, _begun(root)):
    if path.exists():
      found = (read_json(path, _ANEW) or {}).get('spec')
      if found != json.loads(json.dumps(dataclasses.asdict(spec))):
        raise InputError(
          f'{path}: this is a twin of another spec ({found}); '
          'give another directory or delete this one'
        )
      return path.name == MARKER and not _begun(root).exists()
  found = sorted(root.iterdir()) if root.is_dir() else ()
  if found:
    raise InputError(
      f'{found[0]}: {root} holds data but no {MARKER}, so it may be '
      'real; a twin needs a directory of its own'
    )
  root.mkdir(parents=True, exist_ok=True)
  write_json(_begun(root), {'spec': dataclasses.asdict(spec)})
  return False


def _begun(root):
  return root / f'{MARKER}.begun'


def _do(job, spec):
  function, path, arguments = job
  with atomic_write(path) as part:
    function(part, spec, *arguments)
