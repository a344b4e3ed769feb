"""What is in AMIGOS' `.mat` files, made here with SciPy alone."""

import numpy as np
import pytest
from scipy.io import savemat

from mvp_jax.corpora.amigos import ratings as amigos_ratings
from mvp_jax.corpora.amigos import tree as amigos
from mvp_jax.corpora.amigos import trials as amigos_trials
from mvp_jax.outcomes import Dropped

IDS = (*amigos.SHORT, *amigos.LONG)
NOTHING = np.zeros((1, 0))


def cells(values):
  row = np.empty((1, len(values)), object)
  for i, value in enumerate(values):
    row[0, i] = value
  return row


def write(path, order=IDS, samples=900, ids=None, **changes):
  """Data of stimulus k are all 100 k + column, its ratings k / 20."""
  numbers = [IDS.index(name) + 1 for name in order]
  content = {
    'VideoIDs': cells(list(ids or order)),
    'joined_data': cells(
      [np.tile(100.0 * k + np.arange(17), (samples, 1)) for k in numbers]
    ),
    'labels_selfassessment': cells([np.full((1, 12), k / 20) for k in numbers]),
    'labels_ext_annotation': cells([np.full((2, 3), k / 40) for k in numbers]),
  }
  content |= changes
  savemat(path, {k: v for k, v in content.items() if v is not None})
  return path


@pytest.mark.parametrize('seed', [0, 1])
def test_cells_are_found_by_their_id_whatever_their_order(tmp_path, seed):
  order = np.random.default_rng(seed).permutation(IDS).tolist()
  found = amigos.read_mat(write(tmp_path / 'x.mat', order))
  assert list(found) == order
  for k, name in enumerate(IDS, start=1):
    cell = found[name]
    np.testing.assert_array_equal(cell.joined_data[7], 100 * k + np.arange(17))
    np.testing.assert_array_equal(cell.self_assessment, np.full(12, k / 20))
    np.testing.assert_array_equal(cell.external, np.full((2, 3), k / 40))


@pytest.mark.parametrize(
  'written',
  [
    [4.0, 138, 'N1'],
    ['04', ' 138', 'n1 '],
    [cells(['4']), cells([138]), cells(['N1'])],
  ],
)
def test_ids_as_numbers_padded_or_in_cells_of_their_own(tmp_path, written):
  path = write(tmp_path / 'x.mat', ['4', '138', 'N1'], ids=written)
  assert list(amigos.read_mat(path)) == ['4', '138', 'N1']


def test_a_column_of_cells_is_as_good_as_a_row(tmp_path):
  path = write(tmp_path / 'x.mat', VideoIDs=cells(list(IDS)).T)
  assert list(amigos.read_mat(path)) == list(IDS)


@pytest.mark.parametrize(
  'changes, told',
  [
    ({'joined_data': None}, 'no joined_data in it'),
    (
      {'VideoIDs': None, 'labels_ext_annotation': None},
      'no VideoIDs, labels_ext_annotation',
    ),
    ({'VideoIDs': cells(['4', '4', *IDS[2:]])}, 'VideoID 4 comes twice'),
    (
      {'joined_data': cells([np.zeros((9, 17))] * 19)},
      r'joined_data \(1, 19\).*1 x 20',
    ),
    ({'VideoIDs': np.arange(20)}, r'VideoIDs \(1, 20\)'),
    ({'joined_data': np.zeros((20, 9, 17))}, r'joined_data \(20, 9, 17\)'),
    (
      {'labels_selfassessment': cells(['a'] * 20)},
      'VideoID 4 holds other than numbers',
    ),
  ],
)
def test_a_mat_of_another_kind_is_one_loss(tmp_path, changes, told):
  path = write(tmp_path / 'Data_Preprocessed_P01.mat', samples=9, **changes)
  with pytest.raises(Dropped, match=rf'broken_signals.*P01\.mat.*{told}') as error:
    amigos.read_mat(path)
  assert '\n' not in error.value.reason


def test_a_mat_that_is_none(tmp_path):
  path = tmp_path / 'x.mat'
  with pytest.raises(Dropped, match='missing_signals'):
    amigos.read_mat(path)
  whole = write(path, samples=9).read_bytes()
  path.write_bytes(b'MATLAB 7.3 MAT-file'.ljust(124) + b'\x00\x02IM' + bytes(400))
  with pytest.raises(Dropped, match='broken_signals.*7.3.*save it with -v7'):
    amigos.read_mat(path)
  rng = np.random.default_rng(0)
  for size in (0, 1, 100, 127, 128, 130, 150, 1000, len(whole) // 2, len(whole) - 1):
    path.write_bytes(whole[:size])
    with pytest.raises(Dropped, match='broken_signals'):
      amigos.read_mat(path)
  refused = 0
  for _ in range(60):  # bytes turned over: refused or read, never another error
    damaged = bytearray(whole)
    for place in rng.integers(128, len(whole), 20):
      damaged[place] ^= int(rng.integers(1, 256))
    path.write_bytes(damaged)
    try:
      amigos.read_mat(path)
    except Dropped as dropped:
      assert dropped.code == 'broken_signals' and '\n' not in dropped.reason
      refused += 1
  assert refused > 10


@pytest.mark.parametrize(
  'shape, code',
  [
    ((0, 0), 'missing_signals'),
    ((1, 0), 'missing_signals'),
    ((12640, 16), 'broken_signals'),
    ((17, 12640), 'broken_signals'),
    ((12640, 17, 1), 'broken_signals'),
    ((640 + 128 * 30, 17), 'length_mismatch'),  # at half the rate 60 s
    ((640 + 128 * 200, 17), 'length_mismatch'),
    ((300, 17), 'length_mismatch'),
  ],
)
def test_data_of_another_shape_or_length(shape, code):
  with pytest.raises(Dropped, match=code):
    amigos.check_data('x.mat', '4', np.zeros(shape))


@pytest.mark.parametrize(
  'name, seconds, fine',
  [
    ('4', 51, True),
    ('4', 150.5, True),
    ('N1', 23 * 60 + 35, True),
    ('N1', 1300, True),
    ('N1', 2830, False),
    ('U1', 14 * 60 + 6, True),
    ('U1', 423, False),
  ],
)
def test_lengths_of_the_stimuli(name, seconds, fine):
  data = np.broadcast_to(0.0, (640 + round(128 * seconds), 17))
  if fine:
    amigos.check_data('x.mat', name, data)
  else:
    with pytest.raises(Dropped, match=f'length_mismatch.*{seconds}.0 s from the onset'):
      amigos.check_data('x.mat', name, data)


def test_self_assessment_gives_arousal_first():
  ratings = amigos_ratings.self_ratings(
    'x', '4', np.array([2, 7.5, 3, 4, 5, 0, 0, 1, 0, 0, 0, 0.0])
  )
  assert (ratings['arousal'], ratings['valence']) == (2, 7.5)
  assert (ratings['familiarity'], ratings['neutral'], ratings['happiness']) == (5, 0, 1)


@pytest.mark.parametrize(
  'change, code',
  [
    ({0: np.nan}, 'bad_rating'),
    ({1: 0.5}, 'bad_rating'),
    ({1: 9.1}, 'bad_rating'),
    ({4: 10}, 'bad_rating'),
    ({7: 3}, 'bad_rating'),
    ({0: np.inf}, 'bad_rating'),
    ({4: np.nan, 11: np.nan}, None),
  ],
)
def test_bad_self_assessment(change, code):
  values = np.array([5.0] * 5 + [0] * 7)
  values[list(change)] = list(change.values())
  if code is None:
    assert np.isnan(amigos_ratings.self_ratings('x', '4', values)['sadness'])
    return
  with pytest.raises(Dropped, match=code):
    amigos_ratings.self_ratings('x', '4', values)


def test_missing_labels_are_one_by_zero():
  with pytest.raises(
    Dropped, match='missing_rating.*VideoID N1.*selfassessment is empty'
  ):
    amigos_ratings.self_ratings('x', 'N1', NOTHING.ravel())
  with pytest.raises(Dropped, match='missing_rating.*ext_annotation is empty'):
    amigos_ratings.external_ratings('x', 'N1', NOTHING, 60)
  with pytest.raises(Dropped, match='bad_rating.*has 11 numbers'):
    amigos_ratings.self_ratings('x', 'N1', np.full(11, 5.0))


def test_segments_of_twenty_seconds():
  # By hand: 5 s before to 15 s after, blocks from the onset, the final 20 s.
  times = amigos_ratings.segment_times(5, 73.5)
  np.testing.assert_allclose(
    times, [(-5, 15), (0, 20), (20, 40), (40, 60), (53.5, 73.5)]
  )
  assert len(amigos_ratings.segment_times(72, 23 * 60 + 35)) == 72
  # 59.9 s of signals may be of a stimulus of 60 s.
  assert len(amigos_ratings.segment_times(5, 59.9)) == 5
  assert len(amigos_ratings.segment_times(4, 59.9)) == 4
  assert amigos_ratings.segment_times(6, 59.9) is None


def test_external_annotation_gives_valence_first_and_goes_by_index():
  rows = np.array([(2, 0.2, -0.2), (1, 0.1, -0.1), (3, 0.3, -0.3)])
  times, ratings = amigos_ratings.external_ratings('x', '4', rows, 25.0)
  np.testing.assert_allclose(
    ratings, [(0.1, -0.1), (0.2, -0.2), (0.3, -0.3)], rtol=1e-6
  )
  np.testing.assert_allclose(times, [(-5, 15), (0, 20), (5, 25)])
  assert times.dtype == ratings.dtype == np.float32


@pytest.mark.parametrize(
  'rows, told',
  [
    ([(1, 0.1, 0.1), (1, 0.2, 0.2), (3, 0, 0)], 'not numbered 1 to 3'),
    ([(1, 0.1, 0.1), (2, 1.2, 0.2), (3, 0, 0)], 'outside of -1..1'),
    ([(1, 0.1, 0.1), (2, np.nan, 0.2), (3, 0, 0)], 'outside of -1..1'),
    ([(1, 0.1), (2, 0.2)], r'\(2, 2\), not'),
    ([(1, 0, 0), (2, 0, 0)], 'has 2 segments'),
  ],
)
def test_bad_external_annotation(rows, told):
  with pytest.raises(Dropped, match=f'bad_rating.*{told}'):
    amigos_ratings.external_ratings('x', '4', np.array(rows, float), 25.0)


def test_relative_conductance_is_inverted_and_scaled():
  resistance = np.array([2.0, 4, 8, 4, 4, np.nan, 0, -3, np.inf, 0.001])
  found = amigos_trials.relative_conductance(resistance)
  np.testing.assert_allclose(found[:5], [2, 1, 0.5, 1, 1])
  assert np.isnan(found[5:]).all()
  np.testing.assert_allclose(  # whatever the unit
    amigos_trials.relative_conductance(1e-3 * resistance), found
  )
  assert np.isnan(amigos_trials.relative_conductance(np.full(5, np.nan))).all()
