"""Files as SciPy writes them, and every way to damage one."""

import struct

import numpy as np
import pytest
from scipy.io import savemat

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
    'doubles': rng.normal(size=(40, 17)), 'cube': rng.normal(size=(2, 3, 4)),
    'single': np.float32(rng.normal(size=(3, 1))),
    'whole': np.arange(-4, 5).reshape(3, 3),
    'bytes': np.arange(6, dtype=np.uint8).reshape(1, 6), 'one': np.array([[7.25]]),
    'nothing': np.zeros((1, 0)), 'nan': np.array([[np.nan, np.inf]])}
  savemat(tmp_path / 'x.mat', numbers | {
    'text': 'N1', 'empty': '', 'struct': {'a': 1}, 'cells': cells(
      (2, 2), 'B1', np.ones((2, 5)), cells((1, 1), 'inner'), np.zeros((0, 0)))},
    do_compression=compressed)
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
  with pytest.raises(ValueError, match='other than numbers, text and cells'):
    read_mat(tmp_path / 'x.mat', {'struct'})


def test_big_endian_as_old_machines_wrote_it(tmp_path):
  def element(kind, payload):
    return struct.pack('>II', kind, len(payload)) + payload + bytes(-len(payload) % 8)

  matrix = (element(6, struct.pack('>II', 6, 0)) + element(5, struct.pack('>ii', 1, 2))
            + struct.pack('>HH4s', 1, 1, b'x') + element(9, struct.pack('>2d', 1, -2)))
  path = tmp_path / 'x.mat'
  path.write_bytes(b'MATLAB 5.0'.ljust(124) + b'\x01\x00MI' + element(14, matrix))
  assert read_mat(path, {'x'})['x'].tolist() == [[1, -2]]


@pytest.mark.parametrize('compressed', [False, True])
def test_a_damaged_file_is_a_value_error_and_nothing_worse(tmp_path, compressed):
  path = tmp_path / 'x.mat'
  savemat(path, {'x': cells((1, 3), 'N1', np.ones((5, 5)), np.zeros((1, 0)))},
          do_compression=compressed)
  whole = path.read_bytes()
  for size in range(len(whole)):
    if size == 128:  # a file without variables
      continue
    path.write_bytes(whole[:size])
    with pytest.raises(ValueError):
      read_mat(path, {'x'})
  rng = np.random.default_rng(0)
  refused = 0
  for _ in range(400):
    damaged = bytearray(whole)
    for place in 128 + rng.choice(len(whole) - 128, rng.integers(1, 9), replace=False):
      damaged[place] ^= int(rng.integers(1, 256))
    path.write_bytes(damaged)
    try:
      read_mat(path, {'x'})
    except ValueError:
      refused += 1
  # Of compressed files the checksum finds everything, of others only what it must.
  assert refused == 400 if compressed else refused > 100


@pytest.mark.parametrize('head, told', [
  (b'MATLAB 7.3 MAT-file'.ljust(124) + b'\x00\x02IM', 'MATLAB 7.3 file; save it'),
  (b'\x89HDF\r\n\x1a\n', 'MATLAB 7.3 file'), (b'', 'no MATLAB file'),
  (b'PK\x03\x04', 'no MATLAB file')])
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
  path.write_bytes(content.replace(shape, struct.pack('<ii', 2 ** 30, 2 ** 30)))
  with pytest.raises(ValueError, match='cells in'):
    read_mat(path, {'x'})
