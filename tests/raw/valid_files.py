"""Writes a small valid file of each kind that is read, to be damaged.

`FILES` maps its kind to a function of a folder, which writes it and returns (which of
`hostile_files.READERS` reads it, arguments).
"""

import pickle

import av
import cv2
import edfio
import numpy as np
from scipy.io import savemat

from tests.raw.hostile_files import (
  EDA,
  e4,
  openface,
  rows,
  text,
  wfdb,
  write_video,
)
from tests.raw.sound_files import write_sound


def mat(compressed):
  def write(folder):
    content = {
      'eda': EDA[:300],
      'deep': {'x': EDA[:100], 'who': 'P01'},
      'cells': np.array([EDA[:20], 'ab'], object),
      'matrix': np.arange(60).reshape(20, 3),
    }
    savemat(folder / 'a.mat', content, do_compression=compressed)
    return 'channel', folder / 'a.mat'

  return write


def npz(save):
  def write(folder):
    save(folder / 'a.npz', eda=EDA[:300].astype('f4'), matrix=np.eye(4))
    return 'channel', folder / 'a.npz'

  return write


def edf(signal, whole, name):
  def write(folder):
    whole([signal(EDA[:1000], 100, label='eda', physical_range=(0, 10))]).write(
      folder / name
    )
    return 'channel', folder / name, 'eda', None

  return write


def dat(protocol):
  def write(folder):
    content = {'data': np.zeros((1, 40, 20)), 'labels': np.zeros((1, 4))}
    (folder / 's01.dat').write_bytes(pickle.dumps(content, protocol))
    return 'deap', folder / 's01.dat'

  return write


def picture(name):
  def write(folder):
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    (folder / name).write_bytes(cv2.imencode(name[1:], image)[1].tobytes())
    return 'picture', folder / name

  return write


def sound(name, codec, kind):
  def write(folder):
    write_sound(folder / name, codec=codec, kind=kind)
    return 'sound', folder / name

  return write


def video(name, **options):
  def write(folder):
    return 'video', write_video(folder / name, times=range(0, 800, 40), **options)

  return write


def avi(folder):
  with av.open(str(folder / 'a.avi'), 'w') as container:
    stream = container.add_stream('mpeg4', rate=25)
    stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
    for i in range(20):
      image = np.full((48, 64, 3), 5 * i, np.uint8)
      container.mux(stream.encode(av.VideoFrame.from_ndarray(image, 'rgb24')))
    container.mux(stream.encode())
  return 'video', folder / 'a.avi'


HEADER = 'r 2 100 1000 10:00:00 01/01/2020\nr.dat 16 1000(0)/uS 16 0 0 0 0 eda\n'
FILES = {
  'csv': text('a.csv', lambda: rows(np.arange(400) / 100, EDA[:400])),
  'mat': mat(False),
  'mat, compressed': mat(True),
  'npz': npz(np.savez),
  'npz, compressed': npz(np.savez_compressed),
  'e4': e4(),
  'wfdb': wfdb(HEADER + 'r.dat 16x2 200 16 0 0 0 0 ECG\n'),
  'edf': edf(edfio.EdfSignal, edfio.Edf, 'a.edf'),
  'bdf': edf(edfio.BdfSignal, edfio.Bdf, 'a.bdf'),
  'dat, protocol 2': dat(2),
  'dat, protocol 5': dat(5),
  'openface': openface(range(1, 60), np.arange(59) / 25),
  'png': picture('a.png'),
  'jpg': picture('a.jpg'),
  'wav': sound('a.wav', 'pcm_s16le', 's16'),
  'flac': sound('a.flac', 'flac', 's16'),
  'mp4': video('a.mp4'),
  'mp4, fragments': video('a.mp4', container='fragments'),
  'mkv': video('a.mkv'),
  'avi': avi,
}
