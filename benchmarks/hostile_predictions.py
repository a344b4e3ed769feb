"""What `predict` says of hostile videos and signal files: rows, a named error, silence?

  python benchmarks/hostile_predictions.py [--folder DIR] [--only WORD]

Writes films of one drawn face in as many codecs, containers, shapes, clocks and states
of damage as FFmpeg has here, and the signal files of the tests (as loggers write them,
and broken), and predicts each in this process with tiny models that are trained first.

A video is `right` if `frames.csv` has a row for every frame that PyAV decodes by
itself, `refused` if it is named in one line, and `silent` is all else. The last line is
one JSON object.
"""

import argparse
import collections
import contextlib
import dataclasses
import fractions
import functools
import io
import json
import sys
import tempfile
from pathlib import Path

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import mvp_jax
from mvp_jax.jobs import train
from mvp_jax.synthetic.face import face_frames
from mvp_jax.synthetic.spec import TwinSpec
from tests.corpora.recordings.broken_files import BROKEN
from tests.corpora.recordings.logger_files import LAYOUTS, Body
from tests.inference.conftest import config_of

RATE, COUNT, SIZE = 8, 32, (96, 128)  # frames a second; height, width
MS = fractions.Fraction(1, 1000)


@functools.cache
def pictures(count=COUNT):
  """A face in RGB: list of uint8 [96, 128, 3]."""
  spec = TwinSpec(
    subjects=1,
    trials=1,
    frame_rate=RATE,
    height=SIZE[0],
    width=SIZE[1],
    pixel_aspect=(1, 1),
    video_seconds=count / RATE,
  )
  found = []
  for image in face_frames(spec, 1, 1):
    frame = av.VideoFrame.from_ndarray(image, format='yuv420p')
    found.append(frame.to_ndarray(format='rgb24'))
  return found[:count]


def write(path, codec='libx264', pixels='yuv420p', *, images=None, rate=RATE, **more):
  """Writes a film; `stamps` in milliseconds, `edit` and `kind` of the container."""
  images = pictures() if images is None else images
  stamps, kind = more.pop('stamps', None), more.pop('kind', None)
  size, sound = more.pop('size', None), more.pop('sound', False)
  aspect, options = more.pop('aspect', 1), more.pop('options', {})
  with av.open(str(path), 'w', format=kind, options=options) as out:
    stream = out.add_stream(codec, rate=rate)
    stream.height, stream.width = size or images[0].shape[:2]
    stream.pix_fmt = pixels
    stream.codec_context.sample_aspect_ratio = fractions.Fraction(aspect)
    stream.options = more.pop('codec_options', {})
    for name, value in more.items():
      setattr(stream.codec_context, name, value)
    if stamps is not None:
      stream.codec_context.time_base = MS
    heard = (
      out.add_stream('mp2' if 'mpg' in path.suffix else 'aac', 48000) if sound else 0
    )
    for number, image in enumerate(images):
      frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), 'rgb24')
      frame = frame.reformat(stream.width, stream.height, pixels)
      if stamps is not None:
        frame.pts, frame.time_base = stamps[number], MS
      out.mux(stream.encode(frame))
    out.mux(stream.encode())
    if heard:
      for k in range(int(len(images) / rate * 48000 / 1024)):
        frame = av.AudioFrame.from_ndarray(
          np.zeros((1, 1024), np.float32), 'fltp', 'mono'
        )
        frame.sample_rate, frame.pts = 48000, 1024 * k
        out.mux(heard.encode(frame))
      out.mux(heard.encode())
  return path


def _padded(height, width):
  """The face in a picture of another shape, on grey."""
  found = []
  for image in pictures():
    canvas = np.full((max(height, 96), max(width, 128), 3), 90, np.uint8)
    canvas[:96, :128] = image
    found.append(canvas[:height, :width])
  return found


def _scaled(height, width):
  return dict(size=(height, width))


# Codec, pixels, and the files that hold it.
CODECS = """
libx264 yuv420p mp4 mov mkv avi flv ts m4v 3gp
libx264 yuv422p mkv
libx264 yuv444p mkv
libx264 yuv420p10le mkv
libx264 gray mkv
libx264 nv12 mkv
libx264rgb rgb24 mkv
libx265 yuv420p mp4
libx265 yuv420p10le mov
libx265 yuv444p12le mkv
libx265 gray mkv
mpeg4 yuv420p avi mp4 mkv
mpeg2video yuv420p mpg ts mkv mxf
mpeg1video yuv420p mpg
mjpeg yuvj420p avi
mjpeg yuvj422p mov
mjpeg yuvj444p mkv
ffv1 yuv420p mkv
ffv1 gray mkv
ffv1 gray16le mkv
ffv1 yuv422p10le mkv
ffv1 bgra mkv
ffv1 yuva420p mkv
ffv1 gbrp10le mkv
ffv1 yuv420p16le mkv
png rgb24 mov
png rgba mov
png gray mov
png rgb48be mov
png monob mov
apng rgba apng
gif rgb8 gif
libwebp_anim yuva420p webp
libvpx yuv420p webm
libvpx yuva420p webm
libvpx-vp9 yuv420p webm mp4
libsvtav1 yuv420p mp4 webm
prores_ks yuv422p10le mov
prores_ks yuva444p10le mov
huffyuv yuv422p avi
ffvhuff yuv420p avi
utvideo yuv420p avi
magicyuv yuv420p avi
qtrle argb mov
qtrle rgb24 mov
rawvideo yuv420p avi y4m
rawvideo bgr24 avi
wmv1 yuv420p wmv
wmv2 yuv420p wmv
msmpeg4 yuv420p avi
msmpeg4v2 yuv420p avi
flv yuv420p flv
h263p yuv420p avi
snow yuv420p nut
cinepak rgb24 avi
zmbv bgr0 avi
jpeg2000 rgb24 mov
v210 yuv422p10le mov
ljpeg yuvj420p avi
rpza rgb555le mov
rv20 yuv420p rm
asv1 yuv420p avi
"""
QUIET = {'x265-params': 'log-level=none'}


def cases(folder):
  """{name: function that writes it and returns its Path}."""
  found = {}

  def add(name, file, *codec, then=lambda path: None, **how):
    def make():
      path = write(folder / f'{name}{file}', *codec, **how)
      return then(path) or path

    found[name] = make

  def raw(name, content):
    path = folder / name
    found[name] = lambda: (path.write_bytes(content()), path)[1]

  def cut(share):
    return lambda path: (
      path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)]) and None
    )

  def spoil(path):
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for at in rng.integers(len(content) // 3, len(content), 40):
      content[at] ^= 0xFF
    path.write_bytes(content)

  def twice(path):
    path.write_bytes(path.read_bytes() * 2)

  def renamed(ending):
    return lambda path: path.rename(path.with_suffix(ending))

  for line in CODECS.strip().split('\n'):
    codec, pixels, *endings = line.split()
    for ending in endings:
      more = {'codec_options': QUIET} if 'x265' in codec else {}
      if codec in ('libx264', 'libx265') and ending in ('mp4', 'avi'):
        more['max_b_frames'] = 2
      if pixels == 'yuva420p' and codec == 'libvpx':
        more = {'codec_options': {'auto-alt-ref': '0'}}
      if codec in ('mpeg1video', 'mpeg2video'):
        more |= {'rate': 25, 'images': pictures(100)}
      add(f'{codec}_{pixels}_{ending}', f'.{ending}', codec, pixels, **more)
  add('raw_h264', '.h264', kind='h264')
  add('raw_hevc', '.hevc', 'libx265', kind='hevc', codec_options=QUIET)
  add('ivf', '.ivf', 'libvpx')
  add('fragmented', '.mp4', options={'movflags': 'frag_keyframe+empty_moov'})
  add('faststart', '.mp4', options={'movflags': 'faststart'})
  add('live_mkv', '.mkv', options={'live': '1'})
  add('with_sound', '.mp4', sound=True)
  add('with_sound_ts', '.ts', sound=True)
  for count in (1, 2, 3, 5):
    add(f'{count}_frames', '.mp4', images=pictures()[:count])
  add('1_frame_gif', '.gif', 'gif', 'rgb8', images=pictures()[:1])
  for height, width in (
    (4, 4),
    (2, 2),
    (16, 16),
    (31, 33),
    (1, 1),
    (98, 130),
    (95, 127),
  ):
    add(f'scaled_{height}x{width}', '.mkv', 'ffv1', 'yuv444p', size=(height, width))
  for height, width in ((1500, 128), (96, 1500), (1080, 1920), (2160, 128), (96, 4000)):
    add(f'padded_{height}x{width}', '.mp4', images=_padded(height, width))
  for aspect in ('16/15', '2', '1/2', '8'):
    add(f'aspect_{aspect.replace("/", "_")}', '.mp4', aspect=aspect)
  steps = np.random.default_rng(0).choice([33, 67, 125, 400], COUNT)
  add('variable_rate', '.mp4', stamps=np.cumsum(steps).tolist())
  add('variable_rate_mkv', '.mkv', stamps=np.cumsum(steps).tolist())
  add('negative_start', '.mkv', stamps=[-500 + 125 * k for k in range(COUNT)])
  add('late_start', '.mkv', stamps=[50_000 + 125 * k for k in range(COUNT)])
  add('pause', '.mkv', stamps=[125 * k + 9000 * (k > 15) for k in range(COUNT)])
  add('jump', '.mkv', stamps=[125 * k + 900_000 * (k > 15) for k in range(COUNT)])
  add('120_hz', '.mp4', rate=120, images=pictures() * 8)
  add('1_hz', '.mp4', rate=1)
  add('ntsc', '.mp4', rate=fractions.Fraction(30000, 1001), images=pictures() * 2)
  add('still', '.mp4', images=pictures()[:1] * COUNT)
  add('black', '.mp4', images=[np.zeros((96, 128, 3), np.uint8)] * COUNT)
  noise = np.random.default_rng(0).integers(0, 255, (COUNT, 96, 128, 3), np.uint8)
  add('noise_picture', '.mkv', 'ffv1', 'yuv444p', images=list(noise))
  half = pictures()[:16] + [np.full((96, 128, 3), 90, np.uint8)] * 16
  add('face_then_none', '.mp4', images=half)
  add('none_then_face', '.mp4', images=half[::-1])
  add('upside_down', '.mp4', images=[x[::-1] for x in pictures()])
  add('on_its_side', '.mp4', images=[np.rot90(x) for x in pictures()])
  add('dark', '.mp4', images=[x // 12 for x in pictures()])
  add('two_faces', '.mp4', images=[np.hstack([x, x[:, ::-1]]) for x in pictures()])
  add(
    'interlaced', '.mkv', 'mpeg2video', flags=0x20040000, rate=25, images=pictures(50)
  )
  for ending, how in (
    ('.mp4', {}),
    ('.mkv', {}),
    ('.avi', {}),
    ('.ts', {}),
    ('.flv', {}),
  ):
    for share in (0.05, 0.5, 0.95):
      add(f'cut_{share}_{ending[1:]}', ending, then=cut(share), **how)
    add(f'spoilt_{ending[1:]}', ending, then=spoil)
    add(f'joined_{ending[1:]}', ending, then=twice)
  for ending in ('.mp4', '.mkv'):
    for other in ('.avi', '.txt', '.MP4', '.jpg', ''):
      add(f'called{ending[1:]}{other or "_none"}', ending, then=renamed(other))
  add('ümlaut und raum', '.mp4')
  add('-dash', '.mp4')
  add('percent%20#hash', '.mp4')
  raw('empty.mp4', lambda: b'')
  raw('zeros.mp4', lambda: bytes(10_000))
  raw('text.mp4', lambda: b'Dear diary,\n' * 200)
  raw('page.mp4', lambda: b'<!DOCTYPE html><html>login</html>')
  raw(
    'pointer.mp4', lambda: b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n'
  )
  raw('playlist.m3u8.mp4', lambda: b'#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n')
  raw('archive.mp4', lambda: b'PK\x03\x04' + bytes(200))
  found['sound_alone'] = lambda: _sound(folder / 'sound_alone.m4a')
  found['folder.mp4'] = lambda: (
    (folder / 'folder.mp4').mkdir(),
    folder / 'folder.mp4',
  )[1]
  found['not_there.mp4'] = lambda: folder / 'not_there.mp4'
  return found


def _sound(path):
  with av.open(str(path), 'w') as out:
    stream = out.add_stream('aac', rate=8000, layout='mono')
    for k in range(30):
      frame = av.AudioFrame.from_ndarray(
        np.zeros((1, 1024), np.float32), 'fltp', 'mono'
      )
      frame.sample_rate, frame.pts = 8000, 1024 * k
      out.mux(stream.encode(frame))
    out.mux(stream.encode())
  return path


def frames_of(path):
  """How many frames PyAV decodes of the first video, damaged packets left out."""
  count = 0
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    for packet in container.demux(stream):
      if not packet.size and packet.dts is not None:
        continue
      with contextlib.suppress(av.InvalidDataError):
        count += len(packet.decode())
  return count


def models(folder):
  """Tiny models of video alone and of signals alone, trained on made-up people."""
  config = config_of(folder)
  config = dataclasses.replace(
    config,
    evaluation=dataclasses.replace(
      config.evaluation, models=('video', 'physio'), seeds=1, ensemble=1
    ),
  )
  with contextlib.redirect_stdout(io.StringIO()):
    train.run(config, folder / 'run')
  return mvp_jax.load(folder / 'run', 'video'), mvp_jax.load(folder / 'run', 'physio')


def told(function, *args, **given):
  """(Prediction or None, its problem): every other exception is a fault."""
  try:
    with contextlib.redirect_stderr(io.StringIO()):
      return function(*args, **given), ''
  except mvp_jax.InputError as error:
    return None, str(error)
  except Exception as error:  # noqa: BLE001
    return None, f'FAULT {type(error).__name__}: {error}'


def judged(found, problem, wanted):
  """The verdict on a prediction that should have a row for each of `wanted` frames."""
  if found is None:
    if problem.startswith('FAULT') or '\n' in problem or not problem:
      return 'silent', problem
    return 'refused', problem
  table = found.frames
  rows = int((table['face_id'] == 0).sum())
  if rows != wanted:
    return 'silent', f'{rows} rows, PyAV decodes {wanted} frames'
  if (np.diff(table['seconds'][table['face_id'] == 0]) <= 0).any():
    return 'silent', 'times do not advance'
  return 'right', '; '.join(found.result['notes'])


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--folder', type=Path, help='kept, with the trained models')
  parser.add_argument('--only', default='', help='part of the names to try')
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as temporary:
    folder = args.folder or Path(temporary)
    video, physio = models(folder)
    summary = {'benchmark': 'hostile_predictions'}
    for what, verdicts in (
      ('videos', videos(video, args.only)),
      ('signals', signals(physio, args.only)),
    ):
      counts = collections.Counter()
      for name, verdict, text in verdicts:
        counts[verdict] += 1
        print(f'{what:<8}{verdict:<9}{name:<34}{text[:160]}', flush=True)
      print(f'{what}: {dict(counts)}')
      summary[what] = dict(counts)
  print(json.dumps(summary))


def videos(model, only):
  with tempfile.TemporaryDirectory() as temporary:
    for name, make in cases(Path(temporary)).items():
      if only not in name:
        continue
      try:
        path = make()
      except (av.FFmpegError, ValueError, OSError) as error:
        yield name, 'unwritten', str(error)
        continue
      found, problem = told(model.predict, path)
      wanted = frames_of(path) if found is not None else 0
      verdict, text = judged(found, problem, wanted)
      yield name, verdict, text.replace(temporary, '')


def signals(model, only):
  for name, (write_file, how) in (LAYOUTS | BROKEN).items():
    if only not in name:
      continue
    with tempfile.TemporaryDirectory() as temporary:
      body = Body(np.random.default_rng(0))
      row = write_file(Path(temporary), body, **how)
      given = {k: v for k, v in row.items() if k not in ('subject', 'trial') and v}
      for name_of in given:
        if name_of == 'signals' or name_of.endswith('_file'):
          given[name_of] = str(Path(temporary, given[name_of]))
      found, problem = told(model.predict, None, **given)
      if found is None:
        bad = problem.startswith('FAULT') or '\n' in problem
        yield name, 'silent' if bad else 'refused', problem.replace(temporary, '')
        continue
      known = all(x['value'] is not None for x in found.result['estimates'].values())
      notes = '; '.join(found.result['notes'])
      yield name, 'right' if known or notes else 'silent', notes


if __name__ == '__main__':
  main()
