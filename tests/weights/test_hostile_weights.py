"""Checkpoints that are made to hang a reader or to fill the memory are refused."""

import argparse
import collections
import tracemalloc
import zipfile

import numpy as np
import pytest

from mvp_jax.weights.torch_file import read_torch, write_torch
from tests.weights.hostile_weights import FILES, READERS, REFUSED

_SLOW = ('pth_order',)  # to write
_MOST = 64 << 20  # bytes


@pytest.fixture(scope='module')
def torch():
  return pytest.importorskip('torch', reason='PyTorch is in the test extra of 3.11')


@pytest.mark.parametrize('name', [name for name in FILES if name not in _SLOW])
def test_refused_in_one_line_before_memory_is_taken(name, tmp_path):
  write, wanted = FILES[name]
  reader, path = write(tmp_path)
  tracemalloc.start()
  try:
    with pytest.raises(REFUSED) as error:
      READERS[reader](path)
    assert wanted in str(error.value) and str(path) in str(error.value)
    assert '\n' not in str(error.value)
    assert tracemalloc.get_traced_memory()[1] < _MOST
  finally:
    tracemalloc.stop()


def test_a_checkpoint_with_its_optimiser(torch, tmp_path):
  # Beside the model all that trainings save: nested, with sets, tuples, other classes.
  model = torch.nn.Sequential(*[torch.nn.Linear(8, 8) for _ in range(50)])
  optimiser = torch.optim.AdamW(model.parameters())
  model(torch.ones(1, 8)).sum().backward()
  optimiser.step()
  path = tmp_path / 'x.pth'
  torch.save(
    {
      'model': model.state_dict(),
      'optimizer': optimiser.state_dict(),
      'losses': list(np.linspace(1, 0, 20_000)),
      'merges': {('a', 'b'): 1, (('a', 'b'), 'c'): 2},
      'seen': {1, 2},
      'args': argparse.Namespace(lr=0.1),
      'counts': collections.Counter('abc'),
    },
    path,
  )
  found, _ = read_torch(path)
  for name, wanted in model.state_dict().items():
    np.testing.assert_array_equal(found['model'][name].read(), wanted.numpy())
  assert found['merges'][('a', 'b'), 'c'] == 2 and len(found['losses']) == 20_000


def test_a_tensor_that_repeats_one_number_is_read_if_it_is_small(torch, tmp_path):
  torch.save({'a': torch.ones(1).expand(100, 100)}, tmp_path / 'x.pth')
  np.testing.assert_array_equal(
    read_torch(tmp_path / 'x.pth')[0]['a'].read(), np.ones((100, 100))
  )


def test_a_storage_that_is_shorter_than_said(tmp_path):
  """The tensor would reach beyond what was read, into other memory."""
  path = tmp_path / 'x.pth'
  write_torch(path, {'a': np.ones(1 << 20, 'f4')})
  stored = read_torch(path)[0]['a']
  write_torch(path, {'a': np.ones(4, 'f4')})
  with pytest.raises(REFUSED, match='changed while it was read'):
    stored.read()
  with zipfile.ZipFile(path, 'w') as file:
    file.writestr('archive/other', '')
  with pytest.raises(REFUSED, match='damaged'):
    stored.read()
