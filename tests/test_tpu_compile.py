"""Steps of tiny models compiled for TPUs, where libtpu is installed; and the table.

pip install --no-deps --target libtpu libtpu==0.0.42.1     (for JAX 0.10.2)
PYTHONPATH=libtpu python -m pytest tests/test_tpu_compile.py
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

from benchmarks import tpu_compile

_ROOT = pathlib.Path(__file__).parents[1]
_SMALL = ('encoder.size=tiny', 'data.frame_size=64')
_PRETRAIN = 'videomae_pretrain', *_SMALL, 'encoder.train.batch_size=8'

needs_libtpu = pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None, reason='needs libtpu'
)


def test_the_table_of_the_docs_is_what_was_found():
  page = (_ROOT / 'docs' / 'scale.md').read_text()
  assert tpu_compile.table(tpu_compile.known(tpu_compile.FOUND)) in page


def compiled(folder, config, *settings):
  """What the benchmark finds of a step on one host of four v5e chips."""
  file = folder / 'found.json'
  subprocess.run(
    [
      sys.executable,
      _ROOT / 'benchmarks' / 'tpu_compile.py',
      '--found',
      file,
      config,
      'v5e:2x2',
      *settings,
    ],
    env={**os.environ, 'XLA_FLAGS': ''},
    check=True,
    timeout=600,
  )
  (found,) = json.loads(file.read_text()).values()
  return found


# How many collectives of which kind a step runs: a change must be meant. (That of the
# folds takes minutes to compile.)
@needs_libtpu
@pytest.mark.parametrize(
  ('case', 'golden'),
  [
    (_PRETRAIN, {'all-reduce': 9}),
    ((*_PRETRAIN, 'mesh.fsdp=2'), {'all-gather': 15, 'all-reduce': 17}),
    (
      ('deap_video', *_SMALL, 'train.batch_size=8'),
      {'all-reduce': 7, 'collective-permute': 2},  # clips that are mixed
    ),
  ],
)
def test_what_a_step_sends(tmp_path, case, golden):
  found = compiled(tmp_path, *case)
  assert found['fits'] and found['chips'] == 4 and found['hosts'] == 1
  sent = found['collectives']
  assert {kind: x['count'] for kind, x in sent.items()} == golden
  if least := found['least_sent_bytes']:
    assert least <= sent['all-reduce']['bytes'] <= 1.01 * least
