import os
import pickle

import numpy as np
import pytest

from mvp_jax.errors import InputError
from mvp_jax.raw.unpickle import load_arrays


class Attack:
  def __init__(self, command):
    self.command = command

  def __reduce__(self):
    return os.system, (self.command,)


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
def test_refuses_to_run_code(tmp_path, protocol):
  path, victim = tmp_path / 's01.dat', tmp_path / 'victim'
  content = {'data': Attack(f'touch {victim}'), 'labels': np.zeros(3)}
  path.write_bytes(pickle.dumps(content, protocol))
  with pytest.raises(InputError, match=r's01\.dat.*(posix|nt)\.system'):
    load_arrays(path)
  assert not victim.exists()


@pytest.mark.parametrize(
  'name',
  [
    b'numpy\nload',
    b'numpy.core.multiarray\nfromfile',
    b'builtins\neval',
    b'__builtin__\neval',
    b'numpy\nndarray.tofile',
    b'_codecs\nlookup',
  ],
)
def test_refuses_any_other_name(tmp_path, name):
  path = tmp_path / 's01.dat'
  path.write_bytes(b'\x80\x02c' + name + b'\n.')
  with pytest.raises(InputError, match=name.decode().replace('\n', '.')):
    load_arrays(path)


def test_refuses_a_codec_that_would_be_imported(tmp_path):
  path = tmp_path / 's01.dat'
  path.write_bytes(b'\x80\x02c_codecs\nencode\n(U\x01aU\x05rot13tR.')
  with pytest.raises(ValueError, match='codec'):
    load_arrays(path)


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_reads_what_python_3_wrote(tmp_path, protocol):
  path = tmp_path / 's01.dat'
  data = np.linspace(-3, 250, 24).reshape(2, 3, 4)
  path.write_bytes(pickle.dumps({'data': data, 'labels': data[0]}, protocol))
  found = load_arrays(path)
  np.testing.assert_array_equal(found['data'], data)
  np.testing.assert_array_equal(found['labels'], data[0])


def test_reads_what_python_2_wrote(tmp_path, write_python2_pickle):
  path = tmp_path / 's01.dat'
  data = np.linspace(-3, 250, 24).reshape(2, 3, 4)
  write_python2_pickle(path, {'labels': data[0], 'data': data})
  np.testing.assert_array_equal(load_arrays(path)['data'], data)


def test_truncated_or_no_pickle_is_a_value_error(tmp_path):
  path = tmp_path / 's01.dat'
  whole = pickle.dumps({'data': np.zeros(1000)}, 2)
  for content in (whole[:-20], whole[:300], b'', b'PK\x03\x04 a zip'):
    path.write_bytes(content)
    with pytest.raises(ValueError, match='.'):
      load_arrays(path)


@pytest.mark.parametrize('protocol', [4, 5])
def test_however_an_array_lies_in_memory(tmp_path, protocol):
  path, data = tmp_path / 's01.dat', np.arange(24.0).reshape(2, 3, 4)
  arrays = [
    np.asfortranarray(data),
    data.transpose(1, 0, 2),
    data[::2, ::-1],
    data.astype('>f4'),
    np.zeros((0, 3)),
  ]
  path.write_bytes(pickle.dumps(arrays, protocol))
  for found, array in zip(load_arrays(path), arrays, strict=True):
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize('protocol', [2, 4, 5])
@pytest.mark.parametrize('kind', [b'O8', b'V8', b'S8'])
def test_bytes_are_never_taken_for_objects(tmp_path, protocol, kind):
  path = tmp_path / 's01.dat'
  path.write_bytes(pickle.dumps(np.zeros(1), protocol).replace(b'f8', kind))
  with pytest.raises(ValueError, match='not of numbers'):
    load_arrays(path)
