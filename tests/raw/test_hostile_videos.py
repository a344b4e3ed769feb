"""Videos as they come: each decodes rightly, or is dropped under one name."""

import fractions
import struct
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition

from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped
from mvp_jax.preparation import prepare
from mvp_jax.preparation.account import read_account
from mvp_jax.raw.frames import FrameSpec, face_frames, whole_frames
from mvp_jax.raw.video import Video, luma

HEIGHT, WIDTH, COUNT, RATE = 48, 64, 40, 10
# Matrices of ISO/IEC 14496-12, 8.3.2 (a, b, c, d), and what they do to a picture.
TURNS = {
  'rotated_90': ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
  'rotated_180': ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
  'rotated_270': ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
  'mirrored': ((-1, 0, 0, 1), np.fliplr),
}


def picture(number, height=HEIGHT, width=WIDTH):
  """Four coloured corners around a bar that brightens from frame to frame, RGB."""
  image = np.empty((height, width, 3), np.uint8)
  y, x = height // 2, width // 2
  image[:y, :x], image[:y, x:] = (200, 60, 60), (60, 180, 60)
  image[y:, :x], image[y:, x:] = (60, 60, 200), (180, 180, 60)
  up, aside = height // 6, width // 6
  image[y - up : y + up, x - aside : x + aside] = 20 + 5 * number
  return image


def write(
  path,
  codec='libx264',
  pixels='yuv420p',
  count=COUNT,
  rate=RATE,
  stamps=None,
  size=(HEIGHT, WIDTH),
  aspect=1,
  kind=None,
  options=None,
  title=None,
  **attributes,
):
  """Writes a video; `stamps` are milliseconds, `kind` is a container of FFmpeg."""
  with av.open(str(path), 'w', format=kind, options=options or {}) as container:
    stream = container.add_stream(codec, rate=rate)
    stream.height, stream.width, stream.pix_fmt = *size, pixels
    stream.codec_context.sample_aspect_ratio = fractions.Fraction(aspect)
    if codec.startswith('libx26'):
      stream.options = {
        'crf': '4',
        'preset': 'ultrafast',
        'x265-params': 'log-level=none:pools=none:frame-threads=1',
      }
    if title:
      container.metadata['title'] = title
    for name, value in attributes.items():
      setattr(stream.codec_context, name, value)
    if stamps is not None:
      stream.codec_context.time_base = fractions.Fraction(1, 1000)
    for number in range(count):
      frame = av.VideoFrame.from_ndarray(picture(number, *size), 'rgb24')
      if 'color_range' in attributes:
        frame = frame.reformat(format=pixels, dst_color_range=attributes['color_range'])
      if stamps is not None:
        frame.pts, frame.time_base = stamps[number], fractions.Fraction(1, 1000)
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return path


def write_sound(path, cover=False):
  with av.open(str(path), 'w') as container:
    sound = container.add_stream('aac', rate=8000, layout='mono')
    if cover:
      still = container.add_stream('mjpeg', rate=1)
      still.height, still.width, still.pix_fmt = HEIGHT, WIDTH, 'yuvj420p'
      still.disposition = Disposition.attached_pic
      container.mux(still.encode(av.VideoFrame.from_ndarray(picture(0), 'rgb24')))
      container.mux(still.encode())
    for k in range(8):
      frame = av.AudioFrame.from_ndarray(
        np.zeros((1, 1024), np.float32), 'fltp', 'mono'
      )
      frame.rate, frame.pts = 8000, 1024 * k
      container.mux(sound.encode(frame))
    container.mux(sound.encode())
  return path


def turn(path, matrix):
  """Writes a matrix into the track's header, as phones do."""
  a, b, c, d = (value << 16 for value in matrix)
  content = bytearray(path.read_bytes())
  place = content.index(b'tkhd') + 4 + 40
  content[place : place + 36] = struct.pack('>9i', a, b, 0, c, d, 0, 0, 0, 1 << 30)
  path.write_bytes(content)
  return path


def promise(path, frames):
  """Has an AVI's headers lie about the number of frames."""
  content = bytearray(path.read_bytes())
  for name, place in ((b'avih', 8 + 16), (b'strh', 8 + 32)):
    place += content.index(name)
    content[place : place + 4] = struct.pack('<I', frames)
  path.write_bytes(content)
  return path


def trim(path, seconds):
  """Shortens the edit list (ISO/IEC 14496-12, 8.6.6), as phones trim videos."""
  content = bytearray(path.read_bytes())
  scale = struct.unpack('>I', content[(k := content.index(b'mvhd') + 16) : k + 4])[0]
  place = content.index(b'elst') + 12
  content[place : place + 4] = struct.pack('>I', round(seconds * scale))
  path.write_bytes(content)
  return path


def cut(path, share):
  path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
  return path


def read(path):
  """(info, times, brightness of the bar) of every frame."""
  with Video(path) as video:
    times, bars = zip(
      *(
        (time, luma(frame)[frame.height // 2, frame.width // 2])
        for time, frame in video
      ),
      strict=True,
    )
    return video.info, np.array(times), np.array(bars, float)


def first_image(path, **how):
  found = whole_frames(path, RATE, HEIGHT, **how)
  image = cv2.imdecode(np.frombuffer(found['jpegs'][0], np.uint8), cv2.IMREAD_COLOR_RGB)
  assert image.shape[:2] == tuple(found['size'])
  return image


def assert_alike(image, expected, tolerance=6):
  assert image.shape == expected.shape
  assert np.abs(image.astype(int) - expected).mean() < tolerance


GOOD = {
  # name: (file, how to write it)
  'mpeg4_avi': ('a.avi', dict(codec='mpeg4', bit_rate=2_000_000)),
  'mjpeg_avi': ('a.avi', dict(codec='mjpeg', pixels='yuvj420p', bit_rate=4_000_000)),
  'h264_b_frames_avi': ('a.avi', dict(max_b_frames=2)),
  'hevc': ('a.mp4', dict(codec='libx265')),
  'hevc_10_bit': ('a.mov', dict(codec='libx265', pixels='yuv420p10le')),
  'lossless_10_bit': ('a.mkv', dict(codec='ffv1', pixels='yuv422p10le')),
  'no_duration_h264': ('a.h264', dict(kind='h264')),
  'no_duration_mkv': ('a.mkv', dict(options={'live': '1'})),
  'transport_stream': ('a.ts', {}),
  'fragmented': ('a.mp4', dict(options={'movflags': 'frag_keyframe+empty_moov'})),
  'mpeg1': ('a.mpg', dict(codec='mpeg1video', rate=25, bit_rate=4_000_000)),
  'rgb': ('a.mov', dict(codec='png', pixels='rgb24')),
  'grey': ('a.mkv', dict(codec='ffv1', pixels='gray')),
}


@pytest.mark.parametrize('name', GOOD)
def test_frames_are_right_in_size_count_and_time(tmp_path, name):
  file, how = GOOD[name]
  path = write(tmp_path / file, **how)
  info, times, bars = read(path)
  rate = how.get('rate', RATE)
  if name == 'no_duration_h264':  # It holds no times: FFmpeg takes 25 a second.
    assert info.rate in (RATE, 25)
    rate = info.rate
  assert (info.width, info.height, info.pixel_aspect) == (WIDTH, HEIGHT, 1)
  np.testing.assert_allclose(times, np.arange(COUNT) / rate, atol=1.1e-3)
  # Every frame is there, in order, whatever the codec's range of brightness.
  steps = np.diff(bars)
  assert steps.mean() == pytest.approx(5 * (bars[-1] - bars[0]) / 195, rel=0.01)
  assert np.all(steps > 0) and 160 < bars[-1] - bars[0] < 200
  expected = picture(0)
  if name == 'grey':
    expected = np.repeat((expected @ [0.299, 0.587, 0.114])[..., None], 3, 2)
  assert_alike(first_image(path), expected, 9)
  with pytest.raises(Dropped) as dropped:
    face_frames(path, FrameSpec(RATE, 32, 'X'))
  assert dropped.value.code == 'no_face'


@pytest.mark.parametrize('name', TURNS)
def test_rotation_and_mirroring_are_undone(tmp_path, name):
  matrix, change = TURNS[name]
  path = turn(write(tmp_path / 'a.mp4', aspect='4/3'), matrix)
  with Video(path) as video:
    info = video.info
    _, frame = next(iter(video))
    upright = info.orientation.upright(luma(frame))
  expected = change(picture(0))
  assert (info.height, info.width) == expected.shape[:2] == upright.shape
  turned = expected.shape[0] > expected.shape[1]
  assert info.pixel_aspect == pytest.approx(3 / 4 if turned else 4 / 3)
  shown = (round(expected.shape[1] * info.pixel_aspect), expected.shape[0])
  scale = HEIGHT / min(shown)
  assert_alike(
    first_image(path),
    cv2.resize(
      expected, [round(side * scale) for side in shown], interpolation=cv2.INTER_AREA
    ),
    9,
  )


@pytest.mark.parametrize('name', TURNS)
def test_the_face_of_a_turned_video(tmp_path, draw_face, write_video, name):
  matrix, change = TURNS[name]
  shown = draw_face(180, 240, 140, 80, 60)
  # What a camera stores is what the matrix turns into what is shown.
  stored = next(
    image
    for image in (
      np.rot90(shown, 1),
      np.rot90(shown, 2),
      np.rot90(shown, -1),
      np.fliplr(shown),
    )
    if np.array_equal(change(image), shown)
  )
  write_video(tmp_path / 'a.mp4', [stored] * 20, RATE)
  found = face_frames(turn(tmp_path / 'a.mp4', matrix), FrameSpec(RATE, 96, 'Y'))
  assert found['valid'].all()
  np.testing.assert_allclose(found['boxes'][10], [140, 80, 68], atol=8)
  x, y, side = found['boxes'][10]
  expected = cv2.warpAffine(
    shown,
    np.array([[side / 96, 0, x - side / 2], [0, side / 96, y - side / 2]]),
    (96, 96),
    flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
  )
  assert_alike(
    cv2.imdecode(np.frombuffer(found['jpegs'][10], np.uint8), cv2.IMREAD_COLOR_RGB),
    expected,
  )


@pytest.mark.parametrize('file', ['a.mp4', 'a.mkv'])
def test_variable_rate(tmp_path, file):
  stamps = np.cumsum(np.random.default_rng(0).choice([33, 34, 67, 400], COUNT))
  stamps -= stamps[0]
  path = write(tmp_path / file, stamps=stamps.tolist())
  _, times, bars = read(path)
  np.testing.assert_allclose(times, stamps / 1000, atol=1.1e-3)
  found = whole_frames(path, 5.0, HEIGHT)
  wanted = np.arange(len(found['times'])) / 5
  nearest = [np.argmin(np.abs(stamps / 1000 - time)) for time in wanted]
  np.testing.assert_allclose(found['times'], stamps[nearest] / 1000, atol=1.1e-3)


@pytest.mark.parametrize('full', [False, True])
@pytest.mark.parametrize('pixels', ['yuv420p', 'yuv420p10le'])
def test_colour_range(tmp_path, full, pixels):
  path = write(
    tmp_path / 'a.mkv', codec='ffv1', pixels=pixels, color_range=2 if full else 1
  )
  with av.open(str(path)) as container:
    frame = next(container.decode(video=0))
    depth = 4 if frame.format.components[0].bits == 10 else 1
    level = (
      np.frombuffer(frame.planes[0], np.uint16 if depth > 1 else np.uint8)[
        24 * frame.planes[0].line_size // (2 if depth > 1 else 1) + 32
      ]
      / depth
    )
  # The bar is 20: its luma says which range the file really has.
  assert level == pytest.approx(20 if full else 16 + 20 * 219 / 255, abs=1.01)
  assert_alike(first_image(path), picture(0))


def test_a_single_pixel(tmp_path):
  path = write(tmp_path / 'a.mkv', codec='ffv1', pixels='yuv444p', size=(1, 1))
  info, times, _ = read(path)
  assert (info.width, info.height, len(times)) == (1, 1, COUNT)
  assert first_image(path).shape == (HEIGHT, HEIGHT, 3)
  with pytest.raises(Dropped) as dropped:
    face_frames(path, FrameSpec(RATE, 32, 'X'))
  assert dropped.value.code == 'no_face'


def test_a_single_frame(tmp_path):
  path = write(tmp_path / 'a.mp4', count=1)
  assert len(whole_frames(path, 25.0, HEIGHT)['jpegs']) == 1
  with pytest.raises(Dropped) as dropped:
    face_frames(path, FrameSpec(25.0, 32, 'X'), 60.0)
  assert dropped.value.code == 'length_mismatch'


def test_a_header_that_promises_too_little(tmp_path):
  path = promise(write(tmp_path / 'a.avi'), 3)
  _, times, _ = read(path)
  np.testing.assert_allclose(times, np.arange(COUNT) / RATE)


@pytest.mark.parametrize('file', ['a.avi', 'a.mp4', 'a.mkv'])
def test_a_title_that_is_no_utf8(tmp_path, file):
  path = write(tmp_path / file, title='Gefuehle')
  path.write_bytes(path.read_bytes().replace(b'Gefuehle', b'Gef\xfchle '))
  assert len(read(path)[1]) == COUNT


def test_a_trimmed_video_is_no_truncated_one(tmp_path):
  path = trim(write(tmp_path / 'a.mp4'), 1.5)
  info, times, _ = read(path)
  assert info.frames == COUNT
  np.testing.assert_allclose(times, np.arange(15) / RATE, atol=1e-6)
  assert len(whole_frames(path, RATE, HEIGHT)['jpegs']) == 15


def test_a_video_a_little_shorter_than_its_header_says_is_told(tmp_path):
  path = promise(write(tmp_path / 'a.avi'), COUNT + 12)
  found = whole_frames(path, RATE, HEIGHT)
  assert len(found['jpegs']) == COUNT
  assert found['quality']['video_notes'] == 'it ends 1.2 s before its header says'


def test_a_stream_that_begins_in_the_middle(tmp_path):
  path = write(tmp_path / 'a.ts', gop_size=10)
  content = path.read_bytes()
  path.write_bytes(content[len(content) * 2 // 5 :])
  _, times, bars = read(path)
  assert 15 < len(times) <= 30 and times[0] == 0
  np.testing.assert_allclose(np.diff(times), 1 / RATE, atol=1e-3)


def bad_videos(folder):
  """name: (file, drop code, what the reason says)."""
  (folder / 'empty.mp4').write_bytes(b'')
  (folder / 'noise.mp4').write_bytes(
    np.random.default_rng(0).integers(0, 256, 20_000, np.uint8).tobytes()
  )
  (folder / 'text.mp4').write_text('Dear diary,\n' * 200)
  (folder / 'playlist.mp4').write_text(
    '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n'
    '#EXT-X-ENDLIST\n'
  )
  small = write(folder / 'small.ts').read_bytes()
  other = write(folder / 'other.ts', size=(96, 128)).read_bytes()
  (folder / 'small.ts').unlink()
  (folder / 'other.ts').unlink()
  (folder / 'two_sizes.ts').write_bytes(small + other)
  promise(write(folder / 'lying.avi'), 5000)
  cut(write(folder / 'no_index.mp4'), 0.7)
  cut(write(folder / 'half.avi', size=(240, 320)), 0.4)
  cut(write(folder / 'half.mkv'), 0.4)
  cut(write(folder / 'faststart.mp4', options={'movflags': 'faststart'}), 0.4)
  write_sound(folder / 'sound.mp4')
  write_sound(folder / 'cover.mp4', cover=True)
  write(folder / 'sliver.mkv', codec='ffv1', pixels='yuv444p', size=(600, 2))
  write(folder / 'gap.mp4', count=4, stamps=[0, 100, 200, 9_000_000])
  return {
    'empty.mp4': '',
    'noise.mp4': '',
    'text.mp4': '',
    'playlist.mp4': '',
    'two_sizes.ts': 'from 64x48 to 128x96',
    'lying.avi': '40 of 5000 frames',
    'no_index.mp4': '',
    'half.avi': 'truncated',
    'half.mkv': 'truncated',
    'faststart.mp4': 'truncated',
    'sound.mp4': 'no video stream',
    'cover.mp4': 'no video stream',
    'sliver.mkv': '2 wide and 600 high',
    'gap.mp4': 'timestamps jump by 9000 s',
  }


def test_what_cannot_be_used_gives_one_named_loss(tmp_path):
  bad = bad_videos(tmp_path)
  assert {path.name for path in tmp_path.iterdir()} == set(bad)
  for name, told in bad.items():
    for function in (
      lambda path: whole_frames(path, RATE, HEIGHT),
      lambda path: face_frames(path, FrameSpec(RATE, 32, 'X')),
    ):
      with pytest.raises(Dropped) as dropped:
        function(tmp_path / name)
      assert dropped.value.code == 'broken_video', name
      assert dropped.value.reason.startswith(str(tmp_path / name)), name
      assert told in dropped.value.reason and '\n' not in dropped.value.reason, name


def test_none_is_dropped_silently(tmp_path):
  root, data = tmp_path / 'in', tmp_path / 'data'
  root.mkdir()
  bad = bad_videos(root)
  write(root / 'good.mp4')
  fields = dict(frame_rate=5.0, frame_size=32, workers=2)
  with pytest.raises(InputError, match=f'{len(bad) + 1} trials in, 1 out'):
    prepare('videos', root, data, **fields)
  directory = prepare('videos', root, data, allow_dropped=['broken_video'], **fields)
  account = {
    row['video']: row['outcome']
    for row in read_account(Path(directory) / 'account.csv')
  }
  assert account == dict.fromkeys(bad, 'broken_video') | {'good.mp4': 'ok'}


@pytest.mark.parametrize('file', ['a.mp4', 'a.avi', 'a.mkv', 'a.ts', 'a.mpg'])
def test_damage_anywhere_is_a_loss_or_does_no_harm(tmp_path, file):
  codec = 'mpeg1video' if file == 'a.mpg' else 'libx264'
  path = write(tmp_path / file, codec=codec, rate=25)
  whole = path.read_bytes()
  rng = np.random.default_rng(0)
  drops = 0
  for kind in range(24):
    content = bytearray(whole)
    if kind % 3 == 0:
      content = content[: rng.integers(len(content))]
    else:
      for place in rng.integers(0, len(content), 4 ** (kind % 3)):
        content[place] = rng.integers(256)
    path.write_bytes(content)
    try:
      found = whole_frames(path, 5.0, 32)
      assert len(found['jpegs']) == len(found['times']) > 0
      assert np.all(np.isfinite(found['times']))
    except Dropped as dropped:
      assert dropped.code == 'broken_video' and '\n' not in dropped.reason
      drops += 1
  assert 0 < drops < 24


def test_a_few_damaged_packets_do_not_cost_the_video(tmp_path):
  path = write(tmp_path / 'a.avi', codec='mpeg4', bit_rate=2_000_000, gop_size=1)
  content = bytearray(path.read_bytes())
  starts = [k for k in range(len(content)) if content[k : k + 4] == b'00dc'][:COUNT]
  for frame in (11, 12, 20):  # their pictures are overwritten
    size = struct.unpack('<I', content[starts[frame] + 4 : starts[frame] + 8])[0]
    content[starts[frame] + 8 : starts[frame] + 8 + size] = bytes(size)
  path.write_bytes(content)
  with Video(path) as video:
    times = [time for time, _ in video]
    assert video.count + video.broken >= COUNT - 3 and video.count >= COUNT - 3
  assert times[-1] == pytest.approx((COUNT - 1) / RATE)
