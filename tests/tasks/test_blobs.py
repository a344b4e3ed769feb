import gc
import warnings

import numpy as np
import pytest

from mvp_jax.tasks import Task, load_blobs, load_result, run_tasks
from mvp_jax.tasks import blobs as module
from mvp_jax.tasks.blobs import Blobs

PIECES = [b'one', b'', b'twenty' * 20, b'x']


@pytest.fixture(params=[1 << 20, 1], ids=['in memory', 'on disk'])
def blobs(request, monkeypatch):
  monkeypatch.setattr(module, '_IN_MEMORY', request.param)
  monkeypatch.setattr(module, '_PIECE', 7)
  found = Blobs()
  for piece in PIECES:
    found.append(piece)
  return found


def assert_is_the_list(blobs):
  assert list(blobs) == PIECES and len(blobs) == len(PIECES)
  assert blobs[-1] == b'x' and blobs[1:3] == PIECES[1:3] and blobs[2:9] == PIECES[2:]
  with pytest.raises(IndexError):
    blobs[len(PIECES)]
  np.testing.assert_array_equal(blobs.ends, [3, 3, 123, 124])


def test_is_a_list(blobs):
  assert_is_the_list(blobs)
  blobs.append(b'more')  # after reading
  assert blobs[3:] == [b'x', b'more']


def test_is_kept_in_a_result(blobs, tmp_path):
  arrays = {'a': np.arange(3), 'blob': blobs, 'z': np.array(['text'])}
  task = Task('name', (arrays,), ())
  assert run_tasks(dict, [task], tmp_path, 'Doing', 'things', 1) == [None]
  with load_result(tmp_path, 'name') as arrays:  # as NumPy reads it
    assert arrays['blob'].tobytes() == b''.join(PIECES)
    assert arrays['a'].tolist() == [0, 1, 2] and arrays['z'].tolist() == ['text']
  assert_is_the_list(load_blobs(tmp_path, 'name', 'blob', blobs.ends))


def test_nothing_in_it():
  assert list(Blobs()) == [] and Blobs().ends.shape == (0,)


def test_a_part_is_a_list_that_is_not_in_memory(blobs, tmp_path):
  part = blobs.part(1, 4)
  assert isinstance(part, Blobs) and list(part) == PIECES[1:] and part.size == 121
  assert list(part.part(1, 2)) == PIECES[2:3] and list(blobs.part(2, 2)) == []
  np.testing.assert_array_equal(part.ends, [0, 120, 121])
  run_tasks(dict, [Task('name', ({'blob': part},), ())], tmp_path, 'Doing', 'things', 1)
  kept = load_blobs(tmp_path, 'name', 'blob', part.ends)
  part = kept.part(1, 3)
  del kept  # the file stays open as long as a part of it is there
  assert list(part) == PIECES[2:]


def test_in_a_cycle_its_file_is_closed_too(blobs, tmp_path):
  run_tasks(
    dict, [Task('name', ({'blob': blobs},), ())], tmp_path, 'Doing', 'things', 1
  )
  cycle = [load_blobs(tmp_path, 'name', 'blob', blobs.ends).part(1, 3)]
  gc.collect()  # what stays is put into another order: the file before its owner
  cycle.append(cycle)
  with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter('always')
    del cycle
    gc.collect()
  assert not found
