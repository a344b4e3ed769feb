"""Of every kind of video decoder, check and action units tell the times as written."""

import concurrent.futures
import csv
import fractions
import os
import re
import struct

import av
import numpy as np
import pytest

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.action_units import trial_units
from mvp_jax.raw.frames import FrameSpec, face_frames, whole_frames
from mvp_jax.raw.openface import CHANNELS
from mvp_jax.raw.video import Video, luma
from mvp_jax.raw.video_times import decoded_times, video_times

COUNT, RATE, HEIGHT, WIDTH = 40, 25, 48, 64
NTSC = fractions.Fraction(30000, 1001)
QUIET = {'x265-params': 'log-level=none:pools=none:frame-threads=1'}
FAST = {'preset': 'ultrafast'}


def level(number):
  """The brightness of a frame's bar, which tells the frame."""
  return 20 + 5 * np.asarray(number)


def sound_packets(stream, seconds):
  rate, pcm = stream.rate, stream.codec_context.name.startswith('pcm')
  for k in range(int(seconds * rate / 1024)):
    silence = np.zeros((1, 1024), np.int16 if pcm else np.float32)
    frame = av.AudioFrame.from_ndarray(silence, 's16' if pcm else 'fltp', 'mono')
    frame.rate, frame.pts = rate, 1024 * k
    yield from stream.encode(frame)
  yield from stream.encode()


def write(path, *codec, **given):
  """`write_here` in a thread of its own.

  SVT-AV1 takes the thread that it is called by for real-time work, if it may. What that
  thread starts later would leave no processor to anything else.
  """
  with concurrent.futures.ThreadPoolExecutor(1) as aside:
    return aside.submit(write_here, path, *codec, **given).result()


def write_here(
  path,
  codec='libx264',
  pixels='yuv420p',
  *,
  kind=None,
  size=(HEIGHT, WIDTH),
  rate=RATE,
  numbers=range(COUNT),
  stamps=None,
  options=None,
  container_options=None,
  sound=0,
  cover=False,
  title='',
  **attributes,
):
  """Writes frames `numbers`, at number / rate or `stamps` (ms): their seconds.

  `sound`: so many seconds of it. `cover`: a picture as another, first stream.
  """
  unit = fractions.Fraction(1, 1000) if stamps else 1 / fractions.Fraction(rate)
  ticks = stamps or list(numbers)
  with av.open(
    str(path), 'w', format=kind, options=container_options or {}
  ) as container:
    container.metadata['title'] = title
    if cover:
      still = container.add_stream('mjpeg', rate=1)
      still.height, still.width, still.pix_fmt = 2 * HEIGHT, 2 * WIDTH, 'yuvj420p'
    if sound:
      silence = container.add_stream(
        'pcm_s16le' if path.suffix == '.avi' else 'aac', rate=48000, layout='mono'
      )
    stream = container.add_stream(codec, rate=rate)
    stream.height, stream.width, stream.pix_fmt = *size, pixels
    stream.options = options or {}
    stream.codec_context.time_base = unit
    for name, value in attributes.items():
      setattr(stream.codec_context, name, value)
    if cover:
      picture = np.full((2 * HEIGHT, 2 * WIDTH, 3), 200, np.uint8)
      container.mux(still.encode(av.VideoFrame.from_ndarray(picture, 'rgb24')))
      container.mux(still.encode())
    if sound:
      container.mux(list(sound_packets(silence, sound)))
    for number, tick in zip(numbers, ticks, strict=True):
      image = np.full((*size, 3), 90, np.uint8)
      image[size[0] // 4 : -size[0] // 4, size[1] // 4 : -size[1] // 4] = level(
        number % COUNT
      )
      frame = av.VideoFrame.from_ndarray(image, 'rgb24').reformat(format=pixels)
      frame.pts, frame.time_base = tick, unit
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return np.array(ticks) * float(unit)


def write_units(path, count):
  """A CSV of OpenFace, whose AU1 counts the frames: frame / 100."""
  with path.open('w', newline='') as file:
    rows = csv.writer(file)
    rows.writerow(['frame', 'face_id', 'timestamp', 'confidence', 'success', *CHANNELS])
    for k in range(1, count + 1):
      rows.writerow([k, 0, k / 30, 0.98, 1, k / 100, *[0.5] * (len(CHANNELS) - 1)])
  return path


def told(path):
  """(times, bars, Video) as the decoder tells; the others must tell the same."""
  with Video(path) as video:
    pairs = [(t, luma(f)[f.height // 2, f.width // 2]) for t, f in video]
    times, bars = np.array(pairs, float).T
  shown = video_times(path)
  assert len(shown.times) == len(times)
  np.testing.assert_allclose(shown.times, times, atol=1e-6)
  assert shown.seconds == pytest.approx(video.seconds)
  np.testing.assert_allclose(decoded_times(path), times)
  table = write_units(path.with_name('units.csv'), len(times))
  units = trial_units(table, path, video.seconds)
  np.testing.assert_allclose(units['au_times'], times, atol=1e-5)
  np.testing.assert_allclose(
    units['au_intensities'][:, 0], np.arange(1, len(times) + 1) / 100, atol=1e-6
  )
  return times, bars, video


def agree(path, times, numbers=range(COUNT), atol=1.1e-3):
  """Sees that frames `numbers` are told at `times`, by all that tell times."""
  found, bars, video = told(path)
  assert len(found) == len(times)
  np.testing.assert_allclose(found, times, atol=atol)
  levels = level(np.array(numbers) % COUNT)
  slope, offset = np.polyfit(levels, bars, 1)
  assert 0.7 < slope < 1.1
  # Which frame it is, to less than one.
  np.testing.assert_allclose((bars - offset) / slope, levels, atol=4)
  return video


INTRA = dict(gop_size=1)
SLOW = dict(gop_size=10)
B = dict(max_b_frames=2, gop_size=10)
DV = dict(codec='dvvideo', size=(576, 720), numbers=range(12))
MB = dict(bit_rate=4_000_000)
KINDS = {
  'h264.mp4': dict(**B),
  'h264_baseline.mp4': dict(options={'profile': 'baseline'}),
  'h264_fragments.mp4': dict(
    container_options={'movflags': 'frag_keyframe+empty_moov'}, **B
  ),
  'hevc.mp4': dict(codec='libx265', options=QUIET),
  'mpeg4.mp4': dict(codec='mpeg4', **MB),
  'mpeg4_b.mp4': dict(codec='mpeg4', **B, **MB),
  'vp9.mp4': dict(codec='libvpx-vp9', options={'cpu-used': '8'}),
  'av1.mp4': dict(codec='libsvtav1', options={'preset': '12'}, size=(64, 64)),
  'h264.mov': dict(**B),
  'hevc_10_bit.mov': dict(codec='libx265', pixels='yuv420p10le', options=QUIET),
  'prores.mov': dict(codec='prores', pixels='yuv422p10le'),
  'mjpeg.mov': dict(codec='mjpeg', pixels='yuvj420p', **MB),
  'png.mov': dict(codec='png', pixels='rgb24'),
  'qtrle.mov': dict(codec='qtrle', pixels='rgb24'),
  'jpeg2000.mov': dict(codec='jpeg2000'),
  'dv.mov': DV,
  'h264.3gp': dict(options={'profile': 'baseline'}),
  'mpeg4.3gp': dict(codec='mpeg4', **MB),
  'h263.3gp': dict(codec='h263', size=(144, 176), rate=NTSC, **MB),
  'h264.mkv': dict(**B),
  'h264_live.mkv': dict(container_options={'live': '1'}, **B),
  'hevc.mkv': dict(codec='libx265', options=QUIET),
  'ffv1.mkv': dict(codec='ffv1'),
  'mpeg2.mkv': dict(codec='mpeg2video', **B, **MB),
  'mpeg4.mkv': dict(codec='mpeg4', **B, **MB),
  'vp8.webm': dict(codec='libvpx', **MB),
  'vp9.webm': dict(codec='libvpx-vp9', options={'cpu-used': '8'}),
  'av1.webm': dict(codec='libsvtav1', options={'preset': '12'}, size=(64, 64)),
  'h264.avi': dict(options=FAST),
  'h264_b.avi': dict(**B),
  'mpeg4.avi': dict(codec='mpeg4', **MB),
  'mpeg4_b.avi': dict(codec='mpeg4', **B, **MB),
  'mjpeg.avi': dict(codec='mjpeg', pixels='yuvj420p', **MB),
  'ffv1.avi': dict(codec='ffv1'),
  'huffyuv.avi': dict(codec='huffyuv', pixels='yuv422p'),
  'raw.avi': dict(codec='rawvideo'),
  'wmv2.avi': dict(codec='wmv2', **MB),
  'msmpeg4.avi': dict(codec='msmpeg4v2', **MB),
  'dv.avi': DV,
  'h264.ts': dict(**B),
  'hevc.ts': dict(codec='libx265', options=QUIET),
  'mpeg2.ts': dict(codec='mpeg2video', **B, **MB),
  'h264.m2ts': dict(**B),
  'mpeg1.mpg': dict(codec='mpeg1video', **B, **MB),
  # Small packets, lest many of these small pictures share one, and its time.
  'mpeg2.mpg': dict(
    codec='mpeg2video', container_options={'packetsize': '150'}, **B, **MB
  ),
  'mpeg2.vob': dict(codec='mpeg2video', **B, **MB),
  'h264.mpg': dict(**B),
  'flv1.flv': dict(codec='flv', **MB),
  'h264.flv': dict(**B),
  'wmv1.wmv': dict(codec='wmv1', **MB),
  'wmv2.wmv': dict(codec='wmv2', **MB),
  'msmpeg4.asf': dict(codec='msmpeg4', **MB),
  'vp8.ogv': dict(codec='libvpx', **MB),
  'mpeg2.mxf': dict(codec='mpeg2video', **MB),
  'h264.mxf': dict(**B),
  'rv20.rm': dict(codec='rv20', size=(144, 176), **MB),
  'gif.gif': dict(codec='gif', pixels='gray'),
  'dv.dv': DV,
  'dv_ntsc.dv': dict(
    codec='dvvideo',
    pixels='yuv411p',
    size=(480, 720),
    rate=NTSC,
    numbers=range(12),
  ),
  # Elementary streams: their frames are counted at the rate that they state.
  'bare.h264': dict(kind='h264', **B),
  'bare.hevc': dict(codec='libx265', kind='hevc', options=QUIET),
  'bare.m4v': dict(codec='mpeg4', kind='m4v', **MB),
  'bare.m2v': dict(codec='mpeg2video', kind='mpeg2video', **B, **MB),
  'bare.m1v': dict(codec='mpeg1video', kind='mpeg1video', **B, **MB),
}


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
  monkeypatch.setenv('SVT_LOG', '0')


@pytest.mark.parametrize('name', KINDS)
def test_all_tell_the_times_that_were_written(tmp_path, name):
  how = KINDS[name]
  times = write(tmp_path / name, **how)
  video = agree(tmp_path / name, times, how.get('numbers', range(COUNT)))
  rate = float(fractions.Fraction(how.get('rate', RATE)))
  assert video.info.rate == pytest.approx(rate, rel=1e-4)
  assert video.seconds == pytest.approx(times[-1] + 1 / rate, abs=1.5e-3)
  notes = ' '.join(video.notes)
  assert 'header says' not in notes.replace('as its header says', '')
  assert ('no clock in it: frames are counted, 25 a second' in notes) == (
    name.startswith('bare')
  )
  assert ('interlaced' in notes) == name.startswith('dv')


def test_they_are_of_more_than_forty_kinds():
  assert len(KINDS) >= 60 and len({name.split('.')[1] for name in KINDS}) >= 20


GAPS = [*range(13), *range(16, 17), *range(18, 25), *range(35, COUNT)]


@pytest.mark.parametrize(
  'name',
  [
    *('h264.mp4', 'h264.mov', 'h264.mkv', 'vp8.webm', 'h264.ts', 'h264.flv'),
    *('mpeg2.mpg', 'wmv2.wmv', 'mpeg4.avi', 'mpeg4_b.avi', 'h264_b.avi', 'mjpeg.avi'),
    *('ffv1.avi', 'mpeg4.mp4', 'h264.3gp'),
  ],
)
def test_frames_that_were_dropped_leave_gaps(tmp_path, name):
  times = write(tmp_path / name, **(KINDS[name] | dict(numbers=GAPS)))
  agree(tmp_path / name, times, GAPS)


@pytest.mark.parametrize('name', ['h264.mp4', 'h264.mkv', 'wmv2.wmv', 'h264.flv'])
def test_a_rate_that_varies(tmp_path, name):
  stamps = np.cumsum(np.random.default_rng(0).choice([33, 34, 67, 400], COUNT))
  stamps = (stamps - stamps[0]).tolist()
  times = write(tmp_path / name, **(KINDS[name] | dict(stamps=stamps)))
  video = agree(tmp_path / name, times)
  assert 5 < video.info.rate < 100


def edit(path, start, seconds):
  """Has the edit list show a part of the film (ISO/IEC 14496-12, 8.6.6)."""
  content = bytearray(path.read_bytes())

  def number(name, at):
    return struct.unpack_from('>I', content, content.index(name) + at)[0]

  place = content.index(b'elst') + 12
  media = struct.unpack_from('>I', content, place + 4)[0]
  struct.pack_into('>I', content, place, round(seconds * number(b'mvhd', 16)))
  struct.pack_into('>I', content, place + 4, media + round(start * number(b'mdhd', 16)))
  path.write_bytes(content)


@pytest.mark.parametrize('name', ['h264.mp4', 'mpeg4.mp4', 'h264.mov', 'h264.3gp'])
def test_what_is_cut_off_by_an_edit_list_is_not_shown(tmp_path, name):
  write(tmp_path / name, **KINDS[name])
  edit(tmp_path / name, 13 / RATE, 20 / RATE)
  agree(tmp_path / name, np.arange(20) / RATE, range(13, 33))


@pytest.mark.parametrize(
  'name',
  [
    *('h264.mkv', 'ffv1.mkv', 'mpeg4.mkv', 'mpeg2.mkv', 'vp8.webm', 'h264.ts'),
    *('mpeg2.ts', 'h264.m2ts', 'mpeg1.mpg', 'mpeg2.mpg', 'mpeg2.vob', 'h264.mpg'),
    *('mpeg4.avi', 'h264_b.avi', 'mjpeg.avi', 'mpeg2.mxf', 'dv.dv', 'bare.h264'),
    *('bare.m2v', 'gif.gif'),
  ],
)
def test_joined_files_follow_each_other(tmp_path, name):
  path, how = tmp_path / name, KINDS[name]
  numbers = how.get('numbers', range(COUNT))
  write(path, **how)
  # Of Matroska FFmpeg reads two.
  parts = 2 if path.suffix in ('.mkv', '.webm') else 3
  content = path.read_bytes()
  path.write_bytes(content * parts)
  count = parts * len(numbers)
  agree(path, np.arange(count) / RATE, [*numbers] * parts)
  if parts == 2:
    path.write_bytes(content * 3)
    with pytest.raises(
      Dropped, match=f'follows byte {2 * len(content)} cannot be read'
    ):
      video_times(path)


@pytest.mark.parametrize('name', ['h264.mkv', 'vp8.webm', 'h264.ts', 'mpeg2.mpg'])
def test_joined_files_of_less_than_a_second(tmp_path, name):
  path = tmp_path / name
  write(path, **(KINDS[name] | dict(numbers=range(12))))
  path.write_bytes(path.read_bytes() * 2)
  video = agree(path, np.arange(24) / RATE, [*range(12)] * 2)
  assert video.notes == ['joined files: its timestamps begin anew at 0.5 s']


@pytest.mark.parametrize(
  'name',
  [
    *('h264.mp4', 'h264_fragments.mp4', 'mpeg4.mp4', 'h264.mov', 'h264.3gp'),
    *('h264.flv', 'flv1.flv', 'wmv2.wmv', 'msmpeg4.asf'),
  ],
)
def test_joined_files_of_which_only_one_is_read_are_refused(tmp_path, name):
  path = tmp_path / name
  write(path, **KINDS[name])
  content = path.read_bytes()
  path.write_bytes(content + content)
  for function in (
    video_times,
    lambda path: whole_frames(path, RATE, HEIGHT),
    lambda path: face_frames(path, FrameSpec(RATE, 32, 'X')),
  ):
    with pytest.raises(Dropped, match='files joined byte by byte') as dropped:
      function(path)
    assert dropped.value.code == 'broken_video' and '\n' not in dropped.value.reason
  # The remedy gives the parts.
  head, tail = map(int, re.findall(r'-c \+?(\d+)', dropped.value.reason))
  joined = path.read_bytes()
  assert joined[:head] == joined[tail - 1 :] == content


@pytest.mark.parametrize(
  'name', ['h264.mp4', 'h264.mov', 'h264.mkv', 'h264.ts', 'h264.flv', 'wmv2.wmv']
)
def test_a_picture_that_begins_after_the_sound(tmp_path, name):
  path, numbers = tmp_path / name, range(75, 75 + COUNT)
  write(path, sound=5, **(KINDS[name] | dict(numbers=numbers)))
  # To a packet of sound: where it begins is known no better.
  video = agree(path, 3 + np.arange(COUNT) / RATE, numbers, atol=0.03)
  assert 'the picture begins 3.0 s after the sound' in video.notes
  found = whole_frames(path, RATE, HEIGHT)
  assert len(found['jpegs']) == COUNT
  np.testing.assert_allclose(found['times'], 3 + np.arange(COUNT) / RATE, atol=0.03)


@pytest.mark.parametrize('name', ['h264.mp4', 'h264.mkv', 'mpeg4.avi', 'h264.ts'])
def test_sound_from_the_begin_on_does_not_count(tmp_path, name):
  times = write(tmp_path / name, sound=1.5, **KINDS[name])
  assert agree(tmp_path / name, times).notes == []


@pytest.mark.parametrize('name', ['h264.mp4', 'h264.mov', 'h264.mkv', 'mpeg4.avi'])
def test_a_cover_is_not_the_video(tmp_path, name):
  times = write(tmp_path / name, cover=True, **KINDS[name])
  video = agree(tmp_path / name, times)
  assert (video.info.height, video.info.width) == (HEIGHT, WIDTH)


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv', 'a.mov'])
def test_a_preview_beside_it_is_not_the_video(tmp_path, name):
  path, unit = tmp_path / name, fractions.Fraction(1, RATE)
  with av.open(str(path), 'w') as container:
    streams = [container.add_stream('libx264', rate=RATE) for _ in range(2)]
    for part, stream in enumerate(streams, 1):
      stream.height, stream.width, stream.pix_fmt = 24 * part, 32 * part, 'yuv420p'
    for number in range(COUNT):
      for part, stream in enumerate(streams, 1):
        image = np.full((24 * part, 32 * part, 3), level(number) // part, np.uint8)
        frame = av.VideoFrame.from_ndarray(image, 'rgb24')
        frame.pts, frame.time_base = number, unit
        # The preview has every second frame.
        if part == 2 or number % 2 == 0:
          container.mux(stream.encode(frame))
    for stream in streams:
      container.mux(stream.encode())
  times, _, video = told(path)
  assert (video.info.height, video.info.width) == (48, 64)
  np.testing.assert_allclose(times, np.arange(COUNT) / RATE, atol=1.1e-3)


@pytest.mark.parametrize('name', ['h264.mp4', 'h264.mov', 'h264.mkv', 'mpeg4.avi'])
def test_a_title_in_latin_1(tmp_path, name):
  path = tmp_path / name
  times = write(path, title='Gefuehle', **KINDS[name])
  path.write_bytes(path.read_bytes().replace(b'Gefuehle', b'Gef\xfchle '))
  agree(path, times)


@pytest.mark.parametrize(
  'name', ['mjpeg.avi', 'mpeg4.avi', 'mjpeg.mov', 'prores.mov', 'png.mov']
)
def test_a_damaged_first_packet_costs_its_frame(tmp_path, name):
  path = tmp_path / name
  times = write(path, **(KINDS[name] | INTRA))
  with av.open(str(path)) as container:
    packet = next(container.demux(video=0))
    place, size = packet.pos, packet.size
  content = bytearray(path.read_bytes())
  content[place : place + size] = bytes(size)
  path.write_bytes(content)
  video = agree(path, times[1:], range(1, COUNT))
  assert video.broken == 1


def test_damage_further_on_costs_no_number(tmp_path):
  """OpenFace numbers what can be decoded, not what packets there are."""
  path = tmp_path / 'mjpeg.avi'
  times = write(path, **KINDS['mjpeg.avi'])
  with av.open(str(path)) as container:
    packets = list(container.demux(video=0))
  content = bytearray(path.read_bytes())
  for k in (11, 20):
    place, size = packets[k].pos, packets[k].size
    content[place : place + size] = bytes(size)
  path.write_bytes(content)
  good = np.delete(times, [11, 20])
  np.testing.assert_allclose(decoded_times(path), good, atol=1e-6)
  table = write_units(tmp_path / 'units.csv', len(good))
  np.testing.assert_allclose(trial_units(table, path, 1.6)['au_times'], good, atol=1e-5)


def test_an_empty_packet_shows_nothing(tmp_path):
  times = write(tmp_path / 'a.mkv', **(KINDS['ffv1.mkv'] | INTRA))
  path = tmp_path / 'b.nut'
  with av.open(str(tmp_path / 'a.mkv')) as source, av.open(str(path), 'w') as sink:
    stream = sink.add_stream_from_template(source.streams.video[0])
    for number, packet in enumerate(source.demux(video=0)):
      if number in (10, 11):
        empty = av.Packet(b'')
        empty.pts, empty.dts = packet.pts, packet.dts
        packet, empty.time_base = empty, packet.time_base
      if number < COUNT:
        packet.stream = stream
        sink.mux(packet)
  agree(path, np.delete(times, [10, 11]), np.delete(np.arange(COUNT), [10, 11]))


def test_a_colon_in_the_name(tmp_path, monkeypatch):
  times = write(tmp_path / 'a.mp4', **KINDS['h264.mp4'])
  (tmp_path / 'a.mp4').rename(tmp_path / 'http:12:30.mp4')
  monkeypatch.chdir(tmp_path)
  agree(tmp_path.joinpath('http:12:30.mp4').relative_to(tmp_path), times)


def test_an_elementary_stream_that_states_no_rate_is_refused(tmp_path):
  path = tmp_path / 'a.mjpeg'
  write(path, 'mjpeg', 'yuvj420p', kind='mjpeg')
  for function in (video_times, lambda path: whole_frames(path, RATE, HEIGHT)):
    with pytest.raises(Dropped, match='no clock.*ffmpeg -framerate RATE') as dropped:
      function(path)
    assert dropped.value.code == 'broken_video' and '\n' not in dropped.value.reason


def scene(time, height=288, width=352):
  """A bright bar that moves 300 pixels a second, as grey at a time."""
  x = np.arange(width)[None]
  bar = 60 + 140 / (1 + np.exp(-(12 - np.abs(x - 40 - 300 * time))))
  shade = 20 * np.sin(np.arange(height)[:, None] / 40)
  return bar + shade


@pytest.mark.parametrize(
  ('file', 'codec', 'options'),
  [
    ('a.mpg', 'mpeg2video', {'flags': '+ildct+ilme', 'b': '20M'}),
    ('a.ts', 'libx264', {'flags': '+ildct', 'crf': '6'}),
    ('a.mp4', 'libx264', {'flags': '+ildct', 'crf': '6'}),
  ],
)
def test_interlaced_pictures_lose_their_combs(tmp_path, file, codec, options):
  path = tmp_path / file
  graph = av.filter.Graph()
  source = graph.add_buffer(
    width=352,
    height=288,
    format=av.VideoFormat('yuv420p'),
    time_base=fractions.Fraction(1, RATE),
  )
  fields = graph.add('setfield', 'mode=tff')
  source.link_to(fields)
  fields.link_to(graph.add('buffersink'))
  graph.configure()
  with av.open(str(path), 'w') as container:
    stream = container.add_stream(codec, rate=RATE)
    stream.height, stream.width, stream.pix_fmt = 288, 352, 'yuv420p'
    stream.options = options
    for k in range(10):
      woven = scene(k / RATE)
      woven[1::2] = scene((k + 0.5) / RATE)[1::2]
      image = np.repeat(woven.round().astype(np.uint8)[..., None], 3, 2)
      frame = av.VideoFrame.from_ndarray(image, 'rgb24').reformat(format='yuv420p')
      frame.pts, frame.time_base = k, fractions.Fraction(1, RATE)
      graph.push(frame)
      container.mux(stream.encode(graph.pull()))
    container.mux(stream.encode())
  with Video(path) as video:
    shown = [(time, luma(frame).astype(float)) for time, frame in video]
  assert len(shown) == 10
  assert 'interlaced, made into whole pictures (bwdif)' in video.notes
  for k, (time, image) in enumerate(shown):
    assert time == pytest.approx(k / RATE, abs=1e-3)
    expected = 16 + scene(k / RATE) * 219 / 255
    woven = 16 + scene((k + 0.5) / RATE) * 219 / 255
    comb = np.abs(woven - expected)[1::2].mean()
    assert comb > 3
    assert np.abs(image - expected)[1::2].mean() < comb / 5
  assert video_times(path).notes == video.notes
  found = whole_frames(path, RATE, 64)
  assert len(found['jpegs']) == 10
  assert found['quality']['video_notes'] == '; '.join(video.notes)


def test_this_process_stays_as_patient_as_it_was(tmp_path):
  before = os.sched_getscheduler(0)
  write(tmp_path / 'av1.mp4', **KINDS['av1.mp4'])
  assert os.sched_getscheduler(0) == before


def cut(path, share):
  path.write_bytes(path.read_bytes()[: round(share * path.stat().st_size)])


@pytest.mark.parametrize(
  'name, sound',
  [
    ('h264.mkv', 0),
    ('h264.mkv', 7),
    ('vp8.webm', 0),
    ('flv1.flv', 0),
    ('h264.flv', 7),
    ('wmv2.wmv', 7),
    ('msmpeg4.asf', 0),
  ],
)
def test_a_file_cut_off_is_refused_by_what_its_header_promises(tmp_path, name, sound):
  path = tmp_path / name
  write(path, sound=sound, **(KINDS[name] | dict(numbers=range(200), gop_size=10)))
  assert 'header' not in ' '.join(video_times(path).notes)
  if path.suffix == '.mkv':  # as those of other programs, without FFmpeg's tag
    path.write_bytes(path.read_bytes().replace(b'DURATION', b'LENGTH__'))
  cut(path, 0.4)
  with pytest.raises(
    Dropped, match=r'truncated\? It holds \d\.\d of \d+\.\d s'
  ) as told:
    whole_frames(path, RATE, HEIGHT)
  assert told.value.code == 'broken_video'


def test_a_live_stream_promises_nothing(tmp_path):
  path = tmp_path / 'a.mkv'
  write(path, **(KINDS['h264_live.mkv'] | dict(numbers=range(200))))
  cut(path, 0.5)
  assert video_times(path).notes == []


@pytest.mark.parametrize(
  'content, told',
  [
    (b'{"error": 9}', """text, '{"error": 9}'; get the video itself"""),
    (b'PK\x03\x04' + bytes(90), 'a zip file; unpack it'),
    (None, 'its index (moov) is missing: it was copied in part'),
  ],
)
def test_why_a_file_is_no_video(tmp_path, content, told):
  path = tmp_path / 'a.mp4'
  write(path)
  path.write_bytes(content or path.read_bytes()[:-300])
  with pytest.raises(Dropped) as dropped:
    video_times(path)
  assert f'a.mp4: {told}' in dropped.value.reason


@pytest.mark.parametrize(
  'entries, told',
  [
    ([(400, 0, 1), (1000, -1, 1), (400, 0, 1)], 'has a pause between two parts'),
    ([(400, 0, 1), (400, 0, 1)], 'shows a part twice'),
    ([(1600, 0, 0.5)], 'shows a part at 0.5 times its pace'),
  ],
)
def test_edit_lists_that_ffmpeg_shows_otherwise_are_refused(tmp_path, entries, told):
  path = tmp_path / 'a.mp4'
  write(path, gop_size=10)
  content = path.read_bytes()
  at = content.index(b'elst') - 4
  (size,) = struct.unpack_from('>I', content, at)
  edits = struct.pack('>I4sII', 16 + 12 * len(entries), b'elst', 0, len(entries))
  for length, begin, pace in entries:  # of 1/1000 s
    edits += struct.pack('>IiI', length, begin, round(pace * (1 << 16)))
  changed = bytearray(content[:at] + edits + content[at + size :])
  for name in (b'edts', b'trak', b'moov'):
    place = content.rindex(name, 0, at + 4) - 4
    (whole,) = struct.unpack_from('>I', content, place)
    struct.pack_into('>I', changed, place, whole + len(edits) - size)
  path.write_bytes(changed)
  with pytest.raises(Dropped, match=f'its edit list {told}, which is not read'):
    video_times(path)
