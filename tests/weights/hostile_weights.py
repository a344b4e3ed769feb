"""Writes checkpoints that are made to hang a reader, or to fill the memory.

`FILES` as in `tests/raw/hostile_files.py`.
"""

import os
import struct
import zipfile

import numpy as np

from mvp_jax.errors import InputError
from mvp_jax.weights.export import export_huggingface
from mvp_jax.weights.sources import infer_config, open_source
from mvp_jax.weights.torch_file import write_torch
from tests.weights import tiny

READ, REFUSED = 'read', (InputError,)
NAME = 'model.patch_embed.proj.weight'


def weights(path):
  source = open_source(path)
  config = infer_config(source, 4)
  for stored in source.tensors.values():
    stored.read()
  return config


READERS = {'weights': weights}


def torch_file(change=lambda data: data, edit=None, **members):
  """A function that writes a small file of torch.save with its pickle changed."""

  def write(folder):
    path = folder / 'x.pth'
    write_torch(path, {'model': {'patch_embed.proj.weight': np.ones((4, 3), 'f4')}})
    with zipfile.ZipFile(path) as file:
      entries = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, 'w') as file:
      for name, data in entries.items():
        file.writestr(name, change(data) if name.endswith('/data.pkl') else data)
    if edit:
      edit(path)
    return 'weights', path

  return write


def beside(opcodes):
  """Puts opcodes, which leave an object, into the dict beside the model."""
  return lambda data: data[:-1] + b'X\x01\x00\x00\x00a' + opcodes + b's.'


def dimensions(old, new):
  """Another shape and strides in place of (4, 3) and (3, 1)."""

  def whole(numbers):
    return b''.join(b'\x8a\x08' + struct.pack('<q', n) for n in numbers)

  def change(data):
    for before, after in zip(((4, 3), (3, 1)), (old, new), strict=True):
      data = data.replace(whole(before), whole(after), 1)
    return data

  return change


def big_order(path):
  with zipfile.ZipFile(path) as file:
    entries = {name: file.read(name) for name in file.namelist()}
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
    for name, data in entries.items():
      if name.endswith('byteorder'):
        data = bytes(400 << 20)
      file.writestr(name, data)


def short_storage(path):
  """Says that the values are longer than what is there."""
  data = path.read_bytes()
  with zipfile.ZipFile(path) as file:
    info = file.getinfo('archive/data/0')
  at = data.rindex(b'archive/data/0') - 46 + 24
  changed = bytearray(data)
  changed[at : at + 4] = struct.pack('<I', info.file_size << 20)
  pickle = (12, 12 << 20)
  for before, after in ((pickle[0], pickle[1]), (4, 4 << 20)):
    changed = changed.replace(
      b'\x8a\x08' + struct.pack('<q', before), b'\x8a\x08' + struct.pack('<q', after)
    )
  path.write_bytes(changed)


def safetensors(size, text):
  def write(folder):
    path = folder / 'model.safetensors'
    path.write_bytes(struct.pack('<Q', size) + text)
    return 'weights', path

  return write


def config(text):
  def write(folder):
    export_huggingface(tiny.random_params(tiny.pretraining), tiny.TINY, folder)
    (folder / 'config.json').write_text(text)
    return 'weights', folder

  return write


def pipe(folder):
  os.mkfifo(folder / 'x.pth')
  return 'weights', folder / 'x.pth'


CLASSES = b''.join(b'ca\nb%d\n0' % i for i in range(200_000))
# Dicts of 200 keys for the same dict, four deep.
SHARED = (
  b'}q\x000'
  + 4 * (b'}' + b''.join(b'K%ch\x00s' % i for i in range(200)) + b'q\x000')
  + b'h\x00'
)
FILES = {
  'pth_memo': (torch_file(lambda d: d[:3] + b'r\x00\x87\x93\x03' + d[3:]), 'PUT'),
  'pth_hash': (torch_file(beside(b'}N' + b'2\x86' * 47 + b'Ns')), 'a key of a dict'),
  'pth_classes': (torch_file(beside(CLASSES + b'N')), 'classes'),
  'pth_dicts': (torch_file(beside(SHARED)), 'hold each other'),
  'pth_expanded': (torch_file(dimensions((10**6, 10**6), (0, 0))), 'times the memory'),
  'pth_order': (torch_file(edit=big_order), 'is compressed'),
  'pth_short': (torch_file(edit=short_storage), 'not of the size'),
  'pth_pipe': (pipe, 'a named pipe'),
  'safetensors_length': (safetensors(1 << 60, b'{}'), 'is not whole'),
  'safetensors_deep': (safetensors(400_000, b'{"a":' + b'[' * 399_995), 'is not whole'),
  'config_deep': (config('[' * 200_000), 'cannot be read as JSON'),
  'config_sizes': (
    config('{"image_size": 1000000000, "num_frames": 1000000000}'),
    'tokens in a clip',
  ),
  'config_digits': (config('{"image_size": ' + '9' * 1_000_000 + '}'), 'JSON'),
}
