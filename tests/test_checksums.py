"""Files that are not what was written are found."""

import pytest

from mvp_jax.checksums import (
  FILE,
  damage,
  is_text,
  made_once,
  require,
  require_texts,
  seal,
  whole,
)
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


def test_what_is_damaged_or_not_known_to_be_whole_is_made_anew(folder, capsys):
  (folder / 'a.json').write_bytes(b'a.jsoN')
  (folder / 'later.bin').write_bytes(b'killed before it was sealed')
  (folder / '.c.part.bin').write_bytes(b'of a run that is at it')
  assert [*whole(folder, lambda name: True)] == ['below/b.csv', 'c.bin']
  assert not (folder / 'a.json').exists() and not (folder / 'later.bin').exists()
  assert (folder / '.c.part.bin').exists()
  said = capsys.readouterr().err
  assert said == f'{folder / "a.json"}: is not what was written; it is made anew\n'


def test_what_is_known_is_not_read_again(folder):
  sums = seal(folder)
  (folder / 'd.bin').write_bytes(b'd')
  (folder / 'c.bin').write_bytes(b'not read')
  again = seal(folder, known=sums)
  assert again == sums | {'d.bin': again['d.bin']}
  assert damage(folder) == {'c.bin': 'is not what was written'}


def test_one_file_of_a_sealed_folder_is_required(folder):
  (folder / 'c.bin').write_bytes(b'C')
  require(folder, 'a.json', 'make it anew')
  with pytest.raises(
    InputError, match=r'c\.bin: is not what was written; make it anew'
  ):
    require(folder, 'c.bin', 'make it anew')
  (folder / FILE).write_text('{')
  with pytest.raises(InputError, match='checksums.json: cannot be read'):
    require(folder, 'a.json', 'make it anew')
  with pytest.raises(InputError, match='checksums.json: cannot be read'):
    require_texts(folder)


def test_a_file_is_made_once_while_it_is_whole(tmp_path, capsys):
  path, made = tmp_path / 'new' / 'x.json', []

  def make():
    made.append(path)
    path.write_text('[1]')

  for _ in range(2):
    made_once(path, 'making it', make)
  assert len(made) == 1
  path.write_text('[2]')
  made_once(path, 'making it', make)
  assert len(made) == 2 and path.read_text() == '[1]'
  assert 'x.json: is not what was written; it is made anew' in capsys.readouterr().err


def test_files_of_one_folder_are_made_once_each(tmp_path, capsys):
  made = []

  def ask(name):
    path = tmp_path / name

    def make():
      made.append(name)
      path.write_text(name)

    made_once(path, 'making it', make)

  for name in 'abab':
    ask(name)
  assert made == ['a', 'b']
  (tmp_path / 'a').write_text('x')
  for name in 'bab':
    ask(name)
  assert made == ['a', 'b', 'a']
  assert 'a: is not what was written' in capsys.readouterr().err
