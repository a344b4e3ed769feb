"""The archive's files, and all that may be wrong with them."""

import shutil

import numpy as np
import pytest

from mvp_jax.corpora.unbc import tree as unbc
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped

_NAME = 'll042t1aaaff'
_ZERO = '   0.0000000e+00\n'


def _sequence(root, person='042-ll042', name=_NAME, labels=(0, 0, 3), first=1):
  """A sequence of pictures that nobody opens, with labels and no action units."""
  images = root / 'Images' / person / name
  pains = root / 'Frame_Labels' / 'PSPI' / person / name
  for folder in (images, pains):
    folder.mkdir(parents=True, exist_ok=True)
  for number, value in enumerate(labels, start=first):
    (images / f'{name}{number:03}.png').touch()
    (pains / f'{name}{number:03}_facs.txt').write_text(f'   {value:.7e}\n')
  return pains


def test_sequences_of_people(tmp_path):
  for person, name in (('042-ll042', _NAME), ('042-ll042', 'll042t2aaaff')):
    _sequence(tmp_path, person, name)
  _sequence(tmp_path, '107-hs107', 'hs107t1aaaff')
  (tmp_path / 'Images' / '.DS_Store').touch()
  found = unbc.find_tree(tmp_path).sequences
  assert [(s.trial_id, s.subject, s.trial, s.person) for s in found] == [
    (_NAME, 42, 1, '042-ll042'),
    ('ll042t2aaaff', 42, 2, '042-ll042'),
    ('hs107t1aaaff', 107, 1, '107-hs107'),
  ]
  assert [*found[0].image_files()[0]] == [1, 2, 3] and found[0].facs is None


@pytest.mark.parametrize(
  'moves',
  [
    [('Images', 'Images/Images'), ('Frame_Labels', 'Frame_Labels/Frame_Labels')],
    [('Images', 'a/b/Images'), ('Frame_Labels', 'a/Frame_Labels')],
    [('Frame_Labels/PSPI', 'Frame_Labels/PSPI/PSPI')],
    [('Images/042-ll042', 'Images/042-ll042/042-ll042')],
    [(f'Images/042-ll042/{_NAME}', f'Images/042-ll042/{_NAME}/{_NAME}')],
  ],
)
def test_folders_that_are_nested_twice(tmp_path, moves):
  root = tmp_path / 'root'
  _sequence(root)
  for source, target in moves:
    aside = tmp_path / 'aside'
    (root / source).rename(aside)
    (root / target).parent.mkdir(parents=True, exist_ok=True)
    aside.rename(root / target)
  (sequence,) = unbc.find_tree(root).sequences
  assert [*sequence.image_files()[0]] == [*sequence.label_files()[0]] == [1, 2, 3]


def test_what_lacks_pictures_or_labels_is_listed_too(tmp_path):
  _sequence(tmp_path)
  _sequence(tmp_path, name='ll042t1abaff')
  _sequence(tmp_path, name='ll042t1acaff')
  shutil.rmtree(tmp_path / 'Images' / '042-ll042' / _NAME)
  shutil.rmtree(tmp_path / 'Frame_Labels' / 'PSPI' / '042-ll042' / 'll042t1abaff')
  first, second, whole = unbc.find_tree(tmp_path).sequences
  assert first.images is None and second.labels is None
  assert whole.images and whole.labels
  with pytest.raises(Dropped) as raised:
    unbc.read_labels(second)
  assert raised.value.code == 'missing_rating'
  assert 'll042t1abaff: no folder Frame_Labels/PSPI' in raised.value.reason


def test_numbers_are_those_of_the_names(tmp_path):
  labels = _sequence(tmp_path, labels=(0, 1, 2, 16), first=98)
  (labels / f'{_NAME}099_facs.txt').unlink()
  (labels / 'readme.txt').write_text('pain')
  (sequence,) = unbc.find_tree(tmp_path).sequences
  numbers, values, notes = unbc.read_labels(sequence)
  assert numbers.tolist() == [98, 100, 101] and values.tolist() == [0, 2, 16]
  assert notes == ['1 files of labels are of no frame and are not read: readme.txt']


@pytest.mark.parametrize(
  ('text', 'code', 'message'),
  [
    ('', 'missing_rating', 'it is empty'),
    ('1.0 2.0\n', 'bad_rating', "'1.0 2.0' is not one number"),
    ('1\n2\n', 'bad_rating', 'is not one number'),
    ('1,5\n', 'bad_rating', "'1,5' is not one number with a decimal point"),
    ('nan\n', 'bad_rating', 'nan is not from 0 to 16'),
    ('17\n', 'bad_rating', '17 is not from 0 to 16'),
    ('pain\n', 'bad_rating', "'pain' is not one number"),
  ],
)
def test_what_is_wrong_with_a_label_is_said(tmp_path, text, code, message):
  path = _sequence(tmp_path) / f'{_NAME}002_facs.txt'
  path.write_text(text)
  (sequence,) = unbc.find_tree(tmp_path).sequences
  with pytest.raises(Dropped) as raised:
    unbc.read_labels(sequence)
  assert raised.value.code == code
  assert message in raised.value.reason and str(path) in raised.value.reason
  assert '\n' not in raised.value.reason


def test_two_labels_of_a_frame(tmp_path):
  path = _sequence(tmp_path) / f'{_NAME}1_facs.txt'
  path.write_text(_ZERO)
  (sequence,) = unbc.find_tree(tmp_path).sequences
  with pytest.raises(Dropped, match='a second file of frame 1') as raised:
    unbc.read_labels(sequence)
  assert raised.value.code == 'bad_rating'


def test_action_units_and_the_pain_that_follows(tmp_path):
  _sequence(tmp_path)
  folder = tmp_path / 'Frame_Labels' / 'FACS' / '042-ll042' / _NAME
  folder.mkdir(parents=True)
  (folder / f'{_NAME}001_facs.txt').write_text('')
  rows = ((4, 3), (6, 2), (7, 4), (9, 1), (43, 'nan'), (32, 2))
  text = ''.join(
    f'   {unit:.1e}   {value}   0.0e+00   0.0e+00\n' for unit, value in rows
  )
  (folder / f'{_NAME}002_facs.txt').write_text(text)
  (sequence,) = unbc.find_tree(tmp_path).sequences
  units, notes = unbc.read_facs(sequence, range(1, 4))
  assert not units[0].any() and np.isnan(units[2]).all()
  assert dict(zip(unbc.UNITS, units[1].tolist(), strict=True)) == {
    **dict.fromkeys(unbc.UNITS, 0),
    **{4: 3, 6: 2, 7: 4, 9: 1, 43: 1},
  }
  assert unbc.pspi(units[1]) == 3 + 4 + 1 + 1
  assert notes == ['AU32 are coded and not stored']
  (folder / f'{_NAME}003_facs.txt').write_text('4,0 3,0\n')
  with pytest.raises(Dropped, match=r"003_facs.txt, line 1: '4,0 3,0' does not begin"):
    unbc.read_facs(sequence, range(1, 4))


def test_the_highest_pain_is_sixteen():
  assert unbc.pspi(np.full(len(unbc.UNITS), 5.0)) == unbc.HIGHEST


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda root: shutil.rmtree(root / 'Images'), 'does not hold UNBC-McMaster: no Im'),
    (lambda root: shutil.rmtree(root / 'Frame_Labels'), 'no Frame_Labels/PSPI, nor'),
    (lambda root: _sequence(root, 'new', 'a'), 'new is no folder of a person, such as'),
    (lambda root: _sequence(root, '42-x', 'a'), '042-ll042 and 42-x have one number'),
    (
      lambda root: _sequence(root, '43-x'),
      f'{_NAME} is a sequence of 042-ll042 and of',
    ),
  ],
)
def test_folders_that_cannot_be(tmp_path, change, message):
  _sequence(tmp_path)
  change(tmp_path)
  with pytest.raises(InputError, match=message):
    unbc.find_tree(tmp_path)
