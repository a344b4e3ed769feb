"""Files as SciPy writes them, and every way to damage one."""

import struct

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from scipy.sparse import csc_array

from mvp_jax.raw.matfile import read_mat


def cells(shape, *values):
  array = np.empty(len(values), object)
  for i, value in enumerate(values):
    array[i] = value
  return array.reshape(shape)


@pytest.mark.parametrize('compressed', [False, True])
def test_what_scipy_writes_is_what_is_read(tmp_path, compressed):
  rng = np.random.default_rng(0)
  numbers = {
    'doubles': rng.normal(size=(40, 17)),
    'cube': rng.normal(size=(2, 3, 4)),
    'single': np.float32(rng.normal(size=(3, 1))),
    'whole': np.arange(-4, 5).reshape(3, 3),
    'bytes': np.arange(6, dtype=np.uint8).reshape(1, 6),
    'one': np.array([[7.25]]),
    'nothing': np.zeros((1, 0)),
    'nan': np.array([[np.nan, np.inf]]),
  }
  savemat(
    tmp_path / 'x.mat',
    numbers
    | {
      'text': 'N1',
      'empty': '',
      'struct': {'a': 1},
      'cells': cells(
        (2, 2), 'B1', np.ones((2, 5)), cells((1, 1), 'inner'), np.zeros((0, 0))
      ),
    },
    do_compression=compressed,
  )
  found = read_mat(tmp_path / 'x.mat', {*numbers, 'text', 'empty', 'cells', 'absent'})
  assert set(found) == {*numbers, 'text', 'empty', 'cells'}
  for name, value in numbers.items():
    assert found[name].dtype == np.float64
    np.testing.assert_array_equal(found[name], value, err_msg=name)
  assert (found['text'], found['empty']) == ('N1', '')
  assert found['cells'].shape == (2, 2) and found['cells'][0, 0] == 'B1'
  np.testing.assert_array_equal(found['cells'][0, 1], np.ones((2, 5)))
  assert found['cells'][1, 0][0, 0] == 'inner'
  assert found['cells'][1, 1].shape == (0, 0)
  assert read_mat(tmp_path / 'x.mat', {'struct'})['struct']['a'].tolist() == [[1]]
  assert read_mat(tmp_path / 'x.mat').keys() == found.keys() | {'struct'}


def test_structs(tmp_path):
  rng = np.random.default_rng(0)
  eda, ecg = rng.normal(size=(50, 1)), rng.normal(size=(2, 40))
  content = {
    'rec': {'eda': eda, 'deep': {'ecg': ecg, 'who': 'P01'}, 'empty': {}},
    'many': np.array([[(1.0, 'a')], [(2.0, 'b')]], [('x', object), ('name', object)]),
  }
  savemat(tmp_path / 'x.mat', content)
  found = read_mat(tmp_path / 'x.mat')
  reference = loadmat(tmp_path / 'x.mat')
  np.testing.assert_array_equal(found['rec']['eda'], eda)
  np.testing.assert_array_equal(found['rec']['deep']['ecg'], ecg)
  np.testing.assert_array_equal(reference['rec']['eda'][0, 0], found['rec']['eda'])
  assert found['rec']['deep']['who'] == 'P01' and list(found['rec']) == [
    'eda',
    'deep',
    'empty',
  ]
  assert found['many'].shape == reference['many'].shape == (2, 1)
  assert [one['name'] for one in found['many'].ravel()] == ['a', 'b']
  assert [one['x'].item() for one in found['many'].ravel()] == [1, 2]


def test_what_is_not_read_is_passed_over_or_refused_by_name(tmp_path):
  savemat(
    tmp_path / 'x.mat',
    {
      'sparse': csc_array(np.eye(3)),
      'rec': {'eda': np.ones((5, 1)), 'map': csc_array(np.eye(2))},
    },
  )
  found = read_mat(tmp_path / 'x.mat')
  assert list(found) == ['rec'] and found['rec']['map'] is None
  assert found['rec']['eda'].shape == (5, 1)
  with pytest.raises(ValueError, match='other than numbers, text, cells and structs'):
    read_mat(tmp_path / 'x.mat', {'sparse'})


def test_objects_have_no_shape(tmp_path):
  def element(kind, payload):
    return struct.pack('<II', kind, len(payload)) + payload + bytes(-len(payload) % 8)

  # As MATLAB stores a string or a table: array flags of class 17, three names.
  opaque = (
    element(6, struct.pack('<II', 17, 0))
    + element(1, b'when')
    + element(1, b'MCOS')
    + element(1, b'datetime')
  )
  savemat(tmp_path / 'x.mat', {'eda': np.ones((1, 4))})
  with (tmp_path / 'x.mat').open('ab') as file:
    file.write(element(14, opaque))
  assert list(read_mat(tmp_path / 'x.mat')) == ['eda']
  with pytest.raises(ValueError, match='other than numbers'):
    read_mat(tmp_path / 'x.mat', {'when'})


def test_cells_within_cells_without_an_end(tmp_path):
  def element(kind, payload):
    return struct.pack('<II', kind, len(payload)) + payload + bytes(-len(payload) % 8)

  head = (
    element(6, struct.pack('<II', 1, 0))
    + element(5, struct.pack('<ii', 1, 1))
    + element(1, b'x')
  )
  inner = b''
  for _ in range(2000):
    inner = element(14, head + inner if inner else b'')
  path = tmp_path / 'x.mat'
  path.write_bytes(b'MATLAB 5.0'.ljust(124) + b'\x00\x01IM' + inner)
  with pytest.raises(ValueError, match='without an end'):
    read_mat(path)


def test_big_endian_as_old_machines_wrote_it(tmp_path):
  def element(kind, payload):
    return struct.pack('>II', kind, len(payload)) + payload + bytes(-len(payload) % 8)

  matrix = (
    element(6, struct.pack('>II', 6, 0))
    + element(5, struct.pack('>ii', 1, 2))
    + struct.pack('>HH4s', 1, 1, b'x')
    + element(9, struct.pack('>2d', 1, -2))
  )
  path = tmp_path / 'x.mat'
  path.write_bytes(b'MATLAB 5.0'.ljust(124) + b'\x01\x00MI' + element(14, matrix))
  assert read_mat(path, {'x'})['x'].tolist() == [[1, -2]]


@pytest.mark.parametrize('compressed', [False, True])
def test_a_damaged_file_is_a_value_error_and_nothing_worse(tmp_path, compressed):
  path = tmp_path / 'x.mat'
  savemat(
    path,
    {
      'x': cells((1, 3), 'N1', np.ones((5, 5)), np.zeros((1, 0))),
      'rec': {'eda': np.ones((3, 1)), 'name': 'y'},
    },
    do_compression=compressed,
  )
  whole = path.read_bytes()
  ends = [128]  # a file without variables
  for _ in range(2):  # and one without the second
    ends.append(ends[-1] + 8 + struct.unpack_from('<I', whole, ends[-1] + 4)[0])
  assert ends.pop() == len(whole)
  for size in range(len(whole)):
    if size in ends:
      continue
    path.write_bytes(whole[:size])
    with pytest.raises(ValueError):
      read_mat(path)
  rng = np.random.default_rng(0)
  refused = 0
  for _ in range(400):
    damaged = bytearray(whole)
    for place in 128 + rng.choice(len(whole) - 128, rng.integers(1, 9), replace=False):
      damaged[place] ^= int(rng.integers(1, 256))
    path.write_bytes(damaged)
    try:
      read_mat(path)
    except ValueError:
      refused += 1
  # Of compressed files the checksum finds everything, of others only what it must.
  assert refused == 400 if compressed else refused > 100


@pytest.mark.parametrize(
  'head, told',
  [
    (b'MATLAB 7.3 MAT-file'.ljust(124) + b'\x00\x02IM', 'MATLAB 7.3 file; save it'),
    (b'\x89HDF\r\n\x1a\n', 'MATLAB 7.3 file'),
    (b'', 'no MATLAB file of version 5; save it with -v7'),
    (b'PK\x03\x04', 'no MATLAB file'),
  ],
)
def test_files_of_other_kinds(tmp_path, head, told):
  (tmp_path / 'x.mat').write_bytes(head.ljust(300, b'\x00') if head else b'')
  with pytest.raises(ValueError, match=told):
    read_mat(tmp_path / 'x.mat', {'x'})


def test_more_cells_than_bytes(tmp_path):
  path = tmp_path / 'x.mat'
  savemat(path, {'x': cells((1, 3), 'a', 'b', 'c')})
  content = path.read_bytes()
  shape = struct.pack('<ii', 1, 3)
  assert content.count(shape) == 1
  path.write_bytes(content.replace(shape, struct.pack('<ii', 2**30, 2**30)))
  with pytest.raises(ValueError, match='cells in'):
    read_mat(path, {'x'})
