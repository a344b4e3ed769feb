"""Aff-Wild2's files, and all that may be wrong with them."""

import numpy as np
import pytest

from mvp_jax.corpora.affwild2 import tree as affwild2
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped

_GOOD = 'valence,arousal\n0.5,-0.25\n-5,-5\n0.1,0.2\n'


@pytest.fixture
def root(tmp_path):
  """Three annotated clips in two videos, and a test set of placeholders."""
  annotations = tmp_path / 'annotations' / 'VA_Estimation_Challenge'
  for folder, names in (
    ('Train_Set', ('7-60-1920x1080_left', '7-60-1920x1080_right')),
    ('Validation_Set', ('video3',)),
    ('Test_Set', ('video9',)),
  ):
    (annotations / folder).mkdir(parents=True)
    for name in names:
      text = _GOOD if folder != 'Test_Set' else 'valence,arousal\n0.5,-0.5\n'
      (annotations / folder / f'{name}.txt').write_text(text)
      (tmp_path / 'cropped_aligned' / name).mkdir(parents=True)
  for path in ('batch1/7-60-1920x1080.mp4', 'new_vids/video3.avi', 'batch2/video9.mp4'):
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).touch()
  return tmp_path


def test_two_people_of_a_video_are_on_one_side_and_placeholders_are_no_labels(root):
  tree = affwild2.find_tree(root)
  left, right, alone = tree.clips
  assert (left.side, right.side, alone.side) == ('left', 'right', '')
  assert left.subject == right.subject != alone.subject
  assert (left.trial, right.trial) == (1, 2)
  assert left.video == right.video == root / 'batch1' / '7-60-1920x1080.mp4'
  assert (left.part, alone.part) == ('train', 'validation')
  assert tree.strangers == ('video9',)  # its annotation is never opened
  assert not any('Test_Set' in str(clip.annotation) for clip in tree.clips)


def test_minus_five_in_either_is_no_rating(tmp_path):
  path = tmp_path / 'a.txt'
  path.write_text('valence,arousal\n0.5,-0.25\n-5,0.3\n0.4,-5\n-1,1\n\n')
  values, rated = affwild2.read_annotation(path)
  assert rated.tolist() == [True, False, False, True]
  np.testing.assert_array_equal(values[rated], np.float32([[0.5, -0.25], [-1, 1]]))


def test_columns_go_by_their_names(tmp_path):
  path = tmp_path / 'a.txt'
  path.write_text('\ufeffArousal, Valence\r\n0.5,-0.25\r\n')
  values, _ = affwild2.read_annotation(path)
  np.testing.assert_array_equal(values, np.float32([[-0.25, 0.5]]))


@pytest.mark.parametrize(
  ('text', 'code', 'message'),
  [
    ('', 'missing_rating', 'no frame in it'),
    ('valence,arousal\n', 'missing_rating', 'no frame in it'),
    ('valence,arousal\n-5,-5\n', 'missing_rating', 'all 1 frames are unrated'),
    ('0.1,0.2\n0.1,0.2\n', 'bad_rating', "first line is '0.1,0.2', not valence"),
    ('valence,arousal\n0.1;0.2\n', 'bad_rating', "line 2: '0.1;0.2' is not two"),
    ('valence,arousal\n0,1,0,2\n', 'bad_rating', "line 2: '0,1,0,2' is not two"),
    ('valence,arousal\n0,0\n1.2,0\n', 'bad_rating', 'line 3: 1.2,0 is neither from'),
    ('valence,arousal\n0,nan\n', 'bad_rating', 'line 2: 0,nan is neither from'),
  ],
)
def test_what_is_wrong_with_an_annotation_is_said(tmp_path, text, code, message):
  path = tmp_path / 'a.txt'
  path.write_text(text)
  with pytest.raises(Dropped) as raised:
    affwild2.read_annotation(path)
  assert raised.value.code == code
  assert message in raised.value.reason and str(path) in raised.value.reason


def test_what_macos_adds_to_zips_is_passed_over(root):
  shadow = root / '__MACOSX' / 'VA_Estimation_Challenge' / 'Train_Set'
  shadow.mkdir(parents=True)
  (shadow / '._video3.txt').write_bytes(b'\0\5\x16\7')
  folder = root / 'annotations' / 'VA_Estimation_Challenge' / 'Train_Set'
  (folder / '._7-60-1920x1080_left.txt').write_bytes(b'\0\5\x16\7')
  assert len(affwild2.find_tree(root).clips) == 3


def test_a_folder_that_is_not_aff_wild2(tmp_path):
  with pytest.raises(InputError, match='does not hold Aff-Wild2: no VA_Estimation'):
    affwild2.find_tree(tmp_path)


def test_two_videos_of_one_name(root):
  (root / 'batch2' / 'video3.mp4').touch()
  with pytest.raises(InputError, match='a second video of this name'):
    affwild2.find_tree(root)


def test_a_clip_that_is_in_both_parts(root):
  folder = root / 'annotations' / 'VA_Estimation_Challenge'
  (folder / 'Train_Set' / 'video3.txt').write_text(_GOOD)
  with pytest.raises(InputError, match='annotated in both parts'):
    affwild2.find_tree(root)
