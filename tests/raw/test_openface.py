import numpy as np
import pytest

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.openface import INTENSITIES, PRESENCES, read_openface

AUS = [1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45]
# As OpenFace 2.2 writes them, but for the columns of gaze, pose and landmarks.
HEADER = [
  'frame',
  ' face_id',
  ' timestamp',
  ' confidence',
  ' success',
  ' gaze_0_x',
  *(f' AU{n:02d}_r' for n in AUS),
  *(f' AU{n:02d}_c' for n in sorted([*AUS, 28])),
]


def row(frame, face=0, confidence=0.98, success=1, level=1.0, width=None):
  """A row in which each AU's intensity is `level` plus its FACS number / 100."""
  cells = [
    frame,
    face,
    f'{(frame - 1) / 25:.3f}',
    confidence,
    success,
    0.1,
    *(f'{level + n / 100:.2f}' for n in AUS),
    *(int(n in (12, 28)) for n in sorted([*AUS, 28])),
  ]
  return cells if width is None else [*cells, 100, 100 + width]


@pytest.fixture
def write(tmp_path):
  """Function (rows, header) that writes a CSV and gives its path."""

  def write(rows, header=HEADER):
    path = tmp_path / 'au.csv'
    path.write_text(
      '\n'.join(', '.join(map(str, cells)) for cells in rows).join(
        [','.join(header) + '\n', '\n']
      )
    )
    return path

  return write


def test_columns_have_their_order(write):
  found = read_openface(write([row(1), row(2, level=2.0)]))
  assert list(INTENSITIES) == AUS and len(PRESENCES) == 18
  assert found.intensities.shape == (2, 17) and found.presences.shape == (2, 18)
  assert found.intensities.dtype == np.float32 and found.valid.tolist() == [True, True]
  np.testing.assert_allclose(found.times, [0, 0.04])
  for i, number in enumerate(INTENSITIES):
    np.testing.assert_allclose(
      found.intensities[:, i], [1 + number / 100, 2 + number / 100]
    )
  present = np.array(PRESENCES)[found.presences[0] == 1]
  assert present.tolist() == [12, 28]


def test_columns_may_stand_anywhere(write):
  order = np.random.default_rng(0).permutation(len(HEADER))
  path = write([[row(1)[i] for i in order]], [HEADER[i].strip() for i in order])
  np.testing.assert_allclose(
    read_openface(path).intensities[0], 1 + np.array(AUS) / 100
  )


def test_failures_are_no_measurements(write):
  rows = [
    row(1),
    row(2, success=0),
    row(3, confidence=0.4),
    row(4, level=4.8),
    row(5, level=-0.3),
  ]
  rows[0][7] = 'nan'
  found = read_openface(write(rows))
  assert found.valid.tolist() == [False] * 5
  assert not found.intensities.any() and not found.presences.any()


def test_frames_without_a_row(write):
  found = read_openface(write([row(2), row(5)]))
  assert found.valid.tolist() == [False, True, False, False, True]
  np.testing.assert_allclose(found.times[1:], np.arange(1, 5) / 25)


def test_the_time_is_the_videos(write):
  times = np.array([0, 0.1, 0.15, 0.3, 0.4])
  found = read_openface(write([row(n) for n in (1, 2, 3)]), times)
  np.testing.assert_array_equal(found.times, times)
  assert found.valid.tolist() == [True] * 3 + [False] * 2
  with pytest.raises(Dropped, match='it has frame 11, the video only 5') as error:
    read_openface(write([row(n) for n in range(1, 12)]), times)
  assert error.value.code == 'broken_openface'


def test_of_several_faces_the_one_seen_most(write):
  rows = [
    row(n, face=0, level=1.0, confidence=0.9 if n < 3 else 0.1) for n in range(1, 6)
  ]
  rows += [row(n, face=3, level=2.0) for n in range(1, 5)]
  found = read_openface(write(rows))
  assert found.face == 3 and found.valid.tolist() == [True] * 4
  assert found.intensities[0, 0] == pytest.approx(2.01)
  found = read_openface(write(rows), face=0)
  assert found.face == 0 and found.valid.tolist() == [True] * 2 + [False] * 3
  with pytest.raises(Dropped, match='no face 7; there are 0, 3'):
    read_openface(write(rows), face=7)


def test_of_faces_seen_alike_the_largest(write):
  header = [*HEADER, ' x_0', ' x_16']
  rows = [row(1, face=0, width=80), row(1, face=1, width=120)]
  assert read_openface(write(rows, header)).face == 1
  assert read_openface(write([row(1, face=0), row(1, face=1)])).face == 0


def test_older_exports_without_face_id(write):
  header = [name for name in HEADER if name != ' face_id']
  path = write([row(1)[:1] + row(1)[2:], row(2)[:1] + row(2)[2:]], header)
  found = read_openface(path)
  assert found.valid.all() and found.face == 0
  with pytest.raises(Dropped, match='no column face_id'):
    read_openface(path, face=1)
  with pytest.raises(Dropped, match='several rows for one frame'):
    read_openface(write([row(1)[:1] + row(1)[2:]] * 2, header))


@pytest.mark.parametrize(
  'header, told',
  [
    (
      [name.replace('_r', '').replace('_c', 'x') for name in HEADER],
      'AU01 are not of OpenFace 2.x but of OpenFace 3',
    ),
    (
      ['frame', 'face_id', 'timestamp', 'confidence', 'success', 'gaze_angle_x'],
      r'no column AU01_r \(35 of 39 are missing\)',
    ),
    (HEADER[:-1], r'no column AU45_c \(1 of 39'),
  ],
)
def test_other_layouts_are_rejected_by_name(write, header, told):
  with pytest.raises(Dropped, match=told):
    read_openface(write([row(1)[: len(header)]], header))


def test_files_that_cannot_be_read(write, tmp_path):
  with pytest.raises(Dropped, match='no such file'):
    read_openface(tmp_path / 'none.csv')
  with pytest.raises(Dropped, match='it has no row'):
    read_openface(write([]))
  with pytest.raises(Dropped, match='column frame'):
    read_openface(write([['x', *row(1)[1:]]]))
  (tmp_path / 'au.csv').write_bytes(b'')
  with pytest.raises(Dropped, match='cannot be read') as error:
    read_openface(tmp_path / 'au.csv')
  assert '\n' not in error.value.reason


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
@pytest.mark.parametrize('delimiter, decimal', [(';', ','), ('\t', ','), (';', '.')])
def test_as_spreadsheets_save_it_again(write, tmp_path, encoding, delimiter, decimal):
  usual = write([row(frame, level=frame / 4) for frame in (1, 2, 3)])
  text = usual.read_text().replace(', ', ',').replace(',', delimiter)
  again = tmp_path / 'again.csv'
  again.write_bytes(text.replace('.', decimal).encode(encoding))
  one, other = read_openface(usual), read_openface(again)
  np.testing.assert_array_equal(one.intensities, other.intensities)
  np.testing.assert_array_equal(one.times, other.times)
  assert other.valid.all() and other.intensities[2, 8] == pytest.approx(0.87)


def test_intensities_that_are_all_too_high_are_the_reason(write):
  path = write([row(i, level=4.6) for i in (1, 2, 3)])
  with pytest.raises(Dropped, match='AU45_r is above 5 in 3 of 3 rows .* as 5.05; '):
    read_openface(path)


def test_presences_are_0_or_1(write):
  rows = [row(i) for i in (1, 2, 3)]
  rows[1][-1] = 3
  assert read_openface(write(rows)).valid.tolist() == [True, False, True]
  for cells in rows:
    cells[-1] = '3.00'
  told = 'AU45_c is above 1 in 3 of 3 rows .* as 3; presences are 0 or 1'
  with pytest.raises(Dropped, match=told):
    read_openface(write(rows))


@pytest.mark.parametrize(
  'true, false', [('WAHR', 'FALSCH'), ('VRAI', 'FAUX'), ('TRUE', 'FALSE')]
)
def test_success_in_the_language_of_a_spreadsheet(write, true, false):
  found = read_openface(write([row(1, success=true), row(2, success=false)]))
  assert found.valid.tolist() == [True, False]
