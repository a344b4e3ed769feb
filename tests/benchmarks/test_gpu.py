"""The GPU benchmark: with its packages alone, on time, and what it says.

Without a GPU all of it is tiny. Where there is one, `python benchmarks/gpu.py` is the
test.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import jax
import pytest

from benchmarks import gpu, gpu_part
from benchmarks.gpu_part import OURS, PEER, PEER_TOGETHER, Part
from configs.deap_fusion import get_config
from mvp_jax.config import parse
from mvp_jax.training import state
from tests import environments

_PACKAGES = ['jax', 'flax', 'optax', 'numpy', 'torch', 'transformers']
_SCRIPT = pathlib.Path(__file__).parents[2] / 'benchmarks' / 'gpu.py'
needs_torch = pytest.mark.skipif(
  importlib.util.find_spec('transformers') is None,
  reason='PyTorch is in the test extra of 3.11',
)


@pytest.fixture(scope='module')
def python(tmp_path_factory):
  return environments.bare(tmp_path_factory.mktemp('bare') / 'env', _PACKAGES)


@needs_torch
def test_the_environment_has_nothing_else(python):
  there = environments.installed(python)
  assert set(_PACKAGES) <= there
  assert not there & {
    *('clu', 'grain', 'jaxtyping', 'ml-collections', 'tensorflow-datasets', 'wrapt'),
    *(
      'av',
      'opencv-python-headless',
      'pillow',
      'pandas',
      'scikit-learn',
      'tensorboardx',
    ),
  }


@needs_torch
def test_all_is_measured_where_only_its_packages_are(python, tmp_path):
  done = subprocess.run(
    [python, '-I', _SCRIPT, '--minutes', '20', '--out', tmp_path / 'gpu.json'],
    env={
      **os.environ,
      'JAX_PLATFORMS': 'cpu',
      'JAX_DISABLE_MOST_OPTIMIZATIONS': 'true',
      'OMP_NUM_THREADS': '1',
      'PYTHONPATH': '',
    },
    capture_output=True,
    text=True,
    timeout=1300,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  lines = done.stdout.splitlines()
  assert 'sees no GPU, so all is tiny' in lines[0]
  found = json.loads(lines[-1])
  assert found == json.loads((tmp_path / 'gpu.json').read_text())
  assert list(found['results']) == [
    f'ViT-tiny, {OURS}',
    f'ViT-tiny, {PEER}',
    *(f'folds, {side}' for side in (OURS, PEER, PEER_TOGETHER)),
  ]
  for name, one in found['results'].items():
    assert one.get('seconds', 0) > 0, (name, one)
  table = (tmp_path / 'gpu.md').read_text()
  assert table.splitlines()[0] == lines[0]
  assert table.count('unknown') == 10  # use of no peak, memory of no GPU
  assert all(row in lines for row in table.splitlines()[2:])


def test_the_fusion_is_that_of_the_config():
  tree = get_config().to_dict()
  tree.pop('embedded')
  config, sizes = parse(tree), gpu_part.FusionSizes()
  backbone = config.encoder.network(config)
  model, physio, video = sizes.configs
  assert model == config.model and config.target == sizes.task().model.target
  assert (physio, video) == (config.modalities['physio'], config.modalities['video'])
  assert sizes.optimiser == config.train.optimiser
  assert config.train.batch_size == gpu_part._BATCH
  assert sizes.token_width == backbone.feature_width
  clips = config.input.clips
  assert sizes.tokens == clips.max_clips(sizes.trial_seconds) * clips.slots
  assert config.modality_names == config.modalities_of('fusion') == ('physio', 'video')


def test_flops_of_the_fusion_are_those_that_xla_counts():
  sizes = gpu_part.FusionSizes(subjects=1)
  task, batch = sizes.task(), {name: x[:2] for name, x in sizes.data.items()}
  params, _ = jax.eval_shape(lambda: state.init_variables(task, jax.random.key(0)))
  forward = jax.jit(lambda p: state.build_model(task, p)(batch)[0])
  counted = forward.lower(params).cost_analysis()['flops'] / 2
  assert sizes.flops / 3 == pytest.approx(counted, rel=0.05)  # norms and the like


def test_rows_are_never_of_the_subject_that_is_left_out():
  sizes = gpu_part.FusionSizes(subjects=4, seeds=2)
  rows = next(sizes.rows(sizes.models))
  assert rows.shape == (8, 32)
  for model, own in enumerate(rows):
    subjects = own // gpu_part._TRIALS
    assert set(subjects) <= {0, 1, 2, 3} - {model % 4}


_H100 = {
  'gpu': True,
  'device': 'NVIDIA H100',
  'dtype': 'bfloat16',
  'memory_bytes': 76 << 30,
}


def test_batches_suit_the_memory():
  parts = gpu.planned(_H100)
  assert [(x.work, x.side, x.batch) for x in parts] == [
    ('ViT-B', OURS, 64),
    ('ViT-B', PEER, 64),
    ('ViT-L', OURS, 32),
    ('ViT-L', PEER, 32),
    ('folds', OURS, 110),
    ('folds', PEER, 1),
    ('folds', PEER_TOGETHER, 110),
  ]
  small = gpu.planned(_H100 | {'memory_bytes': 14 << 30})
  assert [x.batch for x in small[:3]] == [8, 8, 4]
  assert gpu.planned(_H100 | {'memory_bytes': 139 << 30})[0].batch == 128


def test_half_the_batch_is_tried_where_memory_does_not_do(monkeypatch, capsys):
  tried = []

  def run(part, budget):
    tried.append(part.batch)
    return {'out_of_memory': True} if part.batch > 16 else {'seconds': 1.0}

  monkeypatch.setattr(gpu, 'run', run)
  part = Part('ViT-B', batch=64)
  assert gpu.largest(part, None) == {'seconds': 1.0, 'batch': 16}
  assert tried == [64, 32, 16]
  assert 'ViT-B, mvp_jax: 64 do not fit, 32 are tried' in capsys.readouterr().out
  monkeypatch.setattr(gpu, 'run', lambda part, budget: {'out_of_memory': True})
  assert 'memory' in gpu.largest(part, None)['left_out']
  assert 'memory' in gpu.largest(Part('folds', PEER, 110), None)['left_out']


def test_pytorch_is_measured_without_its_compiler_where_that_fails(monkeypatch, capsys):
  def run(part, budget):
    if part.compiled:
      return {'left_out': 'it failed: no C compiler', 'failed': True}
    return {'seconds': 1.0}

  monkeypatch.setattr(gpu, 'run', run)
  (part,) = (x for x in gpu.planned(_H100) if (x.work, x.side) == ('folds', PEER))
  assert gpu.largest(part, None) == {'seconds': 1.0, 'batch': 1, 'compiled': False}
  assert 'folds, PyTorch: it failed: no C compiler; with' in capsys.readouterr().out


@pytest.mark.parametrize(
  ('error', 'full'),
  [
    (jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory while'), True),
    (type('OutOfMemoryError', (RuntimeError,), {})('CUDA out of memory.'), True),
    (jax.errors.JaxRuntimeError('INTERNAL: CUDNN_STATUS_BAD_PARAM'), False),
    (ValueError('a batch of 3'), False),
  ],
)
def test_what_says_that_memory_is_full(error, full):
  assert gpu_part.out_of_memory(error) == full


def test_it_ends_in_time(monkeypatch):
  assert gpu.run(Part('device'), gpu.Budget(0.1))['left_out'] == 'no time is left'
  monkeypatch.setattr(gpu, '_LEAST_SECONDS', 0)
  found = gpu.run(Part('device'), gpu.Budget((2 + 0.3) / 60))
  assert found['left_out'] == 'it was not done when time was up'


def test_what_fails_is_told_and_the_rest_goes_on(monkeypatch, capsys):
  device = {'gpu': False, 'device': 'cpu', 'dtype': 'float32', 'jax': '1'}
  measured = {'seconds': 2.0, 'examples': 6, 'flops': 9, 'memory_bytes': None}
  measured |= {'ready_seconds': 1.0, 'input_bytes': 10**6}

  def run(part, budget):
    if part.work == 'device':
      return device
    if part.work == 'folds':
      return {'left_out': 'it failed: ValueError: no', 'failed': True}
    return dict(measured)

  monkeypatch.setattr(gpu, 'run', run)
  monkeypatch.setattr(sys, 'argv', ['gpu.py'])
  with pytest.raises(SystemExit, match='1'):
    gpu.main()
  out = capsys.readouterr().out
  assert '| folds | PyTorch | left out: it failed: ValueError: no |' in out
  row = (
    '| ViT-tiny | mvp_jax | 2 | 2,000.0 | 3.0 clips/s | 1.00 | unknown | unknown | 1 |'
  )
  assert f'{row} 3 clips/s, 3 MB/s |' in out


def test_rates_are_of_pytorch_and_of_the_peak():
  peer = {'examples': 10, 'seconds': 1.0}
  found = {'examples': 30, 'seconds': 2.0, 'flops': 10e12, 'models': 3}
  facts = gpu.judged(found | {'steps_of_a_model': 900}, peer, 20e12)
  assert facts['rate'] == 15 and facts['of_pytorch'] == 1.5 and facts['mfu'] == 0.25
  assert facts['minutes_in_all'] == 10  # 900 steps, three in two seconds
  assert 'mfu' not in gpu.judged(found | {'steps_of_a_model': 1}, None, None)
