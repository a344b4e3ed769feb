"""A drawn face, small videos and pickles as Python 2 wrote them."""

import fractions
import struct

import av
import cv2
import numpy as np
import pytest


@pytest.fixture(scope='session')
def draw_face():
  """Function (height, width, x, y, side) -> RGB image with a face.

  x, y: middle of the face in pixels, side: its width. Haar finds a box of about
  1.13 side around it.
  """

  def draw(height, width, x, y, side):
    image = np.full((height, width, 3), 90, np.uint8)

    def ellipse(centre, axes, colour):
      cv2.ellipse(
        image,
        _fixed(x + centre[0] * side, y + centre[1] * side),
        _fixed(axes[0] * side, axes[1] * side),
        0,
        0,
        360,
        colour,
        -1,
        cv2.LINE_AA,
        4,
      )

    ellipse((0, 0.02), (0.5, 0.66), (45, 50, 60))
    ellipse((0, 0.08), (0.42, 0.58), (225, 190, 170))
    for way in (-1, 1):
      ellipse((way * 0.19, -0.1), (0.1, 0.055), (165, 130, 110))
      ellipse((way * 0.19, -0.09), (0.085, 0.035), (235, 235, 235))
      ellipse((way * 0.19, -0.09), (0.04, 0.04), (30, 30, 30))
      ellipse((way * 0.2, -0.2), (0.12, 0.03), (60, 50, 50))
      ellipse((way * 0.05, 0.16), (0.03, 0.02), (150, 110, 90))
    ellipse((0, 0.06), (0.035, 0.13), (238, 205, 185))
    ellipse((0, 0.34), (0.16, 0.05), (150, 80, 80))
    return image

  return draw


def _fixed(x, y):
  return round(x * 16), round(y * 16)


@pytest.fixture(scope='session')
def write_video():
  """Function (path, images, rate, aspect=1) writing H.264; rate in Hz."""

  def write(path, images, rate, aspect=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), 'w') as container:
      stream = container.add_stream('libx264', rate=rate)
      stream.height, stream.width = images[0].shape[:2]
      stream.pix_fmt = 'yuv420p'
      stream.codec_context.sample_aspect_ratio = fractions.Fraction(aspect)
      stream.options = {'crf': '12', 'preset': 'veryfast'}
      for image in images:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), 'rgb24')
        container.mux(stream.encode(frame))
      container.mux(stream.encode())

  return write


@pytest.fixture
def write_python2_pickle():
  """Function (path, dict of float64 arrays), opcode by opcode as Python 2 did."""

  def text(value):
    return b'U' + bytes([len(value)]) + value.encode()  # SHORT_BINSTRING

  def number(value):
    return b'J' + struct.pack('<i', value)  # BININT

  def array(value):
    payload = value.astype('<f8').tobytes()
    dtype = (
      b'cnumpy\ndtype\n('
      + text('f8')
      + number(0)
      + number(1)
      + b'tR('
      + number(3)
      + text('<')
      + b'NNN'
      + number(-1) * 2
      + number(0)
      + b'tb'
    )
    return (
      b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n('
      + number(0)
      + b't'
      + text('b')
      + b'tR('
      + number(1)
      + b'('
      + b''.join(number(n) for n in value.shape)
      + b't'
      + dtype
      + b'\x89T'
      + struct.pack('<i', len(payload))
      + payload
      + b'tb'
    )

  def write(path, arrays):
    items = b''.join(text(k) + array(v) for k, v in arrays.items())
    path.write_bytes(b'\x80\x02}(' + items + b'u.')

  return write
