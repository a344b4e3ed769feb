"""The notebook runs from its first cell to its last, on less of everything."""

import json
import os
import pathlib

import matplotlib
import matplotlib.pyplot as plt
import pytest

from configs import deap_fusion
from tests import running

_ROOT = pathlib.Path(__file__).parents[1]
_SMALL = """
SUBJECTS, TRIALS = 6, 4
ENCODER_STEPS, STEPS = 2, 2
"""


def _small(config):
  """The embedded default, smaller still."""
  config.embedded.update(
    dict(
      twin=dict(frame_rate=2.0, width=96, height=80),
      data=dict(frame_rate=2.0, frame_size=32, workers=1),
      input=dict(clips=dict(frames=4, stride=1, spacing=6.0)),
      encoder=dict(masks=dict(ratio=0.5), train=dict(batch_size=8)),
      model=dict(width=16, mlp_width=16),
      modalities=dict(
        physio=dict(widths=(8, 16), kernels=(64, 32), strides=(32, 16), mlp_width=16)
      ),
      train=dict(batch_size=8),
      evaluation=dict(models=('fusion',), batch_size=8),
    )
  )
  return config


@pytest.fixture
def cells(tmp_path, monkeypatch):
  """The code of its cells, with settings of a test."""
  monkeypatch.chdir(_ROOT)
  whole = deap_fusion.get_config
  monkeypatch.setattr(deap_fusion, 'get_config', lambda: _small(whole()))
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


def test_every_cell_runs(cells, tmp_path, capsys):
  names = {}
  for number, source in enumerate(cells):
    exec(compile(source, f'cell {number}', 'exec'), names)
  assert os.getcwd() == str(_ROOT)
  out = capsys.readouterr().out
  assert '24 trials' in out and 'fusion says' in out and 'late average,' in out
  assert (tmp_path / 'fusion' / 'report.html').exists()
  assert names['restored'].shape == names['clip'].shape
