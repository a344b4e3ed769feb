"""Pieces of bytes one after another in a file, so that memory stays flat."""

import collections.abc
import struct
import tempfile
import weakref
import zipfile

import numpy as np

_IN_MEMORY = 64 << 20  # A trial of a minute never touches the disk.
_PIECE = 8 << 20
_LOCAL_HEADER = struct.Struct('<26xHH')  # of a zip file's member: two lengths


class Blobs(collections.abc.Sequence):
  """A list of bytes that can be longer than the memory.

  `append` writes to a temporary file (where TMPDIR says), which goes away with
  the object. `Blobs.stored` reads those that `write_npy` put into an .npz file. A slice
  is a list, in memory; `part` is not.
  """

  def __init__(self):
    self._own(tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115
    self._first, self._ends = 0, []

  @classmethod
  def stored(cls, path, name, ends):
    """Reads the array `name` of `path` (.npz, not compressed), split at `ends`."""
    blobs = cls.__new__(cls)
    blobs._own(path.open('rb'))
    blobs._ends = list(map(int, ends))
    with zipfile.ZipFile(path) as archive:
      start = archive.getinfo(f'{name}.npy').header_offset
    blobs._file.seek(start)
    header = blobs._file.read(_LOCAL_HEADER.size)
    blobs._file.seek(sum(_LOCAL_HEADER.unpack(header)), 1)
    np.lib.format.read_magic(blobs._file)
    np.lib.format.read_array_header_1_0(blobs._file)
    blobs._first = blobs._file.tell()
    return blobs

  def part(self, first, last):
    """The pieces from `first` to before `last`, to be read only: not in memory."""
    start = self._ends[first - 1] if first else 0
    blobs = Blobs.__new__(Blobs)
    blobs._whole, blobs._file = self, self._file  # open as long as its owner is there
    blobs._first = self._first + start
    blobs._ends = [end - start for end in self._ends[first:last]]
    return blobs

  @property
  def ends(self):
    """Where each piece ends, int [pieces]."""
    return np.array(self._ends, np.int64)

  @property
  def size(self):
    """Bytes of all pieces."""
    return self._ends[-1] if self._ends else 0

  def append(self, piece):
    self._file.seek(0, 2)
    self._file.write(piece)
    self._ends.append(self.size + len(piece))

  def write_npy(self, file):
    """Writes all as one uint8 array in the format of NumPy."""
    size = self.size
    np.lib.format.write_array_header_1_0(
      file, {'descr': '|u1', 'fortran_order': False, 'shape': (size,)}
    )
    self._file.seek(self._first)
    for start in range(0, size, _PIECE):
      file.write(self._file.read(min(_PIECE, size - start)))

  def __len__(self):
    return len(self._ends)

  def __getitem__(self, index):
    if isinstance(index, slice):
      return [self[i] for i in range(*index.indices(len(self)))]
    end = self._ends[index]
    index %= len(self)
    start = self._ends[index - 1] if index else 0
    self._file.seek(self._first + start)
    return self._file.read(end - start)

  def _own(self, file):
    # Closed before anything is collected; a `__del__` may come after the file's own
    # where both are in a cycle, as those that a traceback refers to are.
    self._file = file
    weakref.finalize(self, file.close)
