"""The notebook runs from its first cell to its last, on a smaller twin."""

import json
import os
import pathlib

import jax
import matplotlib
import matplotlib.pyplot as plt
import pytest
from jax.experimental.compilation_cache import compilation_cache

from mvp_jax import experiment
from mvp_jax.training.sharding import make_mesh

_ROOT = pathlib.Path(__file__).parents[1]
_SMALL = """
SUBJECTS, TRIALS = 6, 4
ENCODER_STEPS, STEPS = 2, 2
"""


@pytest.fixture
def cells(tmp_path, monkeypatch):
  """The code of its cells, with settings of a test."""
  monkeypatch.setattr(experiment, 'make_mesh',
                      lambda mesh: make_mesh(mesh, jax.devices()[:1]))
  monkeypatch.chdir(_ROOT)
  backend = matplotlib.get_backend()
  plt.switch_backend('agg')
  found = json.loads((_ROOT / 'notebooks' / 'explore.ipynb').read_text())['cells']
  code = [cell for cell in found if cell['cell_type'] == 'code']
  assert sum('parameters' in cell['metadata'].get('tags', ()) for cell in code) == 1
  with jax.numpy_dtype_promotion('standard'):
    yield [f'{_SMALL}\nFOLDER = {str(tmp_path)!r}'
           if 'parameters' in cell['metadata'].get('tags', ())
           else ''.join(cell['source']) for cell in code]
  plt.close('all')
  plt.switch_backend(backend)
  jax.config.update('jax_compilation_cache_dir', None)
  compilation_cache.reset_cache()


def test_every_cell_runs(cells, tmp_path, capsys):
  names = {}
  for number, source in enumerate(cells):
    exec(compile(source, f'cell {number}', 'exec'), names)
  assert os.getcwd() == str(_ROOT)
  out = capsys.readouterr().out
  assert '24 trials' in out and 'fusion says' in out and 'late average,' in out
  assert (tmp_path / 'fusion' / 'report.html').exists()
  assert names['restored'].shape == names['clip'].shape
