"""Writes the videos of a twin: H.264, with sound or without, and sound files."""

import fractions
import wave

import av
import numpy as np

from mvp_jax.synthetic.face import face_frames
from mvp_jax.synthetic.voice import RATE

_SAMPLES = 1024  # of sound in one frame


def write_face_video(path, spec, subject, trial):
  """Writes one face video to `path` (.avi)."""
  write_video(path, spec, spec.width, face_frames(spec, subject, trial))


def write_video(path, spec, width, frames, sound=None):
  """Writes frames as `face_frames` gives them, `width` pixels wide, as H.264.

  `spec` says their rate, height and pixel aspect, the ending of `path` the kind
  of file; `sound` is float32 [samples], as `voice` gives it. Every frame is a key
  frame: that takes half the time, and a seventh more bytes.
  """
  rate = fractions.Fraction(spec.frame_rate).limit_denominator(1001)
  with av.open(str(path), 'w') as container:
    shown = container.add_stream(
      'libx264',
      rate=rate,
      options={'preset': 'ultrafast', 'crf': str(spec.crf), 'threads': '1', 'g': '1'},
    )
    shown.width, shown.height = width, spec.height
    shown.pix_fmt = 'yuv420p'
    shown.codec_context.sample_aspect_ratio = fractions.Fraction(*spec.pixel_aspect)
    heard = sound is not None and container.add_stream('aac', rate=RATE, layout='mono')
    for image in frames:
      container.mux(shown.encode(av.VideoFrame.from_ndarray(image, format='yuv420p')))
    container.mux(shown.encode())
    if heard:
      for start in range(0, len(sound), _SAMPLES):
        frame = av.AudioFrame.from_ndarray(
          sound[None, start : start + _SAMPLES], 'fltp', 'mono'
        )
        frame.sample_rate, frame.pts = RATE, start
        container.mux(heard.encode(frame))
      container.mux(heard.encode())


def write_wav(path, sound):
  """Writes float32 [samples], as `voice` gives it, as 16-bit numbers."""
  with wave.open(str(path), 'wb') as file:
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(RATE)
    file.writeframes(np.round(32767 * sound).astype('<i2').tobytes())


def side_by_side(images, height):
  """Planar YUV 4:2:0 pictures, beside each other: uint8 [height * 3 / 2, width]."""
  bright = np.hstack([image[:height] for image in images])
  colours = []
  for first in (height, height + height // 4):  # U, then V
    planes = [
      image[first : first + height // 4].reshape(height // 2, -1) for image in images
    ]
    colours.append(np.hstack(planes).reshape(height // 4, -1))
  return np.vstack([bright, *colours])
