"""RECOLA's files: who is there, and who belongs to whom."""

import pytest

from mvp_jax.corpora.recola import tree as recola
from mvp_jax.errors import InputError

_STREAMS = ('video', 'audio', 'signals')


@pytest.fixture
def root(tmp_path):
  """Four people in two pairs, one without biosignals, a folder deeper."""
  root = tmp_path / 'RECOLA'
  for number in (16, 17, 19, 21):
    names = [
      f'RECOLA-Video-recordings/P{number}.mp4',
      f'RECOLA-Audio-recordings/P{number}.wav',
      *(f'RECOLA-Annotation/emotional_behaviour/{x}/P{number}.csv' for x in _RATINGS),
      *([f'RECOLA-Biosignals-recordings/P{number}.csv'] if number != 17 else []),
    ]
    for name in names:
      (root / name).parent.mkdir(parents=True, exist_ok=True)
      (root / name).touch()
  _pairs(root).parent.mkdir()
  _pairs(root).write_text(_PAIRS)
  return tmp_path


_RATINGS = 'valence', 'arousal'
_PAIRS = (
  'User ;Group_id ;Age\n16;1;20\n17;1;21\n19;7;22\n21;7;23\n99;8;20\n;;\nAll;;21\n'
)


def _pairs(root):
  return root / 'RECOLA-Metadata' / 'recola_user_info.csv'


def test_a_pair_is_one_subject(root):
  people = recola.find_tree(root, _STREAMS).people
  assert [p.trial_id for p in people] == ['P16', 'P17', 'P19', 'P21']
  assert [p.subject for p in people] == [1, 1, 2, 2]
  assert [p.trial for p in people] == [1, 2, 1, 2]
  assert [p.group for p in people] == ['1', '1', '7', '7']
  assert [p.biosignals is None for p in people] == [False, True, False, False]


@pytest.mark.parametrize(
  'text',
  [
    _PAIRS.replace(';', ','),
    _PAIRS.replace('16;1;', 'P16;1;').replace('17;1;', 'P17;1;'),
    _PAIRS.replace('16;1;', '16.0;1.0;'),  # as pandas writes it
    '\ufeffsep=;\r\n' + _PAIRS.replace('\n', '\r\n'),
  ],
)
def test_the_metadata_as_a_spreadsheet_saves_them(root, text):
  _pairs(root / 'RECOLA').write_text(text)
  people = recola.find_tree(root, _STREAMS).people
  assert [p.subject for p in people] == [1, 1, 2, 2]


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('', 'must name User and Group_id; it has nothing'),
    ('User;Age\n16;20\n', 'must name User and Group_id; it has user, age'),
    (_PAIRS.replace('17;1;21\n', ''), 'no Group_id of P17, so whose pair it is'),
    (_PAIRS.replace(';7;', ';;'), 'no Group_id of P19, P21, so whose pair they are'),
    (_PAIRS + '16;3;20\n', 'line 9: P16 is in group 3 and, above, in 1'),
  ],
)
def test_a_pair_that_is_left_open_is_said(root, text, message):
  _pairs(root / 'RECOLA').write_text(text)
  with pytest.raises(InputError) as raised:
    recola.find_tree(root, _STREAMS)
  assert message in str(raised.value) and 'recola_user_info.csv' in str(raised.value)
  assert '\n' not in str(raised.value)


def test_without_metadata_nobody_is_split(root):
  path = _pairs(root / 'RECOLA')
  path.unlink()
  with pytest.raises(InputError, match='must not be on both sides of a split'):
    recola.find_tree(root, _STREAMS)
  path.with_suffix('.xls').touch()
  with pytest.raises(InputError, match=r'a spreadsheet; save it as recola_user_info'):
    recola.find_tree(root, _STREAMS)


def test_who_is_not_annotated_is_there_to_be_lost_by_name(root):
  for name in _RATINGS:
    folder = root / 'RECOLA' / 'RECOLA-Annotation' / 'emotional_behaviour' / name
    (folder / 'P19.csv').unlink()
  person = recola.find_tree(root, _STREAMS).people[2]
  assert person.trial_id == 'P19' and person.valence is person.arousal is None


@pytest.mark.parametrize(
  ('folder', 'streams', 'message'),
  [
    ('RECOLA-Annotation', _STREAMS, 'does not hold RECOLA: no RECOLA-Annotation'),
    ('RECOLA-Annotation/emotional_behaviour/arousal', _STREAMS, 'no emotional_beh'),
    ('RECOLA-Video-recordings', _STREAMS, 'video is wanted; unpack it there'),
    ('RECOLA-Biosignals-recordings', _STREAMS, 'signals is wanted; unpack it there'),
  ],
)
def test_a_folder_that_is_wanted(root, folder, streams, message):
  (root / 'RECOLA' / folder).rename(root / 'elsewhere')
  with pytest.raises(InputError, match=message):
    recola.find_tree(root / 'RECOLA', streams)


def test_folders_that_are_not_needed(root):
  for name in ('RECOLA-Audio-recordings', 'RECOLA-Biosignals-recordings'):
    (root / 'RECOLA' / name).rename(root / name.lower())
  people = recola.find_tree(root / 'RECOLA', ('video', 'audio')).people
  assert all(p.audio is p.biosignals is None and p.video for p in people)


def test_two_files_of_one_person(root):
  (root / 'RECOLA' / 'RECOLA-Video-recordings' / 'P016.avi').touch()
  with pytest.raises(InputError, match='a second file of P16'):
    recola.find_tree(root, _STREAMS)


def test_what_macos_adds_to_zips_is_passed_over(root):
  (root / '__MACOSX' / 'RECOLA-Annotation' / 'valence').mkdir(parents=True)
  folder = root / 'RECOLA' / 'RECOLA-Video-recordings'
  (folder / '._P16.mp4').touch()
  assert len(recola.find_tree(root, _STREAMS).people) == 4
