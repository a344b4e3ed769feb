"""Files that are not what was written are found."""

import pytest

from mvp_jax.checksums import FILE, damage, is_text, require_texts, seal
from mvp_jax.errors import InputError


@pytest.fixture
def folder(tmp_path):
  (tmp_path / 'below').mkdir()
  for name in ('a.json', 'below/b.csv', 'c.bin'):
    (tmp_path / name).write_bytes(name.encode())
  seal(tmp_path)
  return tmp_path


def test_whole_files_and_later_ones_are_no_damage(folder):
  (folder / 'later.json').write_text('{}')
  assert damage(folder) == {}


def test_each_damaged_file_is_named(folder):
  (folder / 'a.json').write_bytes(b'a.jsoN')
  (folder / 'below/b.csv').unlink()
  assert damage(folder) == {
    'a.json': 'is not what was written',
    'below/b.csv': 'is missing',
  }


@pytest.mark.parametrize('content', [b'{"a', b'[1]', b'\xff'])
def test_damaged_checksums_are_named(folder, content):
  (folder / FILE).write_bytes(content)
  assert list(damage(folder)) == [FILE]


def test_only_what_counts_is_sealed(tmp_path):
  for name in ('a.json', 'b.bin'):
    (tmp_path / name).write_bytes(b'1')
  seal(tmp_path, lambda name: name.endswith('.json'))
  (tmp_path / 'b.bin').write_bytes(b'2')
  assert damage(tmp_path) == {}


def test_a_damaged_text_of_prepared_data_is_one_line(folder):
  seal(folder, is_text)
  require_texts(folder)
  (folder / 'below/b.csv').write_bytes(b'')
  with pytest.raises(InputError, match='b.csv: is not what was written; delete the'):
    require_texts(folder)


def test_data_without_checksums_are_believed(folder):
  (folder / FILE).unlink()
  require_texts(folder)
