"""A folder of models that does not fit is refused in one line."""

import json
import shutil

import pytest

from mvp_jax import checksums
from mvp_jax.errors import InputError
from mvp_jax.inference import folder
from mvp_jax.inference.model import load


@pytest.fixture
def models(run, tmp_path):
  """A copy of the run's folder of models, to change."""
  return shutil.copytree(run.workdir / 'models', tmp_path / 'models')


def change(models, **changed):
  path = models / 'model.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | changed))
  checksums.seal(models)


def test_a_copy_is_as_good(models):
  found = load(models)
  assert (found.name, len(found.members)) == ('fusion', 4)


@pytest.mark.parametrize(
  ('changed', 'told'),
  [
    ({'format': None}, 'are of format None'),
    ({'format': 0}, 'are of format 0, this version reads 1; train it anew'),
    ({'prepared': {'recordings': '1.0.0'}}, 'version 1.0.0 of the preparation of'),
    ({'config': {'dataset': 'recordings', 'new': 1}}, 'settings are of another ver'),
  ],
)
def test_another_version(models, changed, told):
  change(models, **changed)
  with pytest.raises(InputError, match=told):
    load(models)


def test_other_arrays(models):
  record = json.loads((models / 'model.json').read_text())
  record['config']['model']['mlp_width'] = 32
  change(models, config=record['config'])
  with pytest.raises(
    InputError, match=r'fold0_seed0_part0.*down/kernel is .*train it anew'
  ):
    load(models)


def test_a_damaged_file(models):
  path = models / 'fusion' / 'fold0_seed0_part0.safetensors'
  path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(InputError, match='part0.safetensors: cannot be read'):
    load(models)


@pytest.mark.parametrize('name', ['model.json', 'fusion/fold0_seed0_part0.safetensors'])
def test_a_flipped_bit(models, name):
  content = bytearray((models / name).read_bytes())
  place = content.rindex(b'"subjects": ') + 12 if name == 'model.json' else -1
  content[place] ^= 1
  (models / name).write_bytes(content)
  with pytest.raises(InputError, match=f'{name}: is not what was written; train or'):
    load(models)


def test_unfinished_runs_and_other_folders(run, tmp_path):
  (tmp_path / 'config.json').write_text('{}')
  with pytest.raises(InputError, match='has kept no models: it is unfinished'):
    folder.find(tmp_path)
  with pytest.raises(InputError, match='none: no such folder'):
    folder.find(tmp_path / 'none')
  (tmp_path / 'config.json').unlink()
  with pytest.raises(InputError, match='neither the work directory of a run nor'):
    folder.find(tmp_path)
  with pytest.raises(InputError, match="no model 'x'; there are fusion"):
    load(run.workdir, 'x')
  with pytest.raises(InputError, match='no fold 7; there are 0, 1'):
    load(run.workdir, fold=7)


def test_no_path_and_nobody_is_named(run):
  text = (run.workdir / 'models' / 'model.json').read_text()
  assert str(run.study) not in text and 'P01' not in text
