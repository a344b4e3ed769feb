"""Environments that have nothing but what some packages need, to run programs in."""

import importlib.metadata
import os
import venv
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def bare(folder, packages):
  """Makes a virtual environment of some packages and what they require, nothing else.

  Their files are links to those that are installed here, found by their metadata;
  nothing is downloaded.

  Args:
    folder: pathlib.Path, new.
    packages: such as ['jax', 'flatbuffers'], with extras as in 'jax[cuda12]'.

  Returns the path of its Python. Start it with -I, so that PYTHONPATH and the current
  folder add nothing.

  Raises importlib.metadata.PackageNotFoundError for what is not installed here.
  """
  venv.create(folder, symlinks=True)
  (site,) = folder.glob('lib/python*/site-packages')
  for distribution in _required(packages):
    for path in distribution.files or ():
      if '..' not in path.parts:  # scripts
        link = site / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path(distribution.locate_file(path)))
  return folder / 'bin' / 'python'


def installed(python):
  """What an environment of `bare` holds: a set of names."""
  (site,) = Path(os.fspath(python)).parent.parent.glob('lib/python*/site-packages')
  found = importlib.metadata.distributions(path=[str(site)])
  return {canonicalize_name(one.metadata['Name']) for one in found}


def _required(packages):
  """The distributions of packages and all that they require."""
  found, seen = {}, set()
  asked = [Requirement(text) for text in packages]
  while asked:
    one = asked.pop()
    name, extras = canonicalize_name(one.name), frozenset(one.extras)
    if (name, extras) in seen:
      continue
    seen.add((name, extras))
    found[name] = importlib.metadata.distribution(name)
    for text in found[name].requires or ():
      needed = Requirement(text)
      if needed.marker is None or any(
        needed.marker.evaluate({'extra': extra}) for extra in ('', *extras)
      ):
        asked.append(needed)
  return list(found.values())
