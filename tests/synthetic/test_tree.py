"""A twin's files: whole or not there, and written anew where they are not."""

import dataclasses

import pytest

from mvp_jax.errors import InputError
from mvp_jax.synthetic.tree import MARKER, require_whole, write_twin


@dataclasses.dataclass(frozen=True)
class Spec:
  subjects: int = 2


def _write(path, spec, subject):
  path.write_text(f'subject {subject}')


def _jobs(root, spec):
  return [(_write, root / f'{i}.txt', (i,)) for i in range(spec.subjects)]


@pytest.fixture
def twin(tmp_path):
  root = tmp_path / 'twin'
  write_twin(root, Spec(), 'corpus', _jobs, {'ceiling': 1}, 1)
  return root


def _again(root):
  write_twin(root, Spec(), 'corpus', _jobs, {'ceiling': 1}, 1)


def test_a_file_that_was_lost_is_written_anew(twin):
  wanted = {path.name: path.read_bytes() for path in twin.iterdir()}
  assert [*wanted] and MARKER in wanted and f'{MARKER}.begun' not in wanted
  (twin / '1.txt').unlink()
  with pytest.raises(InputError, match=r'1\.txt: is missing; run the same command'):
    require_whole(twin)
  _again(twin)
  require_whole(twin)
  assert {path.name: path.read_bytes() for path in twin.iterdir()} == wanted


def test_a_damaged_file_is_named_with_what_mends_it(twin):
  (twin / '0.txt').write_text('subject 1')
  with pytest.raises(InputError, match=r'0\.txt: is not what was written; delete it'):
    require_whole(twin)
  (twin / '0.txt').unlink()
  _again(twin)
  require_whole(twin)
  marker = twin / MARKER
  marker.write_text(marker.read_text().replace('"ceiling": 1', '"ceiling": 7'))
  with pytest.raises(InputError, match='SYNTHETIC.json: is not .*; delete the folder'):
    require_whole(twin)


def test_one_that_was_killed_before_it_was_sealed_is_gone_on_with(twin):
  (twin / 'checksums.json').unlink()
  (twin / MARKER).rename(twin / f'{MARKER}.begun')
  _again(twin)
  require_whole(twin)
  assert (twin / 'checksums.json').exists()


def test_real_data_are_no_twin(tmp_path):
  (tmp_path / 'checksums.json').write_text('{"a": "of the official distribution"}')
  require_whole(tmp_path)
