"""An exported folder, and its programs alone, say what the run says."""

import json
import subprocess

import numpy as np
import pytest

import mvp_jax
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.inference import export
from mvp_jax.inference.model import load
from tests import environments

_ALONE = """
import sys
import numpy as np
from jax import export
folder, inputs, out = sys.argv[1:]
found = {}
with np.load(inputs) as arrays:
  for file in ('model', 'encoder'):
    with open(f'{folder}/{file}.stablehlo', 'rb') as content:
      program = export.deserialize(bytearray(content.read()))
    own = {k.removeprefix(file + ':'): arrays[k] for k in arrays if k.startswith(file)}
    found[file] = np.asarray(program.call(own))
np.savez(out, **found)
"""


@pytest.fixture(scope='module')
def folder(run, tmp_path_factory):
  pytest.importorskip('flatbuffers')
  folder = tmp_path_factory.mktemp('exported') / 'model'
  assert export.main([str(run.workdir), str(folder), '--stablehlo']) == 0
  return folder


def test_the_card_says_where_it_comes_from(run, folder):
  card = (folder / 'README.md').read_text()
  for told in ('SYNTHETIC', '4 people, 12 trials of 9 to 9 s', 'fusion', 'eda (micro'):
    assert told in card
  assert 'fusion, valence: of the surest' in card and 'of 4 people)' in card
  assert 'Leak audit passed' in card and 'majority' in card
  assert str(run.study) not in card and 'P01' not in card
  assert {path.suffix for path in folder.rglob('*') if path.is_file()} == {
    *('.json', '.md', '.safetensors', '.stablehlo')
  }


def test_exported_models_say_what_the_run_says(run, folder, tmp_path):
  row = run.rows[4]
  given = {'signals': run.study / row['signals'], 'rate': 128, 'eda': 'EDA'}
  given |= {'ppg': 'PPG', 'signals_onset': 3}
  video = run.study / row['video']
  found = [
    mvp_jax.load(path).predict(video, **given).estimates.windows
    for path in (run.workdir, folder)
  ]
  np.testing.assert_allclose(*found, atol=1e-6)


def test_programs_run_where_nothing_but_jax_is_installed(run, folder, tmp_path):
  model = load(folder)
  (info,) = (run.workdir.parent / 'data' / 'prepared').rglob('dataset_info.json')
  corpus = PreparedCorpus(info.parent)
  trials = corpus.trials[:3]
  examples = model.examples(corpus, trials, tmp_path)
  items = [examples[i] for i in range(3)]
  inputs = {f'model:{k}': np.stack([x[k] for x in items]) for k in model.inputs}
  clips = model.config.input.clips
  frames = corpus.frames(trials[0], np.arange(clips.frames))
  inputs['encoder:frames'] = np.stack([frames, frames[::-1]])
  np.savez(tmp_path / 'inputs.npz', **inputs)
  arguments = [folder, tmp_path / 'inputs.npz', tmp_path / 'found.npz']
  python = environments.bare(tmp_path / 'env', ['jax', 'flatbuffers'])
  assert environments.installed(python) == {
    *('jax', 'jaxlib', 'flatbuffers'),
    *('ml-dtypes', 'numpy', 'opt-einsum', 'scipy'),  # that JAX requires
  }
  subprocess.run(
    [python, '-I', '-c', _ALONE, *map(str, arguments)], check=True, timeout=120
  )
  with np.load(tmp_path / 'found.npz') as found:
    scores, tokens = found['model'], found['encoder']
  wanted = model.predict(corpus, trials, tmp_path)
  members = json.loads((folder / 'model.json').read_text())['models']['fusion']
  for i, member in enumerate(members['members']):
    logits = np.log(scores[i] / (1 - scores[i])) / member['temperature']
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), wanted[:, i], atol=1e-5)
  assert tokens.shape == (2, clips.slots, model.backbone.feature_width)


def test_a_folder_that_is_not_empty(run, tmp_path):
  (tmp_path / 'x').write_text('')
  with pytest.raises(InputError, match='is there and not empty'):
    export.export(run.workdir, tmp_path)
