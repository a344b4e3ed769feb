"""Files that are made to hang a reader or to fill the memory: refused, or read."""

import tracemalloc

import numpy as np
import pytest

from mvp_jax.raw.unpickle import load_arrays
from tests.raw.hostile_files import EDA, FILES, FILES_H5, READ, READERS, REFUSED

# Slow to write; benchmarks/hostile_files.py has them all.
_SLOW = (
  *('mat_3gb', 'npz_3gb', 'npz_lzma', 'npz_members', 'csv_one_line', 'csv_blank'),
  *('csv_digits', 'csv_number', 'manifest_line', 'openface_line', 'video_wide'),
  *('png_10000', 'h5_chunk'),
)
_MOST = 64 << 20  # bytes


@pytest.mark.parametrize('name', [name for name in FILES if name not in _SLOW])
def test_refused_in_one_line_before_memory_is_taken(name, tmp_path):
  refused_or_read(*FILES[name], tmp_path)


@pytest.mark.parametrize('name', [name for name in FILES_H5 if name not in _SLOW])
def test_matlab_7_3(name, tmp_path):
  pytest.importorskip('h5py')
  refused_or_read(*FILES_H5[name], tmp_path)


def refused_or_read(write, wanted, folder):
  reader, path, *args = write(folder)
  tracemalloc.start()
  try:
    if wanted == READ:
      READERS[reader](path, *args)
    else:
      with pytest.raises(REFUSED) as error:
        READERS[reader](path, *args)
      text = str(error.value.args[-1])
      assert wanted in text and str(path) in text and '\n' not in text
    assert tracemalloc.get_traced_memory()[1] < _MOST
  finally:
    tracemalloc.stop()


@pytest.mark.parametrize('name', ['mat_beside', 'npz_beside', 'npz_pictures'])
def test_what_is_not_asked_for_is_not_read(name, tmp_path):
  reader, *args = FILES[name][0](tmp_path)
  np.testing.assert_array_equal(READERS[reader](*args).values, EDA)


def test_a_wfdb_signal_without_a_description(tmp_path):
  # As WFDB's own library in C names it.
  _, path, *_ = FILES['wfdb_bare'][0](tmp_path)
  found = READERS['channel'](path, 'record r, signal 0', None)
  np.testing.assert_allclose(found.values, np.round(EDA * 1000) / 200)
  assert found.rate == pytest.approx(100) and found.unit == 'mV'


def test_a_list_that_is_there_twice_is_one(tmp_path):
  path = tmp_path / 's01.dat'
  path.write_bytes(b'\x80\x02](]q\x00h\x00e.')
  first, second = load_arrays(path)
  assert first == [] and first is second
