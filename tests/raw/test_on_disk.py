import os
import unicodedata

import pytest

from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped
from mvp_jax.raw.on_disk import files_below, require_file, require_names, shown
from mvp_jax.raw.openface import read_openface
from mvp_jax.raw.signal_files import read_channel

_LFS = b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n'
_PAGE = b'\xef\xbb\xbf\n<!-- saved --><!DOCTYPE html>\n<html><head></head></html>'


def told(path, what='video'):
  with pytest.raises(Dropped) as error:
    require_file(path, what)
  assert '\n' not in error.value.reason and error.value.reason.isprintable()
  assert error.value.reason.startswith(shown(path))
  return error.value.code, error.value.reason.removeprefix(f'{shown(path)}: ')


def test_what_is_saved_in_place_of_a_file(tmp_path):
  path = tmp_path / 'a.mp4'
  for content, match in (
    (_LFS, 'a pointer of Git LFS (66 bytes), not the file; run git lfs pull'),
    (_PAGE, 'a web page saved under this name, not the file; download it again'),
    (_PAGE.upper(), 'a web page'),
    (b'', 'it is empty (0 bytes)'),
  ):
    path.write_bytes(content)
    code, reason = told(path)
    assert code == 'broken_video' and reason.startswith(match)
  for content in (b'<x, y\n1,2', b'EDA,html\n', b'version 1\n'):
    path.write_bytes(content)
    require_file(path, 'video')


@pytest.mark.parametrize('content', [_LFS, _PAGE])
def test_signals_and_action_units_are_looked_at_as_well(tmp_path, content):
  for name in ('a.csv', 'a.edf', 'a.mat'):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Dropped, match='broken_signals.*(Git LFS|web page)'):
      read_channel(tmp_path / name, 'EDA', 4)
  with pytest.raises(Dropped, match='broken_openface.*(Git LFS|web page)'):
    read_openface(tmp_path / 'a.csv')


def test_links_that_lead_nowhere(tmp_path):
  (tmp_path / 'a.mp4').symlink_to('/disk/a.mp4')
  (tmp_path / 'P01').symlink_to('/disk/P01')
  assert told(tmp_path / 'a.mp4') == (
    'missing_video',
    'a link to /disk/a.mp4, which is not there; mount that disk, or put the file '
    'itself there',
  )
  code, reason = told(tmp_path / 'P01' / 'b.csv', 'signals')
  assert code == 'missing_signals'
  assert reason.startswith(f'{tmp_path}/P01 is a link to /disk/P01, which is not there')
  with pytest.raises(Dropped, match='missing_signals.*a link to /disk/P01'):
    read_channel(tmp_path / 'P01', 'EDA', 4)


def test_a_name_that_is_spelt_alike(tmp_path):
  composed, parted = (unicodedata.normalize(form, 'Zoë') for form in ('NFC', 'NFD'))
  (tmp_path / f'{parted}.mp4').touch()
  (tmp_path / 'Clip.MP4').touch()
  (tmp_path / composed.upper()).mkdir()
  _, reason = told(tmp_path / f'{composed}.mp4')
  assert reason == (
    r"no such file; there is one spelt alike, 'Zoe\u0308.mp4': its letters with "
    'accents are decomposed, those of the name given are composed; rename it, or copy '
    'its name'
  )
  _, reason = told(tmp_path / 'clip.mp4')
  assert reason == 'no such file; there is one spelt alike, Clip.MP4; name it so'
  _, reason = told(tmp_path / composed / 'a.mp4')
  assert reason == 'no such folder Zoë; there is one spelt alike, ZOË; name it so'
  assert told(tmp_path / 'Clips.MP4')[1] == 'no such file, is it Clip.MP4?'
  assert told(tmp_path / composed.upper())[1].startswith('a folder')


def test_names_that_are_not_utf_8(tmp_path):
  for name in (b'Zo\xeb.mp4', b'J\x94rg.mp4'):  # Latin-1 and DOS
    (tmp_path / os.fsdecode(name)).touch()
  for name, found in (('Zoë.mp4', r'Zo\xeb.mp4'), ('Jörg.mp4', r'J\x94rg.mp4')):
    code, reason = told(tmp_path / name)
    assert code == 'missing_video'
    assert f'there is one spelt alike, {found}, whose name is not UTF-8' in reason
  with pytest.raises(InputError) as error:
    require_names(tmp_path, [p.relative_to(tmp_path) for p in files_below(tmp_path)])
  assert 'and 1 more: the name is not UTF-8; rename it' in str(error.value)
  assert str(error.value).isprintable()


@pytest.mark.skipif(not os.geteuid(), reason='root may read everything')
def test_a_folder_that_cannot_be_opened(tmp_path):
  (tmp_path / 'a').mkdir(mode=0)
  with pytest.raises(InputError, match='a: cannot be opened'):
    list(files_below(tmp_path))


def test_every_file_of_linked_folders_once(tmp_path):
  (tmp_path / 'there').mkdir()
  (tmp_path / 'there' / 'b.mp4').touch()
  root = tmp_path / 'root'
  (root / '.hidden').mkdir(parents=True)
  (root / '.hidden' / 'c.mp4').touch()
  (root / 'a.mp4').touch()
  (root / 'link').symlink_to(tmp_path / 'there')
  (root / 'lost').symlink_to('/nowhere')
  found = [path.relative_to(root).as_posix() for path in files_below(root)]
  assert found == ['a.mp4', 'lost', 'link/b.mp4']
  (root / 'again').symlink_to(tmp_path / 'there')
  with pytest.raises(InputError, match='link: the same folder as .*again'):
    list(files_below(root))
  (root / 'again').unlink()
  (root / 'ring').symlink_to(root)
  with pytest.raises(InputError, match='ring: the same folder as .*root; take the li'):
    list(files_below(root))
