"""Compiled programs that are not what was written are not run."""

import jax
import pytest

from mvp_jax import compiled


@pytest.fixture
def folder(tmp_path):
  before = jax.config.jax_compilation_cache_dir
  yield tmp_path / 'compiled'
  jax.config.update('jax_compilation_cache_dir', before)


def test_what_is_damaged_or_was_not_sealed_is_compiled_anew(folder, capsys):
  compiled.use(folder)
  for name in ('a-cache', 'b-cache'):
    (folder / name).write_bytes(name.encode())
  compiled.seal()
  (folder / 'c-cache').write_bytes(b'of a run that was killed')
  (folder / 'b-cache').write_bytes(b'B-cache')
  compiled.use(folder)
  assert [path.name for path in folder.glob('*-cache')] == ['a-cache']
  (line,) = capsys.readouterr().err.splitlines()
  assert line == f'{folder}/b-cache: is not what was written; it is compiled anew'


def test_a_cache_of_others_is_left_alone(folder):
  folder.mkdir()
  jax.config.update('jax_compilation_cache_dir', str(folder))
  compiled.seal()
  assert not [*folder.iterdir()]
