"""Writes files that are made to hang a reader, or to fill the memory.

`FILES` maps the name of each to a function of a folder, which writes it and returns
(which of `READERS` reads it, arguments), and what becomes of it: READ, or words of the
line that refuses it.
"""

import fractions
import os
import pickle
import struct
import zipfile
import zlib

import av
import cv2
import numpy as np
from scipy.io import savemat

from mvp_jax.corpora.deap.tree import read_dat
from mvp_jax.corpora.recordings.manifest import read_manifest
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped
from mvp_jax.raw.audio import SoundTrack, read_sound
from mvp_jax.raw.frames import whole_frames
from mvp_jax.raw.numbered import read_picture
from mvp_jax.raw.openface import CHANNELS, read_openface
from mvp_jax.raw.signal_files import read_channel, without_gaps
from mvp_jax.raw.video_times import video_times

READ = 'read'
MEGABYTE = bytes(1 << 20)
EDA = np.round(2 + np.sin(np.arange(4000) / 50), 3)


def channel(path, column='eda', rate=100, time=''):
  return without_gaps(path, read_channel(path, column, rate, time))


def video(path):
  video_times(path)
  return whole_frames(path, 5, 32)


READERS = {
  'channel': channel,
  'deap': read_dat,
  'manifest': read_manifest,
  'openface': read_openface,
  'picture': read_picture,
  'sound': lambda path, seconds=None: read_sound(SoundTrack(path, 0.0, seconds)),
  'video': video,
}
REFUSED = Dropped, InputError


def deflated(head, count, wbits=15):
  """`head` and then `count` MB of zeros, compressed; their CRC and size."""
  pack = zlib.compressobj(9, zlib.DEFLATED, wbits)
  begin = pack.compress(head) + pack.flush(zlib.Z_FULL_FLUSH)
  middle = pack.compress(MEGABYTE) + pack.flush(zlib.Z_FULL_FLUSH)
  adler, crc = zlib.adler32(head), zlib.crc32(head)
  for _ in range(count):
    adler = zlib.adler32(MEGABYTE, adler)
    crc = zlib.crc32(MEGABYTE, crc)
  end = pack.flush()
  if wbits > 0:
    end = end[:-4] + struct.pack('>I', adler)
  return begin + middle * count + end, crc, len(head) + (count << 20)


def add_member(path, name, head, count):
  """Adds a member of `deflated` to a zip, which may be new."""
  packed, crc, size = deflated(head, count, -15)
  with zipfile.ZipFile(path, 'a') as archive:
    archive.writestr(name, packed)
    info = archive.NameToInfo[name]
    start = info.header_offset
    info.compress_type, info.CRC, info.file_size = zipfile.ZIP_DEFLATED, crc, size
    archive.fp.seek(start)
    archive.fp.write(info.FileHeader(False))
    archive.fp.seek(archive.start_dir)
  return path


def npy_head(shape, descr='<f8'):
  text = str({'descr': descr, 'fortran_order': False, 'shape': shape}) + '\n'
  return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(text)) + text.encode()


def element(kind, payload):
  return struct.pack('<II', kind, len(payload)) + payload + bytes(-len(payload) % 8)


def matrix_head(name, kind, shape):
  return (
    element(6, struct.pack('<II', kind, 0))
    + element(5, struct.pack(f'<{len(shape)}i', *shape))
    + element(1, name)
  )


def mat(path, name, kind, shape, begin=b'', count=0, values=None):
  """A .mat with one compressed variable, whose values end in `count` MB of zeros."""
  if values is not None:
    begin = struct.pack('<II', values, count << 20)
  head = matrix_head(name, kind, shape) + begin
  tag = struct.pack('<II', 14, len(head) + (count << 20))
  packed, _, _ = deflated(tag + head, count)
  if not path.exists():
    path.write_bytes(b'MATLAB 5.0'.ljust(124) + b'\x00\x01IM')
  with path.open('ab') as file:
    file.write(struct.pack('<II', 15, len(packed)) + packed)
  return path


def mat_3gb(folder):
  path = mat(folder / 'a.mat', b'eda', 6, (393_216_000, 1), count=3000, values=9)
  return 'channel', path


def mat_beside(folder):
  savemat(folder / 'a.mat', {'eda': EDA})
  mat(folder / 'a.mat', b'junk', 6, (39_321_600, 1), count=300, values=9)
  return 'channel', folder / 'a.mat'


def mat_bytes(folder):
  return 'channel', mat(folder / 'a.mat', b'eda', 9, (1 << 26, 1), count=64, values=2)


def mat_text(folder):
  return 'channel', mat(folder / 'a.mat', b'eda', 4, (1, 1 << 26), count=128, values=4)


def mat_cells(folder):
  # Each an empty matrix; zeros are elements of no known kind, but 64 MB of them.
  begin = element(14, b'') * 1000
  shape = ((128 << 20) // 8 + 1000, 1)
  return 'channel', mat(folder / 'a.mat', b'eda', 1, shape, begin, count=128)


def mat_structs(folder):
  begin = struct.pack('<HHI', 5, 4, 32) + element(1, b'')
  return 'channel', mat(folder / 'a.mat', b'eda', 2, (60_000, 60_000), begin)


def mat_nested(folder):
  inner = b''
  for _ in range(1500):
    inner = element(14, matrix_head(b'x', 1, (1, 1)) + inner if inner else b'')
  return 'channel', mat(folder / 'a.mat', b'eda', 1, (1, 1), inner)


def npz_3gb(folder):
  head = npy_head((393_216_000,))
  return 'channel', add_member(folder / 'a.npz', 'eda.npy', head, 3000)


def npz_beside(folder):
  np.savez(folder / 'a.npz', eda=EDA)
  add_member(folder / 'a.npz', 'junk.npy', npy_head((39_321_600,)), 300)
  return 'channel', folder / 'a.npz'


def npz_pictures(folder):
  np.savez_compressed(
    folder / 'a.npz', eda=EDA, frames=np.zeros((3000, 32, 32, 3), np.uint8)
  )
  return 'channel', folder / 'a.npz'


def npz_lie(folder):
  with zipfile.ZipFile(folder / 'a.npz', 'w') as archive:
    archive.writestr('eda.npy', npy_head((10**12,)) + bytes(100))
  return 'channel', folder / 'a.npz'


def npz_lzma(folder):
  with zipfile.ZipFile(folder / 'a.npz', 'w', zipfile.ZIP_LZMA) as archive:
    archive.writestr('eda.npy', npy_head((1 << 23,)) + MEGABYTE * 64)
  return 'channel', folder / 'a.npz'


def npz_members(folder):
  with zipfile.ZipFile(folder / 'a.npz', 'w') as archive:
    for i in range(20_000):
      archive.writestr(f'{i}.npy', npy_head((1,)) + bytes(8))
  return 'channel', folder / 'a.npz'


def pickled(content):
  def write(folder):
    (folder / 's01.dat').write_bytes(content)
    return 'deap', folder / 's01.dat'

  return write


def dat_encoded(folder):
  # A text of 1 MB, encoded a thousand times, each a new copy.
  text = pickle.BINUNICODE + struct.pack('<I', 1 << 20) + b'a' * (1 << 20) + b'q\x00'
  code = b'c_codecs\nencode\nq\x01X\x06\x00\x00\x00latin1q\x02'
  again = b'(' + b'h\x01h\x00h\x02\x86R' * 1000 + b't.'
  (folder / 's01.dat').write_bytes(b'\x80\x02' + text + code + again)
  return 'deap', folder / 's01.dat'


def text(name, content, *args):
  def write(folder):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content())
    return 'channel', folder / name, *args

  return write


def sparse(name, size):
  def write(folder):
    with (folder / name).open('wb') as file:
      file.truncate(size)
    return 'channel', folder / name

  return write


def rows(*columns, names='time,eda'):
  lines = zip(*(map(str, column) for column in columns), strict=True)
  return (names + '\n' + '\n'.join(map(','.join, lines)) + '\n').encode()


def csv_gap(folder):
  # Ten seconds at 1 kHz, a pause of 13 hours, ten seconds.
  times = np.arange(20_000) / 1000 + np.repeat([0, 49_000], 10_000)
  (folder / 'a.csv').write_bytes(rows(times, np.tile(EDA, 5), names='time_s,eda'))
  return 'channel', folder / 'a.csv', 'eda', None, 'time_s'


def csv_long_name(folder):
  (folder / 'a.csv').write_bytes(
    b'x' + b' ' * 100_000 + b'y,eda\n' + rows(EDA, EDA)[9:]
  )
  return 'channel', folder / 'a.csv'


def opensignals(folder):
  head = b'# OpenSignals\n# {"a": ' + b'[' * 100_000 + b'\n# EndOfHeader\n1\t2\n'
  (folder / 'a.txt').write_bytes(head)
  return 'channel', folder / 'a.txt'


def e4(start=b'1.5e9', rate=b'4.0', count=0):
  def write(folder):
    path = folder / 'e4.zip'
    with zipfile.ZipFile(path, 'w') as archive:
      archive.writestr('EDA.csv', start + b'\n' + rate + b'\n' + b'1.5\n' * 400)
    if count:
      add_member(path, 'BVP.csv', b'1.5e9\n64.0\n', count)
    return 'channel', path, 'EDA', None

  return write


def zip_of_zips(folder):
  e4()(folder)
  with zipfile.ZipFile(folder / 'b.zip', 'w') as archive:
    for i in range(100):
      archive.write(folder / 'e4.zip', f'{i}.zip')
  return 'channel', folder / 'b.zip', 'EDA', None


def wfdb(header):
  def write(folder):
    (folder / 'r.hea').write_text(header)
    np.round(EDA * 1000).astype('<i2').tofile(folder / 'r.dat')
    return 'channel', folder / 'r.hea', '1', None

  return write


def edf(records='4', duration='1', samples='10', reserved='', signals='1'):
  def fields(size, *values):
    return b''.join(str(value).encode().ljust(size) for value in values)

  def write(folder):
    count = int(signals)
    header = (
      fields(8, 0)
      + fields(80, 'X X X X', 'Startdate X X X X')
      + fields(8, '01.01.24', '10.00.00', 256 * (1 + count))
      + fields(44, reserved)
      + fields(8, records, duration)
      + fields(4, signals)
      + fields(16, 'eda')
      + fields(80, '')
      + fields(8, 'uS', 0, 10, 0, 10000)
      + fields(80, '')
      + fields(8, samples)
      + fields(32, '')
    )
    (folder / 'a.edf').write_bytes(header + bytes(80))
    return 'channel', folder / 'a.edf', 'eda', None

  return write


def device(folder):
  (folder / 'a.csv').symlink_to('/dev/zero')
  return 'channel', folder / 'a.csv'


def pipe(reader, name):
  def write(folder):
    os.mkfifo(folder / name)
    return reader, folder / name

  return write


def loop(folder):
  (folder / 'a.csv').symlink_to(folder / 'b.csv')
  (folder / 'b.csv').symlink_to(folder / 'a.csv')
  return 'channel', folder / 'a.csv'


def png(width, height):
  def chunk(kind, data):
    return (
      struct.pack('>I', len(data))
      + kind
      + data
      + struct.pack('>I', zlib.crc32(kind + data))
    )

  head = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
  packed, _, _ = deflated(b'', 300)
  return b'\x89PNG\r\n\x1a\n' + head + chunk(b'IDAT', packed) + chunk(b'IEND', b'')


def picture(name, content):
  def write(folder):
    (folder / name).write_bytes(content())
    return 'picture', folder / name

  return write


def jpeg():
  """Whose header says that it is 65,000 pixels wide and high."""
  data = bytearray(cv2.imencode('.jpg', np.zeros((64, 64, 3), np.uint8))[1].tobytes())
  at = data.index(b'\xff\xc0')
  data[at + 5 : at + 9] = struct.pack('>HH', 65_000, 65_000)
  return bytes(data)


def write_video(path, width=64, height=48, times=range(0, 1600, 40), container=None):
  """A video of grey pictures, shown at some milliseconds."""
  options = {'movflags': 'frag_keyframe+empty_moov'} if container else {}
  with av.open(str(path), 'w', options=options) as file:
    stream = file.add_stream('libx264', rate=25)
    stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
    stream.options = {'preset': 'ultrafast'}
    stream.codec_context.time_base = fractions.Fraction(1, 1000)
    for i, time in enumerate(times):
      frame = av.VideoFrame(width, height, 'yuv420p')
      for plane in frame.planes:
        plane.update(bytes([i % 256]) * plane.buffer_size)
      frame.pts, frame.time_base = time, fractions.Fraction(1, 1000)
      file.mux(stream.encode(frame))
    file.mux(stream.encode())
  return path


def video_wide(folder):
  return 'video', write_video(folder / 'a.mp4', 12_000, 12_000, (0, 40))


def video_index(folder):
  path = write_video(folder / 'a.mp4')
  data, count = bytearray(path.read_bytes()), 20_000_000
  for name, place, numbers in (
    (b'stsz', 8, (400, count)),
    (b'stsc', 16, (count,)),
    (b'stts', 12, (count,)),
  ):
    at = data.index(name) + place
    data[at : at + 4 * len(numbers)] = struct.pack(f'>{len(numbers)}I', *numbers)
  path.write_bytes(data)
  return 'video', path


def video_fragment(folder):
  path = write_video(folder / 'a.mp4', container='fragments')
  data = bytearray(path.read_bytes())
  at = data.index(b'trun') + 4
  data[at : at + 8] = struct.pack('>II', 0, 20_000_000)
  path.write_bytes(data)
  return 'video', path


def video_list(folder):
  (folder / 'a.mp4').write_text('ffconcat version 1.0\nfile a.mp4\n' * 3)
  return 'video', folder / 'a.mp4'


def video_stands(folder):
  # A picture twice at 25 Hz, then nothing for 59 s, and again.
  times = [59_000 * (i // 2) + 40 * (i % 2) for i in range(200)]
  return 'video', write_video(folder / 'a.mkv', times=times)


def video_hours(folder):
  # Timestamps of 25 pictures reach to a year.
  times = [0, 40, 80, *(10**9 * i for i in range(1, 30))]
  return 'video', write_video(folder / 'a.mkv', times=times)


def wav(rate, size, seconds=None):
  def write(folder):
    head = struct.pack('<IHHIIHH', 16, 1, 1, rate, rate, 1, 8)
    (folder / 'a.wav').write_bytes(
      b'RIFF'
      + struct.pack('<I', 36 + size)
      + b'WAVEfmt '
      + head
      + b'data'
      + struct.pack('<I', size)
      + bytes(size)
    )
    return 'sound', folder / 'a.wav', *([seconds] * (seconds is not None))

  return write


def openface(frames, times):
  def write(folder):
    names = ('frame', 'timestamp', 'confidence', 'success', *CHANNELS)
    lines = [
      ','.join(map(str, (frame, time, 0.98, 1, *[1] * len(CHANNELS))))
      for frame, time in zip(frames, times, strict=True)
    ]
    (folder / 'a.csv').write_text('\n'.join((','.join(names), *lines)) + '\n')
    return 'openface', folder / 'a.csv'

  return write


def huge_line(reader, name):
  def write(folder):
    with (folder / name).open('wb') as file:
      for _ in range(500):
        file.write(b'1,' * (1 << 19))
    return reader, folder / name

  return write


def h5(make):
  def write(folder):
    import h5py

    with h5py.File(folder / 'a.mat', 'w') as file:
      make(file, h5py, folder)
    return 'channel', folder / 'a.mat'

  return write


def h5_filled(file, h5py, folder):
  file.create_dataset('eda', (10**12,), 'f8', chunks=(1000,))


def h5_chunk(file, h5py, folder):
  file.create_dataset(
    'eda', data=EDA, maxshape=(None,), chunks=(1 << 26,), compression='gzip'
  )


def h5_outside(file, h5py, folder):
  file.create_dataset('eda', (4000,), 'f8', external=[('/dev/zero', 0, 32_000)])


def h5_linked(file, h5py, folder):
  with h5py.File(folder / 'b.h5', 'w') as other:
    other['eda'] = EDA
  file['eda'] = h5py.ExternalLink('b.h5', '/eda')


def h5_loop(file, h5py, folder):
  group = file.create_group('eda')
  for i in range(10):
    group[f'x{i}'] = group


# Lists within lists, each of the one before, twice.
LISTS = b']q\x00' + b''.join(b'0]h%ca' % i + b'h%caq%c' % (i, i + 1) for i in range(40))
FILES = {
  'mat_3gb': (mat_3gb, 'eda unfolds to 3,146 MB'),
  'mat_beside': (mat_beside, READ),
  'mat_bytes': (mat_bytes, 'eda unfolds to'),
  'mat_text': (mat_text, 'eda unfolds to'),
  'mat_cells': (mat_cells, 'eda unfolds to'),
  'mat_structs': (mat_structs, 'eda unfolds to'),
  'mat_nested': (mat_nested, 'cells within cells'),
  'npz_3gb': (npz_3gb, 'eda.npy unfolds to 3,146 MB'),
  'npz_beside': (npz_beside, READ),
  'npz_pictures': (npz_pictures, READ),
  'npz_lie': (npz_lie, 'shorter than its shape'),
  'npz_lzma': (npz_lzma, 'compressed in a rare way'),
  'npz_members': (npz_members, '20000 arrays'),
  'dat_memo': (pickled(b'\x80\x02Nr\x00\x87\x93\x03.'), 'PUT 60000000'),
  'dat_hash': (pickled(b'\x80\x02}N' + b'2\x86' * 47 + b'Ns.'), 'a key of a dict'),
  'dat_lists': (pickled(b'\x80\x02' + LISTS + b'.'), 'not a dict'),
  'dat_encoded': (dat_encoded, 'times the memory'),
  'dat_bytes': (
    pickled(b'\x80\x05\x96' + struct.pack('<Q', 8 << 30) + b'x.'),
    'ends early',
  ),
  'csv_one_line': (huge_line('channel', 'a.csv'), 'a line of over 1 MB'),
  'csv_zeros': (sparse('a.csv', 10 << 30), 'a line of over 1 MB'),
  'csv_blank': (text('a.csv', lambda: b'\n' * (200 << 20)), 'MB of blank lines'),
  'csv_digits': (text('a.csv', lambda: rows(['1' * 100_000] * 100, EDA[:100])), READ),
  'csv_number': (
    text('a.csv', lambda: rows(['1' * 100_000 + 'x'] * 100, EDA[:100])),
    READ,
  ),
  'csv_pattern': (
    text('a.csv', lambda: b'sampl' * 20_000 + b'\n' + rows(EDA, EDA)),
    READ,
  ),
  'csv_columns': (text('a.csv', lambda: b'1,' * 50_000 + b'1\n'), 'cells in a row'),
  'csv_name': (csv_long_name, 'a column name of'),
  'csv_gap': (csv_gap, 'a pause of'),
  'txt_json': (opensignals, 'header of OpenSignals is damaged'),
  'e4_zip': (e4(count=300), 'BVP.csv unfolds to'),
  'e4_rate': (e4(rate=b'1e-300'), 'first two lines are not'),
  'e4_start': (e4(start=b'8e301'), 'first two lines are not'),
  'zip_of_zips': (zip_of_zips, 'no EDA.csv'),
  'wfdb_bare': (wfdb('r 1 100 4000\nr.dat 16\n'), READ),
  'wfdb_length': (wfdb(f'r 1 100 {10**12}\nr.dat 16 200 16 0 0 0 0 eda\n'), 'unfolds'),
  'wfdb_frame': (wfdb('r 1 100 4000\nr.dat 16x99999999 200\n'), 'unfolds'),
  'wfdb_outside': (wfdb('r 1 100 4000\n../../dev/zero 16 200\n'), 'lies elsewhere'),
  'wfdb_segments': (wfdb('r/2 1 100 4000\nr 2000\nr 2000\n'), 'several segments'),
  'wfdb_pause': (wfdb(f'r/1 1 100 4000\n~ {10**12}\n'), 'unfolds'),
  'wfdb_signals': (wfdb('r 900000 100 4000\nr.dat 16 200\n'), 'promises 900000'),
  'edf_records': (edf(records='99999999'), 'truncated'),
  'edf_samples': (edf(samples='99999999'), 'a.edf'),
  'edf_duration': (edf(records='1', duration='1e-300', samples='40'), 'Hz'),
  'device': (device, 'a device'),
  'pipe_mat': (pipe('channel', 'a.mat'), 'a named pipe'),
  'pipe_video': (pipe('video', 'a.mp4'), 'a named pipe'),
  'pipe_manifest': (pipe('manifest', 'manifest.csv'), 'a named pipe'),
  'loop': (loop, 'a link to'),
  'manifest_line': (huge_line('manifest', 'manifest.csv'), 'over 16 MB'),
  'png': (picture('1.png', lambda: png(100_000, 100_000)), 'million pixels'),
  'png_10000': (picture('1.png', lambda: png(10_000, 10_000)), 'million pixels'),
  'jpeg': (picture('1.jpg', jpeg), 'million pixels'),
  'video_wide': (video_wide, '12000 x 12000 pixels'),
  'video_index': (video_index, 'its index promises'),
  'video_fragment': (video_fragment, 'its index promises'),
  'video_list': (video_list, 'a list of other files'),
  'video_stands': (video_stands, 'no new picture for'),
  'video_hours': (video_hours, 'as no video has'),
  'wav_slow': (wav(1, 1 << 20), 'samples a second'),
  'wav_long': (wav(8000, 80_000, 1e9), 'in a trial of over'),
  'openface_frame': (openface((1, 2, 10**9), (0, 0.04, 0.08)), 'column frame'),
  'openface_time': (openface((1, 2, 3), (0, 1e8, 1e9)), 'column timestamp'),
  'openface_line': (huge_line('openface', 'a.csv'), 'a line of over 1 MB'),
}
FILES_H5 = {  # where h5py is there
  'h5_filled': (h5(h5_filled), 'unfolds to'),
  'h5_chunk': (h5(h5_chunk), 'unfolds to'),
  'h5_outside': (h5(h5_outside), 'values in other files'),
  'h5_linked': (h5(h5_linked), 'a link to elsewhere'),
  'h5_loop': (h5(h5_loop), 'cells within cells'),
}
