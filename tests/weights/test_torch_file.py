"""PyTorch's files: the same numbers as PyTorch reads, and nothing is run."""

import argparse
import collections
import contextlib
import os
import pathlib
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest

from mvp_jax.errors import InputError
from mvp_jax.weights.sources import open_source
from mvp_jax.weights.torch_file import Stored, read_torch, write_torch


@pytest.fixture(scope='module')
def torch():
  return pytest.importorskip('torch', reason='PyTorch is in the test extra of 3.11')


def _tensors(torch):
  base = torch.arange(24.0)
  return {
    'strided': base.reshape(2, 3, 4).permute(2, 0, 1),
    'part': base[5:9],
    'every_other': base[1::2],
    'parameter': torch.nn.Parameter(base + 1),
    'repeated': torch.ones(1).expand(5),
    'scalar': torch.tensor(2.5),
    'none': torch.zeros(0, 3),
    **{
      kind: torch.tensor([1, 0, 3]).to(getattr(torch, kind))
      for kind in (
        'float16',
        'float32',
        'float64',
        'bfloat16',
        'int64',
        'int32',
        'int16',
        'int8',
        'uint8',
        'bool',
      )
    },
  }


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_tensors_are_as_torch_reads_them(torch, tmp_path, protocol):
  path = tmp_path / 'x.pth'
  torch.save(_tensors(torch), path, pickle_protocol=protocol)
  found, inert = read_torch(path)
  assert not inert
  for name, wanted in torch.load(path, weights_only=False).items():
    got = found[name].read()
    dtype = str(wanted.dtype).removeprefix('torch.')
    assert (found[name].shape, found[name].dtype) == (tuple(wanted.shape), dtype), name
    assert got.dtype.name == dtype
    np.testing.assert_array_equal(
      got.astype(np.float64), wanted.detach().double().numpy(), err_msg=name
    )
    assert got.flags.writeable


def test_other_objects_do_nothing_and_are_named(torch, tmp_path):
  path = tmp_path / 'x.pth'
  torch.save(
    {
      'model': collections.OrderedDict(a=torch.ones(2)),
      'epoch': 3,
      'args': argparse.Namespace(lr=np.float64(0.1), where=pathlib.Path('x')),
      'meters': collections.defaultdict(list, a=[1]),
      'seen': {1, 2},
      'device': torch.device('cpu'),
    },
    path,
  )
  found, inert = read_torch(path)
  assert found['epoch'] == 3
  np.testing.assert_array_equal(found['model']['a'].read(), [1, 1])
  assert {'argparse.Namespace', 'collections.defaultdict', 'torch.device'} <= set(inert)
  assert not isinstance(found['args'], argparse.Namespace)


class _Attack:
  def __init__(self, function, *args):
    self.call = function, args

  def __reduce__(self):
    return self.call


@pytest.mark.parametrize('protocol', [2, 4])
def test_code_is_not_run(torch, tmp_path, protocol):
  victim, path = tmp_path / 'victim', tmp_path / 'x.pth'
  torch.save(
    {
      'model': {'a': torch.ones(2)},
      'b': _Attack(os.system, f'touch {victim}'),
      'c': _Attack(eval, 'print(1)'),
      'd': _Attack(pathlib.Path.touch, victim),
    },
    path,
    pickle_protocol=protocol,
  )
  found, inert = read_torch(path)
  assert not victim.exists()
  assert f'{os.name}.system' in inert
  np.testing.assert_array_equal(found['model']['a'].read(), [1, 1])
  torch.load(path, weights_only=False)  # the attack is a real one
  assert victim.exists()


def _rewrite(path, change):
  """Writes a zip of torch.save anew with its pickle changed."""
  with zipfile.ZipFile(path) as file:
    entries = {name: file.read(name) for name in file.namelist()}
  with zipfile.ZipFile(path, 'w') as file:
    for name, data in entries.items():
      if name.endswith('/data.pkl'):
        data = change(data)
      file.writestr(name, data)


@pytest.mark.parametrize(
  'name',
  [
    b'torch\nFloatStorage',
    b'torch._utils\n_rebuild_tensor_v2',
    b'any\nthing',
    b'collections\nOrderedDict',
  ],
)
def test_one_file_cannot_change_how_the_next_is_read(tmp_path, name):
  path = tmp_path / 'x.pth'
  write_torch(path, {'a': np.ones(2, np.float32)})
  # BUILD with (None, {'dtype': 1}) sets an attribute of what stands for a name.
  _rewrite(
    path,
    lambda data: data[:-1] + (b'c' + name + b'\n(N}X\x05\x00\x00\x00dtypeK\x01stb0.'),
  )
  with contextlib.suppress(InputError):
    read_torch(path)
  write_torch(path, {'a': np.ones(2, np.float32)})
  np.testing.assert_array_equal(read_torch(path)[0]['a'].read(), [1, 1])
  assert not hasattr(collections.OrderedDict, 'dtype')


@pytest.mark.parametrize('name', [b'ccopy_reg\n_reconstructor\n', b'\x82\x01'])
def test_a_pickle_of_anything_else(tmp_path, name):
  path = tmp_path / 'x.pth'
  write_torch(path, {'a': np.ones(2, np.float32)})
  _rewrite(path, lambda data: b'\x80\x02' + name + b'.')
  with pytest.raises(InputError):
    open_source(path)


def test_any_change_to_the_pickle_is_read_or_refused(tmp_path):
  path = tmp_path / 'x.pth'
  write_torch(path, {'model': {'patch_embed.proj.weight': np.ones((2, 3), 'f4')}})
  whole, rng = path.read_bytes(), np.random.default_rng(0)
  for _ in range(300):
    path.write_bytes(whole)

    def change(data):
      data = bytearray(data)
      for at in rng.integers(0, len(data), 3):
        data[at] = rng.integers(0, 256)
      return bytes(data)

    _rewrite(path, change)
    with contextlib.suppress(InputError):
      open_source(path)


@pytest.mark.parametrize('put', [b'r\xff\xff\xff\x7f', b'p2147483647\n'])
def test_a_pickle_that_would_fill_the_memory(tmp_path, put):
  path = tmp_path / 'x.pth'
  write_torch(path, {'a': np.ones(2, np.float32)})
  _rewrite(path, lambda data: data[:3] + put + data[3:])
  with pytest.raises(InputError, match='PUT 2147483647'):
    read_torch(path)
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
    file.writestr('archive/data.pkl', bytes(1 << 20))
  with pytest.raises(InputError, match='is compressed'):
    read_torch(path)


def test_a_tensor_outside_its_storage(tmp_path):
  path = tmp_path / 'x.pth'
  write_torch(path, {'a': np.ones(6, np.float32)})
  for old, new in [(6, 7), (6, -6), (6, 1 << 40)]:
    shape, other = (
      b'(\x8a\x08' + n.to_bytes(8, 'little', signed=True) + b't' for n in (old, new)
    )
    bad = tmp_path / 'bad.pth'
    bad.write_bytes(path.read_bytes())
    _rewrite(bad, lambda data, a=shape, b=other: data.replace(a, b, 1))
    with pytest.raises(InputError, match='lies outside'):
      read_torch(bad)


def test_a_storage_of_another_size(tmp_path):
  path = tmp_path / 'x.pth'
  write_torch(path, {'a': np.ones(6, np.float32)})
  _rewrite(path, lambda data: data.replace(b'FloatStorage', b'DoubleStorage'))
  with pytest.raises(InputError, match='is 24 bytes, must be 48'):
    read_torch(path)


def test_cut_off_and_damaged_files(tmp_path):
  path, bad = tmp_path / 'x.pth', tmp_path / 'bad.pth'
  write_torch(path, {'model': {'patch_embed.proj.weight': np.ones(999, np.float32)}})
  whole = path.read_bytes()
  for length in (4, 100, len(whole) // 2, len(whole) - 1):
    bad.write_bytes(whole[:length])
    with pytest.raises(InputError, match=r'bad\.pth: is not a whole file') as error:
      open_source(bad)
    assert '\n' not in str(error.value)
  at = whole.index(np.ones(9, np.float32).tobytes()) + 8
  bad.write_bytes(whole[:at] + b'\xff' + whole[at + 1 :])
  with pytest.raises(InputError, match=r'bad\.pth: is damaged'):
    read_torch(bad)[0]['model']['patch_embed.proj.weight'].read()


def test_the_format_before_1_6(torch, tmp_path):
  path = tmp_path / 'old.pth'
  torch.save({'a': torch.ones(2)}, path, _use_new_zipfile_serialization=False)
  with pytest.raises(InputError, match=r'old\.pth: .* wrote before 1\.6') as error:
    open_source(path)
  assert '\n' not in str(error.value)
  path.write_bytes(pickle.dumps({'a': 1}))
  with pytest.raises(InputError, match='bare pickle'):
    open_source(path)


def test_what_is_written_torch_reads(torch, tmp_path):
  rng = np.random.default_rng(0)
  arrays = {
    'strided': rng.normal(size=(4, 3, 2)).astype(np.float32).T,
    'double': rng.normal(size=3),
    'half': np.float16([1.5]),
    'bfloat16': np.ones((2, 2), ml_dtypes.bfloat16),
    'empty': np.zeros((0, 2)),
    'scalar': np.asarray(3, np.int64),
    'flag': np.array([True, False]),
  }
  path = tmp_path / 'x.pth'
  write_torch(path, {'model': arrays})
  for mmap in (False, True):
    found = torch.load(path, weights_only=True, mmap=mmap)['model']
    assert list(found) == list(arrays)
    for name, x in arrays.items():
      assert str(found[name].dtype) == f'torch.{x.dtype.name}'
      np.testing.assert_array_equal(found[name].double().numpy(), x.astype(np.float64))


def test_what_is_written_is_read_back_without_torch(tmp_path):
  arrays = {'a': np.arange(6, dtype=np.float32).reshape(2, 3).T}
  write_torch(tmp_path / 'x.pth', arrays)
  found, inert = read_torch(tmp_path / 'x.pth')
  assert isinstance(found['a'], Stored) and not inert
  np.testing.assert_array_equal(found['a'].read(), arrays['a'])
