"""The notebook runs from its first cell to its last, on less of everything."""

import fnmatch
import glob
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import types

import matplotlib
import matplotlib.pyplot as plt
import pytest

from configs import deap_fusion
from tests import running

_ROOT = pathlib.Path(__file__).parents[1]
_SMALL = """
SUBJECTS, TRIALS = 6, 4
ENCODER_STEPS, STEPS = 2, 2
TWIN = {'frame_rate': 2.0, 'width': 96, 'height': 80}
FACES = {'frame_rate': 2.0, 'frame_size': 32}
WORKERS = 1
CLIP = ''
SETTINGS = {}
"""


def _small(config):
  """The embedded default, smaller still."""
  config.embedded.update(
    dict(
      input=dict(clips=dict(frames=4, stride=1, spacing=6.0)),
      encoder=dict(masks=dict(ratio=0.5), train=dict(batch_size=8)),
      model=dict(width=16, mlp_width=16),
      modalities=dict(
        physio=dict(widths=(8, 16), kernels=(64, 32), strides=(32, 16), mlp_width=16)
      ),
      train=dict(batch_size=8),
      evaluation=dict(models=('fusion', 'video'), batch_size=8),
    )
  )
  return config


@pytest.fixture
def cells(tmp_path, monkeypatch):
  """The code of its cells, with settings of a test."""
  monkeypatch.chdir(_ROOT)
  whole = deap_fusion.get_config
  monkeypatch.setattr(deap_fusion, 'get_config', lambda words: _small(whole(words)))
  backend = matplotlib.get_backend()
  plt.switch_backend('agg')
  found = json.loads((_ROOT / 'notebooks' / 'explore.ipynb').read_text())['cells']
  code = [cell for cell in found if cell['cell_type'] == 'code']
  assert sum('parameters' in cell['metadata'].get('tags', ()) for cell in code) == 1
  with running.few_devices():
    yield [
      f'{_SMALL}\nFOLDER = {str(tmp_path)!r}'
      if 'parameters' in cell['metadata'].get('tags', ())
      else ''.join(cell['source'])
      for cell in code
    ]
  plt.close('all')
  plt.switch_backend(backend)


@pytest.fixture
def install(tmp_path, monkeypatch):
  """Runs the cell that installs, as on Colab: a function that returns what was run.

  Of what is there: words of `nvidia-smi -L`, or None without it; modules; devices.
  """
  found = json.loads((_ROOT / 'notebooks' / 'explore.ipynb').read_text())['cells']
  (source,) = [
    ''.join(cell['source'])
    for cell in found
    if cell['cell_type'] == 'code' and 'google.colab' in ''.join(cell['source'])
  ]
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, 'path', list(sys.path))
  monkeypatch.setitem(sys.modules, 'google.colab', types.ModuleType('google.colab'))
  monkeypatch.delitem(sys.modules, 'jax')

  def run(smi=None, modules=(), devices=(), address='https://here/it.git'):
    ran = []

    def command(words, check=False, capture_output=False):
      if words[0] == 'smi':
        return subprocess.CompletedProcess(words, smi)
      assert check
      ran.append(words)
      if words[0] == 'git':
        (tmp_path / words[-1]).mkdir()
      return subprocess.CompletedProcess(words, 0)

    with monkeypatch.context() as patch:
      patch.setattr(subprocess, 'run', command)
      patch.setattr(shutil, 'which', lambda name: None if smi is None else 'smi')
      patch.setattr(importlib.util, 'find_spec', lambda name: name in modules or None)
      patch.setattr(glob, 'glob', lambda pattern: fnmatch.filter(devices, pattern))
      given = source.replace("REPOSITORY = ''", f'REPOSITORY = {address!r}')
      exec(compile(given, 'install', 'exec'), {})
    return ran

  return run


@pytest.mark.parametrize(
  ('there', 'extra'),
  [
    ({}, []),
    ({'smi': 0}, ['-r', 'requirements-cuda.txt']),
    ({'smi': 0, 'modules': ['jax_cuda12_plugin']}, ['-r', 'requirements-cuda.txt']),
    ({'smi': 0, 'modules': ['jax_cuda13_plugin']}, ['jax[cuda13]']),
    ({'smi': 9}, []),  # nvidia-smi without a GPU
    ({'devices': ['/dev/accel0']}, ['-r', 'requirements-tpu.txt']),
    ({'devices': ['/dev/vfio/0', '/dev/vfio/vfio']}, ['-r', 'requirements-tpu.txt']),
    ({'devices': ['/dev/vfio/vfio']}, []),
  ],
)
def test_colab_installs_the_jax_of_what_is_there(install, tmp_path, there, extra):
  clone, pip = install(**there)
  assert clone == ['git', 'clone', '--depth=1', 'https://here/it.git', 'mvp_jax']
  words = ['-m', 'pip', 'install', '-q', '-r', 'requirements.txt']
  assert pip == [sys.executable, *words, *extra]
  assert all((_ROOT / word).exists() for word in pip if word.endswith('.txt'))
  assert os.getcwd() == str(tmp_path / 'mvp_jax')


def test_colab_after_a_restart_goes_into_the_clone(install, tmp_path, monkeypatch):
  install()
  monkeypatch.chdir(tmp_path)
  (pip,) = install(address='')
  assert 'pip' in pip and os.getcwd() == str(tmp_path / 'mvp_jax')
  (tmp_path / 'mvp_jax' / 'launch.py').touch()
  assert install(address='') == []  # run again


def test_colab_without_an_address_is_told(install):
  with pytest.raises(ValueError, match='REPOSITORY: give the address'):
    install(address='')


def test_colab_says_when_an_older_jax_is_in_use(install, monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, 'jax', types.ModuleType('jax'))
  install(smi=0)
  assert 'Restart session' in capsys.readouterr().out


def test_every_cell_runs(cells, tmp_path, capsys):
  names = {}
  for number, source in enumerate(cells):
    exec(compile(source, f'cell {number}', 'exec'), names)
  assert os.getcwd() == str(_ROOT)
  out = capsys.readouterr().out
  assert '24 trials' in out and 'majority class' in out and 'late average' in out
  assert 'valence' in out and len(names['said'].frames) > 100
  assert (tmp_path / 'fusion' / 'report.html').exists()
  assert names['restored'].shape == names['clip'].shape
