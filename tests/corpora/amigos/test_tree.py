"""Where the files of AMIGOS lie, and which trials should be there."""

import json
import os

import pytest

from mvp_jax.corpora.amigos import tree as amigos
from mvp_jax.corpora.amigos.ratings import read_sheets
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped


def touch(root, *names):
  for name in names:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def find(root, experiment='short', video=True):
  return amigos.find_tree(root, experiment, video)


@pytest.mark.parametrize(
  'mat, video',
  [
    ('Data_Preprocessed_P07.mat', 'Exp1_P07_face/P7_4_face.mov'),
    (
      'Data_Preprocessed_P07/Data_Preprocessed_P07.mat',
      'Exp1_P07_face/P07_04_face.mov',
    ),
    ('a/b/data_preprocessed_p7.mat', 'videos/Exp1_P7_face/P07_4_face.MOV'),
    ('Data_Preprocessed_P7.mat', 'P7_4_face.mp4'),
  ],
)
def test_names_padded_or_not_wherever_they_lie(tmp_path, mat, video):
  touch(tmp_path, mat, video, 'Exp1_P07_face/._P7_4_face.mov', '__x/._P7_4_face.mov')
  tree = find(tmp_path)
  assert {s: p.as_posix() for s, p in tree.signals.items()} == {7: mat}
  assert tree.videos == {(7, '4'): amigos.FaceVideo(video)}
  assert tree.videos[7, '4'].region == (0, 1)


@pytest.mark.parametrize(
  'name',
  [
    'P(7,1,32,16)_N1_face.mov',
    'P(07, 01, 32, 16)_n1_face.mov',
    'P(7_1_32_16)_N1_face.mov',
  ],
)
def test_a_group_sits_from_left_to_right(tmp_path, name):
  path = f'Exp2_L20_Group_face/{name}'
  touch(tmp_path, 'Data_Preprocessed_P01.mat', path)
  videos = find(tmp_path, 'long').videos
  assert set(videos) == {(7, 'N1'), (1, 'N1'), (32, 'N1'), (16, 'N1')}
  assert videos[7, 'N1'].region == (0, 0.25) and videos[7, 'N1'].path == path
  assert videos[1, 'N1'].region == (0.25, 0.5)
  assert videos[32, 'N1'].region == (0.5, 0.75)
  assert videos[16, 'N1'].region == (0.75, 1)


def test_what_is_there_twice(tmp_path):
  touch(tmp_path, 'Data_Preprocessed_P01.mat', 'P1_4_face.mov', 'a/P01_4_face.mov')
  with pytest.raises(InputError, match=r'P1_4_face\.mov and a/P01_4_face\.mov.*keep'):
    find(tmp_path)
  (tmp_path / 'P1_4_face.mov').unlink()
  touch(tmp_path, 'b/Data_Preprocessed_P1.mat')
  with pytest.raises(InputError, match='of the same participant'):
    find(tmp_path)


def test_a_folder_without_amigos(tmp_path):
  with pytest.raises(InputError, match='no such folder'):
    find(tmp_path / 'nowhere')
  with pytest.raises(InputError, match='no Data_Preprocessed_PXX.*point manual_dir'):
    find(tmp_path)
  touch(tmp_path, 'Data_Preprocessed.zip')
  with pytest.raises(InputError, match=r'unpack Data_Preprocessed\.zip'):
    find(tmp_path)
  touch(tmp_path, 'Data_Preprocessed_P01.mat', 'P1_4_face.mov', 'P1_N1_body.mov')
  assert not find(tmp_path, video=False).videos
  with pytest.raises(InputError, match=r'no face video of the long .* P1_N1_face\.mov'):
    find(tmp_path, 'long')


def trials(tmp_path, experiment='short', **options):
  touch(tmp_path, 'Data_Preprocessed_P01.mat')
  tree = find(tmp_path, video=False)
  return amigos.list_trials(tree, experiment, **options)


def test_numbers_of_the_official_distribution(tmp_path):
  short = trials(tmp_path)
  assert len(short) == 640 and len({trial.trial_id for trial in short}) == 640
  assert len(trials(tmp_path, exclude=amigos.USUAL_EXCLUSION)) == 528
  assert (short[0].trial_id, short[0].trial, short[0].stimulus) == ('P01_4', 1, 1)
  assert (short[-1].trial_id, short[-1].stimulus) == ('P40_138', 16)
  assert [trial.trial_id for trial in short if trial.is_odd] == [
    'P11_18',
    'P13_58',
    'P39_10',
  ]


def test_who_watched_the_long_stimuli(tmp_path):
  long = trials(tmp_path, 'long', annotation=('external',))
  subjects = {trial.subject for trial in long}
  assert len(subjects) == 37 and not subjects & {8, 24, 28} and len(long) == 148
  assert long[0].stimulus == 17
  rated = trials(tmp_path, 'long', annotation=('self', 'external'))
  assert subjects - {trial.subject for trial in rated} == {32}


def test_nobody_left(tmp_path):
  with pytest.raises(InputError, match='exclude: leaves none of the 40'):
    trials(tmp_path, exclude=range(1, 41))


def test_a_twin_says_what_it_has(tmp_path):
  marker = tmp_path / 'SYNTHETIC.json'
  marker.write_text(json.dumps({'subjects': 2, 'seconds': {'5': 60, 'N1': 90}}))
  assert [trial.trial_id for trial in trials(tmp_path)] == ['P01_5', 'P02_5']
  assert [trial.trial_id for trial in trials(tmp_path, 'long')] == ['P01_N1', 'P02_N1']
  marker.write_text(json.dumps({'subjects': 2, 'seconds': {'5': 60}}))
  with pytest.raises(InputError, match='no long stimuli'):
    trials(tmp_path, 'long')
  for content, told in ((b'{}', 'needs the number'), (b'{', 'not JSON')):
    marker.write_bytes(content)
    with pytest.raises(InputError, match=told):
      trials(tmp_path)


def test_tables_of_personality_and_panas(tmp_path):
  touch(tmp_path, 'Data_Preprocessed_P01.mat', 'Participant_PANAS.xlsx')
  (tmp_path / 'Participant_Personality.csv').write_text(
    '\ufeffName,Participant ID ,Extroversion,Note\nx,P01, 4.5,tall\ny,12,,7\n,mean,3,\n'
  )
  (tmp_path / 'panas_short.csv').write_text('UserID,PA,NA\n1,30,inf\n')
  tree = find(tmp_path, video=False)
  assert read_sheets(tree) == {'1': {'Extroversion': 4.5, 'PA': 30}, '12': {'Note': 7}}
  assert tree.unread == ('Participant_PANAS.xlsx',)
  (tmp_path / 'panas_short.csv').write_text('PA,NA\n1,2\n')
  with pytest.raises(InputError, match=r'panas_short\.csv: no column "Participant"'):
    read_sheets(find(tmp_path, video=False))
  (tmp_path / 'panas_short.csv').write_bytes(b'PA\xff\n')
  with pytest.raises(InputError, match=r'panas_short\.csv: cannot be read'):
    read_sheets(find(tmp_path, video=False))


def test_fingerprint_follows_the_source(tmp_path):
  def fingerprint():
    tree = find(tmp_path)
    return amigos.fingerprint(tree, amigos.list_trials(tree, 'short'))

  mat, video = tmp_path / 'Data_Preprocessed_P01.mat', tmp_path / 'P1_4_face.mov'
  touch(tmp_path, mat.name, video.name)
  seen = [fingerprint()]
  assert fingerprint() == seen[0]
  for path, content in (
    (mat, b'written on Monday'),
    (mat, b'written on Sunday'),
    (video, b'x'),
    (tmp_path / 'panas.csv', b'id,PA\n1,2\n'),
    (tmp_path / 'SYNTHETIC.json', b'{"subjects": 1, "seconds": {"4": 9}}'),
  ):
    path.write_bytes(content)
    seen.append(fingerprint())
  assert len(set(seen)) == 6


def test_links_and_names_that_lead_nowhere(tmp_path):
  touch(tmp_path, 'Data_Preprocessed_P07.mat', 'Exp1_P07_face/P7_4_face.mov')
  link = tmp_path / 'Exp1_P08_face'
  link.symlink_to('/disk/Exp1_P08_face')
  with pytest.raises(InputError, match='Exp1_P08_face: a link to /disk/Exp1_P08_face'):
    find(tmp_path)
  link.unlink()
  folder = tmp_path / os.fsdecode(b'Pers\xf6nlich')
  touch(folder, 'P8_4_face.mov')
  with pytest.raises(
    InputError, match=r'Pers\\xf6nlich/P8_4_face.mov: the name is not'
  ):
    find(tmp_path)
  (folder / 'P8_4_face.mov').unlink()
  link = tmp_path / 'Data_Preprocessed_P08.mat'
  link.symlink_to('/disk/P08.mat')
  tree = find(tmp_path)
  assert amigos.fingerprint(tree, amigos.list_trials(tree, 'short'))
  with pytest.raises(Dropped, match='missing_signals.*a link to /disk/P08.mat'):
    amigos.read_mat(link)
  link.unlink()
  link.write_text('<html>Log in</html>')
  with pytest.raises(Dropped, match='broken_signals.*a web page'):
    amigos.read_mat(link)
