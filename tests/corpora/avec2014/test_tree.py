"""AVEC's files, whose they are, and all that may be wrong with a label."""

import shutil

import pytest

from mvp_jax.corpora.avec2014.tree import find_tree, read_label
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped

_MEDIA = 'AVEC2014_AudioVisual'
_SESSIONS = {'203_1': 'Training', '203_2': 'Development', '205_1': 'Testing'}


def _touch(path, text=''):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  return path


@pytest.fixture
def root(tmp_path):
  """Three sessions of two people, the last of the test set and without label."""
  for name, part in _SESSIONS.items():
    for task in ('Freeform', 'Northwind'):
      for kind, ending in (('Video', 'video.mp4'), ('Audio', 'audio.wav')):
        folder = tmp_path / _MEDIA / kind / part / task
        _touch(folder / f'{name}_{task}_{ending}')
    if part != 'Testing':
      folder = tmp_path / 'Final_Labels' / f'{part}_DepressionLabels'
      _touch(folder / f'{name}_Depression.csv', '12\n')
  return tmp_path


def test_a_person_is_one_whatever_the_session_and_the_part(root):
  tree = find_tree(root)
  assert [r.trial_id for r in tree.recordings] == [
    *('203_1_Freeform', '203_1_Northwind', '203_2_Freeform', '203_2_Northwind'),
  ]
  assert [r.subject for r in tree.recordings] == [203] * 4
  assert [r.trial for r in tree.recordings] == [1, 2, 3, 4]
  assert [r.session for r in tree.recordings] == ['1', '1', '2', '2']
  assert [r.stimulus for r in tree.recordings] == [1, 2, 1, 2]
  assert [r.part for r in tree.recordings] == ['train'] * 2 + ['validation'] * 2
  assert tree.wanderers == {203: ('train', 'validation')}
  first, second = tree.recordings[:2]
  assert first.labels == second.labels and read_label(first) == 12
  assert first.video.name == '203_1_Freeform_video.mp4'
  assert second.audio.name == '203_1_Northwind_audio.wav'


def test_a_test_set_without_labels_is_told_and_not_read(root):
  assert find_tree(root).unlabelled == ('205_1_Freeform', '205_1_Northwind')
  # With a tree of its own for its labels it is there.
  _touch(root / 'Test_Labels' / 'Testing' / '205_1_Depression.csv', '31')
  tree = find_tree(root)
  assert not tree.unlabelled
  assert [read_label(r) for r in tree.recordings if r.part == 'test'] == [31, 31]


def test_folders_may_be_nested_twice_but_nothing_be_there_twice(root):
  (root / _MEDIA).rename(root / 'x')
  (root / 'x').rename(root / 'Final_Labels' / _MEDIA)
  (root / 'Final_Labels').rename(root / 'AVEC2014')
  assert len(find_tree(root).recordings) == 4
  shutil.copytree(root / 'AVEC2014', root / 'AVEC2014 (copy)')
  with pytest.raises(InputError) as raised:
    find_tree(root)
  told = str(raised.value)
  assert 'a second' in told and 'unpacked twice?' in told and '\n' not in told
  assert 'AVEC2014 (copy)' in told and 'keep one of them' in told


def test_what_macos_adds_to_zips_is_passed_over(root):
  _touch(root / '__MACOSX' / _MEDIA / '203_1_Freeform_video.mp4', 'x')
  _touch(root / _MEDIA / '._203_1_Freeform_video.mp4', 'x')
  assert len(find_tree(root).recordings) == 4


def test_media_of_other_names_are_told(root):
  _touch(root / _MEDIA / 'Video' / 'Training' / '203_1_Freeform_video (1).mp4')
  _touch(root / _MEDIA / 'Video' / 'Training' / '203_3_cut_video.mp4')  # of 2013
  tree = find_tree(root)
  assert set(tree.strangers) == {'203_1_Freeform_video (1).mp4', '203_3_cut_video.mp4'}


def test_avec_2013_has_whole_sessions(tmp_path):
  for name, part in _SESSIONS.items():
    _touch(tmp_path / 'Video' / part / f'{name}_cut_video.mp4')
    _touch(tmp_path / 'Audio' / part / f'{name}_cut_audio.wav')
    _touch(tmp_path / 'Labels' / part / f'{name}_Depression.csv', '7')
  tree = find_tree(tmp_path, 'avec2013')
  assert [r.trial_id for r in tree.recordings] == ['203_1', '203_2', '205_1']
  assert [r.trial for r in tree.recordings] == [1, 2, 1]
  assert {r.stimulus for r in tree.recordings} == {None}
  assert [r.part for r in tree.recordings] == ['train', 'validation', 'test']
  with pytest.raises(InputError, match='no 203_1_Freeform_video.mp4 .*another edition'):
    find_tree(tmp_path)


def test_a_folder_that_is_not_avec(tmp_path):
  with pytest.raises(InputError, match='does not hold avec2014: no 203_1_Freeform_vid'):
    find_tree(tmp_path)
  _touch(tmp_path / 'AVEC2014_AudioVisual.zip')
  with pytest.raises(InputError, match='unpack AVEC2014_AudioVisual.zip and the like'):
    find_tree(tmp_path)


def test_what_is_not_there_is_none(root):
  (root / _MEDIA / 'Audio' / 'Training' / 'Northwind').rename(root / 'away')
  for path in (root / 'away').iterdir():
    path.unlink()
  (
    root / _MEDIA / 'Video' / 'Training' / 'Northwind' / '203_1_Northwind_video.mp4'
  ).unlink()
  _touch(
    root / 'Final_Labels' / 'Training_DepressionLabels' / '209_1_Depression.csv', '3'
  )
  found = {r.trial_id: r for r in find_tree(root).recordings}
  lost = found['203_1_Northwind']
  assert (lost.video, lost.audio, lost.part) == (None, None, 'train')
  # A label without any recording is a session that is missing, not nothing.
  assert found['209_1_Freeform'].video is None
  assert found['209_1_Freeform'].part == 'train'


@pytest.mark.parametrize(
  ('text', 'code', 'message'),
  [
    ('', 'missing_rating', 'it is empty (0 bytes)'),
    (' \n', 'missing_rating', 'nothing in it'),
    (
      '12 13',
      'bad_rating',
      "'12 13' is more than one number, expected one bare number",
    ),
    ('12\n13\n', 'bad_rating', 'is more than one number'),
    ('12;13', 'bad_rating', "'12;13' is more than one number"),
    ('12,5', 'bad_rating', "'12,5' has a comma, expected one bare number from 0 to 63"),
    ('203_1,12', 'bad_rating', "'203_1,12' has a comma"),
    ('mild', 'bad_rating', "'mild' is no number"),
    ('64', 'bad_rating', '64 is out of range'),
    ('-1', 'bad_rating', '-1 is out of range'),
    ('nan', 'bad_rating', 'nan is out of range'),
    ('12.5', 'bad_rating', '12.5 is no whole number'),
  ],
)
def test_what_is_wrong_with_a_label_is_said(root, text, code, message):
  path = root / 'Final_Labels' / 'Training_DepressionLabels' / '203_1_Depression.csv'
  path.write_text(text)
  with pytest.raises(Dropped) as raised:
    read_label(find_tree(root).recordings[0])
  assert raised.value.code == code
  assert message in raised.value.reason and str(path) in raised.value.reason
  assert '\n' not in raised.value.reason


@pytest.mark.parametrize('text', ['12', '12.0\r\n', '\ufeff12\n'])
def test_one_bare_number_however_written(root, text):
  path = root / 'Final_Labels' / 'Training_DepressionLabels' / '203_1_Depression.csv'
  path.write_text(text, encoding='utf-8')
  assert read_label(find_tree(root).recordings[0]) == 12


def test_a_session_without_its_label_is_said(root):
  path = root / 'Final_Labels' / 'Training_DepressionLabels' / '203_1_Depression.csv'
  path.unlink()
  with pytest.raises(Dropped, match='no label 203_1_Depression.csv in any folder'):
    read_label(find_tree(root).recordings[0])


def test_two_labels_of_a_session_must_agree(root):
  _touch(root / 'Labels' / '203_1_Depression.csv', '12')
  assert read_label(find_tree(root).recordings[0]) == 12
  _touch(root / 'Labels' / '203_1_Depression.csv', '13')
  with pytest.raises(Dropped) as raised:
    read_label(find_tree(root).recordings[0])
  assert 'says 13, but' in raised.value.reason and 'says 12' in raised.value.reason
