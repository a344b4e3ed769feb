"""How much memory what a file unfolds to may take, by what real files do."""

import os
import zipfile

_LEAST = 64 << 20  # bytes that any file may take
# Bytes of numbers, as float64, over those of their file. Of 34 real .npz of EDA and EMG
# it is 2.2 to 2.8, of real ECG 3.6 and of EDA 7.7 once compressed, of one channel of
# ECG beside 16 of zeros 125, of EDA held from 4 Hz to 1 kHz 218. Deflate reaches 1,032,
# and 8,000 where zeros are stored as bytes.
_TIMES = 250


class Budget:
  """The bytes that a file, or several together, may still unfold to."""

  def __init__(self, *paths):
    self._left = max(_LEAST, _TIMES * sum(os.stat(path).st_size for path in paths))

  def spend(self, count, what):
    """Notes that `what` takes so many bytes, before it does.

    Raises ValueError if it is more than what is left.
    """
    if count > self._left:
      raise ValueError(
        f'{what} unfolds to {count / 1e6:,.0f} MB, far more than a recording in a file '
        'of this size; write the file anew without it'
      )
    self._left -= max(0, count)


def opened(archive, info):
  """Opens a member of a zip to be read; how much it is, its `file_size` says.

  Raises ValueError if it is compressed in a way that unfolds by more than Deflate.
  """
  if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
    raise ValueError(f'{info.filename} is compressed in a rare way; zip it anew')
  return archive.open(info)
