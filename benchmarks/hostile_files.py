"""What becomes of files that are made to hang a reader or to fill the memory.

  python benchmarks/hostile_files.py [--only mat_3gb csv_gap]

Each file is read in a process of its own, on Linux: refused with one line, read, or
`wrong`: any other exception, a line that says something else, no answer, over 5 s of
processor time, or over 300 MB beyond what the process had before. The last line is one
JSON object.
"""

import argparse
import collections
import importlib
import importlib.util
import json
import os
import select
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
MODULES = 'tests.raw.hostile_files', 'tests.weights.hostile_weights'
LIBRARIES = 'pandas', 'wfdb', 'edfio', 'h5py'  # that readers import when they need them
MOST_SECONDS, MOST_MB, PATIENCE = 5.0, 300, 90


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--only', nargs='*')
  args = parser.parse_args()
  for library in LIBRARIES:
    if importlib.util.find_spec(library):
      importlib.import_module(library)
  counts, seconds, megabytes = collections.Counter(), 0.0, 0.0
  for module in map(importlib.import_module, MODULES):
    for name, case in files(module).items():
      if args.only and name not in args.only:
        continue
      said, took, used, text = tried(module, *case)
      counts[said] += 1
      seconds, megabytes = max(seconds, took), max(megabytes, used)
      line = f'{name:<20}{said:<9}{took:7.2f} s {used:7.0f} MB  {text[:170]}'
      print(line, flush=True)
  summary = {'benchmark': 'hostile_files', 'files': counts.total(), **counts}
  print(json.dumps(summary | {'most_seconds': seconds, 'most_mb': megabytes}))
  return 1 if counts['wrong'] else 0


def files(module):
  more = importlib.util.find_spec('h5py') and getattr(module, 'FILES_H5', None)
  return module.FILES | (more or {})


def tried(module, write, wanted):
  """What becomes of a file: (word, seconds, MB, text)."""
  with tempfile.TemporaryDirectory() as folder:
    reader, *args = write(Path(folder))
    said, seconds, megabytes, text = judged(*alone(module, reader, args))
    text = text.replace(folder + '/', '')
  if said == 'wrong' or (wanted != said and wanted not in text):
    said, text = 'wrong', f'{wanted!r} is not in: {text}'
  return said, seconds, megabytes, text


def judged(said, seconds, megabytes, text):
  """The same, `wrong` where it takes too much or says more than a line."""
  if '\n' in text or seconds > MOST_SECONDS or megabytes > MOST_MB:
    said, text = 'wrong', f'{seconds} s, {megabytes} MB: {text}'
  return said, seconds, megabytes, text


def alone(module, reader, args):
  """Reads a file in a process of its own: (word, seconds, MB, text)."""
  receive, send = os.pipe()
  child = os.fork()
  if not child:
    try:
      os.write(send, json.dumps(read(module, reader, args)).encode())
    finally:
      os._exit(0)
  os.close(send)
  try:
    ready, _, _ = select.select([receive], [], [], PATIENCE)
    answer = os.read(receive, 1 << 16) if ready else b''
  finally:
    os.close(receive)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
  if not answer:
    return 'wrong', 0.0, 0.0, f'no answer (status {status})'
  return json.loads(answer)


def read(module, reader, args):
  """Reads a file: (word, seconds, MB, text)."""
  before = memory('VmRSS')
  Path('/proc/self/clear_refs').write_text('5')  # the peak is that from here on
  began = time.process_time()
  try:
    module.READERS[reader](*args)
    said, text = 'read', ''
  except module.REFUSED as error:
    said, text = 'refused', str(error.args[-1])
  except BaseException as error:
    said, text = 'wrong', f'{type(error).__name__}: {error}'
  seconds = time.process_time() - began
  return said, round(seconds, 2), round(memory('VmHWM') - before, 1), text[:4000]


def memory(what):
  """Of this process, in MB."""
  status = Path('/proc/self/status').read_text().split()
  return int(status[status.index(f'{what}:') + 1]) / 1024


if __name__ == '__main__':
  sys.exit(main())
