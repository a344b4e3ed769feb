"""Writes media files with sound, and a picture if it is asked for."""

import fractions

import av
import numpy as np

RATE = 44_100
BURSTS = ((1.0, 1.25), (2.0, 2.1), (2.6, 2.9))  # seconds


def bursts(rate=RATE, seconds=3.5, hertz=1000.0):
  """A tone that is heard in `BURSTS` alone: float32 [time]."""
  times = np.arange(round(seconds * rate)) / rate
  heard = sum((times >= a - 1e-9) & (times < b - 1e-9) for a, b in BURSTS)
  return (0.5 * heard * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def write_sound(
  path,
  sound=None,
  rate=RATE,
  codec='pcm_s16le',
  kind='s16',
  layout='mono',
  *,
  start=0.0,
  gap=None,
  stop=np.inf,
  picture=None,
  picture_start=0.0,
  tracks=1,
  drift=1.0,
  container=None,
):
  """Writes float [time] or [channels, time]; a sample n is heard at n / rate.

  Args:
    codec, kind, layout: of the sound; `kind` a sample format.
    start, gap, stop: what is before `start`, within `gap` and after `stop` seconds is
      not in the file.
    picture: seconds of it, from `picture_start` on, at 25 frames a second.
    drift: seconds of the file's clock in one of the sound's.
    tracks: of sound, the first one of which holds it.
  """
  sound = bursts(rate) if sound is None else sound
  sound = np.atleast_2d(sound)
  channels = av.AudioLayout(layout).nb_channels
  if len(sound) < channels:
    sound = np.repeat(sound, channels, 0)
  with av.open(str(path), 'w', format=container) as file:
    streams = []
    for _ in range(tracks):
      stream = file.add_stream(codec, rate=rate, layout=layout)
      stream.codec_context.format = kind
      streams.append(stream)
    if picture:
      shown = file.add_stream('mpeg4', rate=25)
      shown.width = shown.height = 32
      shown.pix_fmt = 'yuv420p'
    packets = []
    for number, stream in enumerate(streams):
      for first in range(0, sound.shape[1], 441):
        begin = first / rate
        if begin < start or begin >= stop or (gap and gap[0] <= begin < gap[1]):
          continue
        part = sound[:, first : first + 441] * (number == 0)
        frame = _frame(part, kind, layout)
        frame.sample_rate, frame.pts = rate, round(drift * first)
        frame.time_base = fractions.Fraction(1, rate)
        packets += stream.encode(frame)
      packets += stream.encode()
    if picture:
      for k in range(round(25 * picture)):
        image = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 4 * k % 200, np.uint8))
        image.pts = k + round(25 * picture_start)
        image.time_base = fractions.Fraction(1, 25)
        packets += shown.encode(image)
      packets += shown.encode()
    packets = [p for p in packets if p.dts is not None]
    file.mux(sorted(packets, key=lambda p: p.dts * p.time_base))


def _frame(part, kind, layout):
  base, planar = kind.removesuffix('p'), kind.endswith('p')
  if base == 'u8':
    part = np.clip(np.rint(part * 128 + 128), 0, 255).astype(np.uint8)
  elif base in ('s16', 's32'):
    top = 2.0 ** (int(base[1:]) - 1)
    part = np.clip(np.rint(part * top), -top, top - 1).astype(f'int{base[1:]}')
  if not planar:
    part = part.T.reshape(1, -1)
  return av.AudioFrame.from_ndarray(np.ascontiguousarray(part), kind, layout)
