"""A folder of video files, from the files to the frames that a model reads."""

import fractions
import os
import struct

import av
import cv2
import numpy as np
import pytest

from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.masks import MaskConfig
from mvp_jax.data.random_clips import RandomClips
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.data.views import ViewConfig
from mvp_jax.errors import InputError
from mvp_jax.preparation import load_builder, prepare
from mvp_jax.preparation.account import read_account
from mvp_jax.raw import frames as raw_frames

FIELDS = dict(frame_rate=10.0, frame_size=32, workers=1)
_CORNERS = {
  'top_left': (220, 40, 40),
  'top_right': (40, 200, 40),
  'bottom_left': (40, 40, 220),
  'bottom_right': (200, 200, 40),
}


def _picture(number, height, width):
  """Four coloured corners, and a bar in the middle that brightens by 6 a frame."""
  image = np.empty((height, width, 3), np.uint8)
  y, x = height // 2, width // 2
  for name, colour in _CORNERS.items():
    rows = slice(0, y) if name.startswith('top') else slice(y, None)
    columns = slice(0, x) if name.endswith('left') else slice(x, None)
    image[rows, columns] = colour
  image[y - height // 8 : y + height // 8] = 10 + 6 * number
  return image


def _write(
  path, count, height=48, width=64, rate=10, aspect=1, codec='libx264', turned=False
):
  path.parent.mkdir(parents=True, exist_ok=True)
  with av.open(str(path), 'w') as container:
    stream = container.add_stream(codec, rate=rate)
    stream.height, stream.width, stream.pix_fmt = height, width, 'yuv420p'
    stream.codec_context.sample_aspect_ratio = fractions.Fraction(aspect)
    if codec == 'libx264':
      stream.options = {'crf': '4', 'preset': 'ultrafast'}
    for number in range(count):
      container.mux(
        stream.encode(
          av.VideoFrame.from_ndarray(_picture(number, height, width), 'rgb24')
        )
      )
    container.mux(stream.encode())
  if turned:  # the track header's matrix: a quarter turn to the right, as phones do
    content = bytearray(path.read_bytes())
    matrix = content.index(b'tkhd') + 4 + 40
    content[matrix : matrix + 36] = struct.pack(
      '>9i', 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30
    )
    path.write_bytes(content)


def _corner(image, name):
  """The colour near a corner."""
  height, width = image.shape[:2]
  y = height // 8 if name.startswith('top') else -height // 8
  x = width // 8 if name.endswith('left') else -width // 8
  return image[y, x].astype(int)


def _assert_corners(image, names):
  """The picture's corners, in the order of _CORNERS, are those named."""
  for place, name in zip(_CORNERS, names, strict=True):
    assert np.abs(_corner(image, place) - _CORNERS[name]).max() < 30, (place, name)


def _bar(image):
  return image[image.shape[0] // 2, image.shape[1] // 2].astype(int)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp('videos')
  _write(root / 'anna' / 'b.mp4', 40)
  _write(root / 'anna' / 'deep' / 'a.avi', 20, rate=20)
  _write(root / 'ben' / 'phone.MOV', 18, turned=True)
  _write(root / 'wide.mkv', 16, height=48, width=48, aspect='2/1')
  _write(root / 'zoe.webm', 8, rate=5, codec='libvpx')
  (root / 'notes.txt').write_text('not a video')
  (root / '.hidden.mp4').write_text('no')
  return root


@pytest.fixture(scope='module')
def corpus(folder, tmp_path_factory):
  return PreparedCorpus(
    prepare('videos', folder, tmp_path_factory.mktemp('data'), **FIELDS)
  )


def test_each_file_is_a_trial_and_folders_are_subjects(corpus):
  account = read_account(corpus.directory / 'account.csv')
  assert [(row['trial_id'], row['video'], row['outcome']) for row in account] == [
    ('s0001_video0001', 'anna/b.mp4', 'ok'),
    ('s0001_video0002', 'anna/deep/a.avi', 'ok'),
    ('s0002_video0001', 'ben/phone.MOV', 'ok'),
    ('s0003_video0001', 'wide.mkv', 'ok'),
    ('s0004_video0001', 'zoe.webm', 'ok'),
  ]
  assert [(t.subject, t.trial) for t in corpus.trials] == [
    (1, 1),
    (1, 2),
    (2, 1),
    (3, 1),
    (4, 1),
  ]
  assert corpus.name == 'videos' and corpus.has('video')
  assert corpus.metadata['synthetic'] is False
  trial = corpus.trials[0]
  assert trial.ratings == {} and 'signals' not in trial.streams
  assert trial.streams['video'].valid.all()


def test_frames_are_resized_turned_and_made_square(corpus):
  shapes = [corpus.frames(t, [0]).shape[1:3] for t in corpus.trials]
  # 64 x 48; the same; turned upright; 48 x 48 of pixels twice as wide; 64 x 48.
  assert shapes == [(32, 43), (32, 43), (43, 32), (32, 64), (32, 43)]
  upright = tuple(_CORNERS)
  _assert_corners(corpus.frames(corpus.trials[0], [0])[0], upright)
  # To the right: what was at the bottom left is at the top left now.
  _assert_corners(
    corpus.frames(corpus.trials[2], [0])[0],
    ('bottom_left', 'top_left', 'bottom_right', 'top_right'),
  )
  _assert_corners(corpus.frames(corpus.trials[3], [0])[0], upright)


def test_frames_show_the_right_moment(corpus):
  # At 10 a second: all of b.mp4, every other of a.avi, each of zoe.webm twice.
  for trial, numbers in (
    (0, range(40)),
    (1, range(0, 20, 2)),
    (4, [n // 2 for n in range(16)]),
  ):
    trial = corpus.trials[trial]
    assert len(trial.streams['video'].times) == len(numbers)
    images = corpus.frames(trial, range(len(numbers)))
    wanted = np.array([10 + 6 * n for n in numbers])
    near = np.abs([_bar(image).mean() for image in images] - wanted)
    # The webm's times are whole milliseconds, so neighbours may take turns.
    assert (near < (9 if trial.subject == 4 else 4)).all()
  np.testing.assert_allclose(
    corpus.trials[1].streams['video'].times, np.arange(10) / 10, atol=1e-5
  )


def test_clips_of_videos_of_any_shape_make_batches(corpus):
  source = RandomClips(
    corpus,
    corpus.trials,
    ClipLayout(frames=4, stride=2),
    size=24,
    patch=8,
    masks=MaskConfig(),
    views=ViewConfig(),
    per_trial=2,
  )
  rng = np.random.default_rng(0)
  views = [source.read(source[i], rng)['frames'] for i in range(len(source))]
  assert np.concatenate(views).shape == (5 * 2 * 4, 4, 24, 24, 3)


def test_only_the_chunks_of_a_clip_are_read(corpus):
  rows, real = [], corpus._chunks
  corpus.__dict__['_chunks'] = {
    'video': lambda row: (rows.append(row), real['video'](row))[1]
  }
  corpus.frames(corpus.trials[0], [1, 5, 17])
  corpus.__dict__['_chunks'] = real
  assert rows == [0, 1]


def _break(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_losses_are_named_and_a_repair_does_only_what_is_missing(tmp_path, monkeypatch):
  root, data = tmp_path / 'in', tmp_path / 'data'
  for name in ('a.mp4', 'b.avi', 'c.avi', 'd.avi'):
    _write(root / name, 3 if name == 'c.avi' else 40, rate=10, codec='mpeg4')
  whole = (root / 'a.mp4').read_bytes()
  _break(root / 'a.mp4')
  _break(root / 'b.avi')
  done = []
  real = raw_frames.Video
  monkeypatch.setattr(
    raw_frames, 'Video', lambda path: (done.append(path.name), real(path))[1]
  )
  fields = FIELDS | {'min_frames': 10}
  with pytest.raises(InputError) as error:
    prepare('videos', root, data, **fields)
  told = str(error.value)
  assert '4 trials in, 1 out; 3 dropped' in told and '\n' not in told
  assert 'a.mp4' in told and 's0002_video0001 broken_video' in told
  assert 's0003_video0001 too_short' in told and 'min_frames=10' in told
  assert done == ['a.mp4', 'b.avi', 'c.avi', 'd.avi']

  done.clear()
  (root / 'a.mp4').write_bytes(whole)
  corpus = PreparedCorpus(
    prepare('videos', root, data, **fields, allow_dropped=['broken_video', 'too_short'])
  )
  assert done == ['a.mp4', 'b.avi', 'c.avi']  # drops are tried again
  assert [t.trial_id for t in corpus.trials] == ['s0001_video0001', 's0004_video0001']
  assert not list((data / 'interim').iterdir())
  # Found again, but what was allowed once is not allowed for ever.
  with pytest.raises(InputError, match='2 dropped'):
    prepare('videos', root, data, **fields)


def test_a_new_file_costs_only_itself_while_data_are_not_whole(tmp_path, monkeypatch):
  root, data = tmp_path / 'in', tmp_path / 'data'
  _write(root / 'b.mp4', 20)
  (root / 'c.mp4').write_bytes(b'broken')
  with pytest.raises(InputError, match='1 dropped'):
    prepare('videos', root, data, **FIELDS)
  _write(root / 'a.mp4', 20)
  os.remove(root / 'c.mp4')
  done = []
  real = raw_frames.Video
  monkeypatch.setattr(
    raw_frames, 'Video', lambda path: (done.append(path.name), real(path))[1]
  )
  corpus = PreparedCorpus(prepare('videos', root, data, **FIELDS))
  assert done == ['a.mp4'] and len(corpus.trials) == 2


@pytest.mark.parametrize(
  ('name', 'told'),
  [(None, r'no such folder'), ('notes.txt', r'no video file \(found: 1 \.txt\)')],
)
def test_a_folder_without_videos(tmp_path, name, told):
  root = tmp_path / 'in'
  if name:
    root.mkdir()
    (root / name).write_text('')
  with pytest.raises(InputError, match=told):
    prepare('videos', root, tmp_path / 'data')


def test_a_folder_of_a_twin_is_marked(tmp_path):
  _write(tmp_path / 'twin' / 'face_video' / 's01' / 'a.mp4', 8)
  (tmp_path / 'twin' / 'SYNTHETIC.json').write_text('{}')
  corpus = PreparedCorpus(
    prepare('videos', tmp_path / 'twin' / 'face_video', tmp_path / 'data', **FIELDS)
  )
  assert corpus.metadata['synthetic'] is True


@pytest.mark.parametrize(
  ('field', 'told'),
  [
    ({'streams': ('signals',)}, 'streams: some of video'),
    ({'min_frames': 0}, 'min_frames'),
    ({'frame_size': 8}, 'frame_size'),
    ({'side': 'X'}, 'videos: no field side'),
  ],
)
def test_wrong_fields(tmp_path, field, told):
  with pytest.raises(InputError, match=told):
    prepare('videos', tmp_path, tmp_path / 'data', **field)


def test_configs_are_told_apart_by_name():
  configure = load_builder('videos').configure
  variants = [{}, {'frame_rate': 12.5}, {'frame_size': 64}, {'min_frames': 5}]
  assert len({configure(**fields).name for fields in variants}) == len(variants)


def test_pictures_are_those_another_decoder_sees(corpus, folder):
  reader = cv2.VideoCapture(str(folder / 'anna' / 'b.mp4'))
  images = [reader.read()[1][:, :, ::-1] for _ in range(40)]
  found = corpus.frames(corpus.trials[0], range(40))
  for image, frame in zip(images, found, strict=True):
    expected = cv2.resize(image, (43, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(frame.astype(int) - expected).mean() < 6  # at edges


def test_linked_folders_are_entered(folder, tmp_path):
  root, disk = tmp_path / 'root', tmp_path / 'disk'
  _write(disk / 'a.mp4', 16)
  root.mkdir()
  (root / 'anna').symlink_to(disk)
  corpus = PreparedCorpus(prepare('videos', root, tmp_path / 'data', **FIELDS))
  account = read_account(corpus.directory / 'account.csv')
  assert [(row['video'], row['outcome']) for row in account] == [('anna/a.mp4', 'ok')]

  (root / 'ben').symlink_to('/disk/ben')
  with pytest.raises(InputError, match='root/ben: a link to /disk/ben, which is not'):
    prepare('videos', root, tmp_path / 'data', **FIELDS)
  (root / 'ben').unlink()
  (root / os.fsdecode(b'zo\xeb.mp4')).touch()
  with pytest.raises(InputError, match=r'root: zo\\xeb.mp4: the name is not UTF-8'):
    prepare('videos', root, tmp_path / 'data', **FIELDS)
  root = root.rename(tmp_path / os.fsdecode(b'r\xf6\xf6t'))
  with pytest.raises(InputError, match=r'r\\xf6\\xf6t: the name is not UTF-8'):
    prepare('videos', root, tmp_path / 'data', **FIELDS)


def test_what_is_no_video_is_named(tmp_path):
  root = tmp_path / 'root'
  _write(root / 'good.mp4', 16)
  (root / 'lfs.mp4').write_text('version https://git-lfs.github.com/spec/v1\noid a\n')
  (root / 'lost.mp4').symlink_to('/disk/lost.mp4')
  (root / 'page.mp4').write_text('<!DOCTYPE html><html></html>')
  with pytest.raises(InputError, match='4 trials in, 1 out; 3 dropped') as error:
    prepare('videos', root, tmp_path / 'data', **FIELDS)
  for told in (
    'broken_video (.*lfs.mp4: a pointer of Git LFS',
    'missing_video (.*lost.mp4: a link to /disk/lost.mp4',
    'broken_video (.*page.mp4: a web page',
  ):
    code, _, text = told.partition(' (.*')
    assert f'{code} ({root / text.partition(":")[0]}:{text.partition(":")[2]}' in str(
      error.value
    )
