"""Valid files, damaged in a few ways, are read or refused in one line."""

import numpy as np
import pytest

from tests.raw.hostile_files import READERS, REFUSED
from tests.raw.mutants import mutated
from tests.raw.valid_files import FILES

MUTANTS = 12  # of each; benchmarks/mutants.py tries as many as are asked for


@pytest.mark.parametrize('kind', FILES)
def test_a_damaged_file_is_read_or_refused(kind, tmp_path):
  reader, *args = FILES[kind](tmp_path)
  files = {path: path.read_bytes() for path in sorted(tmp_path.iterdir())}
  rng = np.random.default_rng(0)
  for _ in range(MUTANTS):
    for path, data in files.items():
      path.write_bytes(mutated(data, rng))
      try:
        READERS[reader](*args)
      except REFUSED as error:
        assert '\n' not in str(error.args[-1])
      path.write_bytes(data)
