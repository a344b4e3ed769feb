"""The commands: show, import, export; a wrong input is one line and status 2."""

import json

import jax
import numpy as np
import pytest

from mvp_jax.training import encoder
from mvp_jax.training.sharding import MeshConfig, make_mesh
from mvp_jax.weights.__main__ import main
from mvp_jax.weights.export import export_huggingface
from mvp_jax.weights.sources import open_source
from mvp_jax.weights.transfer import take_all
from tests.weights.tiny import TINY, classifier, pretraining, random_params


@pytest.mark.parametrize('make', [pretraining, classifier])
def test_there_and_back(tmp_path, capsys, make):
  params = random_params(make)
  export_huggingface(params, TINY, tmp_path / 'hf')
  given = [str(tmp_path / name) for name in ('hf', 'ours', 'x.pth', 'hf2')]
  assert main(['import', given[0], given[1]]) == 0
  out = capsys.readouterr().out
  count = len(jax.tree.leaves(params))
  assert f'matched: {count} arrays, all of the model' in out
  assert f'--config.encoder.checkpoint={given[1]}' in out
  mesh = make_mesh(MeshConfig(), jax.devices()[:1])
  there, record, config = encoder.read(tmp_path / 'ours', mesh)
  jax.tree.map(np.testing.assert_array_equal, there, params)
  assert config == TINY and record['kind'] == (
    'pre-training' if make is pretraining else 'classifier'
  )

  assert main(['export', given[1], given[2], '--format=reference']) == 0
  assert main(['export', given[1], given[3], '--format=huggingface']) == 0
  for path in given[2:]:
    jax.tree.map(
      np.testing.assert_array_equal, take_all(open_source(path), TINY)[0], params
    )
  settings = json.loads((tmp_path / 'hf2/config.json').read_text())
  assert settings == json.loads((tmp_path / 'hf/config.json').read_text())

  capsys.readouterr()
  for path, words in [
    (given[0], 'huggingface layout'),
    (given[1], 'imported from hf'),
    (given[2], 'reference layout'),
  ]:
    assert main(['show', path, '--heads=4']) == 0
    out = capsys.readouterr().out
    assert words in out and 'sizes: width 48, depth 2, heads 4, mlp_width 96' in out
    assert 'encoder/stack/blocks/up/kernel  2 x 48 x 96' in out


def test_an_export_says_what_its_layout_cannot_hold(tmp_path, capsys):
  export_huggingface(random_params(pretraining), TINY, tmp_path / 'hf')
  ours, record = tmp_path / 'ours', tmp_path / 'ours/record.json'
  assert main(['import', str(tmp_path / 'hf'), str(ours)]) == 0
  text = record.read_text()
  for floor, said in (1e-6, False), (0.05, True):
    facts = json.loads(text)
    facts['model']['noise_floor'] = floor
    record.write_text(json.dumps(facts))
    (ours / 'checksums.json').unlink(missing_ok=True)  # changed on purpose
    capsys.readouterr()
    assert (
      main(['export', str(ours), str(tmp_path / f'{floor}.pth'), '--format=reference'])
      == 0
    )
    assert ('noise_floor 0.05' in capsys.readouterr().out) == said


def test_what_is_wrong_is_one_line(tmp_path, capsys):
  full = tmp_path / 'full'
  export_huggingface(random_params(pretraining), TINY, full)
  for command in (
    ['show', str(tmp_path / 'none')],
    ['import', str(full), str(full)],
    ['export', str(full), str(tmp_path / 'x'), '--format=reference'],
    ['import', str(full / 'config.json'), str(tmp_path / 'x')],
  ):
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and error.count('\n') == 1
  assert not (tmp_path / 'x').exists()
  with pytest.raises(SystemExit) as stop:
    main(['export', str(full), 'x', '--format=onnx'])
  assert stop.value.code == 2
