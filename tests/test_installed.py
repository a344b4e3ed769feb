"""What `pip install .` installs works from any folder, without the clone."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_BUILD = 'import sys; from setuptools import build_meta; build_meta.build_wheel("..")'
_IMPORT = """
import importlib, pkgutil, mvp_jax
print(mvp_jax.__file__)
for module in pkgutil.walk_packages(mvp_jax.__path__, 'mvp_jax.'):
  importlib.import_module(module.name)
from mvp_jax import corpora, preparation
for name in corpora.CORPORA:
  print(name, preparation.load_builder(name).get_metadata().tags)
"""


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
  """The folder of an unpacked wheel, and its metadata."""
  folder = tmp_path_factory.mktemp('installed')
  source = folder / 'source'  # building leaves files beside what it builds
  shutil.copytree(
    _ROOT / 'mvp_jax', source / 'mvp_jax', ignore=shutil.ignore_patterns('__pycache__')
  )
  shutil.copytree(
    _ROOT / 'configs', source / 'configs', ignore=shutil.ignore_patterns('__pycache__')
  )
  for name in ('pyproject.toml', 'setup.py', 'README.md', 'LICENSE'):
    shutil.copy(_ROOT / name, source)
  for path in _ROOT.glob('requirements*.txt'):
    shutil.copy(path, source)
  subprocess.run(
    [sys.executable, '-c', _BUILD], cwd=source, check=True, capture_output=True
  )
  (wheel,) = folder.glob('*.whl')
  with zipfile.ZipFile(wheel) as file:
    file.extractall(folder / 'site')
  return folder / 'site'


def run(installed, folder, *arguments):
  return subprocess.run(
    [sys.executable, *arguments],
    cwd=folder,
    env=os.environ | {'PYTHONPATH': str(installed), 'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
    timeout=120,
  )


def test_every_file_is_there(installed):
  def files(folder):
    return {
      str(path.relative_to(folder))
      for path in folder.rglob('*')
      if path.is_file() and '__pycache__' not in path.parts
    }

  inside = installed / 'mvp_jax'
  configs = {f'configs/{name}' for name in files(_ROOT / 'configs')}
  assert files(inside) == files(_ROOT / 'mvp_jax') | configs


def test_the_command_has_a_name(installed):
  (entries,) = installed.glob('*.dist-info/entry_points.txt')
  assert 'mvp-jax = mvp_jax.__main__:main' in entries.read_text().splitlines()


def test_extras(installed):
  (metadata,) = installed.glob('*.dist-info/METADATA')
  lines = metadata.read_text().splitlines()
  for extra, needed in (
    ('cuda', 'jax[cuda12]'),
    ('tpu', 'jax[tpu]'),
    ('export', 'flatbuffers>=24'),
  ):
    assert f'Requires-Dist: {needed}; extra == "{extra}"' in lines


def test_every_module_is_imported_from_elsewhere(installed, tmp_path):
  done = run(installed, tmp_path, '-c', _IMPORT)
  assert done.returncode == 0, done.stderr
  place, *builders = done.stdout.splitlines()
  assert Path(place).is_relative_to(installed)
  assert any(line.startswith('deap [') for line in builders)


@pytest.mark.parametrize(
  ('arguments', 'status', 'told'),
  [
    ([], 0, 'weights'),
    (['predict', '--help'], 0, '--overlay'),
    (['predict', 'none', 'x.mp4'], 2, 'none: no such folder'),
    (['export', '--help'], 0, '--stablehlo'),
    (['--help'], 0, 'report'),
    (
      ['fuse'],
      2,
      "no command 'fuse'; there are run predict export check weights report",
    ),
    (['reprot'], 2, 'did you mean report?'),
    (['check', 'none.csv'], 1, 'none.csv'),
    (['run', '--config=none.py'], 2, 'none.py'),
    (['run', '--config=deap_fusion:nothing'], 2, "'nothing' is none of small"),
    (['run', '--config=deap_fusion', '--config.sede=1'], 2, 'no such setting'),
    (['run', '--help'], 1, '--workdir'),  # absl's status
  ],
)
def test_commands(installed, tmp_path, arguments, status, told):
  done = run(installed, tmp_path, '-m', 'mvp_jax', *arguments)
  assert done.returncode == status, done.stderr
  assert told in done.stdout + done.stderr
