"""The files of a twin of AMIGOS, read independently of the code that reads AMIGOS."""

import json
import re

import av
import numpy as np
import pytest
from scipy.io import loadmat
from scipy.signal import butter, find_peaks, sosfiltfilt

from mvp_jax.corpora.amigos import twin as amigos
from mvp_jax.corpora.amigos.twin import write_amigos_twin
from mvp_jax.corpora.amigos.twin_spec import LONG, SECONDS, SHORT, AmigosSpec
from mvp_jax.errors import InputError
from mvp_jax.synthetic import ratings, signals
from mvp_jax.synthetic.expression import expression
from mvp_jax.synthetic.face import face_frames

SPEC = AmigosSpec(
  subjects=5, stimuli=('58', '19', 'U1'), frame_rate=1.0, width=96, height=64, scale=0.1
)
LISTED = {'VideoIDs', 'joined_data', 'labels_selfassessment', 'labels_ext_annotation'}


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
  root = tmp_path_factory.mktemp('twin') / 'amigos'
  write_amigos_twin(root, SPEC, workers=1)
  return root


def _contents(root):
  return {
    path.relative_to(root).as_posix(): path.read_bytes()
    for path in root.rglob('*')
    if path.is_file()
  }


def _mat(root, subject):
  name = f'Data_Preprocessed_P{subject:02}'
  content = loadmat(root / name / f'{name}.mat')
  ids = [str(cell[0]) for cell in content['VideoIDs'][0]]
  return content, ids


def test_tree_holds_exactly_the_official_names(tree):
  expected = {'SYNTHETIC.json', 'checksums.json'}
  for s in range(1, 6):
    expected |= {
      f'Data_Preprocessed_P0{s}/Data_Preprocessed_P0{s}.mat',
      f'Exp1_P0{s}_face/P{s}_58_face.mov',
      f'Exp1_P0{s}_face/P{s}_19_face.mov',
    }
  expected |= {
    'Exp2_L01_Indiv_N05_face/P5_U1_face.mov',
    'Exp2_L02_Group_N(4,1,3,2)_face/P(4,1,3,2)_U1_face.mov',
  }
  expected |= {
    f'openface/{name.split("/")[1].removesuffix(".mov")}.csv'
    for name in expected
    if name.endswith('.mov')
  }
  assert set(_contents(tree)) == expected


def test_stimuli_are_as_long_as_published():
  assert len(SHORT) == 16 and len(LONG) == 4
  assert min(SECONDS[name] for name in SHORT) == 51
  assert max(SECONDS[name] for name in SHORT) == 150
  assert [SECONDS[name] for name in LONG] == [
    23 * 60 + 35,
    18 * 60 + 43,
    23 * 60 + 30,
    14 * 60 + 6,
  ]


def test_mat_is_as_documented(tree):
  orders = set()
  for subject in range(1, 6):
    content, ids = _mat(tree, subject)
    assert {name for name in content if name[0] != '_'} == LISTED
    assert all(content[name].shape == (1, 20) for name in LISTED)
    assert sorted(ids) == sorted(SECONDS)
    orders.add(tuple(ids))
    for place, name in enumerate(ids):
      data, told, seen = (
        content[key][0, place]
        for key in ('joined_data', 'labels_selfassessment', 'labels_ext_annotation')
      )
      if name not in SPEC.stimuli:
        assert data.size == 0 and told.shape == seen.shape == (1, 0)
        continue
      seconds = SECONDS[name] / 10
      assert data.shape == (640 + round(128 * seconds), 17)
      assert told.shape == (1, 12) and seen.shape == (int(seconds // 20) + 2, 3)
      trial = SPEC.stimuli.index(name)
      valence, arousal = ratings.ratings(SPEC, subject)[trial, :2]
      assert told[0, :2].tolist() == [arousal, valence]
      assert (told[0, :5] >= 1).all() and (told[0, :5] <= 9).all()
      assert set(told[0, 5:]) == {0, 1}
      assert seen[:, 0].tolist() == list(range(1, len(seen) + 1))
      np.testing.assert_allclose(
        seen[:, 1:].mean(0), [(valence - 5) / 5, (arousal - 5) / 5], atol=0.25
      )
      body = signals.simulate_body(SPEC.watching(trial + 1), subject, trial + 1)
      good = np.isfinite(data[:, 16])
      assert good.mean() > 0.9
      np.testing.assert_allclose(1000 / data[good, 16], body.eda[good])
      np.testing.assert_array_equal(data[:, 14:16], body.ecg)
  assert len(orders) == 5


def test_a_face_feels_nothing_before_the_onset_and_is_not_still():
  spec = AmigosSpec(stimuli=('58',), frame_rate=5.0, scale=0.4)
  scene = spec.watching(1)
  times = scene.frame_times
  assert times[0] == -5
  shown = [expression(scene, subject, 1) for subject in range(1, 41)]
  for name in ('smile', 'frown'):
    courses = np.stack([one[name] for one in shown])
    assert not courses[:, times < 2].any() and courses[:, times > 2].any()
  # What knows nothing of the stimulus is as frequent before as after.
  for name, rest in (('talk', 0), ('brow_raise', 0), ('eyes', 1)):
    courses = np.stack([one[name] for one in shown]) != rest
    before, after = courses[:, times < 0].mean(), courses[:, times >= 0].mean()
    assert 0.4 * after < before < 2 * after


def test_there_are_nans_in_the_eeg_and_moments_of_them_in_gsr():
  spec = AmigosSpec(scale=0.1)
  data = [amigos.joined_data(spec, 1, name) for name in SHORT]
  bad = np.array([np.isnan(x).mean(0) for x in data])
  assert (bad[:, :14] == 1).any() and not bad[:, 14:16].any()
  assert (bad[:, 16] > 0).any() and (bad[:, 16] < 0.1).all()


def test_beats_of_the_ecg_are_those_of_the_body():
  scene = AmigosSpec().watching(1)
  body = signals.simulate_body(scene, 1, 1)
  assert len(body.eda) == 640 + 96 * 128
  band = butter(2, [8, 25], 'bandpass', fs=128, output='sos')
  clean = sosfiltfilt(band, body.ecg[:, 0])
  peaks = find_peaks(clean, distance=40, height=4 * clean.std())[0] / 128 - 5
  true = body.beats - signals.PULSE_SECONDS
  assert np.median(abs(peaks[:, None] - true).min(0)) < 0.01


def test_video_begins_five_seconds_before_the_onset(tree):
  with av.open(str(tree / 'Exp1_P02_face/P2_19_face.mov')) as container:
    video = container.streams.video[0]
    count = sum(1 for _ in container.decode(video))
    assert 'mov' in container.format.name and video.codec.name == 'h264'
    assert (video.width, video.height, video.average_rate) == (96, 64, 1)
    assert count == round(5 + SECONDS['19'] / 10)
  assert SPEC.watching(2).frame_times[[0, 5]].tolist() == [-5, 0]


def test_a_group_sits_in_the_order_of_its_name(tree):
  (path,) = tree.glob('*Group*/*.mov')
  group = [int(n) for n in re.findall(r'\d+', path.name)[:4]]
  with av.open(str(path)) as container:
    image = next(container.decode(video=0)).to_ndarray(format='gray')
  assert image.shape == (64, 256)
  for seat, subject in enumerate(group):
    frames = face_frames(SPEC.watching(3, alone=False), subject, 3)
    # Against the planes of the drawing itself: full against limited range is fine.
    own = next(frames)[:64].astype(float)
    part = image[:, 64 * seat : 64 * seat + 64].astype(float)
    assert np.corrcoef(own.ravel(), part.ravel())[0, 1] > 0.97


def test_marker(tree):
  marker = json.loads((tree / 'SYNTHETIC.json').read_text())
  assert (marker['corpus'], marker['subjects']) == ('AMIGOS', 5)
  assert marker['seconds'] == {'58': 5.1015625, '19': 6.3984375, 'U1': 84.6015625}
  assert set(marker['ceiling']) == {'valence', 'arousal'}


def test_workers_do_not_change_the_files(tree, tmp_path):
  write_amigos_twin(tmp_path / 'again', SPEC, workers=2)
  assert _contents(tmp_path / 'again') == _contents(tree)


def test_others_data_and_other_twins_are_left_alone(tree, tmp_path):
  with pytest.raises(InputError, match='another spec'):
    write_amigos_twin(tree, AmigosSpec(subjects=4))
  (tmp_path / 'Data_Preprocessed_P01').mkdir()
  with pytest.raises(InputError, match='may be real'):
    write_amigos_twin(tmp_path, SPEC)


def test_who_has_what():
  spec = AmigosSpec(stimuli=('4', 'N1'))
  assert not any(spec.has(subject, 'N1') for subject in (8, 24, 28))
  assert spec.has(8, '4') and not spec.has(1, 'P1')
  together = [subject for group in spec.groups for subject in group]
  assert len(spec.groups) == 5 and len(set(together)) == 20
  assert not {8, 24, 28} & set(together)


@pytest.mark.parametrize(
  'field',
  [
    {'subjects': 41},
    {'subjects': 0},
    {'stimuli': ()},
    {'stimuli': ('4', '4')},
    {'stimuli': ('6',)},
    {'seed': -1},
    {'variant': 'real'},
    {'frame_rate': 0.0},
    {'width': 97},
    {'height': 66},
    {'scale': 0.0},
    {'scale': 2.0},
    {'subjects': 2.5},
  ],
)
def test_impossible_spec(field):
  with pytest.raises(InputError, match='twin: '):
    AmigosSpec(**field)
