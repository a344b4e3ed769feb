"""The action units of corpora: whose CSV is whose, on whose clock, and what fails."""

import csv

import av
import numpy as np
import pytest

from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped
from mvp_jax.raw.action_units import as_stream, find_csvs, on_clock, trial_units
from mvp_jax.raw.openface import read_openface

AUS = [1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45]
HEADER = ['frame', 'face_id', 'timestamp', 'confidence', 'success']
HEADER += [f'AU{n:02d}_r' for n in AUS] + [f'AU{n:02d}_c' for n in sorted([*AUS, 28])]


def row(frame, face=0, rate=10.0, success=1, confidence=0.98):
  """AU1 counts the frames: frame / 100."""
  return [
    frame,
    face,
    (frame - 1) / rate,
    confidence,
    success,
    frame / 100,
    *[0.5] * 16,
    *[1] * 18,
  ]


def write(path, rows, header=HEADER):
  with path.open('w', newline='') as file:
    file.write(', '.join(header) + '\n')
    csv.writer(file).writerows(rows)
  return path


def write_film(path, frames, rate=10, width=400):
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('mpeg4', rate=rate)
    stream.width, stream.height, stream.pix_fmt = width, 64, 'yuv420p'
    image = np.zeros((64, width, 3), np.uint8)
    for _ in range(frames):
      container.mux(stream.encode(av.VideoFrame.from_ndarray(image, 'rgb24')))
    container.mux(stream.encode())
  return path


def lost(*args, **kwargs):
  with pytest.raises(Dropped) as error:
    trial_units(*args, **kwargs)
  assert '\n' not in error.value.reason
  return error.value.code, error.value.reason


@pytest.fixture(scope='module')
def film(tmp_path_factory):
  """100 frames, 10 a second, 400 pixels wide."""
  return write_film(tmp_path_factory.mktemp('film') / 'film.mov', 100)


def test_cut_to_the_trial_and_its_clock(tmp_path, film):
  path = write(tmp_path / 'a.csv', [row(n) for n in range(1, 101)])
  for video in (film, tmp_path / 'none.mov'):
    found = trial_units(path, video, 6.0, onset=3.0)
    np.testing.assert_allclose(found['au_times'], np.arange(60) / 10, atol=1e-4)
    np.testing.assert_allclose(
      found['au_intensities'][:, 0], np.arange(31, 91) / 100, atol=1e-6
    )
    assert found['au_presences'].shape == (60, 18) and found['au_valid'].all()
    # With a baseline, which is as long as asked, or as the file has it.
    for before, early in ((2.0, 20), (5.0, 30)):
      both = trial_units(path, video, 6.0, onset=3.0, before=before)
      for name, x in found.items():
        np.testing.assert_array_equal(both[name], x)
      stream = as_stream(both)
      np.testing.assert_array_equal(stream['values'][:, :17], found['au_intensities'])
      times = np.arange(-early, 0) / 10
      np.testing.assert_allclose(stream['before_times'], times, atol=1e-4)
      assert stream['before_valid'].all() and len(stream['before_valid']) == early
      np.testing.assert_allclose(
        stream['before'][:, 0], np.arange(31 - early, 31) / 100, atol=1e-6
      )


def test_the_videos_clock_counts(tmp_path, film):
  # As where OpenFace did not know the rate and took 30 frames a second.
  rows = [row(n, rate=30.0) for n in range(1, 101)]
  path = write(tmp_path / 'a.csv', rows)
  np.testing.assert_allclose(trial_units(path, film, 10.0)['au_times'][-1], 9.9)
  code, told = lost(path, tmp_path / 'none.mov', 10.0)
  assert code == 'length_mismatch' and 'frame rate not known to OpenFace' in told
  # A video that cannot be read is not needed.
  (tmp_path / 'bad.mov').write_bytes(b'no video')
  good = write(tmp_path / 'b.csv', [row(n) for n in range(1, 101)])
  assert len(trial_units(good, tmp_path / 'bad.mov', 10.0)['au_times']) == 100


def test_what_cannot_be_used_is_named(tmp_path, film):
  assert lost(tmp_path / 'no.csv', film, 10.0) == (
    'missing_openface',
    f'{tmp_path / "no.csv"}: no such file',
  )
  short = write(tmp_path / 'short.csv', [row(n) for n in range(1, 71)])
  code, told = lost(short, film, 10.0)
  assert code == 'length_mismatch' and 'ends at frame 70, the video has 100' in told
  assert lost(short, tmp_path / 'none.mov', 10.0)[0] == 'length_mismatch'
  unseen = write(
    tmp_path / 'unseen.csv', [row(n, success=int(n < 6)) for n in range(1, 101)]
  )
  code, told = lost(unseen, film, 10.0)
  assert code == 'no_face' and 'a face in 5.0% of the trial' in told
  other = write(tmp_path / 'other.csv', [row(n) for n in range(1, 121)])
  code, told = lost(other, film, 10.0)
  assert code == 'broken_openface' and 'another video' in told


def together(path):
  """Three people in a picture 400 wide; two change numbers at frame 51.

  Their AU1 is 1, 2 and 3 from left to right. The middle one is lost for a while.
  """
  rows, middles = [], (50, 200, 350)
  for frame in range(1, 101):
    ids = (2, 0, 1) if frame < 51 else (2, 1, 0)
    for person, middle in enumerate(middles):
      if person == 1 and 20 < frame <= 30:
        continue
      cells = row(frame, ids[person])
      cells[5] = person + 1
      rows.append([*cells, middle - 40, middle + 40])
    if frame == 60:  # a poster beside the first, of whom OpenFace is less sure
      rows.append([*row(60, 3, confidence=0.8), 60, 70])
  return write(path, rows, [*HEADER, 'x_0', 'x_16'])


def test_people_side_by_side_are_told_apart_by_their_place(tmp_path, film):
  path = together(tmp_path / 'g.csv')
  for person in range(3):
    found = trial_units(path, film, 10.0, region=(person / 3, (person + 1) / 3))
    valid = found['au_valid']
    assert len(valid) == 100 and (~valid).sum() == (10 if person == 1 else 0)
    assert (found['au_intensities'][valid, 0] == person + 1).all()
  assert not found['au_intensities'][~valid].any()
  # By its number the second would become the third.
  mixed = read_openface(path, face=0)
  assert set(mixed.intensities[mixed.valid, 0]) == {2, 3}


def test_people_who_cannot_be_told_apart(tmp_path, film):
  path = together(tmp_path / 'g.csv')
  code, told = lost(path, tmp_path / 'none.mov', 10.0, region=(0, 0.5))
  assert code == 'missing_video' and 'the width of the picture' in told
  bare = write(tmp_path / 'bare.csv', [row(n) for n in range(1, 101)])
  code, told = lost(bare, film, 10.0, region=(0, 0.5))
  assert code == 'broken_openface' and '-aus -2Dfp' in told
  code, told = lost(path, film, 10.0, region=(0.95, 1))
  assert code == 'broken_openface' and 'no face between pixels 380 and 400' in told


def test_nothing_is_empty():
  found = on_clock(None, 0.0, 5.0)
  assert {name: value.shape for name, value in found.items()} == {
    'au_times': (0,),
    'au_valid': (0,),
    'au_intensities': (0, 17),
    'au_presences': (0, 18),
  }


def test_csvs_are_found_however_deep(tmp_path):
  folder = tmp_path / 'corpus' / 'openface'
  (folder / 's01').mkdir(parents=True)
  (folder / 's02_trial01_aligned').mkdir()
  for name in (
    's01/s01_trial01.csv',
    's02_trial01.csv',
    '._s02_trial01.csv',
    's02_trial01.avi',
    's02_trial01_aligned/s02_trial01.csv',
  ):
    (folder / name).touch()
  found = find_csvs(tmp_path / 'corpus', '')
  assert found.paths == {
    's01_trial01': folder / 's01/s01_trial01.csv',
    's02_trial01': folder / 's02_trial01.csv',
  }
  assert found.of('s09_trial01') == folder / 's09_trial01.csv'
  assert find_csvs(tmp_path, folder / 's01').paths.keys() == {'s01_trial01'}
  (folder / 's01_trial01.csv').touch()
  with pytest.raises(InputError, match='have one name; keep one'):
    find_csvs(tmp_path / 'corpus', '')
  with pytest.raises(InputError, match='no such folder; .*action_units.md'):
    find_csvs(tmp_path, '')
  (tmp_path / 'empty').mkdir()
  with pytest.raises(InputError, match='no CSV in it'):
    find_csvs(tmp_path, tmp_path / 'empty')
